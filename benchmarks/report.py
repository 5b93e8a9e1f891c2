"""A report: the figures of one benchmark beside their bars, what they were measured on, and how."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from keepalive._version import __version__

RESULTS = Path(__file__).parent / "results"


class Figure(NamedTuple):
    """One thing that was measured.

    Attributes:
        what: What it is, in words.
        value: The number.
        unit: Its unit, or "" for a count.
        least: The bar that it has to reach, or None.
        most: The bar that it may not pass, or None.
        digits: Decimals that are worth showing.
    """

    what: str
    value: float
    unit: str = ""
    least: float | None = None
    most: float | None = None
    digits: int = 0

    @property
    def holds(self) -> bool:
        """True unless it misses a bar."""
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    @property
    def bar(self) -> str:
        """The bar in words, or "" where there is none."""
        if self.least is not None:
            return f"at least {self._number(self.least)}"
        return "" if self.most is None else f"at most {self._number(self.most)}"

    def row(self) -> str:
        """Its row in a Markdown table."""
        verdict = "" if not self.bar else "yes" if self.holds else "**no**"
        return f"| {self.what} | {self._number(self.value)} | {self.bar} | {verdict} |"

    def _number(self, number: float) -> str:
        return f"{number:,.{self.digits}f}{' ' if self.unit else ''}{self.unit}"


class Machine(NamedTuple):
    """On what it was measured."""

    keepalive: str
    python: str
    system: str
    cpu: str
    cores: int

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"keepalive {self.keepalive}, Python {self.python}, {self.system}, {self.cpu}, {self.cores} cores"
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What one benchmark found.

    Attributes:
        name: The benchmark's name.
        setting: What was played, in one sentence.
        command: What was typed to measure it.
        figures: What was measured.
        notes: Whatever explains a figure, one line each.
    """

    name: str
    setting: str
    command: str
    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """True when no figure misses its bar."""
        return all(figure.holds for figure in self.figures)

    def markdown(self) -> Iterator[str]:
        """The report as lines of Markdown."""
        yield f"## {self.name}"
        yield ""
        yield self.setting
        yield ""
        yield "| figure | measured | bar | holds |"
        yield "| --- | --- | --- | --- |"
        yield from (figure.row() for figure in self.figures)
        yield ""
        yield from (f"- {note}" for note in self.notes)
        yield f"- measured by `{self.command}`"
        yield f"- on {machine()}"

    def save(self) -> Path:
        """Keep it as JSON, and say where."""
        figures = [figure._asdict() | {"holds": figure.holds} for figure in self.figures]
        return keep(self.name, asdict(self) | {"figures": figures})


def keep(name: str, content: Mapping[str, object]) -> Path:
    """Keep what a benchmark found as JSON, with the versions and the machine, and say where."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}.json"
    whole = {"schema": 1, **content, "machine": machine()._asdict()}
    file.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    return file


def machine() -> Machine:
    """Say what this runs on."""
    system = f"{platform.system()} {platform.release()}"
    return Machine(__version__, platform.python_version(), system, _cpu(), os.cpu_count() or 1)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
