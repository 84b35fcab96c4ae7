"""Several clients: what is said of those that are down, what they may hold, since when the history is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from arr_models import HASH, NOW, case, link, torrent, view
from looparr.arr.fetch import HISTORY_MARGIN, HISTORY_OVERLAP, Observation, history_span
from looparr.arr.history import History
from looparr.arr.judge import keeps_data
from looparr.arr.views import Down, View, failure
from looparr.clients.qbittorrent.wire import Torrent
from looparr.errors import Blocked, Transient

CUT = Transient("Unreachable", "qBittorrent one:8080 could not be reached: is it up?", retry_after=7.0)
REFUSED = Blocked("LoginRefused", "qBittorrent at two:8080 refused username or password: correct the Secret")
WALL = datetime.fromtimestamp(NOW, UTC)


def test_the_turn_fails_as_the_first_client_that_is_down_does_and_names_all() -> None:
    error = failure(["three"], {"one": Down(CUT), "two": Down(REFUSED)})
    assert (type(error), error.reason, error.__cause__) == (Transient, "Unreachable", CUT)
    assert getattr(error, "retry_after", None) == 7.0
    assert error.message == (
        f"download client one: {CUT.message}; download client two: {REFUSED.message}; "
        "torrents of three are looked after, the others left as they are"
    )
    alone = failure([], {"two": Down(REFUSED)})
    assert (type(alone), alone.reason) == (Blocked, "LoginRefused")
    assert alone.message == f"download client two: {REFUSED.message}"


def seen() -> Observation:
    """One client that shows one torrent."""
    return Observation(
        views={"main": view({HASH: torrent()}, link())},
        history=History(),
        queue={},
        touched=frozenset(),
        roots=(),
        auto_redownload=(True, True),
        arr_version="",
        versions={},
        skew=None,
    )


def test_a_client_that_is_down_still_holds_what_it_had() -> None:
    assert seen().holders([HASH]) == ("main",)
    both = replace(seen(), down={"second": Down(CUT, frozenset({HASH}))})
    assert both.holders([HASH]) == ("main", "second")
    assert both.holders(["b" * 40]) == ()
    assert both.clients == {"main", "second"}


@pytest.mark.parametrize(
    ("last", "kept"),
    [
        (None, True),
        ({}, False),
        ({"b" * 40: torrent(hash="b" * 40)}, True),
        ({"b" * 40: torrent(hash="b" * 40, name="Other", content_path="/data/Other")}, False),
    ],
)
def test_data_stays_that_a_client_that_is_down_may_need(last: dict[str, Torrent] | None, kept: bool) -> None:
    assert not keeps_data(case(), seen())
    assert keeps_data(case(), replace(seen(), down={"second": Down(CUT, last=last)})) is kept


def shown(*days: int) -> View:
    """A client with torrents that were added so many days before now."""
    found = [torrent(hash=f"{day:040x}", added_on=int(NOW) - 86400 * day) for day in days]
    return view({one.hash: one for one in found}, link())


def before(days: float) -> datetime:
    return WALL - timedelta(days=days)


def test_the_history_is_read_from_before_the_oldest_torrent_and_then_since_the_last_look() -> None:
    views = [shown(3, 40)]
    assert history_span(None, None, views, WALL) == before(40) - HISTORY_MARGIN
    assert history_span(None, None, [], WALL) == WALL - HISTORY_MARGIN
    assert history_span(before(1), before(41), views, WALL) == before(1) - HISTORY_OVERLAP
    assert history_span(None, before(41), [], WALL) == before(41), "nothing was found yet"


def test_the_history_is_read_again_for_older_torrents_of_a_client_that_comes_late() -> None:
    late = [shown(3), shown(400)]
    assert history_span(before(1), before(41), late, WALL) == before(400) - HISTORY_MARGIN
