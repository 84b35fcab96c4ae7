"""The world over HTTP, for another process: JSON under /__world, with the same API key. Faults never strike here."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from looparr.errors import SandboxError
from looparr.sandbox.servarr.arr import Arr
from looparr.sandbox.servarr.counters import Requests
from looparr.sandbox.servarr.faults import Fault, Faults
from looparr.sandbox.servarr.state import Movie, Release
from looparr.sandbox.servarr.wire import reply
from looparr.sandbox.servarr.world import World

PREFIX = "/__world"


class Control:
    """One handler per path and method; see `routes`."""

    def __init__(self, arr: Arr, world: World, faults: Faults, requests: Requests) -> None:
        self._arr = arr
        self._world = world
        self._faults = faults
        self._requests = requests

    def routes(self) -> Iterable[web.RouteDef]:
        """List everything that is served."""
        return [
            web.get(PREFIX, self.show),
            web.post(f"{PREFIX}/movies", self.add_movie),
            web.patch(f"{PREFIX}/movies/{{id:\\d+}}", self.update_movie),
            web.delete(f"{PREFIX}/movies/{{id:\\d+}}", self.remove_movie),
            web.post(f"{PREFIX}/releases", self.offer),
            web.delete(f"{PREFIX}/releases/{{id:\\d+}}", self.withdraw),
            web.post(f"{PREFIX}/grab", self.grab),
            web.post(f"{PREFIX}/refresh", self.refresh),
            web.patch(f"{PREFIX}/config", self.configure),
            web.get(f"{PREFIX}/faults", self.list_faults),
            web.post(f"{PREFIX}/faults", self.switch_on),
            web.delete(f"{PREFIX}/faults", self.clear_faults),
            web.delete(f"{PREFIX}/faults/{{id:\\d+}}", self.clear_faults),
            web.get(f"{PREFIX}/requests", self.list_requests),
            web.delete(f"{PREFIX}/requests", self.clear_requests),
        ]

    async def show(self, _: web.Request) -> web.Response:
        """GET: type, library, offers, settings, faults."""
        return reply(
            {
                "type": self._arr.type.name,
                "qbittorrent": self._arr.client.url,
                "root": str(self._world.root),
                "movies": [_movie(m) for m in self._world.movies],
                "releases": [_release(r) for r in self._world.releases],
                "config": _camel_keys(asdict(self._arr.config)),
                "faults": [_fault(f) for f in self._faults.active.values()],
            },
        )

    async def add_movie(self, request: web.Request) -> web.Response:
        """POST movies {title, year?, monitored?, available?, tmdbId?, alternateTitles?}."""
        body = await _body(request, {"title", "year", "monitored", "available", "tmdbId", "alternateTitles"})
        return reply(_movie(self._world.add_movie(**body)), 201)

    async def update_movie(self, request: web.Request) -> web.Response:
        """PATCH movies/{id} {monitored?, available?}."""
        body = await _body(request, {"monitored", "available"})
        return reply(_movie(self._world.update_movie(int(request.match_info["id"]), **body)))

    async def remove_movie(self, request: web.Request) -> web.Response:
        """DELETE movies/{id}."""
        self._world.remove_movie(int(request.match_info["id"]))
        return reply({})

    async def offer(self, request: web.Request) -> web.Response:
        """POST releases {movieIds, torrent (base64) or magnet, title?, indexer?, size?}."""
        body = await _body(request, {"movieIds", "torrent", "magnet", "title", "indexer", "size"})
        torrent, magnet = body.pop("torrent", None), body.pop("magnet", None)
        if (torrent is None) == (magnet is None):
            raise SandboxError("A release needs either `torrent` (base64 of a .torrent) or `magnet`.")
        try:
            content = magnet if torrent is None else base64.b64decode(torrent, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise SandboxError("`torrent` is not base64: send the bytes of a .torrent file in base64.") from error
        movies = body.pop("movie_ids", None) or []
        return reply(_release(self._world.offer(movies, content, **body)), 201)

    async def withdraw(self, request: web.Request) -> web.Response:
        """DELETE releases/{id}."""
        self._world.withdraw(int(request.match_info["id"]))
        return reply({})

    async def grab(self, request: web.Request) -> web.Response:
        """POST grab {movieIds, source?, releaseId?}: answers {downloadId}."""
        body = await _body(request, {"movieIds", "source", "releaseId"})
        movies, source = body.get("movie_ids") or [], body.get("source") or "Search"
        found = await self._world.grab(movies, source=source, release=body.get("release_id"))
        return reply({"downloadId": found}, 201)

    async def refresh(self, _: web.Request) -> web.Response:
        """POST refresh: answers when the Arr has looked at its client and imported what was ready."""
        await self._world.refresh()
        return reply({})

    async def configure(self, request: web.Request) -> web.Response:
        """PATCH config {autoRedownloadFailed?, importedCategory?, ...}: any name that GET shows."""
        body = await _body(request, None)
        return reply(_camel_keys(asdict(self._world.configure(**body))))

    async def list_faults(self, _: web.Request) -> web.Response:
        """GET faults: with what is left of their times, and their hits."""
        return reply([_fault(f) for f in self._faults.active.values()])

    async def switch_on(self, request: web.Request) -> web.Response:
        """POST faults {type, method?, path?, times?, milliseconds?, retryAfter?, after?}."""
        body = await _body(request, {"type", "method", "path", "times", "milliseconds", "retryAfter", "after"})
        type_ = body.pop("type", "")
        return reply(_fault(self._faults.switch_on(type_, **body)), 201)

    async def clear_faults(self, request: web.Request) -> web.Response:
        """DELETE faults, or faults/{id}."""
        number = request.match_info.get("id")
        self._faults.clear(int(number) if number else None)
        return reply({})

    async def list_requests(self, _: web.Request) -> web.Response:
        """GET requests: {counts, qbittorrent, recent}; qbittorrent counts the stand-in's own calls to its client."""
        counts, calls = dict(self._requests.counts), dict(self._arr.client.calls)
        return reply({"counts": counts, "qbittorrent": calls, "recent": list(self._requests.recent)})

    async def clear_requests(self, _: web.Request) -> web.Response:
        """DELETE requests: all counters start anew."""
        self._requests.clear()
        self._arr.client.calls.clear()
        return reply({})


