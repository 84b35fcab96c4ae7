"""The store as a file: what survives `kill -9`, what is refused, and who may look inside."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from looparr.errors import StateError, Transient
from looparr.runtime.executor import Executor
from looparr.store import Changes, IntentRow, Memory, Store, TorrentRow, open_readonly, queries, schema
from looparr.store.store import STORE_UNAVAILABLE

INTENT = IntentRow(
    "i-1", "uid", "qb", "c0ffee", 7, (1,), "Replace", "stalled", "3 strikes", "Stored", 1.0, 2.0, {"rows": [3]}
)
TORRENT = TorrentRow("qb", "c0ffee", 7, "", "Stalled", 1.0, {"name": "Nosferatu"})


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    executor = Executor("store", 1)
    store = await Store.open(path, executor)
    try:
        yield store
    finally:
        await store.close()
        assert await executor.stop(10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "looparr.db"


async def test_a_file_keeps_everything_and_its_epoch_over_a_restart(path: Path) -> None:
    async with opened(path) as store:
        assert store.durable
        epoch = store.epoch
        await store.put_intent(INTENT)
        await store.commit("uid", Changes(put_torrents=[TORRENT]))
    async with opened(path) as store:
        assert store.epoch == epoch
        assert await store.load("uid") == Memory(torrents=(TORRENT,), intents=(INTENT,))


async def test_another_file_has_another_epoch(tmp_path: Path) -> None:
    async with opened(tmp_path / "one.db") as one, opened(tmp_path / "two.db") as two:
        assert one.epoch != two.epoch


async def test_the_file_is_written_ahead_and_each_commit_waits_for_the_disk(path: Path) -> None:
    async with opened(path) as store:
        assert pragma(store, "journal_mode") == "wal"
        assert pragma(store, "synchronous") == 2


# --- kill -9 ---

VICTIM = """
import asyncio, os, signal, sqlalchemy, sys
from pathlib import Path
from looparr.runtime.executor import Executor
from looparr.store import Changes, IntentRow, Store, TorrentRow

async def main():
    store = await Store.open(Path(sys.argv[1]), Executor("store", 1))
    intent = IntentRow("i-1", "uid", "qb", "c0ffee", 7, (1,), "Replace", "stalled", "3 strikes", "Stored",
                       1.0, 2.0, {{"rows": [3]}})
    torrent = TorrentRow("qb", "c0ffee", 7, "", "Stalled", 1.0, {{"name": "Nosferatu"}})
    {work}
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def killed_after(path: Path, work: str) -> None:
    program = textwrap.dedent(VICTIM).format(work=work)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_an_intent_is_there_after_kill_9(path: Path) -> None:
    killed_after(path, "await store.put_intent(intent)")
    async with opened(path) as store:
        assert (await store.load("uid")).intents == (INTENT,)


async def test_a_phase_is_there_after_kill_9(path: Path) -> None:
    killed_after(path, "await store.put_intent(intent); await store.set_intent_phase('uid', 'i-1', 'Sent', {'at': 5})")
    async with opened(path) as store:
        (intent,) = (await store.load("uid")).intents
        assert (intent.phase, intent.detail) == ("Sent", {"rows": [3], "at": 5})


async def test_a_turn_is_there_after_kill_9(path: Path) -> None:
    killed_after(path, "await store.commit('uid', Changes(put_torrents=[torrent]))")
    async with opened(path) as store:
        assert (await store.load("uid")).torrents == (TORRENT,)


async def test_a_turn_cut_before_its_commit_leaves_nothing_of_itself_and_all_that_was_before(path: Path) -> None:
    cut = "sqlalchemy.event.listen(store._connection.engine, 'commit', lambda _: os.kill(os.getpid(), signal.SIGKILL))"
    turn = "Changes(put_torrents=[torrent], close_intents=['i-1'], put_values={'a': 1})"
    killed_after(path, f"await store.put_intent(intent); {cut}; await store.commit('uid', {turn})")
    async with opened(path) as store:
        assert await store.load("uid") == Memory(intents=(INTENT,))


