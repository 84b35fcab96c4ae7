"""Which of the Arr's download clients is which of ours, and what is left alone because nobody can tell."""

from __future__ import annotations

from typing import Any

import pytest

from arr_models import event, spec
from looparr.arr.history import History
from looparr.arr.owners import Owners, pair
from looparr.clients.servarr_wire import DownloadClient


def theirs(name: str, host: str, port: int = 8080, implementation: str = "QBittorrent") -> DownloadClient:
    return DownloadClient(
        id=1, name=name, enable=True, implementation=implementation, protocol="torrent", host=host, port=port
    )


def owners(*arrs: DownloadClient, **ours: str) -> Owners:
    """Pair the Arr's with ours: name=url."""
    clients: list[dict[str, Any]] = [
        {"name": name, "type": "QBittorrent", "qbittorrent": {"url": url, "credentialsSecretRef": {"name": "q"}}}
        for name, url in ours.items()
    ]
    return pair(arrs, spec(downloadClients=clients).download_clients)


BOTH = {"one": "http://qb-one:8080", "two": "https://QB-Two.example.org/base"}


def test_host_and_port_tell_which_is_which_however_they_are_written() -> None:
    found = owners(theirs("First", "QB-ONE.", 0), theirs("Second", "qb-two.example.org", 443), **BOTH)
    assert found.candidates == {"First": {"one"}, "Second": {"two"}}
    assert found.refusal("one", ["First"], ["one"]) == ""
    assert found.refusal("one", ["First", "Second"], ["one"]).startswith("OtherClient: the Arr handed it to its client")


def test_one_and_one_are_the_same_whatever_they_are_called() -> None:
    found = owners(theirs("qBittorrent", "localhost"), main="http://qbittorrent.media:8080")
    assert found.may_mean("qBittorrent", "main")


def test_a_client_at_an_unknown_address_may_be_any_that_nobody_else_is() -> None:
    found = owners(theirs("First", "qb-one"), theirs("Second", "10.0.0.9"), **BOTH, three="http://qb-three:8080")
    assert found.candidates["Second"] == {"two", "three"}
    assert found.refusal("one", ["Second"], ["one"])
    assert found.refusal("two", ["Second"], ["two"]) == ""


def test_another_kind_of_client_is_never_ours() -> None:
    found = owners(theirs("Deluge", "qb-one", 8080, "Deluge"), one="http://qb-one:8080")
    assert found.refusal("one", ["Deluge"], ["one"])


@pytest.mark.parametrize("name", ["", "renamed since"])
def test_a_name_that_the_arr_does_not_have_says_nothing(name: str) -> None:
    assert owners(theirs("First", "qb-one"), **BOTH).refusal("two", [name], ["two"]) == ""


def test_a_torrent_that_is_in_two_of_ours_is_left_alone_whatever_the_arr_says() -> None:
    found = owners(theirs("First", "qb-one"), **BOTH)
    assert found.refusal("one", ["First"], ["one", "two"]) == (
        "OtherClient: two holds the same torrent, and only one of them is the Arr's"
    )


@pytest.mark.parametrize("name", ["Second", "", "renamed since"])
def test_what_the_arr_may_mean_in_one_of_ours_that_is_down_is_left_alone(name: str) -> None:
    found = owners(theirs("First", "qb-one"), theirs("Second", "10.0.0.9"), **BOTH, three="http://qb-three:8080")
    assert found.refusal("one", ["First"], ["one"], ["two"]) == ""
    assert found.refusal("three", [name], ["three"]) == ""
    assert found.refusal("three", [name], ["three"], ["two"]) == (
        "OtherClient: the Arr may mean one in two, which is down"
    )


@pytest.mark.parametrize(
    ("data", "client"),
    [
        ({"downloadClientName": "First", "downloadClient": "qBittorrent"}, "First"),
        ({"downloadClient": "First"}, "First"),
        ({"downloadClientName": None}, ""),
    ],
)
def test_the_history_names_the_client_of_a_grab(data: dict[str, Any], client: str) -> None:
    history = History()
    [name] = history.merge([event(1, "grabbed", **data)])
    grab = history.downloads[name].grab
    assert grab is not None
    assert grab.client == client
