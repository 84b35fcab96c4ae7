"""Persistent volumes for claims that name no class: folders of the node, offered before anybody asks."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from looparr.errors import SandboxError

if TYPE_CHECKING:
    from looparr.sandbox.cluster import Cluster

_CLASS, _COUNT, _CAPACITY = "sandbox", 20, "10Gi"


def offer(cluster: Cluster, node: str) -> None:
    """Make the default StorageClass and its volumes; what is there already stays as it is."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage_class = {
        "metadata": {"name": _CLASS, "annotations": annotations},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    _create(cluster, "/apis/storage.k8s.io/v1/storageclasses", storage_class)
    for number in range(_COUNT):
        folder = cluster.folder / "volumes" / f"volume-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        _create(cluster, "/api/v1/persistentvolumes", _volume(folder.name, str(folder), node))


def _volume(name: str, path: str, node: str) -> dict[str, Any]:
    on_node = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": _CAPACITY},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": _CLASS,
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [on_node]}},
        },
    }


def _create(cluster: Cluster, path: str, body: dict[str, Any]) -> None:
    try:
        cluster.request("POST", path, body)
    except SandboxError as error:
        if getattr(error, "status", None) != HTTPStatus.CONFLICT:
            raise
