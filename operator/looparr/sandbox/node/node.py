"""A node's programs, in the order in which they start, and what it takes until pods can run on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from looparr.errors import SandboxError
from looparr.sandbox import controlplane, debian, files, processes
from looparr.sandbox.controlplane import Keys, Place
from looparr.sandbox.node import config, images, volumes
from looparr.sandbox.node.network import Network, claim
from looparr.sandbox.processes import Plan, Probe, Program

if TYPE_CHECKING:
    from looparr.sandbox.cluster import Cluster

NAME = "sandbox"
MADE = ("node", "volumes")
_READY_WITHIN = 60.0
_POLL = 0.1


def plan(folder: Path, paths: Mapping[str, Path]) -> tuple[Plan, tuple[int, ...]]:
    """Make all files of a cluster with a node, and give its plan and the claims that a launch has to pass on.

    paths: every program of binaries.NODE and system.find.
    """
    network, held = claim()
    try:
        processes.claim(folder, {"network": network.number})
        (folder / "node").mkdir()
        place = Place(network.node, 2379, 2380, 6443, 10257, network.services, nodes=True)
        keys = Keys.make(folder, place)
        programs = (
            _init(folder, network),
            *controlplane.programs(folder, paths, place, keys),
            *_programs(folder / "node", network, paths, keys),
        )
    except BaseException:
        os.close(held)
        raise
    facts = {"level": "node", "server": place.server, "host": network.host, "network": network.number}
    facts |= {name: str(paths[name]) for name in ("kubectl", "ctr", "pause")}
    sweeper = (sys.executable, "-m", "looparr.sandbox.node.sweep", network.name)
    return Plan(programs, facts, isolated=True, sweeper=sweeper), (held,)


def _init(folder: Path, network: Network) -> Program:
    command = (sys.executable, "-m", "looparr.sandbox.node.init", str(network.number), str(folder))
    probe = Probe(f"file://{folder / 'node' / 'isolated'}")
    return Program("init", command, {"PATH": debian.SYSTEM_PATH}, probe=probe, restart=False)


def _programs(folder: Path, network: Network, paths: Mapping[str, Path], keys: Keys) -> tuple[Program, ...]:
    environment = {
        "PATH": f"{paths['runc'].parent}:{paths['containerd'].parent}:{debian.SYSTEM_PATH}",
        "HOME": str(folder),
    }
    scheduler = controlplane.component(keys, network.node, 10259, keys.kubeconfig("system:kube-scheduler"))
    node = keys.kubeconfig(f"system:node:{NAME}", "system:nodes")
    kubelet = [f"--config={config.kubelet(folder, network, keys)}", f"--kubeconfig={node}"]
    kubelet += [f"--hostname-override={NAME}", f"--node-ip={network.node}"]
    proxy = [f"--config={config.proxy(folder, network, keys.kubeconfig('system:kube-proxy'))}"]
    proxy += [f"--hostname-override={NAME}"]
    described: tuple[tuple[str, list[str], Probe], ...] = (
        ("kube-scheduler", scheduler, keys.probe(f"https://{network.node}:10259/healthz")),
        (
            "containerd",
            [f"--config={config.containerd(folder, network, paths['cni'])}"],
            Probe(f"http://{network.node}:{config.CONTAINERD_METRICS}/v1/metrics"),
        ),
        ("kubelet", kubelet, Probe(f"http://{network.node}:{config.KUBELET_HEALTH}/healthz")),
        ("kube-proxy", proxy, Probe(f"http://{network.node}:{config.PROXY_HEALTH}/healthz")),
    )
    return tuple(
        Program(name, (str(paths[name]), *flags), environment, probe=probe, ready_within=_READY_WITHIN)
        for name, flags, probe in described
    )


def settle(cluster: Cluster) -> None:
    """Wait until pods can run: pause image, volumes, a node that is Ready. Doing it again changes nothing."""
    images.load_pause(cluster.folder)
    volumes.offer(cluster, NAME)
    try:
        files.wait_until(lambda: _is_ready(cluster), _READY_WITHIN, "The node does not get ready", every=_POLL)
    except SandboxError as error:
        log = cluster.folder / processes.LOGS / "kubelet.log"
        raise SandboxError(f"{error} The end of the kubelet's log:\n{files.tail(log)}") from None


def _is_ready(cluster: Cluster) -> bool:
    nodes = cluster.request("GET", "/api/v1/nodes")["items"]
    conditions = [one for node in nodes for one in node["status"].get("conditions", ())]
    account = "/api/v1/namespaces/default/serviceaccounts?fieldSelector=metadata.name%3Ddefault"
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and bool(cluster.request("GET", account)["items"])
