"""What was begun and how far it got: the state machine of one removal. Pure.

An intent is stored before the first destructive call, and its phase before each further one. What comes next is
decided from what can be seen *now* (a `Sight`), never from what is remembered to have been answered: a 200 proves
nothing, a time-out neither. So a turn that was killed anywhere is taken up by the next one as if nothing had happened.

    Replace    Planned -> Sent -> [ClientDelete] -> [MarkFailed] -> Removed -> [Search] -> done
    Delete     Planned -> Sent -> done                                (a seeding goal was met)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from looparr.store.rows import IntentRow

EXPIRY = 3600.0
SEARCH_WITHIN = 86400.0
"""Seconds after an intent was made within which what went may be marked and searched: later nobody expects it."""
ATTEMPTS = 3
SETTLE = 10.0
"""Seconds given to client and Arr to show the effect of a call before the next step is tried."""


class Act(StrEnum):
    """What an intent is for."""

    REPLACE = "Replace"
    DELETE = "Delete"


class Phase(StrEnum):
    """How far an intent got; stored before the call that the phase is named for."""

    PLANNED = "Planned"
    SENT = "Sent"
    CLIENT_DELETE = "ClientDelete"
    MARK_FAILED = "MarkFailed"
    REMOVED = "Removed"
    SEARCH = "Search"


_NOT_REMOVED = frozenset({Phase.PLANNED, Phase.SENT, Phase.CLIENT_DELETE, Phase.MARK_FAILED})


class Step(StrEnum):
    """What to do next."""

    SEND = "Send"
    CLIENT_DELETE = "ClientDelete"
    MARK_FAILED = "MarkFailed"
    SETTLED = "Settled"
    SEARCH = "Search"
    WAIT = "Wait"
    FINISH = "Finish"
    DROP = "Drop"


@dataclass(frozen=True, slots=True)
class Intent:
    """One removal under way. Times are epoch seconds of our own clock.

    endpoint: the client's address, where the intent has its room until it is sent.
    download_id: case-folded. history_id: the grab's event, for history/failed. failed_before / searched_before: what
    the Arr showed when the intent was made; only something newer counts as done. attempts: sends in this phase. single:
    not in a bulk again. marked: we marked it as failed by hand.
    """

    id: str
    act: Act
    client: str
    hash: str
    added_on: int
    name: str
    download_id: str
    items: tuple[int, ...]
    rule: str
    reason: str
    created: float
    endpoint: str = ""
    phase: Phase = Phase.PLANNED
    since: float = 0.0
    attempts: int = 0
    history_id: int = 0
    failed_before: str = ""
    searched_before: Mapping[str, str] = field(default_factory=dict)
    title: str = ""
    indexer: str = ""
    interactive: bool = False
    delete_data: bool = True
    single: bool = False
    marked: bool = False

    def row(self, instance: str) -> IntentRow:
        """Give what the store keeps."""
        return IntentRow(
            id=self.id,
            instance=instance,
            client=self.client,
            hash=self.hash,
            added_on=self.added_on,
            items=self.items,
            action=str(self.act),
            rule=self.rule,
            reason=self.reason,
            phase=str(self.phase),
            created=self.created,
            expires=self.created + EXPIRY,
            detail=self.detail(),
        )

    @classmethod
    def from_row(cls, row: IntentRow) -> Intent:
        """Read what the store kept. Raises ValueError or TypeError for a row that another version wrote."""
        detail: Mapping[str, Any] = row.detail
        return cls(
            id=row.id,
            act=Act(row.action),
            client=row.client,
            hash=row.hash,
            added_on=row.added_on,
            items=tuple(row.items),
            rule=row.rule,
            reason=row.reason,
            created=row.created,
            phase=Phase(row.phase),
            **{name: detail[name] for name in cls.__dataclass_fields__ if name in detail},
        )

    def detail(self) -> dict[str, Any]:
        """Give what the store keeps beside the columns it knows."""
        return {
            "endpoint": self.endpoint,
            "name": self.name,
            "download_id": self.download_id,
            "since": self.since,
            "attempts": self.attempts,
            "history_id": self.history_id,
            "failed_before": self.failed_before,
            "searched_before": dict(self.searched_before),
            "title": self.title,
            "indexer": self.indexer,
            "interactive": self.interactive,
            "delete_data": self.delete_data,
            "single": self.single,
            "marked": self.marked,
        }


@dataclass(frozen=True, slots=True)
class Sight:
    """What a fresh look at client and Arr shows of one intent.

    present: this very torrent (hash and added_on) is in the client. rows: ids of its queue rows. failed: the Arr's
    history says failed, newer than the intent. searched: the Arr has searched for or grabbed every item since.
    searchable: items that may be searched for now. arr_searches: the Arr starts a search by itself after a failure
    that we mark by hand. markable: the grab's event is not another download's by now.
    """

    present: bool
    rows: tuple[int, ...] = ()
    failed: bool = False
    markable: bool = True
    searched: bool = False
    searchable: tuple[int, ...] = ()
    arr_searches: bool = False


@dataclass(frozen=True, slots=True)
class Next:
    """The next step and, for a person, why."""

    step: Step
    why: str = ""


def next_step(intent: Intent, sight: Sight, now: float) -> Next:
    """Decide what comes next for an intent, from what is seen now."""
    expired = intent.phase in _NOT_REMOVED and now - intent.created > EXPIRY
    if expired and sight.present:
        return Next(Step.DROP, "Expired: not removed within an hour; it is judged anew")
    if intent.act is Act.DELETE:
        return _delete(intent, sight, now)
    if expired and not sight.failed and intent.phase is not Phase.MARK_FAILED:
        return Next(Step.DROP, "GoneByOther: gone, and the Arr did not fail it within an hour; no blocklist, no search")
    match intent.phase:
        case Phase.PLANNED:
            return _planned(sight)
        case Phase.SENT:
            return _sent(intent, sight, now)
        case Phase.CLIENT_DELETE:
            return _client_delete(intent, sight, now)
        case Phase.MARK_FAILED:
            return _mark_failed(intent, sight, now)
        case _:
            return _search(intent, sight, now)


def _delete(intent: Intent, sight: Sight, now: float) -> Next:
    if not sight.present:
        if intent.phase is Phase.PLANNED:
            return Next(Step.DROP, "GoneByOther: it left the client before we acted")
        return Next(Step.FINISH, "deleted, and gone from the client")
    if intent.phase is Phase.PLANNED:
        return Next(Step.SEND)
    return _again(intent, now, Step.SEND, "still in the client after three deletions")


def _planned(sight: Sight) -> Next:
    if not sight.present:
        return Next(Step.DROP, "GoneByOther: it left the client before we acted; no blocklist, no search")
    if not sight.rows:
        return Next(Step.DROP, "NoQueueRow: the Arr's queue does not show it, which proves nothing; left alone")
    return Next(Step.SEND)


def _sent(intent: Intent, sight: Sight, now: float) -> Next:
    if not sight.present:
        if sight.failed:
            return Next(Step.SETTLED)
        if now - intent.since < SETTLE:
            return Next(Step.WAIT)
        return _mark_or_give_up(intent, sight)
    if sight.failed:
        waits = intent.delete_data and now - intent.since < SETTLE
        return Next(Step.WAIT) if waits else Next(Step.CLIENT_DELETE)
    if not sight.rows and now - intent.since >= SETTLE:
        return Next(Step.DROP, "NotRemoved: the Arr dropped the row and did nothing; it is judged anew")
    return _again(intent, now, Step.SEND, "the Arr accepted three removals and did none")


def _client_delete(intent: Intent, sight: Sight, now: float) -> Next:
    if sight.present and not sight.failed:
        return Next(Step.DROP, "NotBlocklisted: the Arr does not show it as failed any more; it is judged anew")
    if sight.present:
        return _again(intent, now, Step.CLIENT_DELETE, "still in the client after three deletions")
    return Next(Step.SETTLED) if sight.failed else _mark_or_give_up(intent, sight)


def _mark_failed(intent: Intent, sight: Sight, now: float) -> Next:
    if sight.present and not sight.failed:
        return Next(Step.DROP, "NotGone: it is in the client again; it is judged anew")
    if sight.present:
        return Next(Step.CLIENT_DELETE)
    if sight.failed:
        return Next(Step.SETTLED)
    if now - intent.created > SEARCH_WITHIN:
        return Next(Step.DROP, "NotBlocklisted: removed, and the Arr could not be told so within a day; not searched")
    if not sight.markable:
        return _mark_or_give_up(intent, sight)
    return _again(intent, now, Step.MARK_FAILED, "NotBlocklisted: the Arr did not mark it as failed; not searched")


def _mark_or_give_up(intent: Intent, sight: Sight) -> Next:
    if not (intent.history_id and sight.markable):
        return Next(Step.DROP, "NotBlocklisted: gone, but its grab is not in the history any more; not searched")
    return Next(Step.MARK_FAILED)


def _search(intent: Intent, sight: Sight, now: float) -> Next:
    if sight.present:
        return Next(Step.DROP, "NotGone: it is in the client again; not searched")
    if sight.searched:
        return Next(Step.FINISH, "removed, blocklisted and searched again")
    if sight.arr_searches:
        return Next(Step.FINISH, "removed and blocklisted; the Arr searches by itself")
    if not sight.searchable:
        return Next(Step.FINISH, "removed and blocklisted; nothing to search (unmonitored, unreleased, has a file)")
    if now - intent.created > SEARCH_WITHIN:
        return Next(Step.DROP, "TooLate: removed and blocklisted a day ago; search for it in the Arr if it is missed")
    if intent.phase is Phase.REMOVED:
        return Next(Step.SEARCH)
    return _again(intent, now, Step.SEARCH, "removed and blocklisted; the Arr did not take three searches")


def _again(intent: Intent, now: float, step: Step, exhausted: str) -> Next:
    """Give the last call time to show, then try again, at most ATTEMPTS times in all."""
    if now - intent.since < SETTLE * max(1, intent.attempts):
        return Next(Step.WAIT)
    if intent.attempts >= ATTEMPTS:
        return Next(Step.DROP, exhausted)
    return Next(step)
