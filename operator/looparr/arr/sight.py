"""What is seen just before and after something is sent: torrents, queue, history, searches, read anew.

The state machine of a removal (intents.py) believes its eyes only: a 200 proves nothing, a time-out neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from looparr.arr.absence import held_after_shrink
from looparr.arr.fetch import Fetcher, Observation
from looparr.arr.history import download_ids
from looparr.arr.intents import Intent, Phase, Sight
from looparr.arr.memory import Memory
from looparr.arr.plan import Case
from looparr.arr.rules import Facts
from looparr.arr.standing import offline
from looparr.arr.states import Activity, client_state
from looparr.arr.tracked import Key
from looparr.arr.views import View
from looparr.clients.qbittorrent.client import QBittorrent
from looparr.clients.qbittorrent.wire import Torrent, tracker_host
from looparr.clients.servarr_dialect import Dialect
from looparr.clients.servarr_wire import Command, Item, QueueRow

RUNNING = frozenset({"queued", "started"})
SEARCHING = frozenset({Phase.REMOVED, Phase.SEARCH})
"""Phases in which the torrent is gone for certain and only the Arr is looked at."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was read just before acting: torrents by (client, hash), and the whole queue by downloadId."""

    torrents: Mapping[tuple[str, str], Torrent]
    queue: Mapping[str, tuple[QueueRow, ...]]

    def torrent(self, key: Key) -> Torrent | None:
        """Give a torrent as the client shows it now; it may have been added again."""
        return self.torrents.get((key.client, key.hash))

    def rows(self, names: Iterable[str]) -> tuple[QueueRow, ...]:
        """Give the queue rows of a download, under whichever of its ids the Arr shows them."""
        return tuple(row for name in dict.fromkeys(names) for row in self.queue.get(name, ()))


async def look_again(observation: Observation, monotonic: Callable[[], float]) -> Observation:
    """Give the observation with every client's list read again: what shares data, or is gone, is judged on it."""
    views = {name: await _newest(view, monotonic) for name, view in observation.views.items()}
    return replace(observation, views=views)


async def _newest(view: View, monotonic: Callable[[], float]) -> View:
    asked = monotonic()
    snapshot = await view.link.mirror.refresh(max_age=0.0)
    if snapshot.at < asked:  # somebody's call that was sent before
        snapshot = await view.link.mirror.refresh(max_age=0.0)
    return replace(view, snapshot=snapshot)


async def read_fresh(fetcher: Fetcher, observation: Observation, keys: Iterable[Key]) -> Fresh:
    """Read the named torrents and the whole queue again, one call to each client and one to the Arr."""
    by_client: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        if key.client in observation.views:
            by_client[key.client].append(key.hash)
    torrents = {
        (name, torrent.hash): torrent
        for name, hashes in by_client.items()
        for torrent in await observation.views[name].link.client.info(hashes)
    }
    await fetcher.read_queue()
    return Fresh(torrents, fetcher.queue)


async def look_up(client: QBittorrent, torrent: Torrent) -> Facts:
    """Ask the client what the list does not say: privacy and tracker hosts. Without metadata nobody knows privacy."""
    activity, _ = client_state(torrent.state)
    private = None if activity is Activity.METADATA else await client.is_private(torrent.hash)
    trackers = await client.trackers(torrent.hash)
    return Facts(private, hosts_of(one.url for one in trackers if one.is_real))


def hosts_of(urls: Iterable[str]) -> tuple[str, ...]:
    """Give the host names of tracker URLs, each once."""
    return tuple(dict.fromkeys(host for url in urls if (host := tracker_host(url))))


