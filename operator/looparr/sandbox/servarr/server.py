"""The stand-in as a server: inside a test, or alone until it is stopped."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from aiohttp import web

from looparr.errors import SandboxError
from looparr.sandbox.servarr.app import App
from looparr.sandbox.servarr.arr import Arr
from looparr.sandbox.servarr.arrtype import TYPES
from looparr.sandbox.servarr.counters import Requests
from looparr.sandbox.servarr.faults import Faults
from looparr.sandbox.servarr.qbittorrent import QBittorrentClient
from looparr.sandbox.servarr.state import Book, Config
from looparr.sandbox.servarr.world import World


class ServarrServer:
    """One stand-in: `async with ServarrServer(qbittorrent_url) as server:`.

    url, api_key, world, faults and requests are what a test needs. port 0 takes a free one and keeps it. root: the
    library's root folder, by default a temporary one that goes with the server. Raises SandboxError at start.
    """

    def __init__(
        self,
        qbittorrent_url: str,
        *,
        type: str = "Radarr",  # noqa: A002 - the field's own word
        username: str = "",
        password: str = "",
        api_key: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        root: Path | None = None,
        refresh_seconds: float = 60.0,
        url_base: str = "",
        category: str = "radarr",
        imported_category: str = "",
    ) -> None:
        if type not in TYPES:
            raise SandboxError(f"No stand-in for type {type!r}: one of {', '.join(TYPES)}.")
        self.type = type
        self.api_key = api_key or secrets.token_hex(16)
        self.host = host
        self.port = port
        self._url_base = url_base.strip("/")
        self._own_root = None if root else tempfile.TemporaryDirectory(prefix="looparr-servarr-")
        folder = root or Path(self._own_root.name if self._own_root else "")
        book = Book(lambda: datetime.now(UTC), folder, Config(category, imported_category))
        client = QBittorrentClient(qbittorrent_url, username=username, password=password)
        self._arr = Arr(TYPES[type], book, client, refresh_seconds)
        self.world = World(self._arr)
        self.faults = Faults()
        self.requests = Requests()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, UrlBase included, without a slash at the end."""
        return f"http://{self.host}:{self.port}" + (f"/{self._url_base}" if self._url_base else "")

    @property
    def client_calls(self) -> dict[str, int]:
        """The stand-in's own calls to its download client, by "METHOD path"."""
        return dict(self._arr.client.calls)

    async def start(self) -> None:
        """Listen and start the schedule. Raises SandboxError when the port is taken or the root cannot be made."""
        try:
            self._arr.book.root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SandboxError(f"The root folder cannot be made ({error.strerror}): choose another --root.") from error
        await self.listen()
        self._arr.start()

    async def listen(self) -> None:
        """Open the port; after `go_away` on the same port again."""
        app = App(
            self._arr, self.world, self.faults, self.requests, api_key=self.api_key, url_base=self._url_base
        ).make()
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise SandboxError(
                f"Port {self.port} cannot be opened ({error.strerror}): choose another --port."
            ) from error
        self.port = self._runner.addresses[0][1]

    async def go_away(self) -> None:
        """Close the port and all connections, as an Arr that is down; what it knows and its schedule stay."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def close(self) -> None:
        """Stop everything; a temporary root folder is deleted."""
        await self.go_away()
        await self._arr.close()
        if self._own_root is not None:
            await asyncio.to_thread(self._own_root.cleanup)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def serve(
    type: str,  # noqa: A002 - the field's own word
    port: int,
    qbittorrent_url: str,
    *,
    username: str = "",
    password: str = "",
    api_key: str | None = None,
    host: str = "127.0.0.1",
    root: Path | None = None,
    refresh_seconds: float = 60.0,
    url_base: str = "",
    category: str = "radarr",
    imported_category: str = "",
    as_json: bool = False,
) -> None:
    """Serve one stand-in until cancelled; says URL and API key in one line on stdout once it is ready.

    port 0: a free one. as_json: the line is {"type", "url", "apiKey"}. Raises SandboxError when it cannot start.
    """
    server = ServarrServer(
        qbittorrent_url,
        type=type,
        username=username,
        password=password,
        api_key=api_key,
        host=host,
        port=port,
        root=root,
        refresh_seconds=refresh_seconds,
        url_base=url_base,
        category=category,
        imported_category=imported_category,
    )
    async with server:
        ready = {"type": server.type, "url": server.url, "apiKey": server.api_key}
        text = (
            json.dumps(ready) if as_json else f"{server.type} stands in at {server.url} with API key {server.api_key}"
        )
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()
