"""keepalive holds Cloudflare live-tail sessions open."""

from keepalive._version import __version__

__all__ = ["__version__"]
