"""The configuration file: found, read, and trusted only where a person named it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from yarl import URL

from keepalive.config.layers import Layer, Places
from keepalive.config.positions import positions
from keepalive.config.settings import SECRETS, is_loopback
from keepalive.config.text import read_text
from keepalive.config.wording import dotted, quote, shown
from keepalive.errors import ConfigError, ConfigFault

NAME = "keepalive.toml"
SYSTEM_FILE = Path("/etc/keepalive") / NAME


@dataclass(frozen=True, slots=True)
class Found:
    """A file to read, and whether a person chose it: `./keepalive.toml` may be somebody else's."""

    path: Path
    trusted: bool


def find_file(config: Path | None, environ: Mapping[str, str], cwd: Path) -> Found | None:
    """Find the configuration file, or None where there is none and none was named.

    Raises:
        ConfigError: One was named and does not exist.
    """
    variable = environ.get("KEEPALIVE_CONFIG", "")
    named = config or (Path(variable) if variable else None)
    if named is not None:
        if _exists(cwd / named):
            return Found(cwd / named, trusted=True)
        where = "--config" if config else "$KEEPALIVE_CONFIG"
        hint = "name a file that exists; `keepalive init` writes one"
        raise ConfigError((ConfigFault(where, "", f"there is no file {quote(str(named))}", hint),))
    if _exists(cwd / NAME):
        return Found(cwd / NAME, trusted=False)
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    for path in (Path(home, "keepalive", NAME) if home else SYSTEM_FILE, SYSTEM_FILE):
        if _exists(path):
            return Found(path, trusted=True)
    return None


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def read_file(found: Found, cwd: Path) -> Layer:
    """Read the configuration file.

    Raises:
        ConfigError: It cannot be read, or is not TOML.
    """
    name = shown(found.path, cwd)
    try:
        document = read_text(found.path)
    except ValueError as error:
        hint = "name a readable TOML file with --config, or take it away"
        raise ConfigError((ConfigFault(name, "", f"the configuration {error}", hint),)) from None
    try:
        tree = tomllib.loads(document)
    except ValueError as error:  # TOMLDecodeError is one; a number of thousands of digits raises a plain one
        raise ConfigError((_broken_toml(name, document, str(error)),)) from None
    except RecursionError:
        fault = ConfigFault(name, "", "lists or tables are nested too deeply", "write them flat")
        raise ConfigError((fault,)) from None

    def places() -> Places:
        return {key: f"{name}:{line}" for key, line in positions(document).items()}

    layer = Layer(tree, places)
    layer.resolve_paths(found.path.parent)
    return layer


def _broken_toml(name: str, document: str, message: str) -> ConfigFault:
    found = re.search(r"\(at line (\d+), column (\d+)\)", message)
    reason = message.partition(" (at ")[0]
    if found:
        line, column = int(found[1]), int(found[2])
    else:
        text = document.rstrip("\n")
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    hint = "mend the TOML there; texts need quotes, lists need brackets"
    return ConfigFault(f"{name}:{line}", "", f"broken TOML at column {column}: {reason}", hint)


def foreign(layer: Layer) -> Iterator[ConfigFault]:
    """Refuse what a file that nobody named may not decide: where the credentials go, and who is trusted."""
    hint = "name the file with --config if you trust it"
    for key in ("base_url", "ca_file", "live_tail_hosts"):
        path = ("cloudflare", key)
        value = layer.get(path)
        if not value or (key == "base_url" and _at_home(value)):
            continue
        what = (
            f"{quote(value)} is not Cloudflare's address" if key == "base_url" else "decides who is trusted"
        )
        place = layer.places.get(path, "")
        yield ConfigFault(place, dotted(path), f"{what}, and this file was found, not named", hint)


def _at_home(base_url: object) -> bool:
    try:
        url = URL(str(base_url))
        host, port = url.host or "", url.port
    except ValueError:
        return False
    return is_loopback(host) or (url.scheme, host, port) == ("https", "api.cloudflare.com", 443)


def exposed(layer: Layer, path: Path) -> Iterator[ConfigFault]:
    """Warn of literal secrets in a file that everybody on the machine can read."""
    try:
        mode = path.stat().st_mode
    except OSError:  # it has gone since it was read
        return
    if not mode & 0o004:
        return
    for name, table in layer.tables("credentials"):
        for secret in SECRETS:
            if secret in table:
                key = ("credentials", name, secret)
                found = "a literal secret, and everybody on this machine can read the file"
                hint = f"`chmod 600 {path.name}`, or keep the secret in a file of its own: `{secret}_file`"
                yield ConfigFault(layer.places.get(key, ""), dotted(key), found, hint)
