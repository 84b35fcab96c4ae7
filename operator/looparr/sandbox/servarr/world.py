"""The world around the stand-in, which tests and the demo may change: library, indexers, settings.

What the Arr makes of it (queue, imports, failures, history) can only be read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from looparr.errors import SandboxError
from looparr.sandbox.servarr.arr import Arr
from looparr.sandbox.servarr.metainfo import read_magnet, read_torrent
from looparr.sandbox.servarr.state import BlocklistEntry, Config, HistoryEvent, Movie, Release, Tracked

_UNSAFE = re.compile(r'[\x00-\x1f/\\:*?"<>|]')


class World:
    """Movies, releases, grabs, settings. Everything takes effect at once, as if users and indexers had done it."""

    def __init__(self, arr: Arr) -> None:
        self._arr = arr
        self._book = arr.book

    def add_movie(
        self,
        title: str,
        year: int = 2020,
        *,
        monitored: bool = True,
        available: bool = True,
        tmdb_id: int | None = None,
        alternate_titles: Sequence[str] = (),
    ) -> Movie:
        """Put a movie into the library; titles in any script. available=False: not released yet."""
        book = self._book
        number = book.next_id("movie")
        folder = f"{_UNSAFE.sub('', title).strip(' .') or 'Untitled'} ({year})"
        movie = Movie(
            number,
            title,
            year,
            book.root / folder,
            book.now(),
            monitored,
            available,
            tmdb_id or 1000 + number,
            tuple(alternate_titles),
        )
        book.add_movie(movie)
        return movie

    def update_movie(
        self, movie: Movie | int, *, monitored: bool | None = None, available: bool | None = None
    ) -> Movie:
        """Change a movie's switches. Raises SandboxError when it is not there."""
        found = self.movie(movie)
        found.monitored = found.monitored if monitored is None else monitored
        found.available = found.available if available is None else available
        return found

    def remove_movie(self, movie: Movie | int) -> None:
        """Take a movie out of the library. Its history and blocklist go with it, as in the Arr; files stay."""
        self._book.forget_movies([self.movie(movie).id])

    def movie(self, movie: Movie | int) -> Movie:
        """Find a movie. Raises SandboxError when it is not there."""
        found = self._book.movies.get(movie if isinstance(movie, int) else movie.id)
        if found is None:
            raise SandboxError("No such movie in the library: add it first.")
        return found

    def offer(
        self,
        movies: Movie | int | Sequence[Movie | int],
        content: bytes | str,
        *,
        title: str | None = None,
        indexer: str = "Sandbox Indexer",
        size: int | None = None,
    ) -> Release:
        """Let an indexer offer a release: a .torrent's bytes or a magnet link, for one movie or (a pack) several.

        title: the release's name, by default the torrent's. Raises SandboxError for content that is neither.
        """
        several = list(movies) if isinstance(movies, Sequence) else [movies]
        known = tuple(self.movie(m).id for m in several)
        meta = read_torrent(content) if isinstance(content, bytes) else read_magnet(content)
        book = self._book
        release = Release(
            id=book.next_id("release"),
            movie_ids=known,
            title=title or meta.name,
            indexer=indexer,
            content=content,
            infohash=meta.infohash,
            size=meta.size if size is None else size,
            published=book.now(),
        )
        book.releases[release.id] = release
        return release

    def withdraw(self, release: Release | int) -> None:
        """Let the indexers forget a release."""
        self._book.releases.pop(release if isinstance(release, int) else release.id, None)

    async def grab(
        self,
        movies: Movie | int | Sequence[Movie | int],
        *,
        source: str = "Search",
        release: Release | int | None = None,
    ) -> str:
        """Grab a release (by default the newest offer for these movies), return the download id.

        source: Rss, Search, UserInvokedSearch, InteractiveSearch, ReleasePush. Raises SandboxError when nothing is
        offered, GrabRefused and ClientUnavailable from the download client.
        """
        several = list(movies) if isinstance(movies, Sequence) else [movies]
        ids = {self.movie(m).id for m in several}
        if release is None:
            offers = [r for r in self._book.releases.values() if ids & set(r.movie_ids)]
        else:
            wanted = release if isinstance(release, int) else release.id
            offers = [r for r in self._book.releases.values() if r.id == wanted]
        if not offers:
            raise SandboxError("Nothing to grab: offer a release for this movie first.")
        async with self._arr.lock:
            download_id = await self._arr.grabber.grab(offers[-1], source)
        self._arr.refresh_soon()
        return download_id

    def configure(self, **settings: Any) -> Config:
        """Change settings by their names in `Config`. Raises SandboxError for one that does not exist."""
        for name, value in settings.items():
            if name not in Config.__slots__:
                raise SandboxError(f"No setting {name!r}: one of {', '.join(Config.__slots__)}.")
            setattr(self._book.config, name, value)
        self._arr.monitor.categories_changed()
        return self._book.config

    async def refresh(self) -> None:
        """Let the Arr look at its download client now, and import what is ready."""
        await self._arr.refresh_now()

    async def idle(self) -> None:
        """Wait until no command is queued or running."""
        while open_ones := [c for c in self._arr.commands.all.values() if c.is_open]:
            for command in open_ones:
                await command.done.wait()

    @property
    def movies(self) -> list[Movie]:
        """The library."""
        return list(self._book.movies.values())

    @property
    def releases(self) -> list[Release]:
        """What the indexers offer."""
        return list(self._book.releases.values())

    @property
    def history(self) -> list[HistoryEvent]:
        """What happened, oldest first (to read only)."""
        return list(self._book.history.values())

    @property
    def blocklist(self) -> list[BlocklistEntry]:
        """What may not be grabbed again (to read only)."""
        return list(self._book.blocklist.values())

    @property
    def downloads(self) -> list[Tracked]:
        """What is tracked (to read only)."""
        return list(self._book.tracked.values())

    @property
    def root(self) -> Path:
        """The root folder of the library."""
        return self._book.root
