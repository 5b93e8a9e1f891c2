"""Bad input gets a clear answer: what, where, and what to write instead."""

from __future__ import annotations

import contextlib
import os
import time

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keepalive.config.layers import known_keys
from keepalive.errors import ConfigError
from tests.support.configured import ACCOUNT_ID, PROD, TARGETS, Folder

GOOD = PROD + TARGETS


def test_a_directory_is_no_file(folder: Folder) -> None:
    (folder.path / "keepalive.toml").mkdir()
    fault = folder.fault()
    assert fault.startswith(
        "keepalive.toml: the configuration is a directory, not a file; name a readable TOML file"
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[heartbeat]\nwindow = "45s\n', "k.toml:2: broken TOML at column 14: "),
        ("[heartbeat\n", "k.toml:1: broken TOML at column 11: "),
        ("a = 1\na = 2\n", "k.toml:2: broken TOML at column "),
        ("x = [1,\n2", "k.toml:2: broken TOML at column 2: "),
        ("x = ", "k.toml:1: broken TOML at column 5: "),
    ],
)
def test_broken_toml_is_told_with_line_and_column(folder: Folder, text: str, place: str) -> None:
    assert folder.fault(text).startswith(place)


def test_text_that_is_not_utf_8_is_told_with_its_line(folder: Folder) -> None:
    folder.write("keepalive.toml", b"[log]\nlevel = '\xff'\n")
    assert folder.fault().startswith("keepalive.toml: the configuration is not UTF-8 text (line 2); ")


def test_a_byte_order_mark_does_no_harm(folder: Folder) -> None:
    assert folder.read("\ufeff" + GOOD).plan


