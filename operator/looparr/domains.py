"""What the two kinds are made of: how each spec is read, and how its bodies are built from what the process shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from pydantic import create_model

from looparr.api.meta import ARR_INSTANCE, BACKGROUND_LOOP, Kind
from looparr.api.model import Model
from looparr.arr.gates import OWNER_TAG
from looparr.arr.instance import Instance
from looparr.arr.spec import ArrSpec
from looparr.arr.status import ArrStatus
from looparr.arr.surroundings import Surroundings
from looparr.clients.egress import EgressPolicy
from looparr.clients.http import Http
from looparr.clients.kube_secrets import SecretReader
from looparr.clients.loophttp import LoopHttp
from looparr.clients.qbittorrent.mirror import MirrorPool
from looparr.engine.types import Body, Clock, Subject
from looparr.handlers.subjects import Domain
from looparr.loops import TYPES, find
from looparr.loops.spec import BackgroundLoopSpec
from looparr.loops.tools import Tools
from looparr.runtime.telemetry import Metrics
from looparr.settings import Settings
from looparr.store.store import Store

BLOCKS: type[Model] = create_model("Blocks", __base__=Model, **{one.block: (one.status | None, None) for one in TYPES})  # type: ignore[call-overload] # its fields are known at run time only
"""The status fields of a BackgroundLoop's own: one block per type."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What of the process the domains may build their bodies from."""

    settings: Settings
    clock: Clock
    secrets: SecretReader
    store: Store
    egress: EgressPolicy
    http: Http
    pool: MirrorPool
    metrics: Metrics


def both_kinds(parts: Parts) -> Mapping[Kind, Domain]:
    """Give both kinds."""
    cluster = parts.settings.cluster_id
    around = Surroundings(
        secrets=parts.secrets,
        http=parts.http,
        pool=parts.pool,
        egress=parts.egress,
        store=parts.store,
        clock=parts.clock,
        owner_tag=f"{OWNER_TAG}{cluster}" if cluster else "",
        acted=lambda action, result: parts.metrics.actions.labels(action, result).inc(),
    )
    tools = Tools(LoopHttp(parts.http), parts.secrets)

    def arr_instance(subject: Subject) -> Body:
        return Instance(subject, around)

    def background_loop(subject: Subject) -> Body:
        spec = cast("BackgroundLoopSpec", subject.spec)
        return find(spec.type).build(subject, spec.block, tools)

    return {
        ARR_INSTANCE: Domain(ARR_INSTANCE, ArrSpec.model_validate, arr_instance, ArrStatus),
        BACKGROUND_LOOP: Domain(BACKGROUND_LOOP, BackgroundLoopSpec.model_validate, background_loop, BLOCKS),
    }
