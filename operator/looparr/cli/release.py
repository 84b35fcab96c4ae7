"""`looparr release`: free objects that wait for an operator which is not there any more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from looparr.hooks.calls import ApiCalls
    from looparr.hooks.steps import Steps

app = typer.Typer(add_completion=False)


@app.command()
def release(
    kubeconfig: Annotated[Path | None, typer.Option(help="A kubeconfig file.  [default: the pod's account]")] = None,
    namespace: Annotated[list[str] | None, typer.Option("--namespace", "-n", help="Free objects here only.")] = None,
    stop: Annotated[
        str | None, typer.Option(metavar="NAMESPACE/NAME", help="First scale this Deployment, the operator's, to 0.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which to give up.")] = 240.0,
) -> None:
    """Take the operator's finalizer off all objects, so that they can be deleted without it. They stay."""
    from looparr.hooks.errand import carry_out  # noqa: PLC0415 - keeps `looparr --help` quick
    from looparr.hooks.release import Deployment  # noqa: PLC0415 - the same
    from looparr.hooks.release import release as free  # noqa: PLC0415 - the same

    deployment = Deployment.parse(stop) if stop else None

    async def work(calls: ApiCalls, steps: Steps) -> None:
        await free(calls, steps, namespaces=namespace or (), stop=deployment)

    carry_out(
        work, kubeconfig=kubeconfig, environ=os.environ, limit=timeout, say=lambda step: typer.echo(step, err=True)
    )
