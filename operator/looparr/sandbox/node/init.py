"""Pid 1 of a node: makes its mount and network namespaces, lays the cable to the host, and reaps what dies.

`python -m looparr.sandbox.node.init NUMBER FOLDER` starts as the first process of a new pid namespace. When it ends,
the kernel kills every process of the node, and with the last of them go mounts, interfaces, routes and packet filters.
What the node's own programs write to /run and /var lands in memory and goes the same way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from looparr.sandbox import namespaces
from looparr.sandbox.namespaces import BIND, RECURSIVE, SHARED, SLAVE
from looparr.sandbox.node import cgroups
from looparr.sandbox.node.network import Network

KUBELET = Path("/var/lib/kubelet")
_LAYERED = Path("/var")
TUNABLES = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}
_CABLE = "host"
_HEARD = {signal.SIGCHLD, signal.SIGTERM}


def main(number: int, folder: Path) -> int:
    """Make everything, touch `node/isolated` in the sandbox's folder, and reap until SIGTERM."""
    network = Network(number)
    hosts = os.open("/proc/self/ns/net", os.O_RDONLY)
    namespaces.unshare(namespaces.NEW_MOUNT | namespaces.NEW_NET)
    lay_mounts(folder)
    lay_cable(network, hosts)
    os.close(hosts)
    cgroups.make(network.name)
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    (folder / "node" / "isolated").touch()
    while signal.sigwaitinfo(_HEARD).si_signo == signal.SIGCHLD:
        reap()
    return 0


def lay_mounts(folder: Path) -> None:
    """Let no mount of the node reach the host, and keep what its programs write by themselves off the host's files.

    folder: the sandbox's, which stays the host's own wherever it lies, as every file system below /var does.
    """
    kept = {path: os.open(path, os.O_PATH) for path in (*mounted_below(_LAYERED), folder)}
    namespaces.mount("", Path("/"), SLAVE | RECURSIVE)
    namespaces.mount("tmpfs", Path("/run"), options="mode=755")
    upper, work = Path("/run/layer/upper"), Path("/run/layer/work")
    for path in (upper, work):
        path.mkdir(parents=True)
    namespaces.mount("overlay", _LAYERED, options=f"lowerdir={_LAYERED},upperdir={upper},workdir={work}")
    for path, descriptor in kept.items():
        path.mkdir(parents=True, exist_ok=True)
        namespaces.mount(f"/proc/self/fd/{descriptor}", path, BIND)
        os.close(descriptor)
    lay_kubelet(folder)
    namespaces.mount("proc", Path("/proc"))
    lay_tunables()
    namespaces.mount("", Path("/"), SHARED | RECURSIVE)


def lay_kubelet(folder: Path) -> None:
    """Give the kubelet its usual folder: below a long path its sockets' names would not fit."""
    own = folder / "node" / "kubelet"
    for path in (own, KUBELET):
        path.mkdir(parents=True, exist_ok=True)
    namespaces.mount(str(own), KUBELET, BIND)


def lay_tunables() -> None:
    """Show the kubelet the kernel's settings that it wants: they belong to no namespace, and it would change them."""
    for name, value in TUNABLES.items():
        shown, real = Path("/run/tunables", name), Path("/proc/sys", name)
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(f"{value}\n")
        if real.exists():
            namespaces.mount(str(shown), real, BIND)


def mounted_below(place: Path) -> list[Path]:
    """Give the folders below a folder on which something is mounted."""
    points = (Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines())
    return [point for point in points if place in point.parents and point.is_dir()]


def lay_cable(network: Network, hosts: int) -> None:
    """Connect node and host by a pair of interfaces; the host routes pods and Services through it.

    hosts: descriptor of the host's network namespace. The pair is made on this side: it cannot outlive the node.
    """
    on_host = ("nsenter", f"--net=/proc/self/fd/{hosts}")
    commands: tuple[tuple[str, ...], ...] = (
        ("ip", "link", "set", "lo", "up"),
        ("ip", "link", "add", _CABLE, "type", "veth", "peer", "name", network.name, "netns", f"/proc/self/fd/{hosts}"),
        ("ip", "address", "add", f"{network.node}/30", "dev", _CABLE),
        ("ip", "link", "set", _CABLE, "up"),
        ("ip", "route", "add", "default", "via", network.host),
        (*on_host, "ip", "address", "add", f"{network.host}/30", "dev", network.name),
        (*on_host, "ip", "link", "set", network.name, "up"),
        *(
            (*on_host, "ip", "route", "add", str(part), "via", network.node)
            for part in (network.pods, network.services)
        ),
    )
    for command in commands:
        done = subprocess.run(command, pass_fds=(hosts,), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def reap() -> None:
    """Take leave of every process that lost its parent and has ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
