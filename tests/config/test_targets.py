from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.config.targets import account_problem, script_problem
from keepalive.core.target import Target
from tests.support.configured import ACCOUNT_ID, PROD, TARGETS, Folder

OTHER = "fedcba9876543210fedcba9876543210"
TWO = PROD + '[credentials.other]\napi_token = "t"\n'


def table(lines: str) -> str:
    return f'{PROD}[[targets]]\naccount_id = "{ACCOUNT_ID}"\n{lines}\n'


def test_targets_keep_their_order(folder: Folder) -> None:
    folder.write("f.csv", f"account_id,script\n{OTHER},b\n{OTHER},\n")
    text = table('scripts = ["z", "a"]\naccount_wide = true') + '[[targets]]\nfile = "f.csv"\n'
    assert folder.read(text).plan["default"].targets == (
        Target("prod", ACCOUNT_ID),
        Target("prod", ACCOUNT_ID, "z"),
        Target("prod", ACCOUNT_ID, "a"),
        Target("prod", OTHER, "b"),
        Target("prod", OTHER),
    )


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("a/b", "'a/b' has a slash; write the Worker's bare name"),
        ("a\\nb", "'a\\nb' has a line break or a control character"),
        ("a\\u0000", "'a\\x00' has a line break or a control character"),
        ("a\\u202eb", "has a line break or a control character"),
        (" a", "' a' begins or ends with a blank"),
        ("", "a script name is empty"),
        ("x" * 256, "a script name of 256 characters; write at most 255"),
    ],
)
def test_a_script_name_that_cannot_be_one_is_a_fault(folder: Folder, script: str, found: str) -> None:
    fault = folder.fault(table(f'scripts = ["api",\n  "{script}"]'))
    assert fault.startswith("k.toml:7: targets[0].scripts[1]: ")
    assert found in fault


@pytest.mark.parametrize(
    ("account", "found"),
    [
        ("", "the account id is empty"),
        ("0123", "an account id has 32 characters, this has 4"),
        (ACCOUNT_ID.upper(), "the account id has upper-case letters"),
        ("g" * 32, "the account id has characters other than 0-9 and a-f"),
        (f"{ACCOUNT_ID}\\n", "an account id has 32 characters, this has 33"),
    ],
)
def test_an_account_id_of_the_wrong_form_is_a_fault(folder: Folder, account: str, found: str) -> None:
    fault = folder.fault(TARGETS.replace(ACCOUNT_ID, account) + PROD)
    assert fault.startswith(
        f"k.toml:3: targets[0].account_id: {found}; write the 32 lower-case hexadecimal digits"
    )


@given(st.text(alphabet="0123456789abcdef", min_size=32, max_size=32))
def test_every_account_id_of_the_right_form_is_accepted(account: str) -> None:
    assert account_problem(account) == ""


@given(st.text())
def test_an_accepted_script_name_is_one_printable_word_or_more(name: str) -> None:
    if script_problem(name) is None:
        assert name.isprintable()
        assert "/" not in name
        assert name == name.strip() != ""


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("", "targets[0]: neither scripts nor account_wide; write scripts = "),
        ("scripts = []", "targets[0]: neither scripts nor account_wide"),
        ("account_wide = false", "targets[0]: neither scripts nor account_wide"),
        ('account_wide = "yes"', "targets[0].account_wide: 'yes' does not fit; write true or false"),
        ('scripts = "api"', "targets[0].scripts: 'api' does not fit; write a list"),
        ('scripts = ["api", 3]', "targets[0].scripts[1]: 3 does not fit; write a text in quotes"),
        ('script = "api"\naccount_wide = true', "targets[0].script: unknown key; did you mean `scripts`?"),
        (
            'scripts = ["a"]\ncredential = "prd"',
            "targets[0].credential: there is no credential 'prd'; did you mean `prod`?",
        ),
        ('scripts = ["a", "a"]', "targets[0].scripts[1]: a target twice, first at k.toml:6; list it once"),
        ('file = "f.csv"', "targets[0].account_id: account_id beside a file; leave it out"),
    ],
)
def test_a_table_that_means_nothing_is_a_fault(folder: Folder, lines: str, fault: str) -> None:
    folder.write("f.csv", f"account_id,script\n{OTHER},a\n")
    assert fault in folder.fault(table(lines))


def test_a_missing_account_is_told_at_its_table(folder: Folder) -> None:
    fault = folder.fault(PROD + '[[targets]]\nscripts = ["a"]\n')
    assert fault.startswith("k.toml:4: targets[0]: no account_id; ")


def test_a_credential_may_be_left_out_only_when_there_is_one(folder: Folder) -> None:
    fault = folder.fault(TWO + TARGETS)
    assert fault.startswith("k.toml:7: targets[0].credential: names no credential, and there are several; ")
    assert fault.endswith("write one of other, prod")


def test_a_list_where_tables_should_be_is_told_once(folder: Folder) -> None:
    assert folder.fault(f'targets = ["api"]\n{PROD}').startswith(
        "k.toml:1: targets[0]: 'api' does not fit; write a table"
    )


