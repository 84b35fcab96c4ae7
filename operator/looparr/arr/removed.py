"""What we removed ourselves, as the memory has it: a release that comes back after that is held by the loop guard."""

from __future__ import annotations

from looparr.arr.gates import Removed
from looparr.arr.intents import Act, Phase
from looparr.arr.memory import Memory


def under_way(memory: Memory) -> tuple[Removed, ...]:
    """Give our removals that were sent and are not verified yet."""
    return tuple(
        Removed(one.created, one.hash, frozenset(one.items), one.title, one.indexer)
        for one in memory.intents.values()
        if one.act is Act.REPLACE and one.phase is not Phase.PLANNED
    )


def removals(memory: Memory) -> tuple[Removed, ...]:
    """Give our own removals of the last days: those that are verified, and those that were given up half done."""
    return tuple(
        Removed(
            row.at,
            row.hash,
            frozenset(row.items),
            str(row.detail.get("title") or ""),
            str(row.detail.get("indexer") or ""),
        )
        for row in memory.actions
        if row.action == "Replace" and (row.result == "Verified" or row.detail.get("removed"))
    )
