"""What the hooks of the chart run, run as the chart would: its arguments, its account, its rights."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from chart_kit import Document, of_kind
from looparr.api.meta import API_VERSION, FINALIZER
from looparr.sandbox.cluster import ApiError, Cluster
from looparr.sandbox.files import wait_until
from parts import Kubectl

FOREIGN = "example.org/keep"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "looparr.cli", *arguments]


def run(*arguments: str, limit: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=limit, check=False)


def apply(kubectl: Kubectl, documents: Iterable[Document]) -> None:
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


def granted(kubectl: Kubectl, documents: list[Document], account: str) -> list[Document]:
    """Apply an account with its roles and bindings, and give them."""
    bindings = [
        one for one in of_kind(documents, "RoleBinding", "ClusterRoleBinding") if one["subjects"][0]["name"] == account
    ]
    roles = {one["roleRef"]["name"] for one in bindings}
    wanted = [one for one in of_kind(documents, "Role", "ClusterRole") if one["metadata"]["name"] in roles]
    accounts = [one for one in of_kind(documents, "ServiceAccount") if one["metadata"]["name"] == account]
    apply(kubectl, [*accounts, *wanted, *bindings])
    return [*accounts, *wanted, *bindings]


class Objects:
    """Objects of both kinds in one namespace, with whatever finalizers."""

    def __init__(self, plane: Cluster, namespace: str) -> None:
        self.plane = plane
        self.path = f"/apis/{API_VERSION}/namespaces/{namespace}"

    def create(self, name: str, *finalizers: str, plural: str = "backgroundloops") -> None:
        secret = {"name": "x"}
        arr = {
            "type": "Radarr",
            "url": "http://radarr:7878",
            "apiKeySecretRef": {**secret, "key": "key"},
            "downloadClients": [
                {
                    "name": "main",
                    "type": "QBittorrent",
                    "qbittorrent": {"url": "http://qbittorrent:8080", "credentialsSecretRef": secret},
                }
            ],
        }
        loop = {"type": "HTTP", "suspend": True, "http": {"endpoint": {"url": "http://janitor:8000"}}}
        body = {
            "apiVersion": API_VERSION,
            "kind": "ArrInstance" if plural == "arrinstances" else "BackgroundLoop",
            "metadata": {"name": name, "finalizers": list(finalizers)},
            "spec": arr if plural == "arrinstances" else loop,
        }
        self.plane.request("POST", f"{self.path}/{plural}", body)

    def finalizers(self, plural: str = "backgroundloops") -> dict[str, list[str]]:
        """Those of every object that is there."""
        items = self.plane.request("GET", f"{self.path}/{plural}")["items"]
        return {one["metadata"]["name"]: one["metadata"].get("finalizers", []) for one in items}

    def delete(self, name: str) -> None:
        self.plane.request("DELETE", f"{self.path}/backgroundloops/{name}")

    def none_is_ours(self) -> bool:
        return not any(FINALIZER in one for one in self.finalizers().values())


@contextmanager
def played(plane: Cluster, namespace: str, component: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Play the kubelet for the pod of a hook: run its arguments under its account; then say what became of it."""
    pod = waited_for_pod(plane, namespace, component)
    spec, name = pod["spec"], pod["metadata"]["name"]
    account = spec["serviceAccountName"]
    kubeconfig = plane.serviceaccount_kubeconfig(namespace, account, into=folder / f"{account}.kubeconfig")
    arguments = [one.replace("$(POD_IP)", "127.0.0.1") for one in spec["containers"][0]["args"]]
    with (folder / f"{component}.log").open("w") as log:
        process = subprocess.Popen(command(*arguments, "--kubeconfig", str(kubeconfig)), stderr=log, text=True)
    try:
        yield process
        phase = "Failed" if process.wait(60) else "Succeeded"
        status = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
        plane.request("PATCH", status, {"status": {"phase": phase}}, content_type="application/merge-patch+json")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def waited_for_pod(plane: Cluster, namespace: str, component: str) -> dict[str, Any]:
    """The pod of a component, once it is there."""
    selector = f"app.kubernetes.io/component%3D{component}"
    found: list[dict[str, Any]] = []

    def there() -> bool:
        found[:] = plane.request("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}")["items"]
        return bool(found)

    wait_until(there, 30, f"no pod of {component}")
    return found[0]


def exists(plane: Cluster, path: str) -> bool:
    try:
        plane.request("GET", path)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True
