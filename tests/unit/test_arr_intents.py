"""The state machine of one removal: whatever is seen and wherever it is killed, it does nothing twice or early."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from looparr.arr.intents import ATTEMPTS, EXPIRY, SEARCH_WITHIN, SETTLE, Act, Intent, Phase, Sight, Step, next_step

NOW = 1_000_000.0
PRESENT = Sight(present=True, rows=(5,))
GONE = Sight(present=False)
TAKEN = Sight(present=False, markable=False)
DONE = Sight(present=False, failed=True, searchable=(1,))


def intent(phase: Phase = Phase.PLANNED, act: Act = Act.REPLACE, **fields: Any) -> Intent:
    told: dict[str, Any] = {
        "id": "i",
        "act": act,
        "client": "main",
        "hash": "a" * 40,
        "added_on": 1,
        "name": "A Film",
        "download_id": "a" * 40,
        "items": (1,),
        "rule": "stalled",
        "reason": "Stalled for 45m",
        "created": NOW,
        "phase": phase,
        "since": NOW,
        "attempts": 0 if phase in {Phase.PLANNED, Phase.REMOVED} else 1,
        "history_id": 7,
    }
    return Intent(**told | fields)


SOON, SETTLED, LATE = NOW + 1, NOW + SETTLE, NOW + EXPIRY + 1
NEXT_DAY, TOO_LATE = NOW + SEARCH_WITHIN, NOW + SEARCH_WITHIN + 1


@pytest.mark.parametrize(
    ("phase", "sight", "now", "step"),
    [
        (Phase.PLANNED, PRESENT, SOON, Step.SEND),
        (Phase.PLANNED, Sight(present=True), SOON, Step.DROP),
        (Phase.PLANNED, GONE, SOON, Step.DROP),
        (Phase.PLANNED, PRESENT, LATE, Step.DROP),
        (Phase.SENT, DONE, SOON, Step.SETTLED),
        (Phase.SENT, DONE, LATE, Step.SETTLED),
        (Phase.SENT, GONE, SOON, Step.WAIT),
        (Phase.SENT, GONE, SETTLED, Step.MARK_FAILED),
        (Phase.SENT, GONE, LATE, Step.DROP),
        (Phase.SENT, PRESENT, SOON, Step.WAIT),
        (Phase.SENT, PRESENT, SETTLED, Step.SEND),
        (Phase.SENT, PRESENT, LATE, Step.DROP),
        (Phase.SENT, Sight(present=True), SOON, Step.WAIT),
        (Phase.SENT, Sight(present=True), SETTLED, Step.DROP),
        (Phase.SENT, Sight(present=True, failed=True), SOON, Step.WAIT),
        (Phase.SENT, Sight(present=True, failed=True), SETTLED, Step.CLIENT_DELETE),
        (Phase.CLIENT_DELETE, Sight(present=True, failed=True), SOON, Step.WAIT),
        (Phase.CLIENT_DELETE, Sight(present=True, failed=True), SETTLED, Step.CLIENT_DELETE),
        (Phase.CLIENT_DELETE, Sight(present=True, failed=True), LATE, Step.DROP),
        (Phase.CLIENT_DELETE, PRESENT, SETTLED, Step.DROP),
        (Phase.CLIENT_DELETE, DONE, SOON, Step.SETTLED),
        (Phase.CLIENT_DELETE, GONE, SOON, Step.MARK_FAILED),
        (Phase.CLIENT_DELETE, GONE, LATE, Step.DROP),
        (Phase.CLIENT_DELETE, DONE, LATE, Step.SETTLED),
        (Phase.MARK_FAILED, DONE, SOON, Step.SETTLED),
        (Phase.MARK_FAILED, GONE, SOON, Step.WAIT),
        (Phase.MARK_FAILED, TAKEN, SETTLED, Step.DROP),
        (Phase.SENT, TAKEN, SETTLED, Step.DROP),
        (Phase.CLIENT_DELETE, TAKEN, SETTLED, Step.DROP),
        (Phase.MARK_FAILED, GONE, SETTLED, Step.MARK_FAILED),
        (Phase.MARK_FAILED, GONE, LATE, Step.MARK_FAILED),
        (Phase.MARK_FAILED, GONE, NEXT_DAY, Step.MARK_FAILED),
        (Phase.MARK_FAILED, GONE, TOO_LATE, Step.DROP),
        (Phase.MARK_FAILED, DONE, TOO_LATE, Step.SETTLED),
        (Phase.MARK_FAILED, PRESENT, LATE, Step.DROP),
        (Phase.MARK_FAILED, DONE, LATE, Step.SETTLED),
        (Phase.MARK_FAILED, PRESENT, SETTLED, Step.DROP),
        (Phase.MARK_FAILED, Sight(present=True, failed=True), SOON, Step.CLIENT_DELETE),
        (Phase.REMOVED, DONE, SOON, Step.SEARCH),
        (Phase.REMOVED, Sight(present=False, failed=True), SOON, Step.FINISH),
        (Phase.REMOVED, replace(DONE, searched=True), SOON, Step.FINISH),
        (Phase.REMOVED, replace(DONE, arr_searches=True), SOON, Step.FINISH),
        (Phase.REMOVED, replace(DONE, present=True), SOON, Step.DROP),
        (Phase.REMOVED, DONE, NEXT_DAY, Step.SEARCH),
        (Phase.REMOVED, DONE, TOO_LATE, Step.DROP),
        (Phase.REMOVED, replace(DONE, searched=True), TOO_LATE, Step.FINISH),
        (Phase.SEARCH, replace(DONE, searched=True), SOON, Step.FINISH),
        (Phase.SEARCH, DONE, TOO_LATE, Step.DROP),
        (Phase.SEARCH, DONE, SOON, Step.WAIT),
        (Phase.SEARCH, DONE, SETTLED, Step.SEARCH),
    ],
)
def test_the_next_step_of_a_replacement(phase: Phase, sight: Sight, now: float, step: Step) -> None:
    found = next_step(intent(phase), sight, now)
    assert found.step is step
    assert bool(found.why) is (step in {Step.DROP, Step.FINISH})


@pytest.mark.parametrize(
    ("phase", "sight", "now", "step"),
    [
        (Phase.PLANNED, PRESENT, SOON, Step.SEND),
        (Phase.PLANNED, Sight(present=True), SOON, Step.SEND),
        (Phase.PLANNED, GONE, SOON, Step.DROP),
        (Phase.PLANNED, PRESENT, LATE, Step.DROP),
        (Phase.SENT, GONE, SOON, Step.FINISH),
        (Phase.SENT, PRESENT, SOON, Step.WAIT),
        (Phase.SENT, PRESENT, SETTLED, Step.SEND),
        (Phase.SENT, PRESENT, LATE, Step.DROP),
    ],
)
def test_the_next_step_of_a_deletion(phase: Phase, sight: Sight, now: float, step: Step) -> None:
    assert next_step(intent(phase, Act.DELETE), sight, now).step is step


def test_where_the_data_stays_the_client_is_asked_as_soon_as_the_arr_has_failed_it() -> None:
    """The Arr was told not to touch the client, so there is nothing to wait for."""
    failed = Sight(present=True, failed=True)
    assert next_step(intent(Phase.SENT, delete_data=False), failed, SOON).step is Step.CLIENT_DELETE


@pytest.mark.parametrize("phase", [Phase.SENT, Phase.CLIENT_DELETE, Phase.MARK_FAILED, Phase.SEARCH])
def test_nothing_is_tried_more_than_three_times_and_each_try_waits_longer(phase: Phase) -> None:
    sights = {Phase.SENT: PRESENT, Phase.CLIENT_DELETE: Sight(present=True, failed=True), Phase.MARK_FAILED: GONE}
    sight = sights.get(phase, DONE)
    for attempts in range(1, ATTEMPTS):
        tried = intent(phase, attempts=attempts)
        assert next_step(tried, sight, NOW + SETTLE * attempts - 1).step is Step.WAIT
        assert next_step(tried, sight, NOW + SETTLE * attempts).step not in {Step.WAIT, Step.DROP}
    last = next_step(intent(phase, attempts=ATTEMPTS), sight, NOW + SETTLE * ATTEMPTS)
    assert last.step is Step.DROP
    assert last.why


@pytest.mark.parametrize("phase", [Phase.SENT, Phase.CLIENT_DELETE])
def test_without_the_grab_in_the_history_nothing_can_be_marked_and_nothing_is_searched(phase: Phase) -> None:
    found = next_step(intent(phase, history_id=0), GONE, SETTLED)
    assert found.step is Step.DROP
    assert "NotBlocklisted" in found.why


SIGHTS = st.builds(
    Sight,
    present=st.booleans(),
    rows=st.sampled_from([(), (5,)]),
    failed=st.booleans(),
    searched=st.booleans(),
    searchable=st.sampled_from([(), (1,)]),
    arr_searches=st.booleans(),
)


@given(
    st.sampled_from(Phase), st.sampled_from(Act), SIGHTS, st.floats(0, 30 * EXPIRY), st.integers(0, 4), st.booleans()
)
def test_looking_twice_decides_the_same_and_nothing_destroys_on_doubt(
    phase: Phase, act: Act, sight: Sight, later: float, attempts: int, data: bool
) -> None:
    assume(act is Act.REPLACE or phase in {Phase.PLANNED, Phase.SENT})
    one = intent(phase, act, attempts=attempts, delete_data=data)
    found = next_step(one, sight, NOW + later)
    assert found == next_step(one, sight, NOW + later)
    if found.step is Step.DROP:
        assert found.why
    if found.step is Step.MARK_FAILED:
        seen = phase is Phase.MARK_FAILED
        assert later <= (SEARCH_WITHIN if seen else EXPIRY), "who removed it in the meantime is not known any more"
        assert not sight.present
        assert not sight.failed
    if found.step is Step.CLIENT_DELETE:
        assert sight.present
        assert sight.failed, "the Arr comes first: nothing is deleted that it has not blocklisted"
        assert act is Act.REPLACE
    if found.step is Step.SEND:
        assert sight.present
        assert later <= EXPIRY
        assert sight.rows or act is Act.DELETE
    if found.step is Step.SETTLED:
        assert sight.failed
        assert not sight.present
    if found.step is Step.SEARCH:
        assert later <= SEARCH_WITHIN
        assert phase in {Phase.REMOVED, Phase.SEARCH}
        assert sight.searchable
        assert not sight.searched
        assert not sight.present


PHASES = {
    Step.SEND: Phase.SENT,
    Step.CLIENT_DELETE: Phase.CLIENT_DELETE,
    Step.MARK_FAILED: Phase.MARK_FAILED,
    Step.SETTLED: Phase.REMOVED,
    Step.SEARCH: Phase.SEARCH,
}


class Removal(RuleBasedStateMachine):
    """A world in which calls work, fail, work without an answer, or work late, and the process may die anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.intent: Intent | None = intent()
        self.present, self.failed, self.row, self.searched = True, False, True, False
        self.was_gone_and_failed = False
        self.searches: list[bool] = []
        self.calls = 0

    def sight(self) -> Sight:
        return Sight(
            present=self.present,
            rows=(5,) if self.row else (),
            failed=self.failed,
            searched=self.searched,
            searchable=() if self.searched else (1,),
        )

    @precondition(lambda self: self.intent is not None)
    @rule(taken=st.booleans(), blocklisted=st.booleans(), killed=st.booleans(), seconds=st.floats(0, 30))
    def turn(self, *, taken: bool, blocklisted: bool, killed: bool, seconds: float) -> None:
        """Look, make the phase durable, die or send; the call has its effect or not, its answer is not looked at."""
        assert self.intent is not None
        self.now += seconds
        self.was_gone_and_failed |= self.failed and not self.present
        found = next_step(self.intent, self.sight(), self.now)
        if found.step in {Step.FINISH, Step.DROP}:
            assert found.why
            self.intent = None
        if self.intent is None or found.step not in PHASES:
            return
        phase = PHASES[found.step]
        attempts = self.intent.attempts + 1 if self.intent.phase is phase else 1
        attempts = 0 if phase is Phase.REMOVED else attempts
        self.intent = replace(self.intent, phase=phase, attempts=attempts, since=self.now)
        if not killed and found.step is not Step.SETTLED:
            self.calls += 1
            self.effect(found.step, taken=taken, blocklisted=blocklisted)

    def effect(self, step: Step, *, taken: bool, blocklisted: bool) -> None:
        if step is Step.SEARCH:
            assert self.was_gone_and_failed, "a search before the removal was verified"
            assert not any(self.searches), "a second search although one was taken"
            self.searches.append(taken)
            self.searched |= taken
        if step is Step.MARK_FAILED:
            assert not self.present, "marked as failed although it is there"
            self.failed |= taken
        if step is Step.CLIENT_DELETE:
            assert self.failed, "deleted in the client before the Arr had blocklisted it"
            self.present &= not taken
        if step is Step.SEND and taken:
            self.present, self.row = False, False
            self.failed |= blocklisted

    @rule()
    def a_person_deletes_it(self) -> None:
        self.present = False

    @rule()
    def the_client_shows_it_again(self) -> None:
        self.present = True

    @rule(there=st.booleans())
    def the_row_comes_or_goes(self, *, there: bool) -> None:
        self.row = there

    @rule()
    def the_arr_fails_it_by_itself(self) -> None:
        self.failed = True

    @invariant()
    def calls_are_few(self) -> None:
        assert self.calls <= 4 * ATTEMPTS

    def teardown(self) -> None:
        """In a world that stays as it is, everything ends."""
        turns = 0
        while self.intent is not None:
            self.turn(taken=False, blocklisted=False, killed=False, seconds=SETTLE * ATTEMPTS)
            turns += 1
            assert turns <= 5 * ATTEMPTS, "the removal never ends"


Removal.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestRemoval = Removal.TestCase


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("act", Act)
def test_an_intent_outlives_the_process_as_it_is(phase: Phase, act: Act) -> None:
    one = intent(
        phase,
        act,
        items=(1, 2),
        failed_before="2026-01-01T00:00:00+00:00",
        searched_before={"1": "x"},
        title="A.Film",
        indexer="x",
        interactive=True,
        delete_data=False,
        single=True,
        marked=True,
    )
    row = one.row("uid")
    assert Intent.from_row(row) == one
    assert (row.instance, row.expires) == ("uid", NOW + EXPIRY)


@pytest.mark.parametrize("fields", [{"phase": "Later"}, {"action": "Quarantine"}, {"detail": {}}])
def test_an_intent_of_another_version_is_not_guessed_at(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        Intent.from_row(replace(intent().row("uid"), **fields))
