"""The proxy on the way to Cloudflare, as the environment names it.

The session's own `trust_env` is not used: it would also read ~/.netrc, whose password would take the
place of the credential.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple
from urllib.request import getproxies, proxy_bypass

from aiohttp import encode_basic_auth
from yarl import URL

from keepalive.errors import ConfigError, ConfigFault

_OPENED_BY = {"wss": "https", "ws": "http"}


class Proxy(NamedTuple):
    """A proxy: where it is, and the headers that open it.

    Attributes:
        url: Scheme, host and port; no user and no password.
        headers: `Proxy-Authorization`, where the environment gave a password. Secret: never log it.
    """

    url: URL
    headers: dict[str, str]

    def __repr__(self) -> str:
        """Name the place only."""
        return f"Proxy({str(self.url)!r})"


def proxy_for(base: URL) -> Proxy | None:
    """Say which proxy leads to `base`: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case.

    Loopback is never asked for through a proxy: it would be the proxy's own. A WebSocket goes the way of
    the HTTP that opens it.

    Raises:
        ConfigError: The variable holds no address of an HTTP proxy.
    """
    host = base.host or ""
    scheme = _OPENED_BY.get(base.scheme, base.scheme)
    found = getproxies()
    value = found.get(scheme) or found.get("all")
    if not value or _is_loopback(host) or proxy_bypass(f"{host}:{base.port}"):
        return None
    variable = f"${scheme.upper()}_PROXY" if found.get(scheme) else "$ALL_PROXY"
    try:
        url = URL(value if "://" in value else f"http://{value}")
        bare = url.origin()
        headers = {"Proxy-Authorization": encode_basic_auth(url.user, url.password or "")} if url.user else {}
    except ValueError:
        raise _not_usable(variable, "no address of a proxy") from None
    if bare.scheme not in ("http", "https"):
        raise _not_usable(variable, f"a proxy of the kind {bare.scheme}")
    return Proxy(bare, headers)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _not_usable(variable: str, found: str) -> ConfigError:
    """Say it without the value, which may hold a password."""
    hint = "write http://HOST:PORT (SOCKS is not supported), or exempt the host by NO_PROXY"
    return ConfigError((ConfigFault(variable, "", found, hint),))
