"""`looparr release` on a real API server, as the pre-delete hook of the chart runs it."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from chart_kit import Document, pod_specs, render, the
from cluster.contract import install
from hooks_kit import FOREIGN, Objects, apply, command, exists, granted, run, waited_for_pod
from looparr.api.meta import FINALIZER
from looparr.sandbox.cluster import ApiError, Cluster
from looparr.sandbox.files import free_ports, wait_until
from parts import Kubectl

ACCOUNT = "looparr-release"
HOLD = "example.org/hold"
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
MERGE = "application/merge-patch+json"


@pytest.fixture
def chart(namespace: str) -> list[Document]:
    return render({"watchNamespaces": [namespace], "crds": {"enabled": False}}, namespace=namespace)


@pytest.fixture
def objects(control_plane: Cluster, namespace: str) -> Objects:
    install(control_plane)
    return Objects(control_plane, namespace)


@pytest.fixture
def kubeconfig(
    control_plane: Cluster, kubectl: Kubectl, namespace: str, chart: list[Document], objects: Objects, tmp_path: Path
) -> Path:
    """That of the hook's own account with its own rights."""
    granted(kubectl, chart, ACCOUNT)
    made = control_plane.serviceaccount_kubeconfig(namespace, ACCOUNT, into=tmp_path / "kubeconfig")
    acting = kubectl.acting_as(made)
    wait_until(lambda: not acting.run("get", "loops", "-n", namespace).returncode, 20, "RBAC did not arrive")
    return made


@pytest.fixture
def deployment(kubectl: Kubectl, chart: list[Document], namespace: str, control_plane: Cluster) -> Iterator[str]:
    """The operator's Deployment with one pod, on a node that never answers; gives the path of the pod."""
    apply(kubectl, [the(chart, "ServiceAccount", "looparr"), the(chart, "Deployment")])
    pod = waited_for_pod(control_plane, namespace, "operator")["metadata"]["name"]
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
    node = {"apiVersion": "v1", "kind": "Node", "name": "far-away"}
    control_plane.request("POST", f"{path}/binding", {"metadata": {"name": pod}, "target": node})
    yield path
    end(control_plane, path)


def end(plane: Cluster, pod: str) -> None:
    """Say what the kubelet would: that nothing of the pod runs any more."""
    if exists(plane, pod):
        plane.request("PATCH", pod, {"metadata": {"finalizers": None}}, content_type=MERGE)
    if exists(plane, pod):
        plane.request("DELETE", pod, {"gracePeriodSeconds": 0})


def arguments(chart: list[Document], kubeconfig: Path) -> list[str]:
    """What the hook's Job runs, with an account from outside."""
    (args,) = (one["args"] for spec in pod_specs([the(chart, "Job")]) for one in spec["containers"])
    return [*args, "--kubeconfig", str(kubeconfig)]


def test_our_finalizer_goes_everything_else_stays_and_what_was_being_deleted_is_gone(
    objects: Objects, kubeconfig: Path, namespace: str
) -> None:
    objects.create("plain", FINALIZER)
    objects.create("shared", FOREIGN, FINALIZER, HOLD)
    objects.create("free")
    objects.create("leaving", FINALIZER)
    objects.create("radarr", FINALIZER, plural="arrinstances")
    objects.delete("leaving")
    assert "leaving" in objects.finalizers()
    done = run("release", "--namespace", namespace, "--kubeconfig", str(kubeconfig))
    assert done.returncode == 0, done.stderr
    assert objects.finalizers() == {"plain": [], "shared": [FOREIGN, HOLD], "free": []}
    assert objects.finalizers("arrinstances") == {"radarr": []}
    assert f"4 objects were freed; none in {namespace} bears {FINALIZER} now." in done.stderr


def test_objects_outside_of_the_named_namespaces_stay_as_they_are(control_plane: Cluster, objects: Objects) -> None:
    objects.create("one", FINALIZER)
    elsewhere = run("release", "--namespace", "default", "--kubeconfig", str(control_plane.kubeconfig))
    assert elsewhere.returncode == 0
    assert objects.finalizers() == {"one": [FINALIZER]}


def test_more_objects_than_one_page_are_freed(objects: Objects, kubeconfig: Path, namespace: str) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: objects.create(f"loop-{number}", FINALIZER), range(501)))
    done = run("release", "--namespace", namespace, "--kubeconfig", str(kubeconfig))
    assert "501 objects were freed" in done.stderr
    assert objects.none_is_ours()


def test_the_operator_stops_before_anything_is_freed(
    control_plane: Cluster, objects: Objects, chart: list[Document], kubeconfig: Path, deployment: str, namespace: str
) -> None:
    objects.create("one", FINALIZER)
    pipe = subprocess.PIPE
    with subprocess.Popen(command(*arguments(chart, kubeconfig)), stderr=pipe, text=True) as process:
        assert process.stderr is not None
        heard: list[str] = []
        for line in process.stderr:
            heard.append(line)
            if "Waiting until the operator has ended" in line:
                assert objects.finalizers() == {"one": [FINALIZER]}
                end(control_plane, deployment)
        assert process.wait(30) == 0, heard
    assert f"Scaling Deployment {namespace}/looparr to 0.\n" in heard
    assert "The operator has stopped.\n" in heard
    assert any(deployment.rpartition("/")[2] in line for line in heard)
    assert objects.none_is_ours()
    assert not exists(control_plane, deployment)


