"""The API: what a request is answered. Pure and synchronous; time is part of each call."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError

from keepalive.emulator import reply
from keepalive.emulator.auth import read_signature
from keepalive.emulator.bodies import HeartbeatBody, PrepareBody, QueryBody
from keepalive.emulator.call import Call, Route, Whence
from keepalive.emulator.faults import Fault, FaultKind, Faults
from keepalive.emulator.quota import Meter, Reading
from keepalive.emulator.reply import Refusal, Reply
from keepalive.emulator.sessions import Session, Sessions
from keepalive.emulator.standing import Place, Standing, Tally
from keepalive.emulator.telemetry import Telemetry
from keepalive.emulator.world import Holder, Scheme, Signature, TokenStatus, World

PREFIX = "/client/v4"
STREAM_PATH = "/connect"

_TELEMETRY = r"/accounts/(?P<account>[^/]+)/workers/observability/telemetry"
_ROUTES = (
    (Route.HEARTBEAT, "POST", re.compile(f"{PREFIX}{_TELEMETRY}/live-tail/heartbeat")),
    (Route.PREPARE, "POST", re.compile(f"{PREFIX}{_TELEMETRY}/live-tail")),
    (Route.QUERY, "POST", re.compile(f"{PREFIX}{_TELEMETRY}/query")),
    (Route.VERIFY, "GET", re.compile(f"{PREFIX}/user/tokens/verify")),
    (Route.VERIFY, "GET", re.compile(f"{PREFIX}/accounts/(?P<account>[^/]+)/tokens/verify")),
    (Route.STREAM, "GET", re.compile(STREAM_PATH)),
)
_ANSWERLESS = frozenset({FaultKind.RESET, FaultKind.HANG})
_ACCOUNT_ID = re.compile(r"[0-9a-f]{32}")

_B = TypeVar("_B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a call.

    Attributes:
        whence: Who asked for what.
        reply: What the API says; None where the network or a fault swallows the call.
        fault: What happens on the way, or None.
        reading: The caller's quota after this call, where the caller is known.
        session: The live tail that this call claimed.
    """

    whence: Whence
    reply: Reply | None = None
    fault: Fault | None = None
    reading: Reading | None = None
    session: Session | None = None


class _Asked(NamedTuple):
    """A call that was read."""

    call: Call
    whence: Whence
    signature: Signature | None
    holder: Holder | None


