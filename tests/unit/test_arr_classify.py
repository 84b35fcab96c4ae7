"""Every word of qBittorrent, every state and every row of the table of transitions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from arr_models import after, download, grab, seeding, torrent
from looparr.arr.classify import Known, classify, intent_state, is_imported
from looparr.arr.history import Download, Moment
from looparr.arr.intents import Phase
from looparr.arr.states import CLIENT_STATES, IN_TROUBLE, TRANSITIONS, Activity, State, client_state

GRABBED = download(1, 2)
PARTLY = download(1, 2, imported=(1,))
IMPORTED = download(1, 2, imported=(1, 2))
IGNORED = download(1, 2, ignored=after(60))
NOTHING = Known()

INCOMPLETE = {
    "metaDL": State.DETECTED,
    "forcedMetaDL": State.DETECTED,
    "queuedDL": State.QUEUED,
    "downloading": State.DOWNLOADING,
    "forcedDL": State.DOWNLOADING,
    "stalledDL": State.STALLED,
}
OTHERS = {
    "allocating": State.BUSY,
    "checkingResumeData": State.BUSY,
    "checkingDL": State.BUSY,
    "checkingUP": State.BUSY,
    "moving": State.BUSY,
    "pausedDL": State.HELD,
    "stoppedDL": State.HELD,
    "missingFiles": State.MISSING,
    "error": State.ERRORED,
    "unknown": State.BUSY,
    "aWordOfTheNextRelease": State.BUSY,
    "": State.BUSY,
}
DONE = ("uploading", "forcedUP", "stalledUP", "queuedUP")
DONE_STOPPED = ("pausedUP", "stoppedUP")


def test_the_table_of_words_is_the_whole_of_what_is_tested_here() -> None:
    assert {*INCOMPLETE, *OTHERS, *DONE, *DONE_STOPPED} >= set(CLIENT_STATES)
    assert {one.activity for one in CLIENT_STATES.values()} == set(Activity)


@pytest.mark.parametrize(("word", "state"), [*INCOMPLETE.items(), *OTHERS.items()])
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("history", [GRABBED, PARTLY, IMPORTED], ids=["grabbed", "partly", "imported"])
def test_while_it_downloads_the_client_says_the_state(
    word: str, state: State, progress: float, history: Download
) -> None:
    assert classify(torrent(state=word, progress=progress), history, NOTHING) is state


@pytest.mark.parametrize("word", INCOMPLETE)
def test_a_complete_torrent_whose_state_says_otherwise_is_not_touched(word: str) -> None:
    assert classify(torrent(state=word, progress=1.0), GRABBED, NOTHING) is State.BUSY


@pytest.mark.parametrize("word", [*DONE, *DONE_STOPPED])
@pytest.mark.parametrize(
    ("history", "known", "running", "stopped"),
    [
        (GRABBED, Known(), State.COMPLETED, State.COMPLETED),
        (GRABBED, Known(nudged=True), State.IMPORTING, State.IMPORTING),
        (GRABBED, Known(importing=True), State.IMPORTING, State.IMPORTING),
        (GRABBED, Known(goal_met=True), State.COMPLETED, State.COMPLETED),
        (PARTLY, Known(goal_met=True), State.PARTLY_IMPORTED, State.PARTLY_IMPORTED),
        (IMPORTED, Known(), State.SEEDING, State.IMPORTED),
        (IMPORTED, Known(goal_met=True), State.SEED_GOAL_MET, State.IMPORTED),
        (IGNORED, Known(goal_met=True), State.HELD, State.HELD),
        (download(1, imported=(1,), ignored=after(90)), Known(goal_met=True), State.HELD, State.HELD),
    ],
)
def test_complete_is_what_the_history_says(
    word: str, history: Download, known: Known, running: State, stopped: State
) -> None:
    expected = stopped if word in DONE_STOPPED else running
    assert classify(seeding(state=word), history, known) is expected
    assert classify(seeding(state=word, progress=0.99), history, known) is (
        State.HELD if history.is_ignored() else State.BUSY
    )


@pytest.mark.parametrize("word", [*CLIENT_STATES, "unknown"])
@pytest.mark.parametrize("history", [None, Download(), Download(imported={1: Moment(after(1), 2)}, failed=after(2))])
def test_without_a_grab_nothing_is_ours(word: str, history: Download | None) -> None:
    everything = Known(nudged=True, importing=True, guarded=True, goal_met=True)
    assert classify(torrent(state=word), history, everything) is State.UNOWNED


@pytest.mark.parametrize("word", CLIENT_STATES)
def test_what_a_person_ignored_in_the_arr_is_held_for_ever(word: str) -> None:
    assert classify(torrent(state=word), IGNORED, NOTHING) is State.HELD


def test_ignored_before_the_grab_does_not_count() -> None:
    assert classify(torrent(), download(ignored=after(-1)), NOTHING) is State.STALLED


@pytest.mark.parametrize("word", INCOMPLETE)
def test_the_loop_guard_holds_what_downloads(word: str) -> None:
    assert classify(torrent(state=word), GRABBED, Known(guarded=True)) is State.HELD


@pytest.mark.parametrize(("word", "state"), [("error", State.ERRORED), ("moving", State.BUSY)])
def test_the_loop_guard_hides_no_trouble(word: str, state: State) -> None:
    assert classify(torrent(state=word), GRABBED, Known(guarded=True)) is state


def test_a_grab_without_items_is_never_imported() -> None:
    nameless = Download(grab=replace(grab(), items=frozenset()))
    assert not is_imported(nameless)
    assert not is_imported(None)
    assert not is_imported(Download(imported={1: Moment(after(1), 2)}))
    assert classify(seeding(), nameless, Known(goal_met=True)) is State.COMPLETED


@pytest.mark.parametrize("phase", Phase)
def test_a_removal_under_way_is_the_state(phase: Phase) -> None:
    named = {Phase.REMOVED: State.BLOCKLISTED, Phase.SEARCH: State.RE_SEARCHING}
    assert intent_state(phase) is named.get(phase, State.FAILED)


def test_forced_words_are_known_as_forced() -> None:
    assert {word for word, one in CLIENT_STATES.items() if one.forced} == {"forcedDL", "forcedUP", "forcedMetaDL"}
    assert not client_state("aWordOfTheNextRelease").forced


# --- the table of transitions --------------------------------------------------------------------------------------

S = State
BY_LOOKING: dict[State, tuple[str, float, Download, Known]] = {
    S.DETECTED: ("metaDL", 0.0, GRABBED, NOTHING),
    S.QUEUED: ("queuedDL", 0.1, GRABBED, NOTHING),
    S.DOWNLOADING: ("downloading", 0.1, GRABBED, NOTHING),
    S.STALLED: ("stalledDL", 0.1, GRABBED, NOTHING),
    S.HELD: ("stoppedDL", 0.1, GRABBED, NOTHING),
    S.BUSY: ("checkingDL", 0.1, GRABBED, NOTHING),
    S.COMPLETED: ("stalledUP", 1.0, GRABBED, NOTHING),
    S.IMPORTING: ("stalledUP", 1.0, GRABBED, Known(nudged=True)),
    S.PARTLY_IMPORTED: ("stalledUP", 1.0, PARTLY, Known(nudged=True)),
    S.IMPORTED: ("stoppedUP", 1.0, IMPORTED, Known(nudged=True)),
    S.SEEDING: ("stalledUP", 1.0, IMPORTED, Known(nudged=True)),
    S.SEED_GOAL_MET: ("stalledUP", 1.0, IMPORTED, Known(nudged=True, goal_met=True)),
    S.MISSING: ("missingFiles", 0.1, GRABBED, NOTHING),
    S.ERRORED: ("error", 0.1, GRABBED, NOTHING),
    S.UNOWNED: ("downloading", 0.1, Download(), NOTHING),
}
BY_INTENT = {S.FAILED: Phase.SENT, S.BLOCKLISTED: Phase.REMOVED, S.RE_SEARCHING: Phase.SEARCH}
BY_LEAVING = {S.DELETED, S.GONE_BY_OTHER}


def reached(state: State) -> State:
    """The state as today's code works it out from what was seen, or from how far a removal is."""
    if state in BY_INTENT:
        return intent_state(BY_INTENT[state])
    word, progress, history, known = BY_LOOKING[state]
    return classify(torrent(state=word, progress=progress), history, known)


@pytest.mark.parametrize(("before", "later"), TRANSITIONS, ids=str)
def test_every_transition_leads_from_one_state_that_can_be_seen_to_another(before: State, later: State) -> None:
    step = TRANSITIONS[before, later]
    assert step.trigger
    assert before is not later
    assert before not in BY_LEAVING, "nothing comes back from there: it is another torrent then"
    assert reached(before) is before
    assert later in BY_LEAVING or reached(later) is later
    if later is S.GONE_BY_OTHER or later in BY_INTENT:
        return
    if later is S.DELETED:
        assert before in BY_INTENT, "only a removal of ours ends in Deleted"
        return
    assert BY_LOOKING[before] != BY_LOOKING[later], "something has to be seen that triggers it"


def test_every_state_is_in_the_table_of_transitions() -> None:
    assert {state for pair in TRANSITIONS for state in pair} == set(State)
    assert {*BY_LOOKING, *BY_INTENT, *BY_LEAVING} == set(State)


def test_trouble_is_what_the_states_say() -> None:
    assert State.HELD not in IN_TROUBLE
    assert State.MISSING in IN_TROUBLE
