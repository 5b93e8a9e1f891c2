"""A reference names one target, or says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from keepalive.config.reference import resolve
from keepalive.core.target import Target
from keepalive.errors import TargetError
from tests.support.configured import ACCOUNT_ID, PROD, TARGETS, Folder

OTHER_ACCOUNT = "f" * 32
TWO = (
    PROD
    + """
[credentials.other]
api_token = "token-of-other"
[[targets]]
credential = "prod"
account_id = "0123456789abcdef0123456789abcdef"
account_wide = true
[[targets]]
credential = "other"
account_id = "ffffffffffffffffffffffffffffffff"
scripts = ["web"]
"""
)


@pytest.mark.parametrize(
    ("text", "script"), [("api", "api"), (f"{ACCOUNT_ID}/new", "new"), (f"{ACCOUNT_ID}/", None)]
)
def test_a_script_an_account_with_a_script_and_a_whole_account_are_targets(
    tmp_path: Path, text: str, script: str | None
) -> None:
    configuration = Folder(tmp_path).read(PROD + TARGETS)
    assert resolve(text, None, configuration) == Target("prod", ACCOUNT_ID, script)


def test_the_credential_is_the_one_that_speaks_for_the_account_already(tmp_path: Path) -> None:
    configuration = Folder(tmp_path).read(TWO)
    assert resolve(f"{OTHER_ACCOUNT}/api", None, configuration).credential == "other"
    assert resolve(f"{OTHER_ACCOUNT}/api", "prod", configuration).credential == "prod"


@pytest.mark.parametrize(
    ("text", "credential", "said"),
    [
        ("api", None, "names no account, and the configuration has 2 accounts; write ACCOUNT/SCRIPT"),
        ("abc/api", None, "an account id has 32 characters, this has 3"),
        (
            f"{'a' * 32}/api",
            None,
            "2 credentials may speak for the account .*; name one of them: other, prod",
        ),
        (f"{OTHER_ACCOUNT}/a\nb", None, "line break"),
        (f"{OTHER_ACCOUNT}/x/api", None, "an account id has 32 characters, this has 34"),
        (f"{OTHER_ACCOUNT}/api", "prd", "there is no credential .prd.; did you mean `prod`"),
    ],
)
def test_what_names_no_target_is_told(tmp_path: Path, text: str, credential: str | None, said: str) -> None:
    configuration = Folder(tmp_path).read(TWO)
    with pytest.raises(TargetError, match=said):
        resolve(text, credential, configuration)


def test_an_empty_reference_is_no_target(tmp_path: Path) -> None:
    configuration = Folder(tmp_path).read(PROD + TARGETS)
    with pytest.raises(TargetError, match="empty"):
        resolve("", None, configuration)
