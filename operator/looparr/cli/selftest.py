"""`looparr selftest`: does the operator of this cluster run loops? What `helm test` does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from looparr.hooks.calls import ApiCalls
    from looparr.hooks.steps import Steps

app = typer.Typer(add_completion=False)

_TIDYING = 30.0
"""Seconds beyond the limit in which the loop is made and removed."""


@app.command()
def selftest(
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Where to make the loop.")],
    address: Annotated[str, typer.Option(help="Address of this machine that the operator can call.")],
    kubeconfig: Annotated[Path | None, typer.Option(help="A kubeconfig file.  [default: the pod's account]")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds until the loop must have run.")] = 60.0,
) -> None:
    """Make a BackgroundLoop that calls this process, wait until it has run, and remove it again."""
    from looparr.hooks.errand import carry_out  # noqa: PLC0415 - keeps `looparr --help` quick
    from looparr.hooks.selftest import selftest as see  # noqa: PLC0415 - the same

    async def work(calls: ApiCalls, steps: Steps) -> None:
        await see(calls, steps, namespace=namespace, address=address, limit=timeout)

    carry_out(
        work,
        kubeconfig=kubeconfig,
        environ=os.environ,
        limit=timeout + _TIDYING,
        say=lambda step: typer.echo(step, err=True),
    )
