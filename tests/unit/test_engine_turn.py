from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from engine_kit import START, Cluster, failing, keep_turning, lasting, live, newer, play, subject
from looparr.engine.loop import Leaving
from looparr.engine.slots import Slots
from looparr.engine.turn import turn
from looparr.engine.types import Event, Fenced, Note, Outcome, Turn
from looparr.errors import Blocked, Delay, Permanent, StateError, Transient, WriteFailed
from looparr.testing import check_conditions


def ready(status: dict[str, Any]) -> tuple[str, str]:
    first = status["conditions"][0]
    return first["status"], first["reason"]


def test_a_loop_runs_at_once_and_then_every_interval_with_one_write_a_turn() -> None:
    async def story() -> None:
        cluster = Cluster()
        await live(cluster.open(), cluster.services(), 35)
        assert [round(at) for at, _ in cluster.turns] == [0, 10, 20, 30]
        assert len(cluster.statuses) == 4
        assert cluster.status["runCount"] == 4
        assert ready(cluster.status) == ("True", "Succeeded")
        assert cluster.status["message"] == "fine"
        assert cluster.events == []
        assert cluster.built == [1]
        assert cluster.closed == [False]

    play(story)


def test_a_restart_goes_on_where_the_last_process_stopped() -> None:
    async def story() -> None:
        cluster = Cluster(act=failing(Transient("Unreachable", "is it up?")))
        await live(cluster.open(), cluster.services(), 20)
        stored = cluster.status
        assert stored["consecutiveErrors"] == 3  # at 0, 5 and 15 s
        before = len(cluster.turns)
        await live(cluster.open(stored), cluster.services(), 30)
        waited = cluster.turns[before][0] - cluster.turns[before - 1][0]
        assert 20 <= waited < 21.5
        assert cluster.status["consecutiveErrors"] == 4
        assert [event.reason for event in cluster.events] == ["Unreachable"]

    play(story)


def test_initial_delay_holds_only_the_very_first_turn_and_the_object_is_answered_at_once() -> None:
    async def story() -> None:
        cluster = Cluster(now=subject(initialDelay="1m"))
        await live(cluster.open(), cluster.services(), 75)
        first = cluster.statuses[0]
        assert first[0] < 1
        assert ready(first[1]) == ("Unknown", "Progressing")
        assert first[1]["nextRunTime"] == "2026-01-01T00:01:00Z"
        assert [round(at) for at, _ in cluster.turns] == [60, 70]

    play(story)


def test_a_trigger_runs_once_past_backoff_and_is_answered() -> None:
    async def story() -> None:
        cluster = Cluster(now=subject(backoff={"initialDelay": "5m"}), act=failing(Transient("Unreachable", "up?")))
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 60))
        await asyncio.sleep(20)
        assert len(cluster.turns) == 1
        cluster.act = None
        cluster.change(loop, newer(cluster.now, annotations={"looparr.dev/requestedAt": "now"}))
        await asyncio.sleep(0.1)
        assert len(cluster.turns) == 2
        assert cluster.turns[1][1].triggered
        assert cluster.status["lastHandledRequestedAt"] == "now"
        cluster.change(loop, newer(cluster.now, labels={"some": "label"}))
        await task
        assert {event.reason for event in cluster.events} == {"Unreachable", "Triggered", "Recovered"}
        assert [round(at) for at, _ in cluster.turns] == [0, 20, 30, 40, 50]

    play(story)


def test_a_suspended_loop_runs_nothing_and_consumes_a_trigger() -> None:
    async def story() -> None:
        cluster = Cluster()
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 100))
        await asyncio.sleep(1)
        cluster.change(loop, subject(2, suspend=True))
        await asyncio.sleep(0.1)
        check_conditions(cluster.status, generation=2, suspended=True)
        assert cluster.status["phase"] == "Suspended"
        cluster.change(loop, subject(2, requested="while suspended", suspend=True))
        await asyncio.sleep(30)
        assert cluster.status["lastHandledRequestedAt"] == "while suspended"
        assert len(cluster.turns) == 1
        cluster.change(loop, subject(3, requested="while suspended"))
        await asyncio.sleep(0.1)
        assert len(cluster.turns) == 2
        check_conditions(cluster.status, generation=3, suspended=False)
        await task
        assert [event.reason for event in cluster.events] == ["Suspended", "Resumed"]

    play(story)


