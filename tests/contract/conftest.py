"""One real qBittorrent for all stories of an ArrInstance that do not need one of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from looparr.errors import SandboxError
from looparr.sandbox.qbittorrent import QBittorrent, find
from parts import unavailable


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
