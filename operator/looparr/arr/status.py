"""The status fields of an ArrInstance beside the common ones; they sit at the top level of `.status`.

The API server checks only their types: a status that it refused would take counters and backoff with it. Looparr cuts
lists to 10 entries and texts to 300 characters before it writes.
"""

from __future__ import annotations

from pydantic import ConfigDict

from looparr.api.model import Model, Time


class _Status(Model):
    """A part of the status; what cannot be read is left to the next write."""

    model_config = ConfigDict(extra="ignore")


class Totals(_Status):
    """What was ever done for this object."""

    imported: int = 0
    """Downloads that the Arr imported."""
    blocklisted: int = 0
    """Releases that were removed and blocklisted."""
    searched: int = 0
    """Searches that were started, one per item."""
    deleted: int = 0
    """Torrents removed after they had seeded enough."""
    held_back: int = 0
    """Acts that had to wait for a limit, a brake, the warm-up or hit-and-run. Raise spec.limits if it keeps growing."""


class Attention(_Status):
    """One torrent in trouble."""

    name: str = ""
    """Name of the torrent in the download client."""
    hash: str = ""
    """Info hash by which the download client knows it."""
    state: str = ""
    """State in Looparr's words, such as Stalled, Held or Missing."""
    since: Time | None = None
    """Since when it is in this state."""
    strikes: int | None = None
    """Strikes so far of the rule that is nearest to acting."""
    rule: str | None = None
    """That rule's name."""
    reason: str | None = None
    """Why nothing or only this much was done, such as WarmUp, Private, Limits, HitAndRun, LoopGuard."""
    next_action: str | None = None
    """What happens next if nothing changes, and roughly when."""


class Action(_Status):
    """One thing that was done, or would have been done in mode Observe."""

    time: Time | None = None
    """When its result was known."""
    action: str = ""
    """What it was: Replace, Search, Import, Delete, Report."""
    name: str = ""
    """Name of the torrent."""
    rule: str | None = None
    """The rule or seeding goal that asked for it."""
    reason: str | None = None
    """Why, in one line."""
    result: str = ""
    """How it went, such as Done, Verified, HeldBack, Failed, Observed."""


class Versions(_Status):
    """What answers at the other end, and which built-in rules are in force."""

    arr: str | None = None
    """Version of the Arr."""
    qbittorrent: str | None = None
    """Version of qBittorrent, of the first client when there are several."""
    web_api: str | None = None
    """Version of qBittorrent's Web API."""
    rules: str | None = None
    """Version of the built-in Safe rules; absent with defaultRules: Exclude."""


class ArrStatus(_Status):
    """The fields of an ArrInstance's own. Counts are of the last turn, totals of the object's whole life."""

    torrents: dict[str, int] | None = None
    """Number of torrents: total, owned, and one count per state, such as stalled or seeding."""
    totals: Totals | None = None
    """What was ever done for this object."""
    attention_count: int | None = None
    """Number of torrents in trouble; the TROUBLE column."""
    attention: tuple[Attention, ...] | None = None
    """The torrents in most trouble, at most 10."""
    last_actions: tuple[Action, ...] | None = None
    """The last things that were done, newest first, at most 10."""
    versions: Versions | None = None
    """What answers at the other end."""
    connectivity: str | None = None
    """Whether clocks run: Connected, or the reason why they are frozen."""
    warmup_until: Time | None = None
    """Until then nothing is changed, only reported. Shorten it with spec.warmup."""
    store_epoch: str | None = None
    """Which store this was written from, and its count of writes; tells a lost or restored store from the right one."""
