"""The fixtures that every cluster test stands on."""

from __future__ import annotations

import json

from looparr.sandbox.cluster import Cluster
from looparr.sandbox.files import wait_until
from parts import Kubectl


def test_kubectl_talks_to_the_shared_control_plane(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "configmap", "note", "--from-literal=a=b", "-n", namespace)
    assert json.loads(kubectl("get", "configmap", "note", "-n", namespace, "-o", "json"))["data"] == {"a": "b"}


def test_a_refusal_is_told_in_the_servers_words(kubectl: Kubectl, namespace: str) -> None:
    assert "not found" in kubectl.refused("get", "configmap", "none", "-n", namespace)


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(
    control_plane: Cluster, kubectl: Kubectl, namespace: str
) -> None:
    kubectl("create", "serviceaccount", "reader", "-n", namespace)
    kubectl("create", "role", "reads", "--verb=get", "--resource=configmaps", "-n", namespace)
    kubectl("create", "rolebinding", "reads", "--role=reads", f"--serviceaccount={namespace}:reader", "-n", namespace)
    reader = kubectl.acting_as(control_plane.serviceaccount_kubeconfig(namespace, "reader"))
    wait_until(lambda: reader.run("get", "configmap", "none").stderr.count("not found"), 5, "RBAC did not arrive")
    assert "forbidden" in reader.refused("get", "secret", "none")
    assert "forbidden" in reader.refused("get", "configmap", "none", "-n", "default")


def test_controllers_run(kubectl: Kubectl, namespace: str) -> None:
    kubectl("wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=10s")
    assert "kube-root-ca.crt" in kubectl("get", "configmaps", "-n", namespace)
