"""What is read and written, synchronously, on one connection: rows in, rows out, no thread and no event loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from looparr.errors import StateError
from looparr.store import schema
from looparr.store.rows import (
    JSON,
    Account,
    ActionRow,
    Budget,
    Changes,
    Finding,
    IntentRow,
    Memory,
    StrikeRow,
    TorrentRow,
)

RECENT_SECONDS = 8 * 86_400.0
"""How far back `load` gives actions: longer than the longest sliding window (7 days)."""
KEPT_SECONDS = 90 * 86_400.0
"""How long actions and closed intents are kept for `looparr why`."""
FOUND_LIMIT = 50
"""Torrents that `find` gives at most."""

R = TypeVar("R", TorrentRow, StrikeRow, IntentRow, ActionRow)


def load(connection: sa.Connection, instance: str, now: float) -> Memory:
    """Read everything of one instance."""
    torrents, strikes, intents, values = schema.torrents, schema.strikes, schema.intents, schema.values
    actions = schema.actions
    recent = (actions.c.instance == instance, actions.c.at >= now - RECENT_SECONDS)
    return Memory(
        torrents=_rows(connection, TorrentRow, torrents, torrents.c.instance == instance),
        strikes=_rows(connection, StrikeRow, strikes, strikes.c.instance == instance),
        intents=_rows(connection, IntentRow, intents, intents.c.instance == instance, ~intents.c.closed),
        actions=_rows(connection, ActionRow, actions, *recent),
        values=dict(
            connection.execute(sa.select(values.c.key, values.c.value).where(values.c.instance == instance)).all()
        ),
    )


def commit(connection: sa.Connection, instance: str, changes: Changes) -> None:
    """Write the changes of one turn (inside the caller's transaction)."""
    _drop(connection, schema.torrents, instance, changes.drop_torrents)
    _drop(connection, schema.strikes, instance, changes.drop_torrents)
    _drop(connection, schema.strikes, instance, changes.drop_strikes)
    _put(connection, schema.torrents, instance, changes.put_torrents)
    _put(connection, schema.strikes, instance, changes.put_strikes)
    if changes.close_intents:
        intents = schema.intents
        mine = (intents.c.instance == instance, intents.c.id == sa.bindparam("which"))
        closing = intents.update().where(*mine).values(closed=True)
        connection.execute(closing, [{"which": intent} for intent in changes.close_intents])
    _add_actions(connection, instance, changes.add_actions)
    _put_values(connection, instance, changes.put_values)


def put_intent(connection: sa.Connection, intent: IntentRow, budget: Budget | None) -> bool:
    """Write an open intent if the budget allows it; the same id again is an error of the caller."""
    if budget is not None and not _allows(connection, budget):
        return False
    connection.execute(schema.intents.insert().values(**_columns(intent.instance, intent), closed=False))
    return True


def charge(connection: sa.Connection, instance: str, action: ActionRow, budget: Budget) -> bool:
    """Write an action if the budget allows it."""
    if not _allows(connection, budget):
        return False
    _add_actions(connection, instance, [action])
    return True


def account(connection: sa.Connection, endpoint: str, since: float) -> Account:
    """Read what counts for the limits of an endpoint."""
    actions, intents = schema.actions, schema.intents
    charged = (actions.c.endpoint == endpoint, actions.c.at >= since, actions.c.cost > 0)
    begun = (~intents.c.closed, intents.c.detail["endpoint"].as_string() == endpoint)
    return Account(
        actions=_rows(connection, ActionRow, actions, *charged),
        intents=_rows(connection, IntentRow, intents, *begun),
    )


def set_intent_phase(
    connection: sa.Connection, instance: str, intent_id: str, phase: str, detail: Mapping[str, JSON]
) -> None:
    """Move an open intent on; `detail` is laid over what is stored. Raises StateError when there is no such intent."""
    intents = schema.intents
    which = (intents.c.instance == instance, intents.c.id == intent_id, ~intents.c.closed)
    stored = connection.execute(sa.select(intents.c.detail).where(*which)).scalar_one_or_none()
    if stored is None:
        raise StateError(f"intent {intent_id} is not open in the store: the memory of the process is wrong, restart it")
    connection.execute(intents.update().where(*which).values(phase=phase, detail={**stored, **detail}))


def forget(connection: sa.Connection, instance: str) -> None:
    """Drop the memory of a deleted object; its actions stay, because limits of its client still count them."""
    for table in (schema.torrents, schema.strikes, schema.intents, schema.values, schema.instances):
        connection.execute(table.delete().where(table.c.instance == instance))


def prune(connection: sa.Connection, now: float) -> None:
    """Drop actions and closed intents that nobody asks for any more."""
    actions, intents = schema.actions, schema.intents
    connection.execute(actions.delete().where(actions.c.at < now - KEPT_SECONDS))
    connection.execute(intents.delete().where(intents.c.closed, intents.c.created < now - KEPT_SECONDS))


def find(connection: sa.Connection, text: str) -> tuple[Finding, ...]:
    """Find torrents by the beginning of a hash or a part of a name, in any case; newest action first."""
    torrents, actions = schema.torrents, schema.actions
    text = text.strip()
    if not text:
        return ()
    name = torrents.c.data["name"].as_string()
    by_torrent = sa.select(torrents.c.instance, torrents.c.client, torrents.c.hash, name.label("name")).where(
        _starts(torrents.c.hash, text) | _starts(torrents.c.infohash_v1, text) | name.icontains(text, autoescape=True)
    )
    by_action = (
        sa.select(actions.c.instance, actions.c.client, actions.c.hash, actions.c.name)
        .where(_starts(actions.c.hash, text) | actions.c.name.icontains(text, autoescape=True))
        .order_by(actions.c.id.desc())
    )
    intents = schema.intents
    by_intent = sa.select(intents.c.instance, intents.c.client, intents.c.hash, sa.literal("").label("name")).where(
        _starts(intents.c.hash, text)
    )
    names: dict[tuple[str, str, str], str] = defaultdict(str)
    for query in (by_action, by_torrent, by_intent):
        for instance, client, hash_, found in connection.execute(query):
            names[instance, client, hash_] = names[instance, client, hash_] or found or ""
    return tuple(_finding(connection, *key, name) for key, name in list(names.items())[:FOUND_LIMIT])


def _allows(connection: sa.Connection, budget: Budget) -> bool:
    return budget.allows(account(connection, budget.endpoint, budget.since))


def _finding(connection: sa.Connection, instance: str, client: str, hash_: str, name: str) -> Finding:
    def rows(row: type[R], table: sa.Table) -> tuple[R, ...]:
        return _rows(
            connection, row, table, table.c.instance == instance, table.c.client == client, table.c.hash == hash_
        )

    return Finding(
        instance,
        client,
        hash_,
        name,
        torrents=rows(TorrentRow, schema.torrents),
        strikes=rows(StrikeRow, schema.strikes),
        intents=rows(IntentRow, schema.intents),
        actions=rows(ActionRow, schema.actions),
    )


def _starts(column: sa.Column[Any], text: str) -> sa.ColumnElement[bool]:
    return column.istartswith(text, autoescape=True)


def _rows(connection: sa.Connection, row: type[R], table: sa.Table, *which: sa.ColumnElement[bool]) -> tuple[R, ...]:
    names = [field.name for field in fields(row)]
    query = sa.select(*(table.c[name] for name in names)).where(*which).order_by(*_order(table))
    found = connection.execute(query)
    make: Callable[..., R] = row
    if "items" not in names:
        return tuple(make(*values) for values in found)
    place = names.index("items")
    return tuple(make(*values[:place], tuple(values[place]), *values[place + 1 :]) for values in found)


def _columns(instance: str, row: TorrentRow | StrikeRow | IntentRow | ActionRow) -> dict[str, object]:
    return {"instance": instance} | {field.name: getattr(row, field.name) for field in fields(row)}


def _order(table: sa.Table) -> Iterable[sa.Column[Any]]:
    return (table.c.created, table.c.id) if table is schema.intents else table.primary_key.columns


def _add_actions(connection: sa.Connection, instance: str, actions: Sequence[ActionRow]) -> None:
    if not actions:
        return
    new = [_columns(instance, action) for action in actions]
    for row in new:
        del row["id"]
    connection.execute(schema.actions.insert(), new)


def _put(connection: sa.Connection, table: sa.Table, instance: str, rows: Sequence[TorrentRow | StrikeRow]) -> None:
    if not rows:
        return
    upsert = insert(table)
    changed = {column.name: upsert.excluded[column.name] for column in table.columns if not column.primary_key}
    upsert = upsert.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=changed)
    connection.execute(upsert, [_columns(instance, row) for row in rows])


def _drop(connection: sa.Connection, table: sa.Table, instance: str, keys: Sequence[tuple[object, ...]]) -> None:
    """Delete by the leading columns of the primary key after `instance`."""
    if not keys:
        return
    names = [column.name for column in table.primary_key.columns][1 : 1 + len(keys[0])]
    which = [table.c[name] == sa.bindparam(f"the_{name}") for name in names]
    connection.execute(
        table.delete().where(table.c.instance == instance, *which),
        [{f"the_{name}": part for name, part in zip(names, key, strict=True)} for key in keys],
    )


def _put_values(connection: sa.Connection, instance: str, new: Mapping[str, JSON]) -> None:
    if not new:
        return
    values = schema.values
    gone = [{"the_key": key} for key, value in new.items() if value is None]
    if gone:
        connection.execute(
            values.delete().where(values.c.instance == instance, values.c.key == sa.bindparam("the_key")), gone
        )
    kept = [{"instance": instance, "key": key, "value": value} for key, value in new.items() if value is not None]
    if kept:
        upsert = insert(values)
        upsert = upsert.on_conflict_do_update(
            index_elements=list(values.primary_key.columns), set_={"value": upsert.excluded.value}
        )
        connection.execute(upsert, cast("list[dict[str, Any]]", kept))
