"""The stand-in's hand on its download client: a real qBittorrent, through its Web API."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from time import monotonic
from typing import Any

import aiohttp

_FORBIDDEN = 403
_CONFLICT = 409
_LOGIN_PAUSE = 30.0
"""Seconds without a further log-in after a refused one, so that qBittorrent never bans the address."""


class ClientUnavailable(Exception):
    """The download client cannot be reached, refuses the log-in or answers with an error."""


class GrabRefused(Exception):
    """The download client is there but does not want this release."""


class QBittorrentClient:
    """A few calls, one session. calls counts them by method and path, so that a benchmark can tell them apart."""

    def __init__(
        self,
        url: str,
        *,
        username: str = "",
        password: str = "",
        timeout: timedelta = timedelta(seconds=60),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.url = url.rstrip("/")
        self.username = username
        self._password = password
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._no_login_before = 0.0
        self._version: tuple[int, ...] | None = None
        self.calls: Counter[str] = Counter()

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _call(self, method: str, path: str, **options: Any) -> tuple[int, str]:
        if self._session is None:
            jar = aiohttp.CookieJar(unsafe=True)
            self._session = aiohttp.ClientSession(cookie_jar=jar, timeout=self._timeout)
        self.calls[f"{method} {path}"] += 1
        try:
            async with self._session.request(method, f"{self.url}/api/v2/{path}", **options) as reply:
                return reply.status, await reply.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClientUnavailable(f"qBittorrent does not answer: {type(error).__name__}") from error

    async def _login(self) -> None:
        if self._clock() < self._no_login_before:
            raise ClientUnavailable("qBittorrent refused the last log-in")
        form = {"username": self.username, "password": self._password}
        status, text = await self._call("POST", "auth/login", data=form)
        if status not in {200, 204} or text == "Fails.":
            self._no_login_before = self._clock() + _LOGIN_PAUSE
            raise ClientUnavailable("qBittorrent refused the log-in")

    async def call(
        self,
        method: str,
        path: str,
        *,
        tolerate: int = 0,
        form: Callable[[], Any] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> str:
        """Make one call; logs in once on 403. form is built anew for a second try. Raises ClientUnavailable."""
        for attempt in range(2):
            data = form() if form else None
            status, text = await self._call(method, path, data=data, params=query)
            if status == _FORBIDDEN and attempt == 0:
                await self._login()
                continue
            break
        if status >= 400 and status != tolerate:  # noqa: PLR2004 - HTTP says so
            raise ClientUnavailable(f"qBittorrent answered {path} with {status}")
        return text

    async def read(self, path: str, **query: str) -> Any:
        """GET one JSON document. Raises ClientUnavailable."""
        text = await self.call("GET", path, query=query)
        try:
            return json.loads(text)
        except ValueError as error:
            raise ClientUnavailable(f"qBittorrent answered {path} with something that is not JSON") from error

    async def version(self) -> tuple[int, ...]:
        """Tell the Web API's version, (2, 8, 19) for example; asked once."""
        if self._version is None:
            text = await self.call("GET", "app/webapiVersion")
            self._version = tuple(int(part) for part in text.split(".") if part.isdigit())
        return self._version

    async def preferences(self) -> Mapping[str, Any]:
        """GET app/preferences."""
        found: Mapping[str, Any] = await self.read("app/preferences")
        return found

    async def torrents(self, category: str) -> list[Mapping[str, Any]]:
        """GET torrents/info of one category."""
        found: list[Mapping[str, Any]] = await self.read("torrents/info", category=category)
        return found

    async def create_category(self, category: str) -> None:
        """Make a category; one that is there already is fine."""
        await self.call("POST", "torrents/createCategory", tolerate=_CONFLICT, form=lambda: {"category": category})

    async def set_category(self, infohash: str, category: str) -> None:
        """Move a torrent into another category. Raises ClientUnavailable, too, where there is no such category."""
        form = {"hashes": infohash.lower(), "category": category}
        await self.call("POST", "torrents/setCategory", form=lambda: form)

    async def delete(self, infohash: str) -> None:
        """Delete a torrent WITH its data; one that is gone already is no error, as in qBittorrent itself."""
        form = {"hashes": infohash.lower(), "deleteFiles": "true"}
        await self.call("POST", "torrents/delete", form=lambda: form)

    async def add(self, content: bytes | str, *, category: str, name: str) -> None:
        """Add a .torrent's bytes or a magnet link, running. Raises GrabRefused, ClientUnavailable."""
        stopped = "stopped" if await self.version() >= (2, 11, 0) else "paused"

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field("category", category)
            data.add_field(stopped, "false")
            if isinstance(content, bytes):
                data.add_field("torrents", content, filename=f"{name}.torrent", content_type="application/x-bittorrent")
            else:
                data.add_field("urls", content)
            return data

        if (await self.call("POST", "torrents/add", form=form, tolerate=_CONFLICT)) == "Fails.":
            raise GrabRefused("qBittorrent refused the torrent (it may have it already)")

    async def is_loaded(self, infohash: str, *, tries: int = 20, pause: float = 0.1) -> bool:
        """Wait until an added torrent can be seen: adding is asynchronous in qBittorrent."""
        for _ in range(tries):
            if await self.read("torrents/info", hashes=infohash.lower()):
                return True
            await asyncio.sleep(pause)
        return False
