"""Brings images to a node that has no registry: archives, loaded into its containerd from the host."""

from __future__ import annotations

import subprocess
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import files, processes
from looparr.sandbox.image import pause_archive
from looparr.sandbox.node import config

_LIMIT = 300.0


def load(folder: Path, tar: Path) -> list[str]:
    """Load an archive (docker-archive or OCI) into the sandbox of the folder; gives the names of its images."""
    if not tar.is_file():
        raise SandboxError(
            f"{tar} does not exist: `docker save IMAGE -o FILE.tar` or `looparr sandbox image` make one."
        )
    command = [*ctr(folder), "images", "import", str(tar)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired as error:
        raise SandboxError(f"{tar} was not loaded within {_LIMIT:g} s: see logs/containerd.log in {folder}.") from error
    if done.returncode:
        raise SandboxError(f"{tar} cannot be loaded: {done.stderr.strip()[-500:]}")
    return [line.split()[1] for line in done.stdout.splitlines() if line.startswith("unpacking ")]


def load_pause(folder: Path) -> None:
    """Load the image that every pod begins with, made on the spot from one static program."""
    program = Path(_state(folder).facts["pause"])
    load(folder, pause_archive(program, folder / "node" / "pause.tar"))


def ctr(folder: Path) -> tuple[str, ...]:
    """Give the beginning of a command that talks to the containerd of the sandbox in the folder."""
    state = _state(folder)
    socket = f"/proc/{state.pids['containerd']}/root{config.SOCKET}"
    return (state.facts["ctr"], "--address", socket, "--namespace", "k8s.io")


def _state(folder: Path) -> processes.State:
    state = processes.read_state(folder)
    if state is None or not files.is_locked(folder) or "containerd" not in state.pids:
        raise SandboxError(f"No sandbox with a node is up in {folder}: `looparr sandbox up --level node`.")
    return state
