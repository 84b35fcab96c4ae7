"""Wires the services together: settings in, exit code out. The order of `add` is the order of starting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from looparr.api.meta import Kind
from looparr.clients.egress import EgressPolicy
from looparr.clients.http import Http
from looparr.clients.kube import KubeApi
from looparr.clients.kube_access import KubeAccess
from looparr.clients.kube_events import KubeEvents
from looparr.clients.kube_secrets import SecretReader
from looparr.clients.kube_status import KubeStatusWriter
from looparr.clients.qbittorrent.mirror import MirrorPool
from looparr.domains import Parts, both_kinds
from looparr.engine.services import Services, SystemClock
from looparr.engine.slots import Slots
from looparr.handlers.census import Census
from looparr.handlers.operator import Operator
from looparr.handlers.subjects import Domain, SubjectReader
from looparr.runtime.app import OnStop, Runtime, run
from looparr.runtime.telemetry import Metrics, configure_logging
from looparr.settings import Settings, unknown_variables
from looparr.store.store import Store
from looparr.web.probes import Probes

LOG = logging.getLogger(__name__)
OVERLAP = 20.0
"""Seconds beyond the grace period that a pod waits for the store of the one before it, which may still be stopping."""
MakeDomains = Callable[[Parts], Mapping[Kind, Domain]]


def main(flags: Mapping[str, object], environ: Mapping[str, str], make_domains: MakeDomains = both_kinds) -> int:
    """Run the operator until it is told to stop; give the exit code. Raises SettingsError."""
    settings = Settings.load(flags, environ)
    configure_logging(settings.log_level, settings.log_format)
    access = KubeAccess.from_kubeconfig(settings.kubeconfig) if settings.kubeconfig else KubeAccess.from_pod(environ)

    for warning in unknown_variables(environ):
        LOG.warning(warning)
    build = partial(_build, settings=settings, access=access, make_domains=make_domains)
    return run(build, grace=settings.grace_seconds)


async def _build(runtime: Runtime, settings: Settings, access: KubeAccess, make_domains: MakeDomains) -> None:
    metrics, clock, api = Metrics.make(settings.slots), SystemClock(), KubeApi(access)
    writer = KubeStatusWriter(access, measured=lambda how: metrics.status_writes.labels(how).inc())
    slots, events = Slots(settings.slots, clock.monotonic), KubeEvents(api)
    metrics.slots_in_use.set_function(lambda: slots.count - slots.free)
    metrics.slots_waiting.set_function(lambda: slots.asked)
    egress = EgressPolicy.parse(
        map(str, settings.egress_allow_cidrs), map(str, settings.egress_deny_cidrs), access.addresses
    )
    await access.resolve()
    runtime.spawn("api-server-addresses", access.keep_resolved())
    store = await Store.open(
        settings.store, runtime.executors.make("store", 1), patience=settings.grace_seconds + OVERLAP
    )
    http, pool, secrets = Http(egress), MirrorPool(), SecretReader(api, reread=settings.secret_reread_seconds)
    kinds = make_domains(Parts(settings, clock, secrets, store, egress, http, pool, metrics))

    def render() -> bytes:
        metrics.show_loops((loop.ref.kind.kind, loop.status.phase) for loop in operator.book)
        return metrics.render()

    runtime.add(Probes(settings.probes_host, settings.probes_port, checks=runtime.services, render=render))
    for name, part in (("store", store), ("http", http), ("mirrors", pool), ("api", api), ("status-writer", writer)):
        runtime.add(OnStop(name, part.close))
    runtime.add(events)
    services = Services(
        clock=clock,
        writer=writer,
        reader=SubjectReader(api, kinds),
        events=events,
        secrets=secrets,
        slots=slots,
        builds={kind: domain.build for kind, domain in kinds.items()},
        measured=lambda ref, *what: metrics.turn_ended(ref.kind.kind, *what),
    )
    operator = Operator(runtime, access, api, services, kinds, settings.namespaces)
    runtime.add(operator)
    runtime.add(Census(runtime.spawn, api, store, kinds, settings.namespaces, operator.book))
