"""The spec of what is owed to trackers and of when a torrent has seeded enough."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from looparr.api.durations import Duration, parse_duration
from looparr.api.model import Model
from looparr.api.quantities import Ratio, parse_ratio
from looparr.api.refs import Category, ItemName, Words
from looparr.api.schema import Cel, validations


class Match(StrEnum):
    """Whether one of two aims is enough."""

    ANY = "Any"
    ALL = "All"


class HitAndRun(Model):
    """What a tracker wants from whoever downloaded: as long as it is owed, nothing deletes the torrent."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.minRatio) || has(self.minSeedTime)",
            "set minRatio, minSeedTime or both: a policy has to ask for something",
        ),
    )

    name: ItemName
    """Name of the policy; shown as the reason for what is held back."""
    trackers: Annotated[tuple[Words, ...], Field(min_length=1, max_length=32)] | None = None
    """Host names of the trackers that ask for this; subdomains are meant, too. Default: every tracker."""
    min_ratio: Ratio | None = None
    """Share of the size that has to be uploaded, as a string: "1.0"."""
    min_seed_time: Duration | None = None
    """Time to seed after completion, for example 72h."""
    buffer: Duration | None = None
    """Added to minSeedTime for safety. Default 24h."""
    match: Match = Match.ANY
    """Any: ratio or time is enough. All: both are needed. Default Any."""

    @property
    def min_ratio_value(self) -> float | None:
        """The ratio asked for, or None."""
        return None if self.min_ratio is None else parse_ratio(self.min_ratio)

    @property
    def min_seed_seconds(self) -> float | None:
        """The seeding time asked for with the buffer added, seconds, or None."""
        if self.min_seed_time is None:
            return None
        return parse_duration(self.min_seed_time) + parse_duration(self.buffer or "24h")


class SeedGoal(Model):
    """When a torrent that was imported has seeded enough; it is then removed from the download client."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel("has(self.ratio) || has(self.time)", "set ratio, time or both: a goal has to name something to reach"),
    )

    name: ItemName
    """Name of the goal; shown with every removal."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=32)] | None = None
    """Only torrents in these categories. Default: all owned ones."""
    trackers: Annotated[tuple[Words, ...], Field(min_length=1, max_length=32)] | None = None
    """Only torrents of these tracker hosts; subdomains are meant, too. Default: all."""
    ratio: Ratio | None = None
    """Share ratio to reach, as a string: "1.5"."""
    time: Duration | None = None
    """Seeding time to reach, for example 168h."""
    match: Match = Match.ANY
    """Any: ratio or time is enough. All: both are needed. Default Any."""
    delete_data: bool = False
    """true deletes the downloaded files with the torrent, unless another torrent shares them. Default false."""

    @property
    def ratio_value(self) -> float | None:
        """The ratio to reach, or None."""
        return None if self.ratio is None else parse_ratio(self.ratio)

    @property
    def time_seconds(self) -> float | None:
        """The seeding time to reach, seconds, or None."""
        return None if self.time is None else parse_duration(self.time)


class Seeding(Model):
    """What happens to torrents after their import. Without goals nothing is ever removed for having seeded."""

    goals: Annotated[
        tuple[SeedGoal, ...],
        Field(
            max_length=32,
            json_schema_extra=validations(
                Cel(
                    "self.all(s, self.exists_one(t, t.name == s.name))",
                    "two goals have the same name: names are unique",
                )
            ),
        ),
    ] = ()
    """Goals in order: of those that mean a torrent the first counts. Hit-and-run and protect come before every goal."""
