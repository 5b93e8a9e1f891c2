"""Hosts: the names under which a request may ask for the daemon.

A page in a browser can point a name of its own at this machine (DNS rebinding), and then read what it asks
for. What it cannot do is to send another `Host` than its own name: so only those are answered that no other
page can have.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from ipaddress import ip_address

OWN_NAMES = frozenset({"localhost", "keepalive"})
"""Names that no public zone holds; the second is what clients of the socket write, and many a container."""


_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d*)?", re.ASCII | re.IGNORECASE)


def own_names(listen: str = "") -> frozenset[str]:
    """All names of the daemon: the usual ones, this machine's, and the one in `[http] listen`."""
    names = {*OWN_NAMES, socket.gethostname().lower(), host_of(listen)}
    return frozenset(names - {""})


def host_of(authority: str) -> str:
    """The host of `host` or `host:port`, in lower case, an IPv6 address without brackets; "" for neither."""
    found = _AUTHORITY.fullmatch(authority)
    return (found[1] or found[2]).lower() if found else ""


def is_ours(hosts: Sequence[str], names: frozenset[str]) -> bool:
    """Whether a request may be answered.

    Args:
        hosts: The values of its `Host` headers. None at all is what HTTP/1.0 probes send, and no browser.
        names: What `own_names` gave.
    """
    if not hosts:
        return True
    if len(hosts) > 1:
        return False
    host = host_of(hosts[0].strip())
    return host in names or _is_address(host)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
