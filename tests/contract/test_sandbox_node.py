"""A real node in namespaces of its own: pods run, and whatever way it ends, nothing of it is left on this machine."""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from looparr.errors import SandboxError
from looparr.sandbox import binaries, cluster, debian, files, processes
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.image import PAUSE_TAG as PAUSE
from looparr.sandbox.node import cgroups, init, network, system
from looparr.sandbox.progress import Silent
from parts import Kubectl, needs_root, unavailable

pytestmark = pytest.mark.node


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    needs_root()
    try:
        cluster.programs("node", env=os.environ, progress=Silent())
    except SandboxError as error:
        unavailable(error)


def traces(node: Cluster) -> list[str]:
    """Everything of a node that this machine could keep, as lines that name it."""
    number = node.number
    assert number is not None
    block = network.Network(number)
    lines = [
        *said("ip", "-br", "link"),
        *said("ip", "route", "show", "table", "all"),
        *said("iptables-save"),
        *Path("/proc/self/mountinfo").read_text().splitlines(),
        *(str(path) for one in cgroups.hierarchies() for path in one.glob(block.name)),
        *subprocess.run(["pgrep", "-fa", "looparr"], capture_output=True, text=True, check=False).stdout.splitlines(),
    ]
    names = (
        rf"\b{block.name}\b",
        rf"\b{re.escape(str(block.pods)[:-4])}",
        re.escape(block.host),
        re.escape(str(node.folder)),
    )
    return [line for line in lines if re.search("|".join(names), line)]


def said(*command: str) -> list[str]:
    env = {"PATH": debian.SYSTEM_PATH}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.splitlines()


