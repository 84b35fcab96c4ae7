"""What builds a Dockerfile: a Docker engine that answers, else buildah as root, which needs nothing to run before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from looparr.sandbox.image import bootstrap, system
from looparr.sandbox.image.confined import confined, run
from looparr.sandbox.progress import Progress

_PROXIES = ("ALL_PROXY", "FTP_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")  # not recorded by engines
_BASE = re.compile(r"^\s*ARG\s+BASE\b", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Order:
    """One image to be built.

    context: a folder all of which may be used. args: of the Dockerfile. secrets: id -> file. work: a folder for
    everything else, where `image.tar` is to be written.
    """

    context: Path
    dockerfile: Path
    tag: str
    labels: Mapping[str, str]
    args: Mapping[str, str]
    secrets: Mapping[str, Path]
    work: Path

    @property
    def output(self) -> Path:
        """Where the archive is to be written."""
        return self.work / "image.tar"

    def flags(self) -> list[str]:
        """The flags on which docker and buildah agree."""
        given = [("--file", str(self.dockerfile))]
        given += [("--label", f"{name}={value}") for name, value in self.labels.items()]
        given += [("--build-arg", f"{name}={value}") for name, value in self.args.items()]
        given += [("--secret", f"id={name},src={path}") for name, path in self.secrets.items()]
        return [part for pair in given for part in pair]


class Engine(Protocol):
    """Builds images."""

    def foundation(self, dockerfile: str) -> str:
        """Say what a Dockerfile's ARG BASE will be, in a word that changes with it."""

    def build(self, order: Order) -> None:
        """Build the image and write `order.output`; SandboxError where that fails."""


@dataclass(frozen=True, slots=True)
class Docker:
    """A Docker engine, with the Dockerfile's own base."""

    env: Mapping[str, str]
    progress: Progress

    def foundation(self, dockerfile: str) -> str:  # noqa: ARG002 - the protocol has it
        """Nothing is put in its place."""
        return "docker"

    def build(self, order: Order) -> None:
        """Build with BuildKit, and save."""
        env = {**self.env, "DOCKER_BUILDKIT": "1"}
        proxies = [name for one in _PROXIES for name in (one, one.lower()) if env.get(name)]
        passed = [part for name in proxies for part in ("--build-arg", name)]
        make: list[str | Path] = ["docker", "build", *order.flags(), *passed, "--tag", order.tag, order.context]
        with self.progress.working(f"Building {order.tag} with Docker"):
            run(make, env=env, name="docker build")
            run(["docker", "save", "--output", order.output, order.tag], env=env, name="docker save")


@dataclass(frozen=True, slots=True)
class Buildah:
    """Buildah in a chroot, with a store that lives as long as one build: root's own stays untouched."""

    env: Mapping[str, str]
    progress: Progress
    install: bool

    def foundation(self, dockerfile: str) -> str:
        """The local base image, where one is asked for."""
        return bootstrap.location(self.env).name if _BASE.search(dockerfile) else "none"

    def build(self, order: Order) -> None:
        """Lay the base, build on it, and push into an archive."""
        system.require((system.BUILDAH,), self.env, install=self.install, progress=self.progress)
        flags = ["--format", "docker", "--layers=false", "--isolation", "chroot", "--network", "host", *order.flags()]
        if _BASE.search(order.dockerfile.read_text()):
            laid = bootstrap.base(self.env, self.progress, install=self.install)
            self._do(order, "pull", f"docker-archive:{laid}")
            flags = ["--build-arg", f"BASE={bootstrap.name()}", *flags]
        image = order.work / "image-id"
        self._do(order, "build", *flags, "--iidfile", image, order.context)
        self._do(order, "push", image.read_text().strip(), f"docker-archive:{order.output}:{order.tag}")

    def _do(self, order: Order, verb: str, *rest: str | Path) -> None:
        store = ("--storage-driver", "vfs", "--root", order.work / "store", "--runroot", order.work / "runroot")
        with self.progress.working(f"{_SAID[verb]} {order.tag} with buildah"):
            confined(["buildah", verb, *store, *rest], order.work, env=self.env)


_SAID = {"pull": "Laying the base of", "build": "Building", "push": "Writing"}


def choose(env: Mapping[str, str], progress: Progress, *, install: bool) -> Engine:
    """Take Docker where an engine answers, else buildah."""
    return Docker(env, progress) if system.docker(env) else Buildah(env, progress, install)
