"""`looparr why HASH|NAME`: why was this torrent removed, or why was it not? Read from the store, without a cluster."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from looparr.errors import SettingsError

if TYPE_CHECKING:
    from looparr.store.rows import Finding

app = typer.Typer(add_completion=False)


@app.command()
def why(
    torrent: Annotated[str, typer.Argument(help="The beginning of its hash, or a part of its name.")],
    store: Annotated[Path | None, typer.Option(help="The operator's store.  [default: $LOOPARR_STORE]")] = None,
) -> None:
    """Say what was observed of a torrent, what was done about it, and why. Exit 1: nothing is known of it."""
    from looparr.store.store import open_readonly  # noqa: PLC0415 - keeps `looparr --help` quick

    path = store or (Path(os.environ["LOOPARR_STORE"]) if os.environ.get("LOOPARR_STORE") else None)
    if path is None:
        raise SettingsError("where is the store? Give --store FILE or set LOOPARR_STORE, as for the operator")
    with open_readonly(path) as opened:
        found = opened.find(torrent)
    if not found:
        typer.echo(f"Nothing is known of {torrent!r}: no torrent of ours bears that name or hash.", err=True)
        raise typer.Exit(1)
    for number, one in enumerate(found):
        if number:
            typer.echo()
        _tell(one)


def _tell(one: Finding) -> None:
    typer.echo(f"{one.name or 'without a name'}  {one.hash}  (download client {one.client})")
    for torrent in one.torrents:
        gone = torrent.data.get("gone_at")
        typer.echo(f"  {torrent.state} since {_time(torrent.since)}{', gone from the client' if gone else ''}")
        if not torrent.data.get("owned"):
            typer.echo("  not ours: this Arr never grabbed it")
        if guarded := torrent.data.get("guarded"):
            typer.echo(f"  held: {guarded}")
    for strike in one.strikes:
        bad = f"at least {max(strike.bad_seconds, strike.last_strike_bad_seconds):.0f}s of bad time counted"
        typer.echo(
            f"  rule {strike.rule}: {strike.strikes} strikes, {bad}{', still matching' if strike.since >= 0 else ''}"
        )
    for intent in one.intents:
        typer.echo(f"  {intent.action} begun {_time(intent.created)}, got to {intent.phase}: {intent.reason}")
    for action in one.actions:
        rule = f" by {action.rule}" if action.rule else ""
        typer.echo(f"  {_time(action.at)} {action.action} {action.result}{rule}: {action.reason}")


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