class Api:
    """Everything that the emulated Cloudflare knows.

    Every call that arrives counts against its user's quota, whatever fault strikes it then: a client
    cannot know how far a lost request got. A fault that takes the place of the answer (a status, a page,
    a reset, a hang) keeps the heartbeat from counting; one that only spoils the answer (drip, truncate,
    huge) does not.
    """

    def __init__(
        self, world: World, faults: Faults, telemetry: Telemetry, *, origin: str, indexing_lag_ms: float
    ) -> None:
        self.world = world
        self.faults = faults
        self.telemetry = telemetry
        self._sessions = Sessions(origin.replace("http", "ws", 1) + STREAM_PATH)
        self._origin = origin
        self._indexing_lag_ms = indexing_lag_ms
        self._standings: dict[Place, Standing] = {}
        self._of_users: dict[str, Meter] = {}
        self._of_addresses: dict[str, Meter] = {}

    def answer(self, call: Call) -> Verdict:
        """Judge one call at the moment that it names."""
        asked = self._read(call)
        whence = asked.whence
        if fault := self.faults.network(call.at):
            return Verdict(whence, fault=fault)
        if whence.route is Route.STREAM:
            return self._open_stream(call)
        reading, throttled = self._charge(asked)
        if throttled is not None:
            return Verdict(whence, throttled, reading=reading)
        fault = self.faults.request(call.at, whence)
        instead = self._in_place_of_the_answer(fault)
        if instead is not None or (fault and fault.kind in _ANSWERLESS):
            return Verdict(whence, instead, fault, reading)
        return Verdict(whence, self._decide(asked), fault, reading)

    def eligible(self, place: Place, now: float) -> bool:
        """Say whether a place would be streamed to: by its own heartbeats or those for the whole account."""
        return any(
            standing.eligible(now)
            for one in {place, place._replace(script_id=None)}
            if (standing := self._standings.get(one)) is not None
        )

    def revoke(self, place: Place, now: float, seconds: float) -> None:
        """Take eligibility away from a place that had a heartbeat accepted, and accept none for so long."""
        self._standings[place].revoke(now, now + seconds)

    def tallies(self, now: float) -> dict[Place, Tally]:
        """Account for every place that ever had a heartbeat accepted."""
        return {place: standing.tally(now) for place, standing in self._standings.items()}

    def scripts(self, session: Session) -> Iterable[str]:
        """The scripts whose events a session gets."""
        one = session.place.script_id
        return (one,) if one is not None else sorted(self.world.accounts[session.place.account_id])

    def _read(self, call: Call) -> _Asked:
        signature = read_signature(call.headers)
        holder = self.world.holder(signature) if signature else None
        user = holder.user.name if holder else None
        for route, method, pattern in _ROUTES:
            found = pattern.fullmatch(call.path)
            if found and method == call.method:
                account = found.groupdict().get("account")
                body = _parse(HeartbeatBody, call.body) if method == "POST" else None
                script = body.script_id if body else None
                return _Asked(call, Whence(route, user, account, script), signature, holder)
        return _Asked(call, Whence(Route.UNKNOWN, user), signature, holder)

    def _charge(self, asked: _Asked) -> tuple[Reading | None, Reply | None]:
        now = asked.call.at
        by_address = _meter(self._of_addresses, asked.call.address, lambda: Meter(self.world.per_address))
        reading = by_address.charge(now)
        if not reading.granted:
            return None, reply.refused(reply.ADDRESS_THROTTLED, reading.reset_in)
        if asked.holder is None:
            return None, None
        user = asked.holder.user
        reading = _meter(self._of_users, user.name, lambda: Meter(user.quota)).charge(now)
        if not reading.granted:
            return reading, reply.refused(reply.USER_THROTTLED, reading.reset_in)
        return reading, None

    def _in_place_of_the_answer(self, fault: Fault | None) -> Reply | None:
        match fault:
            case Fault(kind=FaultKind.STATUS, status=int(status)):
                return reply.failed(status, fault.code, fault.retry_after)
            case Fault(kind=FaultKind.HTML):
                return reply.page(fault.status or 502)
            case Fault(kind=FaultKind.REDIRECT):
                return reply.redirect(f"{self._origin}{PREFIX}/redirected")
            case Fault(kind=FaultKind.NOT_ACCEPTED):
                return reply.refused(reply.NOT_ACCEPTED)
            case _:
                return None

    def _decide(self, asked: _Asked) -> Reply:
        whence, holder = asked.whence, asked.holder
        if whence.route is Route.UNKNOWN:
            return reply.refused(reply.NO_ROUTE)
        if whence.account_id is not None and not _ACCOUNT_ID.fullmatch(whence.account_id):
            return reply.refused(reply.BAD_ACCOUNT)
        if asked.signature is None:
            return reply.refused(reply.BAD_HEADERS)
        if whence.route is Route.VERIFY:
            return _verify(holder, whence.account_id)
        if holder is None or holder.credential.status is not TokenStatus.ACTIVE:
            return reply.refused(reply.UNKNOWN_CREDENTIAL)
        return self._obey(asked, holder)

    def _obey(self, asked: _Asked, holder: Holder) -> Reply:
        call, account_id = asked.call, asked.whence.account_id or ""
        if forbidden := self._forbids(holder, account_id):
            return reply.refused(forbidden)
        if asked.whence.route is Route.QUERY:
            query = _parse(QueryBody, call.body)
            return self._query(account_id, query, call.wall_ms) if query else reply.refused(reply.BAD_BODY)
        body: HeartbeatBody | None = _parse(
            PrepareBody if asked.whence.route is Route.PREPARE else HeartbeatBody, call.body
        )
        if body is None:
            return reply.refused(reply.BAD_BODY)
        if body.script_id is not None and body.script_id not in self.world.accounts[account_id]:
            return reply.refused(reply.NO_SCRIPT)
        place = Place(holder.user.name, account_id, body.script_id)
        self._renew(place, call.at)
        if isinstance(body, PrepareBody):
            return reply.accepted({"wsUrl": self._sessions.prepare(place, body.wanted)})
        return reply.accepted({})

    def _forbids(self, holder: Holder, account_id: str) -> Refusal | None:
        allowed, owner = holder.credential.accounts, holder.user.owner
        if (
            account_id not in self.world.accounts
            or (allowed is not None and account_id not in allowed)
            or owner not in (None, account_id)
        ):
            return reply.FOREIGN_ACCOUNT
        return None if holder.credential.may_write else reply.NO_PERMISSION

    def _renew(self, place: Place, now: float) -> None:
        if place in self._standings:
            self._standings[place].renew(now)
        else:
            self._standings[place] = Standing(now, self.world.window)

    def _query(self, account_id: str, asked: QueryBody, wall_ms: int) -> Reply:
        indexed_ms = int(wall_ms - self._indexing_lag_ms)
        events = self.telemetry.query(account_id, self.world.accounts[account_id], asked, indexed_ms)
        bodies = [event.body for event in events]
        return reply.accepted({"events": {"count": len(bodies), "events": bodies}})

    def _open_stream(self, call: Call) -> Verdict:
        session = self._sessions.find(call.query.get("key", ""))
        if session is None:
            return Verdict(Whence(Route.STREAM), reply.refused(reply.BAD_SESSION))
        if fault := self.faults.request(call.at, session.whence):
            spoilt = None if fault.kind in _ANSWERLESS else reply.page(502)
            return Verdict(session.whence, self._in_place_of_the_answer(fault) or spoilt, fault)
        self._sessions.claim(session)
        return Verdict(session.whence, session=session)


def _verify(holder: Holder | None, account_id: str | None) -> Reply:
    if (
        holder is None
        or holder.credential.signature.scheme is not Scheme.API_TOKEN
        or holder.user.owner != account_id
    ):
        return reply.refused(reply.BAD_TOKEN)
    credential = holder.credential
    number = holder.user.credentials.index(credential)
    expiry = {"expires_on": credential.expires_on} if credential.expires_on else {}
    token_id = f"{holder.user.name}-{number}".encode().hex()[:32].ljust(32, "0")
    return reply.accepted({"id": token_id, "status": credential.status.value, **expiry})


def _parse(model: type[_B], body: bytes) -> _B | None:
    try:
        return model.model_validate_json(body)
    except ValidationError:
        return None


def _meter(meters: dict[str, Meter], name: str, make: Callable[[], Meter]) -> Meter:
    if name not in meters:
        meters[name] = make()
    return meters[name]
