"""The settings of the process: one frozen object, built once at the start from flags and LOOPARR_* variables.

A flag beats its variable, a variable beats the default. Nothing reads the environment at import; whoever starts the
process passes it in. A wrong setting is a sentence for a person (SettingsError, exit code 2), never a traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, IPvAnyNetwork, StringConstraints, ValidationError

from looparr.errors import SettingsError

PREFIX = "LOOPARR_"
FOREIGN = ("LOOPARR_SANDBOX_BIN", "LOOPARR_QBITTORRENT", "LOOPARR_RADARR_")
"""Variables (or, with `_` at the end, their beginnings) that belong to the sandbox and the tests."""


def _split(value: object) -> object:
    """Read `a,b c` as three values, as people write lists in a variable."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


Label = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Words = BeforeValidator(_split)


class Settings(BaseModel):
    """All settings of the process. Times are in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kubeconfig: Path | None = None
    """Path of a kubeconfig file; none means the pod's own ServiceAccount."""
    namespaces: Annotated[tuple[Label, ...], Words] = ()
    """Namespaces to look after, names of at most 63 lower-case letters, digits and dashes; none means all."""
    store: Path | None = None
    """Path of the SQLite file for strikes, intents and the action log; none keeps them in memory."""
    slots: int = Field(100, ge=1, le=10_000)
    """Turns that may run at one time: a whole number from 1 to 10000."""
    probes_host: str = Field("127.0.0.1", min_length=1)
    """Address on which the probes listen; 0.0.0.0 in a pod."""
    probes_port: int = Field(8081, ge=0, le=65535)
    """Port of /livez, /readyz and /metrics: 0 to 65535, 0 takes a free one."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is logged: debug, info, warning or error."""
    log_format: Literal["json", "console"] = "json"
    """How log lines look: json or console."""
    grace_seconds: float = Field(9.0, ge=1, le=3600, allow_inf_nan=False)
    """Seconds from SIGTERM to the end of the process: 1 to 3600, less than the pod's terminationGracePeriodSeconds."""
    egress_allow_cidrs: Annotated[tuple[IPvAnyNetwork, ...], Words] = ()
    """Networks that loops may call, like 10.0.0.0/8; none means all that are not denied."""
    egress_deny_cidrs: Annotated[tuple[IPvAnyNetwork, ...], Words] = ()
    """Networks that loops may never call, like 169.254.0.0/16."""
    secret_reread_seconds: float = Field(60.0, ge=1, le=3600, allow_inf_nan=False)
    """Seconds after which a Secret is read again: 1 to 3600."""
    cluster_id: Label | None = None
    """Name of this cluster in tags and reports: at most 63 lower-case letters, digits and dashes."""

    @classmethod
    def load(cls, flags: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
        """Build the settings.

        flags: by field name; None and an empty list mean "not given".
        environ: the process environment; an empty variable means "not given".
        Raises SettingsError that lists every fault with flag, variable and cure.
        """
        values: dict[str, object] = {}
        for field in cls.model_fields:
            if (text := environ.get(variable_of(field), "").strip()) != "":
                values[field] = text
        values |= {field: value for field, value in flags.items() if value is not None and value not in ((), [])}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            given = {field for field in values if flags.get(field) is not None}
            raise SettingsError(_explain(error, given)) from None


def flag_of(field: str) -> str:
    """Give the flag of a field; a list is given by repeating its singular: namespaces -> --namespace."""
    singular = field.removesuffix("s") if field in {"namespaces", "egress_allow_cidrs", "egress_deny_cidrs"} else field
    return "--" + singular.replace("_", "-")


def variable_of(field: str) -> str:
    """Give the variable of a field: probes_port -> LOOPARR_PROBES_PORT."""
    return PREFIX + field.upper()


def unknown_variables(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Warn of LOOPARR_* variables that nobody reads, one sentence each; most often a typing mistake."""
    known = {variable_of(field) for field in Settings.model_fields}
    return tuple(
        f"{name} is not a setting of looparr and was ignored: known are {', '.join(sorted(known))}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known and not _is_foreign(name)
    )


def _is_foreign(name: str) -> bool:
    return any(name == known or (known.endswith("_") and name.startswith(known)) for known in FOREIGN)


def _explain(error: ValidationError, given: set[str]) -> str:
    """Write one line per wrong field: where it came from, what is wrong, what it should be."""
    faults: dict[str, str] = {}
    for fault in error.errors(include_url=False, include_context=False):
        field = str(fault["loc"][0])
        known = Settings.model_fields.get(field)
        if known is None:
            faults[field] = f"{field}: there is no such setting"
            continue
        names = f"{flag_of(field)} (variable {variable_of(field)})"
        source = "given as a flag" if field in given else "given as a variable"
        faults.setdefault(
            field, f"{names}: {fault['msg']}, {source} as {_short(fault['input'])}. It is: {known.description}"
        )
    return "wrong settings:\n" + "\n".join(f"  {line}" for line in faults.values())


def _short(value: object) -> str:
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")  # noqa: PLR2004 - what fits a line
