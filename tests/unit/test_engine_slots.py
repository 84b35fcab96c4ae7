from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_kit import Cluster, keep_turning, lasting, play
from looparr.api.spec import Priority
from looparr.engine.loop import Leaving
from looparr.engine.slots import ABOUT, AGEING, PER_FREE, Slots, Ticket


class Watch:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Crowd:
    """Loops of several namespaces on one pool of slots; each has a number, and `order` says who was served when."""

    slots: Slots
    tickets: dict[int, tuple[str, Ticket]] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)

    def ask(self, namespace: str, priority: Priority = Priority.NORMAL) -> int:
        number = max(self.tickets, default=-1) + 1
        ticket = self.slots.ask(priority, namespace, lambda: self.order.append(number))
        self.tickets[number] = (namespace, ticket)
        if ticket.granted:
            self.order.append(number)
        return number

    def end(self, number: int) -> None:
        self.slots.give_back(self.tickets.pop(number)[1])

    def held(self) -> Counter[str]:
        return Counter(namespace for namespace, ticket in self.tickets.values() if ticket.granted)

    def waiting(self) -> Counter[str]:
        return Counter(namespace for namespace, ticket in self.tickets.values() if not ticket.granted)

    def end_one(self, namespace: str) -> None:
        """End the oldest turn of a namespace."""
        self.end(next(n for n, (who, ticket) in self.tickets.items() if who == namespace and ticket.granted))


def crowd(count: int, watch: Watch | None = None) -> Crowd:
    return Crowd(Slots(count, watch or Watch()))


# --- one namespace --------------------------------------------------------------------------------------------------


def test_high_goes_before_normal_before_low() -> None:
    loops = crowd(1)
    held = loops.ask("media", Priority.LOW)
    low, normal, high = (loops.ask("media", one) for one in (Priority.LOW, Priority.NORMAL, Priority.HIGH))
    for number in (held, high, normal, low):
        loops.end(number)
    assert loops.order == [held, high, normal, low]


def test_waiting_ages_so_that_low_never_starves() -> None:
    watch = Watch()
    loops = crowd(1, watch)
    held, low = loops.ask("media", Priority.HIGH), loops.ask("media", Priority.LOW)
    watch.now = 2 * AGEING + 1
    loops.ask("media", Priority.HIGH)
    loops.end(held)
    assert loops.order == [held, low]


def test_equal_priorities_come_in_order() -> None:
    loops = crowd(1)
    for _ in range(6):
        loops.ask("media")
    for number in range(6):
        loops.end(number)
    assert loops.order == [0, 1, 2, 3, 4, 5]


def test_a_namespace_that_is_alone_may_hold_all_slots() -> None:
    loops = crowd(100)
    for _ in range(120):
        loops.ask("media")
    assert loops.held() == {"media": 100}


def test_no_slots_at_all_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Slots(0, Watch())


# --- several namespaces ---------------------------------------------------------------------------------------------


def test_hanging_loops_of_one_namespace_leave_slots_to_the_others() -> None:
    loops = crowd(100)
    loops.end(loops.ask("media"))
    for _ in range(1000):
        loops.ask("tarpit")
    assert loops.held() == {"tarpit": 80}
    for _ in range(10):
        number = loops.ask("media")
        assert loops.tickets[number][1].granted
        loops.end(number)


def test_several_namespaces_that_hang_leave_slots_too() -> None:
    loops = crowd(100)
    for _ in range(100):
        for namespace in ("a", "b", "c"):
            loops.ask(namespace)
    assert loops.slots.free >= 5
    assert loops.tickets[loops.ask("media")][1].granted


def test_a_newcomer_gets_the_first_slot_that_one_who_holds_all_of_them_gives_back() -> None:
    loops = crowd(100)
    for _ in range(1000):
        loops.ask("tarpit", Priority.HIGH)
    newcomer = loops.ask("media", Priority.LOW)
    assert not loops.tickets[newcomer][1].granted
    loops.end_one("tarpit")
    assert loops.tickets[newcomer][1].granted


def test_of_those_who_wait_the_one_that_holds_the_fewest_is_next() -> None:
    loops = crowd(8)
    for namespace in ("a", "a", "a", "a", "b", "b", "c"):
        loops.ask(namespace)
    for namespace in ("a", "b", "c"):
        loops.ask(namespace, Priority.HIGH if namespace == "a" else Priority.LOW)
    assert loops.held() == {"a": 4, "b": 2, "c": 1}
    loops.end_one("a")
    assert loops.held() == {"a": 3, "b": 2, "c": 2}
    loops.end_one("a")
    assert loops.held() == {"a": 3, "b": 2, "c": 2}, "among equals the rank decides"


def test_a_namespace_that_has_not_asked_for_a_day_no_longer_counts() -> None:
    watch = Watch()
    loops = crowd(10, watch)
    loops.end(loops.ask("gone"))
    for _ in range(20):
        loops.ask("media")
    assert loops.held() == {"media": 8}
    watch.now = ABOUT + 1
    loops.ask("media")
    assert loops.held() == {"media": 10}


