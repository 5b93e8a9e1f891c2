"""The access: where a running daemon answers, read from as little of the configuration as possible.

A probe must not fail because somebody is in the middle of an edit, and must not wait for pydantic: only
`[control] socket` and `[http] listen` are looked at, by the standard library alone, and what cannot be read
is noted instead of refused.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from keepalive.config.text import read_text
from keepalive.errors import ConfigError, ConfigFault

NAME = "keepalive.toml"
SYSTEM_FILE = Path("/etc/keepalive") / NAME
SOCKET = "keepalive.sock"
SYSTEM_FOLDER = Path("/run/keepalive")

_SILENCE = 0.5
"""Seconds that a configuration from a pipe may take to say something: a probe has three for everything."""

_HEADER = re.compile(r"\s*\[\s*(\w+)\s*\]\s*(#.*)?")
_TABLES = ("control", "http")
_LISTEN = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9.-]+):(\d{1,5})", re.ASCII | re.IGNORECASE)
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - asked at loopback, never bound
_LOOPBACK = re.compile(r"localhost|::1|127(\.\d{1,3}){3}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Access:
    """Where a running daemon may answer.

    Attributes:
        sockets: Unix sockets, in the order in which they are tried.
        listen: Host and port of the probes over TCP, or None.
        notes: Why the configuration says less than it might, each in one line.
    """

    sockets: tuple[Path, ...]
    listen: tuple[str, int] | None = None
    notes: tuple[str, ...] = ()


def find_access(
    config: Path | None, environ: Mapping[str, str], cwd: Path, socket: Path | None = None
) -> Access:
    """Find out where a daemon may answer.

    A socket that the command line names, or the file that it names, is the only one: whoever asks about one
    daemon must not hear of another. Else every place of the search is tried, the configuration's first.

    `./keepalive.toml` may be somebody else's. Its socket is tried nevertheless: `run` in the same folder
    opens it there, a question tells no secret, and the worst that a foreign socket can do is to lie about
    itself. Of its `[http] listen` only loopback counts: no file makes a probe knock elsewhere.

    Args:
        config: The file that `--config` names, or None to look for one as `run` does.
        environ: The environment.
        cwd: The working directory, absolute.
        socket: The socket that `--socket` names, or None.

    Raises:
        ConfigError: A configuration was named and does not exist.
    """
    if socket is not None:
        return Access((cwd / socket,))
    file, named = _find_file(config, environ, cwd)
    said, notes = _read(file) if file else ({}, ())
    folder = file.parent if file else cwd
    path = said.get("control.socket")
    if "KEEPALIVE_CONTROL__SOCKET" in environ:
        folder, path = cwd, environ["KEEPALIVE_CONTROL__SOCKET"]
    if "KEEPALIVE_HTTP__LISTEN" in environ:
        listen = _listen(environ["KEEPALIVE_HTTP__LISTEN"])
    else:
        listen = _listen(said.get("http.listen", ""))
        if listen and not named and not _LOOPBACK.fullmatch(listen[0]):
            listen = None
    if path == "" and config is not None:
        return Access((), listen, (*notes, '[control] socket is "", so it opens none'))
    if path and config is not None:
        return Access((folder / path,), listen, notes)
    configured = (folder / path,) if path else ()
    return Access(tuple(dict.fromkeys((*configured, *_usual(environ)))), listen, notes)


def _usual(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where a daemon that was told nothing opens its socket, and where the service does."""
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        if folder := environ.get(variable, "").partition(":")[0]:
            yield Path(folder) / SOCKET
    yield SYSTEM_FOLDER / SOCKET


def _find_file(config: Path | None, environ: Mapping[str, str], cwd: Path) -> tuple[Path | None, bool]:
    """The file that `run` would read, and whether a person chose it."""
    variable = environ.get("KEEPALIVE_CONFIG", "")
    chosen = config or (Path(variable) if variable else None)
    if chosen is not None:
        if not _exists(cwd / chosen):
            where = "--config" if config else "$KEEPALIVE_CONFIG"
            hint = "name a file that exists, or the daemon's socket with --socket"
            raise ConfigError((ConfigFault(where, "", f"there is no file {str(chosen)!r}", hint),))
        return cwd / chosen, True
    if _exists(cwd / NAME):
        return cwd / NAME, False
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    for path in (Path(home, "keepalive", NAME) if home else SYSTEM_FILE, SYSTEM_FILE):
        if _exists(path):
            return path, True
    return None, True


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _listen(text: str) -> tuple[str, int] | None:
    found = _LISTEN.fullmatch(text)
    if found is None or int(found[2]) > 65_535:
        return None
    host = found[1].strip("[]")
    return _EVERYWHERE.get(host, host), int(found[2])


# --- the two tables ------------------------------------------------------------------------------


def _read(file: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """What a file says of the two keys, and why it says less than it might."""
    try:
        document = read_text(file, silence=_SILENCE)
    except ValueError as error:
        return {}, (f"{file} {error}",)
    try:
        return _texts(tomllib.loads(document)), ()
    except (ValueError, RecursionError):
        return _salvaged(document), (f"{file} is broken TOML: `keepalive check` says where",)


def _salvaged(document: str) -> dict[str, str]:
    """What the two tables say in a file that is not TOML as a whole: each line of theirs on its own."""
    said: dict[str, str] = {}
    table = ""
    for line in document.splitlines():
        if header := _HEADER.fullmatch(line):
            table = header[1]
        elif line.lstrip().startswith("["):
            table = line
        elif table in _TABLES or (not table and line.lstrip().startswith(_TABLES)):
            with suppress(ValueError, RecursionError):
                said |= _texts(tomllib.loads(f"[{table}]\n{line}" if table else line))
    return said


def _texts(tree: Mapping[str, object]) -> dict[str, str]:
    said: dict[str, str] = {}
    for name, key in (("control", "socket"), ("http", "listen")):
        table = tree.get(name)
        value = table.get(key) if isinstance(table, dict) else None
        if isinstance(value, str):
            said[f"{name}.{key}"] = value
    return said
