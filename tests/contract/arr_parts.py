"""What the stories of an ArrInstance are made of beside the instance: a clock, Secrets, a counting proxy, a server."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
from aiohttp import web

from looparr.clients.kube_secrets import Secret
from looparr.sandbox.qbittorrent import QBittorrent


@dataclass
class JumpingClock:
    """The machine's clock plus whatever a test added to it."""

    ahead: float = 0.0

    def wall(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.ahead)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead


@dataclass
class OfferedSecrets:
    """Stands where the cluster would give Secrets."""

    known: dict[str, dict[str, bytes]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)

    def put(self, name: str, **data: str) -> None:
        self.known[name] = {key: value.encode() for key, value in data.items()}
        self.versions[name] = self.versions.get(name, 0) + 1

    def texts(self) -> dict[str, dict[str, str]]:
        return {name: {key: value.decode() for key, value in one.items()} for name, one in self.known.items()}

    async def read(self, namespace: str, name: str, *, fresh: bool = False) -> Secret:
        return Secret(namespace, name, f"uid-{name}", str(self.versions[name]), self.known[name])


async def eventually(what: Callable[[], Any], limit: float = 20.0) -> None:
    """Wait until something is true, without turns."""
    async with asyncio.timeout(limit):
        while True:
            if what():
                return
            await asyncio.sleep(0.02)


@dataclass
class CountingProxy:
    """Stands before a client and counts what it is asked: paths below api/v2.

    broken: hashes that it cannot look up. refused: how often it was asked for each of them. cut: it answers nobody.
    deaf: it hangs up on whoever looks a single torrent up.
    """

    target: str
    asked: Counter[str] = field(default_factory=Counter)
    broken: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    cut: bool = False
    deaf: bool = False
    url: str = ""

    async def forward(self, request: web.Request) -> web.Response:
        path = request.path.removeprefix("/api/v2/")
        self.asked[path] += 1
        single = path in {"torrents/trackers", "torrents/properties"}
        if (self.cut or (self.deaf and single)) and request.transport is not None:
            request.transport.abort()
        said = (await request.read()).decode(errors="replace") + request.query_string
        if single:
            refused = [one for one in self.broken if one in said]
            self.refused.update(refused)
            if refused:
                return web.Response(status=500, text="a defect of the client")
        kept = {name: value for name, value in request.headers.items() if name in {"Cookie", "Content-Type"}}
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            session.request(
                request.method, self.target + request.path_qs, data=await request.read(), headers=kept
            ) as got,
        ):
            back = {
                name: value for name, value in got.headers.items() if name in {"Set-Cookie", "Content-Type", "Date"}
            }
            return web.Response(status=got.status, body=await got.read(), headers=back)


@asynccontextmanager
async def counting(qbittorrent: QBittorrent) -> AsyncIterator[CountingProxy]:
    """A proxy before a client, on a loopback port of its own."""
    proxy = CountingProxy(qbittorrent.url)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{tail:.*}", proxy.forward)
    async with serving(app) as proxy.url:
        yield proxy


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application; gives its URL."""
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
