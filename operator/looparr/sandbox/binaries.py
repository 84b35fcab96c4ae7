"""Where the programs of the sandbox come from: one ladder of five rungs, and every rung says why it did not hold.

1 a folder that the user names (LOOPARR_SANDBOX_BIN, KUBEBUILDER_ASSETS), 2 PATH, 3 our cache, 4 the official release,
checked against a pinned SHA-256, 5 `go build` from the pinned modules in `tools/`. Rungs 4 and 5 fill the cache; a
file gets its name there only after it was verified, so a half-finished one is never used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from looparr.errors import SandboxError
from looparr.sandbox import files
from looparr.sandbox.golang import MissedError, find_go
from looparr.sandbox.progress import Progress, Silent

KUBERNETES, ETCD, HELM, KIND, PAUSE = "v1.35.4", "v3.6.8", "v4.3.1", "v0.33.0", "v1.0.0"
_TOOLS = Path(__file__).parent / "tools"
# What the linker writes into programs that would not know their own version, by pinned module.
_STAMPS = {
    "kubernetes": {
        f"k8s.io/component-base/version.{key}": value
        for key, value in (("gitVersion", KUBERNETES), ("gitMajor", "1"), ("gitMinor", "35"))
    },
    "helm": {"helm.sh/helm/v4/internal/version.version": HELM},
}
_BUILD_LIMIT = 1800.0
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)\S*")

# SHA-256 of the files of an official release, by (program, architecture). Only sums that were taken from the publisher
# belong here; where none is pinned, rung 4 says so and rung 5 builds from go.sum's pinned sources.
CHECKSUMS: Mapping[tuple[str, str], str] = {}


@dataclass(frozen=True, slots=True)
class Program:
    """One program: how it says its version, which versions on PATH will do, and how it is got.

    minors: the accepted minor versions. url: of the official release, empty where there is none. member: the path
    inside a release archive, None where it is the file itself. module: the folder in `tools/` that pins its sources.
    """

    name: str
    version: str
    minors: range
    package: str
    url: str
    member: str | None = None
    version_flags: tuple[str, ...] = ("--version",)
    module: str = "kubernetes"


@dataclass(frozen=True, slots=True)
class Found:
    """A program and the rung it came from, in words for people."""

    name: str
    path: Path
    version: str
    rung: str


def _kubernetes(name: str, minors: range = range(35, 36), flags: tuple[str, ...] = ("--version",)) -> Program:
    url = f"https://dl.k8s.io/{KUBERNETES}/bin/linux/{{arch}}/{name}"
    return Program(name, KUBERNETES, minors, f"k8s.io/kubernetes/cmd/{name}", url, None, flags)


PROGRAMS = {
    program.name: program
    for program in (
        Program(
            "etcd",
            ETCD,
            range(5, 8),
            "go.etcd.io/etcd/server/v3",
            f"https://github.com/etcd-io/etcd/releases/download/{ETCD}/etcd-{ETCD}-linux-{{arch}}.tar.gz",
            f"etcd-{ETCD}-linux-{{arch}}/etcd",
        ),
        _kubernetes("kube-apiserver"),
        _kubernetes("kube-controller-manager"),
        _kubernetes("kubectl", range(34, 37), ("version", "--client")),
        _kubernetes("kube-scheduler"),
        _kubernetes("kubelet"),
        _kubernetes("kube-proxy"),
        Program("pause", PAUSE, range(1), ".", "", module="pause"),
        Program(
            "helm",
            HELM,
            range(99),
            "helm.sh/helm/v4/cmd/helm",
            f"https://get.helm.sh/helm-{HELM}-linux-{{arch}}.tar.gz",
            "linux-{arch}/helm",
            ("version", "--short"),
            module="helm",
        ),
        Program(
            "kind",
            KIND,
            range(30, 99),
            "sigs.k8s.io/kind",
            f"https://github.com/kubernetes-sigs/kind/releases/download/{KIND}/kind-linux-{{arch}}",
            module="kind",
        ),
    )
}
CONTROLPLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl")
NODE = (*CONTROLPLANE, "kube-scheduler", "kubelet", "kube-proxy", "pause")
LEVELS = {"controlplane": CONTROLPLANE, "node": NODE}


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs with what they stand on; tests put their own folders, sums and addresses in.

    env: PATH, HOME and the variables named above. may_make: rungs 4 and 5 may download and build.
    """

    env: Mapping[str, str]
    progress: Progress
    may_make: bool = True
    checksums: Mapping[tuple[str, str], str] = field(default_factory=lambda: CHECKSUMS)
    tools: Path = _TOOLS
    arch: str = files.ARCHITECTURE

    def find(self, program: Program) -> Found:
        """Climb until a rung holds; SandboxError names what every rung said."""
        rungs: tuple[tuple[str, Callable[[Program], Found]], ...] = (
            ("1 LOOPARR_SANDBOX_BIN or KUBEBUILDER_ASSETS", self.named),
            ("2 PATH", self.on_path),
            ("3 cache", self.cached),
            ("4 release", self.downloaded),
            ("5 go build", self.built),
        )
        said = []
        for rung, look in rungs:
            try:
                return look(program)
            except MissedError as missed:
                said.append(f"  {rung}: {missed}")
        hint = "" if self.may_make else "\n`looparr sandbox binaries --install` gets what is missing."
        lines = "\n".join(said)
        raise SandboxError(f"{program.name} {program.version} cannot be had:\n{lines}{hint}")

    def named(self, program: Program) -> Found:
        """Rung 1: the user's folder counts whatever version is in it."""
        set_ones = [name for name in ("LOOPARR_SANDBOX_BIN", "KUBEBUILDER_ASSETS") if self.env.get(name)]
        for variable in set_ones:
            path = Path(self.env[variable]) / program.name
            if os.access(path, os.X_OK):
                return Found(program.name, path.absolute(), version_of(path, program), f"{variable}")
        raise MissedError(f"{program.name} is not in the folder of {' or '.join(set_ones)}" if set_ones else "not set")

    def on_path(self, program: Program) -> Found:
        """Rung 2: only a version that goes with the others."""
        path = shutil.which(program.name, path=self.env.get("PATH", ""))
        if path is None:
            raise MissedError("not there")
        version = version_of(Path(path), program)
        match, wanted = _VERSION.fullmatch(version), _VERSION.fullmatch(program.version)
        assert match is not None
        assert wanted is not None
        if match[1] != wanted[1] or int(match[2]) not in program.minors:
            raise MissedError(f"{path} is {version}, which does not go with {program.version}")
        return Found(program.name, Path(path), version, "PATH")

    def cached(self, program: Program) -> Found:
        """Rung 3: what rungs 4 and 5 verified before."""
        path = self._cache(program)
        if not os.access(path, os.X_OK):
            raise MissedError(f"{path} does not exist yet")
        return Found(program.name, path, program.version, "cache")

    def downloaded(self, program: Program) -> Found:
        """Rung 4: the publisher's own file, if its sum is the pinned one."""
        wanted = self.checksums.get((program.name, self.arch))
        if not wanted:
            raise MissedError(f"no checksum pinned for linux/{self.arch}")
        self._allowed()

        def fetch(aside: Path) -> None:
            url = program.url.format(arch=self.arch)
            member = program.member.format(arch=self.arch) if program.member else None
            try:
                _download(url, wanted, member, aside)
            except (OSError, tarfile.TarError, KeyError) as error:
                raise MissedError(f"{url}: {error}") from error

        return self._make(program, f"Downloading {program.name} {program.version}", "release", fetch)

    def built(self, program: Program) -> Found:
        """Rung 5: from source; go.sum pins every module."""
        module = self.tools / program.module
        go = find_go(self.env, self.progress, module / "go.mod", may_fetch=self.may_make)
        self._allowed()

        def build(aside: Path) -> None:
            # The user's GOPROXY, GOCACHE and the like count; flags that change what is built do not.
            env = {**self.env, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
            stamps = (f"-X {name}={value}" for name, value in _STAMPS.get(program.module, {}).items())
            linker = " ".join(("-s -w", *stamps))
            command = [go, "build", "-trimpath", "-ldflags", linker, "-o", str(aside), program.package]
            with aside.with_suffix(".log").open("w+") as log:
                try:
                    subprocess.run(
                        command, cwd=module, env=env, stdout=log, stderr=log, check=True, timeout=_BUILD_LIMIT
                    )
                except (subprocess.SubprocessError, OSError) as error:
                    log.seek(0)
                    end = " ".join(log.read().split())[-600:]
                    raise MissedError(f"`{' '.join(command)}` in {module} failed: {error} {end}") from error

        label = f"Building {program.name} {program.version} with Go, once (up to some minutes)"
        return self._make(program, label, "go build", build)

    def _allowed(self) -> None:
        if not self.may_make:
            raise MissedError("possible, not done yet")

    def _cache(self, program: Program) -> Path:
        folder = f"{program.name}-{program.version}-linux-{self.arch}"
        return files.cache_folder(self.env) / "programs" / folder / program.name

    def _make(self, program: Program, label: str, rung: str, make: Callable[[Path], None]) -> Found:
        """Let `make` write a file aside, see that it runs and is the right version, and only then give it its name."""
        target = self._cache(program)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with files.lock(target.parent / "lock", limit=_BUILD_LIMIT):
                if os.access(target, os.X_OK):
                    return self.cached(program)  # another process made it while we waited
                with files.making(target.parent) as folder:
                    aside = folder / program.name
                    with self.progress.working(label):
                        make(aside)
                    aside.chmod(0o755)
                    version = version_of(aside, program)
                    if version.removeprefix("v") != program.version.removeprefix("v"):
                        raise MissedError(f"what came is version {version}")
                    aside.replace(target)
        except OSError as error:
            raise MissedError(f"{target.parent} cannot be written ({error}); set XDG_CACHE_HOME") from error
        self.progress.note(f"{program.name} {program.version}: {rung}, kept in {target}")
        return Found(program.name, target, program.version, rung)


def require_level(level: str) -> None:
    """Refuse what is no level of the sandbox. Raises SandboxError."""
    if level not in LEVELS:
        raise SandboxError(f"There is no sandbox level {level!r}: choose {' or '.join(LEVELS)}.")


def resolve(
    names: Iterable[str], *, env: Mapping[str, str], progress: Progress | None = None, may_make: bool = True
) -> dict[str, Found]:
    """Find every named program; name -> Found.

    env: usually os.environ. may_make: download or build (minutes, once) what is nowhere yet.
    SandboxError with the word of each rung for the first program that cannot be had.
    """
    ladder = Ladder(env, progress or Silent(), may_make)
    return {name: ladder.find(PROGRAMS[name]) for name in names}


def version_of(path: Path, program: Program) -> str:
    """Run the program to hear its version; MissedError where it does not run or says none."""
    try:
        said = subprocess.run(
            [path, *program.version_flags], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise MissedError(f"{path} does not run: {error}") from error
    if match := _VERSION.search(said):
        return match[0]
    raise MissedError(f"{path} does not say its version")


def _download(url: str, sha256: str, member: str | None, aside: Path) -> None:
    """Fetch a file, compare its sum, and leave it (or the archive's one member) at `aside`."""
    archive = aside.with_suffix(".download")
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=60) as reply, archive.open("wb") as file:  # noqa: S310 - addresses are ours
        while block := reply.read(1 << 20):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != sha256:
        raise OSError(f"its SHA-256 is {digest.hexdigest()}, pinned is {sha256}")
    if member is None:
        archive.replace(aside)
        return
    with tarfile.open(archive) as tar:
        content: IO[bytes] | None = tar.extractfile(member)
        if content is None:
            raise KeyError(member)
        with aside.open("wb") as file:
            shutil.copyfileobj(content, file)


def with_url(program: Program, url: str) -> Program:
    """Give the program as another server offers it, for mirrors and tests."""
    return replace(program, url=url)
