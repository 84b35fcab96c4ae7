"""BackgroundLoop: one module per type, and the one table that knows them all.

A new type is one module and one line in TYPES. The union of the CRD, its rules and the chart's roles follow from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from looparr.api.model import Model
from looparr.api.rbac import PolicyRule
from looparr.engine.types import Body, Subject
from looparr.loops.http import HTTPBody, HTTPSpec, HTTPStatus
from looparr.loops.tools import Tools


@dataclass(frozen=True, slots=True)
class LoopType:
    """One type of BackgroundLoop.

    name: value of spec.type. block: name of its part of spec and status, lowerCamelCase. spec, status: the models of
    those parts. build: makes a body from the object and its block. rules: what the operator must be allowed to do in
    the cluster for it, beyond what every loop needs.
    """

    name: str
    block: str
    spec: type[Model]
    status: type[Model]
    build: Callable[[Subject, Model, Tools], Body]
    rules: tuple[PolicyRule, ...] = ()


TYPES: tuple[LoopType, ...] = (LoopType("HTTP", "http", HTTPSpec, HTTPStatus, HTTPBody),)


def find(name: str) -> LoopType:
    """Give the type of that name. Raises KeyError."""
    return {one.name: one for one in TYPES}[name]
