"""The kernel's calls that Python 3.11 lacks: leave namespaces, join those of another process, mount."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from looparr.errors import SandboxError

NEW_MOUNT, NEW_PID, NEW_NET = 0x00020000, 0x20000000, 0x40000000
BIND, RECURSIVE, SLAVE, SHARED = 1 << 12, 1 << 14, 1 << 19, 1 << 20
_LIBC = ctypes.CDLL(None, use_errno=True)  # before any fork: a child only calls it


def unshare(flags: int) -> None:
    """Leave the caller's namespaces of these kinds for new ones; a new pid namespace begins with the next child."""
    if _LIBC.unshare(flags):
        raise _refused("make namespaces")


def opened(pid: int) -> tuple[int, int]:
    """Open the network and the mount namespace of a process, in the order in which they can be joined."""
    return tuple(os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in ("net", "mnt"))  # type: ignore[return-value]


def join(*namespaces: int) -> None:
    """Become part of opened namespaces; joining a mount namespace moves the working directory to its root."""
    for namespace in namespaces:
        if _LIBC.setns(namespace, 0):
            raise _refused("join namespaces")


def mount(source: str, target: Path, flags: int = 0, options: str = "") -> None:
    """Mount a file system without a device by its kind, bind a path (BIND), or change how a mount is shared."""
    if _LIBC.mount(source.encode(), os.fsencode(target), source.encode(), ctypes.c_ulong(flags), options.encode()):
        raise _refused(f"mount {source or 'anew'} on {target}")


def _refused(what: str) -> SandboxError:
    number = ctypes.get_errno()
    return SandboxError(f"The kernel does not let this process {what}: {os.strerror(number)}. It takes root, on Linux.")
