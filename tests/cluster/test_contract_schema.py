"""Every constraint of both kinds on a real API server: what passes, and what is refused with words that help.

Limits of single fields are taken from the schema itself: one complete object passes, and each limit of each field is
broken once. Rules over several fields stand in a table; a rule that has no row there fails the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from cluster.contract import FULL, SPECS, Path, changed, install, made, nodes, put, refusal, shown
from looparr.sandbox.cluster import Cluster

VALIDATIONS = "x-kubernetes-validations"
FORM = "self.matches("

BAD_TEXTS = {
    "a duration is written like 30s, 5m or 1h30m (a day is 24h)": ("1d", "5", "999999h"),
    "a duration is written like 30s, 5m or 1h30m (a day is 24h); at least 1s here": ("1d", "999ms"),
    "a duration is written like 30s, 5m or 1h30m (a day is 24h); 1s to 24h here": ("1d", "999ms", "24h1s"),
    "a duration is written like 30s, 5m or 1h30m (a day is 24h); 1s to 1h here": ("1d", "999ms", "1h0.1s"),
    "a quantity of bytes is written like 50Gi, 512Ki or 700M": ("5 GB", "1e6"),
    'a ratio is written as a string like "1.5"': ("1,5", "150%"),
    "a URL is written like http://host:7878 or https://host/path, without user name, password or blanks; "
    "the highest port is 65535": (
        "radarr:7878",
        "http://me:secret@radarr",
        "https://radarr/a b",
        "http://radarr:99999",
        "http://radarr:0",
        "http://radarr:",
        "http://[::1",
        "http://[::1::2]:80:80",
        "http://radarr/%zz",
    ),
    "a name is made of letters, digits, dots, dashes and underscores, at most 63 of them": ("", "two words"),
    "the name of a Secret is made of small letters, digits, dots and dashes": ("Radarr", "media/radarr"),
    "the key of a Secret is made of letters, digits, dots, dashes and underscores": ("api key",),
    "a category must not be empty: that would mean every torrent without a category": ("", " "),
    "the text must not be empty": ("", "\t"),
    "a torrent's hash has 40 (v1) or 64 (v2) hexadecimal digits": ("0123", "g" * 40),
}

CLIENT = FULL["ArrInstance"]["downloadClients"][0]
QBIT = CLIENT["qbittorrent"]
SAME_URL = QBIT["url"].replace("qbittorrent", "QBittorrent") + "/"
RULE = FULL["ArrInstance"]["rules"][0]
ENDPOINT = FULL["BackgroundLoop"]["http"]["endpoint"]
PLAIN = {"name": "stalled", "condition": "Stalled", "action": "Replace"}

# kind, changes that pass, changes that are refused, where and with which words
RULES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    (
        "ArrInstance",
        {"backoff.initialDelay": "5m", "backoff.maxDelay": "5m"},
        {"backoff.initialDelay": "6m"},
        "spec.backoff: initialDelay must not be longer than maxDelay",
    ),
    (
        "BackgroundLoop",
        {"backoff.maxDelay": None},
        {"backoff.maxDelay": "1s"},
        "spec.backoff: initialDelay must not be longer than maxDelay",
    ),
    (
        "ArrInstance",
        {"tls": {"insecureSkipVerify": True}},
        {"tls.insecureSkipVerify": True},
        "spec.tls: caSecretRef and insecureSkipVerify exclude each other: check the certificate or do not",
    ),
    (
        "BackgroundLoop",
        {"http.endpoint.tls": {}},
        {"http.endpoint.tls.insecureSkipVerify": True},
        "spec.http.endpoint.tls: caSecretRef and insecureSkipVerify exclude each other",
    ),
    (
        "ArrInstance",
        {"downloadClients.0.name": "other"},
        {"downloadClients.0.qbittorrent": None},
        "spec.downloadClients[0]: type QBittorrent needs the block qbittorrent, and no other type has it",
    ),
    (
        "BackgroundLoop",
        {"http": {"endpoint": {"url": "http://janitor"}}},
        {"http": None},
        "spec: type HTTP needs the block http, and no other type has it",
    ),
    (
        "ArrInstance",
        {"rules": [{**PLAIN, "action": "Report", "when": {"privacy": "Any"}}], "acknowledgeHitAndRun": False},
        {"rules": [{**PLAIN, "when": {"privacy": "Private"}}], "acknowledgeHitAndRun": False},
        "spec.rules: a rule that replaces private torrents (privacy Private or Any) needs acknowledgeHitAndRun: true",
    ),
    (
        "ArrInstance",
        {"rules": [PLAIN], "acknowledgeHitAndRun": None},
        {"rules": [PLAIN, {**PLAIN, "name": "any", "when": {"privacy": "Any"}}], "acknowledgeHitAndRun": None},
        "spec.rules: a rule that replaces private torrents (privacy Private or Any) needs acknowledgeHitAndRun: true",
    ),
    (
        "ArrInstance",
        {"rules": [PLAIN, RULE]},
        {"rules": [PLAIN, RULE, {**PLAIN, "condition": "MetadataStuck"}]},
        "spec.rules: two rules have the same name: names are unique",
    ),
    (
        "ArrInstance",
        {"seeding.goals": [{"name": "films", "ratio": "1.0"}, {"name": "rest", "ratio": "2.0"}]},
        {"seeding.goals": [{"name": "films", "ratio": "1.0"}, {"name": "films", "ratio": "2.0"}]},
        "spec.seeding.goals: two goals have the same name: names are unique",
    ),
    (
        "ArrInstance",
        {"rules.0.condition": "Stalled", "rules.0.when.maxEta": None},
        {"rules.0.when.maxEta": None},
        "spec.rules[0]: condition EtaExceeded needs when.maxEta, and no other condition has it",
    ),
    (
        "ArrInstance",
        {"rules": [PLAIN]},
        {"rules.0.condition": "Stalled"},
        "spec.rules[0]: condition EtaExceeded needs when.maxEta, and no other condition has it",
    ),
    (
        "ArrInstance",
        {"rules.0.when.progressPercent": {"max": 100}},
        {"rules.0.when.progressPercent": {}},
        "spec.rules[0].when.progressPercent: set min, max or both",
    ),
    (
        "ArrInstance",
        {"rules.0.when.progressPercent": {"min": 99, "max": 100}},
        {"rules.0.when.progressPercent": {"min": 50, "max": 50}},
        "spec.rules[0].when.progressPercent: min must be less than max",
    ),
    (
        "ArrInstance",
        {"rules.0.when.size": {"min": "1.5Gi"}},
        {"rules.0.when.size": {}},
        "spec.rules[0].when.size: set min, max or both",
    ),
    (
        "ArrInstance",
        {"rules.0.when.size": {"min": "1000M", "max": "1Gi"}},
        {"rules.0.when.size": {"min": "1Gi", "max": "1000M"}},
        "spec.rules[0].when.size: min must be less than max",
    ),
    (
        "ArrInstance",
        {"hitAndRun": [{"name": "a", "minRatio": "1"}, {"name": "b", "minSeedTime": "1h"}]},
        {"hitAndRun": [{"name": "a", "buffer": "1h"}]},
        "spec.hitAndRun[0]: set minRatio, minSeedTime or both: a policy has to ask for something",
    ),
    (
        "ArrInstance",
        {"seeding.goals": [{"name": "a", "ratio": "1"}, {"name": "b", "time": "1h"}]},
        {"seeding.goals": [{"name": "a", "deleteData": True}]},
        "spec.seeding.goals[0]: set ratio, time or both: a goal has to name something to reach",
    ),
    (
        "ArrInstance",
        {"limits": {"perTurn": 3, "perHour": 3}},
        {"limits": {"perTurn": 4, "perHour": 3}},
        "spec.limits: perTurn must not exceed perHour",
    ),
    (
        "ArrInstance",
        {"limits": {"perHour": 3, "perDay": 3}},
        {"limits": {"perHour": 4, "perDay": 3}},
        "spec.limits: perHour must not exceed perDay",
    ),
    (
        "ArrInstance",
        {"limits": {"perTurn": 3, "perDay": 3}},
        {"limits": {"perTurn": 4, "perDay": 3}},
        "spec.limits: perTurn must not exceed perDay",
    ),
    (
        "ArrInstance",
        {"downloadClients": [CLIENT, {**CLIENT, "name": "b", "qbittorrent": {**QBIT, "url": "http://other"}}]},
        {"downloadClients": [CLIENT, {**CLIENT, "name": "b", "qbittorrent": {**QBIT, "url": SAME_URL}}]},
        "spec.downloadClients: two download clients have the same url: name each program once",
    ),
    (
        "ArrInstance",
        {"timeout": "24h", "url": "http://[fd00::7]:65535/a%20b?c=d"},
        {"timeout": "24h0.001s"},
        "spec.timeout: a duration is written like 30s, 5m or 1h30m (a day is 24h); 1s to 24h here",
    ),
    (
        "BackgroundLoop",
        {"http.endpoint.timeout": "60m", "timeout": "1h"},
        {"http.endpoint.timeout": "61m"},
        "spec.http.endpoint.timeout: a duration is written like 30s, 5m or 1h30m (a day is 24h); 1s to 1h here",
    ),
    (
        "ArrInstance",
        {"hitAndRun": []},
        {"downloadClients": [CLIENT, CLIENT]},
        'spec.downloadClients[1]: {"name":"main"}',
    ),
]
TRANSITIONS = {"self.type == oldSelf.type"}
"""Rules over an old and a new object; test_contract_kubectl tries them."""


@pytest.fixture(scope="session")
def api(control_plane: Cluster) -> Cluster:
    return install(control_plane)


def broken(schema: dict[str, Any], value: Any) -> Iterator[tuple[str, Any, str]]:
    """Values that break one limit of a node each: which limit, the value, what the refusal says."""
    wrong = {"object": [], "array": {}}.get(schema["type"], [])
    yield "type", wrong, f'must be of type {schema["type"]}: "'
    if "enum" in schema:
        yield "enum", "Nonsense", 'Unsupported value: "Nonsense": supported values: "' + schema["enum"][0]
    if "minimum" in schema:
        yield "minimum", schema["minimum"] - 1, f"should be greater than or equal to {schema['minimum']}"
        yield "maximum", schema["maximum"] + 1, f"should be less than or equal to {schema['maximum']}"
    if schema["type"] == "array":
        yield from broken_list(schema, value)
    if schema["type"] == "object":
        yield "unknown", {**value, "fieldOfNobody": 1}, 'unknown field "spec'
        for name in schema.get("required", ()):
            yield f"without-{name}", {key: one for key, one in value.items() if key != name}, "Required value"
    if schema["type"] == "string":
        yield from broken_text(schema)


def broken_list(schema: dict[str, Any], value: list[Any]) -> Iterator[tuple[str, Any, str]]:
    yield "maxItems", value * (schema["maxItems"] + 1), f"must have at most {schema['maxItems']} items"
    if "minItems" in schema:
        yield "minItems", [], f"should have at least {schema['minItems']} items"
    if "x-kubernetes-list-map-keys" in schema:
        yield "sameName", [value[0], value[0]], "Duplicate value"


def broken_text(schema: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    if "maxLength" in schema:
        yield "maxLength", "1" * (schema["maxLength"] + 1), f"may not be more than {schema['maxLength']}"
    for rule in schema.get(VALIDATIONS, ()):
        for number, text in enumerate(BAD_TEXTS[rule["message"]]):
            yield f"form{number}", text, rule["message"]


FIELDS = [
    pytest.param(kind, path, bad, message, id=f"{kind}-{shown(path)}-{limit}")
    for kind, schema in SPECS.items()
    for path, node, value in nodes(schema, FULL[kind])
    for limit, bad, message in broken(node, value)
]


@pytest.mark.parametrize("kind", list(FULL))
def test_the_complete_object_has_every_field_and_passes(api: Cluster, kind: str) -> None:
    reached = {path for path, _, _ in nodes(SPECS[kind], FULL[kind])}
    for path, node, _ in nodes(SPECS[kind], FULL[kind]):
        assert {(*path, name) for name in node.get("properties", {})} <= reached
    assert refusal(api, made(kind, FULL[kind])) == ""


@pytest.mark.parametrize(("kind", "path", "bad", "message"), FIELDS)
def test_a_broken_limit_is_refused_at_its_field_in_words(
    api: Cluster, kind: str, path: Path, bad: Any, message: str
) -> None:
    spec = changed(kind, {})
    if path:
        put(spec, path, bad)
    else:
        spec = bad
    said = refusal(api, made(kind, spec))
    assert message in said
    assert shown(path) in said
    assert "evaluating rule" not in said


@pytest.mark.parametrize(("kind", "passes", "refused", "message"), RULES)
def test_a_rule_over_several_fields_lets_one_pass_and_refuses_the_other(
    api: Cluster, kind: str, passes: dict[str, Any], refused: dict[str, Any], message: str
) -> None:
    assert refusal(api, made(kind, changed(kind, passes))) == ""
    field, _, words = message.partition(": ")
    said = refusal(api, made(kind, changed(kind, refused)))
    assert f"{field}: Invalid value: " in said or f"{field}: Duplicate value: " in said
    assert words in said


def test_every_rule_of_the_schema_is_tried() -> None:
    said = [message.partition(": ")[2] for *_, message in RULES]
    tried = {
        (kind, rule["message"])
        for kind, schema in SPECS.items()
        for _, node, _ in nodes(schema, FULL[kind])
        for rule in node.get(VALIDATIONS, ())
        if not rule["rule"].startswith(FORM) and rule["rule"] not in TRANSITIONS
    }
    assert [(kind, message) for kind, message in tried if not any(one in message for one in said)] == []
    assert len(tried) >= 14


def test_a_refusal_shows_no_regular_expression(api: Cluster) -> None:
    said = refusal(api, made("ArrInstance", changed("ArrInstance", {"interval": "1d", "url": "radarr"})))
    assert not re.search(r"\[0-9\]|\^http", said)


def test_a_list_that_is_full_to_its_end_fits_the_cost_limit(api: Cluster) -> None:
    words = [f"{number:03}" + "x" * 252 for number in range(32)]
    when = {**RULE["when"], "trackers": words, "categories": words, "tags": words}
    rules = [{**RULE, "name": f"rule-{number}", "when": when} for number in range(32)]
    assert refusal(api, made("ArrInstance", changed("ArrInstance", {"rules": rules}))) == ""
    urls = [f"http://host:8080/{number}" + "/x" * 1000 for number in range(8)]
    clients = [{**CLIENT, "name": f"c{at}", "qbittorrent": {**QBIT, "url": url}} for at, url in enumerate(urls)]
    assert refusal(api, made("ArrInstance", changed("ArrInstance", {"downloadClients": clients}))) == ""
