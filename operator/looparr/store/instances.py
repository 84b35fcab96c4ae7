"""Which instances the store remembers, and which of them the cluster has not had for a day: those are forgotten.

An object whose loop this process runs is forgotten when it is deleted. This is for the others: deleted while no
operator ran, or without its finalizer. One look that misses an object proves nothing (another cluster behind the
address, a restored API server): only what two complete looks a day apart have missed is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from looparr.store import queries, schema

FORGET_AFTER = 86_400.0
"""Seconds between the first look that missed an instance and the one after which it is forgotten."""


def census(
    connection: sa.Connection, present: Mapping[str, str], scope: Collection[str], now: float
) -> tuple[str, ...]:
    """Take note of who is there, and forget who has long been missed; give the forgotten instances.

    present: namespace by uid of every object of the scope. scope: namespaces that were looked at, empty is all of
    them; an instance of another or an unknown namespace is left alone. One with an intent that has not expired stays.
    """
    rows = schema.instances
    noted = {row.instance: row for row in connection.execute(sa.select(rows))}
    forgotten = []
    for instance in sorted(_remembered(connection)):
        known = noted.get(instance)
        namespace = present.get(instance) or (known.namespace if known else "")
        missed = None
        if instance not in present:
            if scope and namespace not in scope:
                continue
            since = known.missed_since if known else None
            missed = now if since is None or since > now else since
            if now - missed >= FORGET_AFTER and not _has_open_intent(connection, instance, now):
                queries.forget(connection, instance)
                forgotten.append(instance)
                continue
        _note(connection, instance, namespace, missed)
    return tuple(forgotten)


def _remembered(connection: sa.Connection) -> set[str]:
    tables = (schema.torrents, schema.strikes, schema.intents, schema.values)
    return set(connection.execute(sa.union(*(sa.select(table.c.instance) for table in tables))).scalars())


def _has_open_intent(connection: sa.Connection, instance: str, now: float) -> bool:
    intents = schema.intents
    which = (intents.c.instance == instance, ~intents.c.closed, intents.c.expires > now)
    return connection.execute(sa.select(intents.c.id).where(*which).limit(1)).first() is not None


def _note(connection: sa.Connection, instance: str, namespace: str, missed: float | None) -> None:
    new = {"namespace": namespace, "missed_since": missed}
    upsert = insert(schema.instances).values(instance=instance, **new)
    connection.execute(upsert.on_conflict_do_update(index_elements=["instance"], set_=new))
