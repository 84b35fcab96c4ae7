"""The system's own programs: where they are, and Debian's packages where that goes without asking.

That is as root, or with a sudo that wants no password. Nothing that is installed is ever removed for it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from looparr.errors import SandboxError
from looparr.sandbox.progress import Progress

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LIMIT = 900.0


def which(name: str, env: Mapping[str, str]) -> str | None:
    """Find a program on the user's PATH, or where root's programs are; None where it is not there."""
    return shutil.which(name, path=search_path(env))


def search_path(env: Mapping[str, str]) -> str:
    """Give the user's PATH and the folders of the system's own programs, which not every user has in it."""
    return f"{env.get('PATH', '')}:{SYSTEM_PATH}"


def install(packages: Sequence[str], progress: Progress) -> None:
    """Install packages in one go; SandboxError with the command to type where that cannot be done from here."""
    names = " ".join(packages)
    by_hand = f"install by hand with `sudo apt-get install {names}`"
    if shutil.which("apt-get") is None:
        raise SandboxError(f"Missing: {names}. This is no Debian or Ubuntu: install that with your package manager.")
    become = _become_root()
    if become is None:
        raise SandboxError(f"Missing: {names}. Neither root nor a sudo without password is at hand: {by_hand}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    get = [*become, "apt-get", "-q", "-y"]
    commands = ([*get, "update"], [*get, "install", "--no-install-recommends", "--no-remove", *packages])
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
