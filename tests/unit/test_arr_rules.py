"""What a rule means: made effective, filtered, digested, described."""

from __future__ import annotations

from typing import Any

import pytest

from arr_models import PRIVATE, PUBLIC, UNKNOWN, rule, spec, torrent
from looparr.arr.rule_spec import Action, Condition, Privacy
from looparr.arr.rules import (
    MIB,
    SAFE_RULES,
    Facts,
    Rule,
    any_host,
    describe,
    effective_rules,
    in_condition,
    min_progress,
    passes_filters,
)
from looparr.clients.qbittorrent.wire import ETA_UNKNOWN, Torrent

GIB = 1 << 30


def passes(one: Rule, of: Torrent | None = None, facts: Facts = PUBLIC, age: float | None = 86400.0) -> bool:
    return passes_filters(one, of or torrent(), facts, age=age)


# --- effective rules -----------------------------------------------------------------------------------------------


def test_the_safe_set_is_what_the_newcomer_was_promised() -> None:
    rules = effective_rules(spec())
    assert [(one.name, one.condition, one.action) for one in rules] == [
        ("stalled", "Stalled", "Replace"),
        ("metadata-stuck", "MetadataStuck", "Replace"),
    ]
    for one in rules:
        assert (one.matches_for, one.strikes, one.strike_every, one.min_age) == (900.0, 3, 900.0, 1800.0)
        assert (one.progress, one.privacy, one.interactive, one.include_forced) == (
            (0.0, 50.0),
            Privacy.PUBLIC,
            False,
            False,
        )
        assert one.replaces
        assert one.digest


def test_own_rules_come_first_and_the_same_name_overrides() -> None:
    own = [
        {"name": "slow", "condition": "EtaExceeded", "when": {"maxEta": "24h"}, "action": "Report"},
        {"name": "stalled", "condition": "Stalled", "action": "Report"},
    ]
    rules = effective_rules(spec(rules=own))
    assert [one.name for one in rules] == ["slow", "stalled", "metadata-stuck"]
    assert not rules[1].replaces
    assert [one.name for one in effective_rules(spec(rules=own, defaultRules="Exclude"))] == ["slow", "stalled"]
    assert effective_rules(spec(defaultRules="Exclude")) == ()


def test_an_own_rule_gets_every_default() -> None:
    one = rule()
    assert (one.matches_for, one.strikes, one.strike_every, one.min_age) == (900.0, 3, 900.0, 0.0)
    assert (one.progress, one.size, one.privacy) == ((0.0, 101.0), (None, None), Privacy.PUBLIC)
    assert not one.interactive
    assert not one.include_forced


def test_rule_defaults_fill_in_what_the_rule_does_not_say() -> None:
    defaults = {"strikes": 5, "strikeEvery": "1m", "minAge": "2h"}
    own = [
        {"name": "a", "condition": "Stalled", "action": "Report", "when": {"for": "30m"}},
        {
            "name": "b",
            "condition": "Stalled",
            "action": "Report",
            "strikes": 1,
            "strikeEvery": "7m",
            "when": {"minAge": "1m"},
        },
    ]
    first, second, *safe = effective_rules(spec(rules=own, ruleDefaults=defaults))
    assert (first.matches_for, first.strikes, first.strike_every, first.min_age) == (1800.0, 5, 60.0, 7200.0)
    assert (second.strikes, second.strike_every, second.min_age) == (1, 420.0, 60.0)
    assert [one.strikes for one in safe] == [3, 3]


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        ({"strikes": 1}, False),
        ({"name": "other"}, False),
        ({"strikeEvery": "1m"}, True),
        ({"action": "Report"}, True),
        ({"condition": "MetadataStuck"}, True),
        ({"when": {"for": "16m"}}, True),
        ({"when": {"minAge": "1m"}}, True),
        ({"when": {"progressPercent": {"max": 50}}}, True),
        ({"when": {"size": {"min": "1Gi"}}}, True),
        ({"when": {"privacy": "Any"}}, True),
        ({"when": {"trackers": ["a.example"]}}, True),
        ({"when": {"categories": ["tv"]}}, True),
        ({"when": {"tags": ["x"]}}, True),
        ({"when": {"grabbedBy": "Any"}}, True),
        ({"when": {"includeForced": True}}, True),
        ({"when": {"for": "15m"}}, False),
    ],
)
def test_whatever_a_rule_looks_for_or_does_is_in_its_digest(edit: dict[str, Any], changes: bool) -> None:
    assert (rule(**edit).digest != rule().digest) is changes


