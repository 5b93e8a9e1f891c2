from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from keepalive.config import access as module
from keepalive.config import file
from keepalive.config.access import Access, find_access
from keepalive.errors import ConfigError

SYSTEM = Path("/run/keepalive/keepalive.sock")
BOTH = '[control]\nsocket = "k.sock"\n[http]\nlisten = "127.0.0.1:9786"\n'
LISTEN = ("127.0.0.1", 9786)


@pytest.fixture(autouse=True)
def _no_system_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYSTEM_FILE", tmp_path / "etc.toml")


def find(
    folder: Path,
    *,
    config: str | None = None,
    environ: Mapping[str, str] | None = None,
    socket: str | None = None,
) -> Access:
    return find_access(
        Path(config) if config else None, environ or {}, folder, Path(socket) if socket else None
    )


def write(folder: Path, text: str, name: str = "keepalive.toml") -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text, encoding="utf-8")


def test_a_socket_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    write(tmp_path, BOTH)
    environ = {"RUNTIME_DIRECTORY": "/run/other", "KEEPALIVE_CONTROL__SOCKET": "/run/this.sock"}
    assert find(tmp_path, environ=environ, socket="a.sock") == Access((tmp_path / "a.sock",))


def test_every_place_has_its_turn(tmp_path: Path) -> None:
    write(tmp_path, BOTH)
    environ = {"RUNTIME_DIRECTORY": "/run/one:/run/two", "XDG_RUNTIME_DIR": "/run/user/1"}
    assert find(tmp_path, environ=environ).sockets == (
        tmp_path / "k.sock",
        Path("/run/one/keepalive.sock"),
        Path("/run/user/1/keepalive.sock"),
        SYSTEM,
    )


def test_a_place_is_tried_once(tmp_path: Path) -> None:
    environ = {"RUNTIME_DIRECTORY": "/run/keepalive", "KEEPALIVE_CONTROL__SOCKET": str(SYSTEM)}
    assert find(tmp_path, environ=environ).sockets == (SYSTEM,)


def test_a_file_that_is_named_speaks_of_one_daemon(tmp_path: Path) -> None:
    write(tmp_path, BOTH, "etc/b.toml")
    assert find(tmp_path, config="etc/b.toml") == Access((tmp_path / "etc" / "k.sock",), LISTEN)


def test_a_file_that_names_no_socket_leaves_the_usual_ones(tmp_path: Path) -> None:
    write(tmp_path, '[control]\nmode = "0600"\n', "b.toml")
    assert find(tmp_path, config="b.toml", environ={"XDG_RUNTIME_DIR": "/run/user/1"}).sockets == (
        Path("/run/user/1/keepalive.sock"),
        SYSTEM,
    )


def test_a_daemon_that_opens_no_socket_is_not_taken_for_another_that_does(tmp_path: Path) -> None:
    write(tmp_path, BOTH.replace('"k.sock"', '""'), "b.toml")
    found = find(tmp_path, config="b.toml", environ={"XDG_RUNTIME_DIR": "/run/user/1"})
    assert (found.sockets, found.listen) == ((), LISTEN)
    assert found.notes == ('[control] socket is "", so it opens none',)


@pytest.mark.parametrize("where", ["variable", "here", "xdg", "home", "system"])
def test_the_file_is_found_where_the_daemon_finds_it(tmp_path: Path, where: str) -> None:
    environ = {"HOME": str(tmp_path / "home"), "XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    places = {
        "system": "etc.toml",
        "home": "home/.config/keepalive/keepalive.toml",
        "xdg": "xdg/keepalive/keepalive.toml",
        "here": "keepalive.toml",
        "variable": "variable.toml",
    }
    if where == "home":
        del environ["XDG_CONFIG_HOME"]
    for name, place in places.items():
        write(tmp_path, f'[control]\nsocket = "/run/{name}.sock"\n', place)
        if name == where:
            break
    if where == "variable":
        environ["KEEPALIVE_CONFIG"] = "variable.toml"
    assert find(tmp_path, environ=environ).sockets[0] == Path(f"/run/{where}.sock")


def test_the_places_of_the_search_are_the_daemons() -> None:
    assert file.NAME == module.NAME
    assert Path("/etc/keepalive/keepalive.toml") == file.SYSTEM_FILE


