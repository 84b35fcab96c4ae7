"""A real control plane as people start it: nothing is left behind, whatever way it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from looparr.errors import SandboxError
from looparr.sandbox import binaries, cluster, files, processes
from looparr.sandbox.cluster import ApiError
from looparr.sandbox.progress import Silent
from looparr.sandbox.supervisor import answers, tls
from parts import Kubectl, unavailable

LOOPARR = (sys.executable, "-m", "looparr.cli", "sandbox")
pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    try:
        binaries.resolve(binaries.CONTROLPLANE, env=os.environ, progress=Silent())
    except SandboxError as error:
        unavailable(error)


def looparr(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LOOPARR, *arguments], capture_output=True, text=True, timeout=120, check=False)


def test_up_and_down_as_a_user_types_them(folder: Path) -> None:
    up = looparr("up", "--dir", str(folder))
    assert up.returncode == 0, up.stderr
    assert up.stdout.startswith(f"export KUBECONFIG={folder}/kubeconfig")
    first = cluster.read(folder)

    kubectl = Kubectl(first.kubectl, first.kubeconfig)
    assert {"default", "kube-system"} <= set(kubectl("get", "ns", "-o", "name").replace("namespace/", "").split())
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "35"

    again = looparr("up", "--dir", str(folder))
    assert again.returncode == 0
    assert "is up in" in again.stderr
    assert cluster.read(folder).pids == first.pids
    assert looparr("kubeconfig", "--dir", str(folder)).stdout == f"{folder}/kubeconfig\n"

    down = looparr("down", "--dir", str(folder))
    assert down.returncode == 0, down.stderr
    assert not processes.under(folder)
    assert not folder.exists()
    assert "No sandbox was up" in looparr("down", "--dir", str(folder)).stderr
    gone = looparr("kubeconfig", "--dir", str(folder))
    assert gone.returncode == 1
    assert "looparr sandbox up" in gone.stderr


def ended(process: subprocess.Popen[Any]) -> int:
    """Wait for the end and give the exit code; one that does not end is killed, or we would wait for it for ever."""
    try:
        return process.wait(30)
    finally:
        process.kill()


def test_ctrl_c_leaves_nothing(folder: Path) -> None:
    command = [*LOOPARR, "up", "--foreground", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as foreground:
        assert foreground.stdout is not None
        assert foreground.stdout.readline().startswith("export KUBECONFIG=")
        foreground.send_signal(signal.SIGINT)
        assert ended(foreground) == 0
    assert not processes.under(folder)
    assert not folder.exists()


def test_ctrl_c_in_the_middle_of_the_start_leaves_nothing(folder: Path) -> None:
    command = [*LOOPARR, "up", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
        files.wait_until(lambda: "kube-apiserver" in str(processes.under(folder).values()), 30, "It did not begin")
        starting.send_signal(signal.SIGINT)
        assert ended(starting) != 0
    assert not processes.under(folder)
    assert not folder.exists()


def test_after_kill_9_of_the_supervisor_nothing_runs_and_the_next_start_has_the_same_address(folder: Path) -> None:
    control_plane = cluster.start(folder)
    os.kill(control_plane.pids["supervisor"], signal.SIGKILL)
    files.wait_until(lambda: not processes.under(folder), 5, "Processes were left")
    with pytest.raises(SandboxError, match="No sandbox is up"):
        cluster.read(folder)
    assert cluster.start(folder).server == control_plane.server


def test_down_clears_up_after_a_killed_supervisor(folder: Path) -> None:
    control_plane = cluster.start(folder, bind_to_parent=True)
    os.kill(control_plane.pids["supervisor"], signal.SIGKILL)
    files.wait_until(lambda: not processes.under(folder), 5, "Processes were left")
    assert not cluster.stop(folder)
    assert not folder.exists()


def test_two_stand_side_by_side_and_one_goes_without_the_other(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    one, two = cluster.start(folder, bind_to_parent=True), cluster.start(other, bind_to_parent=True)
    try:
        assert one.server != two.server
        one.request("POST", "/api/v1/namespaces", {"metadata": {"name": "only-here"}})
        with pytest.raises(ApiError) as refused:
            two.request("GET", "/api/v1/namespaces/only-here")
        assert refused.value.status == 404
        cluster.stop(folder)
        assert two.is_ready()
    finally:
        cluster.stop(other)
    assert not processes.under(tmp_path)


def test_the_api_server_freezes_dies_and_comes_back_with_its_objects(folder: Path) -> None:
    control_plane = cluster.start(folder, bind_to_parent=True)
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": "kept"}})
    before = control_plane.pids["kube-apiserver"]
    with control_plane.apiserver_down():
        assert not control_plane.is_ready()
        assert processes.identity(before) is None
    assert control_plane.pids["kube-apiserver"] != before
    assert control_plane.request("GET", "/api/v1/namespaces/kept")["metadata"]["name"] == "kept"
    control_plane.signal_apiserver(signal.SIGSTOP)
    stat = Path(f"/proc/{control_plane.pids['kube-apiserver']}/stat")
    files.wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", 10, "It does not freeze")
    control_plane.signal_apiserver(signal.SIGCONT)
    control_plane.wait_ready()


def test_keys_and_kubeconfig_are_readable_by_their_owner_only(folder: Path) -> None:
    control_plane = cluster.start(folder, bind_to_parent=True)
    secret = [control_plane.kubeconfig, *(folder / "pki").iterdir(), folder / "plan.json"]
    assert {path.stat().st_mode & 0o077 for path in secret} == {0}
    assert folder.stat().st_mode & 0o077 == 0


def test_nothing_listens_beyond_loopback(folder: Path) -> None:
    cluster.start(folder, bind_to_parent=True)
    pids = processes.under(folder)
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in listening if any(f"pid={pid}," in line for pid in pids)]
    assert len(ours) == 4
    assert {address.rpartition(":")[0] for address in ours} == {"127.0.0.1"}


def test_etcd_talks_to_nobody_without_a_certificate(folder: Path) -> None:
    cluster.start(folder, bind_to_parent=True)
    port = processes.read_state(folder).facts["ports"][0]
    bare = processes.Probe(f"https://127.0.0.1:{port}/health", ca=str(folder / "pki" / "ca.crt"))
    admin = [str(folder / "pki" / name) for name in ("ca.crt", "admin.crt", "admin.key")]
    assert not answers(bare, tls(bare))
    assert answers(bare, tls(processes.Probe(bare.url, *admin)))


def test_a_folder_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "mine.log").write_text("mine")
    for attempt in (lambda: cluster.start(tmp_path), lambda: cluster.stop(tmp_path)):
        with pytest.raises(SandboxError, match=r"is not a sandbox's folder \(it holds logs\)"):
            attempt()
    assert (tmp_path / "logs" / "mine.log").read_text() == "mine"


def test_an_unknown_level_is_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="choose controlplane"):
        cluster.start(tmp_path / "box", level="moon")


def test_it_is_not_started_for_a_process_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="has ended already"):
        cluster.start(tmp_path / "box", parent=2**22 + 1)
    assert not files.is_locked(tmp_path / "box")
