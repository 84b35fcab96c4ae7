"""Persistent volumes for claims that name no class: folders of the node, offered before anybody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    cluster.ensure("/apis/storage.k8s.io/v1/storageclasses", storage_class)
    for number in range(_COUNT):
        folder = cluster.folder / "volumes" / f"volume-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        cluster.ensure("/api/v1/persistentvolumes", _volume(folder.name, str(folder), node))


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
