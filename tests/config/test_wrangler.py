from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.config.wrangler import find_project, strip_jsonc
from keepalive.errors import ConfigError
from tests.support.configured import ACCOUNT_ID, Folder

OTHER = "fedcba9876543210fedcba9876543210"

TOML = f"""
name = "api"
account_id = "{ACCOUNT_ID}"
main = "src/index.ts"
[env.staging]
vars = {{ A = "1" }}
[env.production]
name = "api-live"
account_id = "{OTHER}"
"""

JSONC = """
{
  // a comment, with "quotes" and a comma,
  "name": "api", /* and
  another */
  "account_id": "ACCOUNT",
  "vars": { "URL": "https://x.example/*,]//", },
  "env": { "staging": { "vars": {}, }, "production": { "name": "api-live", "account_id": "OTHER" }, },
}
""".replace("ACCOUNT", ACCOUNT_ID).replace("OTHER", OTHER)

WORKERS = ((ACCOUNT_ID, "api"), (ACCOUNT_ID, "api-staging"), (OTHER, "api-live"))


@pytest.mark.parametrize(
    ("name", "text"), [("wrangler.toml", TOML), ("wrangler.jsonc", JSONC), ("wrangler.json", JSONC)]
)
def test_every_environment_is_a_script(folder: Folder, name: str, text: str) -> None:
    folder.write(name, text)
    project = find_project(folder.path)
    assert project is not None
    assert project.file.name == name
    assert project.workers == WORKERS


def test_no_project_is_no_fault(folder: Folder) -> None:
    assert find_project(folder.path) is None


def test_the_file_that_wrangler_prefers_counts(folder: Folder) -> None:
    folder.write("wrangler.toml", 'name = "old"')
    folder.write("wrangler.jsonc", '{"name": "new"}')
    project = find_project(folder.path)
    assert project is not None
    assert project.workers == ((None, "new"),)


@pytest.mark.parametrize("text", ["main = 'x'", "[env.staging]\nvars = {}"])
def test_a_project_without_names_has_no_workers(folder: Folder, text: str) -> None:
    folder.write("wrangler.toml", text)
    project = find_project(folder.path)
    assert project is not None
    assert project.workers == ()


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("wrangler.toml", "name = ", "wrangler.toml: cannot be read: "),
        ("wrangler.jsonc", '{"name": }', "wrangler.jsonc: cannot be read: "),
        ("wrangler.jsonc", '{"name": 3}', "wrangler.jsonc: name: is not what Wrangler writes there; "),
        ("wrangler.toml", 'name = "a/b"', "wrangler.toml: name: 'a/b' has a slash; "),
        ("wrangler.toml", 'name = "a"\naccount_id = "12"', "wrangler.toml: account_id: an account id has 32"),
    ],
)
def test_a_broken_project_is_told(folder: Folder, name: str, text: str, fault: str) -> None:
    folder.write(name, text)
    with pytest.raises(ConfigError) as raised:
        find_project(folder.path)
    assert str(raised.value).startswith(fault)


@pytest.mark.parametrize(("name", "before"), [("wrangler.jsonc", ""), ("wrangler.toml", "x = ")])
def test_nesting_without_end_is_no_crash(folder: Folder, name: str, before: str) -> None:
    folder.write(name, before + "[" * 50_000)
    with pytest.raises(ConfigError) as raised:
        find_project(folder.path)
    assert str(raised.value).startswith(f"{name}: cannot be read: lists or tables are nested too deeply; ")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\/*,]} \n'),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(alphabet='"/*,}', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_plain_json_keeps_its_meaning(value: object) -> None:
    text = json.dumps(value, indent=1)
    assert json.loads(strip_jsonc(text)) == value


@given(JSON)
def test_comments_and_trailing_commas_mean_nothing(value: object) -> None:
    lines = json.dumps([value], indent=1).splitlines()
    commented = "\n".join(f'{line} // "x", ]' for line in lines[:-1]) + ", /* , */\n" + lines[-1]
    assert json.loads(strip_jsonc(commented)) == [value]
