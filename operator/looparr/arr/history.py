"""Whose torrent is it? The Arr's own history says, and nothing else does.

Category alone never owns a torrent, a queue row may be matched by title alone. A torrent is ours when this Arr has a
`grabbed` event whose downloadId is the torrent's hash, its v1 hash, or the first 40 digits of its v2 hash.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import NamedTuple

from looparr.clients.servarr_dialect import SERVARR
from looparr.clients.servarr_wire import HistoryRecord

IMPORT_EVENTS = frozenset(dialect.import_event for dialect in SERVARR.values())
INTERACTIVE = "interactivesearch"
AUTOMATIC = frozenset({"rss", "search", "userinvokedsearch", "releasepush"})
"""Values of releaseSource (case-folded) that say that the Arr chose the release; an absent or new one says nothing."""
ONE_GRAB = timedelta(minutes=5)
"""Grabbed events of one downloadId at most this much older than the newest are one grab; others an earlier one."""
KEPT = timedelta(days=7)
"""Age of its newest event up to which a download is remembered although no torrent bears its id."""
SWEEP_EVERY = 3600.0
_NEVER = datetime.min.replace(tzinfo=UTC)


class Moment(NamedTuple):
    """When an event happened. The Arr's dates are whole seconds: within one, the later event has the higher id."""

    date: datetime
    event_id: int


@dataclass(frozen=True, slots=True)
class Grab:
    """All `grabbed` events of one downloadId: the items it stands for and where it came from.

    history_id: newest grabbed event (what `history/failed` takes). date: of that event. source: its releaseSource,
    case-folded; client: what the Arr calls the download client; "" when the Arr did not say.
    """

    download_id: str
    history_id: int
    items: frozenset[int]
    title: str
    indexer: str
    date: datetime
    source: str
    client: str = ""

    @property
    def moment(self) -> Moment:
        """When it happened."""
        return Moment(self.date, self.history_id)

    @property
    def interactive(self) -> bool:
        """Whether a person chose this release, as far as the Arr knows."""
        return self.source == INTERACTIVE

    @property
    def automatic(self) -> bool:
        """Whether the Arr is known to have chosen this release."""
        return self.source in AUTOMATIC


@dataclass(frozen=True, slots=True)
class Download:
    """Everything the history says of one torrent. imported: by item id. Times are the newest of their kind."""

    grab: Grab | None = None
    imported: Mapping[int, Moment] = field(default_factory=dict)
    failed: datetime | None = None
    ignored: datetime | None = None

    def missing_imports(self) -> frozenset[int]:
        """Items of the grab without an import event newer than the grab; none when there is no grab."""
        if self.grab is None:
            return frozenset()
        since = self.grab.moment
        return frozenset(item for item in self.grab.items if self.imported.get(item, since) <= since)

    def is_ignored(self) -> bool:
        """Whether a person told the Arr to ignore it after it was grabbed: held for ever."""
        return self.ignored is not None and (self.grab is None or self.ignored >= self.grab.date)

    def joined(self, other: Download) -> Download:
        """Give what two ids of one torrent say together."""
        return Download(
            grab=_one_grab([one.grab for one in (self, other) if one.grab is not None]),
            imported={**self.imported, **_newer(self.imported, other.imported)},
            failed=_newest(self.failed, other.failed),
            ignored=_newest(self.ignored, other.ignored),
        )


