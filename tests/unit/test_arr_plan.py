"""Why a torrent is removed or not: order, budgets, holds, and the reason that people read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_models import NOW, PUBLIC, after, case, download, grab, rule, seeding, spec, torrent
from looparr.arr.gates import Removed
from looparr.arr.health import Finding
from looparr.arr.history import Download, Moment
from looparr.arr.intents import Act, Intent, Phase
from looparr.arr.limits import DAY, Charge
from looparr.arr.plan import Case, Situation, decide, intent_of, planned, refusal
from looparr.arr.spec import ArrSpec, SeedGoal
from looparr.arr.states import State
from looparr.arr.tracked import Key

GOAL = SeedGoal.model_validate({"name": "enough", "ratio": "1.0"})
ROOMY = {"limits": {"perTurn": 100, "perHour": 100, "perDay": 100}}
SIZE = 1000 << 20


def situation(of: ArrSpec | None = None, **fields: Any) -> Situation:
    return Situation(**{"spec": of or spec(), "now": NOW, "warmup_until": 0.0, **fields})


def seeded(**fields: Any) -> Case:
    """A public torrent that was imported and has seeded enough."""
    told: dict[str, Any] = {
        "torrent": seeding(uploaded=SIZE),
        "state": State.SEED_GOAL_MET,
        "download": download(imported=(1,)),
        "goal": GOAL,
    }
    return case(**told | fields)


def many(count: int, make: Any = case, client: str = "main") -> list[Case]:
    """Cases of different torrents and items."""
    found = []
    for number in range(count):
        one = make(torrent=torrent(hash=f"{number:040x}"), download=download(number + 1))
        found.append(replace(one, key=replace_client(one.key, client)))
    return found


def replace_client(key: Key, client: str) -> Key:
    return Key(client, key.hash, key.added_on)


def test_what_stands_is_removed() -> None:
    plan = decide([case()], situation())
    assert plan
    assert [one.act for one in plan.removals] == [Act.REPLACE]
    assert plan.held == {}
    assert plan.removals[0].asked_by == "mine"
    assert plan.removals[0].why == "Stalled for 45m, strike 3 of 3 of rule mine"


def test_what_has_seeded_enough_is_removed() -> None:
    plan = decide([seeded()], situation())
    assert [one.act for one in plan.removals] == [Act.DELETE]
    assert plan.removals[0].why == "seeding goal enough is met (ratio 1.00, seeded for 0s, imported)"


RIPE = Finding(rule(), 2700.0, 3, ripe=True)
NOT_RIPE = replace(RIPE, ripe=False)


@pytest.mark.parametrize(
    ("one", "word"),
    [
        (case(hold_until=NOW + 1), "GivenUp"),
        (case(download=Download()), "Unowned"),
        (case(finding=NOT_RIPE), "Recovered"),
        *[(case(state=state), "Recovered") for state in State if state not in {"Detected", "Downloading", "Stalled"}],
        (case(finding=replace(RIPE, rule=rule(action="Report"))), "Report"),
        (case(download=Download(grab(source="interactivesearch"))), "Interactive"),
        (case(download=Download(grab(source=""))), "Interactive"),
        (case(torrent=torrent(tags=frozenset({"looparr-ignore"}))), "Protected"),
        (case(facts=replace(PUBLIC, private=True)), "Private"),
        (seeded(torrent=seeding(uploaded=SIZE, state="stoppedUP")), "Stopped"),
        (seeded(torrent=seeding(uploaded=SIZE, state="checkingUP")), "Stopped"),
        (seeded(torrent=torrent(uploaded=SIZE)), "Stopped"),
        (seeded(torrent=seeding(uploaded=SIZE, state="forcedUP")), "Forced"),
        (seeded(download=download(1, 2, imported=(1,))), "NotImported"),
        (seeded(download=Download(grab(date=after(120)), imported={1: Moment(after(60), 2)})), "NotImported"),
        (seeded(state=State.HELD), "Recovered"),
        (seeded(torrent=seeding(uploaded=SIZE - 1)), "GoalNotMet"),
        (seeded(facts=replace(PUBLIC, private=None)), "Private"),
    ],
)
def test_each_refusal_has_its_word(one: Case, word: str) -> None:
    assert refusal(one, situation()).startswith(f"{word}: ")
    plan = decide([one], situation())
    assert not plan
    assert plan.held[one.key].startswith(f"{word}: ")


def test_a_rule_may_include_what_a_person_chose() -> None:
    willing = replace(RIPE, rule=rule(when={"grabbedBy": "Any"}))
    for source in ("interactivesearch", "", "somethingnew"):
        assert refusal(case(download=Download(grab(source=source)), finding=willing), situation()) == ""


def test_hit_and_run_holds_a_met_goal() -> None:
    strict = spec(hitAndRun=[{"name": "house", "minRatio": "2.0"}])
    assert refusal(seeded(), situation(strict)).startswith("HitAndRun: policy house")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"of": spec(mode="Observe")}, "Observe: would Replace now"),
        ({"warmup_until": NOW + 1}, "WarmUp: would Replace after the warm-up"),
        ({"holds": ("MassFailure: many", "StoreLost: it was")}, "MassFailure: many"),
        ({"busy": frozenset({case().key})}, "Busy: "),
    ],
)
def test_what_holds_everything_back_holds_each_case(fields: dict[str, Any], word: str) -> None:
    plan = decide([case()], situation(**fields))
    assert not plan
    assert plan.held[case().key].startswith(word)


def test_the_warm_up_ends() -> None:
    assert refusal(case(), situation(warmup_until=NOW)) == ""


def test_a_gate_is_heard_before_a_hold() -> None:
    """Who watches in the warm-up learns what would stop the removal later, too."""
    kept = case(torrent=torrent(tags=frozenset({"looparr-ignore"})))
    assert refusal(kept, situation(spec(mode="Observe"), warmup_until=NOW + 1)).startswith("Protected: ")


def test_what_was_moved_out_of_our_categories_is_left_alone_unless_named() -> None:
    elsewhere = {"main": frozenset({"tv"})}
    assert refusal(case(), situation(categories=elsewhere)).startswith("OtherCategory: ")
    assert refusal(case(), situation(categories={"main": frozenset({"radarr"})})) == ""
    named = replace(RIPE, rule=rule(when={"categories": ["radarr"]}))
    assert refusal(case(finding=named), situation(categories=elsewhere)) == ""


def test_what_was_added_long_after_our_grab_is_somebody_elses() -> None:
    """Another Arr on the same client may have grabbed the same release anew, and not have imported it yet."""
    late = int(NOW + DAY)
    assert refusal(case(torrent=torrent(added_on=late)), situation()) == ""
    for one in (case(torrent=torrent(added_on=late + 1)), seeded(torrent=seeding(uploaded=SIZE, added_on=late + 1))):
        assert refusal(one, situation()).startswith("Unowned: it was added more than a day after")


def test_what_another_operator_marked_as_its_own_is_left_to_it() -> None:
    marked = case(torrent=torrent(tags=frozenset({"looparr-owner-home"})))
    assert refusal(marked, situation()).startswith("OwnershipConflict: ")
    assert refusal(marked, situation(owner_tag="looparr-owner-work")).startswith("OwnershipConflict: ")
    assert refusal(marked, situation(owner_tag="looparr-owner-home")) == ""


def test_what_lost_the_tags_that_its_client_is_limited_to_is_left_alone() -> None:
    ours = {"main": frozenset({"loop", "four"})}
    assert refusal(case(), situation(tags=ours)).startswith("OtherTag: ")
    assert refusal(case(torrent=torrent(tags=frozenset({"loop", "mine"}))), situation(tags=ours)) == ""
    assert refusal(case(), situation(tags={"main": frozenset()})) == "", "whatever they are"


# --- budgets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "spent", "allowed"),
    [
        ({}, [], 3),
        ({"perTurn": 5, "perHour": 5}, [], 5),
        ({"perTurn": 2}, [], 2),
        ({"perTurn": 0}, [], 0),
        ({}, [Charge(NOW - 60)], 2),
        ({}, [Charge(NOW - 60)] * 3, 0),
        ({"perTurn": 9, "perHour": 9, "perDay": 10}, [Charge(NOW - 7200)] * 8, 2),
    ],
)
def test_what_exceeds_the_limits_waits(limits: dict[str, int], spent: list[Charge], allowed: int) -> None:
    plan = decide(many(7), situation(spec(limits=limits), charges={"main": spent}))
    assert len(plan.removals) == allowed
    assert len(plan.held) == 7 - allowed
    assert all(reason.startswith("Limits: ") for reason in plan.held.values())


def begun(*ids: str, client: str = "main", phase: Phase = Phase.PLANNED) -> list[Intent]:
    return [Intent(id_, Act.REPLACE, client, id_, 1, id_, id_, (1,), "r", "why", NOW, phase=phase) for id_ in ids]


def test_what_was_planned_and_never_sent_goes_before_anything_new_of_a_turn() -> None:
    """A process died between planning three and sending them: its successor sends those three and no others."""
    roomy = spec(limits={"perTurn": 3, "perHour": 50, "perDay": 50})
    left = planned([*begun("a", "b"), *begun("c", client="other"), *begun("d", phase=Phase.SENT)])
    assert left == {"main": 2, "other": 1}
    plan = decide([*many(7), *many(7, client="other")], situation(roomy, planned=left))
    assert sorted(one.key.client for one in plan.removals) == ["main", "other", "other"]


def test_an_intent_says_what_is_done_to_whom_and_what_the_arr_showed_before() -> None:
    one = case(download=download(1, failed=after(5)))
    made = intent_of(one, [1, 2], {"1": "x"}, id_="i", endpoint="qb:8080", now=NOW, delete_data=False)
    assert (made.id, made.act, made.endpoint, made.items) == ("i", Act.REPLACE, "qb:8080", (1, 2))
    assert (made.client, made.hash, made.added_on) == tuple(one.key)
    assert (made.rule, made.reason, made.created, made.since, made.phase) == (
        one.asked_by,
        one.why,
        NOW,
        NOW,
        "Planned",
    )
    assert (made.failed_before, made.searched_before, made.delete_data) == (after(5).isoformat(), {"1": "x"}, False)
    assert made.download_id == one.download.grab.download_id  # type: ignore[union-attr]


def test_limits_are_counted_for_each_client() -> None:
    plan = decide([*many(4), *many(4, client="other")], situation(charges={"other": [Charge(NOW - 60)]}))
    assert sorted(one.key.client for one in plan.removals) == ["main"] * 3 + ["other"] * 2


def test_the_cooldown_after_a_blocklist_holds_replacements_only() -> None:
    plan = decide([case(), seeded(torrent=seeding(hash="b" * 40, uploaded=SIZE))], situation(last_blocklist=NOW - 119))
    assert [one.act for one in plan.removals] == [Act.DELETE]
    assert next(iter(plan.held.values())).startswith("Cooldown: ")
    assert decide([case()], situation(last_blocklist=NOW - 120))


def test_the_third_removal_of_an_item_is_held_even_within_one_turn() -> None:
    three = [replace(one, download=download(7)) for one in many(3)]
    plan = decide(three, situation(spec(**ROOMY)))
    assert len(plan.removals) == 2
    assert [reason.partition(":")[0] for reason in plan.held.values()] == ["LoopGuard"]
    earlier = (Removed(NOW - 60, "c" * 40, frozenset({7}), "x", "y"),)
    assert len(decide(three, situation(spec(**ROOMY), removed=earlier)).removals) == 1


def test_what_has_seeded_enough_is_no_failure_of_its_item() -> None:
    earlier = tuple(Removed(NOW - 60, "c" * 40, frozenset({1}), "x", "y") for _ in range(5))
    assert refusal(seeded(), situation(removed=earlier)) == ""


def test_completed_ones_come_first_then_by_eta_then_by_age() -> None:
    def stalled(hash_: str, eta: int, added_on: int) -> Case:
        return case(torrent=torrent(hash=hash_ * 40, eta=eta, added_on=added_on), download=download(int(hash_, 16)))

    cases = [
        stalled("3", 8_640_000, 5),
        stalled("2", 60, 9),
        stalled("1", 60, 3),
        seeded(torrent=seeding(hash="4" * 40, uploaded=SIZE)),
        stalled("5", 8_640_000, 4),
    ]
    plan = decide(cases, situation(spec(**ROOMY)))
    assert [one.key.hash[0] for one in plan.removals] == ["4", "1", "2", "5", "3"]


ANY_CASE = st.builds(
    case,
    torrent=st.builds(
        torrent,
        hash=st.integers(0, 30).map(lambda number: f"{number:040x}"),
        eta=st.integers(0, 9),
        tags=st.sampled_from([frozenset(), frozenset({"looparr-ignore"})]),
    ),
    download=st.integers(1, 5).map(download),
    finding=st.sampled_from([RIPE, NOT_RIPE]),
)


@given(
    st.lists(ANY_CASE, max_size=20, unique_by=lambda one: one.key),
    st.integers(0, 4),
    st.lists(st.floats(NOW - 7200, NOW), max_size=4),
)
def test_every_case_is_either_removed_or_held_for_a_reason(cases: list[Case], per_hour: int, sent: list[float]) -> None:
    limited = spec(limits={"perTurn": per_hour, "perHour": per_hour, "perDay": 10})
    now = situation(limited, charges={"main": [Charge(at) for at in sent]})
    plan = decide(cases, now)
    chosen = {one.key for one in plan.removals}
    assert chosen | plan.held.keys() == {one.key for one in cases}
    assert not chosen & plan.held.keys()
    assert all(plan.held.values())
    assert len(chosen) <= max(0, per_hour - sum(1 for at in sent if at > NOW - 3600))
    assert all(refusal(one, now) == "" for one in plan.removals)
