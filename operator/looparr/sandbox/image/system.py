"""What has to be installed for building images, and how it gets there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import debian
from looparr.sandbox.binaries import Found
from looparr.sandbox.progress import Progress, Silent

BUILDAH, DEBOOTSTRAP = "buildah", "debootstrap"  # programs, and the packages that hold them


def find(env: Mapping[str, str], *, install: bool = False, progress: Progress | None = None) -> list[Found]:
    """Find what images are built with: Docker where an engine answers, else buildah and debootstrap.

    install: get Debian's packages for what is missing. SandboxError that names the cure where that cannot be.
    """
    if version := docker(env):
        return [Found("docker", Path(debian.which("docker", env) or "docker"), version, "PATH")]
    return require((BUILDAH, DEBOOTSTRAP), env, install=install, progress=progress or Silent())


def require(names: Sequence[str], env: Mapping[str, str], *, install: bool, progress: Progress) -> list[Found]:
    """Find these programs, for root; SandboxError that names the cure."""
    if os.geteuid() != 0:
        raise SandboxError(
            "No Docker engine answers (`docker info`), and without one images are built as root: "
            "start Docker, or run this as root."
        )
    missing = [name for name in names if debian.which(name, env) is None]
    if missing and install:
        debian.install(missing, progress)
        missing = [name for name in names if debian.which(name, env) is None]
    if missing:
        raise SandboxError(
            f"No Docker engine answers (`docker info`), and without one {' and '.join(missing)} must be there: "
            f"start Docker, or `apt-get install {' '.join(missing)}`."
        )
    return [Found(name, Path(debian.which(name, env) or name), "", "system") for name in names]


def docker(env: Mapping[str, str]) -> str:
    """Give the version of the Docker engine that answers, nothing where none does."""
    program = shutil.which("docker", path=env.get("PATH"))
    if program is None:
        return ""
    asked = [program, "info", "--format", "{{.ServerVersion}}"]
    try:
        done = subprocess.run(asked, env=dict(env), capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.strip()
