"""A cluster with pods for the stories: the sandbox's node, or, with E2E_KUBECONFIG, one of yours.

On a cluster of yours E2E_IMAGE names Looparr's image (default looparr:e2e), which its nodes have to have, and E2E_HOST
the address at which its pods reach this machine, where qBittorrent and the stand-ins run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e_kit import Target
from looparr.errors import SandboxError
from looparr.sandbox import binaries, cluster
from looparr.sandbox.node import images
from parts import IMAGE, Kubectl, looparr_image, needs_root, unavailable

LIMIT = 90.0
"""Seconds that one kubectl may wait for something."""


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    if os.environ.get("E2E_KUBECONFIG"):
        yield theirs()
        return
    needs_root()
    folder = tmp_path_factory.mktemp("node") / "sandbox"
    try:
        helm = binaries.resolve(("helm",), env=os.environ)["helm"].path
        node = cluster.start(folder, level="node", bind_to_parent=True)
    except SandboxError as error:
        unavailable(error)
    try:
        images.load(folder, looparr_image())
        yield Target(Kubectl(node.kubectl, node.kubeconfig, LIMIT), node.host, IMAGE, helm, node)
    finally:
        cluster.stop(folder)


def theirs() -> Target:
    """Somebody's cluster, as the environment describes it."""
    host = os.environ.get("E2E_HOST")
    if not host:
        raise SandboxError("E2E_KUBECONFIG is set, but E2E_HOST is not: the address at which pods reach this machine.")
    found = binaries.resolve(("kubectl", "helm"), env=os.environ)
    kubeconfig = Path(os.environ["E2E_KUBECONFIG"]).expanduser()
    kubectl, helm = Kubectl(found["kubectl"].path, kubeconfig, LIMIT), found["helm"].path
    return Target(kubectl, host, os.environ.get("E2E_IMAGE", "looparr:e2e"), helm, None)
