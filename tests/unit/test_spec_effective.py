"""What a spec means where it is silent, and that both specs read what they are given."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from looparr.api.spec import Mode, Priority
from looparr.arr.spec import Action, ArrSpec, Condition, DefaultRules, EffectiveLimits, Match
from looparr.loops import TYPES, find
from looparr.loops.http import HTTPSpec
from looparr.loops.spec import BackgroundLoopSpec

ARR: dict[str, Any] = {
    "type": "Radarr",
    "url": "http://radarr:7878",
    "apiKeySecretRef": {"name": "radarr", "key": "apiKey"},
    "downloadClients": [
        {
            "name": "main",
            "type": "QBittorrent",
            "qbittorrent": {"url": "http://qbittorrent:8080", "credentialsSecretRef": {"name": "qbittorrent"}},
        }
    ],
}
HTTP: dict[str, Any] = {"type": "HTTP", "http": {"endpoint": {"url": "http://janitor:8000"}}}


def arr(**more: Any) -> ArrSpec:
    return ArrSpec.model_validate({**ARR, **more})


def test_a_minimal_instance_is_careful() -> None:
    spec = arr()
    assert (spec.interval_seconds, spec.warmup_seconds, spec.timeout_seconds) == (60.0, 86400.0, 600.0)
    assert spec.limits_effective == EffectiveLimits(per_turn=3, per_hour=3, per_day=10)
    assert (spec.default_rules, spec.mode, spec.priority) == (DefaultRules.INCLUDE, Mode.ENFORCE, Priority.NORMAL)
    assert spec.acknowledge_hit_and_run is False
    assert spec.rules == ()
    pauses = spec.cooldowns_effective
    assert (pauses.after_import_seconds, pauses.after_search_seconds, pauses.after_blocklist_seconds) == (60, 300, 120)


def test_no_policy_and_an_empty_one_are_told_apart() -> None:
    assert arr().hit_and_run is None
    assert arr(hitAndRun=[]).hit_and_run == ()


def test_given_limits_and_a_warmup_of_nothing_count() -> None:
    spec = arr(limits={"perTurn": 0, "perHour": 7}, warmup="0s")
    assert spec.limits_effective == EffectiveLimits(per_turn=0, per_hour=7, per_day=10)
    assert spec.warmup_seconds == 0.0


def test_a_rule_is_read_with_its_reserved_word() -> None:
    when = {"for": "5s", "maxEta": "72h", "progressPercent": {"max": 80}, "size": {"min": "1Gi"}}
    (rule,) = arr(rules=[{"name": "slow", "condition": "EtaExceeded", "when": when, "action": "Report"}]).rules
    assert (rule.condition, rule.action) == (Condition.ETA_EXCEEDED, Action.REPORT)
    assert rule.when is not None
    assert (rule.when.for_, rule.when.max_eta, rule.when.privacy) == ("5s", "72h", None)


def test_the_seed_time_owed_includes_the_buffer() -> None:
    spec = arr(hitAndRun=[{"name": "a", "minSeedTime": "72h"}, {"name": "b", "minRatio": "1.5", "match": "All"}])
    assert spec.hit_and_run is not None
    first, second = spec.hit_and_run
    assert (first.min_seed_seconds, first.min_ratio_value, first.match) == (96 * 3600.0, None, Match.ANY)
    assert (second.min_seed_seconds, second.min_ratio_value, second.match) == (None, 1.5, Match.ALL)


def test_a_goal_keeps_the_data_unless_it_is_told_not_to() -> None:
    seeding = arr(seeding={"goals": [{"name": "a", "ratio": "2.0", "time": "1h"}]}).seeding
    assert seeding is not None
    (goal,) = seeding.goals
    assert (goal.ratio_value, goal.time_seconds, goal.delete_data) == (2.0, 3600.0, False)


def test_a_loop_gives_the_block_that_its_type_names() -> None:
    spec = BackgroundLoopSpec.model_validate(HTTP)
    block = spec.block
    assert isinstance(block, HTTPSpec)
    assert (block.endpoint.url, block.endpoint.timeout_seconds) == ("http://janitor:8000", 30.0)
    assert find("HTTP") is TYPES[0]


def test_a_loop_without_its_block_says_which_one_is_missing() -> None:
    spec = BackgroundLoopSpec.model_validate({"type": "HTTP"})
    with pytest.raises(ValueError, match="type HTTP needs the block http"):
        assert spec.block


@pytest.mark.parametrize(
    ("model", "spec", "where"),
    [
        (ArrSpec, {**ARR, "type": "Napster"}, "type"),
        (ArrSpec, {**ARR, "url": "http://me:secret@radarr"}, "url"),
        (ArrSpec, {**ARR, "downloadClients": []}, "downloadClients"),
        (BackgroundLoopSpec, {**HTTP, "type": "Nothing"}, "type"),
        (BackgroundLoopSpec, {**HTTP, "interval": "1d"}, "interval"),
    ],
)
def test_a_spec_that_slipped_past_the_api_server_is_refused_by_field(
    model: Any, spec: dict[str, Any], where: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(spec)
    assert [error["loc"][0] for error in caught.value.errors()] == [where]


def test_fields_of_a_newer_definition_are_ignored() -> None:
    assert arr(fromTheFuture=True) == arr()
