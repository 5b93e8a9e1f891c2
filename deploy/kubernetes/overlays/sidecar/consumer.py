"""A consumer's lease: what a program that lacks the `keepalive` command says to the daemon beside it.

By the standard library, over the Unix socket that both containers share. A lease that is not renewed ends by
itself; it is renewed every third of its time, so that two renewals may fail. By the environment:

    LEASE           the name of the lease; who puts it again renews it
    LEASE_TARGETS   ACCOUNT/SCRIPT, separated by blanks
    LEASE_SECONDS   how long it lasts without a renewal (60)
    LEASE_SOCKET    the daemon's socket (/run/keepalive/keepalive.sock)
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys

SOCKET = os.environ.get("LEASE_SOCKET", "/run/keepalive/keepalive.sock")
PATH = f"/v1/leases/{os.environ['LEASE']}"
TARGETS = os.environ["LEASE_TARGETS"].split()
SECONDS = float(os.environ.get("LEASE_SECONDS", "60"))

RETRY = 2.0
"""Seconds until a renewal that failed is tried again."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def connect(self) -> None:
        """Connect to the daemon's socket, whatever the host is called."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def ask(method: str, body: object = None) -> tuple[int, str]:
    """Ask the daemon about the lease; OSError or HTTPException where nobody answers within 5 s."""
    connection = _Connection("localhost", timeout=5)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, PATH, content, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()
    finally:
        connection.close()


def renew() -> bool:
    """Put the lease, which makes or renews it, and say how its targets stand; False where that failed."""
    try:
        status, text = ask("PUT", {"targets": TARGETS, "ttl_seconds": SECONDS})
    except (OSError, http.client.HTTPException) as error:
        tell(f"the daemon does not answer: {error}")
        return False
    if status not in (200, 201):
        tell(f"refused ({status}): {text}")
        return False
    lease = json.loads(text)
    states = ", ".join(f"{target['target']} is {target['state']}" for target in lease["targets"])
    tell(f"{'got' if status == 201 else 'renewed'} the lease until {lease['ends_at']}: {states}")
    return True


def tell(text: str) -> None:
    """Write a line to the container's log."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Hold the lease until SIGTERM, then give it back. Your consumer's own work goes on beside this."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    while not signal.sigtimedwait(ends, SECONDS / 3 if renew() else RETRY):
        pass
    try:
        tell(f"gave the lease back: {ask('DELETE')[0]}")
    except (OSError, http.client.HTTPException) as error:
        tell(f"the lease ends by itself: {error}")


if __name__ == "__main__":
    main()
