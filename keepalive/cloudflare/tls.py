"""TLS: whom keepalive trusts to be the far side. It is always verified."""

from __future__ import annotations

import ssl

from keepalive.errors import ConfigError, ConfigFault


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Trust the system's authorities, and those of a CA bundle besides.

    Raises:
        ConfigError: The bundle cannot be used.
    """
    context = ssl.create_default_context()
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            found = "no PEM certificates" if isinstance(error, ssl.SSLError) else str(error.strerror).lower()
            fault = ConfigFault(
                ca_file, "cloudflare.ca_file", found, "name a readable PEM file of CA certificates"
            )
            raise ConfigError((fault,)) from None
    return context
