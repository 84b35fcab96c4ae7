"""The states of a torrent, and the one table of what leads from each to the next.

A state is worked out anew from what client and Arr say (classify.py); nothing jumps because an event was missed.
The table below says which steps are normal, what triggers them and what Looparr does about them; every row has a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """What a torrent is to its ArrInstance. Shown in status.torrents and status.attention."""

    DETECTED = "Detected"
    """Seen, no metadata or no data yet."""
    QUEUED = "Queued"
    """The client holds it in its own queue; clocks stand still."""
    DOWNLOADING = "Downloading"
    STALLED = "Stalled"
    HELD = "Held"
    """Stopped by a person, ignored in the Arr, or kept back by the loop guard: never touched."""
    BUSY = "Busy"
    """Checking, moving, allocating or unknown: never touched."""
    COMPLETED = "Completed"
    IMPORTING = "Importing"
    PARTLY_IMPORTED = "PartlyImported"
    """Some items of the grab have no import yet: never deleted as done."""
    IMPORTED = "Imported"
    SEEDING = "Seeding"
    SEED_GOAL_MET = "SeedGoalMet"
    FAILED = "Failed"
    """A removal was begun and is not verified yet."""
    BLOCKLISTED = "Blocklisted"
    """Gone from the client, failed in the Arr's history; its search waits for a turn."""
    RE_SEARCHING = "ReSearching"
    MISSING = "Missing"
    """The client misses its files."""
    ERRORED = "Errored"
    GONE_BY_OTHER = "GoneByOther"
    """Left the client without us: no blocklist, no search."""
    UNOWNED = "Unowned"
    """In our category, but this Arr never grabbed it: reported, never touched."""
    DELETED = "Deleted"


class Activity(StrEnum):
    """What the client says a torrent does, with all of qBittorrent's words sorted into ten."""

    METADATA = "Metadata"
    QUEUED = "Queued"
    BUSY = "Busy"
    DOWNLOADING = "Downloading"
    STALLED = "Stalled"
    STOPPED = "Stopped"
    DONE = "Done"
    DONE_STOPPED = "DoneStopped"
    MISSING = "Missing"
    ERROR = "Error"


class ClientState(NamedTuple):
    """One `state` value of qBittorrent: what it means, and whether the user forced the torrent."""

    activity: Activity
    forced: bool = False


CLIENT_STATES: dict[str, ClientState] = {
    "metaDL": ClientState(Activity.METADATA),
    "forcedMetaDL": ClientState(Activity.METADATA, forced=True),
    "queuedDL": ClientState(Activity.QUEUED),
    "allocating": ClientState(Activity.BUSY),
    "checkingResumeData": ClientState(Activity.BUSY),
    "checkingDL": ClientState(Activity.BUSY),
    "checkingUP": ClientState(Activity.BUSY),
    "moving": ClientState(Activity.BUSY),
    "downloading": ClientState(Activity.DOWNLOADING),
    "forcedDL": ClientState(Activity.DOWNLOADING, forced=True),
    "stalledDL": ClientState(Activity.STALLED),
    "pausedDL": ClientState(Activity.STOPPED),
    "stoppedDL": ClientState(Activity.STOPPED),
    "uploading": ClientState(Activity.DONE),
    "forcedUP": ClientState(Activity.DONE, forced=True),
    "stalledUP": ClientState(Activity.DONE),
    "queuedUP": ClientState(Activity.DONE),
    "pausedUP": ClientState(Activity.DONE_STOPPED),
    "stoppedUP": ClientState(Activity.DONE_STOPPED),
    "missingFiles": ClientState(Activity.MISSING),
    "error": ClientState(Activity.ERROR),
}
"""All `state` values of qBittorrent 4.5 to 5.3. Anything else, `unknown` among them, is Busy: hold, and show it."""

_UNKNOWN = ClientState(Activity.BUSY)


def client_state(word: str) -> ClientState:
    """Sort one of qBittorrent's words; a word that nobody knows is Busy."""
    return CLIENT_STATES.get(word, _UNKNOWN)


@dataclass(frozen=True, slots=True)
class Step:
    """One normal transition: what triggers it, and what Looparr does when it sees it."""

    trigger: str
    action: str = ""


