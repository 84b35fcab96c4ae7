"""The store as the operator sees it: asynchronous, one connection, one thread, one writer.

A call that reached the thread is carried out to its end even when its caller is cancelled: what was sent to a client
must be on record. A write that fails because the disk is full or locked is Transient and changed nothing; the caller's
own memory may then be ahead of the store, so it loads again. Any other fault of the file is a StateError.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

import sqlalchemy as sa
import structlog

from looparr.errors import StateError, Transient
from looparr.runtime.executor import Executor
from looparr.store import instances, queries, schema
from looparr.store.rows import JSON, Account, ActionRow, Budget, Changes, Finding, IntentRow, Memory

P = ParamSpec("P")
T = TypeVar("T")

STORE_UNAVAILABLE = "StoreUnavailable"
"""Reason of the Transient error of a full or locked disk."""
PRUNE_SECONDS = 86_400.0
_LOOK_AGAIN = 0.25
_PASSING = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM}
_FORBIDDEN = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}

log = structlog.stdlib.get_logger(__name__)


class Store:
    """Durable memory of all instances. Made by `Store.open`.

    epoch: uuid made with the file; another one than last time means that the memory is another one.
    durable: False when it lives in memory and dies with the process.
    """

    def __init__(
        self,
        connection: sa.Connection,
        executor: Executor,
        *,
        epoch: str,
        path: Path | None,
        lock: int | None,
        clock: Callable[[], float],
    ) -> None:
        self.epoch = epoch
        self.path = path
        self.durable = path is not None
        self._connection = connection
        self._executor = executor
        self._lock = lock
        self._clock = clock
        self._pruned = clock()
        self._closed = False

    @classmethod
    async def open(
        cls, path: Path | None, executor: Executor, *, clock: Callable[[], float] = time.time, patience: float = 0.0
    ) -> Self:
        """Open or create the store; `executor` has one thread and nobody else uses it.

        patience: seconds to wait for another process that has it: a pod starts before its predecessor has ended.
        Raises StateError for a damaged, newer or foreign file, one in use by another process, or a folder that
        cannot be written; ValueError for an executor of several threads.
        """
        if executor.threads != 1:
            raise ValueError(f"the store wants an executor of one thread, {executor.name} has {executor.threads}")
        lock = None if path is None else await _lock(path, patience)
        connection, epoch = await executor.run(_open, path, clock(), lock)
        log.info("store opened", durable=path is not None, epoch=epoch)
        return cls(connection, executor, epoch=epoch, path=path, lock=lock, clock=clock)

    async def load(self, instance: str) -> Memory:
        """Read everything of one instance (object uid)."""
        return await self._do(queries.load, instance, self._clock())

    async def commit(self, instance: str, changes: Changes) -> None:
        """Write what one turn changed, in one transaction; durable when it returns."""
        if changes:
            await self._do(queries.commit, instance, changes)
        if (now := self._clock()) - self._pruned > PRUNE_SECONDS:
            self._pruned = now
            await self._do(queries.prune, now)

    async def put_intent(self, intent: IntentRow, budget: Budget | None = None) -> bool:
        """Write an intent before its act, in one step with the decision whether its budget allows it.

        True: it is durable, and its room is taken. Without it nothing destructive is sent.
        """
        return await self._do(queries.put_intent, intent, budget)

    async def charge(self, instance: str, action: ActionRow, budget: Budget) -> bool:
        """Write what is about to be sent, in one step with the decision whether its budget allows it.

        True: it is durable, and counts from now on.
        """
        return await self._do(queries.charge, instance, action, budget)

    async def set_intent_phase(
        self, instance: str, intent_id: str, phase: str, detail: Mapping[str, JSON] | None = None
    ) -> None:
        """Move an open intent to its next phase, `detail` laid over the stored one; durable when it returns.

        Raises StateError when the intent is not open.
        """
        await self._do(queries.set_intent_phase, instance, intent_id, phase, detail or {})

    async def account(self, endpoint: str, since: float) -> Account:
        """Read what counts for the limits of an endpoint, across all instances. since: epoch s."""
        return await self._do(queries.account, endpoint, since)

    async def find(self, text: str) -> tuple[Finding, ...]:
        """Find what is known of torrents by the beginning of a hash or a part of a name; at most 50."""
        return await self._do(queries.find, text)

    async def forget(self, instance: str) -> None:
        """Drop the memory of a deleted object. Its actions stay: the limits of its client still count them."""
        await self._do(queries.forget, instance)

    async def census(self, present: Mapping[str, str], scope: Collection[str] = ()) -> tuple[str, ...]:
        """Forget the instances that a complete look at the cluster missed, now and a day ago; give them.

        present: namespace by uid of every object of the scope. scope: the namespaces that were looked at, empty is all.
        """
        return await self._do(instances.census, present, scope, self._clock())

    async def close(self) -> None:
        """Close after everything that was asked before; a second call does nothing."""
        if not self._closed:
            self._closed = True
            await self._executor.run(_close, self._connection, self._lock)

    async def _do(self, work: Callable[Concatenate[sa.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._closed:
            raise StateError("the store is closed")

        def transaction() -> T:
            with _translated(str(self.path)), self._connection.begin():
                return work(self._connection, *args, **kwargs)

        return await asyncio.shield(asyncio.wrap_future(self._executor.submit(transaction)))


class ReadOnlyStore:
    """A look into the store's file from another process; synchronous, for the command line."""

    def __init__(self, connection: sa.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        with _translated(str(path)), connection.begin():
            if schema.read_version(connection, str(path)) == 0:
                raise StateError(f"the store {path} is empty: the operator has not used it yet")
            self.epoch = schema.read_epoch(connection, str(path))

    def find(self, text: str) -> tuple[Finding, ...]:
        """Find what is known of torrents by the beginning of a hash or a part of a name; at most 50."""
        with _translated(str(self._path)), self._connection.begin():
            return queries.find(self._connection, text)

    def close(self) -> None:
        """Close the file."""
        _close(self._connection, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_readonly(path: Path) -> ReadOnlyStore:
    """Open the store of a running (or stopped) operator for reading. Raises StateError that names the cure."""
    if not path.is_file():
        raise StateError(f"there is no store at {path}: give the path the operator was started with (--store)")
    with _translated(str(path)):
        connection = schema.connect(path, readonly=True)
    try:
        return ReadOnlyStore(connection, path)
    except BaseException:
        _close(connection, None)
        raise


def _open(path: Path | None, now: float, lock: int | None) -> tuple[sa.Connection, str]:
    connection = None
    try:
        with _translated(str(path)):
            connection = schema.connect(path)
            epoch = schema.prepare(connection, str(path))
            with connection.begin():
                queries.prune(connection, now)
    except BaseException:
        _close(connection, lock)
        raise
    return connection, epoch


def _close(connection: sa.Connection | None, lock: int | None) -> None:
    if connection is not None:
        connection.close()
        connection.engine.dispose()
    if lock is not None:
        os.close(lock)


async def _lock(path: Path, patience: float) -> int:
    """Take the lock file beside the store; the kernel frees it when the process ends, however it ends."""
    try:
        handle = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(
            f"the store {path} cannot be used ({error.strerror}): its folder must exist and be writable; "
            "mount a volume there, or give another path with --store or LOOPARR_STORE"
        ) from error
    try:
        await _hold(handle, path, patience)
    except BaseException:
        os.close(handle)
        raise
    return handle


async def _hold(handle: int, path: Path, patience: float) -> None:
    now = asyncio.get_running_loop().time
    begun = now()
    while not _try_lock(handle, path):
        if now() - begun >= patience:
            raise StateError(
                f"the store {path} is in use by another process: two operators on one store would both act; "
                "stop the other one"
            )
        log.info("waiting for the process that has the store to end", path=str(path), seconds=round(now() - begun))
        await asyncio.sleep(_LOOK_AGAIN)


def _try_lock(handle: int, path: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StateError(
            f"the store {path} cannot be locked ({error.strerror}): put it on a volume with working file locks"
        ) from error
    return True


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turn the driver's errors into ours; texts of SQL and parameters are left out."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise _judge(where, getattr(cause, "sqlite_errorcode", 0) & 0xFF, str(cause)) from error


def _judge(where: str, code: int, fault: str) -> StateError | Transient:
    """Choose the error by SQLite's primary result code."""
    if code in _PASSING:
        cure = f"the store {where} cannot be written now ({fault}): make room on its volume"
        return Transient(STORE_UNAVAILABLE, cure)
    if code in _FORBIDDEN:
        return StateError(f"the store {where} cannot be opened ({fault}): it must be a file that this user may write")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return StateError(f"the store {where} refused a row ({fault}): a defect of looparr, please report it")
    return schema.damaged(where, fault)
