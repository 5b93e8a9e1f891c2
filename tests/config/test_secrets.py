from __future__ import annotations

import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepalive.config import load, mark
from keepalive.errors import ConfigError
from tests.support.configured import ACCOUNT_ID, TARGETS, Folder


@pytest.mark.parametrize(
    ("lines", "environ"),
    [
        ('api_token = "  the-token\\n"', {}),
        ('api_token_file = "s"', {}),
        ('api_token_env = "T"', {"T": "the-token\r\n"}),
        ('api_token_credential = "s"', {"CREDENTIALS_DIRECTORY": "{folder}:/elsewhere"}),
    ],
)
def test_each_form_gives_the_trimmed_secret(folder: Folder, lines: str, environ: dict[str, str]) -> None:
    folder.write("s", "the-token\n")
    environ = {name: value.format(folder=folder.path) for name, value in environ.items()}
    read = folder.read(f"[credentials.p]\n{lines}\n" + TARGETS, environ)
    assert read.credentials["p"].headers() == {"Authorization": "Bearer the-token"}


def test_all_three_schemes_are_read(folder: Folder) -> None:
    text = f"""
[credentials.token]
api_token = "t"
[credentials.key]
email = "ops@example.com"
api_key = "k"
[credentials.service]
user_service_key = "v1.0-s"
[[targets]]
credential = "key"
account_id = "{ACCOUNT_ID}"
account_wide = true
"""
    assert [credential.headers() for credential in folder.read(text).credentials.values()] == [
        {"Authorization": "Bearer t"},
        {"X-Auth-Email": "ops@example.com", "X-Auth-Key": "k"},
        {"X-Auth-User-Service-Key": "v1.0-s"},
    ]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ('rate_group = "x"', "credentials.p: no secret; give one of api_token, api_key, user_service_key"),
        (
            'api_token_file = "~/s"',
            "the file '~/s' does not exist; write the whole path: ~ stands for no home",
        ),
        (
            'api_token = "a"\nuser_service_key = "b"',
            "two schemes at once, api_token and user_service_key; keep one",
        ),
        (
            'api_token = "a"\napi_token_env = "B"',
            "one secret in several forms, api_token and api_token_env; keep one",
        ),
        ('api_key = "a"', "an api_key without its e-mail address; add `email`"),
        (
            'api_token = "a"\nemail = "e@x"',
            "credentials.p.email: an e-mail address beside api_token; leave it out",
        ),
        ('api_token = ""', "credentials.p.api_token: the secret is empty; "),
        ('api_token_file = "empty"', "credentials.p.api_token_file: in 'empty', the secret is empty; "),
        ('api_token_file = "blank"', "in 'blank', the secret is empty; "),
        ('api_token_file = "two"', "in 'two', the secret holds a blank, a line break or a character"),
        (
            'api_token_file = "none"',
            "credentials.p.api_token_file: the file 'none' does not exist; write the secret",
        ),
        ('api_token_file = "dir"', "the file 'dir' is a directory, not a file; "),
        ('api_token_file = "latin"', "the file 'latin' is not UTF-8 text (line 1); "),
        ('api_token_env = "UNSET_TOKEN"', "the variable 'UNSET_TOKEN' is not set; set it, or name another"),
        ('api_token_env = "BLANK_TOKEN"', "credentials.p.api_token_env: the secret is empty; "),
        (
            'api_token_credential = "s"',
            "systemd gave no credentials: $CREDENTIALS_DIRECTORY is not set; add LoadCred",
        ),
        ("api_token = 12", "credentials.p.api_token: a number does not fit; write a text in quotes"),
        ('api_tokn = "canary"', "credentials.p.api_tokn: unknown key; did you mean `api_token`?"),
        ('api_token = "a"\nrate_group = "A b"', "'A b' is not a name for a rate group; "),
        ('api_key = "a"\nemail = " "', "credentials.p.email: the e-mail address is empty; "),
    ],
)
def test_a_secret_that_cannot_be_had_is_told_and_not_shown(folder: Folder, lines: str, fault: str) -> None:
    folder.write("empty", "")
    folder.write("blank", " \n\t\n")
    folder.write("two", "canary one\n")
    folder.write("latin", b"canary\xe9")
    (folder.path / "dir").mkdir()
    told = folder.fault(f"[credentials.p]\n{lines}\n" + TARGETS, {"BLANK_TOKEN": " "})
    assert fault in told
    assert "canary" not in told