def test_variables_overrule_the_file(tmp_path: Path) -> None:
    write(tmp_path, BOTH, "etc/b.toml")
    environ = {"KEEPALIVE_CONTROL__SOCKET": "v.sock", "KEEPALIVE_HTTP__LISTEN": "[::]:80"}
    assert find(tmp_path, config="etc/b.toml", environ=environ) == Access((tmp_path / "v.sock",), ("::1", 80))


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("0.0.0.0:9786", ("127.0.0.1", 9786)),
        ("[::]:9786", ("::1", 9786)),
        ("[::1]:9786", ("::1", 9786)),
        ("localhost:1", ("localhost", 1)),
        ("10.0.0.7:9786", ("10.0.0.7", 9786)),
        ("", None),
        ("9786", None),
        ("127.0.0.1:65536", None),
    ],
)
def test_a_probe_is_asked_where_it_is_served(
    tmp_path: Path, text: str, listen: tuple[str, int] | None
) -> None:
    write(tmp_path, f'[http]\nlisten = "{text}"\n', "b.toml")
    assert find(tmp_path, config="b.toml").listen == listen


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("10.0.0.7:9786", None),
        ("example.com:9786", None),
        ("127.evil.example:9786", None),
        ("127.0.0.1:9786", LISTEN),
        ("0.0.0.0:9786", LISTEN),
        ("localhost:9786", ("localhost", 9786)),
    ],
)
def test_a_file_that_nobody_named_makes_a_probe_knock_at_loopback_only(
    tmp_path: Path, text: str, listen: tuple[str, int] | None
) -> None:
    write(tmp_path, f'[http]\nlisten = "{text}"\n')
    assert find(tmp_path).listen == listen


BROKEN = (
    f"log = [\n{BOTH}",
    f"{BOTH}[[targets]]\nscripts = [\n",
    f"{BOTH}[control\n",
    f'[[targets]]\nfile = "a.csv"\nscripts = nonsense\n{BOTH}',
    'control.socket = "k.sock"\nhttp.listen = "127.0.0.1:9786"\n[log\n',
    'control = { socket = "k.sock" }\nhttp = { listen = "127.0.0.1:9786" }\n[log\n',
    '[ control ] # ours\nmode = 0600 0600\nsocket = "k.sock"\n[http]\nlisten = "127.0.0.1:9786"\n',
    f"{BOTH}{'[' * 10_000}\n",
    f"a = {'[' * 10_000}\n{BOTH}",
    f"a = {'9' * 10_000}\n{BOTH}",
)


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_edit_of_the_rest_hides_neither_table(tmp_path: Path, text: str) -> None:
    write(tmp_path, text, "b.toml")
    found = find(tmp_path, config="b.toml")
    assert (found.sockets, found.listen) == ((tmp_path / "k.sock",), LISTEN)
    assert found.notes == (f"{tmp_path}/b.toml is broken TOML: `keepalive check` says where",)


@pytest.mark.parametrize(
    "text",
    [
        BOTH + "lissten = 1\n[log]\nlevl = 3\n",
        BOTH + 'window = "1s"\n[heartbeat]\nwindow = "-3s"\n',
    ],
)
def test_keys_that_the_daemon_would_refuse_are_none_of_its_business(tmp_path: Path, text: str) -> None:
    write(tmp_path, text, "b.toml")
    assert find(tmp_path, config="b.toml") == Access((tmp_path / "k.sock",), LISTEN)


@pytest.mark.parametrize(
    "text", ["control = 3\n", "[control]\nsocket = 3\n", "[[control]]\nsocket = 'a'\n", "", "\0"]
)
def test_what_says_nothing_of_use_leaves_the_usual_places(tmp_path: Path, text: str) -> None:
    write(tmp_path, text, "b.toml")
    found = find(tmp_path, config="b.toml")
    assert (found.sockets, found.listen) == ((SYSTEM,), None)


def test_a_file_that_cannot_be_read_is_noted(tmp_path: Path) -> None:
    (tmp_path / "keepalive.toml").mkdir()
    found = find(tmp_path)
    assert found.sockets == (SYSTEM,)
    assert found.notes == (f"{tmp_path}/keepalive.toml is a directory, not a file",)


@pytest.mark.parametrize("config", ["none.toml", None])
def test_a_file_that_is_named_has_to_exist(tmp_path: Path, config: str | None) -> None:
    environ = {} if config else {"KEEPALIVE_CONFIG": "none.toml"}
    with pytest.raises(ConfigError) as raised:
        find(tmp_path, config=config, environ=environ)
    where = "--config" if config else "$KEEPALIVE_CONFIG"
    hint = "name a file that exists, or the daemon's socket with --socket"
    assert str(raised.value) == f"{where}: there is no file 'none.toml'; {hint}"


def test_a_probe_waits_for_no_pydantic() -> None:
    code = "import sys, keepalive.cli.probe; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "keepalive.control.client" in loaded
    assert not loaded & {"pydantic", "yarl", "aiohttp", "asyncio", "http.client", "rich", "ssl"}
