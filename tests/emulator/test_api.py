from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from keepalive.emulator import Credential, Fault, FaultKind, Faults, Quota, Route, TokenStatus, User, World
from keepalive.emulator.api import Api, Verdict
from keepalive.emulator.call import Call
from keepalive.emulator.standing import Place
from keepalive.emulator.telemetry import Telemetry
from tests.support.emulated import ACCOUNT_ID, OTHER_ACCOUNT_ID, SCHEMES, three_schemes

BEGAN_MS = 1_700_000_000_000
TELEMETRY = f"/client/v4/accounts/{ACCOUNT_ID}/workers/observability/telemetry"
HEARTBEAT, PREPARE, QUERY = f"{TELEMETRY}/live-tail/heartbeat", f"{TELEMETRY}/live-tail", f"{TELEMETRY}/query"
ROOMY = Quota(requests=10**6)
TOKEN = SCHEMES["api_token"]


def api(world: World | None = None, *faults: Fault) -> Api:
    world = world or three_schemes()
    origin = "http://127.0.0.1:1"
    return Api(world, Faults(faults), Telemetry(1.0, BEGAN_MS), origin=origin, indexing_lag_ms=2000)


def call(
    path: str = HEARTBEAT,
    body: object = None,
    *,
    at: float = 0.0,
    auth: Mapping[str, str] = TOKEN,
    method: str = "POST",
    query: Mapping[str, str] | None = None,
) -> Call:
    raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    headers = {name.lower(): value for name, value in auth.items()}
    wall_ms = BEGAN_MS + int(at * 1000)
    return Call(
        at, wall_ms, method, path, query or {}, headers, raw if method == "POST" else b"", "127.0.0.1"
    )


def verify(path: str = "/client/v4/user/tokens/verify", auth: Mapping[str, str] = TOKEN) -> Call:
    return call(path, method="GET", auth=auth)


def said(verdict: Verdict) -> tuple[int, int | None]:
    assert verdict.reply is not None
    return verdict.reply.status, verdict.reply.code


def result(verdict: Verdict) -> Any:
    assert verdict.reply is not None
    envelope = json.loads(verdict.reply.body)
    assert envelope["success"] is True
    return envelope["result"]


def with_credential(change: Callable[[Credential], Credential]) -> World:
    world = three_schemes()
    user = world.users[0]
    return replace(world, users=(replace(user, credentials=tuple(map(change, user.credentials))),))


@pytest.mark.parametrize("auth", SCHEMES.values(), ids=SCHEMES)
def test_each_scheme_is_accepted(auth: Mapping[str, str]) -> None:
    verdict = api().answer(call(body={"scriptId": "api"}, auth=auth))
    assert result(verdict) == {}
    assert verdict.whence.place == Place("user", ACCOUNT_ID, "api")


@pytest.mark.parametrize(
    "auth",
    [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic emulated-token"},
        {"Authorization": "Bearer two words"},
        {"X-Auth-Email": "ops@example.com"},
        {"X-Auth-Email": "nobody", "X-Auth-Key": "key"},
        {"X-Auth-Key": "key"},
        {"X-Auth-User-Service-Key": "two words"},
        SCHEMES["api_token"] | SCHEMES["api_key"],
        SCHEMES["api_token"] | SCHEMES["user_service_key"],
    ],
)
def test_missing_malformed_or_mixed_auth_headers_are_a_bad_request(auth: Mapping[str, str]) -> None:
    verdict = api().answer(call(auth=auth))
    assert said(verdict) == (400, 6003)
    assert b'"error_chain":[{"code":6111' in (verdict.reply.body if verdict.reply else b"")


def test_an_unknown_credential_is_unauthenticated() -> None:
    assert said(api().answer(call(auth={"Authorization": "Bearer other"}))) == (401, 10000)


@pytest.mark.parametrize("status", [TokenStatus.DISABLED, TokenStatus.EXPIRED])
def test_a_token_that_is_not_active_opens_nothing_and_verifies_as_what_it_is(status: TokenStatus) -> None:
    world = with_credential(lambda one: replace(one, status=status, expires_on="2030-01-01T00:00:00Z"))
    assert said(api(world).answer(call())) == (401, 10000)
    verified = result(api(world).answer(verify()))
    assert (verified["status"], verified["expires_on"]) == (status, "2030-01-01T00:00:00Z")


@pytest.mark.parametrize("path", [HEARTBEAT, PREPARE, QUERY])
def test_a_token_without_the_permission_is_forbidden(path: str) -> None:
    world = with_credential(lambda one: replace(one, may_write=False))
    assert said(api(world).answer(call(path))) == (403, 10000)


def test_a_foreign_account_is_forbidden() -> None:
    assert said(api().answer(call(HEARTBEAT.replace(ACCOUNT_ID, OTHER_ACCOUNT_ID)))) == (403, 9109)
    world = with_credential(lambda one: replace(one, accounts=frozenset({OTHER_ACCOUNT_ID})))
    assert said(api(world).answer(call())) == (403, 9109)


