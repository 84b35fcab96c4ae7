"""Short ways to say what a client, an Arr and a user say, for the tables of the pure ArrInstance modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from looparr.arr.health import Finding
from looparr.arr.history import Download, Grab, Moment
from looparr.arr.links import ClientLink
from looparr.arr.plan import Case
from looparr.arr.rules import Facts, Rule, effective_rules
from looparr.arr.spec import ArrSpec
from looparr.arr.states import State
from looparr.arr.tracked import Key
from looparr.arr.views import View
from looparr.clients.egress import EgressPolicy
from looparr.clients.http import Endpoint
from looparr.clients.qbittorrent.client import QBittorrent
from looparr.clients.qbittorrent.mirror import Cursor, Mirror, MirrorKey, Snapshot
from looparr.clients.qbittorrent.wire import Torrent
from looparr.clients.servarr_wire import HistoryRecord

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOW = T0.timestamp()
HASH = "a" * 40
PUBLIC = Facts(private=False, hosts=("tracker.example.org",))
PRIVATE = Facts(private=True, hosts=("private.example.org",))
UNKNOWN = Facts(private=None, hosts=())


def after(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def spec(**fields: Any) -> ArrSpec:
    """An ArrInstance's spec as a user writes it, camelCase; without warm-up, so that only the named things hold."""
    client = {
        "name": "main",
        "type": "QBittorrent",
        "qbittorrent": {"url": "http://qbittorrent:8080", "credentialsSecretRef": {"name": "qbit"}},
    }
    needed = {"type": "Radarr", "url": "http://radarr:7878", "apiKeySecretRef": {"name": "radarr", "key": "apiKey"}}
    return ArrSpec.model_validate({**needed, "downloadClients": [client], "warmup": "0s", **fields})


def rule(**fields: Any) -> Rule:
    """The effective rule of one that a user wrote."""
    written = {"name": "mine", "condition": "Stalled", "action": "Replace", **fields}
    return effective_rules(spec(rules=[written], acknowledgeHitAndRun=True))[0]


def torrent(**fields: Any) -> Torrent:
    """A stalled torrent of 1000 MiB, a tenth done."""
    size = 1000 << 20
    told: dict[str, Any] = {
        "hash": HASH,
        "name": "A Film 2026",
        "category": "radarr",
        "state": "stalledDL",
        "progress": 0.1,
        "size": size,
        "completed": size // 10,
        "downloaded": size // 10,
        "added_on": int(NOW) - 86400,
        "save_path": "/data",
        "content_path": "/data/A Film 2026",
    }
    return Torrent(**{**told, **fields})


def seeding(**fields: Any) -> Torrent:
    """The same, complete and seeding."""
    size = 1000 << 20
    return torrent(**{"state": "stalledUP", "progress": 1.0, "completed": size, "downloaded": size, **fields})


def grab(*items: int, **fields: Any) -> Grab:
    told: dict[str, Any] = {
        "download_id": HASH,
        "history_id": 1,
        "items": frozenset(items or (1,)),
        "title": "A.Film.2026",
        "indexer": "indexer",
        "date": T0,
        "source": "rss",
    }
    return Grab(**{**told, **fields})


def download(*items: int, imported: tuple[int, ...] = (), **fields: Any) -> Download:
    """A grab of these items, and an import of those a minute later."""
    return Download(**{"grab": grab(*items), "imported": dict.fromkeys(imported, Moment(after(60), 100)), **fields})


def event(id_: int, type_: str, seconds: float = 0.0, *items: int, name: str = HASH, **data: Any) -> HistoryRecord:
    """One event of the history, so many seconds after T0."""
    return HistoryRecord(
        id=id_,
        item_ids=items or (1,),
        event_type=type_,
        download_id=name.upper(),
        date=after(seconds),
        source_title="A.Film.2026",
        data=data,
    )


def case(**fields: Any) -> Case:
    """A stalled public torrent that a ripe rule of the user asks to replace."""
    bad = fields.pop("torrent", torrent())
    told: dict[str, Any] = {
        "key": Key("main", bad.hash, bad.added_on),
        "torrent": bad,
        "facts": PUBLIC,
        "state": State.STALLED,
        "download": download(),
    }
    if "goal" not in fields:
        told["finding"] = Finding(rule(), 2700.0, 3, ripe=True)
    return Case(**{**told, **fields})


def link(name: str = "main", url: str = "http://qbittorrent:8080") -> ClientLink:
    """A connection to a client, over which nothing was sent yet."""
    return ClientLink(name, url, MirrorKey("media", url), Mirror(QBittorrent(Endpoint(url), egress=EgressPolicy())))


def view(
    torrents: Mapping[str, Torrent], of: ClientLink, *, at: float = NOW, removed: Iterable[str] = (), **server: Any
) -> View:
    """A client that shows these torrents, all of them changed. server: its server_state."""
    snapshot = Snapshot(
        torrents,
        {"connection_status": "connected", **server},
        full=False,
        shrunk=False,
        shrunk_at=None,
        at=at,
        server_date=None,
        skew_seconds=None,
    )
    return View(
        of, snapshot, Cursor(of, 1), frozenset(torrents), frozenset(removed), frozenset({"radarr"}), frozenset()
    )
