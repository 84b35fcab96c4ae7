"""`looparr sandbox`: a throw-away Kubernetes to try things on, and the stand-ins that go with it."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from looparr.errors import SandboxError

if TYPE_CHECKING:
    from looparr.sandbox.binaries import Found
    from looparr.sandbox.cluster import Cluster
    from looparr.sandbox.progress import Progress

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="A throw-away Kubernetes, and stand-ins to go with it."
)

Folder = Annotated[
    Path | None, typer.Option("--dir", help="The sandbox's folder.  [default: $XDG_STATE_HOME/looparr/sandbox]")
]

Level = Annotated[
    str,
    typer.Option(help="What to run: controlplane (an API server), node (a kubelet and real pods, too; takes root)."),
]


@app.command()
def up(
    level: Level = "controlplane",
    folder: Folder = None,
    foreground: Annotated[bool, typer.Option("--foreground", "-f", help="Stay, and end it all with Ctrl-C.")] = False,
) -> None:
    """Start a Kubernetes; prints the line that points kubectl at it."""
    from looparr.sandbox import cluster, files  # noqa: PLC0415 - keeps `looparr --help` quick

    progress = _progress()
    place = _folder(folder)
    if not foreground:
        _announce(cluster.start(place, level=level, progress=progress), progress)
        return
    if files.is_locked(place):
        raise SandboxError(
            f"A sandbox is up in {place} already: end it with `looparr sandbox down`, or name another --dir."
        )
    with suppress(KeyboardInterrupt):
        try:
            _announce(cluster.start(place, level=level, bind_to_parent=True, progress=progress), progress)
            threading.Event().wait()
        finally:
            cluster.stop(place)


@app.command()
def down(folder: Folder = None) -> None:
    """Stop everything that `up` started and remove it."""
    from looparr.sandbox import cluster  # noqa: PLC0415 - keeps `looparr --help` quick

    place, progress = _folder(folder), _progress()
    with progress.working("Stopping the sandbox"):
        ran = cluster.stop(place)
    progress.note(f"The sandbox in {place} is gone" if ran else f"No sandbox was up in {place}")


@app.command()
def image(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="IMAGE.tar", help="The archive to write.")],
    context: Annotated[Path, typer.Option(help="The folder of the Dockerfile.")] = Path(),
    tag: Annotated[str, typer.Option(help="Name of the image.")] = "looparr:dev",
) -> None:
    """Build a Dockerfile to an archive: with Docker where an engine answers, else without, as root."""
    from looparr.sandbox.image import build  # noqa: PLC0415 - keeps `looparr --help` quick

    into = output.expanduser().absolute()
    build(context.absolute(), tag=tag, into=into, env=os.environ, progress=_progress())
    typer.echo(into)


@app.command()
def load(
    archives: Annotated[list[Path], typer.Argument(metavar="IMAGE.tar", help="What `docker save` or `image` wrote.")],
    folder: Folder = None,
) -> None:
    """Bring container images to the sandbox's node, which pulls from nowhere."""
    from looparr.sandbox.node import images  # noqa: PLC0415 - keeps `looparr --help` quick

    progress = _progress()
    for archive in archives:
        with progress.working(f"Loading {archive}"):
            names = images.load(_folder(folder), archive.expanduser().absolute())
        progress.note(f"{archive}: the node has {', '.join(names)}")


@app.command()
def kubeconfig(
    folder: Folder = None,
    export: Annotated[
        bool, typer.Option("--export", help='Print it, and a kubectl that fits, as a line for eval "$(...)".')
    ] = False,
) -> None:
    """Print the path of the sandbox's kubeconfig."""
    from looparr.sandbox import cluster  # noqa: PLC0415 - keeps `looparr --help` quick

    found = cluster.read(_folder(folder))
    typer.echo(_export(found) if export else found.kubeconfig)


