"""What may go wrong between the operator and its API server: nothing of it may end a loop or lose a finished turn."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cluster.contract import install
from looparr.errors import SandboxError
from looparr.sandbox import cluster
from looparr.sandbox.cluster import ApiError, Cluster
from looparr.sandbox.files import wait_until
from operator_kit import MERGE, NAME, Janitor, Loops, Operator, grant, ready
from parts import unavailable

MANY = 60
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane of our own: these tests freeze it, kill it and change its definitions."""
    folder = tmp_path_factory.mktemp("faults") / "control-plane"
    try:
        made = cluster.start(folder, bind_to_parent=True)
    except SandboxError as error:
        unavailable(error)
    install(made)
    yield made
    cluster.stop(folder)


@pytest.fixture
def janitor() -> Iterator[Janitor]:
    made = Janitor()
    yield made
    made.close()


@pytest.fixture
def loops(plane: Cluster, janitor: Janitor, request: pytest.FixtureRequest) -> Loops:
    namespace = f"t{abs(hash(request.node.name)) % 10**9}"
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    grant(plane, namespace)
    return Loops(plane, namespace, janitor)


@pytest.fixture
def kubeconfig(plane: Cluster, loops: Loops, tmp_path: Path) -> Path:
    return plane.serviceaccount_kubeconfig(space(loops), NAME, into=tmp_path / "kubeconfig")


@pytest.fixture
def operator(kubeconfig: Path, loops: Loops, tmp_path: Path) -> Iterator[Operator]:
    made = Operator(kubeconfig, (space(loops),), tmp_path / "operator.log")
    try:
        yield made.wait_ready()
    finally:
        made.kill()


def space(loops: Loops) -> str:
    return loops.path.split("/")[5]


def counts(loops: Loops) -> dict[str, int]:
    return {one["metadata"]["name"]: one.get("status", {}).get("runCount", 0) for one in loops.all()}


def all_go_on(loops: Loops, limit: float = 60) -> None:
    """Every single loop runs and writes again."""
    before: dict[str, int] = {}

    def advanced() -> bool:
        try:
            now = counts(loops)
        except ApiError as error:
            if error.status != 429:  # after a change of its definition the API server asks to wait
                raise
            return False
        if not before:
            before.update(now)
        return all(runs >= before[name] + 2 for name, runs in now.items())

    wait_until(advanced, limit, "some loops ended")


def populate(loops: Loops, interval: str = "1s") -> None:
    for number in range(MANY):
        loops.create(f"sweep-{number}", interval=interval)


@contextmanager
def tightened(plane: Cluster) -> Iterator[None]:
    """Let the API server refuse every status."""
    path = f"{CRDS}/backgroundloops.looparr.dev"
    good = plane.request("GET", path)
    place = "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/runCount/maximum"
    tight = [{"op": "add", "path": place, "value": 0}]  # of a value that changes: others are not looked at again
    plane.request("PATCH", path, tight, content_type="application/json-patch+json")
    try:
        yield
    finally:
        loose = [{"op": "remove", "path": place}]
        plane.request("PATCH", path, loose, content_type="application/json-patch+json")
        assert good["spec"] == plane.request("GET", path)["spec"]


def test_every_loop_goes_on_after_its_status_was_refused(operator: Operator, loops: Loops, plane: Cluster) -> None:
    for number in range(5):
        loops.create(f"sweep-{number}", interval="1s")
    all_go_on(loops)
    with tightened(plane):
        wait_until(lambda: operator.text().count("status was refused") >= 5, 30, "nothing was refused")
        calls = loops.janitor.calls.copy()
        wait_until(lambda: all(loops.janitor.calls[one] > calls[one] + 2 for one in calls), 30, "loops stopped")
        assert operator.text().count("status was refused") == 5, "a refusal is logged once"
    all_go_on(loops)


def test_every_loop_goes_on_after_the_serviceaccount_was_made_anew(
    operator: Operator, loops: Loops, plane: Cluster, kubeconfig: Path
) -> None:
    populate(loops)
    all_go_on(loops)
    accounts = f"/api/v1/namespaces/{space(loops)}/serviceaccounts"
    plane.request("DELETE", f"{accounts}/{NAME}")
    plane.request("POST", accounts, {"metadata": {"name": NAME}})
    wait_until(lambda: "401" in operator.text(), 60, "the old token still works")
    plane.serviceaccount_kubeconfig(space(loops), NAME, into=kubeconfig)
    all_go_on(loops)
    loops.create("newcomer", interval="1s")
    loops.until("newcomer", lambda status: status.get("runCount", 0) >= 2, 60)
    loops.delete("sweep-0")
    wait_until(lambda: loops.gone("sweep-0"), 30, "it is not let go")
    assert operator.process.poll() is None


def test_a_stop_in_mid_turn_loses_nothing_that_is_finished(operator: Operator, loops: Loops) -> None:
    with loops.janitor.held("*"):
        populate(loops)
        wait_until(lambda: sum(loops.janitor.open.values()) == MANY, 40, "not all are in mid-turn")
        operator.process.send_signal(signal.SIGTERM)
        asked = time.monotonic()
    assert operator.process.wait(15) == 0
    assert time.monotonic() - asked < 10
    assert counts(loops) == {f"sweep-{number}": 1 for number in range(MANY)}


