"""The server: where it opens, what becomes of it where it cannot, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import socket
from pathlib import Path
from unittest.mock import ANY

import pytest

from keepalive.control import server
from keepalive.core.events import ControlFailed
from tests.control.stage import Stage, read_all, running, staged, until
from tests.support.configured import TWO_TARGETS, Folder


def failures(stage: Stage) -> list[tuple[str, str]]:
    return [(each.address, each.cause) for each in stage.told.events if isinstance(each, ControlFailed)]


async def test_tcp_has_the_probes_and_nothing_else(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        assert (await stage.ask_tcp("/healthz")).json == {"schema": 1, "healthy": True, "reason": ANY}
        assert (await stage.ask_tcp("/metrics")).text == "# EOF\n"
        for method, path in (
            ("GET", "/v1/status"),
            ("POST", "/v1/reload"),
            ("PUT", "/v1/leases/ci"),
            ("GET", "/"),
        ):
            answer = await stage.ask_tcp(path, method)
            assert answer.status == 404
            assert answer.json["hint"] == "all else is answered on the control socket"


async def test_the_probes_are_on_the_socket_too(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for path in ("/healthz", "/metrics"):
            assert (await stage.ask("GET", path)).status == 200


async def test_a_probe_that_wants_no_body_gets_none(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await until(lambda: stage.probe.readiness().ok)
        for path in ("/healthz", "/readyz", "/metrics"):
            whole = await stage.ask_tcp(path)
            host = b"Host: localhost\r\n\r\n"
            asked = f"HEAD {path} HTTP/1.1\r\nConnection: close\r\n".encode() + host
            head, _, body = (await stage.raw(asked)).partition(b"\r\n\r\n")
            assert head.startswith(f"HTTP/1.1 {whole.status} ".encode())
            assert body == b""


async def test_readiness_follows_the_targets(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        await until(lambda: stage.probe.readiness().ok)
        assert (await stage.ask_tcp("/readyz")).status == 200


async def test_a_daemon_that_does_not_turn_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepalive.control.health.OVERDUE_SECONDS", 0.0)
    async with staged(tmp_path, beating=False) as stage:
        answer = await stage.ask_tcp("/healthz")

    assert answer.status == 503
    assert answer.json["healthy"] is False


async def test_the_header_accept_is_passed_on_to_the_metrics(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        answer = await stage.ask_tcp("/metrics", headers={"Accept": "application/openmetrics-text"})

        assert stage.metrics.accepts == ["application/openmetrics-text"]
        assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"


async def test_another_host_is_refused_on_both(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        for answer in (
            await stage.ask_tcp("/metrics", headers={"Host": "evil.example"}),
            await stage.ask("GET", "/v1/status", headers={"Host": "evil.example"}),
        ):
            assert answer.status == 403
            assert answer.json["error"] == "the Host header names another machine"
        assert stage.metrics.accepts == []


async def test_what_is_not_asked_for_is_not_opened(tmp_path: Path) -> None:
    stage = Stage(Folder(tmp_path), TWO_TARGETS)
    control = stage.opens(socket="", listen="")
    async with running(control.run()):
        await asyncio.sleep(0.01)
        assert control.addresses == {}
        assert not stage.socket.exists()


async def test_nothing_is_left_at_the_end(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        port = stage.port
        reader, _ = await stage.connect()
    assert await read_all(reader) == b""
    assert not stage.socket.exists()
    with socket.socket() as again, socket.socket() as caller:
        assert caller.connect_ex(("127.0.0.1", port)) != 0
        again.bind(("127.0.0.1", 0))


async def test_an_answer_under_way_is_finished_at_the_end(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        free = asyncio.Event()

        async def slow(accept: str = "") -> tuple[bytes, str]:
            free.set()
            await asyncio.sleep(0.03)
            return b"# EOF\n", "text/plain"

        stage.metrics.render = slow  # type: ignore[method-assign]
        asking = asyncio.create_task(stage.ask_tcp("/metrics"))
        await free.wait()
    assert (await asking).text == "# EOF\n"


async def test_a_port_in_use_is_told_once_and_taken_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    async with staged(tmp_path) as stage:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            place = f"127.0.0.1:{other.getsockname()[1]}"
            control = stage.opens(socket="", listen=place)
            async with running(control.run()):
                await until(lambda: failures(stage) != [])
                await asyncio.sleep(0.04)
                assert failures(stage) == [(place, "cannot be listened on: Address already in use")]
                other.close()
                await until(lambda: control.addresses == {place: place})
        assert (await stage.ask("GET", "/v1/status")).json["targets"]["eligible"] == 2


@pytest.mark.parametrize(
    ("listen", "cause"),
    [
        ("192.0.2.1:9786", "Cannot assign requested address"),
        ("no-such-name.invalid:9786", "there is no such name"),
        ("a..b:9786", "there is no such name"),
    ],
)
async def test_an_address_that_is_none_of_ours_is_told(tmp_path: Path, listen: str, cause: str) -> None:
    async with staged(tmp_path) as stage, running(stage.opens(socket="", listen=listen).run()):
        await until(lambda: failures(stage) != [])
        assert failures(stage) == [(listen, f"cannot be listened on: {cause}")]


async def test_a_name_is_listened_on_at_all_of_its_addresses(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        control = stage.opens(socket="", listen="localhost:0")
        async with running(control.run()):
            await until(lambda: len(control.addresses) == 1)


async def test_two_daemons_do_not_share_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    async with staged(tmp_path) as stage:
        second = stage.opens(listen="")
        async with running(second.run()):
            await until(lambda: failures(stage) != [])
            assert failures(stage) == [(str(stage.socket), "is another daemon's, which answers there")]
            assert (await stage.ask("GET", "/v1/status")).status == 200
        assert (await stage.ask("GET", "/v1/status")).status == 200


async def test_the_socket_is_taken_over_once_the_other_daemon_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    async with staged(tmp_path) as stage:
        place = str(tmp_path / "other.sock")
        first, second = stage.opens(place, listen=""), stage.opens(place, listen="")
        first_ends = asyncio.Event()

        async def first_daemon() -> None:
            async with running(first.run()):
                await first_ends.wait()

        async with running(first_daemon()):
            await until(lambda: first.addresses != {})
            async with running(second.run()):
                await until(lambda: failures(stage) != [])
                first_ends.set()
                await until(lambda: second.addresses != {})
                assert (await stage.ask("GET", "/healthz")).status == 200


@pytest.mark.parametrize("another_file", [False, True])
async def test_a_socket_whose_file_is_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, another_file: bool
) -> None:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(server, "RETRY_SECONDS", 0.01)
    async with staged(tmp_path) as stage:
        stage.socket.unlink()
        if another_file:
            stage.socket.touch()
            await until(lambda: failures(stage) != [])
            assert failures(stage) == [(str(stage.socket), "is no socket")]
            stage.socket.unlink()
        await until(lambda: stage.socket.is_socket() and len(stage.control.addresses) == 2)
        assert (await stage.ask("GET", "/healthz")).status == 200
    assert not stage.socket.exists()


@pytest.mark.parametrize("call", ["socket", "fromfd"])
async def test_a_process_without_descriptors_goes_on_and_opens_its_places_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(server, "RETRY_SECONDS", 0.02)
    stage = Stage(Folder(tmp_path), TWO_TARGETS)
    with monkeypatch.context() as patched:
        patched.setattr(socket, call, none_left)
        async with running(stage.control.run()):
            await until(lambda: len(failures(stage)) == 2)
            patched.undo()
            await until(lambda: len(stage.control.addresses) == 2)
            assert stage.socket.exists()
    causes = dict(failures(stage))
    assert "too many open files" in causes[str(stage.socket)].lower()
    assert ("none left" if call == "socket" else "too many open files") in causes["127.0.0.1:0"]


async def test_an_address_of_a_kind_that_the_machine_does_not_have_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class WithoutIPv6(socket.socket):
        def __init__(
            self, family: int = -1, kind: int = -1, proto: int = -1, fileno: int | None = None
        ) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            super().__init__(family, kind, proto, fileno)

    stage = Stage(Folder(tmp_path), TWO_TARGETS)
    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", WithoutIPv6)
        async with running(stage.opens(socket="", listen="[::1]:0").run()):
            await until(lambda: bool(failures(stage)))
    ((address, cause),) = failures(stage)
    assert (address, cause.partition(":")[0]) == ("[::1]:0", "cannot be listened on")
