"""The weather: a fault trace of the simulator, for the emulator. So one seed means one trace in both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from keepalive.emulator import Fault, FaultKind
from keepalive.simulator.scenarios import scenario
from keepalive.simulator.spells import Flaky, Loss, Outage, Spell, Throttle

HANG_SECONDS = 60.0


def weather(seed: int, seconds: float) -> tuple[Spell, ...]:
    """The faults of the simulator's scenario `benchmark`, for so many emulated seconds."""
    return scenario("benchmark", seed, seconds / 3600).spells


def script(spells: Iterable[Spell]) -> tuple[Fault, ...]:
    """Say the same to the emulator, where the first fault that strikes a request is played.

    Raises:
        ValueError: There is a kind of spell that this trace never had.
    """
    spells = sorted(
        spells, key=lambda spell: isinstance(spell, Flaky)
    )  # a throttled user is throttled always
    return tuple(fault for spell in spells for fault in _faults(spell))


def story(spells: Iterable[Spell]) -> Iterator[str]:
    """Say what happens, in words."""
    for spell in spells:
        match spell:
            case Flaky(reset=reset, unavailable=unavailable, hang=hang):
                yield f"{reset:.0%} resets, {unavailable:.0%} 503, {hang:.0%} hangs of {HANG_SECONDS:.0f} s"
            case Outage():
                kind = "nothing is answered" if spell.loss is Loss.BLACK_HOLE else "connections are reset"
                yield f"an outage of {spell.length:.0f} s at {spell.start:.0f} s: {kind}"
            case Throttle():
                told = f"Retry-After {spell.retry_after:.0f} s"
                yield f"429 for {spell.length:.0f} s at {spell.start:.0f} s, {told}"
            case _:
                raise ValueError(f"no words for {spell}")


def _faults(spell: Spell) -> Iterator[Fault]:
    match spell:
        case Flaky(reset=reset, unavailable=unavailable, hang=hang):
            # Each fault draws only where the ones before it did not strike.
            yield Fault(kind=FaultKind.RESET, probability=reset)
            left = 1 - reset
            yield Fault(kind=FaultKind.STATUS, status=503, probability=unavailable / left)
            left -= unavailable
            yield Fault(kind=FaultKind.HANG, seconds=HANG_SECONDS, probability=hang / left)
        case Outage():
            kind = FaultKind.BLACK_HOLE if spell.loss is Loss.BLACK_HOLE else FaultKind.OUTAGE
            yield Fault(kind=kind, after=spell.start, until=spell.end)
        case Throttle():
            yield Fault(
                kind=FaultKind.STATUS,
                status=429,
                retry_after=spell.retry_after,
                after=spell.start,
                until=spell.end,
            )
        case _:
            raise ValueError(f"the emulator has no fault for {spell}")
