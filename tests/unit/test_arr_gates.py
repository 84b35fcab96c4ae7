"""What stands between a decision and somebody's data."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arr_models import HASH, NOW, PRIVATE, PUBLIC, UNKNOWN, case, download, grab, rule, seeding, spec, torrent
from looparr.arr import gates
from looparr.arr.health import Finding
from looparr.arr.limits import DAY
from looparr.arr.plan import Situation, decide, refusal
from looparr.arr.rule_spec import Privacy
from looparr.arr.rules import Facts
from looparr.arr.spec import HitAndRun, SeedGoal
from looparr.arr.states import State
from looparr.clients.qbittorrent.wire import Torrent

GIB = 1 << 30
NOBODY_LOOKED = Facts()


def policy(**fields: Any) -> HitAndRun:
    return HitAndRun.model_validate({"name": "house", "minRatio": "1.0", **fields})


def goal(**fields: Any) -> SeedGoal:
    return SeedGoal.model_validate({"name": "enough", "ratio": "1.0", **fields})


# --- protect -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protect", "why"),
    [
        ({"tags": ["keep"]}, "tags"),
        ({"categories": ["radarr"]}, "category"),
        ({"hashes": [HASH.upper()]}, "hash"),
        ({"hashes": ["b" * 64]}, "hash"),
        ({"names": ["a film"]}, "name"),
        ({"names": ["*2026"]}, "name"),
        ({"trackers": ["example.org"]}, "tracker"),
        ({"trackers": ["https://tracker.example.org:443/announce"]}, "tracker"),
    ],
)
def test_each_part_of_protect_protects(protect: dict[str, list[str]], why: str) -> None:
    kept = torrent(tags=frozenset({"keep", "x"}), infohash_v2="b" * 64)
    said = gates.protected(kept, PUBLIC, spec(protect=protect).protect)
    assert said.startswith("Protected: ")
    assert why in said


@pytest.mark.parametrize(
    "protect",
    [
        None,
        {},
        {
            "tags": ["other"],
            "categories": ["tv"],
            "names": ["another"],
            "hashes": ["c" * 40],
            "trackers": ["x.example"],
        },
    ],
)
def test_what_nothing_protects_is_open(protect: dict[str, list[str]] | None) -> None:
    said = spec(protect=protect).protect if protect is not None else None
    assert gates.protected(torrent(tags=frozenset({"keep"})), PUBLIC, said) == ""


@pytest.mark.parametrize("tag", ["looparr-ignore", "Looparr-Ignore"])
def test_the_ignore_tag_always_protects(tag: str) -> None:
    assert "looparr-ignore" in gates.protected(torrent(tags=frozenset({tag})), PUBLIC, None)


def test_trackers_that_nobody_looked_up_may_be_the_protected_ones() -> None:
    protect = spec(protect={"trackers": ["private.example"]}).protect
    assert "not known yet" in gates.protected(torrent(), NOBODY_LOOKED, protect)
    assert gates.protected(torrent(), PUBLIC, protect) == ""


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("film", "A Film 2026", True),
        ("ФИЛЬМ", "Мой фильм 2026", True),
        ("映画", "新しい映画.2026", True),
        ("straße", "STRASSE 2026", True),
        ("Ame\u0301lie", "Am\u00e9lie 2001", True),
        ("\uff21\uff22\uff23", "abc", True),
        ("फिल्म", "मेरी फिल्म", True),
        ("*2026*", "A Film 2026 1080p", True),
        ("A*2026", "A Film 2026 1080p", False),
        ("a ???? 2026", "A Film 2026", True),
        ("a ??? 2026", "A Film 2026", False),
        ("[1080p]", "A Film [1080p]", True),
        ("*[1080p]", "A Film [1080p]", True),
        ("*\n*", "A\nFilm", True),
        ("(.*)", "A Film", False),
    ],
)
def test_names_match_in_any_script(pattern: str, name: str, matches: bool) -> None:
    assert gates.name_matches(pattern, name) is matches


# --- private -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("facts", [PRIVATE, UNKNOWN, NOBODY_LOOKED, Facts(private=None, hosts=("a.example",))])
@pytest.mark.parametrize("privacy", Privacy)
@pytest.mark.parametrize("acknowledged", [False, True])
def test_private_and_unknown_torrents_need_the_word_and_the_rule(
    facts: Facts, privacy: Privacy, acknowledged: bool
) -> None:
    is_open = gates.private(torrent(), facts, privacy, acknowledged=acknowledged) == ""
    assert is_open == (acknowledged and privacy is not Privacy.PUBLIC)


def test_a_public_torrent_is_open_unless_the_client_says_private() -> None:
    for private in (None, False):
        assert gates.private(torrent(private=private), PUBLIC, Privacy.PUBLIC, acknowledged=False) == ""
    assert gates.private(torrent(private=True), PUBLIC, Privacy.ANY, acknowledged=False) != ""


RULES = st.fixed_dictionaries(
    {"condition": st.sampled_from(["Stalled", "MetadataStuck"]), "action": st.sampled_from(["Replace", "Report"])},
    optional={
        "strikes": st.integers(1, 3),
        "when": st.fixed_dictionaries(
            {},
            optional={
                "privacy": st.sampled_from(["Public", "Private", "Any"]),
                "grabbedBy": st.sampled_from(["Automatic", "Any"]),
                "includeForced": st.booleans(),
            },
        ),
    },
)
POLICIES = st.one_of(
    st.none(),
    st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from("ab")},
            optional={
                "minRatio": st.sampled_from(["0", "1.0"]),
                "trackers": st.just(["private.example.org"]),
            },
        ).map(lambda one: {"minSeedTime": "0s", **one}),
        max_size=2,
        unique_by=lambda one: one["name"],
    ),
)
SPECS = st.fixed_dictionaries(
    {"hitAndRun": POLICIES},
    optional={
        "defaultRules": st.sampled_from(["Include", "Exclude"]),
        "limits": st.just({"perTurn": 100, "perHour": 100, "perDay": 100}),
        "protect": st.just({"tags": ["keep"]}),
        "mode": st.sampled_from(["Enforce", "Observe"]),
    },
)
NOT_PUBLIC = st.sampled_from([PRIVATE, UNKNOWN, NOBODY_LOOKED, Facts(private=True), Facts(private=None, hosts=("x",))])
TORRENTS = st.builds(
    torrent,
    state=st.sampled_from(["stalledDL", "metaDL", "forcedDL", "stalledUP", "uploading"]),
    progress=st.sampled_from([0.0, 0.2, 1.0]),
    completed=st.sampled_from([0, 1 << 20, 1000 << 20]),
    downloaded=st.sampled_from([0, 1 << 20, 1000 << 20]),
    uploaded=st.sampled_from([0, 10**12]),
    seeding_time=st.sampled_from([0, 10**8]),
    private=st.sampled_from([None, True]),
)


@given(SPECS, RULES, TORRENTS, NOT_PUBLIC, st.sampled_from(State), st.booleans())
def test_nothing_lets_a_private_or_unknown_torrent_go_without_the_acknowledgement(
    written: dict[str, Any], wanted: dict[str, Any], of: Torrent, facts: Facts, state: State, by_goal: bool
) -> None:
    """The invariant of the planner: whatever rule, default, goal and policy say."""
    told = {name: value for name, value in written.items() if value is not None}
    asked: dict[str, Any] = {"torrent": of, "facts": facts, "state": state, "download": download(imported=(1,))}
    if by_goal:
        asked |= {"goal": goal(ratio="0"), "state": State.SEED_GOAL_MET, "seeding_time": 10.0**8}
    else:
        asked["finding"] = Finding(rule(**{"name": "mine", **wanted}), 1e9, 99, ripe=True)
    situation = Situation(spec(**told), NOW, 0.0)
    one = case(**asked)
    assert refusal(one, situation)
    plan = decide([one], situation)
    assert not plan.removals
    assert plan.held[one.key]


def test_with_the_acknowledgement_and_the_rule_it_goes() -> None:
    """So that the invariant above is not kept by refusing everything."""
    willing = spec(acknowledgeHitAndRun=True, hitAndRun=[])
    one = case(facts=PRIVATE, finding=Finding(rule(when={"privacy": "Any"}), 1e9, 3, ripe=True))
    assert refusal(one, Situation(willing, NOW, 0.0)) == ""


# --- hit-and-run ---------------------------------------------------------------------------------------------------

WHOLE = 1000 << 20
TIME = {"minRatio": None, "minSeedTime": "48h"}


@pytest.mark.parametrize(
    ("asks", "has", "met"),
    [
        ({}, {"uploaded": WHOLE}, True),
        ({}, {"uploaded": WHOLE - 1}, False),
        ({}, {"uploaded": WHOLE, "downloaded": 2 * WHOLE}, False),
        ({}, {"uploaded": WHOLE // 2, "downloaded": 1, "completed": 1}, False),
        ({}, {"uploaded": WHOLE, "size": 0}, False),
        ({}, {"uploaded": 10 * WHOLE, "size": 0, "downloaded": 0, "completed": 0}, False),
        (TIME, {"seeding_time": 72 * 3600}, True),
        (TIME, {"seeding_time": 72 * 3600 - 1}, False),
        (TIME, {}, False),
        (TIME | {"buffer": "0s"}, {"seeding_time": 48 * 3600}, True),
        ({"minSeedTime": "48h"}, {"uploaded": WHOLE}, True),
        ({"minSeedTime": "48h"}, {"seeding_time": 72 * 3600}, True),
        ({"minSeedTime": "48h", "match": "All"}, {"uploaded": WHOLE}, False),
        ({"minSeedTime": "48h", "match": "All"}, {"seeding_time": 72 * 3600}, False),
        ({"minSeedTime": "48h", "match": "All"}, {"uploaded": WHOLE, "seeding_time": 72 * 3600}, True),
    ],
)
def test_a_policy_is_met_by_ratio_or_time_and_never_by_a_missing_value(
    asks: dict[str, Any], has: dict[str, int], met: bool
) -> None:
    asked = policy(**{name: value for name, value in ({"minRatio": "1.0"} | asks).items() if value is not None})
    for facts in (PUBLIC, PRIVATE):
        assert (gates.hit_and_run(seeding(**has), facts, [asked]) == "") is met


@pytest.mark.parametrize("owes", [{"downloaded": 1}, {"completed": 1}, {"progress": 0.001}])
def test_one_byte_owes_also_of_an_incomplete_torrent(owes: dict[str, Any]) -> None:
    nothing: dict[str, Any] = {"downloaded": 0, "completed": 0, "progress": 0.0}
    assert gates.hit_and_run(torrent(**nothing), PRIVATE, None) == ""
    assert gates.hit_and_run(torrent(**nothing), PRIVATE, [policy()]) == ""
    assert gates.hit_and_run(torrent(**nothing | owes), PRIVATE, None) != ""
    assert gates.hit_and_run(torrent(**nothing | owes), PRIVATE, [policy()]) != ""


def test_an_absent_list_leaves_the_terms_unknown_and_an_empty_one_owes_nothing() -> None:
    for facts, owes in ((PUBLIC, False), (PRIVATE, True), (UNKNOWN, True), (NOBODY_LOOKED, True)):
        assert bool(gates.hit_and_run(torrent(), facts, None)) is owes
        assert gates.hit_and_run(torrent(), facts, []) == ""
    assert gates.hit_and_run(torrent(private=True), PUBLIC, None) != ""


def test_all_policies_of_all_trackers_have_to_be_met() -> None:
    hosts = Facts(private=True, hosts=("a.example", "b.example"))
    a = policy(name="a", trackers=["a.example"])
    b = policy(name="b", trackers=["b.example"], minRatio="2.0")
    everybody = policy(name="all", minRatio="3.0")
    once, twice, thrice = (seeding(uploaded=n * WHOLE) for n in (1, 2, 3))
    assert "policy b" in gates.hit_and_run(once, hosts, [a, b])
    assert gates.hit_and_run(twice, hosts, [a, b]) == ""
    assert "policy all" in gates.hit_and_run(twice, hosts, [a, b, everybody])
    assert gates.hit_and_run(thrice, hosts, [a, b, everybody]) == ""


def test_a_private_tracker_that_no_policy_names_owes_on_unknown_terms() -> None:
    a = policy(trackers=["a.example"])
    much = seeding(uploaded=99 * WHOLE)
    for hosts in (("b.example",), ("a.example", "b.example"), ()):
        assert "does not say" in gates.hit_and_run(much, Facts(private=True, hosts=hosts), [a])
        assert gates.hit_and_run(much, Facts(private=False, hosts=hosts), [a]) == ""
    assert gates.hit_and_run(much, Facts(private=True, hosts=("a.example",)), [a]) == ""
    assert gates.hit_and_run(much, Facts(private=True, hosts=("b.example",)), [a, policy(name="all")]) == ""


def test_a_policy_may_apply_to_trackers_that_nobody_looked_up() -> None:
    much = seeding(uploaded=99 * WHOLE)
    assert "not known yet" in gates.hit_and_run(much, Facts(private=False), [policy(trackers=["a.example"])])
    assert gates.hit_and_run(much, Facts(private=False), [policy()]) == ""


# --- goals ---------------------------------------------------------------------------------------------------------


def test_the_first_goal_that_means_a_torrent_counts() -> None:
    goals = [
        {"name": "tv", "categories": ["tv"], "ratio": "1"},
        {"name": "private", "trackers": ["private.example.org"], "ratio": "3"},
        {"name": "rest", "time": "24h"},
    ]
    seeds = spec(seeding={"goals": goals})

    def name(of: Torrent, facts: Facts) -> str | None:
        found = gates.goal_for(of, facts, seeds)
        return found.name if found else None

    assert name(seeding(category="tv"), NOBODY_LOOKED) == "tv"
    assert name(seeding(), PRIVATE) == "private"
    assert name(seeding(), PUBLIC) == "rest"
    assert name(seeding(), NOBODY_LOOKED) is None
    assert gates.goal_for(seeding(), PUBLIC, spec()) is None


@pytest.mark.parametrize(
    ("asks", "uploaded", "seconds", "met"),
    [
        ({"ratio": "1.5"}, 1.5, 0, True),
        ({"ratio": "1.5"}, 1.49, 10**9, False),
        ({"ratio": None, "time": "1h"}, 99, 3599, False),
        ({"ratio": None, "time": "1h"}, 0, 3600, True),
        ({"time": "1h"}, 0, 3600, True),
        ({"time": "1h", "match": "All"}, 1, 3599, False),
        ({"time": "1h", "match": "All"}, 1, 3600, True),
    ],
)
def test_a_goal_is_met_by_ratio_and_time(asks: dict[str, Any], uploaded: float, seconds: float, met: bool) -> None:
    asked = goal(**{name: value for name, value in ({"ratio": "1.0"} | asks).items() if value is not None})
    if "ratio" in asks and asks["ratio"] is None:
        asked = SeedGoal.model_validate({"name": "enough", "time": "1h"})
    assert gates.goal_met(seeding(uploaded=int(uploaded * WHOLE)), asked, seconds) is met


# --- shared data ---------------------------------------------------------------------------------------------------


def at(content: str, *, save: str = "", name: str = "", hash_: str = "b" * 40, size: int = 1) -> Torrent:
    return torrent(hash=hash_, content_path=content, save_path=save, name=name, size=size)


@pytest.mark.parametrize(
    ("mine", "other", "shared"),
    [
        (at("/a/b"), at("/a/b"), True),
        (at("/a/b"), at("/a/b/"), True),
        (at("/a/b"), at("/a/b/c.mkv"), True),
        (at("/a/b/c.mkv"), at("/a/b"), True),
        (at("/a/b"), at("/a/bc"), False),
        (at("/a/bc"), at("/a/b"), False),
        (at("/a/b"), at("/a/c"), False),
        (at("/a/b"), at("/a//./b"), True),
        (at("/a/b"), at("/a/x/../b"), True),
        (at("/A/B"), at("/a/b"), True),
        (at("/a/Am\u00e9lie"), at("/a/Ame\u0301lie"), True),
        (at("C:\\data\\b"), at("C:/data/b"), True),
        (at("/a/b"), at("", save="/a", name="b"), True),
        (at("", save="/a", name="b"), at("/a/b"), True),
        (at("/a/b"), at("/x", save="/a", name="b"), True),
        (at("/a/b"), at("/", save="/"), True),
        (at("/a/b"), at("/a", save="/a", name="magnet", size=0), False),
        (at("/a/b"), at("/a", save="/a", name="b", size=0), True),
        (at("/a/b"), at("/a", save="/a", name="flat", size=1), True),
        (at(""), at("/a/b"), True),
    ],
)
def test_equal_or_nested_data_stays_and_a_common_beginning_of_the_name_is_neither(
    mine: Torrent, other: Torrent, shared: bool
) -> None:
    mine = msgspec.structs.replace(mine, hash=HASH)
    assert gates.shares_data(mine, [mine, other]) is shared


def test_a_torrent_shares_nothing_with_itself_and_the_category_does_not_matter() -> None:
    mine = torrent()
    assert not gates.shares_data(mine, [mine])
    assert gates.shares_data(mine, [mine, torrent(hash="b" * 40, category="cross-seed")])


PATHS = st.lists(st.sampled_from(["a", "b", "bc"]), max_size=4)


@given(PATHS, PATHS)
def test_sharing_is_mutual_and_means_that_one_path_begins_with_the_other(one: list[str], other: list[str]) -> None:
    first, second = at("/" + "/".join(one), hash_="1" * 40), at("/" + "/".join(other), hash_="2" * 40)
    shorter = min(len(one), len(other))
    expected = one[:shorter] == other[:shorter]
    assert gates.shares_data(first, [second]) is gates.shares_data(second, [first]) is expected


@pytest.mark.parametrize(
    ("content", "roots", "inside"),
    [
        ("/movies/A Film", ["/movies"], True),
        ("/movies/A Film", ["/movies/"], True),
        ("/movies", ["/movies/A Film"], True),
        ("/movies-4k/A Film", ["/movies"], False),
        ("/data/A Film", ["/movies", "/data"], True),
        ("/data/A Film", ["/movies", ""], False),
        ("/data/A Film", [], False),
        ("/data/A Film", ["/"], True),
    ],
)
def test_data_in_or_around_a_library_folder_is_never_deleted(content: str, roots: list[str], inside: bool) -> None:
    assert gates.inside_root_folder(at(content), roots) is inside


# --- loop guard ----------------------------------------------------------------------------------------------------


def removed(at_: float, *items: int, hash_: str = "c" * 40, title: str = "A Film", by: str = "x") -> gates.Removed:
    return gates.Removed(at_, hash_, frozenset(items or (1,)), title, by)


@pytest.mark.parametrize(
    ("earlier", "guarded"),
    [
        (removed(NOW - 60, hash_=HASH, title="other", by="other"), True),
        (removed(NOW - DAY, hash_=HASH), True),
        (removed(NOW - DAY - 1, hash_=HASH), False),
        (removed(NOW + 60, hash_=HASH), True),
        (removed(NOW - 60, 1, 2, title="a.film"), True),
        (removed(NOW - 60, 2, title="A Film"), False),
        (removed(NOW - 60, 1, title="A Film 2"), False),
        (removed(NOW - 60, 1, by="another indexer"), False),
    ],
)
def test_the_same_release_again_within_a_day_is_held(earlier: gates.Removed, guarded: bool) -> None:
    said = gates.loop_guard(HASH, frozenset({1}), "A.FILM", "x", [earlier], NOW)
    assert bool(said) is guarded
    assert said.startswith("LoopGuard: ") is guarded


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("Мой.Фильм-2026", "мой фильм 2026", True), ("映画.A", "映画 a", True), ("映画", "画映", False)],
)
def test_titles_are_compared_by_letters_and_digits_of_any_script(one: str, other: str, same: bool) -> None:
    assert (gates.normalised(one) == gates.normalised(other)) is same


def test_the_third_removal_for_one_item_within_a_week_is_only_reported() -> None:
    twice = [removed(NOW - 6 * DAY, 1), removed(NOW - DAY, 1, 2)]
    assert gates.third_removal(frozenset({1, 3}), twice, NOW).startswith("LoopGuard: ")
    assert gates.third_removal(frozenset({2, 3}), twice, NOW) == ""
    assert gates.third_removal(frozenset({1}), twice, NOW + 2 * DAY) == ""
    assert gates.third_removal(frozenset(), twice, NOW) == ""
    assert grab(1).items == {1}
