"""The window, as commands speak of it: a length, and whether it was measured or is assumed."""

from __future__ import annotations

from keepalive.config.duration import format_duration


def about_window(seconds: float, *, calibrated: bool) -> str:
    """Say how long one accepted heartbeat lasts, and how far that is known."""
    if calibrated:
        return f"{format_duration(seconds)}, measured"
    return f"{format_duration(seconds)}, assumed: Cloudflare does not say; `keepalive calibrate` measures it"
