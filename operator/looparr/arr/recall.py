"""Loading an instance's memory, and noticing when it is not the one that the status was written from."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from looparr.arr.memory import Memory
from looparr.arr.rules import Rule
from looparr.arr.spec import ArrSpec
from looparr.arr.status import Totals
from looparr.engine.types import Turn
from looparr.store.store import Store

LOG = logging.getLogger(__name__)

STORE_LOST_HOLD = 3600.0
MOST = 2**53
"""What is counted stays below it: JSON readers lose digits from there on."""


async def recall(store: Store, turn: Turn, spec: ArrSpec, rules: Sequence[Rule], now: float) -> Memory:
    """Load the memory of the turn's object. now: epoch seconds.

    A lost store, or one restored from a backup, knows nothing of what was done since: its intents are dropped and
    removals are held for an hour.
    """
    memory = Memory(await store.load(turn.subject.ref.uid))
    epoch, _, counted = str(turn.block.get("storeEpoch") or "").partition(":")
    sequence = int(counted) if re.fullmatch("[0-9]{1,15}", counted) else 0
    if epoch and (epoch != store.epoch or int(memory.values.get("sequence") or 0) < sequence):
        LOG.warning("the store was lost or restored from a backup, removals are held, object=%s", turn.subject.ref)
        memory.put_value("held_until", now + STORE_LOST_HOLD)
        memory.put_value("sequence", sequence)
        memory.drop_intents()
    if "started" not in memory.values:
        memory.put_value("started", turn.subject.created.timestamp() if epoch else now)
    memory.put_value("totals", read_totals(memory.values.get("totals", turn.block.get("totals"))))
    memory.put_value("edited", _edited(memory, spec, rules))
    memory.put_value("rules", {rule.name: [rule.digest, rule.strikes] for rule in rules})
    return memory


def read_totals(told: Any) -> dict[str, int]:
    """Read totals field by field: numbers that count something, and nothing else. Anybody may have edited a status."""
    totals = told if isinstance(told, dict) else {}
    names = [one.alias or name for name, one in Totals.model_fields.items()]
    return {name: count for name in names if type(count := totals.get(name)) is int and 0 <= count < MOST}


def _edited(memory: Memory, spec: ArrSpec, rules: Sequence[Rule]) -> dict[str, dict[str, float]]:
    """Note rules whose strikes were lowered: they act no earlier than one `for` from now."""
    before: dict[str, Any] = memory.values.get("rules") or {}
    edited: dict[str, dict[str, float]] = dict(memory.values.get("edited") or {})
    for rule in rules:
        digest, strikes = before.get(rule.name) or (rule.digest, rule.strikes)
        if digest == rule.digest and rule.strikes < strikes:
            edited[rule.name] = {one.name: memory.reading(one.name) for one in spec.download_clients}
    names = {rule.name for rule in rules}
    return {name: at for name, at in edited.items() if name in names}
