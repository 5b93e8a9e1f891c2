"""A failure of the way: what an exception of the network means. None of its text is taken unseen."""

from __future__ import annotations

import os
import socket
import ssl

from aiohttp import (
    ClientConnectionError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientHttpProxyError,
    ClientOSError,
    ClientProxyConnectionError,
    ClientSSLError,
)

from keepalive.core.outcome import Fault, Transient

_TLS_HINT = (
    "check the system clock and the CA certificates (package ca-certificates); "
    "behind a proxy that inspects TLS, set cloudflare.ca_file to its CA"
)
_DNS_HINT = "check the resolver of this machine and cloudflare.base_url"
_PROXY_HINT = "check HTTPS_PROXY (address, user, password), or exempt the API's host by NO_PROXY"


def failure(error: ClientError | OSError, host: str, *, timeout: float) -> Transient:
    """Turn an exception of aiohttp, of a socket or of TLS into an outcome.

    Args:
        error: What was raised; a `TimeoutError` is the attempt's own timeout.
        host: Whom the attempt was for, as `host:port`.
        timeout: Seconds that the attempt was given.
    """
    cause, detail, hint = _words(error, host, timeout)
    return Transient(Fault(cause, detail, hint=hint), hung=cause == "timeout")


def _words(error: ClientError | OSError, host: str, timeout: float) -> tuple[str, str, str]:
    """Say it in a cause, a detail and a hint. Subclasses stand before what they derive from."""
    match error:
        case TimeoutError():
            words = "timeout", f"{host} did not answer within {timeout:g} s", ""
        case ClientHttpProxyError():
            words = "proxy", f"the proxy answered {error.status} for {host}", _PROXY_HINT
        case ClientProxyConnectionError():
            words = "proxy", f"cannot reach the proxy for {host}: {_reason(error)}", _PROXY_HINT
        case ClientSSLError() | ssl.SSLError():
            words = "tls", f"{host} is not trusted: {_reason(error)}", _TLS_HINT
        case ClientConnectorDNSError():
            words = "dns", f"cannot resolve {host}: {_reason(error)}", _DNS_HINT
        case ClientConnectorError():
            words = "connect", f"cannot connect to {host}: {_reason(error)}", ""
        case ClientConnectionError() | OSError():
            words = "reset", f"{host} closed the connection before it answered: {_reason(error)}", ""
        case _:
            words = "protocol", f"{host} did not answer in HTTP", "check cloudflare.base_url and the proxy"
    return words


def _reason(error: Exception) -> str:
    """The system's own words for an error; no others, for those may quote what was sent.

    An error of OpenSSL has its attributes only where OpenSSL itself raised it.
    """
    inner = error.os_error if isinstance(error, ClientConnectorError) else error
    if isinstance(inner, ssl.SSLCertVerificationError):
        return str(getattr(inner, "verify_message", "its certificate does not verify"))
    if isinstance(inner, ssl.SSLError):
        return str(getattr(inner, "reason", None) or "no TLS").replace("_", " ").lower()
    if isinstance(inner, socket.gaierror):
        return socket.gai_strerror(inner.errno) if hasattr(socket, "gai_strerror") else "no such name"
    if isinstance(inner, (OSError, ClientOSError)) and inner.errno:
        return os.strerror(inner.errno).lower()
    return "end of stream"
