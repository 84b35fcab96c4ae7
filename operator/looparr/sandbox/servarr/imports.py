"""Imports: completed downloads go into the library, for real, on disk.

Also `DownloadedMoviesScan` with its trap: for a download the Arr does not know, `importMode: Auto` MOVES the files and
then deletes the folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from looparr.sandbox.servarr.disk import Content, Result, delete_if_done, look, problem_of, put
from looparr.sandbox.servarr.failures import CLIENT_TYPE
from looparr.sandbox.servarr.qbittorrent import ClientUnavailable, QBittorrentClient
from looparr.sandbox.servarr.state import Book, Item, Movie, MovieFile, Tracked
from looparr.sandbox.servarr.titles import parse_title, quality_of


class Importer:
    """Imports tracked downloads and folders."""

    def __init__(self, book: Book, client: QBittorrentClient) -> None:
        self._book = book
        self._client = client

    async def import_download(self, tracked: Tracked) -> None:
        """Import one completed download (state importPending)."""
        if not tracked.movie_ids:
            tracked.warn("Unable to parse download, automatic import is not possible.")
            tracked.state = "importBlocked"
            return
        tracked.state = "importing"
        output = tracked.item.output_path
        results = await self.process_path(Path(output), "auto", movie_ids=tracked.movie_ids, item=tracked.item)
        if await self.verify(tracked, results):
            return
        tracked.state = "importPending"
        if not results:
            tracked.warn(f"No files found are eligible for import in {output}")
        elif len(results) == 1 and tracked.indexer is not None:
            tracked.warnings = [(tracked.item.title, list(results[0].errors))]
        else:
            lines = [("One or more movies expected in this release were not imported or missing", list[str]())]
            lines += [(r.path.name, list(r.errors)) for r in sorted(results, key=lambda r: r.path) if r.errors]
            tracked.warnings = lines
            tracked.state = "importBlocked"

    async def verify(self, tracked: Tracked, results: Sequence[Result]) -> bool:
        """Close a download whose movies are all imported (now or before, by the history); tell whether it is."""
        imported = {r.movie_id for r in results if r.imported}
        for movie_id in tracked.movie_ids:
            events = [e for e in self._book.events(tracked.item.download_id) if e.movie_id == movie_id]
            if events and events[0].event_type == "downloadFolderImported":
                imported.add(movie_id)
        if not tracked.movie_ids or not imported.issuperset(tracked.movie_ids):
            return False
        tracked.state = "imported"
        self._book.download_states[tracked.item.download_id] = "imported"
        await self._after_import(tracked)
        return True

    async def _after_import(self, tracked: Tracked) -> None:
        await self.mark_as_imported(tracked.item)
        await self.remove_if_seeded(tracked)

    async def mark_as_imported(self, item: Item) -> None:
        """Set the post-import category, where one is configured. With the client out nothing happens: it only logs."""
        config = self._book.config
        if config.imported_category not in {"", config.category}:
            with suppress(ClientUnavailable):
                await self._client.set_category(item.download_id, config.imported_category)

    async def remove_if_seeded(self, tracked: Tracked) -> None:
        """Remove an imported download with its data once the client stopped it at its seed limit."""
        if tracked.state == "imported" and tracked.item.can_move and self._book.config.remove_completed_downloads:
            with suppress(ClientUnavailable):
                await self._client.delete(tracked.item.download_id)
                self._book.tracked.pop(tracked.item.download_id, None)

    async def process_path(
        self, path: Path, mode: str, *, movie_ids: Sequence[int] = (), item: Item | None = None
    ) -> list[Result]:
        """Import a file or folder. mode: auto, move or copy; without movie_ids the movie is read from the name."""
        book = self._book
        content = await asyncio.to_thread(look, path)
        if content is None:
            return []
        if any(m.path == path for m in book.movies.values()):
            return [Result(path, None, ("Import path is mapped to a movie folder",))]
        movies = [book.movies[m] for m in movie_ids if m in book.movies]
        if not movies:
            named = book.movie_by_name(content.name)
            if named is None:
                word = "Unknown Movie" if content.is_folder else f"Unknown Movie for file: {path.name}"
                return [Result(path, None, (word,))]
            movies = [named]
        moves = mode == "move" or (mode == "auto" and (item is None or item.can_move))
        results = await self._import_files(content, movies, item, moves=moves)
        if content.is_folder and moves and any(r.imported for r in results):
            await asyncio.to_thread(delete_if_done, path)
        return results or ([content.issue] if content.issue else [])

    async def _import_files(
        self, content: Content, movies: list[Movie], item: Item | None, *, moves: bool
    ) -> list[Result]:
        results: list[Result] = []
        done: set[int] = set()
        for file, size in content.files:
            problem = problem_of(file)
            movie = movies[0] if len(movies) == 1 else self._movie_of(file, movies)
            if problem is not None:
                results.append(Result(file, None, (problem,)))
            elif movie is None:
                results.append(Result(file, None, (f"Unknown Movie for file: {file.name}",)))
            elif movie.id in done:
                results.append(Result(file, movie.id, ("Movie has already been imported",)))
            else:
                results.append(await self._import_file(file, size, movie, item, moves=moves))
                if results[-1].imported:
                    done.add(movie.id)
        return results

    @staticmethod
    def _movie_of(file: Path, movies: list[Movie]) -> Movie | None:
        parsed = parse_title(file.stem)
        return next((m for m in movies if parsed is not None and m.matches(parsed)), None)

    async def _import_file(self, file: Path, size: int, movie: Movie, item: Item | None, *, moves: bool) -> Result:
        release = item.title if item else file.stem
        quality = max(quality_of(release), quality_of(file.stem), key=lambda q: q.rank)
        old = movie.file
        if old is not None and quality.rank < old.quality.rank:
            words = f"Not an upgrade for existing movie file. Existing quality: {old.quality.name}. "
            return Result(file, movie.id, (f"{words}New Quality {quality.name}.",))
        target = movie.path / file.name
        try:
            await asyncio.to_thread(put, file, target, moves=moves)
        except OSError:
            return Result(file, movie.id, ("Failed to import movie",))
        if old is not None:
            self._replaced(movie, old, target)
        book = self._book
        movie.file = MovieFile(book.next_id("movieFile"), target, size, book.now(), quality, release)
        self._record_import(file, movie, item)
        return Result(file, movie.id)

    def _replaced(self, movie: Movie, old: MovieFile, target: Path) -> None:
        if old.path != target:
            old.path.unlink(missing_ok=True)
        data: dict[str, str | None] = {
            "reason": "Upgrade",
            "releaseGroup": None,
            "size": str(old.size),
            "indexerFlags": "0",
        }
        self._book.record(
            "movieFileDeleted", movie.id, title=str(old.path), quality=old.quality, download_id=None, data=data
        )

    def _record_import(self, file: Path, movie: Movie, item: Item | None) -> None:
        assert movie.file is not None
        parsed = parse_title(movie.file.scene_name)
        data = {
            "fileId": str(movie.file.id),
            "droppedPath": str(file),
            "importedPath": str(movie.file.path),
            "downloadClient": CLIENT_TYPE if item else None,
            "downloadClientName": CLIENT_TYPE if item else None,
            "releaseGroup": parsed.group if parsed else None,
            "customFormatScore": "0",
            "size": str(movie.file.size),
            "indexerFlags": "0",
        }
        self._book.record(
            "downloadFolderImported",
            movie.id,
            title=movie.file.scene_name,
            quality=movie.file.quality,
            download_id=item.download_id if item else self._download_of(movie),
            data=data,
        )

    def _download_of(self, movie: Movie) -> str | None:
        """Guess the download of a file imported without one: the movie's only grab with nothing after it."""
        mine = [h for h in self._book.history.values() if h.movie_id == movie.id and h.download_id]
        processed = {h.download_id for h in mine if h.event_type != "grabbed"}
        waiting = [h.download_id for h in mine if h.event_type == "grabbed" and h.download_id not in processed]
        return waiting[0] if len(waiting) == 1 else None
