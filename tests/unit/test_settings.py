from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from looparr.errors import SettingsError
from looparr.settings import Settings, flag_of, unknown_variables, variable_of


def test_defaults_need_nothing() -> None:
    settings = Settings.load({}, {})
    assert settings.slots == 100
    assert settings.grace_seconds == 9
    assert settings.secret_reread_seconds == 60
    assert settings.namespaces == ()
    assert settings.store is None
    assert settings.cluster_id is None


@given(flag=st.none() | st.integers(1, 10_000), variable=st.none() | st.integers(1, 10_000))
def test_a_flag_beats_a_variable_and_a_variable_the_default(flag: int | None, variable: int | None) -> None:
    environ = {} if variable is None else {"LOOPARR_SLOTS": str(variable)}
    settings = Settings.load({"slots": flag}, environ)
    assert settings.slots == next(value for value in (flag, variable, 100) if value is not None)


def test_every_setting_can_come_from_its_variable() -> None:
    settings = Settings.load(
        {},
        {
            "LOOPARR_KUBECONFIG": "conf/kube",
            "LOOPARR_NAMESPACES": "media, films tv",
            "LOOPARR_STORE": "data/looparr.db",
            "LOOPARR_PROBES_HOST": "::1",
            "LOOPARR_PROBES_PORT": "0",
            "LOOPARR_LOG_LEVEL": "debug",
            "LOOPARR_LOG_FORMAT": "console",
            "LOOPARR_GRACE_SECONDS": "4.5",
            "LOOPARR_EGRESS_ALLOW_CIDRS": "10.0.0.0/8,fd00::/8",
            "LOOPARR_EGRESS_DENY_CIDRS": "169.254.0.0/16",
            "LOOPARR_SECRET_REREAD_SECONDS": "5",
            "LOOPARR_CLUSTER_ID": "home",
        },
    )
    assert settings.kubeconfig == Path("conf/kube")
    assert settings.namespaces == ("media", "films", "tv")
    assert settings.store == Path("data/looparr.db")
    assert (settings.probes_host, settings.probes_port) == ("::1", 0)
    assert (settings.log_level, settings.log_format) == ("debug", "console")
    assert (settings.grace_seconds, settings.secret_reread_seconds) == (4.5, 5)
    assert settings.egress_allow_cidrs == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.egress_deny_cidrs == (ip_network("169.254.0.0/16"),)
    assert settings.cluster_id == "home"


def test_lists_of_flags_are_taken_and_an_empty_one_means_not_given() -> None:
    environ = {"LOOPARR_NAMESPACES": "media"}
    assert Settings.load({"namespaces": ["a", "b"]}, environ).namespaces == ("a", "b")
    assert Settings.load({"namespaces": []}, environ).namespaces == ("media",)


def test_an_empty_variable_means_not_given() -> None:
    assert Settings.load({}, {"LOOPARR_SLOTS": " ", "LOOPARR_STORE": ""}) == Settings.load({}, {})


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        ({"slots": 0}, {}, ["--slots", "LOOPARR_SLOTS", "greater than or equal to 1", "as a flag", "from 1 to 10000"]),
        ({}, {"LOOPARR_SLOTS": "many"}, ["--slots", "LOOPARR_SLOTS", "valid integer", "as a variable", "'many'"]),
        ({}, {"LOOPARR_PROBES_PORT": "70000"}, ["--probes-port", "LOOPARR_PROBES_PORT", "65535"]),
        ({"log_level": "loud"}, {}, ["--log-level", "'debug', 'info', 'warning' or 'error'", "'loud'"]),
        ({}, {"LOOPARR_NAMESPACES": "Media"}, ["--namespace ", "LOOPARR_NAMESPACES", "'Media'", "lower-case"]),
        ({}, {"LOOPARR_EGRESS_DENY_CIDRS": "10.0.0/8"}, ["--egress-deny-cidr ", "'10.0.0/8'", "169.254.0.0/16"]),
        ({}, {"LOOPARR_GRACE_SECONDS": "nan"}, ["--grace-seconds", "finite"]),
        ({"colour": "red"}, {}, ["colour: there is no such setting"]),
    ],
)
def test_a_wrong_setting_names_flag_variable_fault_and_cure(
    flags: dict[str, object], environ: dict[str, str], words: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load(flags, environ)
    for word in words:
        assert word in str(caught.value)
    assert "\n" in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({"slots": -1}, {"LOOPARR_LOG_FORMAT": "xml", "LOOPARR_PROBES_PORT": "x"})
    assert len(str(caught.value).splitlines()) == 4


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings.load({}, {}).slots = 5  # type: ignore[misc]


def test_unknown_variables_are_warned_of_and_foreign_ones_are_not() -> None:
    environ = {
        "LOOPARR_SLOT": "5",
        "LOOPARR_SLOTS": "5",
        "LOOPARR_SANDBOX_BIN": "bin",
        "LOOPARR_QBITTORRENT": "q",
        "LOOPARR_RADARR_URL": "u",
        "PATH": "p",
    }
    (warning,) = unknown_variables(environ)
    assert warning.startswith("LOOPARR_SLOT is not a setting")
    assert "LOOPARR_SLOTS" in warning


def test_every_setting_has_a_flag_a_variable_and_a_description() -> None:
    for name, field in Settings.model_fields.items():
        assert flag_of(name).startswith("--")
        assert variable_of(name).startswith("LOOPARR_")
        assert field.description
