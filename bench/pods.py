"""How long a pod takes to be Ready and to be gone, what it holds, how large its image is: `python -m bench.pods`.

Everything is real: the sandbox's node, the image, the chart under `restricted`. Takes root.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.parts import folder, kubectl, load, machine, say, spread, table

from looparr.api.meta import API_VERSION
from looparr.sandbox import binaries, cluster, files, image
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.node import images

ROOT = Path(__file__).parents[1]
TAG, NAMESPACE, DEPLOYMENT = "localhost/looparr:e2e", "looparr", "/apis/apps/v1/namespaces/looparr/deployments/looparr"
MERGE = "application/merge-patch+json"
LOOK = 0.02


def install(node: Cluster, at: Path) -> None:
    """Install the chart with its defaults into a namespace under `restricted`."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    node.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": label}})
    helm = binaries.resolve(("helm",), env=os.environ)["helm"].path
    repository, _, tag = TAG.rpartition(":")
    given = f"image.repository={repository},image.tag={tag},image.pullPolicy=Never"
    command = [helm, "install", "looparr", ROOT / "charts" / "looparr", "-n", NAMESPACE, "--wait", "--set", given]
    env = {"PATH": os.environ["PATH"], "HOME": str(at), "KUBECONFIG": str(node.kubeconfig)}
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=120)


def loops(node: Cluster, count: int) -> None:
    """Make HTTP loops that find nobody listening, every second: work enough, and no server that has to be measured."""
    made = [
        {
            "apiVersion": API_VERSION,
            "kind": "BackgroundLoop",
            "metadata": {"name": f"loop-{number}", "namespace": NAMESPACE},
            "spec": {
                "type": "HTTP",
                "interval": "1s",
                "backoff": {"maxDelay": "1s", "initialDelay": "1s"},
                "http": {"endpoint": {"url": f"http://{node.host}:9/"}},
            },
        }
        for number in range(count)
    ]
    kubectl(node, "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": made}))


def pods(node: Cluster) -> list[dict[str, Any]]:
    """The operator's pods."""
    path = f"/api/v1/namespaces/{NAMESPACE}/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Doperator"
    found: list[dict[str, Any]] = node.request("GET", path)["items"]
    return found


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Ready."""
    return any(one["type"] == "Ready" and one["status"] == "True" for one in pod["status"].get("conditions", ()))


def took(what: Callable[[], object], complaint: str) -> float:
    """Seconds until something holds."""
    begun = time.monotonic()
    files.wait_until(what, 60, complaint, every=LOOK)
    return time.monotonic() - begun


def scale(node: Cluster, replicas: int) -> None:
    """Ask for this many pods."""
    node.request("PATCH", DEPLOYMENT, {"spec": {"replicas": replicas}}, content_type=MERGE)


def memory(node: Cluster) -> dict[str, float]:
    """What the kubelet says of the pod's memory, MiB."""
    summary = node.request("GET", "/api/v1/nodes/sandbox/proxy/stats/summary")
    (found,) = (one for one in summary["pods"] if one["podRef"]["name"] == pods(node)[0]["metadata"]["name"])
    return {key: found["memory"][f"{key}Bytes"] / 2**20 for key in ("rss", "workingSet")}


def measure(node: Cluster, rounds: int) -> list[tuple[str, str]]:
    """Stop and start the pod again and again."""
    gone, started = [], []
    for _ in range(rounds):
        scale(node, 0)
        gone.append(took(lambda: not pods(node), "the pod stays"))
        scale(node, 1)
        files.wait_until(lambda: pods(node), 30, "no pod comes", every=LOOK)
        started.append(took(lambda: is_ready(pods(node)[0]), "the pod is not Ready"))
    files.wait_until(lambda: _measured(node), 60, "the kubelet says nothing of the pod", every=1.0)
    held = memory(node)
    return [
        ("pod made to Ready, s", spread(started)),
        ("SIGTERM to gone, s", spread(gone)),
        ("memory of the pod: resident / working set, MiB", f"{held['rss']:.0f} / {held['workingSet']:.0f}"),
    ]


def _measured(node: Cluster) -> bool:
    try:
        return memory(node)["rss"] > 0
    except (KeyError, ValueError):
        return False


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--loops", type=int, default=10)
    options = parser.parse_args()
    archive = ROOT / ".cache" / "image.tar"
    begun = time.monotonic()
    image.build(ROOT, tag=TAG, into=archive, env=os.environ, install=True)
    built = time.monotonic() - begun
    with folder() as at:
        begun = time.monotonic()
        node = cluster.start(at / "node", level="node", bind_to_parent=True)
        up = time.monotonic() - begun
        try:
            begun = time.monotonic()
            images.load(node.folder, archive)
            loaded = time.monotonic() - begun
            begun = time.monotonic()
            install(node, at)
            installed = time.monotonic() - begun
            loops(node, options.loops)
            rows = measure(node, options.rounds)
        finally:
            cluster.stop(node.folder)
    content = archive.read_bytes()
    packed = len(gzip.compress(content, compresslevel=6)) / 1e6
    say(f"{machine()}, load {load()}; medians of {options.rounds} (smallest..largest), {options.loops} loops\n")
    rows += [
        ("image: unpacked / gzip, MB", f"{len(content) / 1e6:.0f} / {packed:.0f}"),
        ("image built (0: nothing had changed) / loaded, s", f"{built:.1f} / {loaded:.1f}"),
        ("node up / helm install --wait, s", f"{up:.1f} / {installed:.1f}"),
    ]
    table(("", "measured"), rows)


if __name__ == "__main__":
    main()
