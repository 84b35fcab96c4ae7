from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_kit import play
from looparr.api.spec import Priority
from looparr.engine.slots import AGEING, Slots, Ticket


class Watch:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_high_goes_before_normal_before_low() -> None:
    slots, order = Slots(1, Watch()), []
    held = slots.ask(Priority.LOW, lambda: None)
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        slots.ask(priority, lambda name=priority: order.append(name))  # type: ignore[misc]
    slots.give_back(held)
    assert order == [Priority.HIGH]


def test_waiting_ages_so_that_low_never_starves() -> None:
    watch = Watch()
    slots, order = Slots(1, watch), []
    held = slots.ask(Priority.HIGH, lambda: None)
    slots.ask(Priority.LOW, lambda: order.append("low"))
    watch.now = 2 * AGEING + 1
    slots.ask(Priority.HIGH, lambda: order.append("high"))
    slots.give_back(held)
    assert order == ["low"]


def test_equal_priorities_come_in_order() -> None:
    slots, order = Slots(1, Watch()), []
    held = slots.ask(Priority.NORMAL, lambda: None)
    tickets = [slots.ask(Priority.NORMAL, lambda i=i: order.append(i)) for i in range(5)]  # type: ignore[misc]
    slots.give_back(held)
    for ticket in tickets:
        slots.give_back(ticket)
    assert order == [0, 1, 2, 3, 4]


@given(
    st.integers(1, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from(Priority)), max_size=60)
)
def test_never_more_than_the_slots_and_none_is_lost(count: int, steps: list[tuple[bool, int, Priority]]) -> None:
    slots = Slots(count, Watch())
    tickets: list[Ticket] = []
    for asks, which, priority in steps:
        if asks or not tickets:
            tickets.append(slots.ask(priority, lambda: None))
        else:
            slots.give_back(tickets.pop(which % len(tickets)))
        granted = sum(ticket.granted for ticket in tickets)
        assert granted == min(count, len(tickets))
        assert slots.free == count - granted
        assert slots.asked == len(tickets) - granted
    for ticket in tickets:
        slots.give_back(ticket)
        slots.give_back(ticket)
    assert slots.free == count


def test_holding_can_be_cancelled() -> None:
    async def story() -> None:
        slots = Slots(1, asyncio.get_running_loop().time)

        async def hold() -> None:
            async with slots.hold():
                await asyncio.sleep(10)

        first, second = asyncio.create_task(hold()), asyncio.create_task(hold())
        await asyncio.sleep(1)
        second.cancel()
        await asyncio.wait({second})
        first.cancel()
        await asyncio.wait({first})
        assert (slots.free, slots.asked) == (1, 0)

    play(story)


def test_no_slots_at_all_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Slots(0, Watch())
