"""The operator without --namespace, under the generated ClusterRole, and what it does when its definitions go away.

A control plane of its own: it looks after every namespace, and others' objects are in the one that the tests share.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from cluster.contract import FULL, install, made
from looparr.api.meta import API_VERSION
from looparr.errors import SandboxError
from looparr.sandbox import cluster
from looparr.sandbox.cluster import ApiError, Cluster
from looparr.sandbox.files import wait_until
from operator_kit import MERGE, NAME, Janitor, Loops, Operator, grant, ready
from parts import Kubectl, unavailable

HOME = "home"
DEFINITION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/backgroundloops.looparr.dev"

MakeLoops = Callable[[], Loops]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("everywhere") / "control-plane"
    try:
        made_here = cluster.start(folder, bind_to_parent=True)
    except SandboxError as error:
        unavailable(error)
    install(made_here)
    made_here.request("POST", "/api/v1/namespaces", {"metadata": {"name": HOME}})
    grant(made_here, HOME, everywhere=True)
    yield made_here
    cluster.stop(folder)


@pytest.fixture
def make_loops(plane: Cluster) -> Iterator[MakeLoops]:
    """`make_loops() -> Loops` in a new namespace."""
    janitor = Janitor()

    def make() -> Loops:
        name = f"test-{secrets.token_hex(4)}"
        plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        return Loops(plane, name, janitor)

    yield make
    janitor.close()


@pytest.fixture
def start(plane: Cluster, tmp_path: Path) -> Iterator[Callable[[], Operator]]:
    """`start() -> Operator`: the next process of the same pod."""
    kubeconfig = plane.serviceaccount_kubeconfig(HOME, NAME, into=tmp_path / "kubeconfig")
    with ExitStack() as stack:

        def begin() -> Operator:
            started = Operator(kubeconfig, (), tmp_path / f"operator-{secrets.token_hex(2)}.log")
            stack.callback(started.kill)
            return started

        yield begin


def space(loops: Loops) -> str:
    return loops.path.split("/")[5]


def has_run(status: dict[str, Any]) -> bool:
    return int(status.get("runCount", 0)) >= 2


def test_it_runs_the_objects_of_every_namespace_and_of_one_that_is_made_later(
    plane: Cluster, make_loops: MakeLoops, start: Callable[[], Operator]
) -> None:
    kubectl = Kubectl(plane.kubectl, plane.kubeconfig)
    first, second = make_loops(), make_loops()
    first.create("sweep", interval="1s")
    operator = start().wait_ready()
    second.create("sweep", interval="1s")
    for loops in (first, second):
        loops.until("sweep", has_run, 60)
    third = make_loops()
    third.create("sweep", interval="1s")
    third.until("sweep", has_run, 60)

    path = third.path.replace("backgroundloops", "arrinstances")
    plane.request("POST", path, made("ArrInstance", FULL["ArrInstance"], "radarr"))
    waiting = "--for=jsonpath={.status.conditions[0].reason}=SecretMissing"
    kubectl("wait", waiting, "arr/radarr", "-n", space(third), "--timeout=28s")
    third.trigger("sweep", "now")
    wait_until(lambda: "Triggered" in kubectl("get", "events", "-n", space(third)), 20, "no Event")
    for loops in (first, second, third):
        loops.delete("sweep")
        wait_until(lambda loops=loops: loops.gone("sweep"), 30, "it is not let go")
    assert operator.stop() == 0


@pytest.fixture
def definition_deleted(plane: Cluster) -> Iterator[Callable[[], None]]:
    """`definition_deleted()` takes the definition of BackgroundLoop away, with all its objects."""

    def gone() -> bool:
        try:
            plane.request("GET", DEFINITION)
        except ApiError as error:
            return error.status == 404
        return False

    def delete() -> None:
        with suppress(ApiError):  # perhaps it is on its way already
            plane.request("DELETE", DEFINITION)
        wait_until(gone, 60, "it is still there", every=0.02)

    yield delete
    install(plane)


def test_it_ends_and_says_why_when_a_definition_is_deleted_and_its_successor_waits_for_it(
    plane: Cluster,
    make_loops: MakeLoops,
    start: Callable[[], Operator],
    definition_deleted: Callable[[], None],
) -> None:
    loops, operator = make_loops(), start().wait_ready()
    loops.create("sweep", interval="1s")
    loops.until("sweep", has_run, 60)
    definition_deleted()
    wait_until(lambda: operator.process.poll() is not None, 60, "it goes on without what it watches")
    assert operator.process.returncode == 1
    errors = [line["event"] for line in operator.lines() if line["level"] == "error"]
    assert any("backgroundloops" in event and "404" in event for event in errors), errors
    assert "process failed" in errors

    successor = start()
    wait_until(lambda: "waiting for" in successor.text(), 30, "it does not say what it waits for")
    assert (successor.probe("/livez"), successor.probe("/readyz")) == (200, 503)
    install(plane)
    successor.wait_ready()
    see_one_live(loops)


def test_it_waits_for_a_definition_that_is_being_deleted_and_serves_the_one_that_comes_after_it(
    plane: Cluster, make_loops: MakeLoops, start: Callable[[], Operator], definition_deleted: Callable[[], None]
) -> None:
    """Kopf leaves out for ever what it cannot patch when it looks."""
    loops = make_loops()
    loops.create("held")
    held = f"{loops.path}/held"
    plane.request("PATCH", held, {"metadata": {"finalizers": ["example.org/held"]}}, content_type=MERGE)
    plane.request("DELETE", DEFINITION)
    wait_until(lambda: not patchable(plane), 20, "it is still served")
    operator = start()
    wait_until(lambda: "waiting for backgroundloops" in operator.text(), 30, "it does not say what it waits for")
    plane.request("PATCH", held, {"metadata": {"finalizers": None}}, content_type=MERGE)
    definition_deleted()
    install(plane)
    operator.wait_ready()
    see_one_live(loops)


def see_one_live(loops: Loops) -> None:
    """Have a loop run, and be let go when it is deleted."""
    loops.create("sweep", interval="1s")
    assert ready(loops.until("sweep", has_run, 60)) == ("True", "Succeeded")
    loops.delete("sweep")
    wait_until(lambda: loops.gone("sweep"), 30, "it is not let go")


def patchable(plane: Cluster) -> bool:
    """Whether discovery offers to change BackgroundLoops."""
    resources = plane.request("GET", f"/apis/{API_VERSION}")["resources"]
    return any(one["name"] == "backgroundloops" and "patch" in one["verbs"] for one in resources)


def test_a_definition_that_is_deleted_and_applied_again_leaves_no_operator_that_only_seems_to_live(
    plane: Cluster,
    make_loops: MakeLoops,
    start: Callable[[], Operator],
    definition_deleted: Callable[[], None],
) -> None:
    """Whether it goes on or ends depends on which of the two its watch meets."""
    loops, operator = make_loops(), start().wait_ready()
    definition_deleted()
    install(plane)
    loops.create("sweep", interval="1s")
    wait_until(
        lambda: operator.process.poll() is not None or has_run(loops.get("sweep").get("status", {})), 60, "it hangs"
    )
    if operator.process.poll() is not None:
        assert operator.process.returncode == 1
        start().wait_ready()
    assert ready(loops.until("sweep", has_run, 60)) == ("True", "Succeeded")
