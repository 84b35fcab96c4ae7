"""What the operator may do under the generated manifests: its objects, their status, Events, `get` on Secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.contract import install
from looparr.manifests import rbac
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until
from operator_kit import NAME, grant
from parts import Kubectl

OURS = {
    "arrinstances.looparr.dev [] [] [get list watch patch]",
    "arrinstances.looparr.dev/status [] [] [patch]",
    "backgroundloops.looparr.dev [] [] [get list watch patch]",
    "backgroundloops.looparr.dev/status [] [] [patch]",
    "events [] [] [create]",
    "secrets [] [] [get]",
}
"""Resource, URLs, names and verbs."""
ELSEWHERE = "kube-system"


@pytest.fixture(params=[False, True], ids=["one-namespace", "everywhere"])
def everywhere(request: pytest.FixtureRequest, control_plane: Cluster, namespace: str) -> Iterator[bool]:
    """Grant the operator its rights, in its own namespace or in all of them."""
    install(control_plane)
    grant(control_plane, namespace, everywhere=request.param)
    yield request.param
    for body in rbac(namespace, watch_namespaces=None if request.param else ()):
        if body["kind"].startswith("Cluster"):
            path = f"/apis/{body['apiVersion']}/{body['kind'].lower()}s/{body['metadata']['name']}"
            control_plane.request("DELETE", path)


@pytest.fixture
def operator(control_plane: Cluster, kubectl: Kubectl, namespace: str, everywhere: bool) -> Kubectl:
    """kubectl with the token of the operator's ServiceAccount."""
    acting = kubectl.acting_as(control_plane.serviceaccount_kubeconfig(namespace, NAME))
    wait_until(lambda: acting.run("get", "loops", "-n", namespace).returncode == 0, 20, "RBAC did not arrive")
    return acting


def rights(who: Kubectl, where: str, *flags: str) -> set[str]:
    """The rows of `kubectl auth can-i --list` in a namespace, all four columns of them."""
    rows = who("auth", "can-i", "--list", "-n", where, *flags).splitlines()[1:]
    return {" ".join(row.split()) for row in rows if row.strip()}


def test_it_may_do_its_work_and_nothing_else(
    control_plane: Cluster, kubectl: Kubectl, operator: Kubectl, namespace: str, everywhere: bool
) -> None:
    """Beyond what everybody may; seen by its token, and the way docs/operations.md shows it."""
    kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    nobody = kubectl.acting_as(control_plane.serviceaccount_kubeconfig(namespace, "nobody"))
    for where, ours in ((namespace, OURS), (ELSEWHERE, OURS if everywhere else set())):
        everybodys = rights(nobody, where)
        assert not everybodys & OURS
        assert rights(operator, where) - everybodys == ours
        assert everybodys <= rights(operator, where)
        shown = rights(kubectl, where, f"--as=system:serviceaccount:{namespace}:{NAME}")
        assert shown == rights(operator, where)


def test_it_sees_the_namespaces_that_it_looks_after_and_lists_no_secrets(operator: Kubectl, everywhere: bool) -> None:
    assert (operator.run("get", "loops", "-A").returncode == 0) == everywhere
    assert (operator.run("get", "loops", "-n", ELSEWHERE).returncode == 0) == everywhere
    missing = operator.refused("get", "secret", "missing", "-n", ELSEWHERE)
    assert ("not found" in missing, "forbidden" in missing) == (everywhere, not everywhere)
    assert "forbidden" in operator.refused("get", "secrets", "-n", ELSEWHERE)
    assert "forbidden" in operator.refused("get", "secrets", "-A")
