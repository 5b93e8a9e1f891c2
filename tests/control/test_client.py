from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from keepalive.config.access import Access
from keepalive.control import client
from keepalive.control.client import Daemon, Reply, json_object, named, refusal
from keepalive.errors import DaemonUnreachableError
from tests.support.answering import Answer, Script, answering

OK = b"HTTP/1.0 200 OK\r\n\r\n{}"


@contextmanager
def saying(path: Path, answer: bytes, *, hold: bool = False) -> Iterator[None]:
    """Say the same to whoever connects once, and close, or hold the connection until the end."""
    done = threading.Event()

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(answer)
            if hold:
                done.wait()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def test_a_question_is_answered(tmp_path: Path) -> None:
    script = Script({("POST", "/v1/x"): Answer(409, {"schema": 1, "error": "full"})})
    with answering(tmp_path / "k.sock", script):
        daemon = Daemon(Access((tmp_path / "k.sock",)))
        reply = daemon.ask("POST", "/v1/x?a=b", b'{"c": 1}')
    assert reply.status == 409
    assert json_object(reply) == {"schema": 1, "error": "full"}
    assert script.asked == [("POST", "/v1/x", {"a": ["b"]}, b'{"c": 1}')]
    assert daemon.address == tmp_path / "k.sock"


def test_the_first_place_that_answers_is_asked_from_then_on(tmp_path: Path) -> None:
    one, two = tmp_path / "one.sock", tmp_path / "two.sock"
    script = Script({("GET", "/"): Answer(200, {})})
    daemon = Daemon(Access((one, two)))
    with answering(two, script):
        daemon.ask("GET", "/")
        with answering(one, Script()):
            assert daemon.ask("GET", "/").status == 200
    assert len(script.asked) == 2


def test_a_daemon_that_came_back_elsewhere_is_found_again(tmp_path: Path) -> None:
    one, two = tmp_path / "one.sock", tmp_path / "two.sock"
    daemon = Daemon(Access((one, two)))
    script = Script({("GET", "/"): Answer(200, {})})
    with answering(two, script):
        daemon.ask("GET", "/")
    with answering(one, script):
        with pytest.raises(DaemonUnreachableError):
            daemon.ask("GET", "/")
        assert daemon.ask("GET", "/").status == 200
    assert daemon.address == one


def test_every_place_that_was_tried_is_named_with_the_reason(tmp_path: Path) -> None:
    none, stale = tmp_path / "none.sock", tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    long = tmp_path / ("x" * 120)
    access = Access((none, stale, long), ("a" * 64, 1), ("k.toml may not be read by this user",))
    with pytest.raises(DaemonUnreachableError) as raised:
        Daemon(access, by_tcp=True).ask("GET", "/")
    assert str(raised.value) == (
        f"no daemon answers at {none} (there is none), {stale} (nobody listens there), "
        f"{long} (AF_UNIX path too long), {'a' * 64}:1 (no address); "
        "k.toml may not be read by this user; start it with `keepalive run`, or name its socket with --socket"
    )
    assert raised.value.exit_code == 3


def test_a_socket_of_another_user_is_no_socket_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(client, "_connect", forbidden)
    with pytest.raises(DaemonUnreachableError) as raised:
        Daemon(Access((tmp_path / "k.sock",))).ask("GET", "/")
    assert str(raised.value) == (
        f"no daemon answers at {tmp_path}/k.sock (permission denied); use the daemon's user, or sudo"
    )


def test_tcp_is_asked_last_and_only_where_it_will_do(tmp_path: Path) -> None:
    script = Script({("GET", "/healthz"): Answer(200, {"healthy": True})})
    with answering(("127.0.0.1", 0), script) as address:
        assert isinstance(address, tuple)
        access = Access((tmp_path / "k.sock",), (str(address[0]), int(address[1])))
        assert Daemon(access, by_tcp=True).ask("GET", "/healthz").status == 200
        with pytest.raises(DaemonUnreachableError, match=r"k\.sock \(there is none\); start"):
            Daemon(access).ask("GET", "/healthz")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.0 200 OK\r\nContent-", OK], ids=["none", "part", "open"])
def test_a_daemon_that_hangs_is_waited_for_so_long_and_no_longer(tmp_path: Path, answer: bytes) -> None:
    with saying(tmp_path / "k.sock", answer, hold=True):
        before = time.monotonic()
        with pytest.raises(DaemonUnreachableError, match=r"did not answer within 0\.05 s; look at its log"):
            Daemon(Access((tmp_path / "k.sock",)), seconds=0.05).ask("GET", "/")
        assert time.monotonic() - before < 1


def test_a_daemon_that_drips_is_given_up_in_time() -> None:
    left, right = socket.socketpair()
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.01):
            right.sendall(b"x")

    with left, right:
        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(TimeoutError):
            client._read(left, time.monotonic() + 0.1)
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.0 abc\r\n\r\n{}",
        b"HTTP/1.0\r\n\r\n{}",
        b'HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n{"a": ',
        b"HTTP/1.0 200 OK\r\nContent-Length: x\r\n\r\n{}",
    ],
)
def test_an_answer_that_is_cut_short_or_no_http_is_none(tmp_path: Path, answer: bytes) -> None:
    with saying(tmp_path / "k.sock", answer), pytest.raises(DaemonUnreachableError, match="no whole answer"):
        Daemon(Access((tmp_path / "k.sock",))).ask("GET", "/")


def test_one_that_closes_without_a_word_is_told(tmp_path: Path) -> None:
    with saying(tmp_path / "k.sock", b""), pytest.raises(DaemonUnreachableError, match="without an answer"):
        Daemon(Access((tmp_path / "k.sock",))).ask("GET", "/")


def test_an_answer_without_end_is_not_read_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "LARGEST", 1000)
    for length, whole in ((1000, True), (1001, False)):
        path = tmp_path / f"{length}.sock"
        with saying(path, OK + b" " * (length - len(OK)), hold=not whole):
            daemon = Daemon(Access((path,)))
            if whole:
                assert len(daemon.ask("GET", "/").body) == 1000 - len(OK) + 2
            else:
                with pytest.raises(DaemonUnreachableError, match="no whole answer"):
                    daemon.ask("GET", "/")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"error": "no such target", "hint": "look at /v1/targets"}, "no such target; look at /v1/targets"),
        ({"error": "no such target"}, "no such target"),
        ({"error": 3}, "the daemon answered with HTTP status 404"),
        ([], "the daemon answered with HTTP status 404"),
    ],
)
def test_a_refusal_is_told_in_the_daemons_own_words(body: object, text: str) -> None:
    error = refusal(Reply(404, json.dumps(body).encode()))
    assert (str(error), error.status, error.exit_code) == (text, 404, 1)


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_none(body: bytes) -> None:
    assert json_object(Reply(200, body)) is None


def test_addresses_are_written_as_people_do() -> None:
    assert named(("::1", 9786)) == "[::1]:9786"
    assert named(("127.0.0.1", 9786)) == "127.0.0.1:9786"
    assert named(Path("/run/k\x1b.sock")) == "/run/k\\x1b.sock"
