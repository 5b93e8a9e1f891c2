"""A Wrangler project: the account and the Workers that `wrangler.toml` or `wrangler.jsonc` names."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from keepalive.config.targets import ACCOUNT_HINT, account_problem, script_problem
from keepalive.config.text import read_text
from keepalive.errors import ConfigError, ConfigFault

FILES = ("wrangler.json", "wrangler.jsonc", "wrangler.toml")
"""In the order in which Wrangler itself looks for them."""

_JSONC = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'("(?:\\.|[^"\\])*")|,(?=\s*[}\]])')


@dataclass(frozen=True, slots=True)
class Project:
    """What a Wrangler project says.

    Attributes:
        file: Where it says so.
        workers: `(account id or None, script name)` of every environment, the top level first.
    """

    file: Path
    workers: tuple[tuple[str | None, str], ...]


class _Environment(BaseModel):
    model_config = ConfigDict(frozen=True)

    name: str | None = None
    account_id: str | None = None


class _Wrangler(_Environment):
    env: dict[str, _Environment] = {}


def find_project(folder: Path) -> Project | None:
    """Read the Wrangler project of a folder, or None where there is none.

    An environment's script is called `name-environment` unless it has a name of its own.

    Raises:
        ConfigError: Its file cannot be read, or names what no Worker or account can be called.
    """
    file = next((folder / name for name in FILES if (folder / name).exists()), None)
    if file is None:
        return None
    document = _read(file)
    workers = [(document.account_id, document.name)] if document.name else []
    for environment, table in document.env.items():
        name = table.name or (document.name and f"{document.name}-{environment}")
        if name:
            workers.append((table.account_id or document.account_id, name))
    faults: list[ConfigFault] = []
    for account, script in workers:
        if problem := account_problem(account) if account else "":
            faults.append(ConfigFault(file.name, "account_id", problem, ACCOUNT_HINT))
        if wrong := script_problem(script):
            faults.append(ConfigFault(file.name, "name", *wrong))
    if faults:
        raise ConfigError(tuple(dict.fromkeys(faults)))
    return Project(file, tuple(dict.fromkeys(workers)))


def _read(file: Path) -> _Wrangler:
    try:
        text = read_text(file)
        raw = tomllib.loads(text) if file.suffix == ".toml" else json.loads(strip_jsonc(text))
        return _Wrangler.model_validate(raw)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        fault = ConfigFault(
            file.name, key, "is not what Wrangler writes there", "mend it, or move it away for now"
        )
    except ValueError as error:
        fault = ConfigFault(file.name, "", f"cannot be read: {error}", "mend it, or move it away for now")
    except RecursionError:
        found = "cannot be read: lists or tables are nested too deeply"
        fault = ConfigFault(file.name, "", found, "mend it, or move it away for now")
    raise ConfigError((fault,))


def strip_jsonc(text: str) -> str:
    """Turn JSON with comments and trailing commas into plain JSON; lines keep their numbers."""
    bare = _JSONC.sub(lambda found: found[1] or re.sub(r"[^\n]", " ", found[0]), text)
    return _TRAILING_COMMA.sub(lambda found: found[1] or " ", bare)