@dataclass(frozen=True, slots=True)
class Eyes:
    """Looks at client and Arr for the open intents of one instance in one turn."""

    fetcher: Fetcher
    observation: Observation
    memory: Memory

    def in_doubt(self, intent: Intent) -> str:
        """Say why an absence proves nothing now: the client has just restarted, or is cut off. "" when it does."""
        if intent.client in self.observation.down:
            return "its client is down"
        view = self.observation.views[intent.client]
        if intent.phase in SEARCHING:
            return ""
        if held_after_shrink(self.memory, view):
            return "its client lately lost a fifth of its list at once"
        return "its client is disconnected" if offline(view.snapshot.connection_status) else ""

    async def look(self, intent: Intent, fresh: Fresh) -> Sight:
        """Look at client, queue and history with the eyes of one intent."""
        history = self.observation.history
        download = history.downloads.get(intent.download_id)
        failed = download.failed if download is not None else None
        sight = Sight(
            present=self._present(intent, fresh),
            rows=tuple(row.id for row in rows_of(intent, fresh)),
            failed=failed is not None and failed.isoformat() > intent.failed_before,
            markable=not history.is_of_another(intent.history_id, (intent.download_id, intent.hash)),
        )
        return await self._search(intent, sight, fresh) if intent.phase in SEARCHING else sight

    async def searched_before(self, items: Iterable[int]) -> dict[str, str]:
        """Note when each item was last searched, by its id as text."""
        return {str(item): _moment(await self.fetcher.arr.movie(item)) for item in items}

    def _present(self, intent: Intent, fresh: Fresh) -> bool:
        """Whether this very torrent is in the client, even re-keyed by arriving metadata."""
        torrent = fresh.torrents.get((intent.client, intent.hash))
        if torrent is not None:
            return torrent.added_on == intent.added_on
        torrents = self.observation.views[intent.client].snapshot.torrents
        return any(
            one.infohash_v1 == intent.hash and one.added_on == intent.added_on and one.hash != intent.hash
            for one in torrents.values()
        )

    async def _search(self, intent: Intent, sight: Sight, fresh: Fresh) -> Sight:
        """Find out which items still want a search, and whether somebody has searched already."""
        arr = self.fetcher.arr
        by_failure, by_interactive = self.observation.auto_redownload
        mine = {row.id for row in rows_of(intent, fresh)}  # until its next refresh the Arr shows what is gone
        queued = {item for rows in fresh.queue.values() for row in rows if row.id not in mine for item in row.item_ids}
        busy = self._grabbed_since(intent) | _being_searched(await arr.commands(), arr.dialect)
        searched: set[int] = set()
        wanted: list[int] = []
        for item in intent.items:
            found = await arr.movie(item)
            if item in busy or _moment(found) > intent.searched_before.get(str(item), ""):
                searched.add(item)
            elif found is not None and _searchable(found) and item not in queued:
                wanted.append(item)
        return replace(
            sight,
            searched=bool(searched) and not wanted,
            searchable=tuple(wanted),
            arr_searches=intent.marked and by_failure and (by_interactive or not intent.interactive),
        )

    def _grabbed_since(self, intent: Intent) -> set[int]:
        """Items of which something was grabbed after the grab that this intent removes."""
        return set(self.observation.history.grabbed_since(intent.items, intent.history_id))


def of_another(case: Case, rows: Iterable[QueueRow], observation: Observation) -> str:
    """Say why the Arr may mean the same hash in another client, or "". Its rows know better than its history."""
    torrent, grab = case.torrent, case.download.grab
    names = [row.download_client for row in rows] or [grab.client if grab else ""]
    holders = observation.holders(download_ids(torrent.hash, torrent.infohash_v1, torrent.infohash_v2))
    return observation.owners.refusal(case.key.client, names, holders, observation.down)


def rows_of(intent: Intent, fresh: Fresh) -> tuple[QueueRow, ...]:
    """Give the queue rows of an intent's download. A hybrid torrent's row bears the client's hash, its grab the v1."""
    return fresh.rows((intent.download_id, intent.hash))


def _moment(item: Item | None) -> str:
    moment = item.last_search_time if item is not None else None
    return moment.isoformat() if moment else ""


def _searchable(item: Item) -> bool:
    """Commands count as the user's own and skip the Arr's checks: monitored, released, no file or below its cutoff."""
    return item.monitored and item.is_available and (not item.has_file or item.below_cutoff)


def _being_searched(commands: Iterable[Command], dialect: Dialect) -> set[int]:
    """Items of searches that are queued or running."""
    running = (one.body for one in commands if one.status in RUNNING and one.name == dialect.search_command)
    return {int(item) for body in running if body for item in body.get(dialect.search_ids) or ()}
