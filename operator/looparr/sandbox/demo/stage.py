"""Starts the parts of the demo: control plane, two qBittorrents, the Radarr stand-in, an HTTP server, the operator.

All of them live in one folder and die with this process.
"""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import yaml
from aiohttp import web

from looparr.errors import SandboxError
from looparr.manifests.files import crds_yaml, to_yaml
from looparr.manifests.rbac import rbac
from looparr.sandbox import cluster, torrents
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.operator import OperatorProcess
from looparr.sandbox.progress import Progress
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.sandbox.servarr import ServarrServer

NAMESPACE = "media"
OPERATOR_NAMESPACE = "looparr"


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
class Stage:
    """Everything that runs. downloads: the qBittorrent that Radarr uses; seeder: where good peers come from."""

    folder: Path
    control_plane: Cluster
    seeder: QBittorrent
    downloads: QBittorrent
    radarr: ServarrServer
    work: Work
    work_url: str
    operator: OperatorProcess | None = None

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the cluster's admin. Raises SandboxError with kubectl's own words."""
        command = [str(self.control_plane.kubectl), "--kubeconfig", str(self.control_plane.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise SandboxError(f"kubectl {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def apply_contract(self) -> None:
        """Apply the CRDs and the operator's own rights, as the chart would."""
        namespaces = [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in (NAMESPACE, OPERATOR_NAMESPACE)
        ]
        rights = rbac(OPERATOR_NAMESPACE, watch_namespaces=None)
        self.kubectl("apply", "-f", "-", stdin=crds_yaml())
        self.kubectl("apply", "-f", "-", stdin="---\n".join(to_yaml(one) for one in [*namespaces, *rights]))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")

    def apply_demo(self) -> Path:
        """Fill the addresses into demo.yaml, keep it in the folder for people to read, and apply it."""
        text = (Path(__file__).parent / "demo.yaml").read_text("utf-8")
        filled = Template(text).substitute(
            radarr_key=self.radarr.api_key,
            radarr_url=self.radarr.url,
            qbittorrent_user=self.downloads.username,
            qbittorrent_password=self.downloads.password,
            qbittorrent_url=self.downloads.url,
            work_url=self.work_url,
        )
        documents: list[Mapping[str, Any]] = list(yaml.safe_load_all(filled))
        path = self.folder / "demo.yaml"
        path.touch(mode=0o600)
        path.write_text("---\n".join(to_yaml(one) for one in documents), "utf-8")
        self.kubectl("apply", "-n", NAMESPACE, "-f", str(path))
        return path

    def start_operator(self) -> OperatorProcess:
        """Start the operator as a process that has a ServiceAccount's token and nothing else."""
        kubeconfig = self.control_plane.serviceaccount_kubeconfig(OPERATOR_NAMESPACE, "looparr")
        arguments = ("--egress-allow-cidr", "127.0.0.0/8")  # everything here is on loopback, which is denied else
        self.operator = OperatorProcess.start(self.folder / "operator", kubeconfig, arguments=arguments)
        return self.operator

    def stop_operator(self) -> None:
        """Ask the operator to stop, as the kubelet would."""
        if self.operator is not None:
            self.operator.stop()
            self.operator = None

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
async def stage(folder: Path, progress: Progress) -> AsyncIterator[Stage]:
    """Start everything but the operator; end all of it, the operator first, when the `with` ends."""
    async with AsyncExitStack() as stack:
        control_plane = await asyncio.to_thread(
            cluster.start, folder / "kubernetes", bind_to_parent=True, progress=progress
        )
        stack.callback(cluster.stop, folder / "kubernetes")
        progress.note(f"Kubernetes is ready at {control_plane.server}")
        with progress.working("Starting two qBittorrents"):
            seeder = await asyncio.to_thread(QBittorrent.start, folder / "seeder")
            stack.callback(seeder.kill)
            password = secrets.token_urlsafe(12)
            downloads = await asyncio.to_thread(QBittorrent.start, folder / "downloads", password=password)
            stack.callback(downloads.kill)
        progress.note(f"Two real qBittorrents are ready, Radarr's at {downloads.url}")
        radarr = ServarrServer(
            downloads.url,
            username=downloads.username,
            password=password,
            root=folder / "library",
            refresh_seconds=2.0,
        )
        await stack.enter_async_context(radarr)
        work = Work()
        work_url = await _serve(work, stack)
        progress.note(f"A stand-in for Radarr is ready at {radarr.url}")
        found = Stage(folder, control_plane, seeder, downloads, radarr, work, work_url)
        stack.callback(found.stop_operator)
        yield found


async def _serve(work: Work, stack: AsyncExitStack) -> str:
    runner = web.AppRunner(work.app(), access_log=None, handle_signals=False)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"