@app.command()
def binaries(
    names: Annotated[list[str] | None, typer.Argument(help="Programs.  [default: those of the level]")] = None,
    *,
    install: Annotated[bool, typer.Option("--install", help="Get what is missing: build, download, apt-get.")] = False,
    level: Level = "controlplane",
) -> None:
    """Say where each program of the sandbox comes from; exit code 1 where one is missing."""
    from looparr.sandbox import binaries as ladder  # noqa: PLC0415 - keeps `looparr --help` quick
    from looparr.sandbox import image, qbittorrent  # noqa: PLC0415 - the same
    from looparr.sandbox.node import system  # noqa: PLC0415 - the same

    ladder.require_level(level)
    progress, on_node = _progress(), level == "node" and not names
    wanted = names or ((*ladder.NODE, "helm") if on_node else ladder.CONTROLPLANE)
    if unknown := set(wanted) - set(ladder.PROGRAMS):
        raise SandboxError(f"There is no program {', '.join(sorted(unknown))}: known are {', '.join(ladder.PROGRAMS)}.")
    finders: list[Callable[[], list[Found]]] = [_finder(name, ladder.resolve, progress, install) for name in wanted]
    if not names:
        finders.append(lambda: [qbittorrent.find(os.environ, install=install, progress=progress)])
    if on_node:
        finders.append(lambda: system.find(os.environ, install=install, progress=progress))
        finders.append(lambda: image.find(os.environ, install=install, progress=progress))
    missing = []
    for find in finders:
        try:
            every = find()
        except SandboxError as error:
            missing.append(str(error))
        else:
            for found in every:
                typer.echo(f"{found.name:<24} {found.version:<10} {found.rung:<22} {found.path}")
    if missing:
        raise SandboxError("\n".join(missing))


@app.command()
def servarr(
    qbittorrent: Annotated[str, typer.Option(help="URL of the qBittorrent that it uses as download client.")],
    arr_type: Annotated[str, typer.Option("--type", help="Which Arr it stands in for.")] = "Radarr",
    port: Annotated[int, typer.Option(help="Loopback port; 0: a free one.", min=0, max=65535)] = 7878,
    username: Annotated[str, typer.Option(help="qBittorrent's user.")] = "",
    password: Annotated[str, typer.Option(envvar="LOOPARR_QBITTORRENT_PASSWORD", help="qBittorrent's password.")] = "",
    api_key: Annotated[str | None, typer.Option(envvar="LOOPARR_SERVARR_KEY", help="A random one by default.")] = None,
    root: Annotated[Path | None, typer.Option(help="Its library's root folder.  [default: a temporary one]")] = None,
    refresh: Annotated[float, typer.Option(help="Seconds between its own looks at the client.", min=0.1)] = 60.0,
) -> None:
    """Stand in for a Radarr, on loopback, until Ctrl-C; prints its URL and API key."""
    from looparr.sandbox.servarr import serve  # noqa: PLC0415 - keeps `looparr --help` quick

    serving = serve(
        arr_type,
        port,
        qbittorrent,
        username=username,
        password=password,
        api_key=api_key,
        root=root,
        refresh_seconds=refresh,
    )
    with suppress(KeyboardInterrupt):
        asyncio.run(serving)


def _announce(found: Cluster, progress: Progress) -> None:
    progress.note(f"Kubernetes is ready at {found.server}; a kubectl that fits: {found.kubectl}")
    typer.echo(_export(found))


def _finder(
    name: str, resolve: Callable[..., dict[str, Found]], progress: Progress, install: bool
) -> Callable[[], list[Found]]:
    return lambda: list(resolve((name,), env=os.environ, progress=progress, may_make=install).values())


def _folder(folder: Path | None) -> Path:
    from looparr.sandbox.files import state_folder  # noqa: PLC0415 - keeps `looparr --help` quick

    return (folder or state_folder(os.environ)).expanduser().absolute()


def _progress() -> Progress:
    from looparr.sandbox.progress import Terminal  # noqa: PLC0415 - keeps `looparr --help` quick

    return Terminal()


def _export(found: Cluster) -> str:
    """Point kubectl at the sandbox, and put one that fits first on PATH; Helm, too, where pods run and it is here."""
    from looparr.sandbox import binaries  # noqa: PLC0415 - keeps `looparr --help` quick

    programs = [found.kubectl]
    if found.level == "node":
        with suppress(SandboxError):
            programs.append(binaries.resolve(("helm",), env=os.environ, may_make=False)["helm"].path)
    folders = [shlex.quote(str(one.parent)) for one in programs if shutil.which(one.name) != str(one)]
    line = f"export KUBECONFIG={shlex.quote(str(found.kubeconfig))}"
    return f'{line} PATH={":".join(folders)}:"$PATH"' if folders else line
