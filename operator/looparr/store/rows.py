"""The rows of the store as plain values: what is put in is what comes out.

Times are seconds since the epoch, clocks of strikes are seconds of observed bad time, `JSON` is anything that JSON can
say. A torrent is known by (client, hash, added_on): one that was added again starts clean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


class TorrentKey(NamedTuple):
    """Identity of a torrent within one instance."""

    client: str
    hash: str
    added_on: int


class StrikeKey(NamedTuple):
    """Identity of one rule's clock on one torrent."""

    client: str
    hash: str
    added_on: int
    rule: str


@dataclass(frozen=True, slots=True)
class TorrentRow:
    """What is remembered of one torrent. data["name"], where it is there, is what `find` looks for."""

    client: str
    hash: str
    added_on: int
    infohash_v1: str
    state: str
    since: float
    data: Mapping[str, JSON] = field(default_factory=dict)

    @property
    def key(self) -> TorrentKey:
        """Its identity."""
        return TorrentKey(self.client, self.hash, self.added_on)


@dataclass(frozen=True, slots=True)
class StrikeRow:
    """One rule's clock and strikes on one torrent; a row with another digest of `when` replaces the old one."""

    client: str
    hash: str
    added_on: int
    rule: str
    digest: str
    bad_seconds: float
    strikes: int
    last_strike_bad_seconds: float
    since: float

    @property
    def key(self) -> StrikeKey:
        """Its identity."""
        return StrikeKey(self.client, self.hash, self.added_on, self.rule)


@dataclass(frozen=True, slots=True)
class IntentRow:
    """Something destructive that is about to be done or is being verified; id is a uuid made by the planner.

    detail["endpoint"], where it is there, is the client's address, which limits are counted for.
    """

    id: str
    instance: str
    client: str
    hash: str
    added_on: int
    items: tuple[int, ...]
    action: str
    rule: str
    reason: str
    phase: str
    created: float
    expires: float
    detail: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActionRow:
    """Something that was sent, with its result. endpoint: the address that limits are counted for.

    id is given by the store in the order of writing; 0 until then.
    """

    at: float
    endpoint: str
    client: str
    hash: str
    name: str
    items: tuple[int, ...]
    action: str
    rule: str
    reason: str
    result: str
    cost: int = 1
    detail: Mapping[str, JSON] = field(default_factory=dict)
    id: int = 0


@dataclass(frozen=True, slots=True)
class Account:
    """What counts for the limits of one endpoint, of all instances, oldest first.

    actions: those since a moment that cost something. intents: the open ones.
    """

    actions: tuple[ActionRow, ...] = ()
    intents: tuple[IntentRow, ...] = ()


class Budget(Protocol):
    """What may still be spent at an endpoint."""

    @property
    def endpoint(self) -> str:
        """The address that it is for."""
        ...

    @property
    def since(self) -> float:
        """Epoch seconds of the oldest action that may matter."""
        ...

    def allows(self, account: Account) -> bool:
        """Decide from what the endpoint was charged. Pure: it is asked within a transaction, on the store's thread."""
        ...


@dataclass(frozen=True, slots=True)
class Memory:
    """Everything of one instance: its open intents, and its actions of the last 8 days, oldest first."""

    torrents: tuple[TorrentRow, ...] = ()
    strikes: tuple[StrikeRow, ...] = ()
    intents: tuple[IntentRow, ...] = ()
    actions: tuple[ActionRow, ...] = ()
    values: Mapping[str, JSON] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Changes:
    """What one turn changed; all of it is written or nothing. Dropped first, then put.

    Keys are a TorrentKey and a StrikeKey or tuples of that shape. Dropping a torrent also drops its strikes.
    A value of None in put_values drops the key.
    """

    put_torrents: Sequence[TorrentRow] = ()
    drop_torrents: Sequence[tuple[str, str, int]] = ()
    put_strikes: Sequence[StrikeRow] = ()
    drop_strikes: Sequence[tuple[str, str, int, str]] = ()
    close_intents: Sequence[str] = ()
    add_actions: Sequence[ActionRow] = ()
    put_values: Mapping[str, JSON] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Tell whether there is anything to write."""
        return bool(
            self.put_torrents
            or self.drop_torrents
            or self.put_strikes
            or self.drop_strikes
            or self.close_intents
            or self.add_actions
            or self.put_values
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """All that the store knows of one torrent in one instance (uid), for `looparr why`. Intents may be closed."""

    instance: str
    client: str
    hash: str
    name: str = ""
    torrents: tuple[TorrentRow, ...] = ()
    strikes: tuple[StrikeRow, ...] = ()
    intents: tuple[IntentRow, ...] = ()
    actions: tuple[ActionRow, ...] = ()