@pytest.mark.parametrize(
    ("written", "size", "expected"),
    [
        (None, 100 * MIB, MIB),
        (None, 10_000 * MIB, 10_000 * MIB // 1000),
        ("5Mi", 10_000 * MIB, 5 * MIB),
        ("0", 10_000 * MIB, 1),
    ],
)
def test_progress_is_a_mebibyte_or_a_thousandth_or_what_is_written(
    written: str | None, size: int, expected: int
) -> None:
    defaults = {"ruleDefaults": {"minProgress": written}} if written else {}
    assert min_progress(spec(**defaults), size) == expected


# --- conditions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (Condition.STALLED, {"stalledDL"}),
        (Condition.METADATA_STUCK, {"metaDL"}),
        (Condition.ETA_EXCEEDED, {"stalledDL", "downloading"}),
    ],
)
def test_a_condition_matches_its_words_and_no_others(condition: Condition, words: set[str]) -> None:
    when = {"maxEta": "1h"} if condition is Condition.ETA_EXCEEDED else {}
    one = rule(condition=str(condition), when=when)
    every = (
        "metaDL",
        "queuedDL",
        "allocating",
        "checkingDL",
        "moving",
        "downloading",
        "stalledDL",
        "pausedDL",
        "stoppedDL",
    )
    done = ("uploading", "stalledUP", "queuedUP", "pausedUP", "stoppedUP", "missingFiles", "error", "unknown")
    assert {word for word in every + done if in_condition(one, torrent(state=word, eta=7200))} == words


@pytest.mark.parametrize(
    ("condition", "word", "speed", "matches"),
    [
        ("Stalled", "forcedDL", 0, True),
        ("Stalled", "forcedDL", 1, False),
        ("Stalled", "downloading", 0, False),
        ("MetadataStuck", "forcedMetaDL", 0, True),
        ("Stalled", "forcedUP", 0, False),
    ],
)
def test_forced_torrents_match_only_when_they_are_included(
    condition: str, word: str, speed: int, matches: bool
) -> None:
    forced = torrent(state=word, dlspeed=speed)
    assert in_condition(rule(condition=condition, when={"includeForced": True}), forced) is matches
    assert not in_condition(rule(condition=condition), torrent(state=word, dlspeed=speed))


@pytest.mark.parametrize(
    ("eta", "matches"),
    [(0, False), (3600, False), (3601, True), (ETA_UNKNOWN - 1, True), (ETA_UNKNOWN, False), (ETA_UNKNOWN + 1, False)],
)
def test_an_unknown_eta_never_matches(eta: int, matches: bool) -> None:
    one = rule(condition="EtaExceeded", when={"maxEta": "1h"})
    assert in_condition(one, torrent(state="downloading", eta=eta)) is matches


# --- filters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "progress", "inside"),
    [
        ({"min": 10}, 0.0999, False),
        ({"min": 10}, 0.10, True),
        ({"max": 50}, 0.4999, True),
        ({"max": 50}, 0.50, False),
        ({"min": 10, "max": 50}, 0.3, True),
        ({"max": 100}, 1.0, False),
        ({"min": 90}, 1.0, True),
    ],
)
def test_a_progress_range_has_its_min_and_not_its_max(bounds: dict[str, int], progress: float, inside: bool) -> None:
    assert passes(rule(when={"progressPercent": bounds}), torrent(progress=progress)) is inside