_S = State
TRANSITIONS: dict[tuple[State, State], Step] = {
    (_S.DETECTED, _S.DOWNLOADING): Step("metadata is there and data arrives"),
    (_S.DETECTED, _S.STALLED): Step("metadata is there, no peer sends"),
    (_S.DETECTED, _S.QUEUED): Step("the client's queue is full"),
    (_S.QUEUED, _S.DOWNLOADING): Step("the client's queue lets it go"),
    (_S.DOWNLOADING, _S.STALLED): Step("no peer sends", "start the clocks of the matching rules"),
    (_S.STALLED, _S.DOWNLOADING): Step("a peer sends", "stop the clocks; progress resets them"),
    (_S.DOWNLOADING, _S.HELD): Step("a person stopped it", "leave alone"),
    (_S.STALLED, _S.HELD): Step("a person stopped it", "leave alone"),
    (_S.HELD, _S.DOWNLOADING): Step("a person started it"),
    (_S.DOWNLOADING, _S.BUSY): Step("the client checks or moves it", "leave alone"),
    (_S.BUSY, _S.DOWNLOADING): Step("the client is done with it"),
    (_S.DOWNLOADING, _S.COMPLETED): Step("progress is 1", "one RefreshMonitoredDownloads"),
    (_S.BUSY, _S.COMPLETED): Step("progress is 1 after a check", "one RefreshMonitoredDownloads"),
    (_S.COMPLETED, _S.IMPORTING): Step("the Arr was nudged or has begun"),
    (_S.IMPORTING, _S.PARTLY_IMPORTED): Step("some items of the grab have an import event"),
    (_S.PARTLY_IMPORTED, _S.SEEDING): Step("the last item has one, the client seeds"),
    (_S.IMPORTING, _S.SEEDING): Step("every item has an import event, the client seeds"),
    (_S.IMPORTING, _S.IMPORTED): Step("every item has an import event, the client has stopped it"),
    (_S.SEEDING, _S.SEED_GOAL_MET): Step("a seeding goal is met", "delete once hit-and-run is met, too"),
    (_S.STALLED, _S.FAILED): Step("a Replace rule is ripe and every gate is open", "Arr-first removal"),
    (_S.DETECTED, _S.FAILED): Step("a Replace rule is ripe and every gate is open", "Arr-first removal"),
    (_S.DOWNLOADING, _S.FAILED): Step("a Replace rule is ripe and every gate is open", "Arr-first removal"),
    (_S.SEED_GOAL_MET, _S.FAILED): Step("the deletion was begun", "delete in the client"),
    (_S.FAILED, _S.BLOCKLISTED): Step("gone from the client and failed in the Arr's history"),
    (_S.BLOCKLISTED, _S.RE_SEARCHING): Step("limits and cooldown let the search go", "one search of ours"),
    (_S.RE_SEARCHING, _S.DELETED): Step("the Arr took the search"),
    (_S.FAILED, _S.DELETED): Step("gone from the client, nothing to search"),
    (_S.DOWNLOADING, _S.MISSING): Step("the client misses the files", "report"),
    (_S.SEEDING, _S.MISSING): Step("the client misses the files", "report"),
    (_S.DOWNLOADING, _S.ERRORED): Step("the client reports an error", "report"),
    (_S.DOWNLOADING, _S.GONE_BY_OTHER): Step("absent from two deltas, not by us", "keep its memory 7 days"),
    (_S.SEEDING, _S.GONE_BY_OTHER): Step("absent from two deltas, not by us", "keep its memory 7 days"),
    (_S.UNOWNED, _S.DOWNLOADING): Step("this Arr's grab appeared in its history"),
}
"""Normal steps. A level-triggered loop may skip some (it was down, the client was quick): that is no error."""

DOWNLOADING_STATES = frozenset({_S.DETECTED, _S.DOWNLOADING, _S.STALLED})
"""States in which a rule may match."""

IN_TROUBLE = frozenset({_S.STALLED, _S.FAILED, _S.BLOCKLISTED, _S.RE_SEARCHING, _S.MISSING, _S.ERRORED})
"""States that are shown under status.attention and counted as TROUBLE."""
