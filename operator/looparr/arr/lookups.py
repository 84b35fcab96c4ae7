"""Looking torrents up: what only a call for a single one can tell. A few a turn, whoever was asked longest ago first.

A torrent that cannot be looked up stays unsettled and the others go on; the turn fails all the same, so that people see
it. It has its next chance after all others, or a few such torrents would take all the look-ups of every turn.
"""

from __future__ import annotations

from collections.abc import Callable

from looparr.arr.sight import look_up
from looparr.arr.survey import Surveyor
from looparr.clients.failures import ONE_ONLY
from looparr.errors import LoopError

LOOK_UPS = 20
"""Look-ups of one turn, over all its clients."""


async def look_up_wanted(surveyor: Surveyor, monotonic: Callable[[], float]) -> LoopError | None:
    """Look up what the survey wants to know, and examine those torrents again. Gives the first failure.

    A client whose call fails for another reason than that one torrent is not asked again in this turn.
    """
    memory, survey = surveyor.memory, surveyor.survey
    wanted, survey.wanted = survey.wanted, {}
    memory.unsettled |= wanted.keys()
    failure: LoopError | None = None
    silent: set[str] = set()
    asked = 0
    for one in sorted(wanted.values(), key=lambda one: one.one.asked_at):
        view, tracked = one.view, one.one
        if view.link.name in silent or tracked.key not in memory.tracked or tracked.facts.known:
            continue
        if asked == LOOK_UPS:
            break
        asked += 1
        tracked.asked_at = monotonic()
        try:
            memory.learn(tracked, await look_up(view.link.client, one.torrent))
        except LoopError as error:
            failure = failure or error
            if error.reason not in ONE_ONLY:
                silent.add(view.link.name)
            continue
        surveyor.examine(view, one.torrent)
    return failure
