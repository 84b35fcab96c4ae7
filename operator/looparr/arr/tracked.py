"""What is remembered of one torrent, and how the store keeps it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from looparr.arr.health import Clock
from looparr.arr.rules import Facts
from looparr.arr.states import State
from looparr.store.rows import StrikeRow, TorrentKey, TorrentRow

Key = TorrentKey
"""Identity of a torrent: (client, hash, added_on). Added again, it is another one."""

_STATES = {str(state): state for state in State}


@dataclass(slots=True)
class Tracked:
    """What is remembered of one torrent. since, gone_at, seen_at, hold_until: epoch seconds.

    mark: high-water mark of `completed`, bytes. asked_at: when it was last looked up, monotonic; less than all: never.
    absent: deltas in a row in which it was not there. reported: rules whose ripeness was reported. why: the newest
    reason for doing nothing more. hold_until: no removal before that. nudged: the Arr was told of its completion.
    """

    key: Key
    name: str = ""
    infohash_v1: str = ""
    state: State = State.DETECTED
    since: float = 0.0
    mark: int = 0
    facts: Facts = field(default_factory=Facts)
    clocks: Mapping[str, Clock] = field(default_factory=dict)
    owned: bool = False
    nudged: bool = False
    imported: bool = False
    guarded: str = ""
    why: str = ""
    next_action: str = ""
    reported: frozenset[str] = frozenset()
    hold_until: float = 0.0
    absent: int = 0
    gone_at: float = 0.0
    seen_at: float = 0.0
    asked_at: float = -math.inf

    def row(self) -> TorrentRow:
        """Give what the store keeps."""
        return TorrentRow(
            client=self.key.client,
            hash=self.key.hash,
            added_on=self.key.added_on,
            infohash_v1=self.infohash_v1,
            state=str(self.state),
            since=self.since,
            data={
                "name": self.name,
                "mark": self.mark,
                "private": self.facts.private,
                "hosts": None if self.facts.hosts is None else list(self.facts.hosts),
                "nudged": self.nudged,
                "imported": self.imported,
                "guarded": self.guarded,
                "owned": self.owned,
                "reported": sorted(self.reported),
                "hold_until": self.hold_until,
                "gone_at": self.gone_at,
            },
        )

    @classmethod
    def from_row(cls, row: TorrentRow) -> Tracked:
        """Read what the store kept; unknown words become their defaults."""
        data: Mapping[str, Any] = row.data
        hosts = data.get("hosts")
        return cls(
            key=Key(row.client, row.hash, row.added_on),
            name=str(data.get("name") or ""),
            infohash_v1=row.infohash_v1,
            state=_STATES.get(row.state, State.DETECTED),
            since=row.since,
            mark=int(data.get("mark") or 0),
            facts=Facts(data.get("private"), None if hosts is None else tuple(hosts)),
            nudged=bool(data.get("nudged")),
            imported=bool(data.get("imported")),
            guarded=str(data.get("guarded") or ""),
            owned=bool(data.get("owned")),
            reported=frozenset(data.get("reported") or ()),
            hold_until=float(data.get("hold_until") or 0.0),
            gone_at=float(data.get("gone_at") or 0.0),
        )


def strike_row(key: Key, rule: str, clock: Clock) -> StrikeRow:
    """Give what the store keeps of one clock; since is -1 while it stands still."""
    return StrikeRow(
        client=key.client,
        hash=key.hash,
        added_on=key.added_on,
        rule=rule,
        digest=clock.digest,
        bad_seconds=clock.bad,
        strikes=clock.strikes,
        last_strike_bad_seconds=clock.last_strike,
        since=-1.0 if clock.since is None else clock.since,
    )


def read_clock(row: StrikeRow) -> Clock:
    """Read a clock back."""
    return Clock(
        digest=row.digest,
        bad=row.bad_seconds,
        since=row.since if row.since >= 0 else None,
        strikes=row.strikes,
        last_strike=row.last_strike_bad_seconds,
    )
