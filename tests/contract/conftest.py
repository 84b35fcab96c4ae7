"""One real qBittorrent for all stories of an ArrInstance that do not need one of their own; a sandbox's folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from looparr.errors import SandboxError
from looparr.sandbox import cluster, processes
from looparr.sandbox.qbittorrent import QBittorrent, find
from parts import unavailable


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a sandbox, of which nothing runs afterwards."""
    place = tmp_path / "box"
    yield place
    if place.exists():
        cluster.stop(place)
    assert not processes.under(place)


@pytest.fixture(scope="session")
def one_qbittorrent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QBittorrent]:
    try:
        find(os.environ)
    except SandboxError as error:
        unavailable(error)
    instance = QBittorrent.start(tmp_path_factory.mktemp("arr") / "qbittorrent", password="a password of the tests")
    yield instance
    instance.kill()


@pytest.fixture
def shared_qbittorrent(one_qbittorrent: QBittorrent) -> Iterator[QBittorrent]:
    """It, without any torrent of another test."""
    yield one_qbittorrent
    with one_qbittorrent.client() as client:
        client.torrents_delete(delete_files=True, torrent_hashes="all")
