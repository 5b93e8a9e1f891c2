"""The board: how a running daemon looks to a person. Pure: what was seen in, lines out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from keepalive.cli.window import about_window
from keepalive.config.duration import format_duration
from keepalive.control.answers import BreakerSaid, FaultSaid, GroupSaid, Overview, TargetSaid
from keepalive.control.client import printable
from keepalive.core.eligibility import Eligibility

WORST_FIRST = (
    Eligibility.LAPSED,
    Eligibility.DENIED,
    Eligibility.REFUSED,
    Eligibility.AT_RISK,
    Eligibility.PENDING,
    Eligibility.ELIGIBLE,
)
"""The order of the rows: who needs a person stands at the top."""

HEADINGS = ("state", "target", "credential", "eligible for", "next beat", "last fault")

_COUNTED = (
    Eligibility.ELIGIBLE,
    Eligibility.AT_RISK,
    Eligibility.LAPSED,
    Eligibility.PENDING,
    Eligibility.DENIED,
    Eligibility.REFUSED,
)
_NAME = HEADINGS.index("target")
_DISPENSABLE = ("next beat", "credential", "last fault", "eligible for")
"""Headings in the order in which a narrow screen does without them; why targets fail is said below too."""

_NARROWEST = {"target": 16, "last fault": 16}
"""Characters below which a column that may be folded is not worth reading."""
_GAP = 2
"""Spaces between two columns."""

_NEVER = "-"
_REMARKS = 5
"""Remarks of a kind that a screen gets; --all gives all."""


class Row(NamedTuple):
    """One target: its state, and the cells below `HEADINGS`."""

    state: Eligibility
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a daemon: the whole, some of its targets, the worst first, and its rate groups."""

    overview: Overview
    targets: tuple[TargetSaid, ...]
    groups: tuple[GroupSaid, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """A table of targets with what is said above and below it.

    Attributes:
        title: The counts, the budget, and how long the daemon runs.
        above: Lines that hold for all targets.
        rows: The targets, the worst first.
        below: How many more there are, why targets fail, and what is wrong with rate groups.
    """

    title: str
    above: tuple[str, ...]
    rows: tuple[Row, ...]
    below: tuple[str, ...]


class Size(NamedTuple):
    """How many characters fit on a screen, and how many lines."""

    width: int
    height: int


def board(seen: Seen, now: datetime, size: Size | None = None) -> Board:
    """Lay out what was seen, so that it fits on a screen of that size or, without one, as a whole."""
    account = _only_account(seen.targets)
    above = tuple(_above(seen.overview, account))
    remarks = tuple(_remarks(seen, now, None if size is None else _REMARKS))
    rows = tuple(_row(target, account) for target in seen.targets)
    if size is not None:
        lines = sum(_lines(line, size.width) for line in (title(seen.overview), *above, *remarks))
        taken = lines + 4  # the headings, two empty ones, and how many more there are
        rows = tuple(_fitting(rows, size.width, size.height - taken))
    rest = tuple(_rest(seen.overview, rows))
    return Board(title(seen.overview), above, rows, (*rest, *remarks))


def title(overview: Overview) -> str:
    """The line that says most: who is eligible and who is not, how much is left, since when."""
    counts = [(state, getattr(overview.targets, state)) for state in _COUNTED]
    parts = [f"{count:,} {word(state)}" for state, count in counts if count] or ["no targets"]
    up = overview.uptime_seconds
    since = format_duration(up // 60 * 60 if up >= 3600 else int(up)) if up >= 1 else "0s"
    said = [", ".join(parts), f"budget {overview.budget_used * 100:.0f} % used", f"up {since}"]
    return " · ".join((*said, "draining") if overview.draining else said)


def word(state: Eligibility) -> str:
    """A state as people say it."""
    return state.value.replace("_", " ")


def plain(shown: Board) -> Iterator[str]:
    """The lines of a board for a pipe: aligned, whole, without colours."""
    yield shown.title
    yield from shown.above
    if shown.rows:
        yield ""
        table = [HEADINGS, *(row.cells for row in shown.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for cells in table:
            yield (" " * _GAP).join(map(str.ljust, cells, widths)).rstrip()
    if shown.below:
        yield ""
        yield from shown.below


# --- the parts -----------------------------------------------------------------------------------


def _only_account(targets: Iterable[TargetSaid]) -> str | None:
    """The account of all targets; stands above them once, because 32 digits in each row hide the rest."""
    accounts = {target.account_id for target in targets}
    return accounts.pop() if len(accounts) == 1 else None


def _above(overview: Overview, account: str | None) -> Iterator[str]:
    yield f"window {about_window(overview.window_seconds, calibrated=overview.window_calibrated)}"
    if not overview.healthy:
        yield f"not well: {printable(overview.reason)}"
    if account is not None:
        yield f"account {printable(account)}"


def _row(target: TargetSaid, account: str | None) -> Row:
    name = target.target if account is None else target.script_id or "(the whole account)"
    last = target.fault.cause if target.fault else ""
    if target.failures > 1 and last:
        last += f", {target.failures:,} in a row"
    cells = (
        word(target.state),
        printable(name),
        printable(target.credential),
        _length(target.eligible_for_seconds),
        _length(target.next_beat_in_seconds),
        printable(last),
    )
    return Row(target.state, cells)


def columns(rows: Sequence[Row], width: int) -> tuple[int, ...]:
    """Which columns of the rows find room beside each other; the state and the name always do."""
    widths = _widths(rows)
    shown = list(range(len(HEADINGS)))
    for heading in _DISPENSABLE:
        least = sum(min(widths[each], _NARROWEST.get(HEADINGS[each], widths[each])) for each in shown)
        if least + _GAP * (len(shown) - 1) <= width:
            break
        shown.remove(HEADINGS.index(heading))
    return tuple(shown)


def _widths(rows: Sequence[Row]) -> list[int]:
    return [max(map(len, column)) for column in zip(HEADINGS, *(row.cells for row in rows), strict=True)]


def _fitting(rows: Sequence[Row], width: int, lines: int) -> Iterator[Row]:
    """As many rows as fit into so many lines, one at least; a name that is too long takes several."""
    widths, shown = _widths(rows), columns(rows, width)
    left = width - sum(widths[each] + _GAP for each in shown if each != _NAME)
    for number, row in enumerate(rows):
        lines -= _lines(row.cells[_NAME], left)
        if lines < 0 and number:
            return
        yield row


def _lines(text: str, width: int) -> int:
    return -(-len(text) // max(1, width))


def _length(seconds: float | None) -> str:
    if seconds is None:
        return _NEVER
    return f"{max(0.0, seconds):.1f}s" if seconds < 10 else format_duration(int(seconds))


def _rest(overview: Overview, rows: Sequence[Row]) -> Iterator[str]:
    """How many targets are not shown, and what they are."""
    shown = Counter(row.state for row in rows)
    hidden = {state: getattr(overview.targets, state) - shown[state] for state in WORST_FIRST}
    hidden = {state: count for state, count in hidden.items() if count > 0}
    if not hidden:
        return
    total = sum(hidden.values())
    if len(hidden) == 1:
        what = f", all {word(*hidden)}" if total > 1 else f", {word(*hidden)}"
    else:
        what = ": " + ", ".join(f"{count:,} {word(state)}" for state, count in hidden.items())
    yield f"… and {total:,} more{what}; --all lists them"


def _remarks(seen: Seen, now: datetime, most: int | None) -> Iterator[str]:
    """Why targets fail, each reason once, and what is wrong with rate groups."""
    faults = Counter(map(_explained, (target.fault for target in seen.targets if target.fault)))
    counts = seen.overview.targets
    least = "at least " if len(seen.targets) < counts.total - counts.eligible else ""
    yield from (
        f"{least}{count:,} {'target' if count == 1 else 'targets'}: {said}"
        for said, count in faults.most_common(most)
    )
    if most is not None and len(faults) > most:
        yield f"… and {len(faults) - most:,} more reasons; --all lists them"
    groups = [line for group in seen.groups for line in _about_group(group, now)]
    yield from groups[:most]
    if most is not None and len(groups) > most:
        yield f"… and {len(groups) - most:,} more about rate groups; --all lists them"


def _explained(fault: FaultSaid) -> str:
    codes = [f"HTTP {fault.http_status}"] if fault.http_status else []
    codes += [f"code {fault.error_code}"] if fault.error_code else []
    said = f"{fault.cause} ({', '.join(codes)})" if codes else fault.cause
    return printable(_sentence(said, fault.detail, fault.hint))


def _sentence(said: str, detail: str | None, hint: str | None) -> str:
    said = f"{said}: {detail.rstrip('.')}" if detail else said
    return f"{said}; {hint}" if hint else said


def _about_group(group: GroupSaid, now: datetime) -> Iterator[str]:
    name = f"rate group {printable(group.rate_group)}"
    if (silent := _seconds_until(group.silent_until, now)) > 0:
        times = f", {group.throttles:,} in a row" if group.throttles > 1 else ""
        yield f"{name}: silent for {format_duration(max(1, round(silent)))} more after a 429{times}"
    if group.refused:
        hint = "take some away, or use another user's credentials"
        yield f"{name}: its quota cannot hold {group.refused:,} of its targets; {hint}"
    for breaker in group.breakers:
        if breaker.scope != "target":  # which its row says already
            yield f"{name}: {_what(breaker)} is only probed{_for(breaker.since, now)}; {_reason(breaker)}"


def _what(breaker: BreakerSaid) -> str:
    parts = (breaker.key.credential, breaker.key.account_id, breaker.key.script_id)
    key = " ".join(part for part in parts if part)
    return printable(f"{breaker.scope} {key}" if key else f"the {breaker.scope}")


def _reason(breaker: BreakerSaid) -> str:
    return printable(_sentence(breaker.cause, breaker.detail, breaker.hint))


def _for(since: str, now: datetime) -> str:
    seconds = -_seconds_until(since, now)
    return f", for {format_duration(max(1, round(seconds)))} now" if seconds > 0 else ""


def _seconds_until(text: str | None, now: datetime) -> float:
    """Seconds from now to a moment of the daemon's, negative when it is past; 0 where it is none."""
    if text is None:
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
