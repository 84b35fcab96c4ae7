"""From a stored object, of whatever shape, to what a turn sees; and back again for the fence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from looparr.api.meta import Kind, ObjectRef
from looparr.api.model import Model
from looparr.api.spec import CommonSpec
from looparr.clients.kube import KubeApi
from looparr.engine.types import Build, Subject

ParseSpec = Callable[[Mapping[str, Any]], CommonSpec]
"""Reads a stored spec. Raises ValueError (pydantic's ValidationError is one) whose text names field and cure."""

MESSAGE_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Domain:
    """One kind as the operator needs it: how its spec is read and how its bodies are built.

    status: the model of the status fields of the kind's own, which stand beside the common ones.
    """

    kind: Kind
    parse: ParseSpec
    build: Build
    status: type[Model]


def parse_subject(domain: Domain, raw: Mapping[str, Any], known: Subject | None = None) -> Subject:
    """Read an object as the API server gives it. Never fails: what is damaged takes a harmless value.

    known: what is known of the same object; its spec is used again while the generation is the same.
    """
    meta = _mapping(raw.get("metadata"))
    generation = meta.get("generation")
    generation = generation if isinstance(generation, int) else 0
    ref = ObjectRef(domain.kind, str(meta.get("namespace", "")), str(meta.get("name", "")), str(meta.get("uid", "")))
    if known is not None and known.generation == generation and known.ref == ref:
        ref, spec, invalid = known.ref, known.spec, known.invalid
    else:
        spec, invalid = _spec(domain, raw.get("spec"))
    return Subject(
        ref=ref,
        generation=generation,
        created=_time(meta.get("creationTimestamp")),
        spec=spec,
        annotations=_strings(meta.get("annotations")),
        labels=_strings(meta.get("labels")),
        deleting=bool(meta.get("deletionTimestamp")),
        invalid=invalid,
    )


class SubjectReader:
    """Reads one object afresh for the fence."""

    def __init__(self, api: KubeApi, domains: Mapping[Kind, Domain]) -> None:
        self._api = api
        self._domains = domains

    async def read(self, ref: ObjectRef) -> Subject | None:
        """Give the object as it is now; None when it is not there. Raises LoopError."""
        raw = await self._api.read_object(ref)
        return None if raw is None else parse_subject(self._domains[ref.kind], raw)


def _spec(domain: Domain, stored: Any) -> tuple[CommonSpec | None, str]:
    if not isinstance(stored, Mapping):
        return None, "spec is missing or no object; apply the object again."
    try:
        return domain.parse(stored), ""
    except ValidationError as error:
        faults = (f"spec.{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        return None, "; ".join(faults)[:MESSAGE_LIMIT]
    except Exception as error:  # noqa: BLE001 - a spec of any shape must not end a loop
        return None, f"spec: {error}"[:MESSAGE_LIMIT]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _strings(value: Any) -> dict[str, str]:
    return {key: text for key, text in _mapping(value).items() if isinstance(text, str)}


def _time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return datetime(1970, 1, 2, tzinfo=UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