def pod(name: str, **spec: object) -> dict[str, object]:
    quiet = {"allowPrivilegeEscalation": False, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
    context = {**quiet, "seccompProfile": {"type": "RuntimeDefault"}}
    one = {"name": "pause", "image": PAUSE, "imagePullPolicy": "Never", "securityContext": context}
    return {"metadata": {"name": name}, "spec": {"containers": [one], **spec}}


def run_pod(node: Cluster, name: str = "one") -> None:
    """Have a pod under `restricted` run."""
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    node.request("POST", "/api/v1/namespaces", {"metadata": {"name": "pods", "labels": label}})
    path = "/api/v1/namespaces/pods/serviceaccounts/default"
    files.wait_until(lambda: is_there(node, path), 20, "no ServiceAccount")
    node.request("POST", "/api/v1/namespaces/pods/pods", pod(name))
    kubectl = Kubectl(node.kubectl, node.kubeconfig)
    kubectl("wait", "-n", "pods", "--for=condition=Ready", f"pod/{name}", "--timeout=25s")


def is_there(node: Cluster, path: str) -> bool:
    try:
        node.request("GET", path)
    except SandboxError:
        return False
    return True


def test_a_node_runs_pods_and_kill_9_of_its_supervisor_leaves_nothing_on_the_machine(folder: Path) -> None:
    node = cluster.start(folder, level="node", bind_to_parent=True)
    run_pod(node)
    during = "\n".join(traces(node))
    assert all(part in during for part in (node.host, "/sys/fs/cgroup", "looparr.sandbox.node.sweep"))
    os.kill(node.pids["supervisor"], signal.SIGKILL)
    files.wait_until(lambda: not traces(node), 10, "Traces were left")
    node = cluster.start(folder, level="node", bind_to_parent=True)
    run_pod(node)
    cluster.stop(folder)
    files.wait_until(lambda: not traces(node), 10, "Traces were left")
    assert not folder.exists()


def test_a_node_writes_nothing_beside_its_folder(folder: Path) -> None:
    places = [Path(place) for place in ("/etc", "/opt", "/usr/libexec", "/var/lib", "/var/log")]
    before = {entry for place in places if place.is_dir() for entry in place.iterdir()}
    tunables = {name: Path("/proc/sys", name).read_text() for name in init.TUNABLES}
    run_pod(cluster.start(folder, level="node", bind_to_parent=True))
    assert {entry for place in places if place.is_dir() for entry in place.iterdir()} - before == set()
    assert {name: Path("/proc/sys", name).read_text() for name in init.TUNABLES} == tunables
    wanted = {name: f"{value}\n" for name, value in init.TUNABLES.items()}
    assert tunables != wanted, "this machine has what the kubelet wants: nothing can be seen here"


def test_a_node_in_a_folder_with_a_long_name_and_below_var_runs_pods() -> None:
    """Names of Unix sockets have a limit, and /var is not the host's inside."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place:
        folder = Path(place) / ("so-long-a-name-" * 6)
        try:
            run_pod(cluster.start(folder, level="node", bind_to_parent=True))
        finally:
            cluster.stop(folder)


def test_when_pid_1_dies_the_sandbox_says_so_and_ends(folder: Path) -> None:
    node = cluster.start(folder, level="node", bind_to_parent=True)
    os.kill(node.pids["init"], signal.SIGKILL)
    files.wait_until(lambda: not files.is_locked(folder), 20, "It lives on")
    state = processes.read_state(folder)
    assert state is not None
    assert "init ended, and every other program with it" in state.message
    files.wait_until(lambda: not traces(node), 10, "Traces were left")


def test_a_node_whose_starter_was_killed_is_made_whole_by_the_next_one(folder: Path) -> None:
    node = cluster.start(folder, level="node", bind_to_parent=True)
    gone = "/api/v1/persistentvolumes/volume-0"
    node.request("DELETE", gone)
    files.wait_until(lambda: not is_there(node, gone), 10, "The volume stays")
    assert cluster.start(folder, level="node").number == node.number
    assert is_there(node, gone)


def test_two_nodes_stand_side_by_side_and_one_goes_without_the_other(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    one, two = (cluster.start(place, level="node", bind_to_parent=True) for place in (folder, other))
    try:
        assert one.host != two.host
        for node in (one, two):
            run_pod(node)
        cluster.stop(folder)
        found = two.request("GET", "/api/v1/namespaces/pods/pods/one")
        assert found["status"]["phase"] == "Running"
        run_again = two.request("POST", "/api/v1/namespaces/pods/pods", pod("two"))
        assert run_again["metadata"]["name"] == "two"
    finally:
        cluster.stop(other)
    assert not processes.under(tmp_path)


def test_pods_and_services_are_reached_from_the_host(folder: Path) -> None:
    node = cluster.start(folder, level="node", bind_to_parent=True)
    service = node.request("GET", "/api/v1/namespaces/default/services/kubernetes")["spec"]
    with socket.create_connection((service["clusterIP"], 443), timeout=10) as reached:
        assert reached.getpeername()[1] == 443
    run_pod(node)
    address = node.request("GET", "/api/v1/namespaces/pods/pods/one")["status"]["podIP"]
    with pytest.raises(ConnectionRefusedError):  # it answers, though nobody listens there
        socket.create_connection((address, 80), timeout=10)


def test_a_block_is_held_by_one_and_free_with_its_holder() -> None:
    first, held = network.claim()
    assert network.hold(first.number) is None
    os.close(held)
    again = network.hold(first.number)
    assert again is not None
    os.close(again)


def test_blocks_that_the_machine_routes_already_are_passed_over() -> None:
    routed = "ip link set lo up; for part in {}; do ip route add $part dev lo; done; exec {} -c '{}'"
    for parts, chosen in (("10.213.0.0/17", range(32, 64)), ("10.0.0.0/8", range(64, 128))):
        script = routed.format(parts, sys.executable, _CLAIM)
        assert int(said("unshare", "--net", "sh", "-c", script)[0]) in chosen
    everything = routed.format("10.0.0.0/8 198.18.0.0/15", sys.executable, _CLAIM)
    refused = subprocess.run(["unshare", "--net", "sh", "-c", everything], capture_output=True, text=True, check=False)
    assert "are routed elsewhere or in use: see `ip route`" in refused.stderr


_CLAIM = "from looparr.sandbox.node import network; print(network.claim()[0].number)"


def test_the_addresses_of_blocks_are_apart() -> None:
    every = [network.Network(number) for number in range(128)]
    parts = [
        part for one in every for part in (one.pods, one.services, ipaddress.ip_network(f"{one.host}/30", strict=False))
    ]
    assert len(set(parts)) == 3 * 128
    ordered = sorted(parts)
    assert not any(left.overlaps(right) for left, right in itertools.pairwise(ordered))


def test_what_others_left_in_a_group_of_ours_is_told(tmp_path: Path) -> None:
    name = f"looparr-test-{os.getpid()}"
    cgroups.make(name)
    try:
        with subprocess.Popen(["/bin/sleep", "60"]) as held:
            group = cgroups.hierarchies()[0] / name
            (group / "cgroup.procs").write_text(str(held.pid))
            assert cgroups.remove(name, limit=0.1) == [group]
            held.kill()
    finally:
        assert cgroups.remove(name) == []


def test_without_root_the_level_says_what_it_needs() -> None:
    code = "import os; from looparr.sandbox.node import system; os.setuid(65534); system.require_root()"
    refused = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1
    assert "run it as root, on Linux" in refused.stderr


def test_a_machine_without_containerd_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(debian, "SYSTEM_PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"apt-get install containerd iproute2 iptables"):
        system.find({"PATH": str(tmp_path)})


def test_a_folder_of_the_other_level_is_told(folder: Path) -> None:
    cluster.start(folder, bind_to_parent=True)
    with pytest.raises(SandboxError, match="is of level controlplane: end it"):
        cluster.start(folder, level="node")


def test_the_level_has_programs_for_everything_it_starts() -> None:
    assert {"kubelet", "kube-proxy", "kube-scheduler", "pause"} <= set(binaries.NODE)