@pytest.mark.parametrize("name", ["../s", "a/b", "", ".."])
def test_a_systemd_credential_has_a_bare_name(folder: Folder, name: str) -> None:
    text = f'[credentials.p]\napi_token_credential = "{name}"\n' + TARGETS
    assert "is not the name of a credential" in folder.fault(
        text, {"CREDENTIALS_DIRECTORY": str(folder.path)}
    )


def test_a_credential_is_named_in_lower_case(folder: Folder) -> None:
    text = '[credentials."Prod 1"]\napi_token = "a"\n' + TARGETS
    assert "'Prod 1' is not a name for a credential; name it with lower-case" in folder.fault(text)


def test_a_broken_credential_does_not_make_its_targets_wrong(folder: Folder) -> None:
    text = f"""\
[credentials]
p = 3
[credentials.q]
api_token = "a"
[[targets]]
credential = "p"
account_id = "{ACCOUNT_ID}"
scripts = ["x"]
"""
    assert folder.fault(text).startswith("k.toml:2: credentials.p: a number does not fit; write a table")


def test_files_with_secrets_are_known_so_that_they_can_be_watched(folder: Folder) -> None:
    folder.write("a", "1")
    folder.write("b", "2")
    text = '[credentials.x]\napi_token_file = "a"\n[credentials.y]\nuser_service_key_credential = "b"\n'
    text += f'[[targets]]\ncredential = "x"\naccount_id = "{ACCOUNT_ID}"\nscripts = ["s"]\n'
    read = folder.read(text, {"CREDENTIALS_DIRECTORY": str(folder.path)})
    assert tuple(read.secret_files) == (folder.path / "a", folder.path / "b")


def test_nothing_that_is_printed_holds_a_secret(folder: Folder) -> None:
    text = '[credentials.p]\nemail = "canary@example.com"\napi_key = "canary-key"\n' + TARGETS
    read = folder.read(text)
    assert "canary" not in repr(read)
    shown = list(read.explain())
    assert "canary" not in str(shown)
    assert [(setting.key, setting.value) for setting in shown if setting.secret] == [
        ("credentials.p.email", "set"),
        ("credentials.p.api_key", "set"),
    ]


KEYS = ["api_token", "api_key", "user_service_key", "email", "api_tokn", "rate_group", "api_token_env"]


@given(
    st.dictionaries(
        st.sampled_from(KEYS), st.sampled_from(['"%s"', '["%s"]', '{x = "%s"}', '"a %s"', '"%s\\n"'])
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_no_fault_ever_shows_a_secret(folder: Folder, table: dict[str, str]) -> None:
    secret = "cAnAryT0kenCanaryT0kenCanaryT0kenCanary0"
    lines = "\n".join(f"{key} = {form % secret}" for key, form in table.items())
    file = folder.write("k.toml", f"[credentials.p]\n{lines}\n" + TARGETS)
    with pytest.raises(ConfigError) as raised:
        load(file, {}, {"KEEPALIVE_CREDENTIALS__P__EMIAL": secret}, folder.path)
    assert secret not in "".join(traceback.format_exception(raised.value))


def test_a_token_in_the_wrong_place_is_not_quoted(folder: Folder) -> None:
    token = "a1B2" * 10
    text = f'[credentials.p]\napi_token_file = "{token}"\n'
    text += f'[[targets]]\naccount_id = "{token}"\nscripts = ["{token}/x"]\n'
    faults = folder.faults(text)
    assert len(faults) == 3
    assert not any(token in fault for fault in faults)
    assert "<40 characters>" in faults[0]


def test_what_is_no_name_of_a_file_has_no_mark() -> None:
    assert mark(Path("a\0")) == ()
