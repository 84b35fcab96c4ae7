"""How many turns run at once, and whose is next: the one scheduler of the process.

Between namespaces, the one that holds the fewest slots is next, and of equals the one that was not served for longest;
while several are about, none may take so many that a newcomer finds all of them held. Within a namespace a waiter's
rank is its arrival plus a handicap by priority: whoever waited longer than the handicap overtakes newer High ones, so
waiting ages, and Low never starves.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Generic, TypeVar

from looparr.api.spec import Priority

AGEING = 10.0
"""Seconds of waiting that lift a loop by one priority."""
PER_FREE = 4
"""Slots that one namespace may hold for each one that stays free: alone it gets four fifths of all, two get four ninths
each, and however many hang, one that holds nothing finds a slot as long as any is left."""
ABOUT = 86_400.0
"""Seconds after its last request for which a namespace counts as being about."""

_HANDICAP = {Priority.HIGH: 0.0, Priority.NORMAL: AGEING, Priority.LOW: 2 * AGEING}

T = TypeVar("T")


class State(Enum):
    """What became of a ticket."""

    WAITING = 0
    GRANTED = 1
    RETURNED = 2


class Ticket:
    """One request for a slot; `granted` tells whether it may run."""

    __slots__ = ("namespace", "on_grant", "state")

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.state = State.WAITING
        self.on_grant: Callable[[], None] | None = None

    @property
    def granted(self) -> bool:
        """Whether the slot is ours now."""
        return self.state is State.GRANTED


class _Ranks(Generic[T]):
    """Items by rank, least first; one may change its rank or leave. O(log n), given time.

    Ranks end in a number that no two items share. Old entries stay in the heap until they come up or are too many.
    """

    def __init__(self) -> None:
        self._ranks: dict[T, tuple[float, ...]] = {}
        self._heap: list[tuple[tuple[float, ...], T]] = []

    def __len__(self) -> int:
        return len(self._ranks)

    def put(self, item: T, rank: tuple[float, ...]) -> None:
        if self._ranks.get(item) == rank:
            return
        self._ranks[item] = rank
        heapq.heappush(self._heap, (rank, item))
        if len(self._heap) > 2 * len(self._ranks) + 8:
            self._heap = [(known, one) for one, known in self._ranks.items()]
            heapq.heapify(self._heap)

    def drop(self, item: T) -> None:
        self._ranks.pop(item, None)

    def first(self) -> tuple[tuple[float, ...], T] | None:
        while self._heap:
            rank, item = self._heap[0]
            if self._ranks.get(item) == rank:
                return rank, item
            heapq.heappop(self._heap)
        return None


class _Namespace:
    """Who waits in one namespace, how many slots it holds, and when it last asked (seconds) and was served (number)."""

    __slots__ = ("asked", "held", "served", "waiting")

    def __init__(self) -> None:
        self.asked = 0.0
        self.held = 0
        self.served = 0
        self.waiting: _Ranks[Ticket] = _Ranks()


class Slots:
    """`count` slots. monotonic: seconds that never jump."""

    def __init__(self, count: int, monotonic: Callable[[], float]) -> None:
        if count < 1:
            raise ValueError("at least one slot is needed")
        self.count = count
        self._free = count
        self._monotonic = monotonic
        self._namespaces: OrderedDict[str, _Namespace] = OrderedDict()
        self._next: _Ranks[str] = _Ranks()
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

    def ask(self, priority: Priority, namespace: str, on_grant: Callable[[], None]) -> Ticket:
        """Ask for a slot; `on_grant` is called once when it is granted later, not when it is granted at once.

        Every ticket must go back by `give_back`, granted or not.
        """
        now = self._monotonic()
        self._number += 1
        self._asked += 1
        ticket = Ticket(namespace)
        self._known(namespace, now).waiting.put(ticket, (now + _HANDICAP[priority], self._number))
        self._rank(namespace)
        self._grant()
        ticket.on_grant = on_grant
        return ticket

    def give_back(self, ticket: Ticket) -> None:
        """Return a ticket: a granted slot goes to the next, a waiting one leaves the queue. Twice is harmless."""
        before, ticket.state = ticket.state, State.RETURNED
        if before is State.RETURNED:
            return
        mine = self._namespaces[ticket.namespace]
        if before is State.WAITING:
            self._asked -= 1
            mine.waiting.drop(ticket)
        else:
            self._free += 1
            mine.held -= 1
        self._rank(ticket.namespace)
        self._grant()

    def _known(self, namespace: str, now: float) -> _Namespace:
        """Give the namespace that asks now; forget the one that did not for longest, if that is too long ago."""
        mine = self._namespaces.setdefault(namespace, _Namespace())
        mine.asked = now
        self._namespaces.move_to_end(namespace)
        name, oldest = next(iter(self._namespaces.items()))
        if oldest.asked < now - ABOUT and not oldest.held and not len(oldest.waiting):
            del self._namespaces[name]
        return mine

    def _rank(self, namespace: str) -> None:
        """Put the namespace where its holdings, its last service and its first waiter place it."""
        mine = self._namespaces[namespace]
        first = mine.waiting.first()
        if first is None:
            self._next.drop(namespace)
        else:
            self._next.put(namespace, (mine.held, mine.served, *first[0]))

    def _grant(self) -> None:
        while self._free and (found := self._next.first()) is not None:
            namespace = found[1]
            mine = self._namespaces[namespace]
            if len(self._namespaces) > 1 and mine.held > PER_FREE * (self._free - 1):
                return  # it holds the fewest of all that wait, so the others may not either
            waiter = mine.waiting.first()
            assert waiter is not None
            ticket = waiter[1]
            mine.waiting.drop(ticket)
            self._number += 1
            mine.served = self._number
            mine.held += 1
            self._free -= 1
            self._asked -= 1
            self._rank(namespace)
            ticket.state = State.GRANTED
            if ticket.on_grant is not None:
                ticket.on_grant()
