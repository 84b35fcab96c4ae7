"""What is never touched, and what holds every removal back: each beside a torrent that really is removed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contract.arr_kit import PASSWORD, QUICK, Life, live
from contract.arr_parts import counting
from looparr.sandbox import torrents
from looparr.sandbox.qbittorrent import QBittorrent
from parts import MakeQBittorrent

pytestmark = pytest.mark.real
TRACKER = "http://tracker.example.org/announce"
PROTECT = {
    "tags": ["keep"],
    "names": ["By Name*"],
    "trackers": ["example.org"],
    "categories": ["precious"],
}
MANY = {"perTurn": 50, "perHour": 50, "perDay": 50}
EVERYBODY = {**QUICK["rules"][0], "when": {"for": "1s", "categories": ["radarr", "precious"]}}


async def test_only_an_owned_public_automatic_and_unprotected_torrent_is_removed(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, protect=PROTECT, limits=MANY, rules=[EVERYBODY]) as life:
        life.arr.world.add_movie("Nobody Grabbed")
        unowned = life.torrent("Nobody Grabbed")
        await asyncio.to_thread(torrents.add, life.qbittorrent, unowned, category="radarr")
        homeless = life.torrent("No Category")
        await asyncio.to_thread(torrents.add, life.qbittorrent, homeless)
        names = ["Control", "Paused", "Moved", "By Tag", "By Name", "By Category", "Ignored"]
        found = dict(zip(names, await asyncio.gather(*(life.grab(name) for name in names)), strict=True))
        found["Private"] = await life.grab("Private", private=True)
        found["Tracked"] = await life.grab("Tracked", trackers=[TRACKER])
        found["Interactive"] = await life.grab("Interactive", source="InteractiveSearch")
        hashes = {name: infohash for name, (_, infohash) in found.items()}
        await life.turn()
        await life.client("torrents_pause", torrent_hashes=hashes["Paused"])
        for category in ("elsewhere", "precious"):
            await life.client("torrents_create_category", name=category)
        await life.client("torrents_set_category", category="elsewhere", torrent_hashes=hashes["Moved"])
        await life.client("torrents_set_category", category="precious", torrent_hashes=hashes["By Category"])
        await life.client("torrents_add_tags", tags="keep", torrent_hashes=hashes["By Tag"])
        await life.client("torrents_add_tags", tags="looparr-ignore", torrent_hashes=hashes["Ignored"])
        await asyncio.to_thread(torrents.wait_for_state, life.qbittorrent, hashes["Paused"], ["pausedDL"])
        await life.arr.world.refresh()
        await life.until(lambda: life.totals.get("searched"))
        movie, infohash = found["Control"]
        await life.replaced_once("Control", movie, infohash)
        assert life.blocklist() == ["Control.2020.1080p"]
        assert all(life.there(one) for name, one in hashes.items() if name != "Control")
        assert life.there(unowned.infohash)
        assert life.there(homeless.infohash)
        assert life.block["torrents"]["unowned"] == 1
        assert life.block["torrents"]["held"] == 1
        reasons = {one["name"].partition(".")[0]: one["reason"] for one in life.block["attention"] if "reason" in one}
        assert {name: reason.partition(":")[0] for name, reason in reasons.items()} == {
            "By Category": "Protected",
            "By Name": "Protected",
            "By Tag": "Protected",
            "Ignored": "Protected",
            "Tracked": "Protected",
            "Interactive": "Interactive",
        }


async def test_a_torrent_moved_out_of_the_arrs_categories_is_left_alone_until_a_rule_names_its_new_one(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        _, infohash = await life.grab("Moved Away")
        await life.turn()
        await life.client("torrents_create_category", name="mine")
        await life.pass_time(1)
        await life.client("torrents_set_category", category="mine", torrent_hashes=infohash)
        await life.pass_time()
        life.untouched(infohash)
        assert life.block["torrents"]["owned"] == 1, "it is watched wherever it was moved"
        assert life.attention("Moved Away")["reason"].startswith("OtherCategory")


async def test_warm_up_reports_once_which_rule_would_act(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path, warmup="1h") as life:
        movie, infohash = await life.grab("Warming")
        await life.pass_time(12)
        life.untouched(infohash)
        assert life.writes() == []
        [report] = life.events_of("ReplaceHeldBack")
        assert "rule stalled" in report.message
        assert "WarmUp" in report.message
        assert life.totals["heldBack"] == 1
        assert life.block["warmupUntil"]
        life.clock.ahead += 3600
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Warming", movie, infohash)


async def test_mode_observe_changes_nothing_at_all(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    goals = {"goals": [{"name": "enough", "ratio": "0", "deleteData": True}]}
    async with (
        counting(shared_qbittorrent) as proxy,
        live(shared_qbittorrent, tmp_path, client_url=proxy.url, mode="Observe", seeding=goals) as life,
    ):
        _, stalled = await life.grab("Observed")
        movie, seeding = await life.grab("Seeding", complete=True)
        await life.arr.world.refresh()
        assert movie.file is not None
        await life.pass_time(10)
        life.untouched(stalled)
        life.untouched(seeding)
        assert life.writes() == []
        reading = {"sync/maindata", "app/version", "app/webapiVersion", "auth/login", "torrents/properties"}
        assert set(proxy.asked) <= reading | {"torrents/trackers", "torrents/info"}
        assert {event.reason for event in life.events} == {"ReplaceHeldBack", "DeleteHeldBack"}


async def test_the_loop_guard_holds_a_release_that_comes_back_and_the_third_for_one_movie(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, limits=MANY) as life:
        movie, infohash = await life.grab("Looping")
        await life.until(lambda: life.totals.get("searched"))
        await life.arr.world.grab(movie)
        await life.settled(infohash)
        await life.pass_time()
        assert life.attention("Looping")["state"] == "Held"
        assert life.attention("Looping")["reason"].startswith("LoopGuard")
        assert life.there(infohash) is not None
        await life.client("torrents_delete", delete_files=True, torrent_hashes=infohash)
        for number in (2, 3):
            other = life.torrent(f"Looping {number}")
            release = life.arr.world.offer(movie, other.content, title=f"Looping {number}.2020.1080p")
            await life.arr.world.grab(movie, release=release)
            await life.settled(other.infohash)
            await life.pass_time(12, 11.0)
        assert life.blocklist() == ["Looping.2020.1080p", "Looping 2.2020.1080p"]
        assert life.there(other.infohash) is not None
        assert life.attention("Looping 3")["reason"].startswith("LoopGuard: two releases")


async def test_many_that_go_bad_at_once_pull_the_brake_until_a_person_releases_it(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        found = await asyncio.gather(*(life.grab(f"Mass {number}") for number in range(8)))
        hashes = [infohash for _, infohash in found]
        await life.client("torrents_pause", torrent_hashes=hashes)
        await life.until(lambda: life.block and life.block["torrents"].get("held") == 8)
        await life.edit(rules=QUICK["rules"])
        await life.client("torrents_resume", torrent_hashes=hashes)
        await life.until(lambda: life.block["torrents"].get("stalled") == 8)
        await life.pass_time()
        assert "8 of 8 torrents became Stalled within an hour" in life.note("MassFailure")
        assert all(life.there(one) for one in hashes)
        assert life.writes() == []
        assert life.attention("Mass")["reason"].startswith("MassFailure")
        await life.restart()
        await life.pass_time(4)
        assert life.note("MassFailure"), "it outlives the process"
        life.annotations["looparr.dev/releaseBrake"] = "1"
        await life.until(lambda: life.totals.get("searched") == 3, jump=5.0)
        assert life.note("MassFailure") == ""
        assert len(life.blocklist()) == 3, "limits still hold"
        assert [one for one in life.writes() if one.startswith("DELETE")] == ["DELETE /api/v3/queue/bulk"]


async def test_limits_and_cooldown_let_the_rest_wait(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    cooldowns = {**QUICK["cooldowns"], "afterBlocklist": "2m"}
    async with live(shared_qbittorrent, tmp_path, limits={"perTurn": 1, "perHour": 2}, cooldowns=cooldowns) as life:
        await asyncio.gather(*(life.grab(f"Limited {number}") for number in range(4)))
        await life.until(lambda: life.totals.get("searched") == 1, jump=5.0)
        await life.pass_time(4)
        assert len(life.blocklist()) == 1
        assert {one["reason"].partition(":")[0] for one in life.block["attention"]} <= {"Cooldown", "Limits"}
        await life.until(lambda: life.totals.get("searched") == 2, jump=20.0)
        await life.pass_time(4, 60.0)
        assert len(life.blocklist()) == 2
        assert {one["reason"].partition(":")[0] for one in life.block["attention"]} == {"Limits"}
        life.clock.ahead += 3600
        await life.until(lambda: life.totals.get("searched") == 3, jump=5.0)
        assert life.totals["heldBack"] > 0


async def test_hit_and_run_holds_a_torrent_of_which_anything_was_downloaded(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    owed = [{"name": "everybody", "minRatio": "1.0"}]
    async with live(shared_qbittorrent, tmp_path, hitAndRun=owed) as life:
        movie, infohash = await partly(life, "Owing")
        await life.pass_time()
        life.untouched(infohash)
        assert life.attention("Owing")["reason"].startswith("HitAndRun: policy everybody")
        await life.edit(hitAndRun=[])
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Owing", movie, infohash)


async def partly(life: Life, title: str, **options: Any) -> tuple[Any, str]:
    """Grab something of which all but the last piece is there."""
    file = life.qbittorrent.data / f"{title}.2020.1080p.mkv"
    movie, infohash = await life.grab(title, **options)
    torrent_file = life.folder / "offer" / file.name
    body = torrent_file.read_bytes()
    file.write_bytes(body[:-1000] + b"\0" * 1000)
    await life.client("torrents_recheck", torrent_hashes=infohash)

    async def completed() -> bool:
        found = life.there(infohash)
        return bool(found and found["completed"] and found["state"] == "stalledDL")

    await life.until(completed, jump=0.0)
    return movie, infohash


async def test_data_that_another_torrent_shares_stays_and_the_torrent_goes(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        movie, infohash = await partly(life, "Sharing")
        other = life.torrent("Sharing", piece_length=1 << 15)
        await asyncio.to_thread(torrents.add, life.qbittorrent, other, category="another")
        await life.edit(rules=QUICK["rules"])
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Sharing", movie, infohash)
        assert life.there(other.infohash) is not None
        assert (life.qbittorrent.data / "Sharing.2020.1080p.mkv").exists()


async def test_data_that_another_torrent_shares_since_a_moment_stays(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        movie, infohash = await partly(life, "Just Shared")
        other = life.torrent("Just Shared", piece_length=1 << 15)

        async def cross_seeded() -> None:
            if life.there(other.infohash) is None:
                await asyncio.to_thread(torrents.add, life.qbittorrent, other, category="another")

        await life.edit(rules=QUICK["rules"])
        life.at_fence = cross_seeded
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Just Shared", movie, infohash)
        assert life.there(other.infohash) is not None
        assert (life.qbittorrent.data / "Just Shared.2020.1080p.mkv").exists()


async def test_data_inside_a_library_folder_stays(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        movie, infohash = await partly(life, "In Library")
        place = life.arr.world.root / "In Library (2020)"
        await life.client("torrents_set_location", location=str(place), torrent_hashes=infohash)
        await life.until((place / "In Library.2020.1080p.mkv").exists, jump=0.0)
        await life.until(lambda: life.there(infohash)["state"] == "stalledDL", jump=0.0)  # type: ignore[index]
        await life.edit(rules=QUICK["rules"])
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("In Library", movie, infohash)
        assert (place / "In Library.2020.1080p.mkv").exists()


async def test_the_younger_of_two_instances_on_one_arr_is_refused(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        await life.grab("Contested")
        younger = Life(**{name: getattr(life, name) for name in ("qbittorrent", "arr", "around", "clock", "secrets")},
                       folder=tmp_path, executor=life.executor, spec=life.spec, name="copy", uid="uid-2",
                       created=life.created + timedelta(seconds=1))  # fmt: skip
        try:
            await younger.turn()
            await life.turn()
            error = await younger.fails()
            assert error.reason == "DuplicateInstance"
            assert "media/radarr" in error.message
            await life.until(lambda: life.totals.get("searched"))
            assert life.blocklist() == ["Contested.2020.1080p"]
        finally:
            await younger.forget_body()


async def test_an_older_instance_with_a_wrong_key_keeps_nobody_from_the_arr(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        life.secrets.put("wrong", apiKey="of another program")
        spec = {**life.spec, "apiKeySecretRef": {"name": "wrong", "key": "apiKey"}}
        older = Life(**{name: getattr(life, name) for name in ("qbittorrent", "arr", "around", "clock", "secrets")},
                     folder=tmp_path, executor=life.executor, spec=spec, name="copy", uid="uid-2",
                     created=life.created - timedelta(days=1))  # fmt: skip
        try:
            assert (await older.fails()).reason == "Unauthorized"
            await life.turn()
            older.spec = life.spec
            await older.forget_body()
            await older.turn()
            assert (await life.fails()).reason == "DuplicateInstance"
            right = life.arr.api_key
            life.secrets.put("radarr", apiKey="a revoked one")
            assert (await older.fails()).reason == "Unauthorized"
            life.secrets.put("radarr", apiKey=right)
            await life.turn()
        finally:
            await older.forget_body()


async def test_a_lost_store_holds_removals_for_an_hour_and_keeps_the_totals(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        await life.grab("First")
        await life.until(lambda: life.totals.get("searched"))
        _, infohash = await life.grab("Lost")
        await life.turn()
        await life.lose_store()
        await life.pass_time()
        assert life.note("StoreLost")
        assert life.there(infohash) is not None
        assert life.attention("Lost")["reason"].startswith("StoreLost")
        assert life.totals["blocklisted"] == 1
        life.clock.ahead += 3600
        await life.until(lambda: life.totals.get("searched") == 2)
        assert life.note("StoreLost") == ""
        assert life.blocklist() == ["First.2020.1080p", "Lost.2020.1080p"]


async def test_another_operators_owner_tag_makes_it_read_only(shared_qbittorrent: QBittorrent, tmp_path: Path) -> None:
    async with live(shared_qbittorrent, tmp_path) as life:
        movie, infohash = await life.grab("Tagged")
        await life.client("torrents_add_tags", tags="looparr-owner-elsewhere", torrent_hashes=infohash)
        await life.pass_time()
        life.untouched(infohash)
        assert life.note("OwnershipConflict")
        await life.client("torrents_remove_tags", tags="looparr-owner-elsewhere", torrent_hashes=infohash)
        await life.until(lambda: life.totals.get("searched"))
        await life.replaced_once("Tagged", movie, infohash)


async def test_another_operators_owner_tag_holds_imports_and_searches_too(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, protect={"names": ["Claimed"]}) as life:
        movie, infohash = await life.grab("Half Done")
        _, claimed = await life.grab("Claimed")
        life.arr.faults.switch_on("ServerError", method="POST", path="*/command")
        await life.until(lambda: life.totals.get("blocklisted"), tolerate=True)
        await life.client("torrents_add_tags", tags="looparr-owner-elsewhere", torrent_hashes=claimed)
        await life.until(lambda: life.note("OwnershipConflict"), tolerate=True)
        await life.complete_untold("Done")
        life.arr.faults.clear()
        life.arr.requests.clear()
        await life.pass_time(8, 31.0)
        assert life.writes() == []
        await life.client("torrents_remove_tags", tags="looparr-owner-elsewhere", torrent_hashes=claimed)
        await life.until(lambda: life.totals.get("searched") and life.totals.get("imported"), jump=11.0)
        await life.replaced_once("Half Done", movie, infohash)


async def test_the_same_torrent_in_two_clients_is_left_alone_in_both(
    shared_qbittorrent: QBittorrent, qbittorrent: MakeQBittorrent, tmp_path: Path
) -> None:
    other = qbittorrent("other", password=PASSWORD)
    async with live(shared_qbittorrent, tmp_path) as life:
        _, infohash = await life.grab("In Both")
        await life.client("torrents_pause", torrent_hashes=infohash)
        await asyncio.to_thread(torrents.wait_for_state, life.qbittorrent, infohash, ["pausedDL"])
        await asyncio.to_thread(torrents.add, other, life.torrent("In Both"), category="radarr")
        life.secrets.put("other", username=other.username, password=PASSWORD)
        second = {"url": other.url, "credentialsSecretRef": {"name": "other"}}
        clients = [*life.spec["downloadClients"], {"name": "second", "type": "QBittorrent", "qbittorrent": second}]
        life.spec["downloadClients"] = clients
        await life.pass_time(8)
        life.untouched(infohash)
        assert life.writes() == []
        assert torrents.state(other, infohash) == "stalledDL"
        assert life.attention("In Both")["reason"].startswith("OtherClient: main holds the same torrent")
        await life.client("torrents_delete", delete_files=True, torrent_hashes=infohash)
        await life.pass_time(8, 11.0)
        assert torrents.state(other, infohash) == "stalledDL", "the Arr handed it to the first client"
        assert life.writes() == []
        assert "which is not second" in life.attention("In Both")["reason"]


async def test_what_a_person_deletes_is_neither_blocklisted_nor_searched(
    shared_qbittorrent: QBittorrent, tmp_path: Path
) -> None:
    async with live(shared_qbittorrent, tmp_path, rules=[]) as life:
        await asyncio.gather(*(life.grab(f"Kept {number}") for number in range(5)))
        _, infohash = await life.grab("Deleted By Hand")
        await life.turn()
        await life.client("torrents_delete", delete_files=True, torrent_hashes=infohash)
        await life.until(lambda: life.block["torrents"]["total"] == 5)
        await life.pass_time(4, 30.0)
        assert life.writes() == []
        assert life.blocklist() == []
        assert life.block["torrents"] == {"total": 5, "owned": 5, "stalled": 5}
