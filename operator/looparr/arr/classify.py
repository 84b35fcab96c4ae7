"""Phase 2: whose is each torrent, and which state is it in? Pure.

Level-triggered: a state follows from what client and Arr say now. While a removal is under way its phase is the state.
"""

from __future__ import annotations

from dataclasses import dataclass

from looparr.arr.history import Download
from looparr.arr.intents import Phase
from looparr.arr.states import Activity, State, client_state
from looparr.clients.qbittorrent.wire import Torrent

_INTENT_STATES = {
    Phase.REMOVED: State.BLOCKLISTED,
    Phase.SEARCH: State.RE_SEARCHING,
}
_ACTIVITY_STATES = {
    Activity.METADATA: State.DETECTED,
    Activity.QUEUED: State.QUEUED,
    Activity.BUSY: State.BUSY,
    Activity.DOWNLOADING: State.DOWNLOADING,
    Activity.STALLED: State.STALLED,
    Activity.STOPPED: State.HELD,
    Activity.MISSING: State.MISSING,
    Activity.ERROR: State.ERRORED,
}
_INCOMPLETE = frozenset({State.DETECTED, State.QUEUED, State.DOWNLOADING, State.STALLED})


@dataclass(frozen=True, slots=True)
class Known:
    """What we add to what client and Arr say.

    nudged: we told the Arr of its completion. importing: the Arr's queue says that the import has begun. guarded: held
    by the loop guard. goal_met: a seeding goal is met.
    """

    nudged: bool = False
    importing: bool = False
    guarded: bool = False
    goal_met: bool = False


def intent_state(phase: Phase) -> State:
    """Give the state that an open intent puts its torrent into."""
    return _INTENT_STATES.get(phase, State.FAILED)


def classify(torrent: Torrent, download: Download | None, known: Known) -> State:
    """Give the state of one torrent that the client shows.

    download: what the Arr's history says of it; without a grab it is not ours.
    """
    if download is None or download.grab is None:
        return State.UNOWNED
    if download.is_ignored():
        return State.HELD
    activity, _ = client_state(torrent.state)
    if activity in {Activity.DONE, Activity.DONE_STOPPED}:
        return _done(torrent, download, known, stopped=activity is Activity.DONE_STOPPED)
    state = _ACTIVITY_STATES[activity]
    if state not in _INCOMPLETE:
        return state
    if torrent.progress >= 1:
        return State.BUSY  # complete, and the client does not say so yet
    return State.HELD if known.guarded else state


def _done(torrent: Torrent, download: Download, known: Known, *, stopped: bool) -> State:
    if torrent.progress < 1:
        return State.BUSY
    if is_imported(download):
        if stopped:
            return State.IMPORTED
        return State.SEED_GOAL_MET if known.goal_met else State.SEEDING
    if download.grab is not None and download.missing_imports() != download.grab.items:
        return State.PARTLY_IMPORTED
    return State.IMPORTING if known.nudged or known.importing else State.COMPLETED


def is_imported(download: Download | None) -> bool:
    """Whether every item of the grab has an import event with this downloadId, newer than the grab."""
    return bool(download and download.grab and download.grab.items and not download.missing_imports())
