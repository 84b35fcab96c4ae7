"""`looparr demo`: see it work, on real parts, in about a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End as soon as everything was seen (exit 0), or not (1).")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where everything lives.  [default: a temporary folder]")
    ] = None,
) -> None:
    """Start a Kubernetes, two qBittorrents and a Radarr stand-in, and watch Looparr look after them."""
    from looparr.sandbox.demo.play import play  # noqa: PLC0415 - keeps `looparr --help` quick
    from looparr.sandbox.progress import Terminal  # noqa: PLC0415 - the same

    play(once=once, progress=Terminal(), say=typer.echo, folder=folder)
