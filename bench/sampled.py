"""Runs `looparr ...` and writes where its main thread spends its CPU: `python -m bench.sampled OUT operator ...`.

A timer of CPU time (ITIMER_PROF) interrupts every 2 ms, or every tick of the kernel where that is longer; the stack at
that moment is one sample. It costs far less than cProfile, so that proportions stay true. OUT: one line per place, own
samples and samples with everything called from there, of the whole and in percent.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType

PERIOD = 0.002
TOP = 70


class Sampler:
    """Counts places. own: where the program was; deep: everything on the stack."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.deep: Counter[str] = Counter()
        self.lines: Counter[str] = Counter()

    def sample(self, _number: int, frame: FrameType | None) -> None:
        """Take one sample (a signal handler)."""
        seen: set[str] = set()
        first = True
        while frame is not None:
            code = frame.f_code
            place = f"{short(code.co_filename)}:{code.co_firstlineno} {code.co_qualname}"
            if first:
                self.own[place] += 1
                self.lines[f"{short(code.co_filename)}:{frame.f_lineno} {code.co_name}"] += 1
                first = False
            seen.add(place)
            frame = frame.f_back
        self.deep.update(seen)

    def write(self, path: Path) -> None:
        """Write the tables."""
        total = max(1, self.own.total())
        parts = [f"{total} samples, evenly spaced in CPU time\n"]
        for title, counter in (("own", self.own), ("with callees", self.deep), ("own, by line", self.lines)):
            parts.append(f"\n{title}\n")
            parts += [f"{100 * n / total:6.1f} %  {n:6}  {place}\n" for place, n in counter.most_common(TOP)]
        path.write_text("".join(parts))


def short(file: str) -> str:
    """Give the part of a file's path that a reader needs."""
    for mark in ("site-packages/", "operator/", "lib/python"):
        if mark in file:
            return file.rpartition(mark)[2]
    return file


def main() -> None:
    """Run the command line under the sampler."""
    out, sampler = Path(sys.argv[1]), Sampler()
    sys.argv = ["looparr", *sys.argv[2:]]
    from looparr.cli import run  # noqa: PLC0415 - imports are sampled, too, but not this module's

    signal.signal(signal.SIGPROF, sampler.sample)
    signal.setitimer(signal.ITIMER_PROF, PERIOD, PERIOD)
    try:
        run()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        sampler.write(out)


if __name__ == "__main__":
    main()
