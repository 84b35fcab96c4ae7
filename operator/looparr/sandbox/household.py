"""A household to look after: two real qBittorrents, a stand-in for Radarr, and a server that HTTP loops call.

Its addresses are loopback's, or those at which a sandbox's pods reach this machine. All of it dies with this process.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from looparr.sandbox import torrents
from looparr.sandbox.progress import Progress
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.sandbox.servarr import ServarrServer


@dataclass(slots=True)
class Work:
    """The server that the BackgroundLoops call: /sweep counts down in its memo, /report is content, /broken is not."""

    sweeps: list[int] = field(default_factory=list)

    def app(self) -> web.Application:
        """Give the server."""
        app = web.Application()
        app.router.add_post("/sweep", self._sweep)
        app.router.add_post("/report", self._report)
        app.router.add_post("/broken", self._broken)
        return app

    async def _sweep(self, request: web.Request) -> web.Response:
        memo = (await request.json())["memo"]
        done = int(memo.get("done", 0)) + 1
        self.sweeps.append(done)
        return web.json_response({"message": f"swept {done} shelves", "memo": {"done": done}})

    async def _report(self, _request: web.Request) -> web.Response:
        return web.json_response({"message": "nothing to report"})

    async def _broken(self, _request: web.Request) -> web.Response:
        return web.Response(status=500, text="out of order")


@dataclass(slots=True)
class Household:
    """Everything that runs. downloads: the qBittorrent that Radarr uses; seeder: where good peers come from."""

    folder: Path
    seeder: QBittorrent
    downloads: QBittorrent
    radarr: ServarrServer
    work: Work
    work_url: str

    async def feed(self) -> None:
        """Play the swarm: introduce the seeder to every download that it can feed, for as long as this runs."""
        while True:
            await asyncio.to_thread(self._introduce)
            await asyncio.sleep(0.5)

    def _introduce(self) -> None:
        with self.seeder.client() as client:
            fed = {str(one["hash"]) for one in client.torrents_info()}
        with self.downloads.client() as client:
            hungry = [
                str(one["hash"]) for one in client.torrents_info(status_filter="downloading") if one["hash"] in fed
            ]
            if hungry:
                client.torrents_add_peers(torrent_hashes=hungry, peers=f"127.0.0.1:{self.seeder.bt_port}")

    def offer(self, name: str, size: int, *, seeded: bool) -> torrents.Torrent:
        """Make a torrent of a file of our own; seeded: the seeder has it, else nobody does."""
        source = self.folder / "releases" / f"{name}.mkv"
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(secrets.token_bytes(size))
        torrent = torrents.make(source)
        if seeded:
            torrents.seed(self.seeder, torrent, source)
        return torrent


@asynccontextmanager
async def household(folder: Path, progress: Progress, host: str = "127.0.0.1") -> AsyncIterator[Household]:
    """Start a household and end it with the `with`. host: the address on which its servers listen."""
    async with AsyncExitStack() as stack:
        with progress.working("Starting two qBittorrents"):
            seeder = await asyncio.to_thread(QBittorrent.start, folder / "seeder")
            stack.callback(seeder.kill)
            password = secrets.token_urlsafe(12)
            downloads = await asyncio.to_thread(
                QBittorrent.start, folder / "downloads", password=password, address=host
            )
            stack.callback(downloads.kill)
        progress.note(f"Two real qBittorrents are ready, Radarr's at {downloads.url}")
        radarr = ServarrServer(
            downloads.url,
            username=downloads.username,
            password=password,
            host=host,
            root=folder / "library",
            refresh_seconds=2.0,
        )
        await stack.enter_async_context(radarr)
        progress.note(f"A stand-in for Radarr is ready at {radarr.url}")
        work = Work()
        yield Household(folder, seeder, downloads, radarr, work, await _serve(work, host, stack))


async def _serve(work: Work, host: str, stack: AsyncExitStack) -> str:
    runner = web.AppRunner(work.app(), access_log=None, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, host, 0).start()
    return f"http://{host}:{runner.addresses[0][1]}"
