"""The control groups of a node's pods, in every hierarchy of this machine (version 1 and 2): made, and removed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LIMIT = 20.0


def make(name: str) -> None:
    """Make the group in each hierarchy; the kubelet wants to find it there, in version 2 with every controller."""
    for hierarchy in hierarchies():
        with suppress(FileNotFoundError):  # version 1
            for controller in (hierarchy / "cgroup.controllers").read_text().split():
                with suppress(OSError):
                    (hierarchy / "cgroup.subtree_control").write_text(f"+{controller}")
        (hierarchy / name).mkdir(exist_ok=True)


def remove(name: str, *, limit: float = _LIMIT) -> list[Path]:
    """Remove the group and all below it, trying for `limit` seconds while dead processes leave it.

    Gives what could not be removed.
    """
    end = time.monotonic() + limit
    while left := [group for hierarchy in hierarchies() for group in _remove(hierarchy / name)]:
        if time.monotonic() > end:
            break
        time.sleep(0.02)
    return left


def hierarchies() -> list[Path]:
    """Give the mount points of this machine's hierarchies, those of version 1 with a controller or a name."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        target, kind = Path(before.split()[4]), after.split()[0]
        if kind in {"cgroup", "cgroup2"} and os.access(target, os.W_OK):
            found.append(target)
    return found


def _remove(group: Path) -> Iterator[Path]:
    """Remove a tree of groups from its leaves up; gives those that are still in use."""
    if not group.is_dir():
        return
    below = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
    for one in (*below, group):
        with suppress(OSError):
            one.rmdir()
        if one.is_dir():
            yield one
