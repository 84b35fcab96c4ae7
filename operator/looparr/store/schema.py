"""Tables of the store, its version, and how a file is opened, checked and brought up to date.

A file that is damaged, newer than the program, or somebody else's is refused with a sentence that names the cure; it is
never repaired or deleted here, because what is in it decides about deletions.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import msgspec
import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from looparr.errors import StateError

VERSION = 2
"""Version of the schema below. A change adds a step to MIGRATIONS and raises this by one."""

Step = Callable[[sa.Connection], None]

metadata = sa.MetaData()
_text, _whole, _real, _json = sa.String, sa.Integer, sa.Float, sa.JSON(none_as_null=False)


def _table(name: str, *columns: sa.Column[Any] | sa.Index) -> sa.Table:
    return sa.Table(name, metadata, *columns)


def _key(name: str, kind: type[sa.types.TypeEngine[Any]] = sa.String) -> sa.Column[Any]:
    return sa.Column(name, kind, primary_key=True)


def _column(name: str, kind: type[sa.types.TypeEngine[Any]] | sa.types.TypeEngine[Any]) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


version_table = _table("looparr_schema", _key("version", _whole), _column("applied", _real))
meta = _table("meta", _key("key"), _column("value", _text))
torrents = _table(
    "torrents",
    _key("instance"),
    _key("client"),
    _key("hash"),
    _key("added_on", _whole),
    _column("infohash_v1", _text),
    _column("state", _text),
    _column("since", _real),
    _column("data", _json),
)
strikes = _table(
    "strikes",
    _key("instance"),
    _key("client"),
    _key("hash"),
    _key("added_on", _whole),
    _key("rule"),
    _column("digest", _text),
    _column("bad_seconds", _real),
    _column("strikes", _whole),
    _column("last_strike_bad_seconds", _real),
    _column("since", _real),
)
intents = _table(
    "intents",
    _key("id"),
    _column("instance", _text),
    _column("client", _text),
    _column("hash", _text),
    _column("added_on", _whole),
    _column("items", _json),
    _column("action", _text),
    _column("rule", _text),
    _column("reason", _text),
    _column("phase", _text),
    _column("created", _real),
    _column("expires", _real),
    _column("detail", _json),
    _column("closed", sa.Boolean),
    sa.Index("intents_instance", "instance", "closed"),
)
_open = sa.Index("intents_open", intents.c.closed, sqlite_where=~intents.c.closed)
"""The open ones of all instances are few, and are asked for in every turn that removes."""
actions = _table(
    "actions",
    _key("id", _whole),
    _column("instance", _text),
    _column("at", _real),
    _column("endpoint", _text),
    _column("client", _text),
    _column("hash", _text),
    _column("name", _text),
    _column("items", _json),
    _column("action", _text),
    _column("rule", _text),
    _column("reason", _text),
    _column("result", _text),
    _column("cost", _whole),
    _column("detail", _json),
    sa.Index("actions_instance", "instance", "at"),
    sa.Index("actions_endpoint", "endpoint", "at"),
)
values = _table("instance_values", _key("instance"), _key("key"), _column("value", _json))
instances = _table(
    "instances",
    _key("instance"),
    _column("namespace", _text),
    sa.Column("missed_since", _real),
)


def _to_2(connection: sa.Connection) -> None:
    instances.create(connection)
    _open.create(connection)


MIGRATIONS: Mapping[int, Step] = MappingProxyType({1: _to_2})
"""From version -> what makes the next version of it."""


def connect(path: Path | None, *, readonly: bool = False) -> sa.Connection:
    """Open the one connection. path None: a database in memory that dies with it.

    Every transaction takes the write lock at its begin and is on the disk when its commit returns (synchronous=FULL):
    an intent must outlive not only `kill -9` but also a power cut, or the act behind it would be done twice.
    """
    if path is None:
        url = "sqlite://"
    else:
        mode = _readonly_mode(path) if readonly else "mode=rwc"
        url = f"sqlite:///file:{quote(str(path.absolute()))}?{mode}&uri=true"
    engine = sa.create_engine(
        url,
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": 5.0},
        json_serializer=lambda value: msgspec.json.encode(value, enc_hook=_plain).decode(),
        json_deserializer=msgspec.json.decode,
    )

    @sa.event.listens_for(engine, "connect")
    def _configure(raw: sqlite3.Connection, _record: object) -> None:
        raw.isolation_level = None  # transactions are begun below, not guessed by the driver
        if not readonly:
            raw.execute("PRAGMA journal_mode=WAL")
            raw.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine.connect()


def _readonly_mode(path: Path) -> str:
    """Say how a reader opens the file: without a log beside it nobody writes, and the reader must not make one."""
    return "mode=ro" if path.with_name(path.name + "-wal").exists() else "mode=ro&immutable=1"


def prepare(connection: sa.Connection, where: str, *, migrations: Mapping[int, Step] = MIGRATIONS) -> str:
    """Check the file, create or migrate the schema, and give its epoch. Raises StateError."""
    with connection.begin():
        check(connection, where)
        version = read_version(connection, where)
        if version == 0:
            metadata.create_all(connection)
            _set(connection, "epoch", str(uuid.uuid4()))
            _set_version(connection, VERSION)
        for step in range(version or VERSION, VERSION):
            migrations[step](connection)
            _set_version(connection, step + 1)
        return read_epoch(connection, where)


def check(connection: sa.Connection, where: str) -> None:
    """Refuse a damaged file. Reads the whole file once: about 10 ms for 10 MB."""
    verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if verdict != "ok":
        raise damaged(where, str(verdict))


def read_version(connection: sa.Connection, where: str) -> int:
    """Give the file's version; 0 for a file without tables. Raises StateError for a foreign or newer one."""
    known = set(sa.inspect(connection).get_table_names())
    if not known:
        return 0
    if version_table.name not in known:
        raise StateError(
            f"the store {where} belongs to another program: give a path of its own with --store or LOOPARR_STORE"
        )
    version = int(connection.execute(sa.select(sa.func.max(version_table.c.version))).scalar() or 0)
    if version > VERSION:
        raise StateError(
            f"the store {where} has schema {version}, this program knows only up to {VERSION}: run the newer version "
            f"of looparr again, or move the file away to start with an empty store (removals then rest for an hour)"
        )
    return version


def read_epoch(connection: sa.Connection, where: str) -> str:
    """Give the uuid that was made with the file: another one means another memory."""
    epoch = connection.execute(sa.select(meta.c.value).where(meta.c.key == "epoch")).scalar_one_or_none()
    if epoch is None:
        raise damaged(where, "its epoch is missing")
    return str(epoch)


def damaged(where: str, fault: str) -> StateError:
    """Make the error of a damaged file."""
    return StateError(
        f"the store {where} is damaged ({fault}): restore it from a backup, or move it away with its -wal and -shm "
        f"files to start with an empty store (strikes start at 0 and removals rest for an hour)"
    )


def _plain(value: object) -> object:
    """Give JSON's own shape of a read-only mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"JSON has no {type(value).__name__}")


def _set(connection: sa.Connection, key: str, value: str) -> None:
    connection.execute(meta.insert().values(key=key, value=value))


def _set_version(connection: sa.Connection, version: int) -> None:
    connection.execute(version_table.insert().values(version=version, applied=time.time()))
