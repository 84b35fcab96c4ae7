"""Calls to a Servarr program (Radarr; the others are one line each in `servarr_dialect.SERVARR`).

Thin on purpose: it says what the program said, in types, and decides nothing. A write is sent exactly once; when its
answer is lost, its effect is unknown, and the caller has to look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from looparr.clients.failures import HttpReason, status_error
from looparr.clients.http import MEBIBYTE, Endpoint, Http, Reply
from looparr.clients.servarr_dialect import SERVARR
from looparr.clients.servarr_wire import (
    Command,
    DownloadClient,
    DownloadClientConfig,
    HistoryRecord,
    Item,
    Page,
    QueueRow,
    QueueStatus,
    RawDownloadClient,
    RawRecord,
    SystemStatus,
)
from looparr.errors import Blocked, Transient

PAGE_SIZE = 1000
NOT_FOUND = 404
MAX_BYTES = 256 * MEBIBYTE

Params = list[tuple[str, str]]

_SYSTEM = msgspec.json.Decoder(SystemStatus)
_QUEUE_STATUS = msgspec.json.Decoder(QueueStatus)
_PAGE = msgspec.json.Decoder(Page)
_RECORDS = msgspec.json.Decoder(list[RawRecord])
_COMMAND = msgspec.json.Decoder(Command)
_COMMANDS = msgspec.json.Decoder(list[Command])
_ITEM = msgspec.json.Decoder(Item)
_CLIENTS = msgspec.json.Decoder(list[RawDownloadClient])
_CLIENT_CONFIG = msgspec.json.Decoder(DownloadClientConfig)
_FOLDERS = msgspec.json.Decoder(list[dict[str, Any]])


class StaleQueue(Transient):
    """A queue row is not there any more; of a bulk call with one such row nothing was done. Refresh, then singly."""

    def __init__(self, message: str) -> None:
        super().__init__("StaleQueue", message)


class Servarr:
    """One Servarr program. All calls raise LoopError (reasons: `HttpReason`); times are aware UTC.

    endpoint: base URL, a URL base included. api_key: goes into the X-Api-Key header only. type: key of SERVARR.
    http: the process' shared pool. wall: aware UTC now. timeout: seconds of one call.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        api_key: str,
        *,
        http: Http,
        type: str = "Radarr",  # noqa: A002 - the field's own name
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        timeout: float = 60.0,
    ) -> None:
        self.dialect = SERVARR[type]
        self._endpoint = endpoint
        self._headers = {"X-Api-Key": api_key.strip(), "Accept": "application/json"}
        self._http = http
        self._wall = wall
        self._timeout = timeout
        self._skew: float | None = None

    @property
    def skew_seconds(self) -> float | None:
        """Seconds that the program's clock (Date header of the last answer, whole seconds) is ahead of ours."""
        return self._skew

    async def status(self) -> SystemStatus:
        """Ask which program answers here, and its version."""
        return (await self._call("GET", "system/status")).decode(_SYSTEM)

    async def queue(self, *, include_unknown: bool = True) -> list[QueueRow]:
        """Give the whole queue as it is at one moment.

        Pages shift while they are read, so a queue that is longer than one page is asked for again as one page.
        Raises Transient (QueueChanging) when even that does not give all rows.
        """
        wanted = PAGE_SIZE
        for _ in range(4):
            page = await self._page(
                "queue", 1, wanted, [(self.dialect.include_unknown, "true" if include_unknown else "false")]
            )
            rows = {raw.id: raw for raw in page.records or ()}
            if len(rows) >= page.total_records:
                return [raw.row(self.dialect) for raw in rows.values()]
            wanted = page.total_records + PAGE_SIZE
        raise Transient("QueueChanging", f"{self._endpoint.host} did not give its whole queue in one answer")

    async def queue_status(self) -> QueueStatus:
        """Ask for the counters of the queue; compare with `==`."""
        return (await self._call("GET", "queue/status")).decode(_QUEUE_STATUS)

    async def history_since(self, date: datetime) -> list[HistoryRecord]:
        """Give all events since that aware time."""
        reply = await self._call("GET", "history/since", [("date", f"{date.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}")])
        return [raw.record(self.dialect) for raw in reply.decode(_RECORDS)]

    async def delete_queue(
        self,
        ids: Collection[int],
        *,
        remove_from_client: bool,
        blocklist: bool,
        skip_redownload: bool,
    ) -> None:
        """Take downloads out of the queue: one row id for each (a row stands for its whole download).

        remove_from_client deletes the torrent with its data. Not atomic beyond the look-up of the ids.
        Raises StaleQueue on 404. After Transient the effect is unknown: look, never just send it again.
        """
        flags = {
            "removeFromClient": remove_from_client,
            "blocklist": blocklist,
            "skipRedownload": skip_redownload,
            "changeCategory": False,
        }
        params = [(name, "true" if value else "false") for name, value in flags.items()]
        match list(ids):
            case []:
                return
            case [single]:
                reply = await self._call("DELETE", f"queue/{single}", params, tolerate=(NOT_FOUND,))
            case several:
                reply = await self._call("DELETE", "queue/bulk", params, {"ids": several}, tolerate=(NOT_FOUND,))
        if reply.status == NOT_FOUND:
            raise StaleQueue(f"{reply.what} answered 404: a row has left the queue meanwhile")

    async def mark_failed(self, history_id: int) -> None:
        """Mark a grabbed event as failed: blocklists the release; the Arr searches again if it is set to."""
        await self._call("POST", f"history/failed/{history_id}")

    async def command(self, name: str, **body: Any) -> Command:
        """Start a command by name; `body` are its fields, such as movieIds=[1]. Returns what was queued."""
        return (await self._call("POST", "command", (), {"name": name, **body})).decode(_COMMAND)

    async def commands(self) -> list[Command]:
        """Give the commands that the Arr remembers (queued, started, and lately ended), bodies included."""
        return (await self._call("GET", "command")).decode(_COMMANDS)

    async def movie(self, id: int) -> Item | None:  # noqa: A002 - the field's own name
        """Give one item; None only when the program itself says (in JSON) that there is none, not a proxy before it."""
        reply = await self._call("GET", f"{self.dialect.item_path}/{id}", tolerate=(NOT_FOUND,))
        if reply.status == NOT_FOUND:
            if reply.is_json:
                return None
            raise status_error(reply.what, reply.status, reply.headers)
        return reply.decode(_ITEM)

    async def download_clients(self) -> list[DownloadClient]:
        """Give the download clients that are set up in the Arr, with their categories."""
        return [raw.client(self.dialect) for raw in (await self._call("GET", "downloadclient")).decode(_CLIENTS)]

    async def download_client_config(self) -> DownloadClientConfig:
        """Ask what the Arr does by itself about failed downloads."""
        return (await self._call("GET", "config/downloadclient")).decode(_CLIENT_CONFIG)

    async def root_folders(self) -> list[str]:
        """Give the paths of the library, as the Arr sees them."""
        folders = (await self._call("GET", "rootfolder")).decode(_FOLDERS)
        return [str(one["path"]) for one in folders if one.get("path")]

    async def close(self) -> None:
        """Let go. The pool belongs to the process and stays open."""

    async def _page(self, path: str, number: int, size: int, params: Params) -> Page:
        reply = await self._call("GET", path, [("page", str(number)), ("pageSize", str(size)), *params])
        return reply.decode(_PAGE)

    async def _call(
        self,
        method: str,
        path: str,
        params: Collection[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
        tolerate: Collection[int] = (),
    ) -> Reply:
        key = self._headers["X-Api-Key"]
        if not (key.isascii() and key.isprintable()):
            raise Blocked(
                HttpReason.UNAUTHORIZED, "the API key holds characters that no header can carry: copy it again"
            )
        headers = self._headers if body is None else self._headers | {"Content-Type": "application/json"}
        reply = await self._http.request(
            method,
            self._endpoint,
            f"{self.dialect.prefix}/{path}",
            params=list(params) or None,
            body=None if body is None else msgspec.json.encode(body),
            headers=headers,
            timeout=self._timeout,
            max_bytes=MAX_BYTES,
            tolerate=tolerate,
        )
        if (date := reply.date) is not None:
            self._skew = (date - self._wall()).total_seconds()
        return reply
