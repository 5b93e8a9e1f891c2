"""The client: how a command asks a running daemon, over HTTP on its Unix socket.

By the standard library's sockets alone: `health` starts every few seconds, and `http.client` would take a
third of its time for mail and TLS. HTTP/1.0 makes that short: one question, one answer, no chunks.
"""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keepalive.config.access import Access
from keepalive.errors import DaemonRefusedError, DaemonUnreachableError

LARGEST = 8 * 1024 * 1024
"""Bytes of an answer: a page of a thousand targets with faults takes less than one million."""

SECONDS = 10.0
"""Seconds that an answer may take, from connecting to its last byte."""

Address = Path | tuple[str, int]

_CHUNK = 64 * 1024
_REASONS = {
    errno.ENOENT: "there is none",
    errno.ECONNREFUSED: "nobody listens there",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a daemon answered: an HTTP status, and the text of a JSON object."""

    status: int
    body: bytes


class Daemon:
    """A running daemon, wherever it answers; found by the first question, and asked there from then on.

    Attributes:
        address: Where it answered; None until then, and again once it does not answer there any more.
    """

    def __init__(self, access: Access, *, seconds: float = SECONDS, by_tcp: bool = False) -> None:
        """Say where it may be, how many seconds an answer may take, and whether TCP will do."""
        self.address: Address | None = None
        self._access = access
        self._seconds = seconds
        self._by_tcp = by_tcp

    def ask(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Ask one question.

        Args:
            method: Of HTTP.
            path: With its query, every part escaped.
            body: A JSON object, or nothing.

        Raises:
            DaemonUnreachableError: No daemon is there, or it gave no whole answer in time.
        """
        deadline = time.monotonic() + self._seconds
        question = _question(method, path, body)
        with self._connected(deadline) as connection:
            try:
                connection.sendall(question)
                answer = _read(connection, deadline)
            except TimeoutError:
                raise self._lost(f"did not answer within {self._seconds:g} s") from None
            except OSError as error:
                raise self._lost(f"broke off ({error.strerror})") from None
        reply = _understood(answer)
        if reply is None:
            raise self._lost("gave no whole answer" if answer else "closed the connection without an answer")
        return reply

    @contextmanager
    def _connected(self, deadline: float) -> Iterator[socket.socket]:
        address = self.address
        addresses = tuple(self._addresses()) if address is None else (address,)
        failures: dict[Address, OSError | ValueError] = {}
        for address in addresses:
            try:
                connection = _connect(address, deadline)
            except (OSError, ValueError) as error:
                failures[address] = error
            else:
                self.address = address
                with connection:
                    yield connection
                return
        self.address = None
        raise self._nowhere(failures)

    def _addresses(self) -> Iterator[Address]:
        yield from self._access.sockets
        if self._by_tcp and self._access.listen:
            yield self._access.listen

    def _nowhere(self, failures: Mapping[Address, OSError | ValueError]) -> DaemonUnreachableError:
        tried = ", ".join(f"{named(address)} ({_reason(error)})" for address, error in failures.items())
        notes = "".join(f"; {note}" for note in self._access.notes)
        found = f"no daemon answers at {tried or 'any place'}{notes}"
        if any(isinstance(error, PermissionError) for error in failures.values()):
            return DaemonUnreachableError(found, "use the daemon's user, or sudo")
        return DaemonUnreachableError(
            found, "start it with `keepalive run`, or name its socket with --socket"
        )

    def _lost(self, what: str) -> DaemonUnreachableError:
        address, self.address = self.address, None
        place = named(address) if address else "the daemon"
        return DaemonUnreachableError(f"the daemon at {place} {what}", "look at its log, or restart it")


def named(address: Address) -> str:
    """Write an address as a person does."""
    if isinstance(address, tuple):
        host, port = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return printable(str(address))


def printable(text: str) -> str:
    """The same text, control characters spelt out: a name from elsewhere must not drive a terminal."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError):
        return _REASONS.get(error.errno or 0) or error.strerror or str(error)
    return "no address"


def _connect(address: Address, deadline: float) -> socket.socket:
    if isinstance(address, tuple):
        return socket.create_connection(address, timeout=_left(deadline))
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_left(deadline))
        connection.connect(str(address))
    except BaseException:  # Ctrl-C too
        connection.close()
        raise
    return connection


def _left(deadline: float) -> float:
    """Seconds until the deadline: above 0, which to a socket would mean not to wait."""
    return max(0.001, deadline - time.monotonic())


def _question(method: str, path: str, body: bytes) -> bytes:
    lines = [f"{method} {path} HTTP/1.0", "Host: localhost", "Accept: application/json"]
    if body:
        lines.append("Content-Type: application/json")
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode("ascii") + body


def _read(connection: socket.socket, deadline: float) -> bytes:
    """Read until the other side closes, or a little more than `LARGEST`; TimeoutError at the deadline."""
    answer = bytearray()
    while len(answer) <= LARGEST:
        if time.monotonic() >= deadline:
            raise TimeoutError
        connection.settimeout(_left(deadline))
        chunk = connection.recv(_CHUNK)
        if not chunk:
            break
        answer += chunk
    return bytes(answer)


def _understood(answer: bytes) -> Reply | None:
    """Take a whole answer apart; None where it is no HTTP, is cut short or is too long."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *headers = head.split(b"\r\n")
    version, _, rest = first.partition(b" ")
    status = rest[:3]
    if not version.startswith(b"HTTP/1.") or not status.isdigit() or len(answer) > LARGEST:
        return None
    for header in headers:
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length" and value.strip() != b"%d" % len(body):
            return None
    return Reply(int(status), body)


def json_object(reply: Reply) -> dict[str, object] | None:
    """The JSON object of an answer; None where it is none."""
    try:
        value = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def refusal(reply: Reply) -> DaemonRefusedError:
    """Why a daemon will not, in its own words."""
    said = json_object(reply) or {}
    found, hint = said.get("error"), said.get("hint")
    if not isinstance(found, str):
        found = f"the daemon answered with HTTP status {reply.status}"
    return DaemonRefusedError(reply.status, found, hint if isinstance(hint, str) else "")
