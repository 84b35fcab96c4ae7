"""Durable memory beyond `.status`: torrents, strikes, intents, the log of actions, and what limits are counted from.

A status is for people and is small; here stands what must outlive the process, above all each intent before its act.
Only this room knows SQL. `Store` is what the operator uses, `open_readonly` is for the command line.
"""

from looparr.store.rows import (
    Account,
    ActionRow,
    Budget,
    Changes,
    Finding,
    IntentRow,
    Memory,
    StrikeKey,
    StrikeRow,
    TorrentKey,
    TorrentRow,
)
from looparr.store.store import ReadOnlyStore, Store, open_readonly

__all__ = [
    "Account",
    "ActionRow",
    "Budget",
    "Changes",
    "Finding",
    "IntentRow",
    "Memory",
    "ReadOnlyStore",
    "Store",
    "StrikeKey",
    "StrikeRow",
    "TorrentKey",
    "TorrentRow",
    "open_readonly",
]