def test_a_reader_sees_what_a_killed_operator_has_written(path: Path) -> None:
    killed_after(path, "await store.put_intent(intent)")
    with open_readonly(path) as reader:
        (found,) = reader.find("c0ff")
        assert found.intents == (INTENT,)


# --- refused files ---


async def refused(path: Path) -> str:
    with pytest.raises(StateError) as caught:
        async with opened(path):
            pass
    return str(caught.value)


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"these are not the rows you are looking for" * 100)
    before = path.read_bytes()
    message = asyncio.run(refused(path))
    assert "is damaged" in message
    assert "move it away" in message
    assert path.read_bytes() == before


@pytest.mark.parametrize("page", [1, 2, 5])
async def test_a_damaged_page_is_refused_with_a_cure(path: Path, page: int) -> None:
    async with opened(path) as store:
        rows = [TorrentRow("qb", f"{n:040x}", n, "", "Stalled", 1.0, {"name": "x" * 100}) for n in range(500)]
        await store.commit("uid", Changes(put_torrents=rows))
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(b"\xff" * 4096)
    message = await refused(path)
    assert "is damaged" in message
    assert "restore it from a backup" in message


async def test_a_cut_file_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    with path.open("r+b") as file:
        file.truncate(4096 * 3)
    assert "is damaged" in await refused(path)


async def test_a_store_without_its_epoch_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    sql(path, "DELETE FROM meta")
    assert "epoch is missing" in await refused(path)


async def test_a_newer_schema_is_refused_with_a_cure(path: Path) -> None:
    async with opened(path):
        pass
    sql(path, f"INSERT INTO looparr_schema VALUES ({schema.VERSION + 1}, 1.0)")
    message = await refused(path)
    assert f"has schema {schema.VERSION + 1}" in message
    assert "run the newer version" in message
    with pytest.raises(StateError, match="run the newer version"):
        open_readonly(path)


async def test_a_database_of_another_program_is_refused(path: Path) -> None:
    sql(path, "CREATE TABLE films (title TEXT)")
    message = await refused(path)
    assert "another program" in message
    assert "--store or LOOPARR_STORE" in message


async def test_a_missing_folder_is_refused_with_a_cure(tmp_path: Path) -> None:
    message = await refused(tmp_path / "nowhere" / "looparr.db")
    assert "folder must exist" in message
    assert "LOOPARR_STORE" in message


def test_a_folder_instead_of_a_file_is_refused(path: Path) -> None:
    path.mkdir()
    assert "must be a file" in asyncio.run(refused(path))


async def test_a_second_writer_is_refused_and_may_come_after_the_first(path: Path) -> None:
    async with opened(path):
        assert "in use by another process" in await refused(path)
    async with opened(path) as store:
        assert store.durable


async def test_a_patient_second_writer_has_it_as_soon_as_the_first_ends(path: Path) -> None:
    executor = Executor("store", 1)
    async with opened(path) as first:
        waiting = asyncio.create_task(Store.open(path, executor, patience=30))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert first.durable
    store = await asyncio.wait_for(waiting, 10)
    assert store.epoch == first.epoch
    await store.close()


async def test_a_full_disk_is_passing_and_changes_nothing(path: Path) -> None:
    async with opened(path) as store:
        pragma(store, f"max_page_count={pragma(store, 'page_count')}")
        rows = [TorrentRow("qb", str(n), n, "", "", 1.0, {"name": "x" * 100}) for n in range(2000)]
        with pytest.raises(Transient) as caught:
            await store.commit("uid", Changes(put_torrents=rows))
        assert caught.value.reason == STORE_UNAVAILABLE
        assert "make room" in caught.value.message
        pragma(store, "max_page_count=100000")
        assert await store.load("uid") == Memory()
        await store.commit("uid", Changes(put_torrents=rows))
        assert len((await store.load("uid")).torrents) == 2000


async def test_no_error_quotes_rows(path: Path) -> None:
    async with opened(path) as store:
        await store.put_intent(INTENT)
        with pytest.raises(StateError) as caught:
            await store.put_intent(INTENT)
        assert "3 strikes" not in str(caught.value)
        assert "INSERT" not in str(caught.value)