class TestFleetFile:
    TEXT = PROD + '[[targets]]\nfile = "f.csv"\n'

    def fault(self, folder: Folder, content: str | bytes, text: str = TEXT) -> str:
        folder.write("f.csv", content)
        return folder.fault(text)

    def test_windows_and_spreadsheets_are_understood(self, folder: Folder) -> None:
        rows = f'\ufeffscript, account_id\r\n"my, script", {ACCOUNT_ID}\r\n\r\n,{ACCOUNT_ID}\r\n'
        folder.write("f.csv", rows)
        assert folder.read(self.TEXT).plan["default"].targets == (
            Target("prod", ACCOUNT_ID, "my, script"),
            Target("prod", ACCOUNT_ID),
        )

    def test_a_row_may_name_its_credential(self, folder: Folder) -> None:
        folder.write("f.csv", f"account_id,script,credential\n{ACCOUNT_ID},a,other\n{ACCOUNT_ID},a,\n")
        targets = (
            folder.read(TWO + '[[targets]]\ncredential = "prod"\nfile = "f.csv"\n').plan["default"].targets
        )
        assert targets == (Target("other", ACCOUNT_ID, "a"), Target("prod", ACCOUNT_ID, "a"))

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            ("", "f.csv:1: the header has no column account_id and script; write account_id,script"),
            ("account_id\n", "f.csv:1: the header has no column script; write account_id,script"),
            (
                "account_id,scripts\n",
                "the header 'account_id,scripts' has no column script; did you mean `script`?",
            ),
            ("account_id;script\n", "the header 'account_id;script' has no column account_id and script"),
            ("account_id,script,note\n", "f.csv:1: unknown column 'note'; write account_id,script"),
            ("account_id,script,script\n", "f.csv:1: the header names a column twice"),
            (
                f"account_id,script\n{ACCOUNT_ID}\n",
                "f.csv:2: 1 column where the header has 2; write account_id,script",
            ),
            (f"account_id,script\n{ACCOUNT_ID},a,b\n", "f.csv:2: 3 columns where the header has 2"),
            (f'account_id,script\n{ACCOUNT_ID},"a\n', "f.csv:1: broken CSV after this line: "),
            (f"account_id,script\n\n\n{ACCOUNT_ID},a/b\n", "f.csv:4: script: 'a/b' has a slash"),
            (f'account_id,script\n{ACCOUNT_ID},"a\nb"\n', "f.csv:2: script: 'a\\nb' has a line break"),
            ("account_id,script\n12,a\n", "f.csv:2: account_id: an account id has 32 characters, this has 2"),
            (
                f"account_id,script\n{ACCOUNT_ID},a\n{ACCOUNT_ID},a\n",
                "f.csv:3: a target twice, first at f.csv:2",
            ),
            (b"account_id,script\n\xff,a\n", "targets[0].file: the file 'f.csv' is not UTF-8 text (line 2)"),
            (
                f"account_id,script,credential\n{ACCOUNT_ID},a,x\n",
                "f.csv:2: credential: there is no credential 'x'",
            ),
        ],
    )
    def test_a_broken_row_is_told_with_its_line(
        self, folder: Folder, content: str | bytes, fault: str
    ) -> None:
        assert fault in self.fault(folder, content)

    def test_a_missing_file_is_told_where_it_is_named(self, folder: Folder) -> None:
        assert folder.fault(self.TEXT).startswith(
            "k.toml:5: targets[0].file: the file 'f.csv' does not exist; "
        )

    def test_a_missing_credential_is_told_once_and_not_in_every_row(self, folder: Folder) -> None:
        fault = self.fault(
            folder,
            f"account_id,script\n{ACCOUNT_ID},a\n{ACCOUNT_ID},b\n",
            TWO + '[[targets]]\nfile = "f.csv"\n',
        )
        assert "targets[0].credential: names no credential, and there are several" in fault

    def test_a_row_without_a_credential_is_told_when_there_is_none_to_fall_back_on(
        self, folder: Folder
    ) -> None:
        content = f"account_id,script,credential\n{ACCOUNT_ID},a,\n{ACCOUNT_ID},b,prod\n"
        fault = self.fault(folder, content, TWO + '[[targets]]\nfile = "f.csv"\n')
        assert fault.startswith("f.csv:2: credential: names no credential, and there are several; ")

    def test_a_target_twice_is_found_across_files(self, folder: Folder) -> None:
        content = f"account_id,script\n{ACCOUNT_ID},web\n"
        assert "f.csv:2: a target twice, first at k.toml:7" in self.fault(
            folder, content, PROD + TARGETS + self.TEXT[len(PROD) :]
        )

    def test_an_empty_fleet_beside_other_targets_is_a_warning(self, folder: Folder) -> None:
        folder.write("f.csv", "account_id,script\n")
        more = f'{self.TEXT}[[targets]]\naccount_id = "{"0" * 31}1"\nscripts = ["api"]\n'
        (warning,) = folder.read(more).warnings
        assert "lists no targets" in warning.found

    def test_nothing_but_an_empty_fleet_is_a_fault(self, folder: Folder) -> None:
        folder.write("f.csv", "account_id,script\n")
        (fault,) = folder.faults(self.TEXT)
        assert "nothing to keep alive" in fault
