"""`looparr crds`: the CustomResourceDefinitions, ready for `kubectl apply -f -`."""

from __future__ import annotations

import typer

app = typer.Typer(add_completion=False)


@app.command()
def crds() -> None:
    """Print both CRDs as YAML."""
    from looparr.manifests.files import crds_yaml  # noqa: PLC0415 - keeps `looparr --help` quick

    typer.echo(crds_yaml(), nl=False)
