"""One ArrInstance's body driven by hand: real qBittorrent, a stand-in, a real store, a clock that can jump."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from contract.arr_parts import JumpingClock, OfferedSecrets
from looparr.api.meta import ARR_INSTANCE, ObjectRef
from looparr.arr.instance import Instance
from looparr.arr.spec import ArrSpec
from looparr.arr.surroundings import Registry, Surroundings
from looparr.clients.egress import EgressPolicy
from looparr.clients.http import Http
from looparr.clients.qbittorrent.mirror import MirrorPool
from looparr.engine.types import Event, Fenced, Outcome, Subject, Turn
from looparr.errors import LoopError
from looparr.runtime.executor import Executor
from looparr.sandbox import torrents
from looparr.sandbox.files import wait_until
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.sandbox.servarr import Movie, ServarrServer
from looparr.sandbox.torrents import Torrent
from looparr.store.store import Store

SETTLED = frozenset({"stalledDL", "stalledUP", "uploading", "pausedDL", "pausedUP", "queuedDL", "metaDL"})
PASSWORD = "a password of the tests"
QUICK: dict[str, Any] = {
    "interval": "1s",
    "warmup": "0s",
    "defaultRules": "Exclude",
    "cooldowns": {"afterImport": "0s", "afterSearch": "0s", "afterBlocklist": "0s"},
    "rules": [{"name": "stalled", "condition": "Stalled", "when": {"for": "1s"}, "strikes": 2, "action": "Replace"}],
}


@dataclass
class Life:
    """One instance with everything around it."""

    qbittorrent: QBittorrent
    arr: ServarrServer
    around: Surroundings
    clock: JumpingClock
    secrets: OfferedSecrets
    folder: Path
    executor: Executor
    spec: dict[str, Any]
    body: Instance | None = None
    name: str = "radarr"
    uid: str = "uid-1"
    created: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=1))
    turns: int = 0
    block: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome = field(default_factory=Outcome)
    events: list[Event] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    fences: int = 0
    at_fence: Callable[[], Awaitable[None]] | None = None
    """What happens whenever the object is read before an act."""
    lost: Callable[[], str] = lambda: ""

    def subject(self) -> Subject:
        ref = ObjectRef(ARR_INSTANCE, "media", self.name, self.uid)
        return Subject(ref, 1, self.created, ArrSpec.model_validate(self.spec), annotations=self.annotations)

    async def turn(self, *, triggered: bool = False) -> Outcome:
        """Run one turn as the engine would."""
        if self.body is None:
            self.body = Instance(self.subject(), self.around)
        self.turns += 1
        reported: list[Outcome] = []
        turn = Turn(self.subject(), self.turns, triggered, self.block, self._fence, reported.append, lost=self.lost)
        try:
            self.outcome = await self.body.run(turn)
        except BaseException:
            if reported:
                self._take(reported[-1])
            raise
        self._take(self.outcome)
        return self.outcome

    def _take(self, outcome: Outcome) -> None:
        self.block = outcome.block or self.block
        self.events += outcome.events

    async def _fence(self) -> None:
        self.fences += 1
        if self.at_fence is not None:
            await self.at_fence()

    async def fails(self) -> LoopError:
        """Run one turn that has to fail, and hold its error against the house rules."""
        self.clock.ahead += 2.0
        with pytest.raises(LoopError) as caught:
            await self.turn()
        error = caught.value
        assert len(error.message) > 20, "a message says what to do"
        secrets = [text for one in self.secrets.known.values() for text in one.values() if text != b"admin"]
        assert not any(text.decode() in error.message for text in secrets)
        assert "<html" not in error.message
        return error

    async def until(
        self,
        what: Callable[[], Any] | Callable[[], Awaitable[Any]],
        limit: float = 30.0,
        *,
        jump: float = 2.0,
        tolerate: bool = False,
    ) -> Any:
        """Run turns until something is true; the clock jumps that many seconds before each. tolerate: failed turns."""
        end = time.monotonic() + limit
        while True:
            self.clock.ahead += jump
            try:
                await self.turn()
            except LoopError:
                if not tolerate:
                    raise
            found = what()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            assert time.monotonic() < end, f"not within {limit} s; block {self.block}, message {self.outcome.message}"
            await asyncio.sleep(0.05)

    async def pass_fenced(self, turns: int = 8, jump: float = 11.0) -> None:
        """Run turns of an object that is suspended: they may look at everything and do nothing."""
        asked, self.at_fence = self.fences, refuse
        for _ in range(turns):
            self.clock.ahead += jump
            with contextlib.suppress(Fenced):
                await self.turn()
        assert self.fences > asked, "there was something to do"

    async def pass_time(self, turns: int = 8, jump: float = 2.0) -> None:
        """Run turns with the clock jumping: enough for two strikes, unless something holds them back."""
        for _ in range(turns):
            self.clock.ahead += jump
            await self.turn()

    def secrets_corrected(self) -> None:
        """Put the right password into the Secret."""
        self.secrets.put("qbit", username=self.qbittorrent.username, password=self.qbittorrent.password or "")

    async def grab_seen(self) -> None:
        """Let the instance see what there is, and forget everything that it did not store."""
        await self.turn()
        await self.forget_body()

    async def edit(self, **changes: Any) -> None:
        """Change the spec: the body is closed and built anew, as the engine does."""
        self.spec = {**self.spec, **changes}
        await self.forget_body()

    async def forget_body(self) -> None:
        if self.body is not None:
            await self.body.close(deleted=False)
            self.body = None

    async def restart(self) -> None:
        """End the process and start it again on the same store: what was only in memory is gone."""
        await self.forget_body()
        await self.around.store.close()
        await self.reopen()

    async def lose_store(self) -> None:
        """The process ends and its volume with it."""
        await self.forget_body()
        await self.around.store.close()
        for file in self.folder.glob("looparr.db*"):
            file.unlink()
        await self.reopen()

    async def reopen(self) -> None:
        """Open the store again, which is closed."""
        store = await Store.open(self.around.store.path, self.executor)
        self.around = replace(self.around, store=store, registry=Registry())

    # --- what can be seen ------------------------------------------------------------------------------------------

    @property
    def totals(self) -> dict[str, int]:
        found: dict[str, int] = self.block.get("totals") or {}
        return found

    def events_of(self, reason: str) -> list[Event]:
        return [event for event in self.events if event.reason == reason]

    def attention(self, name: str) -> dict[str, Any]:
        found = [one for one in self.block.get("attention") or () if one["name"].startswith(name)]
        assert found, f"{name} is not under status.attention: {self.block}"
        return dict(found[0])

    def note(self, type_: str) -> str:
        """The message of a condition of its own, "" where it does not hold."""
        return next((note.message for note in self.outcome.notes if note.type == type_), "")

    def writes(self) -> list[str]:
        """What was sent to the Arr that could change something, in order."""
        return [f"{one['method']} {one['template']}" for one in self.arr.requests.recent if one["method"] != "GET"]

    def removals(self) -> int:
        """Queue deletions that the Arr answered with 200."""
        return sum(one["method"] == "DELETE" and one["status"] == 200 for one in self.arr.requests.recent)

    def failures(self) -> list[str]:
        return [event.title for event in self.arr.world.history if event.event_type == "downloadFailed"]

    def blocklist(self) -> list[str]:
        return [entry.title for entry in self.arr.world.blocklist]

    async def searches(self) -> list[list[int]]:
        """Items of every search that the Arr was told of or began by itself."""
        headers = {"X-Api-Key": self.arr.api_key}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.get(f"{self.arr.url}/api/v3/command") as reply,
        ):
            commands = await reply.json()
        return [one["body"]["movieIds"] for one in commands if one["name"] == "MoviesSearch"]

    async def search(self, movie: Movie) -> None:
        """Let a person search for a movie in the Arr."""
        headers, body = {"X-Api-Key": self.arr.api_key}, {"name": "MoviesSearch", "movieIds": [movie.id]}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.arr.url}/api/v3/command", json=body) as reply,
        ):
            reply.raise_for_status()
        await self.arr.world.idle()

    def there(self, infohash: str) -> dict[str, Any] | None:
        """The torrent as the client shows it."""
        return torrents.info(self.qbittorrent, infohash)

    async def replaced_once(self, title: str, movie: Movie, infohash: str) -> None:
        """One removal, one blocklist entry, one search; and nothing comes after them."""
        await self.pass_time(4, 30.0)
        assert self.there(infohash) is None
        assert [one for one in self.blocklist() if one.startswith(title)] == [f"{title}.2020.1080p"]
        assert [one for one in self.failures() if one.startswith(title)] == [f"{title}.2020.1080p"]
        assert [one for one in await self.searches() if movie.id in one] == [[movie.id]]
        assert self.totals["blocklisted"] == 1
        assert (await self.around.store.load(self.uid)).intents == (), "nothing is left open"

    def untouched(self, infohash: str) -> None:
        """Nothing was done to it."""
        assert self.there(infohash) is not None
        assert [one for one in self.writes() if one.startswith("DELETE")] == []
        assert self.blocklist() == []
        assert self.totals["blocklisted"] == 0
        assert self.totals["deleted"] == 0

    # --- what can be done ------------------------------------------------------------------------------------------

    def torrent(self, title: str, *, size: int = 1 << 18, complete: bool = False, **options: Any) -> Torrent:
        """A torrent of one file; complete: its data is where the client saves."""
        folder = self.qbittorrent.data if complete else self.folder / "offer"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{title}.2020.1080p.mkv"
        file.write_bytes(hashlib.sha256(title.encode()).digest() * (size // 32))
        return torrents.make(file, **options)

    async def grab(self, title: str, *, source: str = "Search", **options: Any) -> tuple[Movie, str]:
        """A movie whose release was grabbed; no peer sends it, so it stalls, unless its data is in place."""
        torrent = self.torrent(title, **options)
        movie = self.arr.world.add_movie(title)
        self.arr.world.offer(movie, torrent.content, title=f"{title}.2020.1080p")
        download_id = (await self.arr.world.grab(movie, source=source)).lower()
        await self.settled(download_id)
        return movie, download_id

    async def complete_untold(self, title: str) -> Movie:
        """A movie whose download is complete, and the Arr has not seen it."""
        torrent = self.torrent(title, complete=True)
        movie = self.arr.world.add_movie(title)
        await self.arr.world.grab(movie, release=self.arr.world.offer(movie, torrent.content))
        self.hush()
        await asyncio.to_thread(torrents.wait_for_state, self.qbittorrent, torrent.infohash, ["stalledUP"])
        return movie

    def hush(self) -> None:
        """Keep the Arr from looking by itself a few seconds after a grab, or whose import would it be?"""
        timer = self.arr._arr._nudge
        if timer is not None:
            timer.cancel()

    async def settled(self, infohash: str) -> None:
        """Wait until the client has checked a new torrent, and let the Arr see it."""

        def look() -> bool:
            return torrents.state(self.qbittorrent, infohash) in SETTLED

        self.hush()
        await asyncio.to_thread(wait_until, look, 20, f"{infohash} did not settle", every=0.05)
        await self.arr.world.refresh()

    async def client(self, method: str, **arguments: Any) -> None:
        """Do in the client what a person would do there."""

        def call() -> None:
            with self.qbittorrent.client() as client:
                getattr(client, method)(**arguments)

        await asyncio.to_thread(call)


async def refuse() -> None:
    """A fence that lets nobody pass."""
    raise Fenced("the object is suspended")


@asynccontextmanager
async def live(
    qbittorrent: QBittorrent,
    folder: Path,
    *,
    durable: bool = True,
    password: str | None = None,
    client_url: str = "",
    **spec: Any,
) -> AsyncIterator[Life]:
    """An instance with a stand-in of its own, which refreshes only when told to. password: of the Secret."""
    secrets = OfferedSecrets()
    secrets.put("qbit", username=qbittorrent.username, password=password or qbittorrent.password or "unused")
    login = {"username": qbittorrent.username, "password": qbittorrent.password} if qbittorrent.password else {}
    async with ServarrServer(qbittorrent.url, root=folder / "library", refresh_seconds=600.0, **login) as arr:
        secrets.put("radarr", apiKey=arr.api_key)
        executor = Executor("store", 1)
        path = folder / "looparr.db"
        store = await Store.open(path if durable else None, executor)
        around = surroundings(secrets, store, JumpingClock())
        life = Life(
            qbittorrent,
            arr,
            around,
            around.clock,
            secrets,
            folder,
            executor,
            wanted(arr.url, client_url or qbittorrent.url, spec),
        )
        try:
            yield life
        finally:
            await life.forget_body()
            await around.pool.close()
            await around.http.close()
            await life.around.store.close()
            executor.close()


def surroundings(secrets: OfferedSecrets, store: Store, clock: JumpingClock) -> Surroundings:
    """What all instances of a process share."""
    egress = EgressPolicy.parse(allow=["127.0.0.0/8"])
    return Surroundings(secrets, Http(egress), MirrorPool(), egress, store, clock)  # type: ignore[arg-type]


async def drive(around: Surroundings, spec: dict[str, Any]) -> None:
    """Run turns for ever, as an operator would whose status nobody reads."""
    ref = ObjectRef(ARR_INSTANCE, "media", "radarr", "uid-1")
    subject = Subject(ref, 1, datetime.now(UTC) - timedelta(minutes=1), ArrSpec.model_validate(spec))
    body = Instance(subject, around)

    async def fence() -> None:
        """The object is there."""

    for number in itertools.count(1):
        around.clock.ahead += 2.0  # type: ignore[attr-defined]
        turn = Turn(subject, number, triggered=False, block={}, fence=fence, report=lambda _: None)
        await body.run(turn)
        await asyncio.sleep(0.05)


def wanted(arr_url: str, qbittorrent_url: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A spec for quick tests, changed by `spec`."""
    return {
        "type": "Radarr",
        "url": arr_url,
        "apiKeySecretRef": {"name": "radarr", "key": "apiKey"},
        "downloadClients": [
            {
                "name": "main",
                "type": "QBittorrent",
                "qbittorrent": {"url": qbittorrent_url, "credentialsSecretRef": {"name": "qbit"}},
            }
        ],
        **QUICK,
        **spec,
    }
