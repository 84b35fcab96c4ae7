"""`looparr operator`: the operator itself, as it runs in a pod, or from a shell with a kubeconfig."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def operator(  # a flag for each setting of `looparr.settings`, which says what is right and what is not
    kubeconfig: Annotated[Path | None, typer.Option(help="A kubeconfig file.  [default: the pod's account]")] = None,
    namespace: Annotated[list[str] | None, typer.Option("--namespace", "-n", help="Look after these only.")] = None,
    store: Annotated[Path | None, typer.Option(help="SQLite file for strikes and intents.  [default: memory]")] = None,
    slots: Annotated[str | None, typer.Option(help="Turns that may run at one time.  [default: 100]")] = None,
    probes_host: Annotated[str | None, typer.Option(help="Address of the probes.  [default: 127.0.0.1]")] = None,
    probes_port: Annotated[str | None, typer.Option(help="Port of the probes, 0 any.  [default: 8081]")] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error.  [default: info]")] = None,
    log_format: Annotated[str | None, typer.Option(help="json or console.  [default: json]")] = None,
    grace_seconds: Annotated[str | None, typer.Option(help="From SIGTERM to the end.  [default: 9]")] = None,
    egress_allow_cidr: Annotated[list[str] | None, typer.Option(help="Networks that loops may call.")] = None,
    egress_deny_cidr: Annotated[list[str] | None, typer.Option(help="Networks that loops may not call.")] = None,
    secret_reread_seconds: Annotated[str | None, typer.Option(help="Age of a Secret.  [default: 60]")] = None,
    cluster_id: Annotated[str | None, typer.Option(help="Name of this cluster in tags.")] = None,
) -> None:
    """Run the operator until it is told to stop. Every flag has its variable: --log-level is LOOPARR_LOG_LEVEL."""
    flags = {
        "kubeconfig": kubeconfig,
        "namespaces": namespace,
        "store": store,
        "slots": slots,
        "probes_host": probes_host,
        "probes_port": probes_port,
        "log_level": log_level,
        "log_format": log_format,
        "grace_seconds": grace_seconds,
        "egress_allow_cidrs": egress_allow_cidr,
        "egress_deny_cidrs": egress_deny_cidr,
        "secret_reread_seconds": secret_reread_seconds,
        "cluster_id": cluster_id,
    }
    from looparr.main import main  # noqa: PLC0415 - keeps `looparr --help` quick

    raise typer.Exit(main(flags, os.environ))
