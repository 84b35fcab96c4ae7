"""What one ArrInstance remembers: torrents with their clocks, intents, the action log, and the observation clock.

Loaded once from the store, written back once a turn: only what changed. Losing it costs time, never data; `held_until`
keeps removals off for an hour when it was lost or restored from a backup.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from typing import Any

from looparr.arr.brake import Entries, Entry
from looparr.arr.deadlines import Deadlines
from looparr.arr.health import Clock
from looparr.arr.intents import Intent, Phase
from looparr.arr.limits import DAY, HOUR
from looparr.arr.rules import Facts
from looparr.arr.states import IN_TROUBLE, State
from looparr.arr.tracked import Key, Tracked, read_clock, strike_row
from looparr.store.rows import ActionRow, Changes, StrikeKey
from looparr.store.rows import Memory as Stored

GONE_KEPT = 7 * DAY
"""Seconds for which the memory of a torrent outlives the torrent."""


class Memory:
    """The memory of one instance: plain data and its book-keeping, no decisions.

    waiting: torrents that are ripe and held back; they are judged in every turn. unsettled: those that have to be
    looked at again for another reason. absent: torrents missing from the client's list that have not been given up yet.
    entries: who lately entered a bad condition, for the brake. conflicts: those that bear another operator's owner tag.
    trouble: those that people should see. shrunk_at: by client, when (monotonic) its list was found much too short.
    """

    def __init__(self, stored: Stored) -> None:
        self.tracked: dict[Key, Tracked] = {}
        self.current: dict[tuple[str, str], Key] = {}
        self.counts: Counter[State] = Counter()
        self.owned = 0
        self.owned_by_host: Counter[str] = Counter()
        self.strikes_due: dict[str, Deadlines] = {}
        self.goals_due = Deadlines()
        self.waiting: set[Key] = set()
        self.unsettled: set[Key] = set()
        self.absent: set[Key] = set()
        self.conflicts: set[Key] = set()
        self.trouble: set[Key] = set()
        self.shrunk_at: dict[str, float] = {}
        self.intents: dict[Key, Intent] = {}
        self.actions: list[ActionRow] = list(stored.actions)
        self.values: dict[str, Any] = dict(stored.values)
        self.entries: Entries = {
            (condition, (c, h, a)): Entry(at, condition, (c, h, a), host)
            for at, condition, (c, h, a), host in self.values.get("entries") or ()
        }
        self.changed_values: set[str] = set()
        self.dirty: set[Key] = set()
        self.dropped: set[Key] = set()
        self.new_actions: list[ActionRow] = []
        self.closed_intents: list[str] = []
        self._swept: float | None = None
        clocks: dict[Key, dict[str, Clock]] = {}
        for row in stored.strikes:
            clocks.setdefault(Key(row.client, row.hash, row.added_on), {})[row.rule] = read_clock(row)
        self.stored_rules: dict[Key, set[str]] = {key: set(rules) for key, rules in clocks.items()}
        for torrent in stored.torrents:
            one = Tracked.from_row(torrent)
            one.clocks = clocks.get(one.key, {})
            self.tracked[one.key] = one
            if not one.gone_at:
                self.current[one.key.client, one.key.hash] = one.key
                self._count(one, +1)
        for begun in stored.intents:
            try:
                self.intents[Key(begun.client, begun.hash, begun.added_on)] = Intent.from_row(begun)
            except (TypeError, ValueError):
                self.closed_intents.append(begun.id)  # of another version: what it was for is judged anew

    def reading(self, client: str) -> float:
        """The observation clock of one client: seconds really observed."""
        return float((self.values.get("readings") or {}).get(client) or 0.0)

    def observe(self, client: str, seconds: float) -> None:
        """Let the observation clock of a client move on."""
        if seconds > 0:
            readings = dict(self.values.get("readings") or {})
            readings[client] = self.reading(client) + seconds
            self.put_value("readings", readings)

    def strikes_of(self, client: str) -> Deadlines:
        """Deadlines of a client's torrents on its observation clock."""
        return self.strikes_due.setdefault(client, Deadlines())

    def put_value(self, name: str, value: Any) -> None:
        """Keep a value beyond the process."""
        if self.values.get(name) != value:
            self.values[name] = value
            self.changed_values.add(name)

    def add_total(self, name: str, count: int = 1) -> None:
        """Count something under status.totals."""
        totals = dict(self.values.get("totals") or {})
        totals[name] = int(totals.get(name) or 0) + count
        self.put_value("totals", totals)

    def track(self, key: Key, infohash_v1: str, now: float) -> Tracked:
        """Give the memory of a torrent, making one if it is new.

        A torrent whose metadata arrived may have been re-keyed by the client: the same infohash_v1 added at the same
        moment carries its memory over.
        """
        known = self.tracked.get(key)
        if known is None:
            known = self._rekeyed(key, infohash_v1) or Tracked(key, infohash_v1=infohash_v1, since=now)
            self.tracked[key] = known
            self.dirty.add(key)
            self.dropped.discard(key)
            self._count(known, +1)
        elif known.gone_at:
            known.gone_at, known.absent = 0.0, 0
            self._count(known, +1)
            self.dirty.add(key)
        before = self.current.get((key.client, key.hash))
        if before is not None and before != key:
            self.forget(before)
        self.current[key.client, key.hash] = key
        return known

    def _rekeyed(self, key: Key, infohash_v1: str) -> Tracked | None:
        old = self.current.get((key.client, infohash_v1))
        if old is None or old.hash == key.hash or old.added_on != key.added_on:
            return None
        carried = self.tracked[old]
        self.forget(old)
        carried.key = key
        carried.gone_at = 0.0
        return carried

    def move(self, one: Tracked, state: State, now: float) -> None:
        """Put a torrent into a state; nothing happens when it is in it already."""
        if one.state is state:
            return
        self._count(one, -1)
        one.state, one.since = state, now
        self._count(one, +1)
        self.dirty.add(one.key)

    def own(self, one: Tracked, *, owned: bool) -> None:
        """Say whether a torrent is ours."""
        if one.owned is not owned:
            self._count(one, -1)
            one.owned = owned
            self._count(one, +1)
            self.dirty.add(one.key)

    def learn(self, one: Tracked, facts: Facts) -> None:
        """Keep what a look-up said."""
        if one.facts != facts:
            self._count(one, -1)
            one.facts = facts
            self._count(one, +1)
            self.dirty.add(one.key)

    def miss(self, key: Key, reading: float) -> None:
        """Note that a torrent is not in the client's list. What nobody sees is not bad: its clocks stop there."""
        self.absent.add(key)
        one = self.tracked[key]
        if any(clock.since is not None for clock in one.clocks.values()):
            one.clocks = {name: clock.stopped(reading) for name, clock in one.clocks.items()}
            self.dirty.add(key)

    def leave(self, one: Tracked, state: State, now: float) -> None:
        """A torrent left the client: its memory stays for a while, it counts no longer."""
        if one.gone_at:
            return
        self._count(one, -1)
        one.state, one.since, one.gone_at = state, now, now
        for keys in (self.waiting, self.unsettled, self.absent, self.conflicts):
            keys.discard(one.key)
        self.strikes_of(one.key.client).put(one.key, None)
        self.goals_due.put(one.key, None)
        if self.current.get((one.key.client, one.key.hash)) == one.key:
            del self.current[one.key.client, one.key.hash]
        self.dirty.add(one.key)

    def forget(self, key: Key) -> None:
        """Drop the memory of a torrent."""
        one = self.tracked.pop(key, None)
        if one is None:
            return
        if not one.gone_at:
            self._count(one, -1)
        if self.current.get((key.client, key.hash)) == key:
            del self.current[key.client, key.hash]
        for keys in (self.waiting, self.unsettled, self.absent, self.conflicts):
            keys.discard(key)
        self.strikes_of(key.client).put(key, None)
        self.goals_due.put(key, None)
        self.dirty.discard(key)
        self.dropped.add(key)

    def _count(self, one: Tracked, by: int) -> None:
        if one.gone_at:
            return
        self.counts[one.state] += by
        troubled = by > 0 and (one.state in IN_TROUBLE or (one.state is State.HELD and bool(one.guarded)))
        (self.trouble.add if troubled else self.trouble.discard)(one.key)
        if one.owned:
            self.owned += by
            for host in one.facts.hosts or ():
                self.owned_by_host[host] += by

    @property
    def has_news(self) -> bool:
        """Whether something changed that has to be stored now; the clocks' readings alone may wait."""
        values = self.changed_values - {"readings"}
        return bool(self.dirty or self.dropped or self.new_actions or self.closed_intents or values)

    @property
    def in_flight(self) -> bool:
        """Whether something was sent whose effect has to be looked at soon."""
        return any(intent.phase is not Phase.REMOVED for intent in self.intents.values())

    def drop_intents(self) -> None:
        """Drop all intents: nobody knows what was done about them since."""
        self.closed_intents += [intent.id for intent in self.intents.values()]
        self.intents.clear()

    def in_trouble(self) -> set[Key]:
        """Give the torrents that people should see: bad states, held by the guard, ripe, or being removed."""
        return {key for key in self.trouble | self.waiting | self.intents.keys() if key in self.tracked}

    def log(self, row: ActionRow) -> None:
        """Note something that was sent, done or refused."""
        self.actions.append(row)
        self.new_actions.append(row)

    def changes(self) -> Changes:
        """Give everything that changed since the last commit, and start anew."""
        entries = [[at, state, list(who), host] for at, state, who, host in self.entries.values()]
        self.put_value("entries", entries or None)
        dirty = [self.tracked[key] for key in self.dirty if key in self.tracked]
        strikes, gone = [], []
        for one in dirty:
            strikes += [strike_row(one.key, rule, clock) for rule, clock in one.clocks.items()]
            before = self.stored_rules.get(one.key, set())
            gone += [StrikeKey(*one.key, rule) for rule in before - set(one.clocks)]
            self.stored_rules[one.key] = set(one.clocks)
        for key in self.dropped:
            gone += [StrikeKey(*key, rule) for rule in self.stored_rules.pop(key, set())]
        result = Changes(
            put_torrents=tuple(one.row() for one in dirty),
            drop_torrents=tuple(self.dropped),
            put_strikes=tuple(strikes),
            drop_strikes=tuple(gone),
            close_intents=tuple(self.closed_intents),
            add_actions=tuple(self.new_actions),
            put_values={name: self.values[name] for name in self.changed_values},
        )
        self.dirty, self.dropped, self.new_actions = set(), set(), []
        self.closed_intents, self.changed_values = [], set()
        return result

    def sweep(self, now: float) -> None:
        """Forget what is too old to matter; once an hour, for it looks at everything."""
        if self._swept is not None and 0 <= now - self._swept < HOUR:
            return
        self._swept = now
        for key in [k for k, one in self.tracked.items() if one.gone_at and now - one.gone_at > GONE_KEPT]:
            if key not in self.intents:
                self.forget(key)
        self.actions = [row for row in self.actions if now - row.at <= GONE_KEPT + DAY]


def newest(rows: Iterable[ActionRow], count: int) -> list[ActionRow]:
    """Give the newest rows, newest first; of two at the same moment the one that was noted later."""
    return [row for _, row in heapq.nlargest(count, enumerate(rows), key=lambda pair: (pair[1].at, pair[0]))]