def test_nesting_without_end_is_no_crash(folder: Folder) -> None:
    assert "broken TOML" in (fault := folder.fault("x = " + "[" * 100_000)) or "too deeply" in fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[heartbeat]\nintervall = 3", "heartbeat.intervall: unknown key; did you mean `interval`?"),
        (
            "[heartbeat]\nxyzzy = 3",
            "heartbeat.xyzzy: unknown key; known here: window, window_calibrated, interval, jitter",
        ),
        ("[hartbeat]\nwindow = 3", "hartbeat: unknown key; did you mean `heartbeat`?"),
        ('[heartbeat]\nwindow = "-45s"', "heartbeat.window: '-45s' is not a length of time; "),
        ("[heartbeat]\nwindow = -45", "heartbeat.window: -45 is negative; "),
        ("[heartbeat]\nwindow = 0", "heartbeat.window: 0 is zero; "),
        ('[heartbeat]\nwindow = "500ms"', "heartbeat.window: 0.5 s is too short for a window; "),
        ('[heartbeat]\nwindow = "999h"', "heartbeat.window: '999h' is longer than a day; "),
        ("[heartbeat]\nwindow = inf", "heartbeat.window: inf is not finite; "),
        ("[heartbeat]\nwindow = nan", "heartbeat.window: nan is not finite; "),
        ("[heartbeat]\nwindow = true", "heartbeat.window: true is not a length of time; "),
        ("[heartbeat]\nwindow = [1]", "heartbeat.window: a list is not a length of time; "),
        ('[heartbeat]\ninterval = "1ms"', "heartbeat.interval: 0.001 s is too short for an interval; "),
        ("[heartbeat]\njitter = true", "heartbeat.jitter: true does not fit; write a number"),
        ("[heartbeat]\njitter = 0.6", "heartbeat.jitter: 0.6 is out of range; write at most 0.5"),
        ("[heartbeat]\njitter = nan", "heartbeat.jitter: nan "),
        (
            '[log]\nlevel = "loud"',
            "log.level: 'loud' is none of its values; write debug, info, warning or error",
        ),
        ('[log]\nformat = "jsn"', "log.format: 'jsn' is none of its values; did you mean `json`?"),
        (
            "[rate_groups.default]\nrequests = 12.5",
            "rate_groups.default.requests: 12.5 does not fit; write a whole",
        ),
        (
            '[rate_groups.default]\nrequests = "9"',
            "rate_groups.default.requests: '9' does not fit; write a whole",
        ),
        (
            "[rate_groups.default]\nshare = 1.5",
            "rate_groups.default.share: 1.5 is out of range; write at most 1",
        ),
        (
            "[rate_groups.default]\nshare = 0",
            "rate_groups.default.share: 0 is out of range; write more than 0",
        ),
        ('[rate_groups.default]\nperiod = "0s"', "rate_groups.default.period: '0s' is zero; "),
        (
            '[rate_groups.default]\nperiod = "1ms"',
            'rate_groups.default.period: 0.001 s is too short for a quota; write at least "1s"',
        ),
        (
            "[cloudflare]\nmax_requests_per_second = 1e-300",
            "cloudflare.max_requests_per_second: 1e-300 is out of range; write at least 0.1",
        ),
        ('[http]\nlisten = "9786"', "http.listen: '9786' is not an address and a port; "),
        ('[http]\nlisten = "h:99999"', "http.listen: 'h:99999' is not an address and a port; "),
        ('[control]\nmode = "rw"', "control.mode: 'rw' is not a file mode; "),
        ("[cloudflare]\nlive_tail_hosts = 'x'", "cloudflare.live_tail_hosts: 'x' does not fit; write a list"),
        (
            '[cloudflare]\nlive_tail_hosts = ["https://x/"]',
            "cloudflare.live_tail_hosts[0]: 'https://x/' is not a host",
        ),
        ('[cloudflare]\nca_file = "none.pem"', "cloudflare.ca_file: the file 'none.pem' does not exist; "),
        ("log = 3", "log: 3 does not fit; write a table"),
        ("window = 3", "window: unknown key; it belongs into [heartbeat]"),
        (
            "[rate_groups]\nrequests = 3",
            "rate_groups.requests: 3 does not fit; write it below a name of your choice: [rate_groups.NAME]",
        ),
    ],
)
def test_a_wrong_value_is_told_with_its_line_and_what_to_write(folder: Folder, line: str, fault: str) -> None:
    text = line + "\n" + GOOD
    number = 1 if line.count("\n") == 0 or fault.startswith("hartbeat") else 2
    assert folder.fault(text).startswith(f"k.toml:{number}: {fault}")


def test_a_secret_without_a_table_of_its_own_is_told_where_it_belongs_and_not_shown(folder: Folder) -> None:
    fault, *_ = folder.faults('[credentials]\napi_token = "canary"\n')[1:]
    assert fault == (
        "k.toml:2: credentials.api_token: a text does not fit; "
        "write it below a name of your choice: [credentials.NAME]"
    )


def test_targets_with_one_bracket_are_told_to_take_two(folder: Folder) -> None:
    assert folder.fault(PROD + TARGETS.replace("[[targets]]", "[targets]")) == (
        "k.toml:5: targets: a table does not fit; write [[targets]], with two brackets on each side"
    )


@pytest.mark.parametrize(
    "content",
    [
        "",
        "certificates",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        trustme.CA().private_key_pem.bytes(),
    ],
    ids=["nothing", "words", "a broken one", "a key"],
)
def test_a_ca_file_without_certificates_is_told_with_its_line(folder: Folder, content: str | bytes) -> None:
    folder.write("ca.pem", content)
    assert folder.fault('[cloudflare]\nca_file = "ca.pem"\n' + GOOD) == (
        "k.toml:2: cloudflare.ca_file: the file 'ca.pem' holds no certificate that can be read; "
        'name a file with CA certificates in PEM form, or write "" for the system\'s'
    )


def test_a_ca_file_with_certificates_is_taken(folder: Folder) -> None:
    folder.write("ca.pem", b"# ours\n" + trustme.CA().cert_pem.bytes() + trustme.CA().cert_pem.bytes())
    assert folder.read('[cloudflare]\nca_file = "ca.pem"\n' + GOOD).plan


