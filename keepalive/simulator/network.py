"""The network: how long an attempt takes, and whether it gets through."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from random import Random

from keepalive.core.outcome import Fault, Transient
from keepalive.simulator.flight import Flight
from keepalive.simulator.spells import Flaky, Loss, Outage

_REFUSAL_TIME = 0.002

TIMED_OUT = Transient(Fault("timeout"), hung=True)
RESET = Transient(Fault("reset"))
REFUSED = Transient(Fault("connect"))
UNAVAILABLE = Transient(Fault("http_503", http_status=503))


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a healthy answer takes: log-normal, in seconds, half of it on the way to Cloudflare.

    Attributes:
        median: Half of the answers are faster.
        spread: Standard deviation of the logarithm: with 0.4 one answer in a hundred takes 2.5 medians.
    """

    median: float
    spread: float


class Network:
    """Decides at the moment of sending what becomes of an attempt: every spell is known beforehand."""

    __slots__ = ("_chance", "_mu", "_sigma")

    def __init__(self, latency: Latency, chance: Random) -> None:
        self._chance = chance
        self._mu = log(latency.median)
        self._sigma = latency.spread

    def carry(self, flight: Flight) -> None:
        """Send a flight on its way: sets when it arrives, when it ends, and how, unless Cloudflare says."""
        sent, session = flight.sent_at, flight.session
        latency = self._chance.lognormvariate(self._mu, self._sigma)
        arrives, answered = sent + latency / 2, sent + latency
        for spell in session.weather:
            if not spell.start <= sent < spell.end:
                continue
            if isinstance(spell, Flaky):
                self._strike(flight, spell)
            else:
                answered += spell.seconds
        flight.arrives_at = arrives
        gives_up = sent + flight.order.timeout
        if flight.outcome is TIMED_OUT or answered >= gives_up:
            flight.outcome, answered = TIMED_OUT, gives_up
        flight.ends_at = answered
        for outage in session.outages:
            if outage.start <= answered and sent < outage.end:
                self._shut(flight, outage, gives_up)

    def _strike(self, flight: Flight, spell: Flaky) -> None:
        draw = self._chance.random()
        for part, outcome in (
            (spell.reset, RESET),
            (spell.unavailable, UNAVAILABLE),
            (spell.hang, TIMED_OUT),
        ):
            if draw < part:
                flight.outcome, flight.counts_only = outcome, True
                return
            draw -= part

    @staticmethod
    def _shut(flight: Flight, outage: Outage, gives_up: float) -> None:
        """Lose whatever the outage meets: at the start, on the way there, or on the way back."""
        met = next(
            (
                moment
                for moment in (flight.sent_at, flight.arrives_at, flight.ends_at)
                if outage.start <= moment < outage.end
            ),
            None,
        )
        if met is None:
            return
        if met <= flight.arrives_at:
            flight.arrives_at = float("inf")
        if outage.loss is Loss.BLACK_HOLE:
            flight.outcome, flight.ends_at = TIMED_OUT, gives_up
        else:
            flight.outcome = REFUSED if met == flight.sent_at else RESET
            flight.ends_at = min(met + _REFUSAL_TIME, gives_up)
