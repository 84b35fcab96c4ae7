"""The spec of a BackgroundLoop: the common part and exactly one block, the one that `type` names; built from TYPES."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, create_model

from looparr.api.model import Model
from looparr.api.schema import Cel
from looparr.api.spec import CommonSpec
from looparr.loops import TYPES, find


def _fields() -> dict[str, Any]:
    """One optional field per type, and `type` itself with the names of all types."""
    names = tuple(one.name for one in TYPES)
    return {
        "type": (Literal[names], Field(description=f"What this loop does: {', '.join(names)}. Immutable.")),
        **{
            one.block: (one.spec | None, Field(default=None, description=f"Type {one.name}. {one.spec.__doc__}"))
            for one in TYPES
        },
    }


if TYPE_CHECKING:
    _Union = CommonSpec
else:
    _Union = create_model("_Union", __base__=CommonSpec, **_fields())


class BackgroundLoopSpec(_Union):
    """What the loop does, how often, and how it behaves when that fails."""

    RULES: ClassVar[tuple[Cel, ...]] = tuple(
        Cel(
            f"(self.type == '{one.name}') == has(self.{one.block})",
            f"type {one.name} needs the block {one.block}, and no other type has it",
        )
        for one in TYPES
    )

    @property
    def block(self) -> Model:
        """The block that `type` names. Raises ValueError when it is missing (only past a loosened CRD)."""
        found = getattr(self, find(self.type).block)
        if not isinstance(found, Model):
            raise ValueError(f"type {self.type} needs the block {find(self.type).block}")  # noqa: TRY004 - bad spec
        return found
