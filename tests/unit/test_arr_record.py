"""The status block: short, never in the way, and accepted by the schema that the API server has."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_models import HASH, NOW, spec
from looparr.arr.fetch import Observation
from looparr.arr.health import Clock
from looparr.arr.history import History
from looparr.arr.intents import Act, Intent
from looparr.arr.memory import Memory
from looparr.arr.record import MOST, TEXT, message, notes, status_block
from looparr.arr.rules import SAFE_SET
from looparr.arr.standing import Standing
from looparr.arr.states import State
from looparr.arr.status import ArrStatus
from looparr.arr.tracked import Key, Tracked
from looparr.arr.views import Down
from looparr.clients.qbittorrent.client import Versions
from looparr.errors import Transient
from looparr.manifests import crds
from looparr.store.rows import ActionRow
from looparr.store.rows import Memory as Stored

CALM = Standing(warmup_until=0.0)
OBSERVATION = Observation(
    views={},
    history=History(),
    queue={},
    touched=frozenset(),
    roots=(),
    auto_redownload=(True, True),
    arr_version="5.2.6",
    versions={"main": Versions("v5.1.0", "2.11.4"), "other": Versions("v4.5.2", "2.8.19")},
    skew=None,
)
ODD_NAMES = ["", "x" * 5000, "\ud800", "a\x00b", "{}", "\u202eevil", "😀" * 400, "e\u0301" * 400, 'quote"\n\t', "映画"]


def block(memory: Memory, standing: Standing = CALM, **fields: Any) -> dict[str, Any]:
    return status_block(memory, OBSERVATION, spec(**fields), standing, now=NOW, epoch="e:1")


def add(
    memory: Memory, number: int, state: State = State.STALLED, *, name: str = "A Film", strikes: int = 0
) -> Tracked:
    one = memory.track(Key("main", f"{number:040x}", 1), "", NOW + number)
    memory.own(one, owned=True)
    memory.move(one, state, NOW + number)
    one.name = name
    if strikes:
        one.clocks = {"stalled": Clock("d", 60.0, None, strikes, 60.0), "other": Clock("d", 1.0)}
    return one


def action(at: float, result: str = "Verified", **fields: Any) -> ActionRow:
    told: dict[str, Any] = {
        "endpoint": "http://q",
        "client": "main",
        "hash": HASH,
        "name": "A Film",
        "items": (1,),
        "action": "Replace",
        "rule": "stalled",
        "reason": "Stalled for 45m",
    }
    return ActionRow(**{"at": at, "result": result, **told, **fields})


def full_memory() -> Memory:
    """Something of everything that a status can hold."""
    memory = Memory(Stored())
    for number, state in enumerate(State):
        one = add(memory, number, state, strikes=number % 4)
        one.why = "Limits: spec.limits allows no more removals for now"
        one.next_action = "Replace by stalled, once nothing holds it back"
    begun = next(iter(memory.tracked))
    memory.intents[begun] = Intent(
        "i", Act.REPLACE, "main", begun.hash, 1, "A Film", begun.hash, (1,), "stalled", "Stalled", NOW
    )
    for total in ("imported", "blocklisted", "searched", "deleted", "heldBack"):
        memory.add_total(total, 3)
    for number in range(25):
        memory.log(action(NOW + number, rule="stalled" if number % 2 else ""))
    return memory


# --- the API server's view -----------------------------------------------------------------------------------------


def status_schema() -> dict[str, Any]:
    """The schema of .status, strict about names, as the API server is when it prunes what it does not know."""
    definition = next(one for one in crds() if one["spec"]["names"]["kind"] == "ArrInstance")
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    return dict(strict(schema))


def strict(node: Any) -> Any:
    if isinstance(node, list):
        return [strict(one) for one in node]
    if not isinstance(node, dict):
        return node
    closed = {name: strict(value) for name, value in node.items()}
    if "properties" in node and "additionalProperties" not in node:
        closed["additionalProperties"] = False
    return closed


def accepted(status: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(json.dumps(status)), status_schema())


@pytest.mark.parametrize(
    "standing",
    [CALM, Standing(NOW + 60, brake="b", store_lost="s", shrunk="s", offline="main is disconnected", conflict="c")],
)
def test_whatever_is_dumped_is_in_the_schema(standing: Standing) -> None:
    accepted(block(Memory(Stored()), standing))
    accepted(block(full_memory(), standing))
    accepted(block(full_memory(), standing, defaultRules="Exclude"))


def test_the_check_is_strict_about_names_and_types() -> None:
    for wrong in ({"torrentz": 1}, {"attention": [{"nam": "x"}]}, {"attentionCount": "1"}):
        with pytest.raises(jsonschema.ValidationError):
            accepted(wrong)


def test_every_field_of_the_status_is_filled_by_something() -> None:
    """A field that does nothing does not exist."""
    filled = block(full_memory(), replace(CALM, warmup_until=NOW + 60))

    def names(of: Any) -> set[str]:
        return {one.alias or name for name, one in of.model_fields.items()}

    assert set(filled) == names(ArrStatus)
    for part in ("attention", "lastActions"):
        seen = {name for one in filled[part] for name in one}
        kind = ArrStatus.model_fields["attention" if part == "attention" else "last_actions"].annotation
        assert seen == names(kind.__args__[0].__args__[0]), part  # type: ignore[union-attr]
    assert set(filled["versions"]) == {"arr", "qbittorrent", "webApi", "rules"}


# --- contents ------------------------------------------------------------------------------------------------------


def test_an_empty_instance_has_a_short_status() -> None:
    assert block(Memory(Stored())) == {
        "torrents": {"total": 0, "owned": 0},
        "totals": {"imported": 0, "blocklisted": 0, "searched": 0, "deleted": 0, "heldBack": 0},
        "attentionCount": 0,
        "attention": [],
        "lastActions": [],
        "versions": {"arr": "5.2.6", "qbittorrent": "v5.1.0", "webApi": "2.11.4", "rules": SAFE_SET},
        "connectivity": "Connected",
        "storeEpoch": "e:1",
    }


def test_counts_are_by_state_in_the_schema_s_case() -> None:
    memory = full_memory()
    counts = block(memory)["torrents"]
    assert counts["total"] == counts["owned"] == len(State)
    assert counts["seedGoalMet"] == counts["goneByOther"] == 1
    assert sum(counts.values()) == 3 * len(State)


def test_lists_hold_ten_and_texts_three_hundred() -> None:
    memory = Memory(Stored())
    for number in range(30):
        one = add(memory, number, name="n" * 999)
        one.why, one.next_action = "w" * 999, "x" * 999
        memory.log(action(NOW + number, name="n" * 999, reason="r" * 999))
    told = block(memory)
    assert told["attentionCount"] == 30
    assert len(told["attention"]) == len(told["lastActions"]) == MOST
    for part in (told["attention"], told["lastActions"]):
        assert max(len(text) for one in part for text in one.values() if isinstance(text, str)) == TEXT


def test_the_worst_come_first() -> None:
    memory = Memory(Stored())
    for number, strikes in enumerate([0, 2, 1, 2]):
        add(memory, number, name=f"film {number}", strikes=strikes)
    begun = add(memory, 9, State.FAILED, name="going")
    memory.intents[begun.key] = Intent(
        "i", Act.REPLACE, *begun.key, "going", begun.key.hash, (1,), "stalled", "Stalled", NOW
    )
    told = block(memory)["attention"]
    assert [one["name"] for one in told] == ["going", "film 1", "film 3", "film 2", "film 0"]
    assert told[0]["nextAction"] == "Replace: Planned"
    assert (told[1]["rule"], told[1]["strikes"]) == ("stalled", 2)


def test_the_newest_actions_come_first_and_what_is_only_sent_is_not_done() -> None:
    memory = Memory(Stored())
    for number in range(3):
        memory.log(action(NOW + number))
    memory.log(action(NOW + 9, "Sent"))
    times = [one["time"] for one in block(memory)["lastActions"]]
    assert times == sorted(times, reverse=True)
    assert len(times) == 3
    assert datetime.fromisoformat(times[0]).timestamp() == NOW + 2


@pytest.mark.parametrize("name", ODD_NAMES)
def test_no_name_is_too_odd(name: str) -> None:
    memory = Memory(Stored())
    one = add(memory, 1, name=name)
    one.why = one.next_action = name
    memory.log(action(NOW, name=name, reason=name))
    accepted(block(memory))
    json.dumps(block(memory)).encode()


@given(st.text(st.characters(), max_size=700))
def test_any_text_can_be_written(name: str) -> None:
    memory = Memory(Stored())
    add(memory, 1, name=name)
    told = block(memory)["attention"][0]["name"]
    assert len(told) <= TEXT
    told.encode()


# --- conditions and message ----------------------------------------------------------------------------------------


def test_only_what_holds_is_a_condition() -> None:
    assert notes(CALM, durable=True) == ()
    everything = Standing(
        NOW,
        brake="8 of 9 torrents became Stalled within an hour",
        store_lost="the store was lost",
        shrunk="main lost a fifth",
        offline="main is disconnected",
        conflict="another operator's tag",
        skew=-75.0,
    )
    told = {one.type: one for one in notes(everything, durable=False)}
    assert list(told) == [
        "MassFailure",
        "StoreLost",
        "ClientShrunk",
        "Frozen",
        "OwnershipConflict",
        "NotDurable",
        "ClockSkew",
    ]
    assert all("{}" not in one.message and one.message.endswith(".") for one in told.values())
    assert "8 of 9 torrents" in told["MassFailure"].message
    assert "give the operator a store" in told["NotDurable"].message
    assert "-75 s" in told["ClockSkew"].message


def test_a_brace_in_what_is_said_is_not_filled_in() -> None:
    assert "{} down" in notes(Standing(NOW, brake="{} down"), durable=True)[0].message


def test_the_message_says_how_many_and_what_holds() -> None:
    memory = full_memory()
    total = len(State)
    assert message(Memory(Stored()), CALM, now=NOW) == "0 torrents, 0 ours, 0 in trouble"
    held = Standing(NOW + 1, brake="many")
    assert message(memory, held, now=NOW) == (
        f"{total} torrents, {total} ours, {len(memory.in_trouble())} in trouble; 1 removals under way; "
        "warming up: only reporting; removals held (MassFailure)"
    )
    assert "warming" not in message(memory, held, now=NOW + 1)


def test_frozen_clocks_and_the_warm_up_are_shown() -> None:
    told = block(Memory(Stored()), Standing(NOW + 60, offline="main is disconnected"))
    assert told["connectivity"] == "Frozen: main is disconnected"
    assert datetime.fromisoformat(told["warmupUntil"]).timestamp() == NOW + 60
    assert "rules" not in block(Memory(Stored()), defaultRules="Exclude")["versions"]


def test_a_client_that_is_down_is_named_and_lends_nobody_else_its_place() -> None:
    down = {"main": Down(Transient("Unreachable", "main could not be reached"))}
    other = {"other": OBSERVATION.versions["other"]}
    seen = replace(OBSERVATION, versions=other, down=down)
    told = status_block(
        Memory(Stored()), seen, spec(), replace(CALM, offline="other is disconnected"), now=NOW, epoch=""
    )
    assert told["connectivity"] == "Frozen: main is down (Unreachable), other is disconnected"
    assert "qbittorrent" not in told["versions"]