def test_a_new_generation_rebuilds_the_body_and_runs_at_once() -> None:
    async def story() -> None:
        cluster = Cluster(act=failing(Permanent("WrongType", "this is no Radarr: correct the URL")))
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 1000))
        await asyncio.sleep(900)
        assert len(cluster.turns) == 1
        assert ready(cluster.status) == ("False", "WrongType")
        assert cluster.status["phase"] == "Error"
        cluster.act = None
        cluster.change(loop, subject(2))
        await asyncio.sleep(0.1)
        assert ready(cluster.status) == ("True", "Succeeded")
        assert cluster.built == [1, 2]
        assert cluster.closed == [False]
        await task

    play(story)


def test_a_permanent_error_stays_so_after_a_restart_but_a_trigger_tries_again() -> None:
    async def story() -> None:
        cluster = Cluster(act=failing(Permanent("WrongType", "correct the URL")))
        await live(cluster.open(), cluster.services(), 1)
        await live(cluster.open(cluster.status), cluster.services(), 500)
        assert len(cluster.turns) == 1
        cluster.now = subject(requested="again")
        await live(cluster.open(cluster.status), cluster.services(), 500)
        assert len(cluster.turns) == 2

    play(story)


def test_a_blocked_loop_looks_again_every_30_seconds_and_is_not_ready_at_once() -> None:
    async def story() -> None:
        cluster = Cluster()
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 125))
        await asyncio.sleep(1)
        cluster.act = failing(Blocked("SecretMissing", "create the Secret"))
        await task
        assert [round(at) for at, _ in cluster.turns] == [0, 10, 40, 70, 100]
        assert ready(cluster.statuses[1][1]) == ("False", "SecretMissing")

    play(story)


def test_fewer_than_five_errors_after_a_success_keep_ready_and_the_fifth_does_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")

    async def story() -> None:
        cluster = Cluster(now=subject(backoff={"initialDelay": "1s", "maxDelay": "1s", "jitterPercent": 0}))
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 40))
        await asyncio.sleep(1)
        cluster.act = failing(Transient("Unreachable", "up?"))
        await asyncio.sleep(20)
        cluster.act = None
        await task
        seen = [(ready(status), status["phase"]) for _, status in cluster.statuses]
        assert seen[:7] == [
            (("True", "Succeeded"), "Idle"),
            *[(("True", "Retrying"), "Backoff")] * 4,
            *[(("False", "Unreachable"), "Error")] * 2,
        ]
        assert seen[-1][0] == ("True", "Succeeded")
        assert [event.reason for event in cluster.events] == ["Unreachable", "Recovered"]
        told = [one.getMessage().partition(",")[0] for one in caplog.records if "message=" in one.getMessage()]
        assert told == ["Unreachable", "Recovered"], "the log tells the edges, too, and only those"

    play(story)


def test_a_delay_is_no_error_and_is_kept_in_the_status() -> None:
    async def story() -> None:
        cluster = Cluster(act=failing(Delay("NoConnection", "the uplink is down", seconds=120)))
        await live(cluster.open(), cluster.services(), 100)
        assert len(cluster.turns) == 1
        assert cluster.status["runCount"] == 0
        assert cluster.status["phase"] == "Waiting"
        assert cluster.status["nextRunTime"] == "2026-01-01T00:02:00Z"
        await live(cluster.open(cluster.status), cluster.services(), 30)
        assert len(cluster.turns) == 2

    play(story)


def test_a_turn_may_ask_for_its_own_pause() -> None:
    async def story() -> None:
        cluster = Cluster(act=lasting(0, Outcome(next_delay=90)))
        await live(cluster.open(), cluster.services(), 80)
        assert cluster.status["effectiveInterval"] == "1m30s"
        await live(cluster.open(cluster.status), cluster.services(), 15)
        assert [round(at) for at, _ in cluster.turns] == [0, 91]

    play(story)


