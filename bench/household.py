"""What an ArrInstance lives with, at any size: a real qBittorrent full of torrents, the stand-in of Radarr that grabbed
and imported them, and a proxy that counts what the client is asked.

Stand-in and proxy run in a thread with a loop of its own, so that their CPU can be told from that of what is measured.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from aiohttp import web

from looparr.sandbox import torrents
from looparr.sandbox.files import wait_until
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.sandbox.servarr import ServarrServer

T = TypeVar("T")
CATEGORY = "radarr"
_BATCH = 100
_NOT_PASSED_ON = {"Host", "Content-Length"}
_PASSED_ON = ("Content-Type", "Content-Encoding", "Date", "Set-Cookie")


@dataclass(slots=True)
class Proxy:
    """Passes everything on to a qBittorrent. calls: by path; full_lists: answers that held the whole list."""

    target: str
    url: str = ""
    calls: Counter[str] = field(default_factory=Counter)
    full_lists: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve on a loopback port."""
        session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False)

        async def pass_on(request: web.Request) -> web.Response:
            self.calls[request.path.removeprefix("/api/v2/")] += 1
            headers = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED_ON}
            body, url = await request.read(), self.target + request.path_qs
            async with session.request(request.method, url, data=body, headers=headers) as got:
                content = await got.read()
                plain = gzip.decompress(content) if got.headers.get("Content-Encoding") == "gzip" else content
                self.full_lists += b'"full_update":true' in plain
                answer = web.Response(status=got.status, body=content)
                for name in _PASSED_ON:
                    answer.headers.popall(name, None)
                    for value in got.headers.getall(name, ()):
                        answer.headers.add(name, value)
                return answer

        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", pass_on)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()
            await session.close()


class Aside:
    """A thread with an event loop of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="aside", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def cpu_seconds(self) -> float:
        """CPU of that thread so far."""
        assert self._thread.ident is not None
        return time.clock_gettime(time.pthread_getcpuclockid(self._thread.ident))

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(slots=True)
class Household:
    """Everything together. hashes: of all torrents."""

    qbittorrent: QBittorrent
    arr: ServarrServer
    proxy: Proxy
    aside: Aside
    hashes: list[str]

    def forget_calls(self) -> None:
        """Count anew."""
        self.proxy.calls.clear()
        self.proxy.full_lists = 0
        self.arr.requests.clear()

    def spec(self, **more: Any) -> dict[str, Any]:
        """Give the spec of an ArrInstance that looks after it, with everything else as a newcomer has it."""
        client = {"url": self.proxy.url, "credentialsSecretRef": {"name": "qbittorrent"}}
        return {
            "type": "Radarr",
            "url": self.arr.url,
            "apiKeySecretRef": {"name": "radarr-api", "key": "apiKey"},
            "downloadClients": [{"name": "main", "type": "QBittorrent", "qbittorrent": client}],
            **more,
        }


@contextmanager
def household(at: Path, count: int, stalled_percent: int = 0) -> Iterator[Household]:
    """Start everything, with `count` torrents that were grabbed and imported and seed; some of them stalled instead."""
    qbittorrent = QBittorrent.start(at / "qbittorrent", password="a password of the benchmark")
    aside = Aside()
    arr = ServarrServer(
        qbittorrent.url,
        username=qbittorrent.username,
        password=qbittorrent.password or "",
        root=at / "library",
        refresh_seconds=3600.0,
    )
    proxy = Proxy(qbittorrent.url)
    serving = proxy.serving()
    try:
        aside.do(serving.__aenter__())
        hashes = _fill(qbittorrent, arr, aside, at / "downloads", count, count * stalled_percent // 100)
        yield Household(qbittorrent, arr, proxy, aside, hashes)
    finally:
        aside.do(arr.close())
        aside.do(serving.__aexit__(None, None, None))
        aside.close()
        qbittorrent.kill()


def _fill(
    qbittorrent: QBittorrent, arr: ServarrServer, aside: Aside, data: Path, count: int, stalled: int
) -> list[str]:
    """Add the torrents in batches, and write their grabs into the Arr's history before it looks at the client."""
    data.mkdir(parents=True)
    made = []
    for number in range(count):
        source = data / f"Bench.Movie.{number:05}.2020.1080p.mkv"
        source.write_bytes(b"%d" % number * 200)
        made.append(torrents.make(source))
        if number < stalled:
            source.unlink()
    with qbittorrent.client() as client:
        client.torrents_create_category(name=CATEGORY)
        for part, complete in ((made[:stalled], False), (made[stalled:], True)):
            for first in range(0, len(part), _BATCH):
                client.torrents_add(
                    torrent_files=[one.content for one in part[first : first + _BATCH]],
                    category=CATEGORY,
                    save_path=str(data),
                    is_skip_checking=complete,
                )
        settled = torrents.SEEDING | torrents.STALLED
        wait_until(
            lambda: sum(one["state"] in settled for one in client.torrents_info()) == count, 300, "torrents not added"
        )
    aside.do(_remember(arr, made))
    return [one.infohash for one in made]


async def _remember(arr: ServarrServer, made: list[torrents.Torrent]) -> None:
    inner = arr._arr  # noqa: SLF001 - `World.grab` would add each torrent again and wait for it
    began = datetime.now(UTC) - timedelta(hours=20)
    ticks, tick = itertools.count(), timedelta(hours=19) / (20 * len(made) + 1000)
    today, inner.book.now = inner.book.now, lambda: began + next(ticks) * tick  # a library does not grow in a minute
    for number, one in enumerate(made):
        movie = arr.world.add_movie(f"Bench Movie {number:05}")
        inner.grabber.record_grab(arr.world.offer(movie, one.content, title=one.name.removesuffix(".mkv")), "Rss")
    await arr.start()
    await arr.world.refresh()
    await arr.world.idle()
    inner.book.now = today
