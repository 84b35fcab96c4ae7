"""What stands between a decision and somebody's data. Every removal passes every gate, on freshly read values. Pure.

A gate answers "" when it is open, else one line that says why not and what would open it. What is not known keeps a
gate shut: an unknown privacy is private, an unknown tracker may be a protected one, a missing number is not met.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from looparr.arr import spec as contract
from looparr.arr.history import download_ids
from looparr.arr.limits import DAY
from looparr.arr.rules import Facts, any_host
from looparr.arr.spec import ArrSpec, Privacy
from looparr.clients.qbittorrent.wire import Torrent

IGNORE_TAG = "looparr-ignore"
OWNER_TAG = "looparr-owner-"
MOST_REMOVALS = 2
"""Removals for one item within 7 days; a third is only reported."""

Parts = tuple[str, ...]
"""The parts of a path, folded."""


def protected(torrent: Torrent, facts: Facts, protect: contract.Protect | None) -> str:
    """spec.protect, and the tag looparr-ignore which always protects."""
    if any(tag.casefold() == IGNORE_TAG for tag in torrent.tags):
        return f"Protected: it bears the tag {IGNORE_TAG}"
    if protect is None:
        return ""
    if torrent.tags & frozenset(protect.tags or ()):
        return "Protected: by one of its tags"
    if torrent.category in (protect.categories or ()):
        return f"Protected: by its category {torrent.category!r}"
    hashes = {name.casefold()[:40] for name in protect.hashes or ()}
    if hashes & set(download_ids(torrent.hash, torrent.infohash_v1, torrent.infohash_v2)):
        return "Protected: by its hash"
    if any(name_matches(pattern, torrent.name) for pattern in protect.names or ()):
        return "Protected: by its name"
    if protect.trackers and facts.hosts is None:
        return "Protected: its trackers are not known yet, and spec.protect.trackers names some"
    if protect.trackers and any_host(tuple(protect.trackers), facts.hosts or ()):
        return "Protected: by its tracker"
    return ""


def name_matches(pattern: str, name: str) -> bool:
    """Whether a name contains the pattern, or as a whole matches it where it has `*` or `?`. Case does not count."""
    pattern, name = folded(pattern), folded(name)
    if not re.search(r"[*?]", pattern):
        return pattern in name
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name, re.DOTALL) is not None


def folded(text: str) -> str:
    """A text without what people do not see: case, and the several ways to write one character in Unicode."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def is_public(torrent: Torrent, facts: Facts) -> bool:
    """Whether a torrent is known to be public; a look-up and the client's list that differ leave it unknown."""
    return facts.private is False and torrent.private is not True


def private(torrent: Torrent, facts: Facts, privacy: Privacy, *, acknowledged: bool) -> str:
    """Private torrents are never removed unless acknowledged, and then only by a rule that says so."""
    if is_public(torrent, facts):
        return ""
    word = "private" if facts.private or torrent.private else "of unknown privacy, which counts as private"
    if not acknowledged:
        return f"Private: it is {word}; spec.acknowledgeHitAndRun is not true"
    if privacy is Privacy.PUBLIC:
        return f"Private: it is {word}; the rule is for public torrents"
    return ""


def hit_and_run(torrent: Torrent, facts: Facts, policies: Sequence[contract.HitAndRun] | None) -> str:
    """What is still owed to trackers. Owed as soon as one byte was downloaded; every policy that applies has to be met.

    policies None: nothing was said, so a private torrent owes on unknown terms, as it does to a tracker that no policy
    names. An empty list owes nothing.
    """
    if max(torrent.downloaded, torrent.completed, torrent.progress) <= 0:
        return ""
    hosts = facts.hosts or ()
    for policy in policies or ():
        if policy.trackers and facts.hosts is None:
            return f"HitAndRun: its trackers are not known yet, policy {policy.name} may apply"
        if _applies(policy, hosts) and not _met(torrent, policy):
            return f"HitAndRun: policy {policy.name} is not met yet"
    if is_public(torrent, facts) or (policies is not None and _on_known_terms(policies, hosts)):
        return ""
    return "HitAndRun: private, and spec.hitAndRun does not say what its tracker asks (an empty list owes nothing)"


def _applies(policy: contract.HitAndRun, hosts: tuple[str, ...]) -> bool:
    return not policy.trackers or any_host(tuple(policy.trackers), hosts)


def _on_known_terms(policies: Sequence[contract.HitAndRun], hosts: tuple[str, ...]) -> bool:
    """Whether each of the trackers has a policy. An empty list says that nothing is owed to anybody."""
    if not policies or any(not policy.trackers for policy in policies):
        return True
    return bool(hosts) and all(any(_applies(policy, (host,)) for policy in policies) for host in hosts)


