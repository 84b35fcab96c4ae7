"""Configuration files of containerd, its pod network, the kubelet and kube-proxy, all kept in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from looparr.sandbox.controlplane import Keys
from looparr.sandbox.files import write_whole
from looparr.sandbox.image import PAUSE_TAG
from looparr.sandbox.node.network import Network

SOCKET = "/run/containerd/containerd.sock"
KUBELET_PORT, KUBELET_HEALTH, PROXY_HEALTH, PROXY_METRICS, CONTAINERD_METRICS = 10250, 10248, 10256, 10249, 1338

# restrict_oom_score_adj: without CAP_SYS_RESOURCE no process may get a lower score than its parent has.
# disable_apparmor: a profile, once loaded, would stay in the kernel.
_CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.btrfs", \
"io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
  address = "{socket}"
[metrics]
  address = "{address}:{metrics}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{folder}/cni"
"""


def containerd(folder: Path, network: Network, plugins: Path) -> Path:
    """Write containerd's file and that of the pod network; plugins: the folder of the CNI plugins.

    Each pod is connected to the node alone (`ptp`), so that its traffic to another pod is routed, and Services work
    between pods of one node without br_netfilter.
    """
    (folder / "cni").mkdir()
    ranges: list[Any] = [[{"subnet": str(network.pods)}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": "/run/cni"}
    chain = [{"type": "ptp", "ipam": ipam}, {"type": "portmap", "capabilities": {"portMappings": True}}]
    _json(folder / "cni" / "10-looparr.conflist", {"cniVersion": "0.4.0", "name": "looparr", "plugins": chain})
    text = _CONTAINERD.format(
        folder=folder,
        socket=SOCKET,
        address=network.node,
        metrics=CONTAINERD_METRICS,
        pause=PAUSE_TAG,
        plugins=plugins,
    )
    return write_whole(folder / "containerd.toml", text)


def kubelet(folder: Path, network: Network, keys: Keys) -> Path:
    """Write the kubelet's file. There is no DNS: an address where nothing listens makes look-ups fail at once."""
    resolv = write_whole(folder / "resolv.conf", "# The sandbox has no DNS.\n", mode=0o644)
    document = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": network.node,
        "port": KUBELET_PORT,
        "healthzBindAddress": network.node,
        "healthzPort": KUBELET_HEALTH,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(keys.authority.ca)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(keys.serving.certificate),
        "tlsPrivateKeyFile": str(keys.serving.key),
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{network.name}",
        "enforceNodeAllocatable": [],
        "failCgroupV1": False,
        "failSwapOn": False,
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "50Mi"},
        "imageGCHighThresholdPercent": 100,
        "volumePluginDir": str(folder / "volume-plugins"),
        "clusterDomain": "cluster.local",
        "clusterDNS": [network.node],
        "resolvConf": str(resolv),
    }
    return _json(folder / "kubelet.json", document)


def proxy(folder: Path, network: Network, kubeconfig: Path) -> Path:
    """Write kube-proxy's file."""
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "mode": "iptables",
        "clusterCIDR": str(network.pods),
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS}",
        "healthzBindAddress": f"{network.node}:{PROXY_HEALTH}",
        "conntrack": {"maxPerCore": 0},
    }
    return _json(folder / "kube-proxy.json", document)


def _json(path: Path, document: dict[str, Any]) -> Path:
    return write_whole(path, json.dumps(document, indent=2))
