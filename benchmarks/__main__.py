"""Run benchmarks from the shell: `python -m benchmarks`, or some of them by name."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping

from benchmarks.connections import connections
from benchmarks.drain import drain
from benchmarks.help import help_time
from benchmarks.report import Report
from benchmarks.sidecar import sidecar
from benchmarks.trace import trace

BENCHMARKS: Mapping[str, Callable[[int, float, str], Report]] = {
    "help": help_time,
    "drain": drain,
    "trace": trace,
    "sidecar": sidecar,
    "connections": connections,
}
"""The short ones first. Each gets the seed, the minutes that a long one takes, and how it was called."""


def main(arguments: list[str] | None = None) -> int:
    """Run them one after the other, and say by the exit code whether all figures hold."""
    about = "\n".join(f"  {name:12} {benchmark.__doc__}" for name, benchmark in BENCHMARKS.items())
    parser = ArgumentParser(
        prog="python -m benchmarks",
        description=f"Measures what the documentation quotes:\n{about}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of them; default: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults (default 0)")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the long ones (default 10)")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark is called {min(unknown)}; there are {', '.join(BENCHMARKS)}")
    names = asked.names or list(BENCHMARKS)
    print(f"Running {', '.join(names)}", flush=True)
    missed = [name for name in names if not _run(name, asked.seed, asked.minutes)]
    return 1 if missed else 0


def _run(name: str, seed: int, minutes: float) -> bool:
    command = f"python -m benchmarks {name}"
    if name in ("trace", "sidecar", "connections"):
        command += f" --minutes {minutes:g}"
    if name in ("trace", "sidecar"):
        command += f" --seed {seed}"
    report = BENCHMARKS[name](seed, minutes, command)
    print("", *report.markdown(), f"- saved as {report.save().name}", sep="\n", flush=True)
    return report.holds


if __name__ == "__main__":
    sys.exit(main())
