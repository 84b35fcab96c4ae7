"""What a node takes from the system it runs on: root, Linux, and the packages of containerd, runc, CNI and iptables."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import debian
from looparr.sandbox.binaries import Found
from looparr.sandbox.progress import Progress, Silent

_PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
_PLUGINS, _PLUGINS_PACKAGE = (Path("/opt/cni/bin"), Path("/usr/lib/cni")), "containernetworking-plugins"


def find(env: Mapping[str, str], *, install: bool = False, progress: Progress | None = None) -> list[Found]:
    """Find what a node needs of the system, `cni` among it: the folder of the network plugins.

    env: PATH, searched before the usual folders. install: get Debian's packages for what is missing.
    SandboxError with the command that does that otherwise.
    """
    require_root()
    if (packages := missing(env)) and install:
        debian.install(packages, progress or Silent())
        packages = missing(env)
    plugins = _plugins()
    if packages or plugins is None:
        raise SandboxError(
            "Level node lacks programs: `looparr sandbox binaries --level node --install` gets them, or "
            f"`apt-get install {' '.join(packages)}`."
        )
    found = [Found(name, Path(path), "", "system") for name in _PACKAGES if (path := debian.which(name, env))]
    return [*found, Found("cni", plugins, "", "system")]


def missing(env: Mapping[str, str]) -> list[str]:
    """Give the packages of Debian that have what is not here."""
    lacking = {package for name, package in _PACKAGES.items() if debian.which(name, env) is None}
    return sorted(lacking if _plugins() else {*lacking, _PLUGINS_PACKAGE})


def require_root() -> None:
    """Say so where this machine or user cannot have a node."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        raise SandboxError("Level node makes namespaces, mounts and control groups: run it as root, on Linux.")


def _plugins() -> Path | None:
    return next((folder for folder in _PLUGINS if os.access(folder / "ptp", os.X_OK)), None)
