"""What the demo has to show: each sight is looked for through the Kubernetes API and in the real qBittorrent."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from looparr.api.meta import ARR_INSTANCE, BACKGROUND_LOOP, REQUESTED_AT
from looparr.errors import SandboxError
from looparr.sandbox import torrents
from looparr.sandbox.demo.stage import NAMESPACE, Stage
from looparr.sandbox.demo.watcher import Watcher
from looparr.sandbox.files import tail
from looparr.sandbox.progress import Progress

MIB = 1 << 20
_LOOK_EVERY = 0.25
_ENOUGH_SWEEPS = 3
_ENOUGH_ERRORS = 2


@dataclass(frozen=True, slots=True)
class Sight:
    """One thing that has to be seen. look: gives a line of proof once it is there, None until then."""

    what: str
    look: Callable[[], str | None]


@dataclass(slots=True)
class Story:
    """The releases of the demo, and everything that has to be seen of them."""

    stage: Stage
    watcher: Watcher
    hashes: dict[str, str] = field(default_factory=dict)
    killed_at: tuple[int, Any] | None = None

    async def set_the_scene(self) -> None:
        """Let Radarr grab three releases: one that a peer has, one that nobody has, and one that replaces it."""
        stage, world = self.stage, self.stage.home.radarr.world
        with stage.home.downloads.client() as client:
            client.transfer_set_download_limit(limit=2 * MIB)
        healthy = await asyncio.to_thread(stage.home.offer, "The.Healthy.2024.1080p", 6 * MIB, seeded=True)
        stalled = await asyncio.to_thread(stage.home.offer, "The.Stalled.2023.1080p", 4 * MIB, seeded=False)
        better = await asyncio.to_thread(stage.home.offer, "The.Stalled.2023.720p", 3 * MIB, seeded=True)
        self.hashes = {"healthy": healthy.infohash, "stalled": stalled.infohash, "better": better.infohash}
        film = world.add_movie("The Healthy", 2024)
        world.offer(film, healthy.content)
        await world.grab(film)
        film = world.add_movie("The Stalled", 2023)
        await world.grab(film, release=world.offer(film, stalled.content))
        world.offer(film, better.content)

    def sights(self) -> Sequence[Sight]:
        """Everything that has to be seen, in about the order in which it happens."""
        return (
            Sight("ArrInstance radarr is Ready and knows its torrents", self._ready),
            Sight("BackgroundLoop sweep runs again and again, its memo comes back", self._sweeps),
            Sight("BackgroundLoop report runs when asked by annotation", self._triggered),
            Sight("BackgroundLoop broken fails, is not Ready and backs off", self._backs_off),
            Sight("A healthy download finished, Radarr imported it", self._imported),
            Sight("A stalled one was removed, blocklisted, and searched again once", self._replaced),
            Sight("Its replacement was grabbed and imported", self._replacement),
            Sight("A seeded one met its goal and was deleted with its data", self._deleted),
            Sight("Every removal is told as an Event", self._events),
            Sight("The operator was killed with SIGKILL; its successor goes on counting", self._survives),
        )

    def trigger(self) -> None:
        """Ask for a run, as a person would."""
        token = f"{REQUESTED_AT}={int(time.time())}"
        self.stage.kubectl("annotate", "-n", NAMESPACE, "backgroundloop", "report", token, "--overwrite")

    # --- looking -------------------------------------------------------------------------------------------------

    def _arr(self) -> Any:
        return self.watcher.status(ARR_INSTANCE, "radarr")

    def _ready(self) -> str | None:
        ready = self.watcher.condition(ARR_INSTANCE, "radarr", "Ready").get("status")
        owned = (self._arr().get("torrents") or {}).get("owned", 0)
        return f"Ready, {owned} torrents are ours" if ready == "True" and owned else None

    def _sweeps(self) -> str | None:
        status = self.watcher.status(BACKGROUND_LOOP, "sweep")
        done = ((status.get("http") or {}).get("memo") or {}).get("done", 0)
        enough = status.get("runCount", 0) >= _ENOUGH_SWEEPS and done >= _ENOUGH_SWEEPS
        return f"{status['runCount']} runs, says: {status.get('message')}" if enough else None

    def _triggered(self) -> str | None:
        found = self.watcher.get(BACKGROUND_LOOP, "report")
        asked = found.get("metadata", {}).get("annotations", {}).get(REQUESTED_AT)
        status = self.watcher.status(BACKGROUND_LOOP, "report")
        if status.get("runCount") and asked is None:
            self.trigger()
        answered = asked is not None and status.get("lastHandledRequestedAt") == asked
        return f"{status['runCount']} runs though its interval is 1h" if answered else None

    def _backs_off(self) -> str | None:
        status = self.watcher.status(BACKGROUND_LOOP, "broken")
        ready = self.watcher.condition(BACKGROUND_LOOP, "broken", "Ready")
        backoff = status.get("backoff") or {}
        bad = status.get("consecutiveErrors", 0) >= _ENOUGH_ERRORS and ready.get("status") == "False"
        return (
            f"{ready.get('reason')}, next try after {backoff['delaySeconds']}s"
            if bad and backoff.get("active")
            else None
        )

    def _imported(self) -> str | None:
        imported = (self._arr().get("totals") or {}).get("imported", 0)
        files = self._library("The Healthy")
        return f"{files[0].name} is in the library" if imported and files else None

    def _replaced(self) -> str | None:
        totals = self._arr().get("totals") or {}
        if not (totals.get("blocklisted") == 1 and totals.get("searched") == 1):
            return None
        gone = torrents.info(self.stage.home.downloads, self.hashes["stalled"]) is None
        entries = self.stage.home.radarr.world.blocklist
        return f"{entries[0].title} is on the blocklist, once" if gone and len(entries) == 1 else None

    def _replacement(self) -> str | None:
        files = self._library("The Stalled")
        return f"{files[0].name} is in the library" if files else None

    def _deleted(self) -> str | None:
        deleted = (self._arr().get("totals") or {}).get("deleted", 0)
        gone = torrents.info(self.stage.home.downloads, self.hashes["healthy"]) is None
        data = list(self.stage.home.downloads.data.rglob("The.Healthy*"))
        kept = self._library("The Healthy")
        return (
            "gone from qBittorrent and its disk; the library has kept it"
            if deleted and gone and kept and not data
            else None
        )

    def _events(self) -> str | None:
        reasons = self.watcher.event_reasons("radarr")
        return ", ".join(sorted(reasons)) if {"Replaced", "Deleted"} <= reasons else None

    def _survives(self) -> str | None:
        """Kill the operator once there is something to lose, then see that nothing was lost."""
        status, operator = self._arr(), self.stage.operator
        totals = status.get("totals") or {}
        if self.killed_at is None:
            if operator is not None and totals.get("searched") and totals.get("deleted"):
                self.killed_at = (status["runCount"], totals)
                operator.kill()
            return None
        runs, before = self.killed_at
        lost = [name for name, count in before.items() if totals.get(name, 0) < count]
        if status.get("runCount", 0) <= runs or lost:
            return None
        return f"runs {runs} before, {status['runCount']} now; blocklisted {totals['blocklisted']}, as before"

    def _library(self, title: str) -> list[Path]:
        return [path for path in self.stage.home.radarr.world.root.rglob("*.mkv") if path.parent.name.startswith(title)]


async def see(story: Story, progress: Progress, limit: float) -> None:
    """Look for every sight until all were seen. Raises SandboxError naming what was not, after `limit` seconds."""
    waiting = list(story.sights())
    end = time.monotonic() + limit
    while waiting:
        for sight in list(waiting):
            proof = await asyncio.to_thread(sight.look)
            if proof:
                waiting.remove(sight)
                progress.note(f"{sight.what} ({proof})")
        if waiting and time.monotonic() > end:
            missing = "; ".join(sight.what for sight in waiting)
            end_of_log = tail(story.stage.operator.log) if story.stage.operator else "it was not started"
            raise SandboxError(f"not seen within {limit:.0f} s: {missing}. The end of its log:\n{end_of_log}")
        await asyncio.sleep(_LOOK_EVERY)
