"""What holds for the whole instance beyond single torrents: warm-up, brake, lost store, a client that is out.

Read from the memory and the observation, and for the brake written back to the memory. No effects outside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from looparr.api.meta import RELEASE_BRAKE
from looparr.api.spec import Mode
from looparr.arr import brake as brakes
from looparr.arr.absence import GONE_AFTER, held_after_shrink
from looparr.arr.fetch import Observation
from looparr.arr.health import Clock
from looparr.arr.intents import Step
from looparr.arr.memory import Memory
from looparr.arr.rules import Rule
from looparr.arr.spec import ArrSpec
from looparr.arr.tracked import Key, Tracked

SKEW_LIMIT = 60.0
CONDITIONS = "conditions"
"""Value of the memory: [digest, condition] of each rule in force, by its name."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What keeps removals back, and what people should know. warmup_until: epoch seconds; texts "" when all is well.

    skew: seconds by which the most deviating clock differs from ours, 0 when that is no matter.
    """

    warmup_until: float
    brake: str = ""
    store_lost: str = ""
    shrunk: str = ""
    offline: str = ""
    conflict: str = ""
    skew: float = 0.0

    @property
    def holds(self) -> tuple[str, ...]:
        """Reasons that hold every removal, the gravest first."""
        named = (
            ("MassFailure", self.brake),
            ("StoreLost", self.store_lost),
            ("ClientShrunk", self.shrunk),
            ("Offline", self.offline),
            ("OwnershipConflict", self.conflict),
        )
        return tuple(f"{name}: {text}" for name, text in named if text)


def standing(memory: Memory, observation: Observation, spec: ArrSpec, now: float) -> Standing:
    """Say what holds now."""
    held = now < float(memory.values.get("held_until") or 0.0)
    views = observation.views.items()
    shrunk = [name for name, view in views if held_after_shrink(memory, view)]
    out = [name for name, view in views if offline(view.snapshot.connection_status)]
    skew = observation.skew or 0.0
    return Standing(
        warmup_until=float(memory.values.get("started") or now) + spec.warmup_seconds,
        brake="; ".join(one.reason for one in read_brakes(memory)),
        store_lost="the store was lost or restored; removals are off for an hour" if held else "",
        shrunk=f"{', '.join(shrunk)} lost more than a fifth of its torrents at once" if shrunk else "",
        offline=f"{', '.join(out)} is disconnected" if out else "",
        conflict="another operator's looparr-owner tag is on torrents of ours" if _in_conflict(memory) else "",
        skew=skew if abs(skew) > SKEW_LIMIT else 0.0,
    )


def read_only(spec: ArrSpec, holds: Standing, step: Step | None = None) -> str:
    """Say why nothing may be changed now, or a removal may not take that step; "" when it may.

    What another operator may own is left alone. That a torrent is gone which we removed is told to the Arr all the
    same: it touches no torrent, and without it the Arr would grab the same release again.
    """
    if spec.mode == Mode.OBSERVE:
        return "Observe: touches nothing"
    if holds.conflict and step is not Step.MARK_FAILED:
        return f"OwnershipConflict: {holds.conflict}"
    return ""


def _in_conflict(memory: Memory) -> bool:
    """Whether a torrent bears another operator's tag. One that is gone bears none, although its removal is open."""
    marked = (memory.tracked.get(key) for key in memory.conflicts)
    return any(one is None or one.absent < GONE_AFTER for one in marked)


def learn_rules(memory: Memory, rules: Sequence[Rule]) -> frozenset[str]:
    """Keep what each rule looks for; give the names of those that were in force before.

    When somebody edits a rule it begins to match at once wherever it fits: that says nothing of the torrents.
    """
    before = memory.values.get(CONDITIONS) or {}
    now = {rule.name: [rule.digest, str(rule.condition)] for rule in rules}
    memory.put_value(CONDITIONS, now)
    return frozenset(name for name, what in now.items() if before.get(name) == what)


def begun(before: Mapping[str, Clock], after: Mapping[str, Clock]) -> frozenset[str]:
    """Name the rules that match now and did not before. A clock that progress set back goes on matching."""
    running = {name for name, clock in before.items() if clock.since is not None}
    return frozenset(name for name, clock in after.items() if clock.since is not None and name not in running)


def note_bad(memory: Memory, one: Tracked, conditions: Iterable[str], host: str, now: float) -> None:
    """Note for the brake that a torrent went bad. host: its tracker's, "" unknown."""
    who = (one.key.client, one.key.hash, one.key.added_on)
    for condition in conditions:
        memory.entries[condition, who] = brakes.Entry(now, condition, who, host)


def update_brake(memory: Memory, annotations: Mapping[str, str], now: float) -> None:
    """Pull, keep or release the brake. A new token of the annotation looparr.dev/releaseBrake releases it once."""
    pulled = read_brakes(memory)
    rules = memory.values.get(CONDITIONS) or {}
    token = annotations.get(RELEASE_BRAKE)
    if token and token != memory.values.get("released"):
        memory.put_value("released", token)
        memory.entries.clear()
        pulled = ()

    def in_condition(key: tuple[str, str, int], condition: str) -> bool:
        one = memory.tracked.get(Key(*key))
        if one is None or one.gone_at:
            return False
        if one.key in memory.absent:
            return True  # its clocks stand still, which proves nothing
        running = (name for name, clock in one.clocks.items() if clock.since is not None)
        return one.state == condition or any(name in rules and rules[name][1] == condition for name in running)

    memory.entries = brakes.lasting(memory.entries, in_condition, now)
    entries = memory.entries.values()
    pulled = brakes.update(pulled, entries, memory.owned, memory.owned_by_host, in_condition, now)
    value = [[one.reason, one.condition, one.host, sorted(map(list, one.torrents)), one.most] for one in pulled]
    memory.put_value("brakes", value or None)


def read_brakes(memory: Memory) -> tuple[brakes.Brake, ...]:
    """Give the pulled brakes from the memory."""
    return tuple(
        brakes.Brake(reason, condition, host, frozenset((c, h, a) for c, h, a in torrents), most)
        for reason, condition, host, torrents, most in memory.values.get("brakes") or ()
    )


def offline(connection_status: str) -> bool:
    """Whether the client itself says that it has no network, or does not say. Firewalled is normal."""
    return connection_status not in {"connected", "firewalled"}
