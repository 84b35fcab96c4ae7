"""Installs Debian packages where that is possible without asking: as root, or with a sudo that wants no password."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from looparr.errors import SandboxError
from looparr.sandbox.progress import Progress

_LIMIT = 900.0


def install(packages: Sequence[str], progress: Progress) -> None:
    """Install packages in one go; SandboxError with the command to type where that cannot be done from here."""
    names = " ".join(packages)
    by_hand = f"install by hand: sudo apt-get install {names}"
    if shutil.which("apt-get") is None:
        raise SandboxError(f"{names} missing, and this is no Debian or Ubuntu: install it with your package manager.")
    become = _become_root()
    if become is None:
        raise SandboxError(f"{names} missing, and neither root nor a sudo without password is at hand; {by_hand}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    get = [*become, "apt-get", "-q", "-y"]
    commands = ([*get, "update"], [*get, "install", "--no-install-recommends", *packages])
    with progress.working(f"Installing {names} with apt-get"):
        for command in commands:
            try:
                done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_LIMIT, check=False)
            except subprocess.TimeoutExpired as error:
                raise SandboxError(f"`{' '.join(command)}` did not end in {_LIMIT:g} s; {by_hand}") from error
            if done.returncode and command is commands[-1]:  # an update may fail for a list that nobody needs
                end = " ".join(done.stderr.split())[-400:]
                raise SandboxError(f"`{' '.join(command)}` failed ({end}); {by_hand}")
    progress.note(f"{names} installed with apt-get")


def _become_root() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and not subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode:
        return ["sudo", "-n", "--preserve-env=DEBIAN_FRONTEND"]
    return None
