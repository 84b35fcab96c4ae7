"""Rules: the built-in Safe set and the user's own, made effective, and what it means to match one.

Pure. A rule matches a torrent at one moment; how long it has matched, and how often that counted, is health.py's.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatchcase

from looparr.api.durations import parse_duration
from looparr.api.quantities import parse_quantity
from looparr.arr import spec as contract
from looparr.arr.spec import ArrSpec, Privacy
from looparr.arr.states import Activity, client_state
from looparr.clients.qbittorrent.wire import ETA_UNKNOWN, Torrent

SAFE_SET = "safe-1"
"""Version of the built-in set; shown in status.versions.rules."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One effective rule: every default filled in; durations in seconds, sizes in bytes, progress in percent."""

    name: str
    condition: str
    action: str
    matches_for: float = 900.0
    strikes: int = 3
    strike_every: float = 900.0
    min_age: float = 0.0
    progress: tuple[float, float] = (0.0, 101.0)
    size: tuple[int | None, int | None] = (None, None)
    privacy: Privacy = Privacy.PUBLIC
    trackers: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    interactive: bool = False
    include_forced: bool = False
    max_eta: float | None = None
    digest: str = field(default="", compare=False)

    @property
    def replaces(self) -> bool:
        """Whether the rule removes, or only reports."""
        return self.action == contract.Action.REPLACE


