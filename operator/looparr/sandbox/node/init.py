"""Pid 1 of a node: makes its mount and network namespaces, lays the cable to the host, and reaps what dies.

`python -m looparr.sandbox.node.init NUMBER FOLDER` starts as the first process of a new pid namespace. When it ends,
the kernel kills every process of the node, and with the last of them go mounts, interfaces, routes and packet filters.
What programs write beside the sandbox's folder lands in memory and goes the same way.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from looparr.sandbox import namespaces
from looparr.sandbox.namespaces import BIND, PRIVATE, RECURSIVE, SHARED
from looparr.sandbox.node import cgroups
from looparr.sandbox.node.network import Network

_LAYERED = ("/etc", "/opt", "/usr/libexec", "/var")
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
    """Cut every mount off from the host's, share them within the node, and keep its writes off the host's files.

    folder: the sandbox's, which stays the host's own wherever it lies.
    """
    kept = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    namespaces.mount("", Path("/"), PRIVATE | RECURSIVE)
    namespaces.mount("tmpfs", Path("/run"), options="mode=755")
    for place in filter(os.path.isdir, _LAYERED):
        upper, work = (Path("/run/layers", part, place[1:].replace("/", "-")) for part in ("upper", "work"))
        for path in (upper, work):
            path.mkdir(parents=True)
        namespaces.mount("overlay", Path(place), options=f"lowerdir={place},upperdir={upper},workdir={work}")
    folder.mkdir(parents=True, exist_ok=True)
    namespaces.mount(f"/proc/self/fd/{kept}", folder, BIND)
    os.close(kept)
    namespaces.mount("proc", Path("/proc"))
    namespaces.mount("", Path("/"), SHARED | RECURSIVE)


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
        ("sysctl", "-qw", "net.ipv4.ip_forward=1"),
    )
    for command in commands:
        done = subprocess.run(command, pass_fds=(hosts,), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def reap() -> None:
    """Take leave of every process that lost its parent and has ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2])))
