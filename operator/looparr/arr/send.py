"""What is sent: the few calls that change something at the Arr or in a client. The only module that makes them.

Whoever sends has made it durable first, and never believes the answer; so a call gives back only whether there is
something to be done about it at once.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from looparr.arr.fetch import Fetcher, Observation
from looparr.arr.intents import Intent
from looparr.clients.servarr import StaleQueue
from looparr.engine.types import Fenced, Turn
from looparr.errors import LoopError, Transient

LOG = logging.getLogger(__name__)
BATCH = 10
FENCE_AGE = 5.0
"""Seconds for which a look at the object counts: between it and a deed there may be many slow calls."""


class Answer(StrEnum):
    """What an answer tells."""

    TAKEN = "Taken"
    """It was accepted, which proves nothing."""
    STALE = "Stale"
    """A row was gone, so nothing was done: look again and send singly."""
    UNKNOWN = "Unknown"
    """Nobody knows what it did: look."""
    REFUSED = "Refused"
    """It was not done, and the next one would not be done either: stop for this turn (see Sender.failure)."""


@dataclass(slots=True)
class Right:
    """The right of one turn to change anything. monotonic: seconds."""

    turn: Turn
    monotonic: Callable[[], float]
    _asked: float | None = None

    async def ask(self) -> None:
        """Make sure of it before something is begun; reads the object if the last look is too old. Raises Fenced."""
        self.check()
        now = self.monotonic()
        if self._asked is None or now - self._asked > FENCE_AGE:
            await self.turn.fence()
            self._asked = now

    def check(self) -> None:
        """Look at what is known of the object already, just before a call. Raises Fenced."""
        if why := self.turn.lost():
            raise Fenced(why)


@dataclass(slots=True)
class Sender:
    """Sends for one instance in one turn. failure: why nothing more is sent in this turn.

    Each call raises Fenced when the turn has lost its right; then it was not made.
    """

    fetcher: Fetcher
    observation: Observation
    right: Right
    failure: LoopError | None = None

    async def remove(self, rows: Sequence[int], *, from_client: bool) -> Answer:
        """Remove downloads by one queue row each, blocklist them, and search nothing: that is ours to do."""
        delete = self.fetcher.arr.delete_queue
        return await self._send(
            lambda: delete(rows, remove_from_client=from_client, blocklist=True, skip_redownload=True)
        )

    async def delete(self, client: str, hashes: Sequence[str], *, delete_files: bool) -> Answer:
        """Delete torrents in a client, with their data if `delete_files`."""
        link = self.observation.views[client].link
        return await self._send(lambda: link.client.delete(hashes, delete_files=delete_files))

    async def mark_failed(self, history_id: int) -> Answer:
        """Mark a grab as failed, which blocklists it."""
        return await self._send(lambda: self.fetcher.arr.mark_failed(history_id))

    async def search(self, items: Sequence[int]) -> Answer:
        """Let the Arr search for items."""
        arr = self.fetcher.arr
        body = {arr.dialect.search_ids: list(items)}
        return await self._send(lambda: arr.command(arr.dialect.search_command, **body))

    async def refresh(self) -> None:
        """Let the Arr look at its downloads now. Harmless, so an answer that fails is simply raised: LoopError."""
        self.right.check()
        await self.fetcher.arr.command("RefreshMonitoredDownloads")

    async def _send(self, call: Callable[[], Awaitable[object]]) -> Answer:
        self.right.check()
        try:
            await call()
        except StaleQueue:
            return Answer.STALE
        except Transient as error:
            LOG.warning("the effect of a call is unknown and will be looked at, reason=%s", error.reason)
            if error.retry_after is None:
                return Answer.UNKNOWN
            self.failure = error
        except LoopError as error:
            self.failure = error
        else:
            return Answer.TAKEN
        return Answer.REFUSED


def batches(intents: Iterable[Intent]) -> list[list[Intent]]:
    """Put together what one call can do: same act, client and fate of the data, at most BATCH; some go alone."""
    alike: dict[tuple[object, ...], list[Intent]] = defaultdict(list)
    for intent in intents:
        alike[intent.act, intent.client, intent.delete_data, intent.id if intent.single else ""].append(intent)
    return [group[start : start + BATCH] for group in alike.values() for start in range(0, len(group), BATCH)]
