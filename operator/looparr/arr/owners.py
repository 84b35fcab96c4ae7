"""Which download client of the Arr is which of ours: one hash may be in several clients, and the Arr means one of them.

Found by host and port, which may be written in two ways; so a client of the Arr's that is none of ours by address may
still be any of ours that nobody else is. What cannot be told apart is left alone. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from looparr.arr.spec import DownloadClient
from looparr.clients.servarr_wire import DownloadClient as Theirs

QBITTORRENT = "qbittorrent"
PORT = 8080
"""What a Servarr fills in for a qBittorrent."""
_SCHEMES = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Owners:
    """candidates: by the Arr's name of a client, which of ours it may be; none for another kind of client."""

    candidates: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def may_mean(self, theirs: str, client: str) -> bool:
        """Whether the Arr's client of that name may be our `client`. A name it does not have (any more) may be any."""
        known = self.candidates.get(theirs)
        return known is None or client in known

    def refusal(
        self, client: str, theirs: Collection[str], holders: Collection[str], down: Collection[str] = ()
    ) -> str:
        """Say why a torrent in our `client` may not be the Arr's, or "".

        theirs: what the Arr calls the client, from grab and queue rows. holders: ours that have a torrent of that hash.
        down: ours that cannot be asked what they have.
        """
        if others := sorted(set(holders) - {client}):
            return f"OtherClient: {', '.join(others)} holds the same torrent, and only one of them is the Arr's"
        if strange := [name for name in theirs if not self.may_mean(name, client)]:
            return f"OtherClient: the Arr handed it to its client {strange[0]!r}, which is not {client}"
        if unseen := [ours for ours in down if any(self.may_mean(name, ours) for name in theirs)]:
            return f"OtherClient: the Arr may mean one in {', '.join(unseen)}, which is down"
        return ""


def pair(theirs: Iterable[Theirs], ours: Iterable[DownloadClient]) -> Owners:
    """Find out which of our clients each of the Arr's may be."""
    addresses = {one.name: _address(one) for one in ours}
    qbittorrents = [one for one in theirs if one.implementation.casefold() == QBITTORRENT]
    found = {
        one.name: frozenset(
            name for name, address in addresses.items() if address == (_folded(one.host), one.port or PORT)
        )
        for one in qbittorrents
    }
    rest = frozenset(addresses) - frozenset(name for names in found.values() for name in names)
    others = {one.name: frozenset[str]() for one in theirs if one.name not in found}
    return Owners({**others, **{name: names or rest for name, names in found.items()}})


def _address(client: DownloadClient) -> tuple[str, int]:
    url = urlsplit(client.qbittorrent.url if client.qbittorrent else "")
    return _folded(url.hostname or ""), url.port or _SCHEMES.get(url.scheme, PORT)


def _folded(host: str) -> str:
    return host.casefold().rstrip(".").strip("[]")
