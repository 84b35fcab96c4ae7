"""Torrents that left the client: who is gone, and when an absence proves nothing.

A client that has just restarted shows its list bit by bit, and behind a changed URL may be another client altogether;
so when more than a fifth of what was known is missing at once, nobody is given up and nothing is removed for a while.
"""

from __future__ import annotations

from collections.abc import Collection

from looparr.arr.fetch import Observation
from looparr.arr.history import download_ids
from looparr.arr.memory import Memory
from looparr.arr.states import State
from looparr.arr.views import View
from looparr.clients.qbittorrent.mirror import SHRINK_SHARE

SHRUNK_HOLD = 300.0
GONE_AFTER = 2
"""Looks in a row without a torrent before it counts as gone."""


def held_after_shrink(memory: Memory, view: View) -> bool:
    """Whether the client lately lost more than a fifth of its list at once, or of what we knew before we started."""
    moments = (view.snapshot.shrunk_at, memory.shrunk_at.get(view.link.name))
    return any(moment is not None and view.snapshot.at - moment < SHRUNK_HOLD for moment in moments)


def note_absent(memory: Memory, view: View, now: float, before: float, *, everything: bool) -> None:
    """Note what left the client. Gone for two looks means gone by somebody else's hand, unless a removal is open.

    before: reading of the client's observation clock at the turn before. everything: nothing was seen of this client
    yet by this process, so all that is known is compared.
    """
    name, torrents = view.link.name, view.snapshot.torrents
    everything = everything or view.link.cursor is None
    left = [hash_ for client, hash_ in memory.current if client == name] if everything else view.removed
    for hash_ in left:
        key = memory.current.get((name, hash_))
        if key is not None and (hash_ not in torrents or torrents[hash_].added_on != key.added_on):
            memory.miss(key, before)
    lost = sum(1 for key in memory.absent if key.client == name and key not in memory.intents)
    if everything and lost > SHRINK_SHARE * len(left):
        memory.shrunk_at[name] = view.snapshot.at
    if not held_after_shrink(memory, view):
        _give_up(memory, view, now)


def leave_clients(memory: Memory, clients: Collection[str], now: float) -> None:
    """Give up the torrents of clients that are not in the spec any more: nobody looks at them, so none counts."""
    for (client, _), key in list(memory.current.items()):
        if client not in clients:
            memory.leave(memory.tracked[key], State.GONE_BY_OTHER, now)


def _give_up(memory: Memory, view: View, now: float) -> None:
    for key in [one for one in memory.absent if one.client == view.link.name]:
        one, there = memory.tracked.get(key), view.snapshot.torrents.get(key.hash)
        if one is None or one.gone_at or (there is not None and there.added_on == key.added_on):
            memory.absent.discard(key)
            continue
        one.absent += 1
        if one.absent >= GONE_AFTER and key not in memory.intents:
            memory.leave(one, State.GONE_BY_OTHER, now)


def forget_history(memory: Memory, observation: Observation, now: float) -> None:
    """Let go of old history, once an hour, except what anybody may still ask for.

    That is all a client shows, all we remember (a client that has just restarted shows less than it has), and all that
    a removal under way was begun for; and everything while a client is down, for nobody knows what it has. now: epoch
    seconds.
    """
    history = observation.history
    if observation.down or not history.sweep_is_due(now):
        return
    shown = (one for view in observation.views.values() for one in view.snapshot.torrents.values())
    kept = {name for one in shown for name in download_ids(one.hash, one.infohash_v1, one.infohash_v2)}
    kept |= {name for one in memory.tracked.values() for name in download_ids(one.key.hash, one.infohash_v1, "")}
    kept |= {intent.download_id for intent in memory.intents.values()}
    history.sweep(kept, now)