@dataclass(frozen=True, slots=True)
class Facts:
    """What the torrent list does not say and a look-up did. private None: unknown, which counts as private.

    hosts: host names of the real trackers; None while nobody has looked.
    """

    private: bool | None = None
    hosts: tuple[str, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether somebody has looked."""
        return self.hosts is not None


def effective_rules(spec: ArrSpec) -> tuple[Rule, ...]:
    """Give all rules in order: the user's first, then those of the Safe set whose names the user did not take."""
    rules = [_effective(rule, spec) for rule in spec.rules or ()]
    if spec.default_rules != contract.DefaultRules.EXCLUDE:
        taken = {rule.name for rule in rules}
        rules += [_digested(rule) for rule in SAFE_RULES if rule.name not in taken]
    return tuple(rules)


SAFE_RULES: tuple[Rule, ...] = (
    Rule("stalled", contract.Condition.STALLED, contract.Action.REPLACE, min_age=1800.0, progress=(0.0, 50.0)),
    Rule(
        "metadata-stuck",
        contract.Condition.METADATA_STUCK,
        contract.Action.REPLACE,
        min_age=1800.0,
        progress=(0.0, 50.0),
    ),
)
"""15 min x 3, at least 30 min old, under 50 %, known public, grabbed automatically."""


def _effective(rule: contract.Rule, spec: ArrSpec) -> Rule:
    when, defaults = rule.when or contract.When(), spec.rule_defaults or contract.RuleDefaults()
    seconds = parse_duration
    matches_for = seconds(when.for_) if when.for_ else 900.0
    strike_every = rule.strike_every or defaults.strike_every
    min_age = when.min_age or defaults.min_age
    percent, size = when.progress_percent, when.size
    return _digested(
        Rule(
            name=rule.name,
            condition=rule.condition,
            action=rule.action,
            matches_for=matches_for,
            strikes=rule.strikes or defaults.strikes or 3,
            strike_every=seconds(strike_every) if strike_every else matches_for,
            min_age=seconds(min_age) if min_age else 0.0,
            progress=(_or(percent.min if percent else None, 0), _or(percent.max if percent else None, 101)),
            size=(_bytes(size.min if size else None), _bytes(size.max if size else None)),
            privacy=when.privacy or Privacy.PUBLIC,
            trackers=tuple(when.trackers or ()),
            categories=tuple(when.categories or ()),
            tags=tuple(when.tags or ()),
            interactive=when.grabbed_by == contract.GrabbedBy.ANY,
            include_forced=bool(when.include_forced),
            max_eta=seconds(when.max_eta) if when.max_eta else None,
        )
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def _bytes(text: str | None) -> int | None:
    return parse_quantity(text) if text else None


def _digested(rule: Rule) -> Rule:
    """Stamp the rule with a digest of what it looks for and does; strikes counted under another digest do not count.

    Only `strikes` is left out: fewer of them are an edit that `health` delays, not another rule.
    """
    values = {name: value for name, value in asdict(rule).items() if name not in {"name", "strikes", "digest"}}
    text = json.dumps(values, sort_keys=True)
    return replace(rule, digest=hashlib.sha256(text.encode()).hexdigest()[:16])


def min_progress(spec: ArrSpec, size: int) -> int:
    """Bytes above the high-water mark that count as progress: ruleDefaults.minProgress, else 1 MiB or 0.1 %.

    At least one byte: none at all is no progress.
    """
    wanted = spec.rule_defaults.min_progress if spec.rule_defaults else None
    return max(1, parse_quantity(wanted)) if wanted else max(MIB, size // 1000)


def in_condition(rule: Rule, torrent: Torrent) -> bool:
    """Whether the torrent is in the rule's condition at this moment, filters aside."""
    activity, forced = client_state(torrent.state)
    if forced and not rule.include_forced:
        return False
    if rule.condition == contract.Condition.STALLED:
        quiet = activity is Activity.DOWNLOADING and forced and torrent.dlspeed == 0
        return activity is Activity.STALLED or quiet
    if rule.condition == contract.Condition.METADATA_STUCK:
        return activity is Activity.METADATA
    moving = activity in {Activity.DOWNLOADING, Activity.STALLED}
    return moving and rule.max_eta is not None and rule.max_eta < torrent.eta < ETA_UNKNOWN


def passes_filters(rule: Rule, torrent: Torrent, facts: Facts, *, age: float | None) -> bool:
    """Whether the rule's filters let this torrent through. A value that is not known never passes its filter.

    Privacy and trackers are judged only once they were looked up (`facts.known`); until then they pass, and
    `health` gives no strike before the look-up. A privacy that stays unknown (no metadata) passes, too: the gate
    `gates.private` counts it as private, and says so, instead of the rule that looks away.
    age: seconds since added_on by the client's own clock, None when the client told no time.
    """
    low, high = rule.progress
    percent = torrent.progress * 100
    smallest, largest = rule.size
    cheap = (
        low <= percent < high
        and (smallest is None or torrent.size >= max(smallest, 1))
        and (largest is None or 0 < torrent.size < largest)
        and (not rule.min_age or (age is not None and age >= rule.min_age))
        and (not rule.categories or torrent.category in rule.categories)
        and (not rule.tags or bool(torrent.tags & frozenset(rule.tags)))
    )
    return cheap and (not facts.known or _known_filters(rule, facts))


def _known_filters(rule: Rule, facts: Facts) -> bool:
    meant = {Privacy.PUBLIC: (False, None), Privacy.PRIVATE: (True, None), Privacy.ANY: (False, True, None)}
    return facts.private in meant[rule.privacy] and (not rule.trackers or any_host(rule.trackers, facts.hosts or ()))


def any_host(patterns: tuple[str, ...], hosts: tuple[str, ...]) -> bool:
    """Whether one of the hosts is one of the named trackers or below it (`example.org` names `t.example.org`, too).

    A pattern may be a whole tracker URL or have a port: what people paste must protect, not silently miss.
    """
    return any(_host_matches(_host_pattern(pattern), host.casefold()) for pattern in patterns for host in hosts)


def _host_pattern(pattern: str) -> str:
    place = pattern.casefold().partition("://")[2] or pattern.casefold()
    return re.sub(r":[0-9]+$", "", place.partition("/")[0]).removeprefix(".")


def _host_matches(pattern: str, host: str) -> bool:
    return host == pattern or host.endswith("." + pattern.removeprefix("*.")) or fnmatchcase(host, pattern)


def describe(rule: Rule, bad: float, strikes: int) -> str:
    """Say in one line why a rule is ripe: `Stalled for 46m, strike 3 of 3`. bad: seconds."""
    spent = f"{bad / 60:.0f}m" if bad >= 60 else f"{bad:.0f}s"  # noqa: PLR2004 - a minute
    return f"{rule.condition} for {spent}, strike {strikes} of {rule.strikes} of rule {rule.name}"