# --- migrations ---


def test_an_older_schema_is_brought_up_step_by_step_and_keeps_its_rows(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = schema.connect(path)
    epoch = schema.prepare(connection, "here")
    first = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", first + 2)

    def grow(connection: sa.Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE torrents ADD COLUMN size INTEGER")

    def widen(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE checkpoints (id TEXT)")

    steps = {first: grow, first + 1: widen}
    assert schema.prepare(connection, "here", migrations=steps) == epoch
    with connection.begin():
        assert schema.read_version(connection, "here") == first + 2
        assert connection.exec_driver_sql("SELECT size FROM torrents").all() == []
    assert schema.prepare(connection, "here", migrations={}) == epoch, "a second start has nothing to do"
    connection.close()
    connection.engine.dispose()


def test_a_migration_that_fails_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE checkpoints (id TEXT)")
        raise OSError("cut")

    connection = schema.connect(path)
    schema.prepare(connection, "here")
    first = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", first + 1)
    with pytest.raises(OSError, match="cut"):
        schema.prepare(connection, "here", migrations={first: half})
    with connection.begin():
        assert schema.read_version(connection, "here") == first
        assert "checkpoints" not in sa.inspect(connection).get_table_names()
    connection.close()
    connection.engine.dispose()


async def test_a_store_of_schema_1_is_brought_up_and_keeps_its_rows(path: Path) -> None:
    async with opened(path) as store:
        await store.commit("uid", Changes(put_torrents=[TORRENT]))
        epoch = store.epoch
    sql(path, "DROP TABLE instances")
    sql(path, "DROP INDEX intents_open")
    sql(path, "UPDATE looparr_schema SET version = 1")
    async with opened(path) as store:
        assert store.epoch == epoch
        assert await store.census({"uid": "media"}) == ()
        assert await store.load("uid") == Memory(torrents=(TORRENT,))
    assert sql(path, "SELECT count(*) FROM sqlite_master WHERE name = 'intents_open'") == [(1,)]


def test_what_is_open_is_found_without_a_look_at_what_is_closed(path: Path) -> None:
    """Limits ask for it in every turn that removes, and intents are kept for months."""
    connection = schema.connect(path)
    schema.prepare(connection, str(path))
    said: list[str] = []
    sa.event.listen(connection.engine, "before_cursor_execute", lambda *found: said.append(found[2]))
    with connection.begin():
        queries.account(connection, "http://client", 0.0)
    asked = next(text for text in said if "FROM intents" in text)
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {asked}", ("$.endpoint", "http://client")).all()
    connection.close()
    assert "USING INDEX intents_open" in str(plan)


# --- readers ---


async def test_a_reader_looks_into_the_store_of_a_running_operator(path: Path) -> None:
    async with opened(path) as store:
        await store.put_intent(INTENT)
        await store.commit("uid", Changes(put_torrents=[TORRENT]))
        with open_readonly(path) as reader:
            assert reader.epoch == store.epoch
            assert reader.find("nosf") == await store.find("nosf")
            await store.commit("uid", Changes(close_intents=["i-1"], drop_torrents=[TORRENT.key]))
            assert reader.find("nosf") == ()


async def test_a_reader_leaves_nothing_behind_and_cannot_write(path: Path) -> None:
    async with opened(path) as store:
        await store.commit("uid", Changes(put_torrents=[TORRENT]))
    before = names(path.parent)
    with open_readonly(path) as reader:
        assert reader.find("nosf")
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            reader._connection.exec_driver_sql("DELETE FROM torrents")
    assert names(path.parent) == before


def test_a_reader_is_told_where_there_is_no_store(path: Path) -> None:
    with pytest.raises(StateError, match="there is no store at"):
        open_readonly(path)
    path.touch()
    with pytest.raises(StateError, match="is empty"):
        open_readonly(path)
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(StateError, match="is damaged"):
        open_readonly(path)


def pragma(store: Store, text: str) -> object:
    raw = store._connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw.execute(f"PRAGMA {text}").fetchone()[0]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    with connection:
        found = connection.execute(statement).fetchall()
    connection.close()
    return found