def _met(torrent: Torrent, policy: contract.HitAndRun) -> bool:
    checks = []
    if policy.min_ratio_value is not None:
        checks.append(ratio(torrent) >= policy.min_ratio_value)
    if policy.min_seed_seconds is not None:
        checks.append(torrent.seeding_time >= policy.min_seed_seconds)
    return _combined(checks, policy.match)


def _combined(checks: Sequence[bool], match: contract.Match | None) -> bool:
    """Any or All of the checks; none at all is not met."""
    return bool(checks) and (all(checks) if match == contract.Match.ALL else any(checks))


def ratio(torrent: Torrent) -> float:
    """Uploaded through the larger of downloaded and size, so that a partial download is never flattered.

    0 when the size is not known.
    """
    return torrent.uploaded / max(torrent.downloaded, torrent.completed, torrent.size) if torrent.size > 0 else 0.0


def goal_for(torrent: Torrent, facts: Facts, spec: ArrSpec) -> contract.SeedGoal | None:
    """First seeding goal that applies to the torrent, by category and tracker.

    None, too, when a goal that names trackers comes first and the torrent's are not known yet.
    """
    goals = (spec.seeding.goals or ()) if spec.seeding else ()
    for goal in goals:
        if goal.categories and torrent.category not in goal.categories:
            continue
        if goal.trackers and facts.hosts is None:
            return None
        if goal.trackers and not any_host(tuple(goal.trackers), facts.hosts or ()):
            continue
        return goal
    return None


def others_tag(torrent: Torrent, owner_tag: str) -> bool:
    """Whether another operator marked it as its own. owner_tag: ours, "" when this cluster has no name."""
    return any(tag.startswith(OWNER_TAG) and tag != owner_tag for tag in torrent.tags)


def goal_met(torrent: Torrent, goal: contract.SeedGoal, seeding_time: float) -> bool:
    """Whether a goal is met. seeding_time: seconds, freshly read or computed since the last change."""
    checks = []
    if goal.ratio_value is not None:
        checks.append(ratio(torrent) >= goal.ratio_value)
    if goal.time_seconds is not None:
        checks.append(seeding_time >= goal.time_seconds)
    return _combined(checks, goal.match)


def shares_data(torrent: Torrent, others: Iterable[Torrent]) -> bool:
    """Whether another of these torrents, of any category, uses the same or nested data: then data must stay.

    So it must, too, when nobody knows where this torrent's data is.
    """
    mine = _places(torrent)
    rest = (other for other in others if other.hash != torrent.hash)
    return not mine or any(_nested(a, b) for other in rest for a in mine for b in _places(other))


def inside_root_folder(torrent: Torrent, roots: Iterable[str]) -> bool:
    """Whether its data is in (or around) a library folder of the Arr: such data is never deleted."""
    mine = _places(torrent)
    return not mine or any(_nested(place, _parts(root)) for place in mine for root in roots if root)


def _places(torrent: Torrent) -> tuple[Parts, ...]:
    """The paths a torrent may use: content_path, and save_path with its name.

    Without metadata some clients give the save path itself as content_path, although nothing there is the torrent's.
    """
    places = []
    save = _parts(torrent.save_path)
    content = _parts(torrent.content_path)
    if torrent.content_path and (torrent.size > 0 or content != save):
        places.append(content)
    if torrent.save_path and torrent.name:
        places.append((*save, folded(torrent.name)))
    return tuple(places)


def _parts(path: str) -> Parts:
    """Split a path. Case and Unicode forms do not count: on some file systems they make no difference."""
    parts: list[str] = []
    for part in folded(path).replace("\\", "/").split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return tuple(parts)


def _nested(one: Parts, other: Parts) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


@dataclass(frozen=True, slots=True)
class Removed:
    """One earlier removal of ours, from the action log. at: epoch seconds; items: the Arr's item ids."""

    at: float
    hash: str
    items: frozenset[int]
    title: str
    indexer: str


def loop_guard(
    hash_: str, items: frozenset[int], title: str, indexer: str, removed: Iterable[Removed], now: float
) -> str:
    """Say why a fresh grab is held: the same release came back within 24 h after we removed it.

    The same release: the same hash, or the same item with the same normalised title from the same indexer.
    """
    for one in removed:
        if now - one.at > DAY:
            continue
        same_title = normalised(one.title) == normalised(title) and one.indexer == indexer
        if one.hash == hash_ or (one.items & items and same_title):
            return "LoopGuard: the same release was removed less than 24 h ago and grabbed again"
    return ""


def third_removal(items: frozenset[int], removed: Iterable[Removed], now: float) -> str:
    """The third removal for one item within 7 days is not carried out, only reported."""
    counts = [sum(1 for one in removed if item in one.items and now - one.at <= 7 * DAY) for item in items]
    if max(counts, default=0) >= MOST_REMOVALS:
        return "LoopGuard: two releases of this item were removed within 7 days; look at it yourself"
    return ""


def normalised(title: str) -> str:
    """A release title with nothing but its letters and digits, in any script."""
    return "".join(char for char in folded(title) if char.isalnum())
