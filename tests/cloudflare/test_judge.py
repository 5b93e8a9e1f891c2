import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepalive.cloudflare.judge import LONGEST_DETAIL, Cut, judge, printable
from keepalive.core.outcome import Accepted, Denied, Headroom, Outcome, Throttled, Transient
from keepalive.core.target import Scope

SUCCESS = (
    b'{"errors":[{"message":""}],"messages":[{"message":"Successful request"}],"result":{},"success":true}'
)


def refusal(code: int, message: str = "no") -> bytes:
    envelope = {
        "success": False,
        "errors": [{"code": code, "message": message}],
        "messages": [],
        "result": None,
    }
    return json.dumps(envelope).encode()


def judged(status: int, body: bytes = b"", cut: Cut | None = None, **fields: str) -> Outcome:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return judge(status, named, body, cut=cut, wall_now=0)


def test_an_envelope_with_success_is_accepted_whatever_its_errors_say() -> None:
    assert judged(200, SUCCESS, cf_ray="8f1c-FRA") == Accepted(None, "8f1c-FRA")
    assert judged(201, b'{"success":true,"errors":"none"}') == Accepted()


def test_an_accepted_reply_tells_what_is_left_of_the_quota() -> None:
    assert judged(200, SUCCESS, ratelimit='"default";r=5;t=30') == Accepted(Headroom(5, 30))


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "not_json"),
        (b"<!DOCTYPE html><html>", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (SUCCESS[:-5], "not_json"),
        (b"[" * 60_000, "not_json"),
        (b'{"a":' * 10_000, "not_json"),
        (b'{"success":false}', "not_accepted"),
        (b'{"success":1}', "not_accepted"),
        (b'{"success":"true"}', "not_accepted"),
        (b"[]", "not_accepted"),
        (b"null", "not_accepted"),
        (b"true", "not_accepted"),
        (b'{"result":{}}', "not_accepted"),
    ],
)
def test_a_200_that_does_not_say_success_is_a_passing_fault_of_the_target(body: bytes, cause: str) -> None:
    outcome = judged(200, body)

    assert isinstance(outcome, Transient)
    assert (outcome.scope, outcome.fault.cause, outcome.hung) == (Scope.TARGET, cause, False)
    assert outcome.fault.http_status == 200


@pytest.mark.parametrize("cut", list(Cut))
def test_a_body_that_is_not_whole_is_never_accepted(cut: Cut) -> None:
    outcome = judged(200, SUCCESS, cut)

    assert isinstance(outcome, Transient)
    assert outcome.fault.cause == cut.value


@pytest.mark.parametrize(
    ("status", "code", "scope", "words"),
    [
        (400, 6003, Scope.CREDENTIAL, "bare secret"),
        (400, 6111, Scope.CREDENTIAL, "bare secret"),
        (400, 7000, Scope.TARGET, "/client/v4"),
        (404, 7000, Scope.TARGET, "/client/v4"),
        (400, 7003, Scope.ACCOUNT, "targets.account_id"),
        (404, 7003, Scope.ACCOUNT, "targets.account_id"),
        (401, 10000, Scope.CREDENTIAL, "Workers Observability Write"),
        (403, 10000, Scope.ACCOUNT, "Workers Observability Write"),
        (401, 9109, Scope.CREDENTIAL, "IP address"),
        (403, 9109, Scope.ACCOUNT, "IP address"),
        (404, 10007, Scope.TARGET, "deploy the Worker"),
        (404, 10090, Scope.TARGET, "deploy the Worker"),
        (400, 1, Scope.TARGET, "account id"),
        (401, 1000, Scope.CREDENTIAL, "Workers Observability Write"),
        (403, 1, Scope.ACCOUNT, "Workers Observability Write"),
        (404, 1, Scope.TARGET, "script's name"),
        (422, 1, Scope.TARGET, ""),
    ],
)
def test_a_refusal_is_denied_in_its_scope_with_a_hint_that_names_the_fix(
    status: int, code: int, scope: Scope, words: str
) -> None:
    outcome = judged(status, refusal(code), cf_ray="ray-1")

    assert isinstance(outcome, Denied)
    assert outcome.scope is scope
    assert (outcome.fault.http_status, outcome.fault.error_code) == (status, code)
    assert (outcome.fault.cf_ray, outcome.fault.detail) == ("ray-1", "no")
    assert words in outcome.fault.hint