def test_a_stop_while_far_more_is_due_than_can_run_loses_nothing(
    kubeconfig: Path, loops: Loops, tmp_path: Path
) -> None:
    operator = Operator(kubeconfig, (space(loops),), tmp_path / "operator.log", "--slots", "4")
    try:
        operator.wait_ready()
        populate(loops)
        all_go_on(loops)
        asked = time.monotonic()
        assert operator.stop() == 0
        assert time.monotonic() - asked < 10
    finally:
        operator.kill()
    assert counts(loops) == {name: loops.janitor.calls[name] for name in counts(loops)}
    assert list(lost(operator)) == []


DAMAGED = {
    "runCount": "many",
    "successCount": -5,
    "errorCount": {"a": 1},
    "phase": 7,
    "lastRunTime": "2999-01-01T00:00:00Z",
    "nextRunTime": ["soon"],
    "backoff": "long",
    "history": [1, {"startTime": "x"}, "y"],
    "conditions": "none",
    "http": 5,
}


@contextmanager
def loosened(plane: Cluster) -> Iterator[None]:
    """Let the API server take anything for a status."""
    path = f"{CRDS}/backgroundloops.looparr.dev"
    place = "/spec/versions/0/schema/openAPIV3Schema/properties/status"
    good = plane.request("GET", path)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]

    def patch(schema: Any) -> None:
        change = [{"op": "replace", "path": place, "value": schema}]
        plane.request("PATCH", path, change, content_type="application/json-patch+json")

    patch({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    try:
        yield
    finally:
        patch(good)


def test_a_status_that_was_damaged_through_a_loosened_schema_is_repaired_and_fits_again(
    kubeconfig: Path, loops: Loops, plane: Cluster, tmp_path: Path
) -> None:
    loops.create("damaged", interval="1s")

    def damage() -> bool:
        patch = [{"op": "add", "path": "/status", "value": DAMAGED}]
        place = f"{loops.path}/damaged/status"
        try:
            found = plane.request("PATCH", place, patch, content_type="application/json-patch+json")
        except ApiError:
            return False
        return bool(found["status"] == DAMAGED)

    operator = Operator(kubeconfig, (space(loops),), tmp_path / "operator.log")
    try:
        with loosened(plane):
            wait_until(damage, 30, "the schema is not loose yet")
            operator.wait_ready()
            wait_until(lambda: loops.get("damaged")["status"].get("runCount") in range(1, 999), 40, "not repaired")
        all_go_on(loops)
        status = loops.get("damaged")["status"]
        assert status["successCount"] == status["runCount"] == loops.janitor.calls["damaged"]
        assert ready(status) == ("True", "Succeeded")
        assert all(row["result"] == "Succeeded" for row in status["history"])
        assert operator.stop() == 0
    finally:
        operator.kill()


def test_a_stop_does_not_wait_for_turns_that_hang(operator: Operator, loops: Loops) -> None:
    with loops.janitor.held("*"):
        populate(loops)
        wait_until(lambda: sum(loops.janitor.open.values()) == MANY, 40, "not all are in mid-turn")
        asked = time.monotonic()
        assert operator.stop() == 0
        assert time.monotonic() - asked < 10
    assert set(counts(loops).values()) == {0}


def test_a_stop_with_a_frozen_api_server_is_in_time_and_logs_what_it_could_not_write(
    operator: Operator, loops: Loops, plane: Cluster
) -> None:
    with loops.janitor.held("*"):
        populate(loops)
        wait_until(lambda: sum(loops.janitor.open.values()) == MANY, 40, "not all are in mid-turn")
        plane.signal_apiserver(signal.SIGSTOP)
        asked = time.monotonic()
        operator.process.send_signal(signal.SIGTERM)
    try:
        operator.process.wait(15)
        assert time.monotonic() - asked < 10
    finally:
        plane.signal_apiserver(signal.SIGCONT)
    plane.wait_ready()
    written = {name for name, runs in counts(loops).items() if runs == 1}
    logged = dict(lost(operator))
    assert written | set(logged) == {f"sweep-{number}" for number in range(MANY)}
    assert all(status["runCount"] == 1 for status in logged.values())


def lost(operator: Operator) -> Iterator[tuple[str, dict[str, Any]]]:
    """The statuses that a stop logged, by loop."""
    for line in operator.text().splitlines():
        if "status could not be written" in line:
            event = json.loads(line)["event"]
            name = event.partition("loop=")[2].split()[0].rpartition("/")[2]
            yield name, json.loads(event.partition("status=")[2])


def test_a_finalizer_that_somebody_took_away_comes_back(operator: Operator, loops: Loops, plane: Cluster) -> None:
    loops.create("sweep", interval="1s")
    loops.until("sweep", lambda status: status.get("runCount", 0) >= 1)
    plane.request("PATCH", f"{loops.path}/sweep", {"metadata": {"finalizers": None}}, content_type=MERGE)
    loops.trigger("sweep", "without its finalizer")
    status = loops.until("sweep", lambda status: status.get("lastHandledRequestedAt") is not None)
    assert ready(status) == ("True", "Succeeded")
    wait_until(lambda: loops.get("sweep")["metadata"].get("finalizers"), 20, "the finalizer does not come back")
