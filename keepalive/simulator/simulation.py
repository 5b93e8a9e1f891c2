"""A simulation: one process with its rate groups, played against Cloudflare in virtual time.

It stands where the engine's scheduler stands: it takes the orders of the groups, and settles what became
of them. Nothing here waits; six hours of a thousand targets pass in under a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from heapq import heapify, heappop, heappush
from itertools import count, zip_longest
from math import inf
from random import Random

from keepalive.core.outcome import Attempt, Order, Throttled
from keepalive.core.pace import Pace
from keepalive.simulator.flight import Flight
from keepalive.simulator.line import Group, Line
from keepalive.simulator.meter import Meter
from keepalive.simulator.network import RESET, Network
from keepalive.simulator.result import Result
from keepalive.simulator.scenarios import Scenario
from keepalive.simulator.spells import MachineSpell, Suspend

SHORTEST_SLEEP = 0.002
"""Seconds that the dispatcher sleeps at least between two looks at one group."""


class Simulation:
    """One run of one scenario. `play` is all there is to do with it, once."""

    def __init__(self, scenario: Scenario, group: Callable[[str], Group]) -> None:
        self._scenario = scenario
        self._group = group
        self._chance = Random(scenario.seed)  # noqa: S311  chance by seed, no secret
        self._network = Network(scenario.latency, self._chance)
        self._lines = [Line(plan, scenario.remote_spells, group(plan.name)) for plan in scenario.groups]
        self._address = Pace(scenario.address_limit)
        self._second = Meter(1.0)
        self._now = 0.0
        self._entries = count()
        self._agenda: list[tuple[float, int, partial[None]]] = []

    def play(self, watch: Callable[[float], None] | None = None) -> Result:
        """Play it from 0 to the end; `watch` is told a hundred times how much of it is done, 0 to 1."""
        for spell in self._scenario.machine_spells:
            halt = self._suspend if isinstance(spell, Suspend) else self._crash
            self._at(spell.start, partial(halt, spell))
        self._start()
        agenda, end = self._agenda, self._scenario.duration
        step = end / 100
        told_at = step if watch else inf
        while agenda and agenda[0][0] < end:
            self._now, _, act = heappop(agenda)
            act()
            if watch and self._now >= told_at:
                watch(self._now / end)
                told_at = self._now + step
        return self._finish()

    def _at(self, moment: float, act: partial[None]) -> None:
        heappush(self._agenda, (moment, next(self._entries), act))

    def _start(self) -> None:
        for line in self._lines:
            line.start(self._now)
            self._arm(line, self._now)

    # --- what the engine does --------------------------------------------------------------------

    def _arm(self, line: Line, earliest: float) -> None:
        wake = max(line.group.next_wake(self._now), earliest)
        if wake != line.armed:
            line.armed = wake
            if wake < inf:
                self._at(wake, partial(self._wake, line))

    def _wake(self, line: Line) -> None:
        now, group = self._now, line.group
        if now != line.armed:
            return
        line.armed, line.woken_at = inf, now
        line.wakes += 1
        line.hear(group.announce(now))
        address_ready_at = self._address.ready_at(now)
        while address_ready_at <= now and (order := group.take(now)):
            self._address.charge(now)
            self._send(line, order)
            address_ready_at = self._address.ready_at(now)
        self._arm(line, max(address_ready_at, now + SHORTEST_SLEEP))

    def _send(self, line: Line, order: Order) -> None:
        flight = Flight(order, line.sessions[order.target], self._now)
        line.send(flight)
        self._second.count(self._now)
        self._network.carry(flight)
        if flight.arrives_at < inf:
            self._at(flight.arrives_at, partial(line.user.receive, flight))
        self._at(flight.ends_at, partial(self._end, line, flight))

    def _end(self, line: Line, flight: Flight) -> None:
        now, outcome = self._now, flight.outcome
        if outcome is None:
            raise AssertionError("an answer was heard before Cloudflare gave it")
        if isinstance(outcome, Throttled):
            line.hush(outcome, flight.arrives_at, now)
        attempt = Attempt(flight.order, flight.sent_at, now, outcome)
        line.hear(line.group.settle(attempt, now, self._chance.random()))
        self._arm(line, line.woken_at + SHORTEST_SLEEP)

    # --- what happens to the machine --------------------------------------------------------------

    def _halt(self) -> list[tuple[Line, Flight]]:
        """Take everything that the process had in hand off the agenda; what left still arrives."""
        flights: list[tuple[Line, Flight]] = []
        kept = []
        for entry in self._agenda:
            act = entry[2]
            if act.func == self._end:
                flights.append(act.args)
            elif act.func != self._wake:
                kept.append(entry)
        self._agenda[:] = kept
        heapify(self._agenda)
        for line in self._lines:
            line.armed = inf
        return flights

    def _suspend(self, spell: MachineSpell) -> None:
        flights = self._halt()
        for _, flight in flights:
            flight.outcome = RESET
        self._at(spell.end, partial(self._resume, flights))

    def _resume(self, flights: list[tuple[Line, Flight]]) -> None:
        for line, flight in flights:
            self._end(line, flight)
        for line in self._lines:
            line.group.hasten(self._now)
            self._arm(line, self._now)

    def _crash(self, spell: MachineSpell) -> None:
        self._halt()
        self._address = Pace(self._scenario.address_limit)
        for line in self._lines:
            line.crash(self._now, self._group(line.plan.name))
        self._at(spell.end, partial(self._start))

    # --- what is measured -------------------------------------------------------------------------

    def _finish(self) -> Result:
        scenario, lines, end = self._scenario, self._lines, self._scenario.duration
        for line in lines:
            line.close(end)
        lapses = [lapse for line in lines for lapse in line.lapses(scenario.machine_spells)]
        remaining = zip_longest(*(line.user.remaining for line in lines), fillvalue=0)
        return Result(
            scenario=scenario.name,
            seed=scenario.seed,
            duration=end,
            groups=tuple(line.result() for line in lines),
            renewals=sum(line.user.renewals for line in lines),
            extra_beats=sum(line.user.extra_beats for line in lines),
            held_seconds=sum(line.held_seconds(end) for line in lines),
            lapses=tuple(sorted(lapses, key=lambda lapse: lapse.start)),
            false_claims=tuple(claim for line in lines for claim in line.false_claims()),
            never_accepted=tuple(target for line in lines for target in line.never_accepted()),
            worst_second=self._second.worst,
            remaining=tuple(sum(renewals) for renewals in remaining),
        )