@pytest.mark.parametrize(
    "path", ["/client/v4/nothing", "/", HEARTBEAT + "/", HEARTBEAT.replace("live-tail", "x")]
)
def test_an_unknown_path_has_no_route(path: str) -> None:
    assert said(api().answer(call(path))) == (404, 7000)
    assert said(api().answer(call(HEARTBEAT, method="GET"))) == (404, 7000)


@pytest.mark.parametrize("account", ["short", ACCOUNT_ID.upper(), ACCOUNT_ID[:-1] + "%2F"])
def test_an_account_id_of_the_wrong_form_cannot_be_routed(account: str) -> None:
    assert said(api().answer(call(HEARTBEAT.replace(ACCOUNT_ID, account)))) == (400, 7003)


@pytest.mark.parametrize("path", [HEARTBEAT, PREPARE])
def test_an_unknown_script_is_not_found_and_gains_nothing(path: str) -> None:
    cloudflare = api()
    assert said(cloudflare.answer(call(path, {"scriptId": "other"}))) == (404, 10007)
    assert cloudflare.tallies(1) == {}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"scriptId": 7}', b"\xff"])
def test_a_body_that_is_no_heartbeat_is_a_bad_request(body: bytes) -> None:
    assert said(api().answer(call(body=body))) == (400, 6003)


@pytest.mark.parametrize(
    "body",
    [
        {"queryId": "x"},
        {"queryId": "x", "timeframe": {"from": 2, "to": 1}},
        {"queryId": "x", "timeframe": {"from": 1, "to": 2}, "view": "traces"},
        {"queryId": "x", "timeframe": {"from": 1, "to": 2}, "limit": 0},
    ],
)
def test_a_query_that_makes_no_sense_is_a_bad_request(body: object) -> None:
    assert said(api().answer(call(QUERY, body))) == (400, 6003)


def test_eligibility_belongs_to_one_script_and_ends_with_the_window() -> None:
    cloudflare = api()
    cloudflare.answer(call(body={"scriptId": "api"}, at=10))
    api_place, web_place = Place("user", ACCOUNT_ID, "api"), Place("user", ACCOUNT_ID, "web")
    assert cloudflare.eligible(api_place, 54.9)
    assert not cloudflare.eligible(api_place, 55)
    assert not cloudflare.eligible(web_place, 20)
    assert not cloudflare.eligible(api_place._replace(user="other"), 20)


def test_a_heartbeat_for_the_whole_account_holds_every_script() -> None:
    cloudflare = api()
    cloudflare.answer(call(body={}))
    assert cloudflare.eligible(Place("user", ACCOUNT_ID, "web"), 44)
    assert cloudflare.eligible(Place("user", ACCOUNT_ID, None), 44)


def test_a_prepare_counts_as_the_first_heartbeat() -> None:
    cloudflare = api()
    url = result(cloudflare.answer(call(PREPARE, {"scriptId": "api"})))["wsUrl"]
    assert url.startswith(f"ws://127.0.0.1:1/connect?accountId={ACCOUNT_ID}&userId=user&key=")
    assert url.endswith("&serviceId=api")
    assert cloudflare.eligible(Place("user", ACCOUNT_ID, "api"), 44)


def test_a_session_is_claimed_once() -> None:
    cloudflare = api()
    url = result(cloudflare.answer(call(PREPARE, {"scriptId": "api"})))["wsUrl"]
    key = dict(part.split("=") for part in url.split("?")[1].split("&"))["key"]
    claim = call("/connect", method="GET", auth={}, query={"key": key})
    verdict = cloudflare.answer(claim)
    assert verdict.session is not None
    assert key not in repr(verdict)
    assert said(cloudflare.answer(claim)) == (403, 10000)


def test_a_query_finds_what_is_indexed_of_one_account() -> None:
    cloudflare = api()
    body = {"queryId": "x", "timeframe": {"from": BEGAN_MS, "to": BEGAN_MS + 60_000}, "limit": 2}
    events = result(cloudflare.answer(call(QUERY, body, at=10)))["events"]
    assert events["count"] == 2
    assert [event["timestamp"] - BEGAN_MS for event in events["events"]] == [8000, 8000]


def test_tokens_are_verified_where_they_belong() -> None:
    owned = User("robot", (Credential.api_token("owned"),), owner=ACCOUNT_ID)
    world = three_schemes()
    cloudflare = api(replace(world, users=(*world.users, owned)))
    mine, of_account = {"Authorization": "Bearer owned"}, f"/client/v4/accounts/{ACCOUNT_ID}/tokens/verify"
    assert result(cloudflare.answer(verify()))["status"] == "active"
    assert result(cloudflare.answer(verify(of_account, mine)))["status"] == "active"
    assert said(cloudflare.answer(verify(auth=mine))) == (401, 1000)
    assert said(cloudflare.answer(verify(of_account))) == (401, 1000)
    assert said(cloudflare.answer(verify(auth=SCHEMES["api_key"]))) == (401, 1000)
    assert said(cloudflare.answer(verify(auth={"Authorization": "Bearer other"}))) == (401, 1000)


