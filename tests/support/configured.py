"""A folder with a configuration in it, for tests of what keepalive makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from keepalive.config import Configuration, load
from keepalive.errors import ConfigError

ACCOUNT_ID = "0123456789abcdef0123456789abcdef"

PROD = """
[credentials.prod]
api_token = "token-of-prod"
"""

TARGETS = f"""
[[targets]]
account_id = "{ACCOUNT_ID}"
scripts = ["api", "web"]
"""

TWO_TARGETS = f"""{PROD}
[[targets]]
credential = "prod"
account_id = "{ACCOUNT_ID}"
scripts = ["api", "web"]
"""
"""What a daemon holds to begin with; its credential is named, so that another one can stand beside it."""

OTHER = """
[credentials.other]
api_token = "token-of-other"
rate_group = "other"
"""
"""A credential of another user."""


class Folder:
    """A working directory with files, and the ways to read a configuration there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, text: str | bytes, mode: int = 0o600) -> Path:
        """Put a file there."""
        file = self.path / name
        file.write_bytes(text.encode() if isinstance(text, str) else text)
        file.chmod(mode)
        return file

    def read(
        self,
        text: str | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> Configuration:
        """Read a configuration file, named by `--config`, with that text; without one, what there is."""
        file = None if text is None else self.write("k.toml", text)
        return load(file, overrides or {}, environ or {}, self.path)

    def faults(
        self,
        text: str | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Read a configuration that has faults, and give them as lines."""
        with pytest.raises(ConfigError) as raised:
            self.read(text, environ, overrides)
        return [str(fault) for fault in raised.value.faults]

    def fault(self, text: str | None = None, environ: Mapping[str, str] | None = None) -> str:
        """Read a configuration that has exactly one fault."""
        (fault,) = self.faults(text, environ)
        return fault
