"""The whole chart on a real API server: what it takes, what people may do by it, and Helm's way from install to gone.

No kubelet runs here: the operator is a process under the chart's account, and for the pods of the hooks the test plays
the kubelet. A control plane of its own, because definitions and cluster roles come and go.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_kit import CHART, finished, helm, of_kind, render
from cluster.contract import install
from hooks_kit import FOREIGN, Objects, apply, exists, played, run
from looparr.api.meta import FINALIZER
from looparr.errors import SandboxError
from looparr.sandbox import cluster
from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until
from operator_kit import Operator
from parts import Kubectl, unavailable

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BASELINE_ONLY = {"securityContext": {"allowPrivilegeEscalation": True}}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("chart") / "control-plane"
    try:
        made = cluster.start(folder, bind_to_parent=True)
    except SandboxError as error:
        unavailable(error)
    yield made
    cluster.stop(folder)


@pytest.fixture
def kubectl(plane: Cluster) -> Kubectl:
    return Kubectl(plane.kubectl, plane.kubeconfig)


@pytest.fixture
def home(plane: Cluster) -> str:
    """A namespace that takes nothing but pods of the Pod Security Standard restricted."""
    return restricted(plane)


def restricted(plane: Cluster) -> str:
    name = f"home-{secrets.token_hex(4)}"
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    return name


# --- what the API server says ---------------------------------------------------------------------------------------


def tried(kubectl: Kubectl, namespace: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Have the API server judge every document without keeping any but the accounts, which pods need."""
    documents = render(values, namespace=namespace)
    apply(kubectl, of_kind(documents, "ServiceAccount"))
    flags = ("--dry-run=server", "--validate=strict")
    return kubectl.run("apply", *flags, "-f", "-", stdin=yaml.safe_dump_all(documents))


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": ["default"], "store": {"persistence": {"enabled": False}}}])
def test_the_api_server_takes_all_of_it_and_pod_security_has_nothing_to_warn_of(
    kubectl: Kubectl, home: str, values: dict[str, Any]
) -> None:
    done = tried(kubectl, home, values)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(render(values, namespace=home))


def test_pod_security_would_have_warned(kubectl: Kubectl, home: str) -> None:
    said = tried(kubectl, home, BASELINE_ONLY).stderr
    assert 'Warning: would violate PodSecurity "restricted' in said
    assert 'pods "looparr-selftest" is forbidden: violates PodSecurity' in said


def test_kubernetes_own_roles_see_objects_and_change_none_until_that_is_asked_for(
    plane: Cluster, kubectl: Kubectl, home: str
) -> None:
    for role in ("view", "edit", "admin"):
        kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}", "-n", home)

    def may(verb: str, role: str) -> bool:
        return kubectl.run("auth", "can-i", verb, "arr", "-n", home, f"--as={role}").returncode == 0

    install(plane)
    for values, changers in (({}, ()), ({"userRoles": {"aggregateToEdit": True}}, ("edit", "admin"))):
        roles = [one for one in render(values, namespace=home) if one["kind"] == "ClusterRole"]
        apply(kubectl, [one for one in roles if "hook" not in str(one["metadata"].get("annotations"))])
        wait_until(lambda: may("list", "view"), 20, "aggregation did not arrive")
        wait_until(lambda wanted=changers: all(may("delete", one) for one in wanted), 20, "nor did that for editors")
        assert [role for role in ("view", "edit", "admin") if may("list", role)] == ["view", "edit", "admin"]
        assert tuple(role for role in ("view", "edit", "admin") if may("delete", role)) == changers
    kubectl("delete", "clusterrole", f"looparr-view:{home}", f"looparr-edit:{home}", f"looparr:{home}")


# --- Helm -----------------------------------------------------------------------------------------------------------


class Release:
    """One release, of which the test plays the kubelet."""

    def __init__(self, plane: Cluster, namespace: str, folder: Path, name: str = "looparr") -> None:
        self.plane, self.namespace, self.folder, self.name = plane, namespace, folder, name

    def helm(self, command: str, *flags: str, values: dict[str, Any] | None = None) -> Any:
        return helm(
            command, self.name, *flags, "--namespace", self.namespace, kubeconfig=self.plane.kubeconfig, values=values
        )

    def install(self, *flags: str, **values: Any) -> str:
        return finished(self.helm("install", str(CHART), *flags, values=values))

    @contextmanager
    def operating(self) -> Iterator[Operator]:
        """The process that its pod would be, ready."""
        account = self.plane.serviceaccount_kubeconfig(self.namespace, "looparr", into=self.folder / "operator")
        operator = Operator(account, (), self.folder / "operator.log")
        try:
            yield operator.wait_ready()
        finally:
            operator.kill()

    def pods(self) -> list[Any]:
        """The pods of all operators in its namespace."""
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=app.kubernetes.io/component%3Doperator"
        return list(self.plane.request("GET", path)["items"])

    def left(self) -> set[str]:
        """What is still there of all that the chart names, but for the definitions."""
        documents = render({"crds": {"enabled": False}}, release=self.name, namespace=self.namespace)
        named = {f"{one['kind']}/{one['metadata']['name']}" for one in documents}
        kubectl = Kubectl(self.plane.kubectl, self.plane.kubeconfig)
        return {one for one in named if kubectl.run("get", one, "-n", self.namespace).returncode == 0}


