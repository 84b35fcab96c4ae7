"""Phase 3: which rules does a torrent break, and for how long has that been observed? Pure.

Bad time is counted on the instance's *observation clock* (memory.py): it moves only in turns that really saw the
client and the Arr, each step at most two intervals, and stands still while things are frozen. So downtime, outages and
a disconnected client never count, and an unchanged torrent costs nothing: its bad time is a difference of two readings.

Only progress resets bad time and strikes; a flicker of state does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from looparr.arr.rules import Facts, Rule, in_condition, passes_filters
from looparr.clients.qbittorrent.wire import Torrent


@dataclass(frozen=True, slots=True)
class Clock:
    """Bad time of one torrent under one rule.

    bad: seconds counted before `since`. since: reading of the observation clock from which the torrent has matched
    without a break, None while it does not match. strikes: how many were given; last_strike: bad time at the last one.
    """

    digest: str
    bad: float = 0.0
    since: float | None = None
    strikes: int = 0
    last_strike: float = 0.0

    def total(self, reading: float) -> float:
        """Bad time up to that reading of the observation clock, seconds."""
        return self.bad + (max(0.0, reading - self.since) if self.since is not None else 0.0)

    def struck(self, reading: float) -> Clock:
        """Give the clock with one more strike, given at that reading."""
        return replace(self, strikes=self.strikes + 1, last_strike=self.total(reading))

    def stopped(self, reading: float) -> Clock:
        """Give the clock standing still, with what it had counted at that reading."""
        return replace(self, bad=self.total(reading), since=None)


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a torrent matches now: bad time (seconds), strikes, and whether it may act."""

    rule: Rule
    bad: float
    strikes: int
    ripe: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What one look at one torrent gave.

    clocks: new clocks by rule name. findings: matching rules in order. due: observation-clock reading at which the
    next strike is due, None when no clock runs. wants_facts: a first strike waits for a look-up.
    """

    clocks: Mapping[str, Clock]
    findings: tuple[Finding, ...]
    due: float | None
    wants_facts: bool

    @property
    def ripe(self) -> Finding | None:
        """First ripe rule in order: the one that acts."""
        return next((finding for finding in self.findings if finding.ripe), None)


@dataclass(frozen=True, slots=True)
class Reading:
    """The observation clock now and at the turn before, seconds."""

    now: float
    before: float


def examine(
    torrent: Torrent,
    clocks: Mapping[str, Clock],
    rules: Sequence[Rule],
    facts: Facts,
    reading: Reading,
    *,
    age: float | None,
    edited: Mapping[str, float],
    countable: bool = True,
) -> Health:
    """Advance the clocks of one torrent and say which rules it breaks.

    countable: False for a torrent that nothing may touch (held, busy, not ours): clocks stop, nothing is found.
    edited: observation-clock reading at which a rule's strikes were last lowered, by rule name; such a rule acts no
    earlier than its `for` after that.
    """
    fresh: dict[str, Clock] = {}
    findings: list[Finding] = []
    dues: list[float] = []
    wants_facts = False
    for rule in rules:
        before = clocks.get(rule.name)
        clock = before if before is not None and before.digest == rule.digest else Clock(rule.digest)
        matching = countable and in_condition(rule, torrent) and passes_filters(rule, torrent, facts, age=age)
        clock = _settle(clock, reading, matching=matching)
        if matching:
            if _strike_is_due(rule, clock, reading):
                wants_facts = wants_facts or not facts.known
                clock = clock.struck(reading.now) if facts.known else clock
            acts_from = edited[rule.name] + rule.matches_for if rule.name in edited else 0.0
            findings.append(_finding(rule, clock, reading.now, acts_from))
            dues.append(_due(rule, clock, reading.now, acts_from))
        if clock.since is not None or clock.bad or clock.strikes:
            fresh[rule.name] = clock
    return Health(fresh, tuple(findings), min(dues, default=None), wants_facts)


def _strike_is_due(rule: Rule, clock: Clock, reading: Reading) -> bool:
    """At most one strike a turn, and none in a turn in which the observation clock stood still."""
    return reading.now > reading.before and clock.total(reading.now) >= _next_strike(rule, clock)


def _finding(rule: Rule, clock: Clock, now: float, acts_from: float) -> Finding:
    ripe = clock.strikes >= rule.strikes and now >= acts_from
    return Finding(rule, clock.total(now), clock.strikes, ripe)


def _due(rule: Rule, clock: Clock, now: float, acts_from: float) -> float:
    """Reading at which the torrent has to be looked at: its next strike, or the end of the pause after an edit."""
    strike = now + max(0.0, _next_strike(rule, clock) - clock.total(now))
    return min(strike, acts_from) if clock.strikes >= rule.strikes and now < acts_from else strike


def _settle(clock: Clock, reading: Reading, *, matching: bool) -> Clock:
    """Start, go on or stop a clock. One that stops counts only up to the turn in which it was last seen matching."""
    if matching:
        return clock if clock.since is not None else replace(clock, since=reading.now)
    return clock if clock.since is None else clock.stopped(reading.before)


def _next_strike(rule: Rule, clock: Clock) -> float:
    """Bad time at which the next strike is due."""
    return rule.matches_for if clock.strikes == 0 else clock.last_strike + rule.strike_every


@dataclass(frozen=True, slots=True)
class Progress:
    """High-water mark of `completed` (bytes) and whether it moved enough to count."""

    mark: int
    made: bool


def progress(mark: int, completed: int, least: int) -> Progress:
    """Judge progress: `completed` above the mark by at least `least` bytes moves the mark and resets bad time.

    A recheck, or a `completed` that fell, lowers the mark and resets nothing.
    """
    if completed >= mark + least:
        return Progress(completed, made=True)
    return Progress(min(mark, completed), made=False)
