"""Durations, quantities, ratios, URLs and names: one form for pydantic and for the API server."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from looparr.api.durations import (
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    Duration,
    LongDuration,
    format_duration,
    parse_duration,
)
from looparr.api.quantities import (
    QUANTITY_MAX_LENGTH,
    QUANTITY_PATTERN,
    RATIO_MAX_LENGTH,
    RATIO_PATTERN,
    Quantity,
    Ratio,
    parse_quantity,
    parse_ratio,
)
from looparr.api.refs import Category, ItemName, SecretKey, SecretName, Url, Words
from looparr.api.schema import VALIDATIONS

INT64 = 2**63 - 1

GOOD = [
    (Duration, "0s"),
    (Duration, "250ms"),
    (Duration, "1h30m"),
    (Duration, "1.5h"),
    (LongDuration, "24h"),
    (Quantity, "50Gi"),
    (Quantity, "1.5M"),
    (Quantity, "123"),
    (Ratio, "1.5"),
    (Ratio, "0"),
    (Url, "http://radarr:7878"),
    (Url, "https://[::1]:8443/radarr/"),
    (Url, "http://host/a@b?c=d"),
    (ItemName, "main"),
    (ItemName, "Never_arrives.4K"),
    (SecretName, "radarr-api"),
    (SecretKey, "api_Key.txt"),
    (Category, "films/4k"),
    (Words, "Das große Rätsel 謎"),
]
BAD = [
    (Duration, ""),
    (Duration, "1d"),
    (Duration, "5"),
    (Duration, "-5s"),
    (Duration, "30s\n"),
    (Duration, "999999h"),
    (Duration, "1s2s3s4s5s"),
    (Quantity, "5 Gi"),
    (Quantity, "1e6"),
    (Quantity, "1KB"),
    (Ratio, "1,5"),
    (Ratio, "-1"),
    (Ratio, ".5"),
    (Url, "radarr:7878"),
    (Url, "ftp://radarr"),
    (Url, "http://user:secret@radarr:7878"),
    (Url, "http://radarr:7878/a b"),
    (Url, "http://radarr?apikey=1"),
    (Url, "http://" + "a" * 2048),
    (ItemName, ""),
    (ItemName, "-main"),
    (ItemName, "a" * 64),
    (SecretName, "Radarr"),
    (SecretKey, "a/b"),
    (Category, ""),
    (Category, "  "),
    (Words, "\t"),
]


@pytest.mark.parametrize(("kind", "text"), GOOD)
def test_a_text_of_the_right_form_stays_as_it_was_written(kind: Any, text: str) -> None:
    assert TypeAdapter(kind).validate_python(text) == text


@pytest.mark.parametrize(("kind", "text"), BAD)
def test_a_text_of_a_wrong_form_is_refused_in_words(kind: Any, text: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(text)
    (message,) = [error["msg"] for error in caught.value.errors()]
    (rule,) = TypeAdapter(kind).json_schema()[VALIDATIONS]
    assert message == f"Value error, {rule['message']}"


def test_every_kind_of_text_tells_the_api_server_its_length_and_its_rule() -> None:
    for kind in {id(one): one for one, _ in GOOD}.values():
        schema = TypeAdapter(kind).json_schema()
        assert schema["maxLength"] <= 2048
        assert schema[VALIDATIONS][0]["rule"].startswith("self.matches(r'")


@given(st.from_regex(DURATION_PATTERN, fullmatch=True).filter(lambda text: len(text) <= DURATION_MAX_LENGTH))
def test_every_duration_of_the_pattern_has_seconds_that_int64_nanoseconds_can_hold(text: str) -> None:
    assert TypeAdapter(Duration).validate_python(text) == text
    assert 0 <= parse_duration(text) * 1e9 <= INT64


@given(st.integers(min_value=1, max_value=9_999_999))
def test_whole_seconds_survive_being_written_and_read(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.from_regex(QUANTITY_PATTERN, fullmatch=True).filter(lambda text: len(text) <= QUANTITY_MAX_LENGTH))
def test_every_quantity_of_the_pattern_is_a_number_of_bytes(text: str) -> None:
    assert TypeAdapter(Quantity).validate_python(text) == text
    assert parse_quantity(text) >= 0


@given(st.from_regex(RATIO_PATTERN, fullmatch=True))
def test_every_ratio_of_the_pattern_is_a_number_and_fits(text: str) -> None:
    assert len(text) <= RATIO_MAX_LENGTH
    assert TypeAdapter(Ratio).validate_python(text) == text
    assert parse_ratio(text) >= 0
