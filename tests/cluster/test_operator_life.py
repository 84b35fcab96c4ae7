"""The operator as a process, under its own ServiceAccount and the generated roles, against a real API server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.contract import install
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until
from looparr.testing import check_conditions
from operator_kit import NAME, Janitor, Loops, Operator, grant, ready
from parts import Kubectl


@pytest.fixture
def janitor() -> Iterator[Janitor]:
    made = Janitor()
    yield made
    made.close()


@pytest.fixture
def loops(control_plane: Cluster, namespace: str, janitor: Janitor) -> Loops:
    install(control_plane)
    grant(control_plane, namespace)
    return Loops(control_plane, namespace, janitor)


@pytest.fixture
def kubeconfig(control_plane: Cluster, namespace: str, loops: Loops, tmp_path: Path) -> Path:
    return control_plane.serviceaccount_kubeconfig(namespace, NAME, into=tmp_path / "kubeconfig")


@pytest.fixture
def operator(kubeconfig: Path, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    made = Operator(kubeconfig, (namespace,), tmp_path / "operator.log")
    try:
        yield made.wait_ready()
    finally:
        made.kill()


def test_it_is_ready_with_no_objects_at_all_and_stops_cleanly(operator: Operator) -> None:
    assert operator.probe("/livez") == 200
    assert operator.probe("/metrics") == 200
    assert operator.stop() == 0


def test_a_loop_comes_to_life_and_kubectl_wait_sees_it(
    operator: Operator, loops: Loops, kubectl: Kubectl, namespace: str
) -> None:
    loops.create("sweep", interval="1s")
    kubectl("wait", "--for=condition=Ready", "loop/sweep", "-n", namespace, "--timeout=20s")
    status = loops.until("sweep", lambda status: status["runCount"] >= 3)
    assert ready(status) == ("True", "Succeeded")
    assert status["message"] == "swept"
    assert loops.get("sweep")["metadata"]["finalizers"] == ["looparr.dev/cleanup"]
    assert status["runCount"] <= loops.janitor.calls["sweep"]


def test_a_trigger_runs_once_and_is_answered(
    operator: Operator, loops: Loops, kubectl: Kubectl, namespace: str
) -> None:
    loops.create("sweep")
    loops.until("sweep", lambda status: status.get("runCount") == 1)
    kubectl("annotate", "loop", "sweep", "-n", namespace, "looparr.dev/requestedAt=first", "--overwrite")
    jsonpath = "--for=jsonpath={.status.lastHandledRequestedAt}=first"
    kubectl("wait", jsonpath, "loop/sweep", "-n", namespace, "--timeout=10s")
    assert loops.until("sweep", lambda status: status["runCount"] == 2)["history"][-1]["result"] == "Succeeded"
    wait_until(lambda: "Triggered" in kubectl("get", "events", "-n", namespace), 10, "no Event")


def test_suspend_holds_and_resume_runs_at_once(operator: Operator, loops: Loops) -> None:
    loops.create("sweep", interval="1s")
    loops.until("sweep", lambda status: status.get("runCount", 0) >= 1)
    generation = loops.patch("sweep", suspend=True)
    status = loops.until("sweep", lambda status: status["observedGeneration"] == generation, 5)
    check_conditions(status, generation=generation, suspended=True)
    loops.trigger("sweep", "while suspended")
    held = loops.until("sweep", lambda status: status.get("lastHandledRequestedAt") == "while suspended")
    assert held["runCount"] == status["runCount"]
    generation = loops.patch("sweep", suspend=None, interval="1h")
    status = loops.until("sweep", lambda status: ready(status) == ("True", "Succeeded"))
    check_conditions(status, generation=generation, suspended=False)
    assert status["runCount"] == held["runCount"] + 1


def test_a_new_generation_is_answered_within_five_seconds_in_mid_turn(operator: Operator, loops: Loops) -> None:
    with loops.janitor.held("sweep"):
        loops.create("sweep")
        loops.until("sweep", lambda status: status.get("phase") == "Running", 10)
        generation, asked = loops.patch("sweep", interval="2h"), time.monotonic()
        status = loops.until("sweep", lambda status: status["observedGeneration"] == generation, 6)
        assert time.monotonic() - asked < 5.5
        assert ready(status) == ("Unknown", "Progressing")
    status = loops.until("sweep", lambda status: ready(status) == ("True", "Succeeded"))
    assert status["effectiveInterval"] == "2h"
    assert status["runCount"] == 2


def test_errors_back_off_and_another_loop_does_not_notice(operator: Operator, loops: Loops) -> None:
    loops.janitor.codes["broken"] = 500
    loops.create("broken", backoff={"initialDelay": "1s", "maxDelay": "1s"})
    loops.create("fine", interval="1s")
    status = loops.until("broken", lambda status: status.get("consecutiveErrors", 0) >= 2)
    assert ready(status) == ("False", "ServerError")
    assert status["backoff"]["active"]
    loops.until("broken", lambda status: status["phase"] == "Error")
    assert ready(loops.until("fine", lambda status: status.get("runCount", 0) >= 3)) == ("True", "Succeeded")
    loops.janitor.codes.clear()
    loops.until("broken", lambda status: ready(status) == ("True", "Succeeded"))


def test_an_object_in_mid_turn_is_deleted_within_30_seconds(operator: Operator, loops: Loops) -> None:
    with loops.janitor.held("sweep"):
        loops.create("sweep")
        wait_until(lambda: loops.janitor.open["sweep"] == 1, 20, "the turn does not begin")
        asked = time.monotonic()
        loops.delete("sweep")
        wait_until(lambda: loops.gone("sweep"), 30, "it is not let go")
        assert time.monotonic() - asked < 15


def test_a_resting_object_is_deleted_at_once(operator: Operator, loops: Loops) -> None:
    loops.create("sweep")
    loops.until("sweep", lambda status: status.get("runCount") == 1)
    loops.delete("sweep")
    wait_until(lambda: loops.gone("sweep"), 5, "it is not let go")
    loops.create("sweep")
    assert loops.until("sweep", lambda status: status.get("runCount", 0) >= 1)["runCount"] == 1


def test_counters_and_backoff_survive_a_kill(
    operator: Operator, loops: Loops, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    loops.janitor.codes["broken"] = 500
    loops.create("broken", backoff={"initialDelay": "1h", "maxDelay": "1h"})
    loops.create("fine")
    before = loops.until("broken", lambda status: status.get("errorCount") == 1)
    fine = loops.until("fine", lambda status: status.get("runCount") == 1)
    operator.kill()
    second = Operator(kubeconfig, (namespace,), tmp_path / "second.log").wait_ready()
    try:
        loops.create("canary", interval="1s")
        loops.until("canary", lambda status: status.get("runCount", 0) >= 3)
        assert loops.get("broken")["status"] == before
        assert loops.get("fine")["status"] == fine
        loops.trigger("broken", "past the backoff")
        after = loops.until("broken", lambda status: status.get("lastHandledRequestedAt") is not None)
        assert (after["errorCount"], after["consecutiveErrors"]) == (2, 2)
    finally:
        second.kill()


def test_a_status_that_somebody_damaged_is_repaired(
    loops: Loops, control_plane: Cluster, kubeconfig: Path, namespace: str, tmp_path: Path
) -> None:
    loops.create("sweep")
    damage: dict[str, Any] = {
        "runCount": -7,
        "nextRunTime": "2999-01-01T00:00:00Z",
        "backoff": {"active": True, "until": "2999-01-01T00:00:00Z", "delaySeconds": 4_000_000_000},
        "lastRunTime": "2999-01-01T00:00:00Z",
        "phase": "Nonsense",
        "observedGeneration": 77,
    }
    body = {"status": damage}
    control_plane.request("PATCH", f"{loops.path}/sweep/status", body, content_type="application/merge-patch+json")
    operator = Operator(kubeconfig, (namespace,), tmp_path / "operator.log")
    try:
        status = loops.until("sweep", lambda status: ready(status) == ("True", "Succeeded"), 30)
        check_conditions(status, generation=1)
        assert (status["runCount"], status["phase"]) == (1, "Idle")
    finally:
        operator.kill()


def test_it_waits_for_rights_that_come_later(
    control_plane: Cluster, namespace: str, janitor: Janitor, tmp_path: Path
) -> None:
    install(control_plane)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": NAME}}
    control_plane.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)
    kubeconfig = control_plane.serviceaccount_kubeconfig(namespace, NAME, into=tmp_path / "kubeconfig")
    operator = Operator(kubeconfig, (namespace,), tmp_path / "operator.log")
    try:
        wait_until(lambda: "waiting for" in operator.text(), 20, "it does not say what it waits for")
        assert operator.probe("/readyz") == 503
        control_plane.request("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/{NAME}")
        grant(control_plane, namespace)
        control_plane.serviceaccount_kubeconfig(namespace, NAME, into=kubeconfig)
        operator.wait_ready()
    finally:
        operator.kill()
