"""The spec of an ArrInstance: which Arr and which clients, what counts as trouble, and how far Looparr may go.

Outside camelCase, here snake_case. A field that is absent has its effective value here (a default or a property),
never in the stored object: a stored default would freeze and no upgrade would ever reach it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from looparr.api.durations import Duration, LongDuration, parse_duration
from looparr.api.model import Model
from looparr.api.quantities import Quantity
from looparr.api.refs import Category, ItemName, SecretKeyRef, SecretRef, Tls, Url, Words
from looparr.api.schema import Cel, Text, map_by_name, validations
from looparr.api.spec import CommonSpec, Mode
from looparr.arr.rule_spec import Action, Condition, GrabbedBy, Privacy, ProgressRange, Rule, SizeRange, When
from looparr.arr.seeding_spec import HitAndRun, Match, SeedGoal, Seeding

__all__ = [
    "Action",
    "ArrSpec",
    "ArrType",
    "Condition",
    "Cooldowns",
    "DefaultRules",
    "DownloadClient",
    "DownloadClientType",
    "EffectiveLimits",
    "GrabbedBy",
    "HitAndRun",
    "Limits",
    "Match",
    "Privacy",
    "ProgressRange",
    "Protect",
    "QBittorrent",
    "Rule",
    "RuleDefaults",
    "SeedGoal",
    "Seeding",
    "SizeRange",
    "When",
]

DAY = 86400.0


class ArrType(StrEnum):
    """The Arrs that Looparr can look after. The value is what the Arr calls itself in its system/status."""

    RADARR = "Radarr"


class DownloadClientType(StrEnum):
    """The download clients that Looparr can talk to."""

    QBITTORRENT = "QBittorrent"


class DefaultRules(StrEnum):
    """Whether the built-in Safe rules apply beside the object's own."""

    INCLUDE = "Include"
    EXCLUDE = "Exclude"


InfoHash = Annotated[
    str,
    Text(r"^[0-9A-Fa-f]{40}([0-9A-Fa-f]{24})?$", "a torrent's hash has 40 (v1) or 64 (v2) hexadecimal digits", 64),
]


class QBittorrent(Model):
    """How to reach one qBittorrent."""

    url: Url
    """Where the Web UI answers, for example http://qbittorrent.media:8080."""
    tls: Tls | None = None
    """How its certificate is checked; only for https."""
    credentials_secret_ref: SecretRef
    """Secret with the keys username and password of the Web UI."""


class DownloadClient(Model):
    """One download client that the Arr hands its grabs to. Exactly the block that `type` names is set."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "(self.type == 'QBittorrent') == has(self.qbittorrent)",
            "type QBittorrent needs the block qbittorrent, and no other type has it",
        ),
    )

    name: ItemName
    """Name of this client within the object; shown in status and logs. A new name is a new client."""
    type: DownloadClientType
    """QBittorrent. Decides which block describes the client."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1, max_length=32)] | None = None
    """Only torrents in these categories are looked at. Default: the categories that the Arr itself uses."""
    tags: Annotated[tuple[Words, ...], Field(min_length=1, max_length=32)] | None = None
    """Only torrents that bear at least one of these tags are looked at. Default: any."""
    qbittorrent: QBittorrent | None = None
    """Address and credentials; needed with type QBittorrent."""


class Cooldowns(Model):
    """Pauses after our own acts. Each holds back only acts of its own kind, never the turn or the clocks."""

    after_import: Duration | None = None
    """Pause between two import nudges of one torrent. Default 60s."""
    after_search: Duration | None = None
    """Pause between two searches for one item. Default 5m."""
    after_blocklist: Duration | None = None
    """After a turn that removed something with a blocklist entry, the next such removals wait so long. Default 2m."""

    @property
    def after_import_seconds(self) -> float:
        """Effective pause, seconds."""
        return parse_duration(self.after_import or "60s")

    @property
    def after_search_seconds(self) -> float:
        """Effective pause, seconds."""
        return parse_duration(self.after_search or "5m")

    @property
    def after_blocklist_seconds(self) -> float:
        """Effective pause, seconds."""
        return parse_duration(self.after_blocklist or "2m")


class RuleDefaults(Model):
    """What holds for every rule of the object that does not say it itself."""

    strikes: int | None = Field(default=None, ge=1, le=100)
    """Strikes until a rule acts. Default 3."""
    strike_every: LongDuration | None = None
    """Further bad time per further strike. Default: the rule's own `for`."""
    min_age: Duration | None = None
    """Torrents younger than this are left alone. Default: any age."""
    min_progress: Quantity | None = None
    """Bytes that count as progress and reset strikes. Default: 1Mi or a thousandth of the size, the larger one."""


class Protect(Model):
    """Torrents that Looparr never touches; they are only reported. One match is enough.

    Torrents tagged looparr-ignore are always protected.
    """

    tags: Annotated[tuple[Words, ...], Field(max_length=64)] = ()
    """Tags of the download client."""
    categories: Annotated[tuple[Category, ...], Field(max_length=64)] = ()
    """Categories of the download client."""
    trackers: Annotated[tuple[Words, ...], Field(max_length=64)] = ()
    """Host names of trackers, such as tracker.example.org; subdomains are meant, too."""
    names: Annotated[tuple[Words, ...], Field(max_length=64)] = ()
    """Parts of torrent names, or patterns of whole names with * and ?; upper and lower case are alike."""
    hashes: Annotated[tuple[InfoHash, ...], Field(max_length=64)] = ()
    """Info hashes, v1 or v2."""


