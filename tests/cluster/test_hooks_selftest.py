"""`looparr selftest` on a real API server, as `helm test` runs it, with and without an operator."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chart_kit import render
from cluster.contract import install
from hooks_kit import Objects, command, granted, run
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until
from operator_kit import NAME, Operator, grant
from parts import Kubectl

ACCOUNT = "looparr-selftest"
LIMIT = 4

MakeOperator = Callable[..., Operator]


@pytest.fixture
def objects(control_plane: Cluster, namespace: str) -> Objects:
    install(control_plane)
    return Objects(control_plane, namespace)


@pytest.fixture
def kubeconfig(control_plane: Cluster, kubectl: Kubectl, namespace: str, objects: Objects, tmp_path: Path) -> Path:
    """That of the hook's own account with its own rights."""
    values = {"watchNamespaces": [namespace], "crds": {"enabled": False}}
    granted(kubectl, render(values, namespace=namespace), ACCOUNT)
    made = control_plane.serviceaccount_kubeconfig(namespace, ACCOUNT, into=tmp_path / "kubeconfig")
    acting = kubectl.acting_as(made)
    may = ("auth", "can-i", "delete", "backgroundloops.looparr.dev", "-n", namespace)
    wait_until(lambda: acting.run(*may).returncode == 0, 20, "RBAC did not arrive")
    return made


@pytest.fixture
def start(control_plane: Cluster, namespace: str, objects: Objects, tmp_path: Path) -> Iterator[MakeOperator]:
    """`start(*flags) -> Operator`, ready."""
    grant(control_plane, namespace)
    its = control_plane.serviceaccount_kubeconfig(namespace, NAME, into=tmp_path / "operator.kubeconfig")
    made: list[Operator] = []

    def begin(*flags: str) -> Operator:
        made.append(Operator(its, (namespace,), tmp_path / "operator.log", *flags))
        return made[-1].wait_ready()

    yield begin
    for one in made:
        one.kill()


def arguments(kubeconfig: Path, namespace: str, limit: float = 30) -> list[str]:
    given = {"--kubeconfig": kubeconfig, "--namespace": namespace, "--address": "127.0.0.1", "--timeout": limit}
    return ["selftest", *(str(part) for flag in given.items() for part in flag)]


def test_a_working_operator_passes_and_nothing_is_left(
    start: MakeOperator, objects: Objects, kubeconfig: Path, namespace: str
) -> None:
    start()
    done = run(*arguments(kubeconfig, namespace))
    assert done.returncode == 0, done.stderr
    assert "It is Ready after" in done.stderr
    assert "the self-test was called" in done.stderr
    assert done.stderr.endswith("The operator works.\n")
    assert objects.finalizers() == {}


def test_without_an_operator_it_fails_within_its_limit_and_says_that_nobody_looked(
    objects: Objects, kubeconfig: Path, namespace: str
) -> None:
    begun = time.monotonic()
    done = run(*arguments(kubeconfig, namespace, LIMIT))
    assert time.monotonic() - begun < LIMIT + 10
    assert done.returncode == 1
    assert f"No operator has looked at the loop within {LIMIT} s." in done.stderr
    assert f"namespace {namespace} (watchNamespaces)" in done.stderr
    assert objects.finalizers() == {}


def test_an_operator_that_may_not_call_pods_says_so_at_once(
    start: MakeOperator, objects: Objects, kubeconfig: Path, namespace: str
) -> None:
    start("--egress-deny-cidr", "127.0.0.0/8")
    done = run(*arguments(kubeconfig, namespace, 300))
    assert done.returncode == 1
    assert "put the network of 127.0.0.1 into egress.allowCIDRs" in done.stderr
    wait_until(lambda: objects.finalizers() == {}, 20, "the loop is left over")


def test_a_stop_in_the_middle_takes_the_loop_away(objects: Objects, kubeconfig: Path, namespace: str) -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen(command(*arguments(kubeconfig, namespace, 60)), stderr=pipe, text=True) as process:
        wait_until(objects.finalizers, 20, "no loop was made")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 1
    assert objects.finalizers() == {}


def test_an_address_that_is_not_here_is_a_wrong_setting(objects: Objects, kubeconfig: Path, namespace: str) -> None:
    wrong = [one.replace("127.0.0.1", "192.0.2.1") for one in arguments(kubeconfig, namespace)]
    done = run(*wrong)
    assert done.returncode == 2
    assert "cannot listen on 192.0.2.1" in done.stderr


def test_an_account_without_the_right_is_told_so(
    control_plane: Cluster, kubectl: Kubectl, objects: Objects, namespace: str
) -> None:
    kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    nobody = control_plane.serviceaccount_kubeconfig(namespace, "nobody")
    done = run(*arguments(nobody, namespace))
    assert done.returncode == 1
    assert 'nobody" cannot create resource "backgroundloops"' in done.stderr.splitlines()[-1]
