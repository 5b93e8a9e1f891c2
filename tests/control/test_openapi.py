"""The description of the API, held against the server: neither says more than the other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import validate

from keepalive.control.api import Api
from keepalive.control.probes import Probes
from keepalive.control.question import FILTER_PARAMETERS, LARGEST_BODY
from keepalive.core.eligibility import Eligibility
from keepalive.core.outcome import Denied, Fault, Outcome, Throttled
from keepalive.core.target import Scope, Target
from tests.control.stage import Answer, Json, Stage, staged, until
from tests.support.configured import ACCOUNT_ID, TWO_TARGETS
from tests.support.virtual import accept

FILE = Path(__file__).parents[2] / "docs" / "openapi.json"
DESCRIBED: Json = json.loads(FILE.read_text(encoding="utf-8"))
METHODS = ("get", "head", "put", "post", "delete")

OTHERS = f"""
[credentials.other]
api_token = "token-of-other"
rate_group = "other"
[rate_groups.tiny]
requests = 30
[credentials.tiny]
api_token = "token-of-tiny"
rate_group = "tiny"
[[targets]]
credential = "other"
account_id = "{ACCOUNT_ID}"
scripts = ["denied"]
[[targets]]
credential = "tiny"
account_id = "{ACCOUNT_ID}"
scripts = ["throttled", "refused"]
[[targets]]
credential = "prod"
account_id = "{ACCOUNT_ID}"
account_wide = true
"""
LEASE: Json = {"targets": ["cron"], "credential": "prod", "ttl_seconds": 60}
DENIAL = Fault("authentication", "no", 403, 10000, "8f1c-FRA", "add the permission")
THROTTLE = Fault("throttled", "too many", 429, 10429)


async def fickle(target: Target, timeout: float) -> Outcome:
    """Cloudflare in all of its moods."""
    match target.script_id:
        case "denied":
            return Denied(DENIAL, Scope.CREDENTIAL)
        case "throttled":
            return Throttled(THROTTLE, retry_after=300.0)
        case _:
            return await accept(target, timeout)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path, TWO_TARGETS + OTHERS) as stage:
        stage.fake.answer = fickle
        await until(lambda: stage.scheduler.tally.counts[Eligibility.ELIGIBLE] == 3)
        yield stage


def sealed(part: Any) -> Any:
    """The same schema, with no key allowed that it does not describe."""
    match part:
        case dict():
            closed = {key: sealed(value) for key, value in part.items()}
            return closed | ({"additionalProperties": False} if "properties" in part else {})
        case list():
            return [sealed(each) for each in part]
        case _:
            return part


SEALED: Json = sealed(deepcopy(DESCRIBED))


def resolved(part: Json) -> Json:
    """What a reference refers to."""
    if "$ref" not in part:
        return part
    found = SEALED
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def described(method: str, path: str) -> Json | None:
    """The operation that a request is."""
    steps = urlsplit(path).path.split("/")
    for pattern, item in SEALED["paths"].items():
        wanted = pattern.split("/")
        if len(wanted) == len(steps) and all(
            one.startswith("{") or one == other for one, other in zip(wanted, steps, strict=True)
        ):
            operation: Json | None = item.get(method.lower())
            return operation
    return None


def check(method: str, path: str, answer: Answer) -> None:
    """Hold an answer against what is described for it."""
    operation = described(method, path)
    assert operation is not None, f"{method} {path} is not described"
    assert str(answer.status) in operation["responses"], (
        f"{method} {path} gave {answer.status}: {answer.text}"
    )
    response = resolved(operation["responses"][str(answer.status)])
    if "content" not in response:
        assert answer.text == ""
        return
    content_type = answer.headers["Content-Type"].partition(";")[0]
    schema = response["content"][content_type]["schema"]
    if content_type == "application/json":
        whole = {**schema, "components": SEALED["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json)


def test_the_description_is_valid() -> None:
    validate(DESCRIBED)


async def test_every_route_is_described_and_no_other(stage: Stage) -> None:
    routes = [*Probes(stage.parts).routes(), *Api(stage.parts).routes()]
    served = {(route.method, route.path) for route in routes}
    told = {
        (method.upper(), path)
        for path, item in DESCRIBED["paths"].items()
        for method in METHODS
        if method in item
    }

    assert served == told


def test_only_the_probes_and_the_metrics_are_said_to_be_on_tcp() -> None:
    on_tcp = {path for path, item in DESCRIBED["paths"].items() if len(item.get("servers", [])) > 1}

    assert on_tcp == {"/healthz", "/readyz", "/metrics"}


def test_every_filter_is_described() -> None:
    parameters = [resolved(each)["name"] for each in DESCRIBED["paths"]["/v1/targets"]["get"]["parameters"]]

    assert parameters == ["limit", "after", *FILTER_PARAMETERS]


def test_every_state_is_described() -> None:
    assert DESCRIBED["components"]["schemas"]["State"]["enum"] == list(Eligibility)


def requests() -> Iterator[tuple[str, str, Any, int]]:
    """Good and bad input for every route, and the status that comes of it."""
    yield "GET", "/healthz", None, 200
    yield "GET", "/healthz?verbose", None, 200
    yield "GET", "/readyz", None, 503
    yield "GET", "/metrics", None, 200
    yield "HEAD", "/healthz", None, 200
    yield "HEAD", "/readyz", None, 503
    yield "HEAD", "/metrics", None, 200
    yield "GET", "/v1/status", None, 200
    yield "GET", "/v1/status?x=1", None, 400
    yield "POST", "/v1/reload", None, 200
    yield "POST", "/v1/reload?force=1", None, 400
    for query in (
        "",
        "?limit=2",
        "?state=eligible&state=refused",
        f"?account_id={ACCOUNT_ID}",
        "?script_id=",
    ):
        yield "GET", f"/v1/targets{query}", None, 200
    for query in (
        "?limit=0",
        "?limit=1001",
        "?limit=x",
        "?limit=%C2%B2",
        "?after=x",
        "?state=x",
        "?states=lapsed",
    ):
        yield "GET", f"/v1/targets{query}", None, 400
    yield "GET", "/v1/rate_groups", None, 200
    yield "GET", "/v1/rate_groups?limit=1", None, 200
    yield "GET", "/v1/rate_groups?limit=-1", None, 400
    for group, found in (("default", True), ("tiny", True), ("none", False), ("..%2Fstatus", False)):
        yield "GET", f"/v1/rate_groups/{group}", None, 200 if found else 404
        yield "POST", f"/v1/rate_groups/{group}/calls", None, 200 if found else 404
    yield "GET", "/v1/rate_groups/default?x=1", None, 400
    yield "POST", "/v1/rate_groups/default/calls?x=1", None, 400
    yield "GET", "/v1/transitions", None, 200
    yield "GET", "/v1/transitions?limit=1", None, 200
    yield "GET", "/v1/transitions?limit=0", None, 400
    yield "GET", "/v1/transitions?after=x", None, 400
    yield "GET", "/v1/leases", None, 200
    yield "GET", "/v1/leases/ci", None, 404
    yield "DELETE", "/v1/leases/ci", None, 404
    yield "PUT", "/v1/leases/ci", LEASE, 201
    yield "PUT", "/v1/leases/ci", LEASE, 200
    yield "GET", "/v1/leases/ci", None, 200
    yield "GET", "/v1/leases?limit=1", None, 200
    yield "GET", "/v1/leases?state=lapsed", None, 400
    yield "GET", "/v1/leases/ci?x=1", None, 400
    yield "DELETE", "/v1/leases/ci?x=1", None, 400
    yield "DELETE", "/v1/leases/ci", None, 204
    yield "PUT", "/v1/leases/ci", LEASE | {"targets": [f"s{n}" for n in range(5)], "credential": "tiny"}, 409
    yield "GET", "/v1/leases/ci", None, 404
    for body in (
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b"[" * 60_000,
        b'{"targets":["cron"],"ttl_seconds":NaN}',
        b'{"targets":["cron"],"ttl_seconds":1e999}',
        b'{"targets":["cron"],"ttl_seconds":' + b"9" * 400 + b"}",
        LEASE | {"ttl_seconds": True},
        LEASE | {"ttl_seconds": 0},
        LEASE | {"ttl_seconds": "60"},
        LEASE | {"ttl_seconds": 1e8},
        LEASE | {"targets": []},
        LEASE | {"targets": "cron"},
        LEASE | {"targets": [1]},
        LEASE | {"targets": ["a/b/c"]},
        LEASE | {"targets": ["\ud800"]},
        LEASE | {"credential": "unknown"},
        LEASE | {"credential": 1},
        LEASE | {"ttl": 5},
    ):
        yield "PUT", "/v1/leases/ci", body, 400
    for name in ("a%20b", "..%2F..%2Fetc%2Fpasswd", "%00", "%FF", "a" * 129, "%F0%9F%98%80"):
        yield "PUT", f"/v1/leases/{name}", LEASE, 400
        yield "GET", f"/v1/leases/{name}", None, 404
    yield "PUT", "/v1/leases/ci", b" " * (LARGEST_BODY + 1), 413
    for method, path in (
        ("DELETE", "/v1/status"),
        ("POST", "/healthz"),
        ("GET", "/v1/reload"),
        ("HEAD", "/v1/status"),
    ):
        yield method, path, None, 405


async def test_every_answer_is_what_is_described(stage: Stage) -> None:
    called: set[str] = set()
    for method, path, body, status in requests():
        answer = await stage.ask(method, path, body)
        assert answer.status == status, f"{method} {path} {body!r:.80}: {answer}"
        if status == 405:
            assert answer.headers["Allow"] != method
        else:
            check(method, path, answer)
            operation = described(method, path)
            assert operation is not None
            called.add(f"{operation['operationId']} {status}")

    every = {
        f"{operation['operationId']} {status}"
        for path, item in SEALED["paths"].items()
        for method, operation in item.items()
        if method in METHODS
        for status in operation["responses"]
        if status.startswith("2") and (path, status) != ("/readyz", "200")
    }
    assert every <= called


async def test_a_rejected_reload_is_described(stage: Stage) -> None:
    stage.text += "\n[nonsense]\n"
    answer = await stage.ask("POST", "/v1/reload")

    assert answer.status == 422
    check("POST", "/v1/reload", answer)
    assert "nonsense" in answer.json["faults"][0]


async def test_what_the_stopping_daemon_refuses_is_described(stage: Stage) -> None:
    stage.scheduler.drain("SIGTERM")
    for method, path, body in (("POST", "/v1/reload", None), ("PUT", "/v1/leases/ci", LEASE)):
        answer = await stage.ask(method, path, body)
        assert answer.status == 503
        check(method, path, answer)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/status"), ("PUT", "/v1/leases/ci"), ("GET", "/readyz")]
)
async def test_a_wrong_host_is_described(stage: Stage, method: str, path: str) -> None:
    answer = await stage.ask(method, path, LEASE, {"Host": "evil.example"})

    assert answer.status == 403
    check(method, path, answer)
    assert len(stage.leases) == 0


async def test_a_bug_in_an_answer_is_described_and_stops_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(limit: int) -> list[str]:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(stage.history, "lines", broken)
    answer = await stage.ask("GET", "/v1/transitions")

    assert answer.status == 500
    check("GET", "/v1/transitions", answer)
    assert "secret" not in answer.text
    assert (await stage.ask("GET", "/v1/status")).status == 200
    assert capfd.readouterr() == ("", "")


async def test_what_breaks_and_what_is_refused_are_shown(stage: Stage) -> None:
    await until(lambda: stage.scheduler.groups["other"].standing(stage.clock.now()).breakers != ())
    targets = (await stage.ask("GET", "/v1/targets")).json["targets"]
    faults = {each["script_id"]: each["fault"] for each in targets}
    tiny = (await stage.ask("GET", "/v1/rate_groups/tiny")).json
    other = (await stage.ask("GET", "/v1/rate_groups/other")).json

    assert faults["denied"]["error_code"] == 10000
    assert faults["api"] is None
    assert tiny["silent_until"] is not None
    assert other["breakers"][0]["key"] == {"credential": "other", "account_id": None, "script_id": None}
    assert other["breakers"][0]["scope"] == "credential"
