"""Calls to qBittorrent: an asynchronous face before qbittorrent-api, which is synchronous.

Calls run in an executor of the client's own, so that a dead host fills only its own threads. The library names the
calls; `session` logs in and sends. Branches are taken on the version of the Web API, never on the product's.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from looparr.clients.egress import EgressPolicy
from looparr.clients.failures import HttpReason, not_json, parse_date, transport_error
from looparr.clients.http import CONNECT_SECONDS, Endpoint
from looparr.clients.qbittorrent.session import LOGIN_REFUSED, Caller, Credentials
from looparr.clients.qbittorrent.transport import Answer
from looparr.clients.qbittorrent.wire import MainData, Torrent, Tracker, decode_info, decode_maindata, decode_trackers
from looparr.errors import Blocked, LoopError, Transient
from looparr.runtime.executor import Executor

__all__ = ["LOGIN_REFUSED", "Credentials", "QBittorrent", "Versions"]

T = TypeVar("T")

WEB_API_5 = (2, 11)
"""The Web API of qBittorrent 5.0, which has `private` in torrents/info."""

_HASH = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_OBJECT = msgspec.json.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Versions:
    """app: the product, such as "v4.5.2", for people only. web_api: such as "2.8.19", the one to branch on."""

    app: str
    web_api: str

    @property
    def web_api_tuple(self) -> tuple[int, ...]:
        """web_api as numbers, such as (2, 8, 19); () when it is no version."""
        try:
            return tuple(int(part) for part in self.web_api.split("."))
        except ValueError:
            return ()


class QBittorrent:
    """One qBittorrent. Every call raises LoopError: reasons are `HttpReason`, and LoginRefused.

    endpoint: base URL of the Web UI. credentials None: the address needs no log-in. timeout and list_timeout: seconds
    for a call, and for one that may hold the whole list (4.x is slow at 10,000 torrents). monotonic: seconds.
    A write takes many hashes, is sent once, and after Transient its effect is unknown. No hashes: no call.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials | None = None,
        *,
        egress: EgressPolicy,
        timeout: float = 30.0,
        list_timeout: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._caller = Caller(endpoint, credentials, egress, monotonic)
        # One thread of its own: qBittorrent answers one call at a time, and a dead one holds up nobody else.
        self._executor = Executor(f"qbittorrent-{endpoint.host}", 1)
        self._timeout = timeout
        self._list_timeout = list_timeout
        self._web_api: tuple[int, ...] = ()
        self._closed = False

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return self._endpoint.host

    def forget_refusal(self) -> None:
        """Let the next call log in again although the last log-in was refused: somebody asked for it."""
        self._caller.forget_refusal()

    async def versions(self) -> Versions:
        """Ask for both versions. Raises Blocked (UnexpectedReply) when this is no qBittorrent."""
        app = (await self._call("app", "version")).text.strip()
        web_api = (await self._call("app", "webapiVersion")).text.strip()
        found = Versions(app=app, web_api=web_api)
        if not found.web_api_tuple:
            raise Blocked(
                HttpReason.UNEXPECTED_REPLY,
                f"{self.host} gave no Web API version: is the URL that of qBittorrent, is there a proxy before it?",
            )
        self._web_api = found.web_api_tuple
        return found

    async def maindata(self, rid: int) -> MainData:
        """Ask for what has changed since answer `rid` of this session; 0, or a new session, gives the whole list.

        For `Mirror` only: each change is given once, to whoever asks.
        """

        def read(answer: Answer) -> MainData:
            return decode_maindata(answer.content, parse_date(answer.headers.get("Date")))

        return await self._run("sync", "maindata", {"rid": rid}, read, self._list_timeout)

    async def info(self, hashes: Collection[str]) -> list[Torrent]:
        """Ask for these torrents afresh; those that are not there are missing from the answer. Any length."""
        if not hashes:
            return []
        return await self._run(
            "torrents", "info", {"hashes": _join(hashes)}, lambda answer: decode_info(answer.content)
        )

    async def is_private(self, hash: str) -> bool | None:  # noqa: A002 - the field's own name
        """Say whether the torrent is private; None: not known (no metadata yet, or no such torrent)."""
        if await self._web_api_version() >= WEB_API_5:
            found = await self.info([hash])
            return found[0].private if found else None
        try:
            properties = await self._run("torrents", "properties", {"hash": _join([hash])}, _object)
        except Blocked as exc:
            if exc.reason == HttpReason.NOT_FOUND:
                return None
            raise
        private = properties.get("is_private")
        # Before 5.0 a torrent without metadata is called public.
        has_metadata = properties.get("pieces_num", 0) > 0
        return private if has_metadata and isinstance(private, bool) else None

    async def trackers(self, hash: str) -> list[Tracker]:  # noqa: A002 - the field's own name
        """Give the trackers of a torrent, DHT and its kin included; none when there is no such torrent."""
        try:
            return await self._run(
                "torrents", "trackers", {"hash": _join([hash])}, lambda answer: decode_trackers(answer.content)
            )
        except Blocked as exc:
            if exc.reason == HttpReason.NOT_FOUND:
                return []
            raise

    async def delete(self, hashes: Collection[str], *, delete_files: bool) -> None:
        """Remove torrents, with their data if `delete_files`. Hashes that are not there are no error."""
        await self._write("delete", hashes, deleteFiles="true" if delete_files else "false")

    async def close(self) -> None:
        """Cut calls in flight, close connections, let the threads end. Not to be used afterwards."""
        self._closed = True
        self._caller.shut()
        self._executor.close()

    async def _web_api_version(self) -> tuple[int, ...]:
        if not self._web_api:
            await self.versions()
        return self._web_api

    async def _write(self, method: str, hashes: Collection[str], **data: str) -> None:
        if hashes:
            await self._call("torrents", method, {"hashes": _join(hashes), **data})

    async def _call(self, namespace: str, method: str, data: Mapping[str, Any] | None = None) -> Answer:
        return await self._run(namespace, method, data or {}, lambda answer: answer)

    async def _run(
        self,
        namespace: str,
        method: str,
        data: Mapping[str, Any],
        read: Callable[[Answer], T],
        timeout: float | None = None,  # noqa: ASYNC109 - a limit between bytes, kept by requests
    ) -> T:
        """Send and read in a thread: decoding a long list would block the event loop, too."""
        limit = timeout or self._timeout

        def work() -> T:
            answer = self._caller.send(namespace, method, data, limit)
            try:
                return read(answer)
            except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
                raise not_json(f"qBittorrent {self.host}/api/v2/{namespace}/{method}", answer.content) from exc

        try:
            async with asyncio.timeout(2 * limit + CONNECT_SECONDS):
                return await self._in_thread(work)
        except TimeoutError as exc:
            self._caller.cut()  # it drips: free the thread
            raise transport_error(f"qBittorrent {self.host}/api/v2/{namespace}/{method}", exc, timeout=limit) from exc
        except LoopError:
            self._web_api = ()  # it may come back as another version
            raise

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run in our executor. A client that is closed, now or meanwhile, is a Transient error and no cancellation."""
        closed = Transient(HttpReason.UNREACHABLE, f"{self.host}: the client was closed meanwhile")
        if self._closed:
            raise closed
        try:
            return await self._executor.run(work)
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if self._closed and not (asking and asking.cancelling()):
                raise closed from None
            raise


def _object(answer: Answer) -> dict[str, Any]:
    return _OBJECT.decode(answer.content)


def _join(hashes: Collection[str]) -> str:
    """Join hashes for the wire. Raises ValueError for anything else: `all` would mean every torrent there is."""
    for one in hashes:
        if not _HASH.fullmatch(one):
            raise ValueError(f"{one!r} is no torrent hash")
    return "|".join(hashes)
