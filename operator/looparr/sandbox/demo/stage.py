"""Starts the parts of the demo: a control plane, a household to look after, the operator.

All of them live in one folder and die with this process.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import yaml

from looparr.errors import SandboxError
from looparr.manifests.files import crds_yaml, to_yaml
from looparr.manifests.rbac import rbac
from looparr.sandbox import cluster
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.household import Household, household
from looparr.sandbox.operator import OperatorProcess
from looparr.sandbox.progress import Progress

NAMESPACE = "media"
OPERATOR_NAMESPACE = "looparr"


@dataclass(slots=True)
class Stage:
    """A cluster, a household to look after, and the operator."""

    folder: Path
    control_plane: Cluster
    home: Household
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
            radarr_key=self.home.radarr.api_key,
            radarr_url=self.home.radarr.url,
            qbittorrent_user=self.home.downloads.username,
            qbittorrent_password=self.home.downloads.password,
            qbittorrent_url=self.home.downloads.url,
            work_url=self.home.work_url,
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


@asynccontextmanager
async def stage(folder: Path, progress: Progress) -> AsyncIterator[Stage]:
    """Start everything but the operator; end all of it, the operator first, when the `with` ends."""
    async with AsyncExitStack() as stack:
        control_plane = await asyncio.to_thread(
            cluster.start, folder / "kubernetes", bind_to_parent=True, progress=progress
        )
        stack.callback(cluster.stop, folder / "kubernetes")
        progress.note(f"Kubernetes is ready at {control_plane.server}")
        home = await stack.enter_async_context(household(folder, progress))
        found = Stage(folder, control_plane, home)
        stack.callback(found.stop_operator)
        yield found
