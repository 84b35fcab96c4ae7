"""What the stand-in remembers: library, releases that exist, history, blocklist, and the downloads it tracks.

Only the world (movies, releases) is set from outside; history, blocklist and downloads come from the stand-in's own
decisions.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from looparr.sandbox.servarr.titles import UNKNOWN, ParsedTitle, Quality, clean_title, parse_title


@dataclass(slots=True)
class Config:
    """The settings that change what the Arr does by itself; the defaults are Radarr's."""

    category: str = "radarr"
    imported_category: str = ""
    auto_redownload_failed: bool = True
    auto_redownload_failed_from_interactive_search: bool = True
    enable_completed_download_handling: bool = True
    remove_completed_downloads: bool = True
    search_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MovieFile:
    """A file that was imported into the library; `path` is absolute, `size` in bytes."""

    id: int
    path: Path
    size: int
    added: datetime
    quality: Quality
    scene_name: str


@dataclass(slots=True)
class Movie:
    """One library item. available: released, so that automatic searches look at it."""

    id: int
    title: str
    year: int
    path: Path
    added: datetime
    monitored: bool = True
    available: bool = True
    tmdb_id: int = 0
    alternate_titles: tuple[str, ...] = ()
    last_search_time: datetime | None = None
    file: MovieFile | None = None

    def matches(self, parsed: ParsedTitle) -> bool:
        """Tell whether a parsed release name means this movie."""
        titles = (self.title, *self.alternate_titles)
        return parsed.year == self.year and any(clean_title(t) == parsed.clean for t in titles)


@dataclass(frozen=True, slots=True)
class Release:
    """A release an indexer offers: a .torrent's bytes or a magnet link, for one movie or (a pack) several."""

    id: int
    movie_ids: tuple[int, ...]
    title: str
    indexer: str
    content: bytes | str
    infohash: str
    size: int
    published: datetime

    @property
    def quality(self) -> Quality:
        """The quality its title promises."""
        parsed = parse_title(self.title)
        return parsed.quality if parsed else UNKNOWN


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One line of the history, as `history` tells it."""

    id: int
    movie_id: int
    event_type: str
    title: str
    quality: Quality
    date: datetime
    download_id: str | None
    data: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class BlocklistEntry:
    """One release that must not be grabbed again for one movie."""

    id: int
    movie_id: int
    title: str
    quality: Quality
    date: datetime
    indexer: str | None
    message: str
    infohash: str | None


@dataclass(frozen=True, slots=True)
class Pending:
    """A release that could not be given to the download client (it was out) and waits for it."""

    id: int
    release: Release
    movie_id: int
    added: datetime
    source: str


@dataclass(frozen=True, slots=True)
class Item:
    """A torrent as the Arr sees it. status: queued, paused, downloading, completed, warning.

    output_path is set for completed ones only; can_move: the client is done with it, so files may be moved, not copied.
    """

    download_id: str
    title: str
    category: str
    size: int
    remaining: int
    time_left: timedelta | None
    status: str
    message: str | None
    output_path: str
    can_move: bool


@dataclass(slots=True)
class Tracked:
    """A download under watch.

    state: downloading, importPending, importing, importBlocked, imported, failed, ignored.
    """

    item: Item
    movie_ids: tuple[int, ...] = ()
    state: str = "downloading"
    warnings: list[tuple[str, list[str]]] = field(default_factory=list)
    indexer: str | None = None
    added: datetime | None = None
    trackable: bool = True

    def warn(self, message: str) -> None:
        """Replace what the row says by one message; the row then counts as a warning."""
        self.warnings = [(self.item.title, [message])]


class Book:
    """Everything remembered. now: aware UTC, injected."""

    def __init__(self, now: Callable[[], datetime], root: Path, config: Config) -> None:
        self.now = now
        self.root = root
        self.config = config
        self.movies: dict[int, Movie] = {}
        self.releases: dict[int, Release] = {}
        self.history: dict[int, HistoryEvent] = {}
        self.blocklist: dict[int, BlocklistEntry] = {}
        self.pending: dict[int, Pending] = {}
        self.tracked: dict[str, Tracked] = {}
        self.download_states: dict[str, str] = {}
        """Last thing that happened to a download as a whole: downloading (grabbed), imported, failed, ignored."""
        self._titles: dict[tuple[str, int], int] = {}
        self._lines: defaultdict[str | None, list[HistoryEvent]] = defaultdict(list)
        self._ids: defaultdict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))

    def next_id(self, table: str) -> int:
        """Count up per table, from 1."""
        return next(self._ids[table])

    def record(
        self,
        event: str,
        movie_id: int,
        *,
        title: str,
        quality: Quality,
        download_id: str | None,
        data: dict[str, str | None],
    ) -> HistoryEvent:
        """Write one line of history."""
        line = HistoryEvent(self.next_id("history"), movie_id, event, title, quality, self.now(), download_id, data)
        self.history[line.id] = line
        self._lines[download_id].append(line)
        return line

    def add_movie(self, movie: Movie) -> None:
        """Put a movie into the library; of two with one name the first is found."""
        self.movies[movie.id] = movie
        for title in (movie.title, *movie.alternate_titles):
            self._titles.setdefault((clean_title(title), movie.year), movie.id)

    def events(self, download_id: str, event: str | None = None) -> list[HistoryEvent]:
        """Find a download's history, newest first. The id is compared as it is, case and all."""
        found = [h for h in self._lines.get(download_id, ()) if event in {None, h.event_type}]
        return sorted(found, key=lambda h: (h.date, h.id), reverse=True)

    def grabs(self, download_id: str) -> list[HistoryEvent]:
        """Find the lines of the download's last grab: one a movie, in the order they were written."""
        grabbed = self.events(download_id, "grabbed")
        newest: dict[int, HistoryEvent] = {}
        for line in grabbed:
            newest.setdefault(line.movie_id, line)
        return sorted(newest.values(), key=lambda line: line.id)

    def movie_by_name(self, name: str) -> Movie | None:
        """Match a release or file name with the library."""
        parsed = parse_title(name)
        return self.movies.get(self._titles.get((parsed.clean, parsed.year), 0)) if parsed else None

    def is_blocklisted(self, movie_id: int, infohash: str) -> bool:
        """Tell whether this movie may not have this torrent again."""
        return any(b.movie_id == movie_id and b.infohash == infohash for b in self.blocklist.values())

    def forget_movies(self, movie_ids: Sequence[int]) -> None:
        """Drop movies with all that hangs on them: history, blocklist and pending releases go, too."""
        gone = set(movie_ids)
        kept = [movie for movie in self.movies.values() if movie.id not in gone]
        self.movies, self._titles = {}, {}
        for movie in kept:
            self.add_movie(movie)
        self.history = {k: v for k, v in self.history.items() if v.movie_id not in gone}
        self.blocklist = {k: v for k, v in self.blocklist.items() if v.movie_id not in gone}
        self.pending = {k: v for k, v in self.pending.items() if v.movie_id not in gone}
        before, self._lines = self._lines, defaultdict(list)
        for line in self.history.values():
            self._lines[line.download_id].append(line)
        for download_id in before.keys() - self._lines.keys():
            self.download_states.pop(download_id or "", None)
        for tracked in self.tracked.values():
            tracked.movie_ids = tuple(m for m in tracked.movie_ids if m not in gone)