class Limits(Model):
    """At most so many removals in a sliding window, whatever asks for them; the rest waits and is judged again."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.perTurn) || !has(self.perHour) || self.perTurn <= self.perHour",
            "perTurn must not exceed perHour",
        ),
        Cel("!has(self.perHour) || !has(self.perDay) || self.perHour <= self.perDay", "perHour must not exceed perDay"),
        Cel("!has(self.perTurn) || !has(self.perDay) || self.perTurn <= self.perDay", "perTurn must not exceed perDay"),
    )

    per_turn: int | None = Field(default=None, ge=0, le=1000)
    """Removals in one turn; 0 removes nothing. Default 3."""
    per_hour: int | None = Field(default=None, ge=0, le=1000)
    """Removals in any 60 minutes. Default 3."""
    per_day: int | None = Field(default=None, ge=0, le=1000)
    """Removals in any 24 hours. Default 10."""


@dataclass(frozen=True, slots=True)
class EffectiveLimits:
    """The limits in force, numbers of removals."""

    per_turn: int
    per_hour: int
    per_day: int


class ArrSpec(CommonSpec):
    """Which Arr and which download clients belong together, what counts as trouble, and how far Looparr may go."""

    DEFAULT_INTERVAL: ClassVar[float] = 60.0
    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.rules) || (has(self.acknowledgeHitAndRun) && self.acknowledgeHitAndRun) || "
            "self.rules.all(r, !(r.action == 'Replace' && has(r.when) && has(r.when.privacy) "
            "&& r.when.privacy != 'Public'))",
            "a rule that replaces private torrents (privacy Private or Any) needs acknowledgeHitAndRun: true, "
            "because removing them early may cost the account at the tracker",
            ".rules",
        ),
    )

    type: ArrType
    """Which Arr this is: Radarr. Immutable; checked against what answers at the URL."""
    url: Url
    """Where the Arr answers, with its URL base if it has one: http://radarr.media:7878."""
    tls: Tls | None = None
    """How the Arr's certificate is checked; only for https."""
    api_key_secret_ref: SecretKeyRef
    """Key of a Secret that holds the Arr's API key (Settings, General). Labelled looparr.dev/credentials: "true"."""
    download_clients: Annotated[
        tuple[DownloadClient, ...],
        Field(
            min_length=1,
            max_length=8,
            json_schema_extra=map_by_name()
            | validations(
                Cel(
                    "self.all(s, !has(s.qbittorrent) || self.exists_one(t, has(t.qbittorrent) && "
                    "(t.qbittorrent.url + '/').lowerAscii().replace('//', '/') == "
                    "(s.qbittorrent.url + '/').lowerAscii().replace('//', '/')))",
                    "two download clients have the same url: name each program once, limits are counted by client",
                )
            ),
        ),
    ]
    """The download clients that this Arr hands its grabs to, by name; one to eight."""
    warmup: Duration | None = None
    """So long after creation nothing is changed, only reported; status.warmupUntil shows the end. Default 24h."""
    cooldowns: Cooldowns | None = None
    """Pauses after our own imports, searches and removals."""
    default_rules: DefaultRules = DefaultRules.INCLUDE
    """Include: the built-in Safe rules apply after the object's own, same name overrides. Default Include."""
    rule_defaults: RuleDefaults | None = None
    """What holds for every own rule that does not say it itself."""
    rules: Annotated[
        tuple[Rule, ...],
        Field(
            max_length=32,
            json_schema_extra=validations(
                Cel(
                    "self.all(s, self.exists_one(t, t.name == s.name))",
                    "two rules have the same name: names are unique",
                )
            ),
        ),
    ] = ()
    """Own rules, in order: all that match accumulate strikes, the first ripe one acts."""
    protect: Protect | None = None
    """Torrents that are never touched."""
    hit_and_run: Annotated[tuple[HitAndRun, ...], Field(max_length=16, json_schema_extra=map_by_name())] | None = None
    """What trackers want before a torrent may go. Absent: private torrents owe always. Empty list: nothing is owed."""
    acknowledge_hit_and_run: bool = False
    """true allows rules to remove private torrents (privacy Private or Any). Default false: they are only reported."""
    seeding: Seeding | None = None
    """When an imported torrent has seeded enough and is removed. Default: never."""
    limits: Limits | None = None
    """How many removals are allowed; status.totals.heldBack counts what had to wait."""
    mode: Mode = Mode.ENFORCE
    """Enforce acts. Observe plans and reports what it would do, and touches nothing."""

    @property
    def warmup_seconds(self) -> float:
        """Effective time after creation in which nothing is changed, seconds."""
        return parse_duration(self.warmup) if self.warmup else DAY

    @property
    def cooldowns_effective(self) -> Cooldowns:
        """The cooldowns; its `..._seconds` are in force."""
        return self.cooldowns or Cooldowns()

    @property
    def limits_effective(self) -> EffectiveLimits:
        """The limits in force."""
        given = self.limits or Limits()
        return EffectiveLimits(
            per_turn=3 if given.per_turn is None else given.per_turn,
            per_hour=3 if given.per_hour is None else given.per_hour,
            per_day=10 if given.per_day is None else given.per_day,
        )
