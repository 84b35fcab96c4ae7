"""The base of every model that crosses the API server: camelCase outside, snake_case inside, frozen."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, PlainSerializer
from pydantic.alias_generators import to_camel

from looparr.api.schema import Cel, collect


class Model(BaseModel):
    """A piece of a spec or status. Unknown fields are ignored: a newer CRD may hold them.

    RULES: what the API server shall check of the whole object; rules of the bases come first.
    """

    RULES: ClassVar[tuple[Cel, ...]] = ()

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        json_schema_extra=collect,
    )


@lru_cache(4096)  # each time is written again with every status until it has left the history
def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds (rounded down), as Kubernetes writes times."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


Time = Annotated[datetime, PlainSerializer(format_time, return_type=str)]
"""An aware datetime; in a stored object RFC 3339 in whole seconds."""
