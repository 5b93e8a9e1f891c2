"""What a user asks for: read, checked and explained."""

from keepalive.config.configuration import Configuration, Setting, load
from keepalive.config.secrets import mark
from keepalive.config.settings import Settings

__all__ = ["Configuration", "Setting", "Settings", "load", "mark"]
