"""Sliding windows and cooldowns: how much may happen at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from looparr.arr.intents import Phase
from looparr.arr.limits import DAY, HOUR, SEARCHES, Budget, Charge, Windows, address, booked, cooled_down
from looparr.store.rows import Account, ActionRow, IntentRow

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


def sent(intent: str = "", at: float = NOW - 1, cost: int = 1) -> ActionRow:
    return ActionRow(at, "qb", "main", "h", "n", (1,), "Replace", "r", "why", "Sent", cost, {"intent": intent})


def begun(intent: str, created: float = NOW - 1, phase: str = Phase.PLANNED) -> IntentRow:
    return IntentRow(intent, "u", "main", "h", 1, (1,), "Replace", "r", "why", phase, created, created + HOUR)


@pytest.mark.parametrize(
    ("account", "room"),
    [
        (Account(), 3),
        (Account((sent("a"), sent()), (begun("b"),)), 0),
        (Account((sent("a"),), (begun("a"),)), 2),
        (Account((), (begun("a", phase=Phase.SENT), begun("b", phase=Phase.REMOVED))), 3),
        (Account((), (begun("a", created=NOW - HOUR),)), 3),
        (Account((), (begun("a", created=NOW - HOUR + 1),)), 2),
        (Account((), (begun("a", created=NOW + 9999),)), 2),
        (Account((sent("a", cost=2),), (begun("b"),)), 0),
    ],
)
def test_what_was_begun_counts_until_it_is_sent_given_up_or_expired(account: Account, room: int) -> None:
    """Given up means that its intent is closed, and so not in the account."""
    assert Windows(per_hour=3).room(booked(account, NOW), NOW) == room


def test_an_expired_intent_takes_no_room_of_the_day_either() -> None:
    assert booked(Account((), (begun("a", created=NOW - HOUR - 1),)), NOW) == []


@pytest.mark.parametrize(
    ("account", "intent", "cost", "allowed"),
    [
        (Account(), "mine", 1, True),
        (Account(), "mine", 3, False),
        (Account((sent("x"), sent("y"))), "mine", 1, False),
        (Account((sent("x"), sent("mine"))), "mine", 1, True),
        (Account((sent("x"),), (begun("y"),)), "new", 1, False),
        (Account((sent("x"),), (begun("mine"), begun("y"))), "mine", 1, True),
        (Account((sent("x"),), (begun("y"), begun("mine"))), "mine", 1, False),
        (Account((sent("x"), sent("y")), (begun("mine"),)), "mine", 1, False),
    ],
)
def test_an_act_needs_room_beside_all_that_came_before_it(
    account: Account, intent: str, cost: int, allowed: bool
) -> None:
    budget = Budget("qb", Windows(per_hour=2), NOW, intent, cost)
    assert budget.allows(account) is allowed
    assert budget.since == NOW - DAY


@given(st.lists(st.sampled_from(["begin", "send", "give up"]), max_size=30), st.integers(0, 3), st.integers(0, 3))
def test_whatever_begins_is_sent_or_given_up_no_window_is_exceeded(steps: list[str], at_first: int, later: int) -> None:
    """Even when the limit is changed in between; and what is begun in a window that stays is always sent."""
    rows: list[ActionRow] = []
    intents: list[IntentRow] = []
    for number, step in enumerate(steps):
        limit = at_first if number < len(steps) / 2 else later
        windows = Windows(per_hour=limit)
        if step == "begin":
            if Budget("qb", windows, NOW, str(number)).allows(Account(tuple(rows), tuple(intents))):
                intents.append(begun(str(number)))
        elif intents:
            one = intents[-1] if number % 2 else intents[0]
            allowed = step == "send" and Budget("qb", windows, NOW, one.id).allows(Account(tuple(rows), tuple(intents)))
            rows += [sent(one.id)] * allowed
            assert not allowed or len(rows) <= limit
            assert allowed or step == "give up" or at_first > later
            intents.remove(one)


@pytest.mark.parametrize("url", ["http://qb:8080", "http://qb:8080/", "HTTP://QB:8080"])
def test_one_program_is_one_endpoint_however_its_url_is_written(url: str) -> None:
    assert address(url) == "http://qb:8080"
