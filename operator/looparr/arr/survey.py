"""Phases 2 and 3 over all torrents that changed or are due: states, clocks, and the cases that somebody asks for.

A torrent that neither changed nor is due is not looked at: a turn costs what happened, not what there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from looparr.arr import gates
from looparr.arr import spec as contract
from looparr.arr.absence import forget_history, leave_clients, note_absent
from looparr.arr.classify import Known, classify, intent_state, is_imported
from looparr.arr.fetch import Observation
from looparr.arr.health import Finding, Health, Reading, examine, progress
from looparr.arr.history import Download, download_ids
from looparr.arr.memory import Memory
from looparr.arr.plan import Case
from looparr.arr.removed import removals, under_way
from looparr.arr.rules import Facts, Rule, min_progress
from looparr.arr.spec import ArrSpec
from looparr.arr.standing import begun, learn_rules, note_bad
from looparr.arr.states import DOWNLOADING_STATES, State
from looparr.arr.tracked import Key, Tracked
from looparr.arr.views import View
from looparr.clients.qbittorrent.wire import Torrent, tracker_host

SEEDING = frozenset({State.SEEDING, State.SEED_GOAL_MET})
BAD_STATES = frozenset({State.STALLED, State.MISSING, State.ERRORED})
PAUSE_EVERY = 200
"""Torrents after which a look pauses, so that others may go on meanwhile: about 7 ms."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A torrent of which more has to be known than the list says."""

    view: View
    torrent: Torrent
    one: Tracked


@dataclass(slots=True)
class Survey:
    """What one look at the changed and due torrents gave.

    cases: removals that a rule or goal asks for. standing: the same for torrents with an open intent. completed:
    owned, complete, not told to the Arr yet. wanted: look them up first. imported: newly imported ones.
    """

    cases: dict[Key, Case] = field(default_factory=dict)
    standing: dict[Key, Case] = field(default_factory=dict)
    completed: list[Tracked] = field(default_factory=list)
    wanted: dict[Key, Wanted] = field(default_factory=dict)
    imported: int = 0


