"""The Arr's HTTP API: what Radarr serves under /api/v3, as far as an operator of its downloads needs it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from looparr.sandbox.servarr.arr import Arr, Removal
from looparr.sandbox.servarr.monitor import Row
from looparr.sandbox.servarr.paging import QUEUE_KEYS, page, row_status
from looparr.sandbox.servarr.resources import Resources
from looparr.sandbox.servarr.state import HistoryEvent
from looparr.sandbox.servarr.wire import BadValue, Query, reply

FAIL_AFTER = web.RequestKey("fail_after", int)
THROWS_MIDWAY = web.RequestKey("throws_midway", bool)
EMPTY_QUEUE = web.RequestKey("empty_queue", bool)


class Api:
    """One handler per path and method."""

    def __init__(self, arr: Arr, resources: Resources) -> None:
        self._arr = arr
        self._resources = resources

    def routes(self) -> Iterable[web.RouteDef]:
        """List everything that is served."""
        prefix = self._arr.type.prefix
        item = self._arr.type.item
        return [
            web.get("/ping", self.ping),
            web.get(f"{prefix}/system/status", self.status),
            web.get(f"{prefix}/downloadclient", self.download_clients),
            web.get(f"{prefix}/config/downloadclient", self.client_config),
            web.get(f"{prefix}/rootfolder", self.root_folders),
            web.get(f"{prefix}/queue", self.queue),
            web.get(f"{prefix}/queue/details", self.queue_details),
            web.get(f"{prefix}/queue/status", self.queue_status),
            web.delete(f"{prefix}/queue/bulk", self.remove_many),
            web.delete(f"{prefix}/queue/{{id:\\d+}}", self.remove_one),
            web.get(f"{prefix}/history", self.history),
            web.get(f"{prefix}/history/since", self.history_since),
            web.get(f"{prefix}/history/{item}", self.history_of_item),
            web.post(f"{prefix}/history/failed/{{id:\\d+}}", self.mark_failed),
            web.get(f"{prefix}/blocklist", self.blocklist),
            web.get(f"{prefix}/{item}", self.movies),
            web.get(f"{prefix}/{item}/{{id:\\d+}}", self.movie),
            web.get(f"{prefix}/command", self.commands),
            web.post(f"{prefix}/command", self.start_command),
            web.get(f"{prefix}/command/{{id:\\d+}}", self.command),
        ]

    async def ping(self, _: web.Request) -> web.Response:
        """Answer without a key."""
        return reply({"status": "OK"})

    async def status(self, _: web.Request) -> web.Response:
        """GET system/status."""
        return reply(self._resources.status())

    async def download_clients(self, _: web.Request) -> web.Response:
        """GET downloadclient."""
        return reply([self._resources.download_client()])

    async def client_config(self, _: web.Request) -> web.Response:
        """GET config/downloadclient."""
        return reply(self._resources.client_config())

    async def root_folders(self, _: web.Request) -> web.Response:
        """GET rootfolder."""
        return reply([self._resources.root_folder()])

    # queue

    def _rows(self, request: web.Request) -> list[Row]:
        return [] if request.get(EMPTY_QUEUE) else self._arr.monitor.rows()

    async def queue(self, request: web.Request) -> web.Response:
        """GET queue: paged; torrents of no known movie only when asked for."""
        query, arr_type = Query(request), self._arr.type
        unknown = query.flag(arr_type.include_unknown)
        with_item = query.flag(arr_type.include_item)
        wanted, states = query.numbers(arr_type.item_ids), query.words("status")
        protocol = (query.text("protocol") or "torrent").lower()
        rows = [
            row
            for row in self._rows(request)
            if (unknown or row.movie_id is not None)
            and (not wanted or row.movie_id in wanted)
            and (not states or row_status(row).lower() in states)
            and protocol == "torrent"
        ]
        shown = page(
            query,
            rows,
            QUEUE_KEYS,
            lambda row: self._resources.row(row, with_item=with_item),
            default_key="timeleft",
            wraps=True,
        )
        return reply(shown)

    async def queue_details(self, request: web.Request) -> web.Response:
        """GET queue/details: all rows at once, unknown ones too, or those of one movie."""
        query = Query(request)
        wanted = query.number(self._arr.type.item_id)
        with_item = query.flag(self._arr.type.include_item)
        rows = [row for row in self._rows(request) if wanted is None or row.movie_id == wanted]
        return reply([self._resources.row(row, with_item=with_item) for row in rows])

    async def queue_status(self, request: web.Request) -> web.Response:
        """GET queue/status: counters only."""
        rows = self._rows(request)
        warned = [row for row in rows if row.tracked and row.tracked.warnings]
        return reply(
            {
                "totalCount": len(rows),
                "count": sum(row.movie_id is not None for row in rows),
                "unknownCount": sum(row.movie_id is None for row in rows),
                "errors": False,
                "warnings": any(row.movie_id is not None for row in warned),
                "unknownErrors": False,
                "unknownWarnings": any(row.movie_id is None for row in warned),
                "id": 0,
            },
        )

    def _removal(self, request: web.Request) -> Removal:
        query = Query(request)
        return Removal(
            remove_from_client=query.flag("removeFromClient", default=True),
            blocklist=query.flag("blocklist"),
            skip_redownload=query.flag("skipRedownload"),
            change_category=query.flag("changeCategory"),
            throws_midway=request.get(THROWS_MIDWAY, False),
        )

    async def remove_one(self, request: web.Request) -> web.Response:
        """DELETE queue/{id}: acts on the whole download; an empty answer."""
        async with self._arr.lock:
            await self._arr.remove([int(request.match_info["id"])], self._removal(request))
        return web.Response(status=200)

    async def remove_many(self, request: web.Request) -> web.Response:
        """DELETE queue/bulk: {"ids": [...]}, all resolved first."""
        body = await _body(request)
        ids = body.get("ids")
        if not isinstance(ids, list) or not all(isinstance(i, int) for i in ids):
            raise BadValue("ids", str(ids))
        async with self._arr.lock:
            await self._arr.remove(ids, self._removal(request), fail_after=request.get(FAIL_AFTER))
        return reply({})

    # history and blocklist

    def _events(self, events: Iterable[HistoryEvent], query: Query) -> list[Any]:
        with_item = query.flag(self._arr.type.include_item)
        return [self._resources.event(event, with_item=with_item) for event in events]

    async def history(self, request: web.Request) -> web.Response:
        """GET history: paged, newest first; eventType takes numbers only, downloadId is compared case and all."""
        query = Query(request)
        numbers, download_id = query.numbers("eventType"), query.text("downloadId")
        wanted, with_item = query.numbers(self._arr.type.item_ids), query.flag(self._arr.type.include_item)
        codes = self._arr.type.events
        events = [
            event
            for event in self._arr.book.history.values()
            if (not numbers or codes[event.event_type] in numbers)
            and (download_id is None or event.download_id == download_id)
            and (not wanted or event.movie_id in wanted)
        ]
        shown = page(
            query,
            events,
            {"date": lambda event: (event.date, event.id)},
            lambda event: self._resources.event(event, with_item=with_item),
            default_key="date",
        )
        return reply(shown)

    def _event_type(self, query: Query) -> str | None:
        word = query.text("eventType")
        if word is None:
            return None
        for name, number in self._arr.type.events.items():
            if word.lower() in {name.lower(), str(number)}:
                return name
        raise BadValue("eventType", word)

    async def history_since(self, request: web.Request) -> web.Response:
        """GET history/since?date=: oldest first; eventType takes a name or a number."""
        query = Query(request)
        since, wanted = query.time("date"), self._event_type(query)
        events = [
            event
            for event in self._arr.book.history.values()
            if (since is None or event.date >= since) and wanted in {None, event.event_type}
        ]
        return reply(self._events(sorted(events, key=lambda e: (e.date, e.id)), query))

    async def history_of_item(self, request: web.Request) -> web.Response:
        """GET history/movie?movieId=: newest first."""
        query = Query(request)
        item, wanted = query.number(self._arr.type.item_id) or 0, self._event_type(query)
        events = [
            event
            for event in self._arr.book.history.values()
            if event.movie_id == item and wanted in {None, event.event_type}
        ]
        return reply(self._events(sorted(events, key=lambda e: (e.date, e.id), reverse=True), query))

    async def mark_failed(self, request: web.Request) -> web.Response:
        """POST history/failed/{id}: fails by a line of the history, always with the Arr's own redownload rules."""
        event = self._arr.book.history.get(int(request.match_info["id"]))
        if event is None:
            return not_found()
        async with self._arr.lock:
            self._arr.failures.mark_history_failed(event)
        return reply({})

    async def blocklist(self, request: web.Request) -> web.Response:
        """GET blocklist: paged, newest first."""
        query = Query(request)
        wanted = query.numbers(self._arr.type.item_ids)
        entries = [e for e in self._arr.book.blocklist.values() if not wanted or e.movie_id in wanted]
        keys = {
            "date": lambda e: (e.date, e.id),
            "sourceTitle": lambda e: e.title,
            "indexer": lambda e: e.indexer or "",
        }
        return reply(page(query, entries, keys, self._resources.blocked, default_key="date"))

    # library and commands

    async def movies(self, request: web.Request) -> web.Response:
        """GET movie: the library, or the one of a tmdbId."""
        tmdb_id = Query(request).number("tmdbId")
        movies = [m for m in self._arr.book.movies.values() if tmdb_id in {None, m.tmdb_id}]
        return reply([self._resources.movie(movie) for movie in movies])

    async def movie(self, request: web.Request) -> web.Response:
        """GET movie/{id}."""
        movie = self._arr.book.movies.get(int(request.match_info["id"]))
        return not_found() if movie is None else reply(self._resources.movie(movie))

    async def commands(self, _: web.Request) -> web.Response:
        """GET command: started first, then queued, then ended ones (for five minutes)."""
        order = {"started": 0, "queued": 1}
        found = sorted(self._arr.commands.all.values(), key=lambda c: (order.get(c.status, 2), c.id))
        return reply([self._resources.command(command) for command in found])

    async def command(self, request: web.Request) -> web.Response:
        """GET command/{id}."""
        command = self._arr.commands.all.get(int(request.match_info["id"]))
        return not_found() if command is None else reply(self._resources.command(command))

    async def start_command(self, request: web.Request) -> web.Response:
        """POST command {name, ...}: 201 with the command, or with the open one that equals it."""
        body = await _body(request)
        name = body.pop("name", None)
        if not name:
            return reply([{"propertyName": "Name", "errorMessage": "'Name' must not be empty."}], 400)
        if not self._arr.commands.knows(str(name)):
            return reply({"message": "Sequence contains no matching element"}, 500)
        agent = request.headers.get("User-Agent")
        command = self._arr.commands.push(str(name), body, trigger="manual", user_agent=agent)
        return reply(self._resources.command(command), 201)


def not_found() -> web.Response:
    """Answer as ASP.NET does for an id that does not exist."""
    found = reply(
        {"title": "Not Found", "status": 404, "type": "https://tools.ietf.org/html/rfc9110#section-15.5.5"}, 404
    )
    found.content_type = "application/problem+json"
    return found


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        found = json.loads(await request.text() or "null")
    except ValueError as error:
        raise BadValue("body", "not JSON") from error
    if not isinstance(found, dict):
        raise BadValue("body", "not an object")
    return found