def test_a_ca_file_is_no_pipe_because_the_client_reads_it_again(folder: Folder) -> None:
    os.mkfifo(folder.path / "ca.pem")
    assert "is a pipe, which can be read only once" in folder.fault(
        '[cloudflare]\nca_file = "ca.pem"\n' + GOOD
    )


@pytest.mark.parametrize(
    ("url", "found"),
    [
        (
            "http://api.cloudflare.com/client/v4",
            "http:// to 'api.cloudflare.com' would send the credentials in the clear",
        ),
        ("http://127.0.0.1.evil.example/", "http:// to '127.0.0.1.evil.example' would send"),
        ("ftp://api.cloudflare.com", "'ftp://api.cloudflare.com' is not an https:// URL"),
        ("api.cloudflare.com", "is not an https:// URL"),
        ("", "'' is not an https:// URL"),
        ("https://", "is not "),
        ("https://user:canary@api.cloudflare.com", "the URL holds a user name or a password"),
        ("https://api.cloudflare.com\\\\@evil.example", "is not "),
        ("https://api.cloudflare.com/?x=1", "has a query or a fragment"),
        ("https://api.cloudflare.com:99999", "is not a URL"),
    ],
)
def test_credentials_are_not_sent_just_anywhere(folder: Folder, url: str, found: str) -> None:
    fault = folder.fault(GOOD + f'[cloudflare]\nbase_url = "{url}"\n')
    assert fault.startswith("k.toml:9: cloudflare.base_url: ")
    assert found in fault
    assert "canary" not in fault


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/x", "http://127.9.9.9", "http://[::1]:1", "http://localhost:1", "https://x.y"]
)
def test_plain_http_is_for_loopback(folder: Folder, url: str) -> None:
    assert folder.read(GOOD + f'[cloudflare]\nbase_url = "{url}/"\n').settings.cloudflare.base_url == url


def test_an_interval_over_half_the_window_is_refused(folder: Folder) -> None:
    fault = folder.fault(GOOD + '[heartbeat]\nwindow = "30s"\ninterval = "20s"\n')
    assert fault == (
        "k.toml:10: heartbeat.interval: 20s is over half the window of 30s; "
        'write at most "15s": one lost heartbeat must not lapse a target'
    )
    assert folder.read(GOOD + '[heartbeat]\nwindow = "30s"\ninterval = "15s"\n').plan


def test_an_interval_is_not_judged_by_a_window_that_is_wrong_itself(folder: Folder) -> None:
    assert "heartbeat.window" in folder.fault(GOOD + '[heartbeat]\nwindow = "9h9"\ninterval = "60s"\n')


def test_all_faults_stand_in_one_report_by_file_and_line(folder: Folder) -> None:
    folder.write("fleet.csv", f"account_id,script\n{ACCOUNT_ID},a/b\nXY,web\n")
    text = f"""\
[heartbeat]
intervl = 3
jitter = "much"
window = "30s"
interval = "29s"
[credentials.one]
api_token_file = "none"
[credentials.two]
api_token = "canary-token"
api_key = "canary-key"
[[targets]]
credential = "on"
account_id = "{ACCOUNT_ID}"
[[targets]]
credential = "one"
file = "fleet.csv"
"""
    faults = folder.faults(text, {"KEEPALIVE_X": "1", "KEEPALIVE_LOG__LEVEL": "canary-level"})
    assert [fault.partition(": ")[0] for fault in faults] == [
        "$KEEPALIVE_LOG__LEVEL",
        "$KEEPALIVE_X",
        "fleet.csv:2",
        "fleet.csv:3",
        "k.toml:2",
        "k.toml:3",
        "k.toml:5",
        "k.toml:7",
        "k.toml:9",
        "k.toml:11",
        "k.toml:12",
    ]
    assert not any("canary-token" in fault or "canary-key" in fault for fault in faults)


