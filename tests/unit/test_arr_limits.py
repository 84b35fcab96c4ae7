"""Sliding windows and cooldowns: how much may happen at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looparr.arr.limits import DAY, HOUR, SEARCHES, Charge, Windows, cooled_down

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("windows", "charges", "room"),
    [
        (Windows(), [], 10**9),
        (Windows(per_turn=3), [], 3),
        (Windows(per_turn=3, per_hour=5), [Charge(NOW - 1)] * 4, 1),
        (Windows(per_hour=3), [Charge(NOW - HOUR)] * 3, 3),
        (Windows(per_hour=3), [Charge(NOW - HOUR + 1)] * 3, 0),
        (Windows(per_hour=3), [Charge(NOW - 1, cost=9)], 0),
        (Windows(per_hour=3, per_day=4), [Charge(NOW - 2 * HOUR)] * 3, 1),
        (Windows(per_day=4), [Charge(NOW - DAY)] * 9, 4),
        (Windows(per_hour=3), [Charge(NOW + 9999)] * 2, 1),
        (Windows(per_turn=0), [], 0),
        (SEARCHES, [Charge(NOW, cost=4)], 1),
        (Windows(per_hour=3), [Charge(NOW - 9, intent="a"), Charge(NOW - 1, intent="a")], 2),
        (Windows(per_hour=3), [Charge(NOW - 9, intent="a"), Charge(NOW - 1, intent="b")], 1),
        (Windows(per_hour=3), [Charge(NOW - 1, intent="a"), Charge(NOW - HOUR, intent="a")], 2),
        (Windows(per_hour=3), [Charge(NOW - HOUR, intent="a"), Charge(NOW - 1, cost=0, intent="a")], 3),
        (Windows(per_hour=3), [Charge(NOW - 9, intent="a"), Charge(NOW - 1, cost=0, intent="a")], 2),
    ],
)
def test_the_smallest_room_of_all_windows_counts(windows: Windows, charges: list[Charge], room: int) -> None:
    assert windows.room(charges, NOW) == room


@given(
    st.lists(st.tuples(st.floats(0, 4 * HOUR), st.integers(1, 5)), max_size=40),
    st.integers(0, 6),
    st.integers(0, 12),
)
def test_no_window_ever_holds_more_than_its_limit(steps: list[tuple[float, int]], per_hour: int, per_day: int) -> None:
    """Whatever asks for how much and when; the order in which charges are remembered does not matter."""
    windows = Windows(per_turn=3, per_hour=per_hour, per_day=per_day)
    charges: list[Charge] = []
    now = NOW
    for pause, wanted in steps:
        now += pause
        room = windows.room(charges, now)
        assert room == windows.room(list(reversed(charges)), now)
        if wanted <= room:
            charges.append(Charge(now, wanted))
    for length, limit in ((HOUR, per_hour), (DAY, per_day)):
        for end in charges:
            inside = sum(one.cost for one in charges if end.at - length < one.at <= end.at)
            assert inside <= limit


@pytest.mark.parametrize(
    ("last", "over"),
    [(None, True), (NOW - 61, True), (NOW - 60, True), (NOW - 59, False), (NOW + 59, False), (NOW + 61, True)],
)
def test_a_cooldown_is_over_after_its_time_or_with_a_clock_that_was_far_ahead(last: float | None, over: bool) -> None:
    assert cooled_down(last, 60.0, NOW) is over
