"""Saying why nothing is done: once for each torrent, rule and reason, in the action log and as an Event."""

from __future__ import annotations

from looparr.arr.memory import Memory
from looparr.arr.plan import Case, Plan
from looparr.arr.survey import Survey
from looparr.engine.types import Event
from looparr.store.rows import ActionRow


def held_back(memory: Memory, survey: Survey, plan: Plan, now: float) -> list[Event]:
    """Report each case that waits, and keep its newest reason for people."""
    events = []
    for key, reason in plan.held.items():
        case, one = survey.cases[key], memory.tracked[key]
        word = reason.partition(":")[0]
        if one.why.partition(":")[0] != word:
            memory.add_total("heldBack")
        one.why = reason
        one.next_action = f"{case.act} by {case.asked_by}, once nothing holds it back"
        mark = f"{case.asked_by}/{word}"
        if mark not in one.reported:
            one.reported |= {mark}
            memory.dirty.add(key)
            memory.log(_row(case, reason, now))
            events.append(Event(f"{case.act}HeldBack", f"{one.name}: {case.why}. {reason}."[:1000]))
    return events


def _row(case: Case, reason: str, now: float) -> ActionRow:
    grab = case.download.grab
    return ActionRow(
        at=now,
        endpoint="",
        client=case.key.client,
        hash=case.key.hash,
        name=case.torrent.name,
        items=tuple(sorted(grab.items)) if grab else (),
        action="Report",
        rule=case.asked_by,
        reason=f"{case.why}. {reason}",
        result="Observed",
        cost=0,
    )