def test_an_operator_that_does_not_end_is_named_and_nothing_is_freed(
    objects: Objects, chart: list[Document], kubeconfig: Path, deployment: str
) -> None:
    objects.create("one", FINALIZER)
    done = run(*arguments(chart, kubeconfig), "--timeout", "8")
    assert done.returncode == 1
    pod = deployment.rpartition("/")[2]
    assert f"It was not done after 8 s. The last step: Waiting until the operator has ended: pod {pod}." in done.stderr
    assert objects.finalizers() == {"one": [FINALIZER]}


def test_a_pod_that_has_ended_holds_nothing_up(
    control_plane: Cluster, objects: Objects, chart: list[Document], kubeconfig: Path, deployment: str
) -> None:
    """An evicted pod stays for its owner to see; nobody runs in it."""
    control_plane.request("PATCH", deployment, {"metadata": {"finalizers": [HOLD]}}, content_type=MERGE)
    control_plane.request("PATCH", f"{deployment}/status", {"status": {"phase": "Failed"}}, content_type=MERGE)
    done = run(*arguments(chart, kubeconfig), "--timeout", "20")
    assert done.returncode == 0, done.stderr


def test_without_its_deployment_the_rest_is_done(
    objects: Objects, chart: list[Document], kubeconfig: Path, namespace: str
) -> None:
    objects.create("one", FINALIZER)
    done = run(*arguments(chart, kubeconfig))
    assert done.returncode == 0
    assert f"Deployment {namespace}/looparr is not there: nothing to stop." in done.stderr
    assert objects.none_is_ours()


@pytest.fixture
def refusing(control_plane: Cluster, namespace: str, objects: Objects) -> Iterator[None]:
    """Somebody's admission policy that lets no finalizer go in this namespace."""
    kinds = {"apiGroups": ["looparr.dev"], "apiVersions": ["*"], "operations": ["UPDATE"], "resources": ["*"]}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}, "resourceRules": [kinds]}
    rule = {"expression": "has(object.metadata.finalizers)", "message": "finalizers stay here"}
    spec: dict[str, Any] = {"matchConstraints": here, "validations": [rule]}
    bound = {"policyName": namespace, "validationActions": ["Deny"]}
    control_plane.request("POST", f"{POLICIES}ies", {"metadata": {"name": namespace}, "spec": spec})
    control_plane.request("POST", f"{POLICIES}ybindings", {"metadata": {"name": namespace}, "spec": bound})
    objects.create("probe", FINALIZER)

    def refuses() -> bool:
        path = f"{objects.path}/backgroundloops/probe?dryRun=All"
        try:
            control_plane.request("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)
        except ApiError:
            return True
        return False

    wait_until(refuses, 30, "the policy never took effect")
    yield
    control_plane.request("DELETE", f"{POLICIES}ybindings/{namespace}")
    control_plane.request("DELETE", f"{POLICIES}ies/{namespace}")


def test_a_finalizer_that_does_not_go_is_told_with_the_reason(
    objects: Objects, refusing: None, kubeconfig: Path, namespace: str
) -> None:
    done = run("release", "--namespace", namespace, "--kubeconfig", str(kubeconfig))
    assert done.returncode == 1
    assert f"BackgroundLoop {namespace}/probe: {FINALIZER} was there again after 5 tries" in done.stderr
    assert "finalizers stay here" in done.stderr


def test_an_account_without_the_right_is_told_so(
    control_plane: Cluster, kubectl: Kubectl, objects: Objects, namespace: str
) -> None:
    kubectl("create", "serviceaccount", "nobody", "-n", namespace)
    nobody = control_plane.serviceaccount_kubeconfig(namespace, "nobody")
    done = run("release", "--namespace", namespace, "--kubeconfig", str(nobody))
    assert done.returncode == 1
    assert 'nobody" cannot list resource "arrinstances"' in done.stderr
    assert "Grant that right, or use another account." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    """A kubeconfig for an API server that is not there."""
    server = f"http://127.0.0.1:{free_ports(1)[0]}"
    config = {
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": server}}],
        "users": [{"name": "x", "user": {"token": "x"}}],
    }
    path = tmp_path / "nowhere"
    path.write_text(json.dumps(config))
    return path


def test_an_api_server_that_is_away_is_waited_for_until_the_limit(nowhere: Path) -> None:
    done = run("release", "--kubeconfig", str(nowhere), "--timeout", "2")
    assert done.returncode == 1
    assert "It was not done after 2 s. The last step: The API server cannot be reached" in done.stderr
    assert done.stderr.count("trying again") == 2  # once when it begins, once as the last step


def test_a_stop_in_the_middle_is_a_failure(nowhere: Path, chart: list[Document]) -> None:
    """The Job has reached its deadline: the kubelet sends SIGTERM."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command(*arguments(chart, nowhere)), stderr=pipe, text=True) as process:
        assert process.stderr is not None
        assert "Scaling" in process.stderr.readline()
        assert "trying again" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 1
        assert "It ended before it was done" in process.stderr.read()