def test_a_known_code_speaks_before_an_unknown_one() -> None:
    body = b'{"success":false,"errors":[{"code":1,"message":"a"},{"code":10007,"message":"b"}]}'

    outcome = judged(404, body)

    assert isinstance(outcome, Denied)
    assert (outcome.fault.error_code, outcome.fault.detail) == (10007, "b")


def test_a_refusal_that_is_no_envelope_points_at_what_stands_in_between() -> None:
    outcome = judged(403, b"<html>Blocked by your company</html>")

    assert isinstance(outcome, Denied)
    assert outcome.fault.detail == "an HTML page"
    assert "proxy or firewall" in outcome.fault.hint


@pytest.mark.parametrize("code", [971, 10429])
def test_429_is_throttled_for_as_long_as_it_asks(code: int) -> None:
    outcome = judged(429, refusal(code), retry_after="7")

    assert isinstance(outcome, Throttled)
    assert (outcome.retry_after, outcome.fault.cause, outcome.fault.error_code) == (7, "throttled", code)
    assert "quota" in outcome.fault.hint


def test_429_counts_even_as_an_html_page_or_half_a_body() -> None:
    assert isinstance(judged(429, b"<html>"), Throttled)
    assert isinstance(judged(429, b"{", Cut.TRUNCATED), Throttled)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 530, 599, 999])
def test_5xx_may_be_the_whole_origin(status: int) -> None:
    outcome = judged(status, refusal(10000))

    assert isinstance(outcome, Transient)
    assert (outcome.scope, outcome.fault.cause) == (Scope.ORIGIN, f"http_{status}")
    assert outcome.fault.hint == ""


@pytest.mark.parametrize("status", [408, 409, 425])
def test_a_passing_4xx_is_an_answer_so_the_origin_is_up(status: int) -> None:
    outcome = judged(status)

    assert isinstance(outcome, Transient)
    assert (outcome.scope, outcome.fault.cause) == (Scope.TARGET, f"http_{status}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_fault_with_a_hint(status: int) -> None:
    outcome = judged(status, SUCCESS, location="https://elsewhere.example")

    assert isinstance(outcome, Transient)
    assert (outcome.scope, outcome.fault.cause) == (Scope.TARGET, "redirect")
    assert "base_url" in outcome.fault.hint


def test_a_message_of_the_server_becomes_one_short_printable_line() -> None:
    outcome = judged(403, refusal(10000, "\x1b[31mred\r\n" + "x" * 5000 + "\u202e"))

    assert isinstance(outcome, Denied)
    assert len(outcome.fault.detail) == LONGEST_DETAIL
    assert outcome.fault.detail.isprintable()


@pytest.mark.parametrize("ray", ["", "a b", "x" * 65, "\x1b[2J"])
def test_a_ray_that_looks_like_none_is_left_out(ray: str) -> None:
    assert judged(200, SUCCESS, cf_ray=ray) == Accepted()


@given(st.text(), st.integers(1, 300))
def test_any_text_becomes_one_printable_line(text: str, length: int) -> None:
    line = printable(text, length)

    assert line == "" or line.isprintable()
    assert len(line) <= length


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
envelopes = st.fixed_dictionaries(
    {}, optional={"success": json_values, "errors": json_values, "result": json_values}
).map(lambda each: json.dumps(each).encode())


@given(
    st.integers(-5, 1000),
    st.binary() | envelopes,
    st.sampled_from([None, *Cut]),
    st.dictionaries(st.sampled_from(["retry-after", "ratelimit", "cf-ray"]), st.text()),
)
def test_any_reply_is_judged_and_only_a_whole_2xx_with_success_is_accepted(
    status: int, body: bytes, cut: Cut | None, fields: dict[str, str]
) -> None:
    outcome = judge(status, fields, body, cut=cut, wall_now=0)

    assert isinstance(outcome, (Accepted, Throttled, Denied, Transient))
    if isinstance(outcome, Accepted):
        assert 200 <= status < 300
        assert cut is None
        assert json.loads(body)["success"] is True
    else:
        assert outcome.fault.cause
        assert len(outcome.fault.detail) <= LONGEST_DETAIL
