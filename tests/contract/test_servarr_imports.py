"""The Radarr stand-in on a real qBittorrent: what it imports, what it refuses, and the trap of the import scan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from looparr.sandbox.servarr import ServarrServer
from servarr_kit import RealQBittorrent, real_qbittorrent, stand_in, until

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def qbittorrent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealQBittorrent]:
    with real_qbittorrent(tmp_path_factory.mktemp("qbittorrent")) as client:
        yield client


async def completed(
    server: ServarrServer, client: RealQBittorrent, title: str, files: tuple[str, ...] = ()
) -> tuple[int, str, Path]:
    """Grab a release whose data is there already; return movie id, download id and its folder in the client."""
    movie = server.world.add_movie(title, 2020)
    name = f"{title.replace(' ', '.')}.2020.1080p.WEB-DL-GRP"
    torrent, infohash = client.release(name, complete=True, files=files)
    server.world.offer(movie, torrent)
    await server.world.grab(movie)
    await client.state(infohash, "stalledUP", "uploading")
    return movie.id, infohash, client.data / name


async def test_a_completed_download_is_imported_and_keeps_seeding(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent, imported_category="radarr-imported") as (server, arr):
        movie, infohash, folder = await completed(server, qbittorrent, "Complete One")
        await arr.command("RefreshMonitoredDownloads")
        await server.world.idle()
        shown = await arr.get(f"movie/{movie}")
        library = Path(shown["movieFile"]["path"])
        assert shown["hasFile"] is True
        assert library.parent == server.world.root / "Complete One (2020)"
        source = folder / f"{folder.name}.mkv"
        assert await asyncio.to_thread(library.read_bytes) == await asyncio.to_thread(source.read_bytes)
        event = (await arr.events(eventType=3, downloadId=infohash))[0]
        assert (event["eventType"], event["movieId"]) == ("downloadFolderImported", movie)
        assert event["data"]["importedPath"] == str(library)
        assert await arr.rows() == []
        torrent = await qbittorrent.torrent(infohash)
        assert torrent is not None
        assert torrent["category"] == "radarr-imported"


async def test_its_own_schedule_imports_without_being_asked(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent, refresh_seconds=0.5) as (server, arr):
        movie, _, _ = await completed(server, qbittorrent, "Scheduled One")

        async def imported() -> bool:
            return bool((await arr.get(f"movie/{movie}"))["hasFile"])

        await until(imported, "imported by the schedule")


async def test_importing_shows_as_pending_when_handling_is_off(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        server.world.configure(enable_completed_download_handling=False)
        _, infohash, _ = await completed(server, qbittorrent, "Unhandled One")
        await server.world.refresh()
        assert await arr.row(infohash) is None, "completed downloads are nobody's business then"
        assert (await arr.get("config/downloadclient"))["enableCompletedDownloadHandling"] is False


async def test_a_download_with_nothing_to_import_says_so_and_stays(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        cases = {
            "Empty One": (("readme.txt", "a.nfo"), "No files found are eligible for import in"),
            "Archive One": (("movie.rar", "a.nfo"), "Found archive file, might need to be extracted"),
            "Single One": (("readme.txt",), "Invalid video file, unsupported extension: '.txt'"),
            "Virus One": (("movie.exe", "a.nfo"), "Caution: Found executable file with extension: '.exe'"),
        }
        for title, (files, words) in cases.items():
            movie, infohash, folder = await completed(server, qbittorrent, title, files)
            await server.world.refresh()
            row = await arr.row(infohash)
            assert row is not None
            assert (row["trackedDownloadState"], row["trackedDownloadStatus"]) == ("importPending", "warning")
            assert row["statusMessages"][0]["messages"][0].startswith(words)
            assert row["outputPath"] == str(folder / files[0] if len(files) == 1 else folder)
            assert (await arr.get(f"movie/{movie}"))["hasFile"] is False
        assert (await arr.get("queue/status"))["warnings"] is True


async def test_a_worse_release_is_not_imported_over_a_better_one(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie, _, _ = await completed(server, qbittorrent, "Upgrade One")
        await server.world.refresh()
        worse, infohash = qbittorrent.release("Upgrade.One.2020.720p.HDTV-GRP", complete=True)
        offer = server.world.offer(movie, worse)
        await server.world.grab(movie, release=offer)
        await qbittorrent.state(infohash, "stalledUP")
        await server.world.refresh()
        row = await arr.row(infohash)
        assert row is not None
        assert row["statusMessages"][0]["messages"][0].startswith("Not an upgrade for existing movie file.")


async def test_a_pack_with_one_movie_missing_is_blocked_half_imported(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        first, second = server.world.add_movie("Half One", 2020), server.world.add_movie("Half Two", 2021)
        files = ("Half.One.2020.1080p.mkv", "Something.Else.1999.1080p.mkv")
        torrent, infohash = qbittorrent.release("Half.Collection.1080p.WEB-DL-GRP", complete=True, files=files)
        server.world.offer([first, second], torrent)
        await server.world.grab([first, second])
        await qbittorrent.state(infohash, "stalledUP")
        await server.world.refresh()
        rows = [r for r in await arr.rows() if r["downloadId"] == infohash]
        assert [r["trackedDownloadState"] for r in rows] == ["importBlocked"] * 2
        imported = await arr.events(eventType=3, downloadId=infohash)
        assert [e["movieId"] for e in imported] == [first.id]


async def test_a_torrent_added_by_hand_is_imported_when_its_name_matches(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        movie = server.world.add_movie("Hand Made", 2020)
        torrent, infohash = qbittorrent.release("Hand.Made.2020.1080p.WEB-DL-ME", complete=True)
        category = server.world.configure().category
        await qbittorrent.add(torrent, category)
        await qbittorrent.state(infohash, "stalledUP")
        await server.world.refresh()
        assert (await arr.get(f"movie/{movie.id}"))["hasFile"] is True
        assert [e["eventType"] for e in await arr.events(downloadId=infohash)] == ["downloadFolderImported"]


async def test_the_arr_removes_an_imported_torrent_only_at_its_seed_limit(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, _):
        _, infohash, folder = await completed(server, qbittorrent, "Seeded One")
        await server.world.refresh()
        await qbittorrent.call("POST", "torrents/pause", data={"hashes": infohash.lower()})
        await qbittorrent.state(infohash, "pausedUP", "stoppedUP")
        await server.world.refresh()
        assert folder.exists()
        limits = {"hashes": infohash.lower(), "ratioLimit": "0", "seedingTimeLimit": "-2"}
        await qbittorrent.call("POST", "torrents/setShareLimits", data=limits)

        async def removed() -> bool:
            await server.world.refresh()
            return await qbittorrent.torrent(infohash) is None

        await until(removed, "removed at the limit")
        assert not (folder / f"{folder.name}.mkv").exists()


@pytest.mark.parametrize(("mode", "survives"), [("Auto", False), ("Move", False), ("Copy", True)])
async def test_a_scan_for_an_unknown_download_moves_and_deletes_the_folder(
    qbittorrent: RealQBittorrent, mode: str, *, survives: bool
) -> None:
    async with stand_in(qbittorrent, category="nobody") as (server, arr):
        title = f"Trap {mode}"
        movie = server.world.add_movie(title, 2020)
        name = f"{title.replace(' ', '.')}.2020.1080p.WEB-DL-GRP"
        qbittorrent.release(name, complete=True)
        folder = qbittorrent.data / name
        body = {"path": str(folder), "downloadClientId": "CD" * 20, "importMode": mode}
        command = await arr.command("DownloadedMoviesScan", **body)
        assert (command["status"], command["result"]) == ("completed", "successful")
        assert (await arr.get(f"movie/{movie.id}"))["hasFile"] is True
        assert folder.exists() is survives


async def test_a_scan_for_a_known_download_copies_and_a_lower_case_id_is_unknown(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (server, arr):
        server.world.configure(enable_completed_download_handling=True)
        movie, infohash, folder = await completed(server, qbittorrent, "Known One")
        await arr.command("RefreshMonitoredDownloads")
        await server.world.idle()
        scan = {"path": str(folder), "importMode": "Auto"}
        await arr.command("DownloadedMoviesScan", downloadClientId=infohash, **scan)
        assert folder.exists()
        await arr.command("DownloadedMoviesScan", downloadClientId=infohash.lower(), **scan)
        assert not folder.exists()
        assert (await arr.get(f"movie/{movie}"))["hasFile"] is True


async def test_a_scan_without_a_path_fails_and_one_of_nothing_is_unsuccessful(qbittorrent: RealQBittorrent) -> None:
    async with stand_in(qbittorrent) as (_, arr):
        failed = await arr.command("DownloadedMoviesScan")
        assert (failed["status"], failed["result"]) == ("failed", "unsuccessful")
        nothing = await arr.command("DownloadedMoviesScan", path="/does/not/exist")
        assert (nothing["status"], nothing["result"]) == ("completed", "unsuccessful")


async def test_with_the_client_out_rows_vanish_and_grabs_wait_for_it(tmp_path: Path) -> None:
    with real_qbittorrent(tmp_path / "own") as client:
        async with stand_in(client) as (server, arr):
            movie = server.world.add_movie("Outage One", 2020)
            torrent, infohash = client.release("Outage.One.2020.1080p.WEB-DL-GRP", complete=False)
            server.world.offer(movie, torrent)
            await server.world.grab(movie)
            await client.state(infohash, "stalledDL")
            await server.world.refresh()
            row = await arr.row(infohash)
            assert row is not None
            await client.stop()
            await arr.command("RefreshMonitoredDownloads")
            assert await arr.rows() == []
            assert (await arr.ask("DELETE", f"queue/{row['id']}"))[0] == 404
            other = server.world.add_movie("Outage Two", 2020)
            second, waiting = client.release("Outage.Two.2020.1080p.WEB-DL-GRP", complete=False)
            server.world.offer(other, second)
            await arr.command("MoviesSearch", movieIds=[other.id])
            pending = await arr.rows()
            assert [(r["status"], r["movieId"]) for r in pending] == [("downloadClientUnavailable", other.id)]
            assert "downloadId" not in pending[0]
            await client.start()

            async def back() -> bool:
                await arr.command("RefreshMonitoredDownloads")
                return {r.get("downloadId") for r in await arr.rows()} == {infohash, waiting}

            await until(back, "both downloads in the queue")
            again = await arr.row(infohash)
            assert again is not None
            assert again["id"] == row["id"], "the same download has the same id"


async def test_it_logs_in_with_a_password_and_a_wrong_one_is_tried_once(tmp_path: Path) -> None:
    with real_qbittorrent(tmp_path / "own", password="täst") as client:
        async with stand_in(client, username="admin", password="täst") as (server, _):
            movie = server.world.add_movie("Secret One", 2020)
            torrent, infohash = client.release("Secret.One.2020.1080p.WEB-DL-GRP", complete=False)
            server.world.offer(movie, torrent)
            assert await server.world.grab(movie) == infohash
            await server.world.refresh()
            assert [d.item.download_id for d in server.world.downloads] == [infohash]
            assert server.client_calls["POST auth/login"] == 1
        async with stand_in(client, username="admin", password="wrong") as (server, arr):
            for _ in range(5):
                await server.world.refresh()
            assert await arr.rows() == []
            assert server.client_calls["POST auth/login"] == 1, "never a ban"
