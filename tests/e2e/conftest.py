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
from looparr.sandbox import binaries, cluster, files, image
from looparr.sandbox.node import images
from parts import Kubectl, unavailable

_TAG = "localhost/looparr:e2e"
_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    try:
        helm = binaries.resolve(("helm",), env=os.environ)["helm"].path
        if os.environ.get("E2E_KUBECONFIG"):
            yield theirs(helm)
            return
        folder = tmp_path_factory.mktemp("node") / "sandbox"
        kept = files.cache_folder(os.environ) / "images" / "looparr-e2e.tar"
        archive = image.build(_ROOT, tag=_TAG, into=kept, env=os.environ)
        node = cluster.start(folder, level="node", bind_to_parent=True)
    except SandboxError as error:
        unavailable(error)
    try:
        images.load(folder, archive)
        yield Target(Kubectl(node.kubectl, node.kubeconfig), node.host, _TAG, helm, node)
    finally:
        cluster.stop(folder)


def theirs(helm: Path) -> Target:
    """Somebody's cluster, as the environment describes it."""
    host = os.environ.get("E2E_HOST")
    if not host:
        raise SandboxError("E2E_KUBECONFIG is set, but E2E_HOST is not: the address at which pods reach this machine.")
    kubectl = binaries.resolve(("kubectl",), env=os.environ)["kubectl"].path
    kubeconfig = Path(os.environ["E2E_KUBECONFIG"]).expanduser()
    return Target(Kubectl(kubectl, kubeconfig), host, os.environ.get("E2E_IMAGE", "looparr:e2e"), helm, None)
