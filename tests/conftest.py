"""Real parts for every layer of the tests: each starts on free loopback ports and is gone with the run.

A part that cannot be had skips its tests with the reason; with CI=true it fails them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from looparr.errors import SandboxError
from looparr.sandbox import cluster
from looparr.sandbox.qbittorrent import QBittorrent, find
from parts import RUN, MakeQBittorrent, run_folder, unavailable

MARKS = {"control_plane": "cluster", "qbittorrent": "real"}


def pytest_configure(config: pytest.Config) -> None:
    # Who runs us in the background may have Ctrl-C ignored, and every program that we start would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    worker = getattr(config, "workerinput", {})
    config.stash[RUN] = worker.get("looparr_run", os.getpid())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    node.workerinput["looparr_run"] = os.getpid()  # type: ignore[attr-defined]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture, mark in MARKS.items():
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(mark)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the run's control plane; where this is never reached, it ends with the process it is bound to."""
    folder = run_folder(config.stash.get(RUN, 0))
    if not hasattr(config, "workerinput") and folder.parent.exists():
        cluster.stop(folder)
        folder.parent.rmdir()


@pytest.fixture
def qbittorrent(tmp_path: Path) -> Iterator[MakeQBittorrent]:
    """A maker of real qBittorrents: `qbittorrent(name="qbittorrent", password=None) -> QBittorrent`."""
    try:
        find(os.environ)
    except SandboxError as error:
        unavailable(error)
    made: list[QBittorrent] = []

    def make(name: str = "qbittorrent", *, password: str | None = None) -> QBittorrent:
        made.append(QBittorrent.start(tmp_path / name, password=password))
        return made[-1]

    yield make
    for instance in made:
        instance.kill()  # nobody reads its resume data any more