def test_no_targets_are_a_fault_unless_a_socket_is_asked_for(folder: Folder) -> None:
    assert folder.fault(PROD, {"XDG_RUNTIME_DIR": "/r"}).startswith("k.toml: targets: nothing to keep alive")
    assert folder.read(PROD + '[control]\nsocket = "k.sock"\n').plan == {}


def test_a_broken_file_is_not_blamed_for_what_may_stand_in_it(folder: Folder) -> None:
    assert len(folder.faults("[[targets]\n")) == 1


def test_a_placeholder_account_is_a_warning(folder: Folder) -> None:
    (warning,) = folder.read((PROD + TARGETS).replace(ACCOUNT_ID, "0" * 32)).warnings
    assert str(warning).startswith("k.toml:6: targets[0].account_id: zeros stand for your account; ")


def test_a_rate_group_that_nobody_uses_is_a_warning(folder: Folder) -> None:
    (warning,) = folder.read(GOOD + "[rate_groups.defalt]\nrequests = 9\n").warnings
    assert str(warning) == "k.toml:8: rate_groups.defalt: no credential uses it; did you mean `default`?"


def test_a_raised_quota_and_a_group_of_its_own_reach_the_plan(folder: Folder) -> None:
    text = f"""
[credentials.a]
api_token = "t"
[credentials.b]
api_token = "u"
rate_group = "other"
[rate_groups.other]
requests = 10_000_000
period = 60
share = 1
[[targets]]
credential = "b"
account_id = "{ACCOUNT_ID}"
account_wide = true
[[targets]]
credential = "a"
account_id = "{ACCOUNT_ID}"
scripts = ["x"]
"""
    plan = folder.read(text).plan
    assert list(plan) == ["other", "default"]
    assert (plan["other"].quota.requests, plan["other"].quota.period, plan["other"].quota.share) == (
        10_000_000,
        60,
        1,
    )
    assert plan["default"].quota.requests == 1200


def test_a_hundred_thousand_targets_are_read_in_time(folder: Folder) -> None:
    rows = "".join(f"{number % 300:032x},script-{number}\n" for number in range(1, 100_001))
    folder.write("fleet.csv", "account_id,script\n" + rows)
    started = time.process_time()
    plan = folder.read(PROD + '[[targets]]\nfile = "fleet.csv"\n').plan
    assert time.process_time() - started < 2
    assert len(plan["default"].targets) == 100_000


VALUES = st.sampled_from(
    [
        "0",
        "-1",
        "1e400",
        "nan",
        "true",
        '""',
        '"x"',
        '"15s"',
        '"a\\u0000"',
        "[]",
        "[[]]",
        "{}",
        '["a", 1]',
        "{a = 1}",
        "07:32:00",
    ]
)


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for section in known_keys(()):
        inner = (section, "p") if section in ("credentials", "rate_groups") else (section,)
        keys = known_keys((*inner, 0) if section == "targets" else inner)
        pairs = draw(st.dictionaries(st.sampled_from([*keys, "nope"]), VALUES, max_size=4))
        header = "[[targets]]" if section == "targets" else f"[{'.'.join(inner)}]"
        if draw(st.booleans()):
            lines += [header, *(f"{key} = {value}" for key, value in pairs.items())]
        elif section not in lines:
            lines.insert(0, f"{section} = {draw(VALUES)}")
    return "\n".join(lines)


@given(
    documents(),
    st.dictionaries(st.sampled_from(["KEEPALIVE_LOG__LEVEL", "KEEPALIVE_SCRIPTS", "X"]), st.text()),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_whatever_is_written_gets_an_answer_and_no_traceback(
    folder: Folder, document: str, environ: dict[str, str]
) -> None:
    with contextlib.suppress(ConfigError):
        list(folder.read(document, environ).explain())
