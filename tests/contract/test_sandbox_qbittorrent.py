"""A real qbittorrent-nox, cut off from the world: transfers, passwords, restarts, and the torrents we make for it."""

from __future__ import annotations

import hashlib
import os
import secrets
import signal
from pathlib import Path

import pytest
import qbittorrentapi

from looparr.errors import SandboxError
from looparr.sandbox import files, processes, torrents
from looparr.sandbox.processes import Probe
from looparr.sandbox.qbittorrent import QBittorrent, find
from looparr.sandbox.supervisor import answers
from parts import MakeQBittorrent

KEPT_OFF = ("dht", "lsd", "pex", "upnp")


def payload(path: Path, size: int = 1 << 20) -> Path:
    path.write_bytes(secrets.token_bytes(size))
    return path


def sha1(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


def test_a_real_transfer_between_two_ends_with_identical_data(qbittorrent: MakeQBittorrent, tmp_path: Path) -> None:
    seeder, leecher = qbittorrent("seeder"), qbittorrent("leecher")
    source = payload(tmp_path / "Amélie 天使 (2001).mkv", 3 << 20)
    torrent = torrents.make(source)
    torrents.seed(seeder, torrent, source)
    torrents.add(leecher, torrent, category="radarr")
    torrents.connect(leecher, torrent.infohash, seeder)
    torrents.wait_for_state(leecher, torrent.infohash, torrents.SEEDING)
    assert sha1(leecher.data / source.name) == sha1(source)
    assert torrents.info(leecher, torrent.infohash)["category"] == "radarr"


def test_a_limited_download_is_seen_downloading(qbittorrent: MakeQBittorrent, tmp_path: Path) -> None:
    seeder, leecher = qbittorrent("seeder"), qbittorrent("leecher")
    source = payload(tmp_path / "slow.mkv", 8 << 20)
    torrent = torrents.make(source)
    torrents.seed(seeder, torrent, source)
    torrents.add(leecher, torrent, download_limit=200_000)
    torrents.connect(leecher, torrent.infohash, seeder)
    torrents.wait_for_state(leecher, torrent.infohash, torrents.DOWNLOADING)
    assert torrents.info(leecher, torrent.infohash)["dl_limit"] == 200_000


def test_without_a_peer_it_stalls_and_nothing_is_searched_outside(qbittorrent: MakeQBittorrent, tmp_path: Path) -> None:
    instance = qbittorrent()
    torrent = torrents.make(payload(tmp_path / "lonely.mkv"))
    torrents.add(instance, torrent)
    assert torrents.state(instance, torrent.infohash) == "stalledDL"
    with instance.client() as client:
        preferences = client.app_preferences()
    assert [preferences[name] for name in KEPT_OFF] == [False] * 4
    assert preferences["current_interface_address"] == "127.0.0.1"
    assert preferences["enable_multi_connections_from_same_ip"] is True


def test_a_folder_becomes_a_private_torrent_of_several_files(qbittorrent: MakeQBittorrent, tmp_path: Path) -> None:
    seeder, leecher = qbittorrent("seeder"), qbittorrent("leecher")
    source = tmp_path / "Show S01"
    (source / "Extras").mkdir(parents=True)
    for name in ("e01.mkv", "e02.mkv", "Extras/é.nfo"):
        payload(source / name, 100_001)
    torrent = torrents.make(source, private=True, piece_length=32 * 1024)
    torrents.seed(seeder, torrent, source)
    assert torrents.state(seeder, torrent.infohash) in torrents.SEEDING
    with seeder.client() as client:
        assert client.torrents_properties(torrent.infohash)["is_private"] is True
    torrents.add(leecher, torrent)
    torrents.connect(leecher, torrent.infohash, seeder)
    torrents.wait_for_state(leecher, torrent.infohash, torrents.SEEDING)
    for path in source.rglob("*.*"):
        assert sha1(leecher.data / path.relative_to(tmp_path)) == sha1(path)


def test_a_magnet_without_trackers_waits_for_its_metadata(qbittorrent: MakeQBittorrent, tmp_path: Path) -> None:
    instance = qbittorrent()
    torrent = torrents.make(payload(tmp_path / "unknown.mkv"))
    with instance.client() as client:
        client.torrents_add(urls=torrent.magnet)
    torrents.wait_for_state(instance, torrent.infohash, {"metaDL"})
    assert torrents.state(instance, "0" * 40) is None


def test_a_wrong_password_is_refused_and_the_right_one_lets_in(qbittorrent: MakeQBittorrent) -> None:
    instance = qbittorrent(password="correct höřse")
    stranger = qbittorrentapi.Client(instance.url, username="admin", password="wrong", FORCE_SCHEME_FROM_HOST=True)
    with pytest.raises(qbittorrentapi.LoginFailed):
        stranger.auth_log_in()
    assert not answers(Probe(f"{instance.url}/api/v2/app/version"))
    with instance.client() as client:
        assert client.app_version().startswith("v")


def test_without_a_password_nobody_has_to_log_in(qbittorrent: MakeQBittorrent) -> None:
    with qbittorrent().client() as client:
        assert client.app_version().startswith("v")


def test_it_comes_back_on_the_same_ports_with_its_torrents(qbittorrent: MakeQBittorrent, tmp_path: Path) -> None:
    instance = qbittorrent()
    source = payload(tmp_path / "kept.mkv")
    torrent = torrents.make(source)
    torrents.seed(instance, torrent, source)
    instance.stop()
    assert not processes.under(instance.folder)
    with pytest.raises(SandboxError, match="does not run"):
        _ = instance.pid
    instance.start_again()
    torrents.wait_for_state(instance, torrent.infohash, torrents.SEEDING)
    with instance.client() as client:
        assert client.app_preferences()["listen_port"] == instance.bt_port
    with pytest.raises(SandboxError, match="runs already"):
        instance.start_again()


def test_a_kill_leaves_no_process(qbittorrent: MakeQBittorrent) -> None:
    instance = qbittorrent()
    assert len(processes.under(instance.folder)) == 2
    instance.kill()
    assert not processes.under(instance.folder)
    instance.kill()


def test_a_frozen_one_does_not_answer_until_it_goes_on(qbittorrent: MakeQBittorrent) -> None:
    instance = qbittorrent()
    probe = Probe(f"{instance.url}/api/v2/app/version")
    instance.signal(signal.SIGSTOP)
    assert not answers(probe)
    instance.signal(signal.SIGCONT)
    files.wait_until(lambda: answers(probe), 10, "It did not go on")
    assert torrents.state(instance, "0" * 40) is None


def test_two_instances_share_nothing(qbittorrent: MakeQBittorrent) -> None:
    one, two = qbittorrent("one"), qbittorrent("two")
    assert len({one.web_port, one.bt_port, two.web_port, two.bt_port}) == 4
    one.stop()
    with two.client() as client:
        assert client.app_version().startswith("v")


def test_its_program_can_be_named_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match=r"LOOPARR_QBITTORRENT names .*none, which is no program"):
        find({"LOOPARR_QBITTORRENT": str(tmp_path / "none")})
    with pytest.raises(SandboxError, match="is it qbittorrent-nox"):
        find({"LOOPARR_QBITTORRENT": "/bin/true"})
    with pytest.raises(SandboxError, match="apt-get install qbittorrent-nox"):
        find({"PATH": str(tmp_path)})


def test_a_start_that_fails_shows_the_end_of_the_log(tmp_path: Path) -> None:
    broken = tmp_path / "qbittorrent-nox"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo qBittorrent v4.5.2 && exit\necho out of spoons; exit 1\n'
    )
    broken.chmod(0o755)
    with pytest.raises(SandboxError, match="out of spoons"):
        QBittorrent.start(tmp_path / "q", env={**os.environ, "LOOPARR_QBITTORRENT": str(broken)})
    files.wait_until(lambda: not files.is_locked(tmp_path / "q"), 5, "The supervisor stayed")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (-3, b"i-3e"),
        ("é", b"2:\xc3\xa9"),
        (b"", b"0:"),
        ([1, ["a"]], b"li1el1:aee"),
        ({"b": 1, "a": {}}, b"d1:ade1:bi1ee"),
    ],
)
def test_bencode_is_that_of_bep_3(value: object, encoded: bytes) -> None:
    assert torrents.bencode(value) == encoded
