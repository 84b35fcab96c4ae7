"""Why was this torrent removed, or not? The decision of phase 4, pure: observations in, a plan out.

A removal has to pass every gate in `refusal`, then its budget in `decide`. The same `refusal` is asked again with
freshly read values just before anything is sent, and before anything is sent again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from looparr.api.durations import format_duration
from looparr.api.spec import Mode
from looparr.arr import gates
from looparr.arr.classify import is_imported
from looparr.arr.health import Finding
from looparr.arr.history import Download, Grab
from looparr.arr.intents import Act, Intent, Phase
from looparr.arr.limits import DAY, NO_ROOM, Charge, Windows, cooled_down
from looparr.arr.rules import Facts, describe
from looparr.arr.spec import ArrSpec, Privacy, SeedGoal
from looparr.arr.states import DOWNLOADING_STATES, Activity, State, client_state
from looparr.arr.tracked import Key
from looparr.clients.qbittorrent.wire import Torrent


@dataclass(frozen=True, slots=True)
class Case:
    """One torrent that a rule or a seeding goal asks to remove. Exactly one of finding and goal is set."""

    key: Key
    torrent: Torrent
    facts: Facts
    state: State
    download: Download
    finding: Finding | None = None
    goal: SeedGoal | None = None
    seeding_time: float = 0.0
    hold_until: float = 0.0

    @property
    def act(self) -> Act:
        """Replace for a rule, Delete for a goal."""
        return Act.REPLACE if self.finding else Act.DELETE

    @property
    def asked_by(self) -> str:
        """Name of the rule or goal."""
        return self.finding.rule.name if self.finding else self.goal.name if self.goal else ""

    @property
    def why(self) -> str:
        """One line for people: what asks for the removal."""
        if self.finding:
            return describe(self.finding.rule, self.finding.bad, self.finding.strikes)
        reached = f"ratio {gates.ratio(self.torrent):.2f}, seeded for {format_duration(round(self.seeding_time))}"
        return f"seeding goal {self.asked_by} is met ({reached}, imported)"


@dataclass(frozen=True, slots=True)
class Situation:
    """What holds for the whole turn. now, warmup_until, last_blocklist: epoch seconds.

    holds: reasons that keep every removal back (brake, store lost, client shrunk, ownership conflict). charges: what
    counts for the limits, by client, whoever sent or began it. planned: what this turn sends before anything new, by
    client. removed: earlier removals of ours. busy: torrents with an open intent. categories, tags: what is looked at,
    by client; no tags: whatever they are. owner_tag: ours, or "".
    """

    spec: ArrSpec
    now: float
    warmup_until: float
    holds: tuple[str, ...] = ()
    charges: Mapping[str, Sequence[Charge]] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)
    removed: tuple[gates.Removed, ...] = ()
    last_blocklist: float | None = None
    busy: frozenset[Key] = frozenset()
    categories: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    owner_tag: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. removals: in order, within every budget. held: why each other case waits, by torrent."""

    removals: tuple[Case, ...] = ()
    held: Mapping[Key, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether anything is to be removed."""
        return bool(self.removals)


def decide(cases: Iterable[Case], situation: Situation) -> Plan:
    """Choose the removals of this turn: every gate open, budgets kept; completed ones first, then by ETA and age."""
    removals: list[Case] = []
    held: dict[Key, str] = {}
    limits = situation.spec.limits_effective
    windows = Windows(limits.per_turn, limits.per_hour, limits.per_day)
    chosen: Counter[str] = Counter()
    for case in sorted(cases, key=_order):
        reason = refusal(case, situation)
        client = case.key.client
        charges, in_turn = situation.charges.get(client, ()), situation.planned.get(client, 0)
        if not reason and windows.room(charges, situation.now, in_turn=in_turn) <= chosen[client]:
            reason = NO_ROOM
        if not reason and case.act is Act.REPLACE and _cooling(situation):
            reason = "Cooldown: spec.cooldowns.afterBlocklist is not over since the last removal"
        if reason:
            held[case.key] = reason
            continue
        chosen[client] += 1
        removals.append(case)
        situation = _with_removal(case, situation)
    return Plan(tuple(removals), held)


def planned(intents: Iterable[Intent]) -> Counter[str]:
    """Count by client the open intents that are still to be sent; a process that dies after planning leaves them."""
    return Counter(one.client for one in intents if one.phase is Phase.PLANNED)


def intent_of(
    case: Case,
    items: Sequence[int],
    searched: Mapping[str, str],
    *,
    id_: str,
    endpoint: str,
    now: float,
    delete_data: bool,
) -> Intent:
    """Write down what is about to be done, and what the Arr shows before it. The case has a grab.

    items: of the grab and of its queue rows. searched: when each was last searched. endpoint: the client's address.
    """
    grab, failed = case.download.grab, case.download.failed
    assert grab is not None
    return Intent(
        id=id_,
        act=case.act,
        client=case.key.client,
        hash=case.key.hash,
        added_on=case.key.added_on,
        name=case.torrent.name,
        download_id=grab.download_id,
        items=tuple(items),
        rule=case.asked_by,
        reason=case.why,
        created=now,
        since=now,
        endpoint=endpoint,
        history_id=grab.history_id,
        failed_before=failed.isoformat() if failed else "",
        searched_before=searched,
        title=grab.title,
        indexer=grab.indexer,
        interactive=grab.interactive,
        delete_data=delete_data,
    )


def _with_removal(case: Case, situation: Situation) -> Situation:
    """Count a chosen removal like an earlier one: two of one item in the same turn are two."""
    grab = case.download.grab
    if grab is None or case.act is Act.DELETE:
        return situation
    removed = gates.Removed(situation.now, case.key.hash, grab.items, grab.title, grab.indexer)
    return replace(situation, removed=(*situation.removed, removed))


def _order(case: Case) -> tuple[bool, int, int]:
    return (case.act is not Act.DELETE, case.torrent.eta, case.torrent.added_on)


def _cooling(situation: Situation) -> bool:
    seconds = situation.spec.cooldowns_effective.after_blocklist_seconds
    return not cooled_down(situation.last_blocklist, seconds, situation.now)


def refusal(case: Case, situation: Situation) -> str:
    """Say why this torrent must not be removed now, or "". The order is the order in which people should hear it."""
    return _lost_case(case, situation) or _gates(case, situation) or _holds(case, situation)


def _lost_case(case: Case, situation: Situation) -> str:
    """Whether the case still stands on the values given."""
    if situation.now < case.hold_until:
        return "GivenUp: a removal did not work within the last hour; it is tried again later"
    if case.key in situation.busy:
        return "Busy: a removal of this torrent is under way"
    if case.download.grab is None:
        return "Unowned: this Arr never grabbed it"
    if case.torrent.added_on > case.download.grab.date.timestamp() + DAY:
        return "Unowned: it was added more than a day after this Arr grabbed it, so by somebody else"
    return _lost_finding(case, case.finding, case.download.grab) if case.finding else _lost_goal(case)


def _lost_finding(case: Case, finding: Finding, grab: Grab) -> str:
    if case.state not in DOWNLOADING_STATES or not finding.ripe:
        return f"Recovered: it is {case.state} now"
    if not finding.rule.replaces:
        return "Report: the rule only reports"
    if not (grab.automatic or finding.rule.interactive):
        who = "a person chose this release" if grab.interactive else "the Arr does not say who chose this release"
        return f"Interactive: {who}, and the rule says grabbedBy Automatic"
    return ""


def _lost_goal(case: Case) -> str:
    activity, forced = client_state(case.torrent.state)
    if activity is not Activity.DONE:
        return f"Stopped: the client says {case.torrent.state}; only a torrent that seeds is removed"
    if forced:
        return "Forced: somebody wants it to seed, whatever the goal says"
    if not is_imported(case.download):
        return "NotImported: some of its items have no import event"
    if case.goal is None or not gates.goal_met(case.torrent, case.goal, case.seeding_time):
        return "GoalNotMet: the seeding goal is not met"
    if case.state is not State.SEED_GOAL_MET:
        return f"Recovered: it is {case.state} now"
    return ""


def _gates(case: Case, situation: Situation) -> str:
    spec, grab = situation.spec, case.download.grab
    privacy = case.finding.rule.privacy if case.finding else Privacy.ANY
    refused = (
        _moved_away(case, situation)
        or _untagged(case, situation)
        or _anothers(case, situation)
        or gates.protected(case.torrent, case.facts, spec.protect)
        or gates.private(case.torrent, case.facts, privacy, acknowledged=spec.acknowledge_hit_and_run)
        or gates.hit_and_run(case.torrent, case.facts, spec.hit_and_run)
    )
    if refused or case.act is Act.DELETE or grab is None:
        return refused
    return gates.third_removal(grab.items, situation.removed, situation.now)


def _moved_away(case: Case, situation: Situation) -> str:
    """Whether somebody moved it out of this Arr's categories, and no rule or goal names the one where it is now."""
    named = case.finding.rule.categories if case.finding else case.goal.categories if case.goal else None
    ours = situation.categories.get(case.key.client)
    if ours is None or case.torrent.category in {*ours, *(named or ())}:
        return ""
    category = case.torrent.category
    return f"OtherCategory: it was moved to {category!r}, which neither the Arr uses nor {case.asked_by} names"


def _untagged(case: Case, situation: Situation) -> str:
    """Whether somebody took it out of what is looked at: it bears none of the tags that its client is limited to."""
    tags = situation.tags.get(case.key.client)
    if not tags or tags & case.torrent.tags:
        return ""
    return "OtherTag: it bears none of the tags that spec.downloadClients names any more"


def _anothers(case: Case, situation: Situation) -> str:
    """Whether another operator marked it as its own, perhaps in this moment."""
    if gates.others_tag(case.torrent, situation.owner_tag):
        return "OwnershipConflict: another operator's looparr-owner tag is on it"
    return ""


def _holds(case: Case, situation: Situation) -> str:
    if situation.spec.mode == Mode.OBSERVE:
        return f"Observe: would {case.act} now"
    if situation.now < situation.warmup_until:
        return f"WarmUp: would {case.act} after the warm-up"
    return situation.holds[0] if situation.holds else ""