@dataclass(slots=True)
class History:
    """The Arr's history since the oldest torrent we look after, by case-folded downloadId. last: its newest event."""

    downloads: dict[str, Download] = field(default_factory=dict)
    last: Moment | None = None
    _events: dict[str, dict[int, HistoryRecord]] = field(default_factory=dict)
    _last_grabs: dict[int, int] = field(default_factory=dict)
    _swept: float | None = None

    @property
    def newest(self) -> datetime | None:
        """Date of the newest event."""
        return None if self.last is None else self.last.date

    def merge(self, events: Iterable[HistoryRecord]) -> frozenset[str]:
        """Take in events, in any order and any number of times; give the downloadIds that they touched.

        An event without a date or without a downloadId proves nothing and is left out.
        """
        touched = set()
        for event in events:
            if event.date == _NEVER:
                continue
            moment = Moment(event.date, event.id)
            self.last = moment if self.last is None else max(self.last, moment)
            known = self._events.setdefault(event.hash, {}) if event.hash else None
            if known is not None and event.id not in known:
                known[event.id] = event
                touched.add(event.hash)
                self._note_grab(event)
        for name in touched:
            self.downloads[name] = _told(name, self._events[name].values())
        return frozenset(touched)

    def is_continued_by(self, events: Iterable[HistoryRecord]) -> bool:
        """Whether events that were read since before our newest one hold it. If not, we know another history.

        A restored database forgets events, and gives their ids to others.
        """
        return self.last is None or any(self.last == (event.date, event.id) for event in events)

    def is_of_another(self, event_id: int, names: Container[str]) -> bool:
        """Whether that event is known to be about another download than that of these ids. It looks at all."""
        return any(event_id in events and name not in names for name, events in self._events.items())

    def _note_grab(self, event: HistoryRecord) -> None:
        if event.event_type == "grabbed":
            latest = {item: max(event.id, self._last_grabs.get(item, 0)) for item in event.item_ids}
            self._last_grabs.update(latest)

    def grabbed_since(self, items: Iterable[int], history_id: int) -> frozenset[int]:
        """Give those of the items of which something was grabbed after that event of the history."""
        return frozenset(item for item in items if self._last_grabs.get(item, 0) > history_id)

    def sweep_is_due(self, now: float) -> bool:
        """Whether the last sweep (epoch seconds) is an hour ago; the first comes an hour after the first question."""
        if self._swept is None or now < self._swept:
            self._swept = now
        return now - self._swept >= SWEEP_EVERY

    def sweep(self, kept: Container[str], now: float) -> None:
        """Forget the downloads that are not in `kept` and of which nothing was heard for a week. It looks at all."""
        self._swept = now
        since = datetime.fromtimestamp(now, UTC) - KEPT
        for name, events in list(self._events.items()):
            if name not in kept and all(event.date < since for event in events.values()):
                del self._events[name], self.downloads[name]

    def of(self, names: Iterable[str]) -> Download | None:
        """Give what is known of one torrent under all of its downloadIds together.

        The Arr notes a hybrid torrent's grab under its v1 hash, and what comes later under the client's own hash.
        """
        found = [download for name in dict.fromkeys(names) if (download := self.downloads.get(name)) is not None]
        return reduce(Download.joined, found) if found else None


def download_ids(hash_: str, infohash_v1: str, infohash_v2: str) -> tuple[str, ...]:
    """All downloadIds under which an Arr may know a torrent, case-folded, best first.

    The client's own `hash` of a hybrid torrent is the truncated v2 hash, while the Arr's history holds v1.
    """
    names = (hash_, infohash_v1, infohash_v2[:40])
    return tuple(dict.fromkeys(name.casefold() for name in names if name))


def _told(name: str, events: Collection[HistoryRecord]) -> Download:
    """Read all events of one downloadId."""
    imported: dict[int, Moment] = {}
    last: dict[str, datetime] = {}
    for event in sorted(events, key=lambda one: (one.date, one.id)):
        last[event.event_type] = event.date
        if event.event_type in IMPORT_EVENTS:
            imported.update(dict.fromkeys(event.item_ids, Moment(event.date, event.id)))
    grab = _one_grab([_grab(name, event) for event in events if event.event_type == "grabbed"])
    return Download(grab, imported, last.get("downloadFailed"), last.get("downloadIgnored"))


def _one_grab(grabs: Collection[Grab]) -> Grab | None:
    """Give the newest grab, with the items of those that are one with it."""
    if not grabs:
        return None
    newest = max(grabs, key=lambda one: (one.date, one.history_id))
    items = frozenset(item for one in grabs if newest.date - one.date <= ONE_GRAB for item in one.items)
    return replace(newest, items=items)


def _grab(name: str, event: HistoryRecord) -> Grab:
    return Grab(
        download_id=name,
        history_id=event.id,
        items=frozenset(event.item_ids),
        title=event.source_title,
        indexer=str(event.data.get("indexer") or ""),
        date=event.date,
        source=str(event.data.get("releaseSource") or "").casefold(),
        client=str(event.data.get("downloadClientName") or event.data.get("downloadClient") or ""),
    )


def _newest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


def _newer(known: Mapping[int, Moment], other: Mapping[int, Moment]) -> dict[int, Moment]:
    return {item: moment for item, moment in other.items() if item not in known or moment > known[item]}