def test_an_account_owned_token_serves_its_own_account_only() -> None:
    owned = User("robot", (Credential.api_token("owned"),), owner=OTHER_ACCOUNT_ID)
    world = replace(three_schemes(), users=(owned,))
    assert said(api(world).answer(call(auth={"Authorization": "Bearer owned"}))) == (403, 9109)


def test_all_credentials_of_a_user_share_one_quota_and_one_block() -> None:
    world = three_schemes()
    world = replace(world, users=(replace(world.users[0], quota=Quota(3, 300, 300)),))
    cloudflare = api(world)
    verdicts = [cloudflare.answer(call(auth=auth)) for auth in SCHEMES.values()]
    assert [one.reading and one.reading.remaining for one in verdicts] == [2, 1, 0]
    verdict = cloudflare.answer(call(at=100))
    assert said(verdict) == (429, 10429)
    assert verdict.reply is not None
    assert verdict.reply.retry_after == 300
    assert said(cloudflare.answer(call(at=399))) == (429, 10429)
    assert said(cloudflare.answer(call(at=400))) == (200, None)


def test_one_user_never_uses_up_the_quota_of_another() -> None:
    users = tuple(User(name, (Credential.api_token(name),), Quota(1, 300, 300)) for name in ("a", "b"))
    cloudflare = api(replace(three_schemes(), users=users))
    a, b = ({"Authorization": f"Bearer {name}"} for name in ("a", "b"))
    assert [said(cloudflare.answer(call(auth=auth)))[0] for auth in (a, a, b)] == [200, 429, 200]


def test_an_address_is_limited_over_all_users_and_strangers() -> None:
    cloudflare = api(replace(three_schemes(), per_address=Quota(2, 1, 1)))
    stranger = {"Authorization": "Bearer other"}
    answers = [said(cloudflare.answer(call(auth=auth))) for auth in (TOKEN, stranger, TOKEN)]
    assert answers == [(200, None), (401, 10000), (429, 971)]


@pytest.mark.parametrize("kind", [FaultKind.RESET, FaultKind.HANG, FaultKind.NOT_ACCEPTED, FaultKind.HTML])
def test_a_fault_in_place_of_the_answer_costs_quota_and_renews_nothing(kind: FaultKind) -> None:
    cloudflare = api(None, Fault(kind=kind))
    verdict = cloudflare.answer(call())
    assert verdict.reading is not None
    assert verdict.reading.remaining == 1199
    assert cloudflare.tallies(1) == {}


@pytest.mark.parametrize("kind", [FaultKind.DRIP, FaultKind.TRUNCATE, FaultKind.HUGE])
def test_a_fault_that_only_spoils_the_answer_leaves_the_heartbeat_counted(kind: FaultKind) -> None:
    cloudflare = api(None, Fault(kind=kind))
    assert said(cloudflare.answer(call())) == (200, None)
    assert cloudflare.eligible(Place("user", ACCOUNT_ID, None), 1)


@pytest.mark.parametrize("kind", [FaultKind.OUTAGE, FaultKind.BLACK_HOLE])
def test_what_the_network_swallows_never_reached_cloudflare(kind: FaultKind) -> None:
    cloudflare = api(None, Fault(kind=kind, until=10))
    verdict = cloudflare.answer(call())
    assert (verdict.reply, verdict.reading) == (None, None)
    after = cloudflare.answer(call(at=10))
    assert after.reading is not None
    assert after.reading.remaining == 1199


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"status": 401}, (401, 10000)),
        ({"status": 403, "code": 9109}, (403, 9109)),
        ({"status": 404}, (404, 10007)),
        ({"status": 429}, (429, 10429)),
        ({"status": 503}, (503, 503)),
    ],
)
def test_a_status_fault_carries_the_usual_code(fault: dict[str, int], expected: tuple[int, int]) -> None:
    verdict = api(None, Fault.model_validate({"kind": "status", **fault})).answer(call())
    assert said(verdict) == expected
    assert verdict.reply is not None
    assert verdict.reply.retry_after is None


def test_a_fault_finds_its_script_and_path() -> None:
    fault = Fault(kind=FaultKind.RESET, script="api", routes=frozenset({Route.HEARTBEAT}))
    cloudflare = api(None, fault)
    assert cloudflare.answer(call(body={"scriptId": "api"})).fault is fault
    assert cloudflare.answer(call(body={"scriptId": "web"})).fault is None
    assert cloudflare.answer(call(PREPARE, {"scriptId": "api"})).fault is None


def test_nothing_secret_stands_in_the_repr_of_a_world_or_a_call() -> None:
    text = repr(three_schemes()) + repr(call())
    assert not [value for auth in SCHEMES.values() for value in auth.values() if value in text]
