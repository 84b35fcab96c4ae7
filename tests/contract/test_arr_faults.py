"""What goes wrong: each ends typed, with a cure in its message and nothing deleted; then one removal, one search."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from contract.arr_kit import PASSWORD, live
from contract.arr_parts import counting, eventually, serving
from looparr.errors import Blocked, LoopError, Permanent, Transient
from looparr.sandbox import torrents
from looparr.sandbox.qbittorrent import QBittorrent
from looparr.store.rows import Changes
from parts import MakeQBittorrent

pytestmark = pytest.mark.real
READS: list[tuple[str, dict[str, Any], type[LoopError], str]] = [
    ("TooManyRequests", {"retry_after": 7}, Transient, "RateLimited"),
    ("ServerError", {}, Transient, "ServerError"),
    ("Unavailable", {}, Transient, "ServerError"),
    ("Cut", {}, Transient, "Unreachable"),
    ("CutBody", {}, Transient, "Unreachable"),
    ("Html", {}, Blocked, "NotJSON"),
    ("Redirect", {}, Blocked, "Redirected"),
    ("Unauthorized", {}, Blocked, "Unauthorized"),
]


async def test_an_arr_that_cannot_be_read_fails_the_turn_and_nothing_else(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Reading")
        await life.turn()
        for fault, options, kind, reason in READS:
            life.arr.faults.switch_on(fault, **options)
            error = await life.fails()
            assert (type(error), error.reason) == (kind, reason)
            assert getattr(error, "retry_after", None) == options.get("retry_after")
            life.untouched(infohash)
            life.arr.faults.clear()
        life.arr.faults.switch_on("Slow", milliseconds=300, times=10)
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Reading", movie, infohash)


DELETES: list[tuple[str, dict[str, Any]]] = [
    ("ThrowAfter", {"times": 1}),
    ("CutAfter", {"times": 1}),
    ("ServerError", {"times": 1}),
    ("Cut", {"times": 1}),
    ("NoOp", {"times": 2}),
    ("ThrowMidway", {"times": 1}),
    ("TooManyRequests", {"times": 1, "retry_after": 30}),
    ("Slow", {"times": 1, "milliseconds": 1500}),
    ("Html", {"times": 1}),
]


async def test_a_removal_whose_answer_lies_is_done_once(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async def struck(fault: str, options: dict[str, Any]) -> None:
        title = f"Struck by {fault}"
        async with live(shared_qbittorrent, tmp_path / fault) as life:
            movie, infohash = await life.grab(title)
            life.arr.faults.switch_on(fault, method="DELETE", **options)
            await life.until(lambda: life.totals.get("blocklisted"), jump=5.0, tolerate=True)
            await life.until(lambda: not life.body.memory.intents, jump=5.0)  # type: ignore[union-attr]
            await life.replaced_once(title, movie, infohash)

    await asyncio.gather(*(struck(fault, options) for fault, options in DELETES))


async def test_a_bulk_removal_of_which_a_part_fails_is_finished_one_by_one(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async def bulk(fault: str) -> None:
        async with live(shared_qbittorrent, tmp_path / fault) as life:
            await asyncio.gather(*(life.grab(f"{fault} {number}") for number in range(3)))
            life.arr.faults.switch_on(fault, method="DELETE", path="*/bulk", after=1, times=1)
            await life.until(lambda: life.totals.get("searched") == 3, jump=5.0)
            await life.pass_time(3, 30.0)
            assert sorted(life.blocklist()) == [f"{fault} {number}.2020.1080p" for number in range(3)]
            assert sorted(await life.searches()) == [[movie.id] for movie in life.arr.world.movies]
            assert life.totals["blocklisted"] == 3

    await asyncio.gather(bulk("Partial"), bulk("ServerError"))


async def test_one_stale_row_in_a_bulk_keeps_nobody_from_being_removed(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        found = await asyncio.gather(*(life.grab(f"Stale {number}") for number in range(3)))
        held = life.arr.faults.switch_on("Slow", method="DELETE", path="*/bulk", milliseconds=2000, times=1)
        driving = asyncio.create_task(life.until(lambda: life.totals.get("searched") == 2, jump=5.0))
        await eventually(lambda: held.hits)
        await life.client("torrents_delete", delete_files=True, torrent_hashes=found[0][1])
        await life.arr.world.refresh()
        await driving
        statuses = [one["status"] for one in life.arr.requests.recent if one["method"] == "DELETE"]
        assert statuses[0] == 404
        assert statuses.count(200) == 2
        assert life.there(found[1][1]) is None
        assert life.there(found[2][1]) is None


async def test_several_rows_of_one_download_are_one_removal(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        world = life.arr.world
        pair = [world.add_movie("Row One"), world.add_movie("Row Two")]
        pack = life.torrent("Rows")
        await world.grab(pair, release=world.offer(pair, pack.content, title="Rows.2020.1080p"))
        await life.settled(pack.infohash)
        await life.until(lambda: life.totals.get("searched"))
        assert life.removals() == 1
        assert life.blocklist() == ["Rows.2020.1080p"] * 2
        assert await life.searches() == [[movie.id for movie in pair]]
        assert life.totals["blocklisted"] == 1
        assert life.totals["searched"] == 2


async def test_an_empty_queue_proves_nothing(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Rowless")
        life.arr.faults.switch_on("EmptyQueue")
        await life.pass_time(8)
        life.untouched(infohash)
        assert life.attention("Rowless")["reason"].startswith(("NoQueueRow", "GivenUp"))
        life.arr.faults.clear()
        await life.until(lambda: life.totals.get("searched"), jump=60.0)
        await life.replaced_once("Rowless", movie, infohash)


async def test_a_wrong_api_key_is_told_and_a_corrected_one_works_within_a_turn(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        await life.turn()
        right = life.arr.api_key
        life.secrets.put("radarr", apiKey="of another program")
        error = await life.fails()
        assert (type(error), error.reason) == (Blocked, "Unauthorized")
        life.secrets.put("radarr", apiKey=right)
        assert (await life.turn()).message


async def test_another_program_behind_the_url_stops_the_loop(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async def status(_: web.Request) -> web.Response:
        return web.json_response({"appName": "Sonarr", "version": "4.0.0.0"})

    app = web.Application()
    app.router.add_get("/api/v3/system/status", status)
    async with serving(app) as url, live(shared_qbittorrent, tmp_path, url=url) as life:
        error = await life.fails()
        assert (type(error), error.reason) == (Permanent, "WrongArrType")
        assert "Sonarr answers at spec.url" in error.message


async def test_a_wrong_password_is_tried_once_and_the_right_one_recovers(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url, password="a wrong one") as life,
    ):
        for _ in range(5):
            error = await life.fails()
            assert (type(error), error.reason) == (Blocked, "LoginRefused")
        assert proxy.asked["auth/login"] == 1
        life.secrets_corrected()
        await life.turn()
        assert proxy.asked["auth/login"] == 2


async def test_a_client_that_restarts_costs_nothing_but_time(qbittorrent: MakeQBittorrent, tmp_path: Path) -> None:
    client = qbittorrent(password=PASSWORD)
    async with live(client, tmp_path, rules=[]) as life:
        found = [await life.grab(f"Restarted {number}") for number in range(3)]
        await life.turn()
        await asyncio.to_thread(client.stop)
        error = await life.fails()
        assert (type(error), error.reason) == (Transient, "Unreachable")
        waiting = life.arr.world.add_movie("No Download Yet")
        life.arr.world.offer(waiting, life.torrent("No Download Yet").content)
        await life.search(waiting)
        resume = next(client.folder.rglob("BT_backup"))
        for _, infohash in found[:2]:
            for file in resume.glob(f"{infohash}.*"):
                file.unlink()
        await asyncio.to_thread(client.start_again)
        await life.until(lambda: life.note("ClientShrunk"), tolerate=True)
        await life.pass_time(4)
        assert life.block["torrents"]["total"] == 3, "a short list proves nothing yet"
        life.clock.ahead += 301
        await life.pass_time(3)
        assert life.block["torrents"]["total"] == 1
        assert life.writes() == ["POST /api/v3/command"], "a person's own search, which left a row without a download"


async def test_names_in_any_script_live_the_same_life(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    title = "Ночь 夜 لیل 🎬"
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab(title)
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once(title, movie, infohash)
        assert title in life.events_of("Replaced")[0].message


async def test_a_torrent_added_again_while_its_removal_is_open_is_another_one(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        _, infohash = await life.grab("Added Again")
        fault = life.arr.faults.switch_on("NoOp", method="DELETE")
        await life.until(lambda: fault.hits)
        first = life.there(infohash)
        assert first is not None
        await life.client("torrents_delete", delete_files=True, torrent_hashes=infohash)
        await asyncio.to_thread(wait_for_another_second, first["added_on"])
        await asyncio.to_thread(torrents.add, life.qbittorrent, life.torrent("Added Again"), category="radarr")
        life.arr.faults.clear()
        await life.pass_time(8, 11.0)
        again = life.there(infohash)
        assert again is not None
        assert again["added_on"] > first["added_on"]
        assert life.attention("Added Again")["reason"].startswith("LoopGuard")
        assert life.removals() == fault.hits, "what was sent was answered without doing anything"
        assert life.blocklist() == ["Added Again.2020.1080p"]


def wait_for_another_second(moment: int) -> None:
    """Identity is hash and added_on, which has whole seconds."""
    while time.time() < moment + 1:
        time.sleep(0.02)


async def test_one_item_that_cannot_be_read_does_not_keep_the_others_back(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        (bad, _), (good, gone) = await asyncio.gather(life.grab("Unreadable"), life.grab("Readable"))
        life.arr.faults.switch_on("ServerError", path=f"*/movie/{bad.id}")
        await life.until(lambda: life.totals.get("searched"), tolerate=True)
        assert life.there(gone) is None
        assert life.blocklist() == ["Readable.2020.1080p"]
        assert await life.searches() == [[good.id]]
        life.arr.faults.clear()
        await life.until(lambda: life.totals.get("searched") == 2)
        assert sorted(life.blocklist()) == ["Readable.2020.1080p", "Unreadable.2020.1080p"]


async def test_one_torrent_that_cannot_be_looked_up_does_not_keep_the_others_back(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url) as life,
    ):
        _, bad = await life.grab("Opaque")
        movie, good = await life.grab("Clear")
        proxy.broken.add(bad)
        await life.until(lambda: life.totals.get("searched"), tolerate=True)
        assert life.there(good) is None
        assert life.blocklist() == ["Clear.2020.1080p"]
        assert await life.searches() == [[movie.id]]
        assert life.there(bad) is not None
        assert (await life.fails()).reason == "ServerError", "people see that one could not be looked up"
        proxy.broken.clear()
        await life.until(lambda: life.totals.get("searched") == 2)


async def test_a_nudge_that_is_refused_keeps_no_removal_back(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        await life.grab("Goes Anyway")
        movie = await life.complete_untold("Refused")
        life.arr.faults.switch_on("ServerError", method="POST", path="*/command")
        await life.until(lambda: life.totals.get("blocklisted"), tolerate=True)
        assert movie.file is None
        assert (await life.fails()).reason == "ServerError"
        life.arr.faults.clear()
        await life.until(lambda: life.totals.get("searched") and life.totals.get("imported"), jump=11.0)


async def test_damaged_totals_cost_only_what_cannot_be_read(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    damage = {"imported": "many", "searched": 3, "deleted": -1, "blocklisted": True, "heldBack": 2**70}
    left = {"imported": 0, "blocklisted": 0, "searched": 3, "deleted": 0, "heldBack": 0}
    async with live(shared_qbittorrent, tmp_path) as life:
        life.block = {"totals": damage, "storeEpoch": "other:" + "9" * 5000}
        await life.turn()
        assert life.totals == left
        assert life.body
        assert life.body.memory
        life.body.memory.put_value("totals", {**left, **damage})
        with pytest.raises(ValueError, match="imported"):
            await life.turn()
        assert (await life.around.store.load(life.uid)).values["totals"] == {"searched": 3}
        await life.turn()
        assert life.totals == left
        await life.around.store.commit(life.uid, Changes(put_values={"totals": damage}))
        await life.forget_body()
        await life.turn()
        assert life.totals == left


async def test_a_list_that_is_short_when_we_start_proves_nothing_for_five_minutes(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        found = await asyncio.gather(*(life.grab(f"Short {number}") for number in range(3)))
        await life.turn()
        await life.forget_body()
        hashes = [infohash for _, infohash in found[:2]]
        await life.client("torrents_delete", delete_files=True, torrent_hashes=hashes)
        await eventually(lambda: not any(life.there(one) for one in hashes))
        await life.restart()
        await life.pass_time(4)
        assert life.note("ClientShrunk")
        assert life.block["torrents"]["total"] == 3
        life.clock.ahead += 301
        await life.pass_time(3)
        assert life.block["torrents"]["total"] == 1


async def test_a_hybrid_torrent_whose_row_bears_another_id_than_its_grab_is_replaced_once(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie = life.arr.world.add_movie("Hybrid")
        release = life.arr.world.offer(movie, hybrid("Hybrid.2020.1080p.mkv"), title="Hybrid.2020.1080p")
        await life.arr.world.grab(movie, release=release)
        await life.arr.world.refresh()
        await life.until(life.blocklist, jump=5.0)
        await life.until(lambda: not life.body.memory.intents, jump=5.0)  # type: ignore[union-attr]
        await life.pass_time(3, 30.0)
        assert life.block["torrents"]["total"] == 0
        assert life.blocklist() == ["Hybrid.2020.1080p"]
        assert life.removals() == 1
        assert await life.searches() == [[movie.id]]


def hybrid(name: str) -> bytes:
    """A torrent of both versions (BEP 52), of one file of one block."""
    body = name.encode().ljust(16384, b"\0")
    info = {
        "name": name,
        "length": len(body),
        "pieces": hashlib.sha1(body).digest(),
        "piece length": len(body),
        "meta version": 2,
        "file tree": {name: {"": {"length": len(body), "pieces root": hashlib.sha256(body).digest()}}},
    }
    return torrents.bencode({"info": info, "piece layers": {}})
