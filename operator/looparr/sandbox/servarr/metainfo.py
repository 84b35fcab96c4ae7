"""Just enough of the torrent format to know a release: its hash, size and whether a magnet names a tracker."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from looparr.errors import SandboxError

_HEX_DIGITS = 40


@dataclass(frozen=True, slots=True)
class Metainfo:
    """infohash: upper case, 40 digits (version 1 where the torrent has one); size in bytes, 0 where unknown."""

    infohash: str
    name: str
    size: int


def _decode(data: bytes, at: int) -> tuple[object, int]:
    lead = data[at : at + 1]
    if lead == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if lead == b"l":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = _decode(data, at)
            items.append(item)
        return items, at + 1
    if lead == b"d":
        table: dict[object, object] = {}
        at += 1
        while data[at : at + 1] != b"e":
            key, at = _decode(data, at)
            start = at
            table[key], at = _decode(data, at)
            if key == b"info":
                table["raw info"] = data[start:at]
        return table, at + 1
    colon = data.index(b":", at)
    start = colon + 1
    end = start + int(data[at:colon])
    return data[start:end], end


def read_torrent(content: bytes) -> Metainfo:
    """Read a .torrent file. Raises SandboxError when it is none."""
    try:
        table, _ = _decode(content, 0)
        assert isinstance(table, dict)
        info, raw = table[b"info"], table["raw info"]
        assert isinstance(info, dict)
        name = info[b"name"].decode("utf-8", "replace")
    except (AssertionError, IndexError, KeyError, RecursionError, ValueError) as error:
        raise SandboxError("The offered release is not a torrent file: give the bytes of a .torrent.") from error
    files = info.get(b"files") or [info]
    size = sum(int(entry.get(b"length", 0)) for entry in files)
    is_v1 = b"pieces" in info
    digest = hashlib.sha1(raw, usedforsecurity=False) if is_v1 else hashlib.sha256(raw)
    return Metainfo(digest.hexdigest()[:_HEX_DIGITS].upper(), name, size)


def read_magnet(link: str) -> Metainfo:
    """Read a magnet link. Raises SandboxError when it carries no infohash."""
    query = parse_qs(urlsplit(link).query)
    for topic in query.get("xt", []):
        kind, _, value = topic.rpartition(":")
        if kind == "urn:btih":
            digest = value if len(value) == _HEX_DIGITS else _from_base32(value)
            return Metainfo(digest.upper(), query.get("dn", [""])[0], 0)
    raise SandboxError("The offered release is not a magnet link: it needs xt=urn:btih:<infohash>.")


def _from_base32(value: str) -> str:
    try:
        return base64.b32decode(value.upper()).hex()
    except binascii.Error as error:
        raise SandboxError("The magnet link's infohash is neither 40 hex digits nor 32 base32 characters.") from error


def has_tracker(link: str) -> bool:
    """Tell whether a magnet link names a tracker; without one and without DHT it can never find a peer."""
    return "&tr=" in link