def _movie(movie: Movie) -> dict[str, Any]:
    found = {"id": movie.id, "title": movie.title, "year": movie.year, "path": str(movie.path)}
    found |= {"monitored": movie.monitored, "available": movie.available, "hasFile": movie.file is not None}
    return found | {"tmdbId": movie.tmdb_id, "alternateTitles": list(movie.alternate_titles)}


def _release(release: Release) -> dict[str, Any]:
    found = {"id": release.id, "movieIds": list(release.movie_ids), "title": release.title}
    return found | {"indexer": release.indexer, "infoHash": release.infohash, "size": release.size}


def _fault(fault: Fault) -> dict[str, Any]:
    return _camel_keys(asdict(fault))


def _camel_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    def camel(name: str) -> str:
        first, *rest = name.split("_")
        return first + "".join(word.capitalize() for word in rest)

    return {camel(k): v for k, v in table.items()}


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name)


async def _body(request: web.Request, allowed: set[str] | None) -> dict[str, Any]:
    """Read a JSON object, its names turned to Python's. Raises SandboxError for anything else and unknown names."""
    try:
        found = json.loads(await request.text() or "{}")
    except ValueError as error:
        raise SandboxError("The body is not JSON.") from error
    if not isinstance(found, dict):
        raise SandboxError("The body is not a JSON object.")
    unknown = set(found) - allowed if allowed is not None else set()
    if unknown:
        raise SandboxError(f"Unknown: {', '.join(sorted(unknown))}. Known: {', '.join(sorted(allowed or ()))}.")
    return {_snake(name): value for name, value in found.items()}
