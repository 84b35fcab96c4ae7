"""Phase 5: write down what is now true: the status block, the conditions of the kind's own, the one-line message."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from looparr.arr.fetch import Observation
from looparr.arr.memory import Memory, newest
from looparr.arr.rules import SAFE_SET
from looparr.arr.spec import ArrSpec, DefaultRules
from looparr.arr.standing import Standing
from looparr.arr.states import State
from looparr.arr.status import Action, ArrStatus, Attention, Totals, Versions
from looparr.arr.tracked import Key, Tracked
from looparr.engine.types import Note

MOST = 10
TEXT = 300


def status_block(
    memory: Memory, observation: Observation, spec: ArrSpec, standing: Standing, *, now: float, epoch: str
) -> dict[str, Any]:
    """Give the ArrInstance's own status fields, camelCase, lists cut to MOST. epoch: which store wrote this."""
    versions = observation.versions.get(spec.download_clients[0].name)
    keys = memory.in_trouble()
    return ArrStatus(
        torrents=_counts(memory),
        totals=Totals.model_validate(memory.values.get("totals") or {}),
        attention_count=len(keys),
        attention=tuple(_attention(memory, one) for one in _worst(memory, keys)),
        last_actions=tuple(
            Action(
                time=_time(row.at),
                action=row.action,
                name=_text(row.name),
                rule=row.rule or None,
                reason=_text(row.reason),
                result=row.result,
            )
            for row in newest((row for row in memory.actions if row.result != "Sent"), MOST)
        ),
        versions=Versions(
            arr=observation.arr_version or None,
            qbittorrent=versions.app if versions else None,
            web_api=versions.web_api if versions else None,
            rules=None if spec.default_rules == DefaultRules.EXCLUDE else SAFE_SET,
        ),
        connectivity=_connectivity(observation, standing),
        warmup_until=_time(standing.warmup_until) if standing.warmup_until > now else None,
        store_epoch=epoch,
    ).model_dump(by_alias=True, exclude_none=True, mode="json")


def notes(standing: Standing, *, durable: bool) -> tuple[Note, ...]:
    """Give the conditions of an ArrInstance's own; only those that hold."""
    named = (
        (
            "MassFailure",
            "ManyAtOnce",
            standing.brake,
            "All removals are held: {}. They go on when most have recovered, or by the annotation releaseBrake.",
        ),
        ("StoreLost", "RemovalsHeld", standing.store_lost, "No removals: {}."),
        ("ClientShrunk", "RemovalsHeld", standing.shrunk, "No removals for five minutes: {}."),
        ("Frozen", "ClientOffline", standing.offline, "Clocks stand still, nothing is removed: {}."),
        ("OwnershipConflict", "OwnerTag", standing.conflict, "Read-only: {}. Let one operator look after them."),
        (
            "NotDurable",
            "InMemory",
            "" if durable else "a store",
            "Strikes, intents and limits die with the pod: give the operator {} on a volume (LOOPARR_STORE).",
        ),
        (
            "ClockSkew",
            "TooLarge",
            f"{standing.skew:.0f} s" if standing.skew else "",
            "A clock differs from ours by {}; ages go by the client's own clock. Check the machines' time.",
        ),
    )
    return tuple(Note(type_, reason, text.replace("{}", what)) for type_, reason, what, text in named if what)


def message(memory: Memory, standing: Standing, *, now: float) -> str:
    """Give the one line of the MESSAGE column."""
    total = sum(memory.counts.values())
    parts = [f"{total} torrents, {memory.owned} ours, {len(memory.in_trouble())} in trouble"]
    if memory.intents:
        parts.append(f"{len(memory.intents)} removals under way")
    if standing.warmup_until > now:
        parts.append("warming up: only reporting")
    if standing.holds:
        parts.append(f"removals held ({standing.holds[0].partition(':')[0]})")
    return "; ".join(parts)


def _counts(memory: Memory) -> dict[str, int]:
    counts = {"total": sum(memory.counts.values()), "owned": memory.owned}
    return counts | {_lower(state): count for state, count in sorted(memory.counts.items()) if count > 0}


def _connectivity(observation: Observation, standing: Standing) -> str:
    """Say whose clocks stand still, and why."""
    frozen = [f"{name} is down ({one.error.reason})" for name, one in observation.down.items()]
    frozen += [standing.offline] if standing.offline else []
    return f"Frozen: {', '.join(frozen)}" if frozen else "Connected"


def _lower(state: State) -> str:
    return state[0].lower() + state[1:]


def _worst(memory: Memory, keys: Iterable[Key]) -> list[Tracked]:
    """Give the torrents nearest to being removed first, then the longest in trouble."""

    def order(one: Tracked) -> tuple[bool, int, float]:
        return (one.key not in memory.intents, -_strikes(one), one.since)

    return sorted((memory.tracked[key] for key in keys), key=order)[:MOST]


def _strikes(one: Tracked) -> int:
    return max((clock.strikes for clock in one.clocks.values()), default=0)


def _attention(memory: Memory, one: Tracked) -> Attention:
    nearest = max(one.clocks.items(), key=lambda item: item[1].strikes, default=None)
    intent = memory.intents.get(one.key)
    return Attention(
        name=_text(one.name),
        hash=one.key.hash,
        state=str(one.state),
        since=_time(one.since),
        strikes=nearest[1].strikes if nearest else None,
        rule=intent.rule if intent else nearest[0] if nearest else None,
        reason=_text(one.why) or None,
        next_action=_text(one.next_action or (f"{intent.act}: {intent.phase}" if intent else "")) or None,
    )


def _text(text: str) -> str:
    """Cut a text to what the status holds; what cannot be written as UTF-8 becomes a question mark."""
    return text[:TEXT].encode(errors="replace").decode()


def _time(moment: float) -> datetime:
    return datetime.fromtimestamp(max(0.0, moment), UTC)
