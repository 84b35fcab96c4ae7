"""Reading what qBittorrent says: nothing that a client ever sent may stop a turn."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looparr.clients.qbittorrent.wire import (
    ETA_UNKNOWN,
    Torrent,
    Tracker,
    decode_info,
    decode_maindata,
    decode_trackers,
    split_tags,
)

HASH = "a" * 40
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
NAMES = [one.name for one in msgspec.structs.fields(Torrent)]


def info(**fields: object) -> Torrent:
    return decode_info(json.dumps([{"hash": HASH, **fields}]).encode())[0]


def test_missing_and_null_fields_are_defaults() -> None:
    assert info() == Torrent(hash=HASH)
    assert info(state=None, tags=None, eta=None, private=None, size=None) == Torrent(hash=HASH)
    assert Torrent(hash=HASH).eta == ETA_UNKNOWN


def test_an_unknown_state_and_unknown_fields_pass() -> None:
    assert info(state="hovering", brand_new={"a": [1]}).state == "hovering"


def test_a_value_of_the_wrong_type_is_left_out_and_the_rest_is_read() -> None:
    torrent = info(progress="broken", size=[1], name="фильм 映画 🎬", completed="12")
    assert torrent == Torrent(hash=HASH, name="фильм 映画 🎬", completed=12)


def test_a_torrent_without_a_hash_is_left_out() -> None:
    assert decode_info(b'[{"name": "x"}, {"hash": null}]') == []


def test_broken_utf8_in_a_name_is_read() -> None:
    body = b'{"rid": 1, "full_update": true, "torrents": {"' + HASH.encode() + b'": {"name": "\xff\xfe"}}}'
    assert decode_maindata(body).torrents[HASH]["name"] == "\ufffd\ufffd"


def test_maindata_holds_only_what_was_sent() -> None:
    body = {"rid": 7, "torrents": {HASH: {"tags": "a, b", "upspeed": 3}}, "server_state": {"connection_status": "x"}}
    data = decode_maindata(json.dumps(body).encode())
    assert (data.rid, data.full_update, data.torrents) == (7, False, {HASH: {"tags": frozenset({"a", "b"})}})
    assert data.server_state == {"connection_status": "x"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"Fails."', b"{}", b'{"rid": 1, "torrents": 3}'])
def test_what_is_no_answer_of_maindata_raises(body: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode_maindata(body)


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), JSON, max_size=4))
@settings(max_examples=60)
def test_no_torrent_stops_reading(fields: dict[str, object]) -> None:
    data = decode_maindata(json.dumps({"rid": 1, "torrents": {HASH: fields}}).encode())
    assert Torrent(hash=HASH, **data.torrents[HASH]).hash == HASH


@pytest.mark.parametrize(("text", "tags"), [("", set()), ("a", {"a"}), ("a, b c,d", {"a", "b c", "d"}), (" , ", set())])
def test_tags_are_split_at_commas(text: str, tags: set[str]) -> None:
    assert split_tags(text) == tags


@given(st.dictionaries(st.sampled_from(["url", "status", "msg", "tier"]), JSON))
def test_no_value_of_a_tracker_stops_the_reading(row: dict[str, object]) -> None:
    [odd, good] = decode_trackers(json.dumps([row, {"url": "http://t/", "status": 2}]).encode())
    assert good == Tracker(url="http://t/", status=2)
    assert isinstance(odd.status, int)
    assert isinstance(odd.url, str)
    assert isinstance(odd.msg, str)


def test_broken_utf8_of_a_tracker_is_read() -> None:
    assert decode_trackers(b'[{"url": "http://t/", "msg": "\xff"}]')[0].msg == "\ufffd"
