"""The environment: `KEEPALIVE_*` variables, and the ones that Cloudflare's tools share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import get_origin

from keepalive.config.layers import Layer, field_type, known_keys, typed
from keepalive.config.positions import KeyPath
from keepalive.config.settings import FORMS
from keepalive.errors import ConfigFault

_PREFIX = "KEEPALIVE_"
_SPECIAL = ("KEEPALIVE_CONFIG", "KEEPALIVE_SCRIPTS")
_NAMED_TABLES = ("credentials", "rate_groups")

_CLOSE = 0.7
"""How alike a misspelt name and the right one are at least; 1 is the same."""

_SERVICE_LINK = re.compile(
    r"KEEPALIVE_(?:(?:[A-Z0-9]+_)*SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)=.*"
    r"|(?:[A-Z0-9]+_)*PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?=.*"
    r"|PORT=.*"
    r"|(?:[A-Z0-9]+_)+PORT=(?:tcp|udp|sctp)://.*)",
    re.DOTALL,
)
"""What Kubernetes sets in every pod beside a Service whose name is or begins with `keepalive`."""

_SHARED_SECRETS = {
    "CLOUDFLARE_API_TOKEN": "api_token",
    "CLOUDFLARE_API_KEY": "api_key",
    "CLOUDFLARE_API_USER_SERVICE_KEY": "user_service_key",
}
_SHARED_URLS = ("CLOUDFLARE_API_BASE_URL", "CLOUDFLARE_BASE_URL")


def keepalive_variables(environ: Mapping[str, str], cwd: Path, faults: list[ConfigFault]) -> Layer:
    """Read `KEEPALIVE_SECTION__KEY` and `KEEPALIVE_SCRIPTS`; what is unknown joins `faults`."""
    places: dict[KeyPath, str] = {}
    layer = Layer({}, lambda: places)
    for name, text in sorted(environ.items()):
        if not name.startswith(_PREFIX) or name in _SPECIAL or _SERVICE_LINK.fullmatch(f"{name}={text}"):
            continue
        path = _path(name)
        if fault := _unknown(name, path):
            faults.append(fault)
        else:
            places[path] = f"${name}"
            layer.put(path, typed(text, path))
    if "KEEPALIVE_SCRIPTS" in environ:
        faults.extend(_put_scripts(environ, layer, places))
    layer.resolve_paths(cwd)
    return layer


def _path(name: str) -> tuple[str, ...]:
    first, *rest = name.removeprefix(_PREFIX).lower().split("__")
    if first in _NAMED_TABLES and len(rest) > 2:
        *middle, last = rest
        return first, "__".join(middle), last
    return first, *rest


def _unknown(name: str, path: tuple[str, ...]) -> ConfigFault | None:
    setting = field_type(path)
    if path[0] == "targets":
        hint = "list them in the file, or set KEEPALIVE_SCRIPTS and CLOUDFLARE_ACCOUNT_ID"
        return ConfigFault(f"${name}", "", "targets do not fit into variables", hint)
    if get_origin(setting) is Mapping or known_keys(path):
        example = next(
            variable
            for variable in _variables("NAME")
            if variable.startswith(f"{_PREFIX}{path[0].upper()}__")
        )
        return ConfigFault(
            f"${name}", "", "names a table, not a key", f"set one of its keys, such as {example}"
        )
    return ConfigFault(f"${name}", "", "unknown variable", _nearest(path)) if setting is None else None


def _nearest(path: tuple[str, ...]) -> str:
    """Name the variable that may be meant: by its key where its table exists, else by the whole of it."""
    *table, key = path
    if known := known_keys(tuple(table)) if table else []:
        names = {one: _variable((*table, one)) for one in known}
        word, otherwise = key, f"known here: {', '.join(known)}"
    else:
        names = {name.removeprefix(_PREFIX).lower(): name for name in (*_variables("NAME"), *_SPECIAL)}
        names |= {name.rpartition("__")[2].lower(): name for name in _variables("NAME")}
        word, otherwise = "__".join(path), "unset it; `keepalive config show` lists what there is"
    close = get_close_matches(word, names, n=1, cutoff=_CLOSE)
    return f"did you mean `{names[close[0]]}`?" if close else otherwise


def _variables(name: str) -> Iterator[str]:
    """The variables that exist, with `name` where a credential's or a rate group's name stands."""
    for section in known_keys(()):
        path = (section, name) if section in _NAMED_TABLES else (section,)
        yield from (_variable((*path, key)) for key in known_keys(path))


def _variable(path: Iterable[str]) -> str:
    return f"{_PREFIX}{'__'.join(path).upper()}"


def _put_scripts(
    environ: Mapping[str, str], layer: Layer, places: dict[KeyPath, str]
) -> Iterator[ConfigFault]:
    account, scripts = environ.get("CLOUDFLARE_ACCOUNT_ID", ""), environ["KEEPALIVE_SCRIPTS"]
    if not account:
        hint = "set CLOUDFLARE_ACCOUNT_ID too, or list the targets in a file"
        yield ConfigFault("$KEEPALIVE_SCRIPTS", "", "scripts without an account", hint)
    if not scripts.strip():
        hint = "write names with commas between them, or unset it for the whole account"
        yield ConfigFault("$KEEPALIVE_SCRIPTS", "", "is empty", hint)
    if account and scripts.strip():
        names = [name.strip() for name in scripts.split(",")]
        layer.tree["targets"] = [{"account_id": account, "scripts": names}]
        places[("targets",)] = places[("targets", 0, "scripts")] = "$KEEPALIVE_SCRIPTS"
        places[("targets", 0)] = places[("targets", 0, "account_id")] = "$CLOUDFLARE_ACCOUNT_ID"


def cloudflare_variables(
    environ: Mapping[str, str], cwd: Path, higher: list[Layer], faults: list[ConfigFault]
) -> Layer:
    """Read `CLOUDFLARE_*`: other tools use them too, so they count only where no higher layer speaks."""
    places: dict[KeyPath, str] = {}
    layer = Layer({}, lambda: places)

    def take(variable: str, *path: str) -> None:
        if text := environ.get(variable):
            layer.put(path, text)
            places[path] = f"${variable}"

    if not any(one.get(("credentials",)) for one in higher):
        for variable, secret in _SHARED_SECRETS.items():
            take(variable, "credentials", "default", secret)
            take(f"{variable}_FILE", "credentials", "default", f"{secret}_file")
        if any(layer.get(("credentials", "default", f"api_key{form}")) for form in FORMS):
            take("CLOUDFLARE_EMAIL", "credentials", "default", "email")
    for variable in _SHARED_URLS:
        take(variable, "cloudflare", "base_url")
    if len({environ[variable].rstrip("/") for variable in _SHARED_URLS if environ.get(variable)}) > 1:
        found = "$CLOUDFLARE_API_BASE_URL names another address"
        faults.append(
            ConfigFault("$CLOUDFLARE_BASE_URL", "cloudflare.base_url", found, "unset one of the two")
        )
    spoken_for = any(one.get(("targets",)) is not None or one.get(("control", "socket")) for one in higher)
    if environ.get("CLOUDFLARE_ACCOUNT_ID") and "KEEPALIVE_SCRIPTS" not in environ and not spoken_for:
        layer.tree["targets"] = [{"account_id": environ["CLOUDFLARE_ACCOUNT_ID"], "account_wide": True}]
        places[("targets",)] = "$CLOUDFLARE_ACCOUNT_ID"
    layer.resolve_paths(cwd)
    return layer


def surroundings(environ: Mapping[str, str]) -> Layer:
    """Defaults that depend on who starts keepalive: systemd, or a person with a home."""
    places: dict[KeyPath, str] = {}
    layer = Layer({}, lambda: places)

    def first(path: tuple[str, str], *candidates: tuple[str, str]) -> None:
        for variable, rest in candidates:
            if directory := first_directory(environ, variable):
                layer.put(path, str(directory / rest))
                places[path] = f"default, from ${variable}"
                return

    first(
        ("state", "path"),
        ("STATE_DIRECTORY", "state.db"),
        ("XDG_STATE_HOME", "keepalive/state.db"),
        ("HOME", ".local/state/keepalive/state.db"),
    )
    first(
        ("control", "socket"), ("RUNTIME_DIRECTORY", "keepalive.sock"), ("XDG_RUNTIME_DIR", "keepalive.sock")
    )
    return layer


def first_directory(environ: Mapping[str, str], variable: str) -> Path | None:
    """What directory a variable names; systemd may give several with colons between, the first counts."""
    text = environ.get(variable, "").partition(":")[0]
    return Path(text) if text else None