def test_a_long_turn_is_shown_after_five_seconds_and_a_new_spec_answered_in_the_middle() -> None:
    async def story() -> None:
        cluster = Cluster(act=lasting(60))
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 62))
        await asyncio.sleep(5.1)
        assert cluster.status["phase"] == "Running"
        assert len(cluster.statuses) == 1
        check_conditions(cluster.status, generation=1)
        await asyncio.sleep(20)
        assert len(cluster.statuses) == 1
        changed = services.clock.monotonic()
        cluster.change(loop, subject(2, interval="20s"))
        await asyncio.sleep(5)
        check_conditions(cluster.status, generation=2)
        assert cluster.statuses[-1][0] - changed < 5
        assert ready(cluster.status) == ("Unknown", "Progressing")
        await asyncio.sleep(5)
        cluster.change(loop, subject(3, suspend=True))
        await asyncio.sleep(1)
        check_conditions(cluster.status, generation=3, suspended=True)
        await task
        assert cluster.status["runCount"] == 1
        check_conditions(cluster.status, generation=3, suspended=True)
        assert len(cluster.turns) == 1

    play(story)


def test_a_turn_of_an_old_generation_counts_but_says_nothing_of_the_new_one() -> None:
    async def story() -> None:
        cluster = Cluster(act=lasting(3))
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 7))
        await asyncio.sleep(1)
        cluster.change(loop, subject(2))
        await asyncio.sleep(2.1)
        assert ready(cluster.status) == ("Unknown", "Progressing")
        assert cluster.status["runCount"] == 1
        assert [round(at) for at, _ in cluster.turns] == [0, 3]
        await task
        assert ready(cluster.status) == ("True", "Succeeded")

    play(story)


def test_a_timeout_cancels_the_turn_and_keeps_what_it_reported() -> None:
    async def story() -> None:
        async def act(turn_: Turn) -> Outcome:
            turn_.report(Outcome(block={"did": 1}, notes=(Note("Half", "Done", "so far"),)))
            await asyncio.sleep(100)
            return Outcome()

        cluster = Cluster(now=subject(timeout="7s"), act=act)
        await live(cluster.open(), cluster.services(), 10)
        assert cluster.status["timeoutCount"] == 1
        assert cluster.status["history"][0]["result"] == "TimedOut"
        assert cluster.status["did"] == 1
        assert [one["type"] for one in cluster.status["conditions"]] == ["Ready", "Half", "Reconciling"]
        assert [event.reason for event in cluster.events] == ["TimedOut"]

    play(story)


def test_a_body_that_ignores_its_cancellation_is_left_behind_and_built_anew(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async def act(_: Turn) -> Outcome:
            for _try in range(3):
                try:
                    await asyncio.sleep(30)
                except asyncio.CancelledError:
                    continue
            return Outcome()

        cluster = Cluster(now=subject(timeout="2s"), act=act)
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 70))
        await asyncio.sleep(13)
        assert cluster.status["timeoutCount"] == 1
        await asyncio.sleep(10)
        assert cluster.built == [1, 1]
        await task

    play(story)
    assert "left behind" in caplog.text


