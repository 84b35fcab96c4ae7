"""Judging again just before something is sent: the goal that asked must be the one that applies, and be met."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from arr_models import NOW, PRIVATE, PUBLIC, case, download, seeding, spec
from looparr.arr.judge import judge
from looparr.arr.plan import Situation
from looparr.arr.rules import Facts
from looparr.arr.states import State
from looparr.arr.tracked import Tracked
from looparr.arr.views import View
from looparr.clients.qbittorrent.wire import Torrent

STRICT = {"name": "strict", "trackers": ["private.example.org"], "ratio": "3.0", "deleteData": True}
LAX = {"name": "lax", "ratio": "1.0", "categories": ["radarr"], "deleteData": True}
MET = seeding(uploaded=1100 << 20)
VIEW = cast("View", SimpleNamespace(server_time=NOW))


def verdict(fresh: Torrent, facts: Facts, **fields: Any) -> str:
    """What is said of a torrent that the goal lax asked to remove."""
    wanted = spec(acknowledgeHitAndRun=True, hitAndRun=[], seeding={"goals": [STRICT, LAX]}, **fields)
    assert wanted.seeding is not None
    assert wanted.seeding.goals is not None
    asked = case(torrent=MET, goal=wanted.seeding.goals[1], state=State.SEED_GOAL_MET, download=download(imported=(1,)))
    one = Tracked(asked.key, facts=facts)
    return judge(asked, fresh, one, VIEW, Situation(wanted, NOW, 0.0))[1]


def test_a_goal_that_still_applies_and_is_met_stands() -> None:
    assert verdict(MET, PUBLIC) == ""


@pytest.mark.parametrize(
    ("fresh", "facts", "word"),
    [
        (MET, PRIVATE, "GoalChanged: goal lax asked for it, and now strict applies"),
        (MET, Facts(), "GoalChanged"),
        (seeding(uploaded=1100 << 20, category="elsewhere"), PUBLIC, "GoalChanged"),
        (seeding(uploaded=900 << 20), PUBLIC, "GoalNotMet"),
    ],
)
def test_a_goal_that_does_not_apply_or_is_not_met_deletes_nothing(fresh: Torrent, facts: Facts, word: str) -> None:
    assert verdict(fresh, facts).startswith(word)
