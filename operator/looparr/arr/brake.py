"""The brake: when many torrents go bad at once, it is not the torrents. Pure.

A late mount, a full disk or a tracker that is down makes good torrents look bad all at once. Then all removals are
held until most of them have recovered, or until a person releases the brake by annotation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

WINDOW = 3600.0
SMALLEST = 5

Identity = tuple[str, str, int]
"""Client, hash, added_on."""


class Entry(NamedTuple):
    """A torrent entered a bad condition: when (epoch seconds), which, who, and on which tracker host ("" unknown).

    condition: a bad state, or the condition of a rule that began to match.
    """

    at: float
    condition: str
    torrent: Identity
    host: str


@dataclass(frozen=True, slots=True)
class Brake:
    """Why removals are held: how many torrents went into which condition, and which they were.

    host: the tracker's that they share, "" when they are counted whatever their trackers. most: how many of them may
    still be in the condition when the brake lets go.
    """

    reason: str
    condition: str
    host: str
    torrents: frozenset[Identity]
    most: int

    def with_later(self, entries: Iterable[Entry]) -> Brake:
        """Give the brake with those, too, that went bad in the same way since it was pulled: they have to recover."""
        later = {one.torrent for one in entries if one.condition == self.condition and self.host in {"", one.host}}
        return replace(self, torrents=self.torrents | later)

    def recovered(self, in_condition: Callable[[Identity, str], bool]) -> bool:
        """Whether so few are still in the condition that it would not be pulled again."""
        return sum(1 for one in self.torrents if in_condition(one, self.condition)) <= self.most


Entries = dict[tuple[str, Identity], Entry]
"""The newest entry of each torrent into each condition: there are never more than that."""


def lasting(entries: Entries, in_condition: Callable[[Identity, str], bool], now: float) -> Entries:
    """Give the entries of the last hour without those that have recovered."""
    return {
        key: entry
        for key, entry in entries.items()
        if entry.at > now - WINDOW and in_condition(entry.torrent, entry.condition)
    }


def update(
    pulled: Iterable[Brake],
    entries: Collection[Entry],
    owned: int,
    owned_by_host: Mapping[str, int],
    in_condition: Callable[[Identity, str], bool],
    now: float,
) -> tuple[Brake, ...]:
    """Give all brakes that hold now: those of before that have not recovered, and those that are pulled now.

    entries: those that still count (see `lasting`).
    """
    grown = [brake.with_later(entries) for brake in pulled]
    kept = {(brake.condition, brake.host): brake for brake in grown if not brake.recovered(in_condition)}
    fresh = {(brake.condition, brake.host): brake for brake in pull(entries, owned, owned_by_host, now)}
    return tuple((fresh | kept).values())


def pull(entries: Iterable[Entry], owned: int, owned_by_host: Mapping[str, int], now: float) -> tuple[Brake, ...]:
    """Say why removals must be held; () when they need not.

    More than max(5, 10 %) of all owned torrents, or more than max(5, 20 %) of one tracker host's, in the same bad
    condition, which they all entered within one hour.
    """
    groups: dict[tuple[str, str], set[Identity]] = defaultdict(set)
    for entry in entries:
        if entry.at > now - WINDOW:
            for host in {"", entry.host}:
                groups[entry.condition, host].add(entry.torrent)
    brakes = []
    for (condition, host), torrents in groups.items():
        total = owned_by_host.get(host, 0) if host else owned
        most = max(SMALLEST, total // (5 if host else 10))
        if len(torrents) > most:
            whose = f"torrents of {host}" if host else "torrents"
            reason = f"{len(torrents)} of {max(total, len(torrents))} {whose} became {condition} within an hour"
            brakes.append(Brake(reason, condition, host, frozenset(torrents), most))
    return tuple(brakes)
