"""Who has to be looked at when, although nothing about it changed: the other half of "changed or due"."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field

from looparr.arr.tracked import Key

SLACK = 64
"""Replaced deadlines that may lie in the heap beside as many as there are valid ones, before it is built anew."""


@dataclass(slots=True)
class Deadlines:
    """The next moments at which somebody has to be looked at; a later `put` for the same key replaces the earlier."""

    _heap: list[tuple[float, Key]] = field(default_factory=list)
    _at: dict[Key, float] = field(default_factory=dict)

    def put(self, key: Key, at: float | None) -> None:
        """Set or (None) clear the deadline of a key."""
        if at is None:
            self._at.pop(key, None)
        elif self._at.get(key) != at:
            self._at[key] = at
            heapq.heappush(self._heap, (at, key))
            if len(self._heap) > 2 * len(self._at) + SLACK:
                self._heap = [(at, key) for key, at in self._at.items()]
                heapq.heapify(self._heap)

    def pop(self, now: float) -> Iterator[Key]:
        """Give all keys that are due, each once."""
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                yield key