@pytest.mark.parametrize("error", [ValueError("secret value"), KeyError("x"), asyncio.CancelledError()])
def test_a_defect_is_shown_by_its_type_only(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster = Cluster(act=failing(error))  # type: ignore[arg-type]
        await live(cluster.open(), cluster.services(), 1)
        assert ready(cluster.status) == ("False", "InternalError")
        assert "secret value" not in str(cluster.status)

    play(story)
    assert "unexpected error" in caplog.text


def test_a_body_that_returns_nonsense_is_a_defect(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster = Cluster(act=lasting(0, "nonsense"))  # type: ignore[arg-type]
        await live(cluster.open(), cluster.services(), 1)
        assert ready(cluster.status) == ("False", "InternalError")

    play(story)
    assert "TypeError" in caplog.text


def test_a_process_that_cannot_trust_its_state_hears_of_it() -> None:
    async def story() -> None:
        cluster = Cluster(act=failing(StateError("the store is damaged")))
        services = cluster.services()
        with pytest.raises(StateError):
            await turn(cluster.open(), services)
        assert services.slots.free == 10
        assert cluster.statuses == []

    play(story)


@pytest.mark.parametrize(
    "now",
    [None, subject(2), subject(suspend=True), newer(subject(), deleting=True), newer(subject(), spec=None)],
    ids=["gone", "changed", "suspended", "deleting", "damaged"],
)
def test_a_fenced_turn_counts_as_nothing(now: Any) -> None:
    async def story() -> None:
        async def act(turn_: Turn) -> Outcome:
            cluster.now = now
            cluster.act = None
            await turn_.fence()
            raise AssertionError("the fence let it through")

        cluster = Cluster(act=act)
        loop, services = cluster.open(), cluster.services()
        await live(loop, services, 3)
        counted = cluster.status["runCount"] if cluster.statuses else 0
        assert counted == (1 if now is not None and now.generation == 2 else 0)

    play(story)


def test_the_fence_lets_an_unchanged_object_through() -> None:
    async def story() -> None:
        async def act(turn_: Turn) -> Outcome:
            await turn_.fence()
            return Outcome(message="acted")

        cluster = Cluster(act=act)
        await live(cluster.open(), cluster.services(), 1)
        assert cluster.status["message"] == "acted"

    play(story)


def test_a_fence_that_always_refuses_does_not_spin() -> None:
    async def story() -> None:
        cluster = Cluster(act=failing(Fenced("no")))
        await live(cluster.open(), cluster.services(), 30)
        assert 20 <= len(cluster.turns) <= 32

    play(story)


def test_a_failed_write_is_kept_and_goes_with_the_next_turn() -> None:
    async def story() -> None:
        cluster = Cluster(faults=[WriteFailed("refused with 422"), WriteFailed("refused"), 8.0])
        await live(cluster.open(), cluster.services(), 60)
        assert cluster.status["runCount"] == len(cluster.turns)
        assert len(cluster.turns) >= 5

    play(story)


def test_an_answer_that_could_not_be_written_is_tried_again_without_a_turn() -> None:
    async def story() -> None:
        cluster = Cluster(now=subject(suspend=True), faults=[WriteFailed("away")] * 3)
        await live(cluster.open(), cluster.services(), 60)
        check_conditions(cluster.status, generation=1, suspended=True)
        assert cluster.turns == []

    play(story)


def test_a_write_that_finds_the_object_gone_ends_the_loop() -> None:
    async def story() -> None:
        cluster = Cluster(faults=[WriteFailed("gone", gone=True)])
        loop, services = cluster.open(), cluster.services()
        await keep_turning(loop, services)
        assert loop.leaving is Leaving.GONE
        assert cluster.closed == [False]  # nobody saw it deleted: its durable memory stays
        assert len(cluster.turns) == 1

    play(story)


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_deletion_in_mid_turn_ends_within_20_seconds(stubborn: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async def act(_: Turn) -> Outcome:
            for _try in range(100):
                try:
                    await asyncio.sleep(100)
                except asyncio.CancelledError:
                    if not stubborn:
                        raise
            return Outcome()

        cluster = Cluster(act=act)
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(keep_turning(loop, services))
        await asyncio.sleep(1)
        asked = services.clock.monotonic()
        cluster.change(loop, newer(cluster.now, deleting=True))
        await task
        took = services.clock.monotonic() - asked
        assert took < (20 if stubborn else 5.1)
        assert loop.leaving is Leaving.DELETED
        assert services.slots.free == 10

    play(story)


def test_a_turn_that_ends_soon_after_a_stop_is_written_and_a_longer_one_is_cut() -> None:
    async def story() -> None:
        for seconds, runs in ((3.0, 1), (30.0, 0)):
            cluster = Cluster(act=lasting(seconds))
            loop, services = cluster.open(), cluster.services()
            task = asyncio.create_task(keep_turning(loop, services))
            await asyncio.sleep(1)
            loop.leave(Leaving.EXITING, services.clock.monotonic(), 9.0)
            asked = services.clock.monotonic()
            await task
            assert services.clock.monotonic() - asked < 5
            assert cluster.status["runCount"] == runs
            assert cluster.status["phase"] != "Running"
            assert cluster.closed == [False]

    play(story)


def test_what_a_stop_cannot_write_is_logged_with_its_content(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        cluster = Cluster(act=lasting(3), faults=[8.0] * 9)
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(keep_turning(loop, services))
        await asyncio.sleep(1)
        asked = services.clock.monotonic()
        loop.leave(Leaving.EXITING, asked, 9.0)
        await task
        assert services.clock.monotonic() - asked < 9

    with caplog.at_level(logging.ERROR):
        play(story)
    assert "could not be written" in caplog.text
    assert '"runCount": 1' in caplog.text


def test_a_cut_turn_keeps_what_it_reported_and_posts_its_events() -> None:
    async def story() -> None:
        async def act(turn_: Turn) -> Outcome:
            turn_.report(Outcome(block={"did": 2}, events=(Event("Removed", "one torrent"),)))
            await asyncio.sleep(100)
            return Outcome()

        cluster = Cluster(act=act)
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(keep_turning(loop, services))
        await asyncio.sleep(1)
        loop.leave(Leaving.EXITING, services.clock.monotonic(), 9.0)
        await task
        assert cluster.status["did"] == 2
        assert cluster.status["runCount"] == 0
        assert [event.reason for event in cluster.events] == ["Removed"]

    play(story)


def test_loops_share_slots_and_those_who_wait_are_answered_in_time() -> None:
    async def story() -> None:
        first, second = Cluster(act=lasting(30)), Cluster(act=lasting(1))
        slots = Slots(1, first.clock.monotonic)
        tasks = [asyncio.create_task(live(cluster.open(), cluster.services(slots), 35)) for cluster in (first, second)]
        await asyncio.sleep(4.5)
        assert second.turns == []
        check_conditions(second.status, generation=1)
        await asyncio.gather(*tasks)
        assert [round(at) for at, _ in second.turns] == [30]
        assert slots.free == 1

    play(story)


def test_a_spec_that_cannot_be_read_stalls_and_an_edit_helps() -> None:
    async def story() -> None:
        cluster = Cluster(now=newer(subject(), spec=None, invalid="spec.interval: write it like 30s"))
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 30))
        await asyncio.sleep(0.1)
        assert ready(cluster.status) == ("False", "InvalidSpec")
        check_conditions(cluster.status, generation=1)
        cluster.change(loop, subject(2))
        await task
        assert ready(cluster.status) == ("True", "Succeeded")

    play(story)


def test_overdue_loops_are_spread_after_a_restart() -> None:
    async def story() -> None:
        cluster = Cluster(now=subject(interval="10s", jitterPercent=50))
        await live(cluster.open(), cluster.services(), 1)
        stored = cluster.status
        await asyncio.sleep(100)
        before = cluster.clock.monotonic()
        loop = cluster.open(stored)
        await live(loop, cluster.services(), 6)
        assert cluster.turns[1][0] - before == pytest.approx(5 * loop.spread, abs=0.01)

    play(story)


def test_a_clock_that_is_set_back_does_not_hold_a_loop() -> None:
    async def story() -> None:
        cluster = Cluster()
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 700))
        await asyncio.sleep(1)
        cluster.clock.shift = START - START.replace(hour=3)
        await task
        assert len(cluster.turns) > 30

    play(story)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"suspend": True}, "suspended"),
        ({"interval": "20s"}, "new spec"),
    ],
)
def test_a_turn_in_the_middle_of_its_work_hears_that_it_lost_its_right(change: dict[str, Any], word: str) -> None:
    async def story() -> None:
        heard: list[str] = []

        async def act(running: Turn) -> Outcome:
            heard.append(running.lost())
            await asyncio.sleep(2)
            heard.append(running.lost())
            return Outcome()

        cluster = Cluster(act=act)
        loop, services = cluster.open(), cluster.services()
        task = asyncio.create_task(live(loop, services, 3))
        await asyncio.sleep(1)
        cluster.change(loop, subject(2, **change))
        await task
        assert heard[0] == ""
        assert word in heard[1]

    play(story)


def test_a_body_that_was_given_up_has_no_right_any_more() -> None:
    async def story() -> None:
        kept: list[Turn] = []

        async def act(running: Turn) -> Outcome:
            kept.append(running)
            return Outcome()

        cluster = Cluster(act=act)
        loop, services = cluster.open(), cluster.services()
        await live(loop, services, 1)
        assert "given up" in kept[0].lost()
        with pytest.raises(Fenced):
            await kept[0].fence()

    play(story)