@pytest.mark.parametrize(
    ("bounds", "size", "inside"),
    [
        ({"min": "1Gi"}, GIB - 1, False),
        ({"min": "1Gi"}, GIB, True),
        ({"max": "2Gi"}, 2 * GIB - 1, True),
        ({"max": "2Gi"}, 2 * GIB, False),
        ({"max": "2Gi"}, 0, False),
        ({"min": "0"}, 0, False),
        ({"max": "2Gi"}, -1, False),
    ],
)
def test_a_size_range_has_its_min_and_not_its_max_and_no_unknown_size(
    bounds: dict[str, str], size: int, inside: bool
) -> None:
    assert passes(rule(when={"size": bounds}), torrent(size=size)) is inside


def test_without_a_size_range_an_unknown_size_passes() -> None:
    assert passes(rule(), torrent(size=0))


@pytest.mark.parametrize(("age", "inside"), [(None, False), (1799.0, False), (1800.0, True)])
def test_an_unknown_age_is_too_young(age: float | None, inside: bool) -> None:
    assert passes(rule(when={"minAge": "30m"}), age=age) is inside
    assert passes(rule(), age=age)


@pytest.mark.parametrize(
    ("when", "inside"),
    [
        ({"categories": ["radarr"]}, True),
        ({"categories": ["tv", "radarr"]}, True),
        ({"categories": ["tv"]}, False),
        ({"tags": ["b"]}, True),
        ({"tags": ["c"]}, False),
        ({"trackers": ["example.org"]}, True),
        ({"trackers": ["example.com"]}, False),
        ({"tags": ["b"], "categories": ["tv"]}, False),
    ],
)
def test_all_filters_that_are_set_must_let_it_through(when: dict[str, Any], inside: bool) -> None:
    assert passes(rule(when=when), torrent(tags=frozenset({"a", "b"}))) is inside


@pytest.mark.parametrize(
    ("privacy", "public", "private", "unknown"),
    [("Public", True, False, True), ("Private", False, True, True), ("Any", True, True, True)],
)
def test_privacy_is_filtered_where_it_is_known(privacy: str, public: bool, private: bool, unknown: bool) -> None:
    """What stays unknown is the gate's: it refuses, and says so."""
    one = rule(when={"privacy": privacy})
    assert [passes(one, facts=facts) for facts in (PUBLIC, PRIVATE, UNKNOWN)] == [public, private, unknown]


def test_nothing_is_filtered_by_what_nobody_has_looked_up() -> None:
    assert passes(rule(when={"trackers": ["example.com"]}), facts=Facts())
    assert passes(rule(when={"privacy": "Private"}), facts=Facts(private=False))


@pytest.mark.parametrize(
    ("pattern", "host", "named"),
    [
        ("example.org", "example.org", True),
        ("example.org", "t.example.org", True),
        ("Example.ORG", "T.example.org", True),
        ("example.org", "notexample.org", False),
        ("*.example.org", "t.example.org", True),
        ("t.example.org", "example.org", False),
        ("tracker.*", "tracker.example", True),
        (".example.org", "t.example.org", True),
        ("example.org:6969", "example.org", True),
        ("https://t.example.org:443/announce", "t.example.org", True),
        ("udp://example.org", "t.example.org", True),
    ],
)
def test_a_tracker_is_named_by_host_domain_pattern_or_pasted_url(pattern: str, host: str, named: bool) -> None:
    assert any_host((pattern,), ("other.example", host)) is named


def test_no_host_is_nobodys() -> None:
    assert not any_host(("example.org",), ())
    assert not any_host((), ("example.org",))


@pytest.mark.parametrize(("bad", "text"), [(2760.0, "46m"), (60.0, "1m"), (59.0, "59s")])
def test_a_rule_says_in_one_line_why_it_is_ripe(bad: float, text: str) -> None:
    assert describe(rule(), bad, 3) == f"Stalled for {text}, strike 3 of 3 of rule mine"


def test_the_safe_rules_are_only_replacements_of_public_torrents() -> None:
    assert all(one.action == Action.REPLACE and one.privacy is Privacy.PUBLIC for one in SAFE_RULES)