@pytest.fixture
def release(plane: Cluster, home: str, tmp_path: Path) -> Release:
    return Release(plane, home, tmp_path)


def test_two_releases_stand_side_by_side(plane: Cluster, release: Release, tmp_path: Path) -> None:
    others = [Release(plane, restricted(plane), tmp_path), Release(plane, release.namespace, tmp_path, name="second")]
    release.install("--take-ownership", watchNamespaces=["default"])
    for one, watched in zip(others, ("kube-public", "kube-node-lease"), strict=True):
        one.install(crds={"enabled": False}, watchNamespaces=[watched])
    for one, count in zip((release, others[0]), (2, 1), strict=True):
        wait_until(lambda one=one, count=count: len(one.pods()) == count, 20, "an operator's pod is missing")
    for one in (release, *others):
        finished(one.helm("uninstall", "--no-hooks"))


def test_from_install_over_test_to_uninstall_nothing_hangs_and_nothing_is_left(
    plane: Cluster, release: Release, tmp_path: Path
) -> None:
    """Objects and definitions, too: crds.keep is false."""
    install(plane)  # somebody applied crds/ by hand before
    objects = Objects(plane, release.namespace)
    release.install("--take-ownership", crds={"keep": False})
    with release.operating() as operator:
        testing = release.helm("test")
        with played(plane, release.namespace, "selftest", tmp_path):
            pass
        finished(testing)
        objects.create("one")
        objects.create("shared", FOREIGN)
        wait_until(lambda: all(FINALIZER in one for one in objects.finalizers().values()), 20, "no finalizers")
        uninstalling = release.helm("uninstall")
        assert operator.stop() == 0
    objects.delete("one")
    with played(plane, release.namespace, "release", tmp_path):
        pass
    wait_until(lambda: objects.finalizers() == {"shared": [FOREIGN]}, 20, "one hangs in its deletion")
    shared = f"{objects.path}/backgroundloops/shared"
    plane.request("PATCH", shared, {"metadata": {"finalizers": None}}, content_type="application/merge-patch+json")
    finished(uninstalling)
    assert release.left() == {"PersistentVolumeClaim/looparr-store"}
    wait_until(lambda: not exists(plane, f"{CRDS}/backgroundloops.looparr.dev"), 20, "the definition hangs")


def test_after_an_uninstall_objects_and_definitions_are_there_and_a_new_install_takes_them_over(
    plane: Cluster, release: Release, tmp_path: Path
) -> None:
    release.install("--take-ownership")
    install(plane)
    objects = Objects(plane, release.namespace)
    objects.create("one", FINALIZER)
    uninstalling = release.helm("uninstall")
    with played(plane, release.namespace, "release", tmp_path):
        pass
    assert "[CustomResourceDefinition] backgroundloops.looparr.dev" in finished(uninstalling)
    assert objects.finalizers() == {"one": []}
    release.install()
    finished(release.helm("uninstall", "--no-hooks"))
    assert objects.finalizers() == {"one": []}


def test_what_would_take_objects_or_strikes_along_unasked_is_refused(plane: Cluster, release: Release) -> None:
    install(plane)
    keep: dict[str, Any] = {"crds": {"keep": True}, "store": {"persistence": {"keep": True}}}
    loose = {"crds": {"keep": False}, "store": {"persistence": {"keep": False}}}
    finished(release.helm("install", str(CHART), "--take-ownership", "--force-conflicts", values=loose))
    for values, loss in (
        ({**keep, "crds": {"enabled": False}}, "arrinstances.looparr.dev would be deleted, and all its objects"),
        ({**keep, "store": {"persistence": {"existingClaim": "mine"}}}, "looparr-store would be deleted, and strikes"),
    ):
        process = release.helm("upgrade", str(CHART), values=values)
        _, complaint = process.communicate(timeout=60)
        assert process.returncode == 1
        assert loss in complaint
        assert "First upgrade with" in complaint
    finished(release.helm("upgrade", str(CHART), values=keep))
    without = {"crds": {"enabled": False}, "store": {"persistence": {"existingClaim": "mine"}}}
    finished(release.helm("upgrade", str(CHART), values=without))
    assert exists(plane, f"{CRDS}/backgroundloops.looparr.dev")
    assert "PersistentVolumeClaim/looparr-store" in release.left()
    finished(release.helm("uninstall", "--no-hooks"))
    assert exists(plane, f"{CRDS}/backgroundloops.looparr.dev")


def test_a_person_frees_the_objects_of_all_namespaces(plane: Cluster, home: str) -> None:
    install(plane)
    here, there = Objects(plane, home), Objects(plane, "default")
    here.create("here", FINALIZER)
    there.create("there", FINALIZER)
    done = run("release", "--kubeconfig", str(plane.kubeconfig))
    assert done.returncode == 0, done.stderr
    assert here.none_is_ours()
    assert there.none_is_ours()


def test_a_hook_that_fails_leaves_its_job_for_its_log_and_takes_its_rights_away(
    plane: Cluster, release: Release, tmp_path: Path
) -> None:
    release.install("--take-ownership")
    install(plane)
    uninstalling = release.helm("uninstall", "--timeout", "60s")
    with played(plane, release.namespace, "release", tmp_path) as process:
        process.terminate()
    uninstalling.communicate(timeout=60)
    assert uninstalling.returncode
    assert {one for one in release.left() if "release" in one} == {"Job/looparr-release"}
    finished(release.helm("uninstall", "--no-hooks"))
