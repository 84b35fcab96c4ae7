"""A real API server for the whole run, a fresh namespace for every test, and kubectl as a user types it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from looparr.errors import SandboxError
from looparr.sandbox import cluster
from looparr.sandbox.cluster import Cluster
from parts import RUN, Kubectl, run_folder, unavailable


@pytest.fixture(scope="session")
def control_plane(pytestconfig: pytest.Config) -> Cluster:
    """One control plane a run, started by whoever comes first (xdist's workers share it), gone with the run."""
    run = pytestconfig.stash[RUN]
    try:
        return cluster.start(run_folder(run), parent=run)
    except SandboxError as error:
        unavailable(error)


@pytest.fixture
def namespace(control_plane: Cluster) -> Iterator[str]:
    """A fresh namespace; whatever is in it goes away with it, in the background."""
    name = f"test-{secrets.token_hex(4)}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.request("POST", "/api/v1/namespaces", body)
    yield name
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def kubectl(control_plane: Cluster) -> Kubectl:
    """`kubectl("get", "ns") -> stdout`; `kubectl.refused(...) -> stderr`; `kubectl.acting_as(kubeconfig)`."""
    return Kubectl(control_plane.kubectl, control_plane.kubeconfig)
