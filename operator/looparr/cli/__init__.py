"""The commands. Data on stdout, steps and progress on stderr; exit codes 0 ok, 1 failed, 2 usage.

A command's module is imported when the command is asked for: `looparr version` does not wait for Kubernetes.
A new command is a module with `app = typer.Typer(...)` and one line in COMMANDS.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import typer
from typer.core import TyperGroup

import looparr
from looparr.errors import LooparrError, SettingsError

# Command -> module. Where a module's `app` has one command and no callback, that command bears this name itself.
COMMANDS = {
    "crds": "looparr.cli.crds",
    "demo": "looparr.cli.demo",
    "operator": "looparr.cli.operator",
    "release": "looparr.cli.release",
    "sandbox": "looparr.cli.sandbox",
    "selftest": "looparr.cli.selftest",
    "why": "looparr.cli.why",
}
_EXTRAS = {"cryptography": "sandbox", "pykube": "sandbox"}
FAILED, USAGE = 1, 2


class _Lazy(TyperGroup):
    """A group that imports a command's module at its first use."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted({*super().list_commands(ctx), *COMMANDS})

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name]).app)
            command.name = cmd_name
            self.commands[cmd_name] = command
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    cls=_Lazy,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Looparr turns sleep-and-check loops into Kubernetes resources.",
)


@app.callback()
def _looparr() -> None:
    """Looparr turns sleep-and-check loops into Kubernetes resources."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(f"looparr {looparr.__version__}")


def run() -> int:
    """Run the command line; an error of ours is one readable line on stderr and an exit code, never a traceback."""
    try:
        app()
    except SettingsError as error:
        return _complain(error, USAGE)
    except LooparrError as error:
        return _complain(error, FAILED)
    except PermissionError as error:
        return _complain(f"{error.filename}: {error.strerror}; it may belong to another user, such as root", FAILED)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _complain(f"this needs the extra {extra!r}: pip install 'looparr[{extra}]'", FAILED)
    return 0


def _complain(error: object, code: int) -> int:
    sys.stderr.write(f"looparr: {error}\n")
    return code
