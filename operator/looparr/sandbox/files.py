"""Files and ports that several processes share: whole or not at all, private, and one writer at a time."""

from __future__ import annotations

import fcntl
import os
import platform
import random
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from looparr.errors import SandboxError

PRIVATE = 0o600
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
"""This machine's, as Go and container images name it."""
# Below the kernel's range for outgoing connections, so that no client of anybody takes the port between two starts.
_PORTS = range(20_000, 32_000)


def write_whole(path: Path, content: str | bytes, *, mode: int = PRIVATE) -> Path:
    """Write a file so that a reader sees the old content or the new, never a part; gives `path` back."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:  # noqa: PTH123 - the mode counts from the first byte
        file.write(content.encode() if isinstance(content, str) else content)
    aside.replace(path)
    return path


@contextmanager
def lock(path: Path, *, limit: float = 600.0) -> Iterator[None]:
    """Hold `path` for one process at a time; the kernel lets go when the holder dies.

    limit: seconds to wait for another holder, then SandboxError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        wait_until(lambda: _try_lock(file.fileno()), limit, f"Another process still holds {path}")
        yield


@contextmanager
def making(parent: Path) -> Iterator[Path]:
    """Give a folder to make something in, for the holder of the lock over `parent`; it is gone afterwards.

    What a maker that was killed left behind goes, too: without the lock nobody is making anything.
    """
    for left in parent.glob(".making-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".making-") as folder:
        yield Path(folder)


def lock_folder(folder: Path) -> int | None:
    """Make the folder, lock it and give the descriptor that holds the lock; None where somebody else holds it.

    A process that inherits the descriptor inherits the lock: that is how a sandbox passes it to its supervisor.
    """
    for _ in range(10):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue
        locked = _try_lock(descriptor)
        if locked and folder.exists() and os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
        os.close(descriptor)  # held, or removed by its last holder in this moment
        if not locked:
            time.sleep(0.02)  # perhaps only somebody who looks (`is_locked`)
    return None


def is_locked(path: Path) -> bool:
    """Say whether some living process holds a lock on this file or folder."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return not _try_lock(descriptor, shared=True)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int, *, shared: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_until(condition: Callable[[], object], limit: float, complaint: str, *, every: float = 0.05) -> None:
    """Look again every `every` seconds until the condition holds; after `limit` seconds SandboxError."""
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise SandboxError(f"{complaint} (waited {limit:g} s).")
        time.sleep(every)


def free_ports(count: int, *, wanted: tuple[int, ...] = (), choose: random.Random | None = None) -> tuple[int, ...]:
    """Choose loopback ports that nobody listens on; those of `wanted` first, as far as they are free."""
    choose = choose or random.Random()
    found: list[int] = []
    with ExitStack() as held:
        for port in (*wanted, *choose.sample(_PORTS, 500)):
            if len(found) == count:
                break
            if port not in found and (listener := _bind(port)):
                held.enter_context(listener)
                found.append(port)
    if len(found) < count:
        raise SandboxError(f"No free loopback ports between {_PORTS.start} and {_PORTS.stop}: stop what uses them.")
    return tuple(found)


def _bind(port: int) -> socket.socket | None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for a server
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        return None
    return listener


def cache_folder(env: Mapping[str, str]) -> Path:
    """Give the folder for what is dear to make and safe to lose: $XDG_CACHE_HOME/looparr."""
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "looparr"


def state_folder(env: Mapping[str, str]) -> Path:
    """Give the folder of `looparr sandbox up`: $XDG_STATE_HOME/looparr/sandbox."""
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "looparr" / "sandbox"


def tail(path: Path, lines: int = 12) -> str:
    """Give the last lines of a log, or a word that there are none."""
    try:
        text = path.read_text(errors="replace").splitlines()[-lines:]
    except OSError:
        return "(no log)"
    return "\n".join(line[:400] for line in text) or "(empty log)"
