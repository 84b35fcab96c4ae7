"""Real torrents of files made on the spot, and what two instances of qBittorrent need to pass one on.

Format: BEP 3 (version 1 torrents), BEP 27 (the private flag).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from looparr.sandbox.files import wait_until
from looparr.sandbox.qbittorrent import QBittorrent

SEEDING = frozenset({"uploading", "stalledUP", "forcedUP"})
DOWNLOADING = frozenset({"downloading", "forcedDL"})
STALLED = frozenset({"stalledDL"})
_UNSETTLED = frozenset({"checkingResumeData", "checkingDL", "checkingUP", "unknown"})


@dataclass(frozen=True, slots=True)
class Torrent:
    """A .torrent file. infohash: 40 lower-case hex digits. content: the file's bytes. size: bytes of its data."""

    name: str
    infohash: str
    content: bytes
    size: int

    @property
    def magnet(self) -> str:
        """The magnet link without trackers: nobody can find its metadata."""
        return f"magnet:?xt=urn:btih:{self.infohash}"


def bencode(value: int | str | bytes | Sequence[Any] | dict[str, Any]) -> bytes:
    """Encode as BEP 3 says; keys of a dict are sorted by their bytes."""
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case dict():
            pairs = sorted((key.encode(), item) for key, item in value.items())
            return b"d" + b"".join(bencode(key) + bencode(item) for key, item in pairs) + b"e"
        case _:
            return b"l" + b"".join(bencode(item) for item in value) + b"e"


def make(
    source: Path, *, name: str = "", piece_length: int = 64 * 1024, private: bool = False, trackers: Sequence[str] = ()
) -> Torrent:
    """Make the torrent of a file, or of all files below a folder.

    name: what the torrent is called; the source's own name by default (another one cannot be seeded from the source).
    piece_length: bytes, a power of two of at least 16384.
    """
    paths = sorted(path for path in source.rglob("*") if path.is_file()) if source.is_dir() else [source]
    pieces = b"".join(hashlib.sha1(piece, usedforsecurity=False).digest() for piece in _pieces(paths, piece_length))
    info: dict[str, Any] = {"name": name or source.name, "piece length": piece_length, "pieces": pieces}
    size = sum(path.stat().st_size for path in paths)
    if source.is_dir():
        info["files"] = [{"length": path.stat().st_size, "path": path.relative_to(source).parts} for path in paths]
    else:
        info["length"] = size
    if private:
        info["private"] = 1
    outer: dict[str, Any] = {"info": info}
    if trackers:
        outer |= {"announce": trackers[0], "announce-list": [[tracker] for tracker in trackers]}
    infohash = hashlib.sha1(bencode(info), usedforsecurity=False).hexdigest()
    return Torrent(info["name"], infohash, bencode(outer), size)


def _pieces(paths: Sequence[Path], length: int) -> Iterator[bytes]:
    rest = b""
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(length - len(rest)):
                rest += block
                if len(rest) == length:
                    yield rest
                    rest = b""
    if rest:
        yield rest


def add(qbittorrent: QBittorrent, torrent: Torrent, **options: Any) -> None:
    """Add a torrent and wait until it is listed and settled.

    options: those of qbittorrent-api's `torrents_add` (category, tags, save_path, is_skip_checking, download_limit,
    upload_limit in bytes/s, is_stopped, ...). Without a peer it becomes stalledDL.
    """
    with qbittorrent.client() as client:
        client.torrents_add(torrent_files=torrent.content, **options)
    wait_until(
        lambda: state(qbittorrent, torrent.infohash) not in {None, *_UNSETTLED}, 30, f"{torrent.name} was not added"
    )


def seed(qbittorrent: QBittorrent, torrent: Torrent, source: Path, **options: Any) -> None:
    """Add a torrent whose data is there already: `source` is the file or folder that it was made of."""
    add(qbittorrent, torrent, save_path=str(source.parent), is_skip_checking=True, **options)


def connect(qbittorrent: QBittorrent, infohash: str, *peers: QBittorrent, limit: float = 30.0) -> None:
    """Tell an instance of peers that have the torrent, again and again until it is connected or needs nobody."""

    def connected() -> bool:
        with qbittorrent.client() as client:
            client.torrents_add_peers(peers=[f"127.0.0.1:{peer.bt_port}" for peer in peers], torrent_hashes=infohash)
            return bool(client.sync_torrent_peers(torrent_hash=infohash).get("peers"))

    done = SEEDING | DOWNLOADING
    wait_until(lambda: connected() or state(qbittorrent, infohash) in done, limit, "No peer was reached", every=0.3)


def info(qbittorrent: QBittorrent, infohash: str) -> dict[str, Any] | None:
    """Give what torrents/info says of one torrent, None where it is not there."""
    with qbittorrent.client() as client:
        found = client.torrents_info(torrent_hashes=infohash)
    return dict(found[0]) if found else None


def state(qbittorrent: QBittorrent, infohash: str) -> str | None:
    """Give the torrent's state as qBittorrent names it, None where the torrent is not there."""
    found = info(qbittorrent, infohash)
    return found["state"] if found else None


def wait_for_state(qbittorrent: QBittorrent, infohash: str, states: Collection[str], limit: float = 60.0) -> None:
    """Wait until the torrent is in one of the states; SandboxError that names the wanted ones after `limit` seconds."""
    complaint = f"{infohash} at {qbittorrent.url} was never {' or '.join(sorted(states))}"
    wait_until(lambda: state(qbittorrent, infohash) in states, limit, complaint, every=0.1)