def test_of_equals_the_one_that_was_not_served_for_longest_is_next() -> None:
    loops = crowd(1)
    for namespace in ("a", "a", "a", "b", "b", "c"):
        loops.ask(namespace, Priority.HIGH if namespace == "a" else Priority.LOW)
    served = []
    while loops.tickets:
        number, (namespace, _) = next((n, one) for n, one in loops.tickets.items() if one[1].granted)
        served.append(namespace)
        loops.end(number)
    assert served == ["a", "b", "c", "a", "b", "a"]


# --- properties -----------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 100), st.sampled_from(Priority), st.sampled_from("abcd")), max_size=80
)


@settings(deadline=None)
@given(st.integers(1, 12), STEPS)
def test_no_slot_is_idle_while_somebody_waits_but_those_kept_for_newcomers(
    count: int, steps: list[tuple[bool, int, Priority, str]]
) -> None:
    loops = crowd(count)
    seen = set()
    for asks, which, priority, namespace in steps:
        if asks or not loops.tickets:
            loops.ask(namespace, priority)
            seen.add(namespace)
        else:
            loops.end(list(loops.tickets)[which % len(loops.tickets)])
        held, waiting = loops.held(), loops.waiting()
        assert loops.slots.free == count - held.total()
        assert loops.slots.free >= 0
        assert loops.slots.asked == waiting.total()
        if loops.slots.free and waiting:
            assert len(seen) > 1
            assert all(held[one] > PER_FREE * (loops.slots.free - 1) for one in waiting)
            assert all(held[one] for one in waiting), "one that holds nothing is never kept waiting"
    for number in list(loops.tickets):
        ticket = loops.tickets[number][1]
        loops.end(number)
        loops.slots.give_back(ticket)
    assert (loops.slots.free, loops.slots.asked) == (count, 0)


@settings(deadline=None)
@given(st.integers(1, 12), STEPS, st.integers(0, 100), st.sampled_from(Priority))
def test_the_only_loop_of_a_namespace_is_served_at_once_or_within_one_slot_release(
    count: int, steps: list[tuple[bool, int, Priority, str]], which: int, priority: Priority
) -> None:
    loops = crowd(count)
    for asks, number, other, namespace in steps:
        if asks or not loops.tickets:
            loops.ask(namespace, other)
        else:
            loops.end(list(loops.tickets)[number % len(loops.tickets)])
    rivals = {one for one in loops.waiting() if not loops.held()[one]}  # newcomers, too
    mine = loops.tickets[loops.ask("mine", priority)][1]
    for _ in range(1 + len(rivals)):
        if not mine.granted:
            running = [number for number, (_, ticket) in loops.tickets.items() if ticket.granted]
            loops.end(running[which % len(running)])
    assert mine.granted


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(Priority), st.floats(0, 40), st.sampled_from("ab")), max_size=40))
def test_priorities_and_ageing_hold_within_each_namespace(waiters: list[tuple[Priority, float, str]]) -> None:
    watch = Watch()
    loops = crowd(1, watch)
    first = loops.ask("c")
    handicap = {Priority.HIGH: 0.0, Priority.NORMAL: AGEING, Priority.LOW: 2 * AGEING}
    ranks: dict[int, tuple[str, float]] = {}
    for priority, pause, namespace in waiters:
        watch.now += pause
        ranks[loops.ask(namespace, priority)] = (namespace, watch.now + handicap[priority])
    loops.end(first)
    for at in range(1, len(waiters) + 1):
        loops.end(loops.order[at])
    for namespace in "ab":
        served = [ranks[one][1] for one in loops.order[1:] if ranks[one][0] == namespace]
        assert served == sorted(served)
    assert len(loops.order) == 1 + len(waiters)


def test_what_left_the_queue_does_not_fill_the_memory() -> None:
    slots = Slots(1, Watch())
    held = slots.ask(Priority.NORMAL, "tarpit", lambda: None)
    waits = slots.ask(Priority.HIGH, "media", lambda: None)
    for _ in range(1000):
        slots.give_back(slots.ask(Priority.NORMAL, "media", lambda: None))
    assert len(slots._namespaces["media"].waiting._heap) < 20
    assert len(slots._next._heap) < 20
    slots.give_back(held)
    assert waits.granted


# --- in the engine --------------------------------------------------------------------------------------------------


def test_a_loop_that_leaves_while_it_waits_leaves_the_queue() -> None:
    async def story() -> None:
        busy, waits = Cluster(act=lasting(100)), Cluster()
        slots = Slots(1, busy.clock.monotonic)
        first, second = busy.open(), waits.open()
        tasks = [
            asyncio.create_task(keep_turning(loop, cluster.services(slots)))
            for loop, cluster in ((first, busy), (second, waits))
        ]
        await asyncio.sleep(1)
        assert (slots.free, slots.asked) == (0, 1)
        second.leave(Leaving.RELEASED, busy.clock.monotonic())
        await tasks[1]
        assert (slots.free, slots.asked) == (0, 0)
        tasks[0].cancel()
        await asyncio.wait({tasks[0]})
        assert (slots.free, slots.asked) == (1, 0)
        assert waits.turns == []

    play(story)
