"""Judging again, just before something is sent: does the case still stand on values read a moment ago? Pure.

Between the look of a turn and its deed a person may have stopped, protected, moved or re-added a torrent, and it may
have made progress. Nobody's data is deleted on what was true a while ago.
"""

from __future__ import annotations

from dataclasses import replace

from looparr.arr import gates
from looparr.arr.classify import Known, classify
from looparr.arr.fetch import Observation
from looparr.arr.health import Finding
from looparr.arr.plan import Case, Situation, refusal
from looparr.arr.rules import in_condition, min_progress, passes_filters
from looparr.arr.spec import ArrSpec
from looparr.arr.tracked import Tracked
from looparr.arr.views import View
from looparr.clients.qbittorrent.wire import Torrent


def judge(case: Case, torrent: Torrent | None, one: Tracked, view: View, situation: Situation) -> tuple[Case, str]:
    """Give the case on fresh values, and why it does not stand any more ("" when it does).

    torrent: what the client says now, None when it is not there. one: what is remembered of it.
    """
    if torrent is None or torrent.added_on != case.key.added_on:
        return case, "GoneByOther: it left the client before we acted"
    goal = gates.goal_for(torrent, one.facts, situation.spec) if case.goal is not None else None
    if goal != case.goal:
        found = f"now {goal.name} applies" if goal is not None else "it does not apply any more, and no other does"
        return case, f"GoalChanged: goal {case.asked_by} asked for it, and {found}"
    seeding_time = float(torrent.seeding_time)
    met = goal is not None and gates.goal_met(torrent, goal, seeding_time)
    known = Known(nudged=one.nudged, guarded=bool(one.guarded), goal_met=met)
    again = replace(
        case,
        torrent=torrent,
        state=classify(torrent, case.download, known),
        facts=one.facts,
        seeding_time=seeding_time,
        finding=case.finding and _found_again(case.finding, torrent, one, view, situation.spec),
    )
    return again, refusal(again, replace(situation, busy=situation.busy - {again.key}))


def _found_again(finding: Finding, torrent: Torrent, one: Tracked, view: View, spec: ArrSpec) -> Finding:
    """Look whether a rule still matches the fresh torrent, and whether it made progress meanwhile."""
    age = None if view.server_time is None else view.server_time - torrent.added_on
    moved = torrent.completed >= one.mark + min_progress(spec, torrent.size)
    stands = in_condition(finding.rule, torrent) and passes_filters(finding.rule, torrent, one.facts, age=age)
    return replace(finding, ripe=finding.ripe and stands and not moved)


def keeps_data(case: Case, observation: Observation) -> bool:
    """Whether the data stays when the torrent goes: the goal says so, another shares it, or a library holds it.

    Another torrent of any client, for two may have one disk; of a client that is down what it had counts.
    """
    told = case.goal is not None and not case.goal.delete_data
    lists = [view.snapshot.torrents for view in observation.views.values()]
    for one in observation.down.values():
        if one.last is None:
            return True  # nobody knows what it has
        lists.append(one.last)
    shared = any(gates.shares_data(case.torrent, torrents.values()) for torrents in lists)
    return told or shared or gates.inside_root_folder(case.torrent, observation.roots)