@dataclass(slots=True)
class Surveyor:
    """Looks at torrents.

    before: observation clocks at the turn before, by client. newcomers: clients of which this is the first look ever.
    """

    spec: ArrSpec
    rules: Sequence[Rule]
    memory: Memory
    observation: Observation
    now: float
    before: dict[str, float]
    edited: Mapping[str, Mapping[str, float]]
    owner_tag: str = ""
    everything: bool = False
    newcomers: frozenset[str] = frozenset()
    survey: Survey = field(default_factory=Survey)
    _settled: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self._settled = learn_rules(self.memory, self.rules)

    def look(self) -> Iterator[None]:
        """Look at everything that changed or is due; whoever goes through it may let others run at each pause."""
        if self.everything:
            leave_clients(self.memory, self.observation.clients, self.now)
        goals = list(self.memory.goals_due.pop(self.now))
        for view in self.observation.views.values():
            name = view.link.name
            note_absent(self.memory, view, self.now, self.before.get(name, 0.0), everything=self.everything)
            strikes = self.memory.strikes_of(name).pop(self.memory.reading(name))
            for number, torrent in enumerate(self._due(view, [*goals, *strikes]), 1):
                self.examine(view, torrent)
                if number % PAUSE_EVERY == 0:
                    yield
        forget_history(self.memory, self.observation, self.now)

    def _due(self, view: View, due: Sequence[Key]) -> list[Torrent]:
        """Give each torrent that has to be looked at, once."""
        memory, torrents = self.memory, view.snapshot.torrents
        if self.everything:
            return list(torrents.values())
        waiting = (*due, *memory.waiting, *memory.unsettled, *memory.intents)
        hashes = set(view.changed) | {key.hash for key in waiting if key.client == view.link.name}
        if self.observation.touched:
            hashes |= self._touched(view)
        return [torrents[one] for one in hashes if one in torrents]

    def _touched(self, view: View) -> set[str]:
        """Find the torrents of downloadIds that queue or history said something new about."""
        touched = self.observation.touched
        found = {name for name in touched if name in view.snapshot.torrents}
        if len(found) == len(touched):
            return found
        rest = touched - found
        return found | {
            one.hash
            for one in view.snapshot.torrents.values()
            if rest & set(download_ids(one.hash, one.infohash_v1, one.infohash_v2))
        }

    def examine(self, view: View, torrent: Torrent) -> None:
        """Classify one torrent, move its clocks, and note what somebody asks for."""
        memory = self.memory
        download = self.observation.history.of(download_ids(torrent.hash, torrent.infohash_v1, torrent.infohash_v2))
        key = Key(view.link.name, torrent.hash, torrent.added_on)
        if not self._in_scope(view, torrent, memory.tracked.get(key)):
            if key in memory.tracked and key not in memory.intents:
                memory.forget(key)
            return
        before = memory.tracked.get(key)
        is_back = before is not None and (bool(before.gone_at) or key in memory.absent)
        one = memory.track(key, torrent.infohash_v1, self.now)
        memory.absent.discard(key)
        memory.unsettled.discard(key)
        one.absent = 0
        was_ours = one.owned and not is_back
        self._own(one, download)
        self._refresh(one, torrent, view)
        seeding_time = torrent.seeding_time + (self.now - one.seen_at if one.state in SEEDING else 0.0)
        goal = gates.goal_for(torrent, one.facts, self.spec)
        met = goal is not None and gates.goal_met(torrent, goal, seeding_time)
        known = self._known(one, torrent, goal_met=met)
        state = classify(torrent, download, known)
        intent = memory.intents.get(key)
        self._enter(one, state if intent is None else intent_state(intent.phase), torrent, is_new=before is None)
        self._count_import(one, download)
        health = self._health(view, one, torrent, state)
        self._note(view, one, torrent, health, was_ours=was_ours)
        if download is not None and one.owned:
            case = Case(key, torrent, one.facts, state, download, seeding_time=seeding_time, hold_until=one.hold_until)
            self._conclude(view, one, case, health.ripe, goal)

    def _conclude(
        self, view: View, one: Tracked, case: Case, ripe: Finding | None, goal: contract.SeedGoal | None
    ) -> None:
        """Say what one torrent of ours needs: a removal, an import, or nothing."""
        if ripe is not None and case.state in DOWNLOADING_STATES:
            self._ask(view, one, replace(case, finding=ripe))
            return
        if case.state is State.SEED_GOAL_MET and goal is not None:
            self._ask(view, one, replace(case, goal=goal))
            return
        self.memory.waiting.discard(one.key)
        if one.key not in self.memory.intents:
            one.why, one.next_action = one.guarded, ""
        self._next_goal(view, one, case.torrent, case.seeding_time)
        if case.state is State.COMPLETED:
            self.memory.unsettled.add(one.key)  # looked at in every turn until the Arr was told
            self.survey.completed.append(one)

    def _own(self, one: Tracked, download: Download | None) -> None:
        """Say whose it is. The grab of a new torrent may appear in the history after the torrent in the client."""
        owned = download is not None and download.grab is not None
        if owned and not one.owned and download is not None:
            self._guard(one, download)
        self.memory.own(one, owned=owned)

    def _ask(self, view: View, one: Tracked, case: Case) -> None:
        """Note a case. It is judged in every turn until it is carried out or does not stand any more."""
        self.memory.waiting.add(one.key)
        if not one.facts.known:
            self._want(view, case.torrent, one)
        elif one.key in self.memory.intents:
            self.survey.standing[one.key] = case
        else:
            self.survey.cases[one.key] = case

    def _want(self, view: View, torrent: Torrent, one: Tracked) -> None:
        self.survey.wanted[one.key] = Wanted(view, torrent, one)

    def _in_scope(self, view: View, torrent: Torrent, known: Tracked | None) -> bool:
        """Our categories (and tags), and whatever is ours already, wherever it was moved."""
        if known is not None and known.owned:
            return True
        return torrent.category in view.categories and (not view.tags or bool(view.tags & torrent.tags))

    def _refresh(self, one: Tracked, torrent: Torrent, view: View) -> None:
        if one.name != torrent.name:
            one.name = torrent.name
            self.memory.dirty.add(one.key)
        if torrent.infohash_v1 and one.infohash_v1 != torrent.infohash_v1:
            one.infohash_v1 = torrent.infohash_v1
            self.memory.dirty.add(one.key)
        if one.seen_at == 0.0 or torrent.hash in view.changed:
            one.seen_at = self.now
        foreign = gates.others_tag(torrent, self.owner_tag)
        (self.memory.conflicts.add if foreign and one.owned else self.memory.conflicts.discard)(one.key)
        if torrent.private is not None and one.facts.private is not torrent.private:
            self.memory.learn(one, replace(one.facts, private=torrent.private))
        if one.facts.known and one.facts.private is None and torrent.size > 0:
            self.memory.learn(one, Facts())  # its metadata has arrived since somebody looked

    def _guard(self, one: Tracked, download: Download) -> None:
        """Hold a release that came back after we removed it."""
        grab = download.grab
        if grab is None:
            return
        removed = (*removals(self.memory), *under_way(self.memory))
        one.guarded = gates.loop_guard(one.key.hash, grab.items, grab.title, grab.indexer, removed, self.now)

    def _known(self, one: Tracked, torrent: Torrent, *, goal_met: bool) -> Known:
        names = download_ids(torrent.hash, torrent.infohash_v1, torrent.infohash_v2)
        rows = [row for name in names for row in self.observation.queue.get(name, ())]
        importing = any(row.tracked_download_state in {"importing", "imported"} for row in rows)
        return Known(one.nudged, importing, bool(one.guarded), goal_met)

    def _enter(self, one: Tracked, state: State, torrent: Torrent, *, is_new: bool) -> None:
        """Move into a state; entering a bad one is noted for the brake, unless it was bad when we first saw it."""
        if state is one.state:
            return
        if state in BAD_STATES and one.owned and not (is_new or self._is_newcomers(one)):
            note_bad(self.memory, one, [str(state)], _host(one, torrent), self.now)
        self.memory.move(one, state, self.now)

    def _is_newcomers(self, one: Tracked) -> bool:
        """Whether what it is now may have come about before anybody looked."""
        return one.key.client in self.newcomers

    def _count_import(self, one: Tracked, download: Download | None) -> None:
        imported = is_imported(download)
        if imported and not one.imported:
            self.survey.imported += 0 if self._is_newcomers(one) else 1
        if imported is not one.imported:
            one.imported = imported
            self.memory.dirty.add(one.key)

    def _health(self, view: View, one: Tracked, torrent: Torrent, state: State) -> Health:
        """Judge progress first, then move the clocks."""
        client = view.link.name
        made = progress(one.mark, torrent.completed, min_progress(self.spec, torrent.size))
        if made.mark != one.mark:
            one.mark = made.mark
            self.memory.dirty.add(one.key)
        clocks = {} if made.made else one.clocks
        age = None if view.server_time is None else view.server_time - torrent.added_on
        countable = one.owned and state in DOWNLOADING_STATES
        reading = Reading(self.memory.reading(client), self.before.get(client, 0.0))
        return examine(
            torrent,
            clocks,
            self.rules,
            one.facts,
            reading,
            age=age,
            edited={name: at[client] for name, at in self.edited.items() if client in at},
            countable=countable,
        )

    def _note(self, view: View, one: Tracked, torrent: Torrent, health: Health, *, was_ours: bool) -> None:
        """Keep the clocks. One that starts is noted for the brake, unless rule or torrent are new or back again."""
        if dict(health.clocks) != dict(one.clocks):
            if was_ours and not self._is_newcomers(one):
                started = begun(one.clocks, health.clocks) & self._settled
                conditions = {str(rule.condition) for rule in self.rules if rule.name in started}
                note_bad(self.memory, one, conditions, _host(one, torrent), self.now)
            one.clocks = health.clocks
            self.memory.dirty.add(one.key)
        self.memory.strikes_of(view.link.name).put(one.key, health.due)
        if health.wants_facts:
            self._want(view, torrent, one)

    def _next_goal(self, view: View, one: Tracked, torrent: Torrent, seeding_time: float) -> None:
        """Set the moment at which a goal may be met by time alone."""
        goals = self.spec.seeding.goals if self.spec.seeding else ()
        if one.state is not State.SEEDING or not goals:
            self.memory.goals_due.put(one.key, None)
            return
        goal = gates.goal_for(torrent, one.facts, self.spec)
        if goal is None and not one.facts.known and any(one_goal.trackers for one_goal in goals):
            self._want(view, torrent, one)
        seconds = goal.time_seconds if goal is not None else None
        if seconds is not None and seconds > seeding_time:
            self.memory.goals_due.put(one.key, self.now + seconds - seeding_time)


def _host(one: Tracked, torrent: Torrent) -> str:
    return next(iter(one.facts.hosts or ()), "") or tracker_host(torrent.tracker)
