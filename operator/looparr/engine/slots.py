"""How many turns run at once, and whose is next: the one scheduler of the process.

A waiter's rank is its arrival plus a handicap by priority. Ranks never change while waiting, so one heap is enough
(O(log n)), and whoever waited longer than the handicap overtakes newer High ones: waiting ages, Low never starves.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum

from looparr.api.spec import Priority

AGEING = 10.0
"""Seconds of waiting that lift a loop by one priority."""

_HANDICAP = {Priority.HIGH: 0.0, Priority.NORMAL: AGEING, Priority.LOW: 2 * AGEING}


class _State(Enum):
    WAITING = 0
    GRANTED = 1
    RETURNED = 2


class Ticket:
    """One request for a slot; `granted` tells whether it may run."""

    __slots__ = ("_on_grant", "_state")

    def __init__(self, on_grant: Callable[[], None]) -> None:
        self._on_grant = on_grant
        self._state = _State.WAITING

    @property
    def granted(self) -> bool:
        """Whether the slot is ours now."""
        return self._state is _State.GRANTED


class Slots:
    """`count` slots. monotonic: seconds that never jump."""

    def __init__(self, count: int, monotonic: Callable[[], float]) -> None:
        if count < 1:
            raise ValueError("at least one slot is needed")
        self.count = count
        self._free = count
        self._monotonic = monotonic
        self._waiting: list[tuple[float, int, Ticket]] = []
        self._number = 0
        self._asked = 0

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return self._free

    @property
    def asked(self) -> int:
        """How many wait for a slot."""
        return self._asked

    def ask(self, priority: Priority, on_grant: Callable[[], None]) -> Ticket:
        """Ask for a slot; `on_grant` is called once when it is granted later, not when it is granted at once.

        Every ticket must go back by `give_back`, granted or not.
        """
        ticket = Ticket(on_grant)
        if self._free and not self._asked:
            self._free -= 1
            ticket._state = _State.GRANTED  # noqa: SLF001 - a ticket belongs to its slots
            return ticket
        self._number += 1
        self._asked += 1
        heapq.heappush(self._waiting, (self._monotonic() + _HANDICAP[priority], self._number, ticket))
        return ticket

    def give_back(self, ticket: Ticket) -> None:
        """Return a ticket: a granted slot goes to the next, a waiting one leaves the queue. Twice is harmless."""
        before, ticket._state = ticket._state, _State.RETURNED  # noqa: SLF001 - a ticket belongs to its slots
        if before is _State.WAITING:
            self._asked -= 1
        elif before is _State.GRANTED:
            self._free += 1
            self._grant()

    def _grant(self) -> None:
        while self._free and self._waiting:
            ticket = heapq.heappop(self._waiting)[2]
            if ticket._state is not _State.WAITING:  # noqa: SLF001 - given back while waiting
                continue
            self._free -= 1
            self._asked -= 1
            ticket._state = _State.GRANTED  # noqa: SLF001 - a ticket belongs to its slots
            ticket._on_grant()  # noqa: SLF001 - a ticket belongs to its slots

    @asynccontextmanager
    async def hold(self, priority: Priority = Priority.NORMAL) -> AsyncIterator[None]:
        """Hold a slot for a while; waiting for it can be cancelled."""
        granted = asyncio.Event()
        ticket = self.ask(priority, granted.set)
        try:
            if not ticket.granted:
                await granted.wait()
            yield
        finally:
            self.give_back(ticket)
