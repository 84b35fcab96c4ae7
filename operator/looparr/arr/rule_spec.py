"""The spec of one rule of an ArrInstance: which torrents it means, when they count as bad, and what is then done.

As written by the user; `looparr.arr.rules` makes it effective.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from looparr.api.durations import Duration, LongDuration
from looparr.api.model import Model
from looparr.api.quantities import Quantity
from looparr.api.refs import Category, ItemName, Words
from looparr.api.schema import Cel


class Condition(StrEnum):
    """What can be wrong with a torrent."""

    STALLED = "Stalled"
    METADATA_STUCK = "MetadataStuck"
    ETA_EXCEEDED = "EtaExceeded"


class Action(StrEnum):
    """What a ripe rule does."""

    REPLACE = "Replace"
    REPORT = "Report"


class Privacy(StrEnum):
    """Which torrents a rule means. A torrent whose privacy is unknown counts as private."""

    PUBLIC = "Public"
    PRIVATE = "Private"
    ANY = "Any"


class GrabbedBy(StrEnum):
    """Whose choice the release was."""

    AUTOMATIC = "Automatic"
    ANY = "Any"


class ProgressRange(Model):
    """A range of progress in percent: min is in it, max is not."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel("has(self.min) || has(self.max)", "set min, max or both"),
        Cel("!has(self.min) || !has(self.max) || self.min < self.max", "min must be less than max"),
    )

    min: int | None = Field(default=None, ge=0, le=100)
    """Torrents with at least this progress, percent. Default 0."""
    max: int | None = Field(default=None, ge=0, le=100)
    """Torrents with less than this progress, percent. Default: no upper end."""


class SizeRange(Model):
    """A range of sizes in bytes, such as 700M or 50Gi: min is in it, max is not."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel("has(self.min) || has(self.max)", "set min, max or both"),
        Cel(
            "!has(self.min) || !has(self.max) || !isQuantity(self.min) || !isQuantity(self.max) || "
            "quantity(self.min).isLessThan(quantity(self.max))",
            "min must be less than max",
        ),
    )

    min: Quantity | None = None
    """Torrents of at least this size. Default: any."""
    max: Quantity | None = None
    """Torrents smaller than this. Default: any."""


class When(Model):
    """Which torrents a rule means and since when they count as bad; all parts that are set must hold."""

    for_: LongDuration | None = Field(default=None, alias="for")
    """Bad time until the first strike; only time that was really observed counts. Default 15m."""
    min_age: Duration | None = None
    """Torrents younger than this are left alone. Default: ruleDefaults.minAge, else any age."""
    progress_percent: ProgressRange | None = None
    """Only torrents whose progress lies in this range."""
    size: SizeRange | None = None
    """Only torrents whose size lies in this range."""
    privacy: Privacy | None = None
    """Public, Private or Any. Unknown counts as private. Default Public; else acknowledgeHitAndRun is needed to act."""
    trackers: Annotated[tuple[Words, ...], Field(min_length=1, max_length=32)] | None = None
    """Only torrents of these tracker hosts; subdomains are meant, too. Default: any."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=32)] | None = None
    """Only torrents in these categories. Default: all that are looked at."""
    tags: Annotated[tuple[Words, ...], Field(min_length=1, max_length=32)] | None = None
    """Only torrents that bear at least one of these tags. Default: any."""
    grabbed_by: GrabbedBy | None = None
    """Automatic: what a person chose by interactive search is only reported. Any: that too. Default Automatic."""
    include_forced: bool | None = None
    """true also means torrents that were started by force. Default false: they are somebody's wish."""
    max_eta: LongDuration | None = None
    """Longest remaining time that is not yet bad; needed with EtaExceeded. An unknown one never matches."""


class Rule(Model):
    """One rule: a condition that a torrent has to show for a while, and what is then done."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "(self.condition == 'EtaExceeded') == (has(self.when) && has(self.when.maxEta))",
            "condition EtaExceeded needs when.maxEta, and no other condition has it",
        ),
    )

    name: ItemName
    """Name of the rule, unique; shown with every strike and act. A built-in rule's name overrides that rule."""
    condition: Condition
    """Stalled (no peer sends), MetadataStuck (still no metadata), EtaExceeded (remaining time over when.maxEta)."""
    when: When | None = None
    """Which torrents are meant and since when they count as bad."""
    strikes: int | None = Field(default=None, ge=1, le=100)
    """Strikes until the rule acts. Default: ruleDefaults.strikes, else 3."""
    strike_every: LongDuration | None = None
    """Further bad time per further strike. Default: ruleDefaults.strikeEvery, else when.for."""
    action: Action
    """Replace (remove, blocklist, search again) or Report (only say so in status)."""
