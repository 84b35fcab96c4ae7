"""The image that others are built on where no registry is asked: a small Debian or Ubuntu with Python."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import files
from looparr.sandbox.image import system
from looparr.sandbox.image.archives import archive
from looparr.sandbox.image.confined import confined
from looparr.sandbox.progress import Progress

NAME = "localhost/looparr-base"
_PACKAGES = ("ca-certificates", "python3", "python3-venv")
_LIMIT = 900.0
_LISTED = "mirror+file:"
# What no program needs at run time, and what names this machine or its mirror.
_SURPLUS = (
    "dev/*",
    "etc/apt/sources.list",
    "etc/machine-id",
    "usr/share/info/*",
    "usr/share/lintian/*",
    "usr/share/locale/*",
    "usr/share/man/*",
    "var/cache/apt/*",
    "var/cache/debconf/*-old",
    "var/cache/ldconfig/*",
    "var/lib/apt/lists/*",
    "var/lib/dpkg/*-old",
    "var/log/*",
)
_EMPTIED = ("etc/hostname", "etc/hosts", "etc/resolv.conf")  # a container gets its own


def base(env: Mapping[str, str], progress: Progress, *, install: bool = False) -> Path:
    """Give the archive of the base image, made once as root (about a minute) and kept; its tag is `name()`.

    env: XDG_CACHE_HOME, HOME, PATH. install: get debootstrap where it is missing. SandboxError that names the cure.
    """
    kept = location(env)
    with files.lock(kept.parent / "lock", limit=_LIMIT), files.making(kept.parent) as work:
        if not kept.exists():
            system.require((system.DEBOOTSTRAP,), env, install=install, progress=progress)
            with progress.working(f"Making a base image of {_suite()} with debootstrap, once (about a minute)"):
                _make(kept, work, env)
            progress.note(f"Base image of {_suite()} with Python: kept in {kept}")
    return kept


def location(env: Mapping[str, str]) -> Path:
    """Say where the archive is kept, or will be: another recipe has another name."""
    recipe = repr((_PACKAGES, _SURPLUS, _EMPTIED, platform.machine()))
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    return files.cache_folder(env) / "images" / "base" / f"{_suite()}-{digest}.tar"


def name() -> str:
    """Give the tag of the base image."""
    return f"{NAME}:{_suite()}"


def mirror(env: Mapping[str, str]) -> tuple[str, list[str]]:
    """Ask apt where the packages of this machine come from: address and components.

    SandboxError where apt does not know a mirror of this machine's own release.
    """
    fields = ("--no-release-info", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)")  # even before an update
    asked = ["apt-get", "indextargets", *fields, "Identifier: Packages"]
    try:
        said = subprocess.run(asked, env=dict(env), capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"apt does not say where its packages come from: {error}") from error
    targets = [line.split() for line in said.splitlines()]
    uri = next((uri for uri, *rest in targets if rest == [_suite(), "main"]), None)
    if uri is None:
        raise SandboxError(f"No source of apt has the component main of {_suite()}: name one in /etc/apt/sources.list.")
    components = (component for other, suite, component in targets if (other, suite) == (uri, _suite()))
    return _plain(uri), list(dict.fromkeys(components))  # once for each architecture


def _plain(uri: str) -> str:
    """Take the first mirror where a file lists them, as the cloud images of Debian have it."""
    if not uri.startswith(_LISTED):
        return uri
    listed = Path(uri.removeprefix(_LISTED).rstrip("/")).read_text().splitlines()
    return next((line.split()[0] for line in listed if line.strip() and line[0] != "#"), uri)


def _make(kept: Path, work: Path, env: Mapping[str, str]) -> None:
    root, layer = work / "root", work / "layer.tar"
    uri, components = mirror(env)
    wanted = (f"--include={','.join(_PACKAGES)}", f"--components={','.join(components)}")
    confined(["debootstrap", "--variant=minbase", *wanted, _suite(), root, uri], work, env=env)
    _slim(root)
    _pack(root, layer)
    with layer.open("rb") as content:
        archive(content, {"Cmd": ["python3"]}, tag=name(), into=kept)


def _suite() -> str:
    """Give the release of this machine: its mirror has that one, whatever else it has."""
    try:
        return platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError) as error:
        raise SandboxError("This is no release of Debian or Ubuntu: build the image with a Docker engine.") from error


def _slim(root: Path) -> None:
    for path in _surplus(root):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for one in _EMPTIED:
        (root / one).unlink(missing_ok=True)
        (root / one).touch()


def _surplus(root: Path) -> Iterator[Path]:
    """What is of no use; of the documentation the licences stay."""
    for pattern in _SURPLUS:
        yield from list(root.glob(pattern))
    for path in list((root / "usr/share/doc").rglob("*")):
        if path.name != "copyright" and not path.is_dir():
            yield path


def _pack(root: Path, into: Path) -> None:
    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uname = member.gname = ""  # numbers count: the names are those of another system
        member.mtime = int(member.mtime)
        return member

    with tarfile.open(into, "w") as tar:
        for path in sorted(root.iterdir()):
            tar.add(path, arcname=path.name, filter=plain)
