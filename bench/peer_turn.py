"""The peer of `loops_cold`: the smallest operator that still loses nothing, one Kopf timer invocation = one turn.

It restates the prototype that Looparr's engine grew from, with the same HTTP call added: a timer per object waits until
its object is due, takes one of 100 slots, makes the call, and writes three fields of status in one JSON patch over a
session of its own. It has no conditions, history, backoff, acknowledgement, fencing, time-outs, Secrets, egress policy,
metrics or events. What Looparr costs beyond it is the price of those; `loops_cold` prints that price as a ratio.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import signal
import ssl
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import uvloop
import yaml

LOG = logging.getLogger(__name__)
KIND = ("looparr.dev", "v1alpha1", "backgroundloops")
GRACE = 20.0
SLOTS = 100
CONNECTIONS = 32


class Access:
    """Server, certificate authority and token of a kubeconfig."""

    def __init__(self, path: Path) -> None:
        document = yaml.safe_load(path.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self.server = cluster["server"]
        embedded = cluster.get("certificate-authority-data")
        self._ca = (
            base64.b64decode(embedded).decode() if embedded else Path(cluster["certificate-authority"]).read_text()
        )
        self._headers = {"Authorization": f"Bearer {user['token']}"}

    def session(self) -> aiohttp.ClientSession:
        """Open a session."""
        context = ssl.create_default_context(cadata=self._ca)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=context)
        return aiohttp.ClientSession(connector=connector, headers=self._headers)


class Peer:
    """The whole operator."""

    def __init__(self, access: Access, interval: float) -> None:
        self._access = access
        self._interval = interval
        self._slots = asyncio.Semaphore(SLOTS)
        self._book: dict[str, dict[str, Any]] = {}
        self._writer = access.session()
        self._calls = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, limit_per_host=100))
        self.failed = 0

    def registry(self) -> kopf.OperatorRegistry:
        """Give event handler, timer and settings to Kopf."""
        registry = kopf.OperatorRegistry()

        @kopf.on.event(*KIND, registry=registry)
        async def poke(memo: kopf.Memo, **_: Any) -> None:
            if "wake" in memo:
                memo["wake"].set()

        @kopf.timer(*KIND, interval=0.01, registry=registry)  # type: ignore[arg-type]
        async def loop(stopped: kopf.DaemonStopped, **known: Any) -> None:
            try:
                await self._turn(stopped, **known)
            except Exception:
                LOG.exception("a turn must not raise")
                await stopped.wait(5)

        @kopf.on.startup(registry=registry)
        async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
            settings.posting.enabled = False
            settings.scanning.disabled = True
            settings.persistence.finalizer = "looparr.dev/cleanup"
            settings.background.instant_exit_timeout = GRACE
            settings.background.cancellation_polling = 2

        @kopf.on.login(registry=registry)
        async def login(**_: Any) -> kopf.AiohttpSession:
            return kopf.AiohttpSession(server=self._access.server, aiohttp_session=self._access.session())

        return registry

    async def close(self) -> None:
        """Close both sessions."""
        await self._writer.close()
        await self._calls.close()

    async def _turn(
        self,
        stopped: kopf.DaemonStopped,
        *,
        uid: str,
        name: str,
        namespace: str,
        memo: kopf.Memo,
        spec: kopf.Spec,
        status: kopf.Status,
        **_: Any,
    ) -> None:
        state = self._book.setdefault(uid, {"runCount": status.get("runCount", 0), "last": None})
        wake = memo.setdefault("wake", asyncio.Event())
        while not stopped:
            wake.clear()
            due = state["last"] + self._interval if state["last"] else 0.0
            if due <= time.time():
                break
            await _wait(due, wake, stopped)
        if stopped:
            return
        async with self._slots:
            if stopped:
                return
            body = {
                "loop": {"namespace": namespace, "name": name, "uid": uid, "generation": 1},
                "status": {"runCount": state["runCount"] + 1, "triggered": False},
                "memo": {},
            }
            async with self._calls.post(spec["http"]["endpoint"]["url"], json=body) as reply:
                await reply.json()
            state["runCount"] += 1
            state["last"] = time.time()
            try:
                await self._write(namespace, name, uid, {"observedGeneration": 1, "runCount": state["runCount"]})
            except (aiohttp.ClientError, TimeoutError):
                self.failed += 1

    async def _write(self, namespace: str, name: str, uid: str, status: dict[str, Any]) -> None:
        group, version, plural = KIND
        url = f"{self._access.server}/apis/{group}/{version}/namespaces/{namespace}/{plural}/{name}/status"
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]
        async with self._writer.patch(
            url,
            data=json.dumps(patch),
            headers={"Content-Type": "application/json-patch+json"},
            timeout=aiohttp.ClientTimeout(total=8),
        ) as reply:
            reply.raise_for_status()


async def _wait(due: float, wake: asyncio.Event, stopped: kopf.DaemonStopped) -> None:
    """Sleep until due, or poked, or stopped."""
    waiting = stopped.wait(max(0.0, due - time.time()))
    tasks = {asyncio.ensure_future(wake.wait()), asyncio.ensure_future(waiting)}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def main(kubeconfig: Path, interval: float) -> None:
    """Run until SIGTERM."""
    peer, stop = Peer(Access(kubeconfig), interval), asyncio.Event()
    tasks = await kopf.spawn_tasks(registry=peer.registry(), clusterwide=True, standalone=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    sys.stdout.write("watching\n")
    sys.stdout.flush()
    flag = asyncio.create_task(stop.wait())
    await asyncio.wait({*tasks, flag}, return_when=asyncio.FIRST_COMPLETED)
    flag.cancel()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    left = [task for task in asyncio.all_tasks() if "runner of" in task.get_name()]
    if left:
        await asyncio.wait(left, timeout=GRACE)
    await peer.close()
    sys.stdout.write(f"stopped, {peer.failed} writes failed\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--interval", type=float, required=True, help="seconds between two turns of one object")
    options = parser.parse_args()
    logging.getLogger("kopf").setLevel("ERROR")
    uvloop.run(main(options.kubeconfig, options.interval))
