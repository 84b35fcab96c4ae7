"""Images without Docker: what goes into a build, what comes out of it, and what is left behind (nothing)."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import looparr
import parts
from looparr.errors import SandboxError
from looparr.sandbox import binaries, debian, files, image, processes
from looparr.sandbox.image import archives, bootstrap, confined, context, reach, system
from looparr.sandbox.image.builder import INPUTS
from looparr.sandbox.progress import Silent
from parts import needs_root, unavailable

REPOSITORY = Path(__file__).parents[2]
ALONE = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
SECRET = "a-password-of-the-tests"


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def recipe(folder: Path, text: str, **content: str) -> Path:
    """A folder with a Dockerfile, and files of these names."""
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(text)
    for name, said in content.items():
        (folder / name).write_text(said)
    return folder


# What goes in


@pytest.mark.parametrize(
    ("ignore", "kept"),
    [
        ("", {"a.py", "b/a.py", "b/c/a.txt", "b/c/a.py", ".git/config"}),
        ("b", {"a.py", ".git/config"}),
        ("/b/\n.git", {"a.py"}),
        ("*.py\n.git", {"b/a.py", "b/c/a.py", "b/c/a.txt"}),
        ("**/*.py\n.git", {"b/c/a.txt"}),
        ("**/c\n.git", {"a.py", "b/a.py"}),
        ("b/*/a.py\n.git", {"a.py", "b/a.py", "b/c/a.txt"}),
        ("b/**\n.git", {"a.py"}),
        ("?.p[x-z]\n.git", {"b/a.py", "b/c/a.py", "b/c/a.txt"}),
        ("*\n!b", {"b/a.py", "b/c/a.py", "b/c/a.txt"}),
        ("*\n!b\nb/c\n!b/c/a.txt", {"b/a.py", "b/c/a.txt"}),
        ("*\n!**/*.txt", {"b/c/a.txt"}),
        ("!b\n*", set()),
        ("# b\n\n.git", {"a.py", "b/a.py", "b/c/a.py", "b/c/a.txt"}),
    ],
)
def test_a_dockerignore_means_what_it_means_to_docker(tmp_path: Path, ignore: str, kept: set[str]) -> None:
    for name in ("a.py", "b/a.py", "b/c/a.txt", "b/c/a.py", ".git/config"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".dockerignore").write_text(ignore)
    assert {str(name) for name in context.kept(tmp_path)} - {".dockerignore"} == kept


def test_what_is_set_aside_is_what_the_digest_speaks_of(tmp_path: Path) -> None:
    source = recipe(tmp_path / "source", "", **{"a": "1", "ignored": "1", ".dockerignore": "ignored"})
    (source / "link").symlink_to("a")
    (source / "folder").mkdir()
    (source / "way").symlink_to("folder")
    copies = (tmp_path / str(number) for number in range(9))
    first = context.stage(source, next(copies))
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"Dockerfile", ".dockerignore", "a", "link", "way"}
    (source / "ignored").write_text("2")
    (source / "a").touch()
    assert context.stage(source, next(copies)) == first
    seen = {first}
    changes: list[Callable[[], object]] = [
        lambda: (source / "a").write_text("2"),
        lambda: (source / "a").chmod(0o755),
        lambda: (source / "a").rename(source / "b"),
        (source / "way").unlink,
    ]
    for number, change in enumerate(changes, start=2):
        change()
        seen.add(context.stage(source, next(copies)))
        assert len(seen) == number


def test_a_build_reaches_packages_as_this_machine_does(tmp_path: Path) -> None:
    (tmp_path / "pip.ini").write_text(
        "[global]\nindex-url = https://other\nno-cache-dir = true\n[install]\nretries = 2"
    )
    (tmp_path / "ca.pem").write_text("authorities")
    env = {**os.environ, "PIP_CONFIG_FILE": str(tmp_path / "pip.ini"), "PIP_CERT": str(tmp_path / "ca.pem")}
    env |= {"PIP_INDEX_URL": f"https://user:{SECRET}@index.invalid", "PIP_TRUSTED_HOST": "one\ntwo"}
    made = reach.secrets(tmp_path, env)
    env = {"PATH": os.defpath, "PIP_CONFIG_FILE": str(made["pip"])}
    asked = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(asked, env=env, capture_output=True, text=True, check=True).stdout
    assert f"global.index-url='https://user:{SECRET}@index.invalid'" in said
    assert {"global.cert='/run/secrets/certificates'", "global.retries='2'"} <= set(said.split())
    assert re.search(r"global.trusted-host='(\\n)?one\\ntwo'", said)
    assert "no-cache-dir" not in said
    assert made["certificates"].read_text() == "authorities"
    assert {path.stat().st_mode & 0o777 for path in made.values()} == {0o600}


def test_the_mirror_is_the_one_that_apt_knows(tmp_path: Path) -> None:
    if shutil.which("apt-get") is None:
        unavailable(SandboxError("apt-get is not there"))
    suite, sources = bootstrap.name().partition(":")[2], tmp_path / "sources.list"
    (tmp_path / "apt.conf").write_text(f'Dir::Etc::SourceList "{sources}"; Dir::Etc::SourceParts "/none";')
    env = {**os.environ, "APT_CONFIG": str(tmp_path / "apt.conf")}
    sources.write_text(f"deb http://else/d {suite}-updates main\n# deb http://not/d {suite} main\n")
    with pytest.raises(SandboxError, match=f"main of {suite}: name one"):
        bootstrap.mirror(env)
    sources.write_text(f"deb http://else/d {suite} extra\ndeb [arch=all,amd64,arm64] http://m/d {suite} main more\n")
    assert bootstrap.mirror(env) == ("http://m/d/", ["main", "more"])
    (tmp_path / "list").write_text("# mirrors\nhttp://first/d priority:1\nhttp://second/d\n")
    sources.write_text(f"deb mirror+file:{tmp_path}/list {suite} main\n")
    assert bootstrap.mirror(env) == ("http://first/d", ["main"])


# What comes out


@pytest.fixture(scope="module")
def pause() -> Path:
    try:
        return binaries.resolve(("pause",), env=os.environ)["pause"].path
    except SandboxError as error:
        unavailable(error)


def test_an_archive_is_the_same_for_the_same(tmp_path: Path, pause: Path) -> None:
    first, second = (image.pause_archive(pause, tmp_path / name).read_bytes() for name in ("1", "2"))
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]


def test_an_archive_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    class Torn(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            if self.reads > 2:  # its sum was taken, and the archive is begun
                raise OSError("torn")
            return super().read(size)

    with pytest.raises(OSError, match="torn"):
        image.archive(Torn(b"layer"), {}, tag="localhost/torn:1", into=tmp_path / "torn.tar")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "half.tar").write_bytes(b"half")
    assert archives.read(tmp_path / "half.tar") is None


@contextmanager
def containerd(folder: Path) -> Iterator[Callable[..., str]]:
    """A containerd of our own; gives its `ctr`."""
    needs_root()
    if not shutil.which("containerd") or not shutil.which("ctr"):
        unavailable(SandboxError("`apt-get install containerd`"))
    socket, idle = folder / "s", [f"io.containerd.{name}" for name in ("grpc.v1.cri", "internal.v1.opt")]
    config = f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\ndisabled_plugins = {json.dumps(idle)}\n'
    (folder / "config.toml").write_text(f'{config}[grpc]\naddress = "{socket}"\n')
    with (folder / "log").open("w") as log:
        served = subprocess.Popen([*ALONE, "containerd", "-c", folder / "config.toml"], stdout=log, stderr=log)

    def ctr(*arguments: str | Path, check: bool = True) -> str:
        command = ["ctr", "--address", socket, "--namespace", "k8s.io", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert not (check and done.returncode), done.stderr
        return done.stdout

    try:
        files.wait_until(lambda: "Server" in ctr("version", check=False), 20, files.tail(folder / "log"))
        yield ctr
    finally:
        served.kill()
        served.wait()


def test_containerd_takes_the_pause_image(tmp_path: Path, pause: Path) -> None:
    with containerd(tmp_path) as ctr:
        ctr("images", "import", "--snapshotter", "native", image.pause_archive(pause, tmp_path / "pause.tar"))
        assert ctr("images", "ls", "-q").split() == ["localhost/looparr-pause:1"]
        (unpacked,) = (tmp_path / "root").glob("io.containerd.snapshotter.v1.native/snapshots/*/pause")
        assert subprocess.run([unpacked, "--version"], capture_output=True, check=True).stdout.startswith(b"pause v")


@dataclass(frozen=True, slots=True)
class Builder:
    """Builds in a cache folder of its own, on the base image that every test shares."""

    folder: Path
    env: Mapping[str, str]

    @property
    def out(self) -> Path:
        return self.folder / "out" / "image.tar"

    def __call__(self, source: Path, tag: str = "looparr-test:1", **options: Any) -> archives.Image:
        image.build(source, tag=tag, into=self.out, **{"env": self.env, **options})
        built = archives.read(self.out)
        assert built is not None
        return built

    def left(self) -> set[str]:
        """What there is but locks and the base image."""
        kept = self.folder.rglob("*")
        return {path.name for path in kept if path.is_file() and path.name not in {"lock", "Dockerfile"}}


@pytest.fixture
def build(tmp_path: Path) -> Builder:
    """Root's way, without a Docker engine even where one is."""
    (tmp_path / "no").mkdir()
    executable(tmp_path / "no" / "docker", "exit 1")
    env = {**os.environ, "PATH": f"{tmp_path}/no:{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    try:
        image.find(env)
    except SandboxError as error:
        unavailable(error)
    shared = files.cache_folder(env) / "images" / "base"
    shared.parent.mkdir(parents=True)
    shared.symlink_to(files.cache_folder(os.environ) / "images" / "base")
    bootstrap.base(os.environ, Silent())
    return Builder(tmp_path, env)


def test_nothing_is_built_again_unless_something_changed(tmp_path: Path, build: Builder) -> None:
    source = recipe(tmp_path / "source", "FROM scratch\nCOPY a /\nUSER 7\n", a="1")
    first = build(source)
    assert (first.tags, first.config["config"]["User"]) == (("docker.io/library/looparr-test:1",), "7")
    inode = build.out.stat().st_ino
    assert (build(source), build.out.stat().st_ino) == (first, inode)
    (source / "a").write_text("2")
    second = build(source)
    assert second.labels[INPUTS] != first.labels[INPUTS]
    assert second.layers != first.layers
    build.out.write_bytes(b"damaged")
    assert build(source).layers == second.layers


def test_a_recipe_a_tag_or_an_argument_counts_as_a_change(tmp_path: Path, build: Builder) -> None:
    source = recipe(tmp_path / "source", "FROM scratch\nARG NUMBER=0\nCOPY a /\nUSER $NUMBER\n", a="1")
    elsewhere = tmp_path / "Recipe"
    shutil.copy(source / "Dockerfile", elsewhere)
    with elsewhere.open("a") as more:
        more.write("EXPOSE 1\n")
    changes: list[dict[str, Any]] = [
        {},
        {"tag": "localhost/other:1"},
        {"args": {"NUMBER": "5"}},
        {"dockerfile": elsewhere},
    ]
    built = [build(source, **change) for change in changes]
    assert len({one.labels[INPUTS] for one in built}) == 4
    assert built[1].tags == ("localhost/other:1",)
    assert built[2].config["config"]["User"] == "5"
    assert list(built[3].config["config"]["ExposedPorts"]) == ["1/tcp"]


def test_a_complaint_quotes_no_password(tmp_path: Path) -> None:
    script = f"echo cannot reach https://user:{SECRET}@index.invalid/simple >&2; exit 3"
    with pytest.raises(SandboxError, match=r"`a build` failed: cannot reach https://\*\*\*@index.invalid/simple"):
        confined.run(["sh", "-c", script], env=os.environ, name="a build")


def test_a_build_that_fails_says_why_and_leaves_what_was_there(tmp_path: Path, build: Builder) -> None:
    source = recipe(tmp_path / "source", "FROM scratch\nCOPY a /\n", a="1")
    build(source)
    kept = build.out.read_bytes()
    (source / "Dockerfile").write_text("FROM scratch\nCOPY missing /\n")
    with pytest.raises(SandboxError, match=r"`buildah build` failed: (.|\n)*missing"):
        build(source)
    assert build.out.read_bytes() == kept
    assert build.left() == {"a", "docker", "image.tar"}
    with pytest.raises(SandboxError, match="name the folder of a Dockerfile"):
        build(tmp_path)


def test_how_packages_are_reached_leaves_no_trace(tmp_path: Path, build: Builder) -> None:
    mounts = "--mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=certificates"
    look = 'grep -q index-url /etc/pip.conf && test -s /run/secrets/certificates && test -n "$HTTPS_PROXY"'
    source = recipe(tmp_path / "source", f"ARG BASE\nFROM ${{BASE}}\nRUN {mounts} {look}\n")
    user = f"https://user:{SECRET}@index.invalid"
    built = build(source, env={**build.env, "PIP_INDEX_URL": user, "HTTPS_PROXY": user})
    content = build.out.read_bytes()
    assert not [word for word in (SECRET, "index.invalid", str(tmp_path)) if word.encode() in content]
    with tarfile.open(build.out) as archive, tarfile.open(fileobj=archive.extractfile(built.layers[-1])) as layer:
        changed = [name for name in layer.getnames() if not (layer.getmember(name).isdir() or name.startswith("dev/"))]
    assert changed == []


def test_an_interrupted_build_leaves_nothing(tmp_path: Path, build: Builder, pause: Path) -> None:
    source = recipe(tmp_path / "source", 'FROM scratch\nCOPY pause /\nRUN ["/pause"]\n')
    shutil.copy(pause, source / "pause")
    text = "import sys, os, pathlib; from looparr.sandbox import image\nsource, out = map(pathlib.Path, sys.argv[1:])\n"
    text += "image.build(source, tag='t:1', into=out, env=os.environ)"
    for end in (signal.SIGINT, signal.SIGKILL):
        builder = subprocess.Popen([sys.executable, "-c", text, source, build.out], env=build.env)
        files.wait_until(lambda: waiting(tmp_path), 60, "the build did not come to its RUN")
        builder.send_signal(end)
        builder.wait(timeout=30)
        files.wait_until(lambda: not processes.under(tmp_path), 10, f"alive after {end}: {processes.under(tmp_path)}")
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        assert not build.out.exists()
        if end == signal.SIGINT:
            assert build.left() == {"docker", "pause"}
    build(recipe(tmp_path / "other", "FROM scratch\nCOPY a /\n", a="1"))  # the next build sweeps what SIGKILL left
    assert build.left() == {"docker", "pause", "a", "image.tar"}


def waiting(folder: Path) -> bool:
    """Whether a build in the folder runs its pause: in a chroot below it."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "cmdline").read_bytes() == b"/pause\0" and str((entry / "root").readlink()).startswith(
                str(folder)
            ):
                return True
    return False


def test_what_is_root_s_own_stays_untouched(build: Builder, tmp_path: Path) -> None:
    places = [Path(place) for place in ("/var/lib/containers", "/run/containers", "/run/libpod", "/var/tmp")]

    def seen() -> list[tuple[str, int]]:
        return [
            (str(path), path.stat().st_mtime_ns)
            for place in places
            for path in (place, *place.rglob("*"))
            if place.exists()
        ]

    before = seen()
    build(recipe(tmp_path / "source", "FROM scratch\nCOPY a /\n", a="1"))
    assert seen() == before


# Where it cannot be done


def test_a_docker_engine_that_answers_is_taken(tmp_path: Path, pause: Path) -> None:
    image.pause_archive(pause, tmp_path / "saved.tar")
    said = tmp_path / "said"
    executable(
        tmp_path / "bin" / "docker",
        f"""[ "$1" = info ] && {{ echo 28.0.0; exit; }}
echo "$DOCKER_BUILDKIT $*" >>{said}
[ "$1" = build ] && cat "$3" >>{said}
[ "$1" = save ] && cp {tmp_path}/saved.tar "$3"
exit 0""",
    )
    env = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path), "https_proxy": "http://user:pw@proxy"}
    assert [(found.name, found.version) for found in image.find(env)] == [("docker", "28.0.0")]
    source, out = recipe(tmp_path / "source", "ARG BASE=python\nFROM ${BASE}\n"), tmp_path / "out" / "image.tar"
    image.build(source, tag="looparr:dev", into=out, args={"VERSION": "1"}, env=env)
    built, saved = said.read_text().split("FROM ${BASE}\n")
    assert "--build-arg VERSION=1 --secret id=certificates" in built
    assert "--build-arg https_proxy --tag looparr:dev" in built
    assert "BASE=" not in built.partition("ARG")[0]
    assert re.fullmatch(r"1 save --output \S+ looparr:dev\n", saved)
    assert out.read_bytes() == (tmp_path / "saved.tar").read_bytes()


def test_without_docker_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, env = recipe(tmp_path, "FROM scratch\n"), {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SandboxError, match="start Docker, or run this as root"):
        image.build(source, tag="t:1", into=tmp_path / "out.tar", env=env)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "SYSTEM_PATH", "")
    with pytest.raises(SandboxError, match="start Docker, or `apt-get install buildah`"):
        image.build(source, tag="t:1", into=tmp_path / "out.tar", env=env)
    with pytest.raises(SandboxError, match="buildah and debootstrap must be there"):
        image.find(env)


# The image of this repository


@dataclass(frozen=True, slots=True)
class Unpacked:
    """An image as a folder. root: what a container of it sees."""

    archive: Path
    image: archives.Image
    root: Path

    def run(self, *command: str, entrypoint: bool = True) -> subprocess.CompletedProcess[str]:
        """Run something in it as its user, with its variables and a root that nobody can write to (60 s at most)."""
        config = self.image.config["config"]
        enter = 'mount --bind "$0" "$0" && mount -t proc proc "$0/proc" && mount -o remount,bind,ro "$0" && exec "$@"'
        inside = [
            "chroot",
            f"--userspec={config['User']}",
            "--groups=",
            self.root,
            "/usr/bin/env",
            "-i",
            *config["Env"],
        ]
        program = [*(config["Entrypoint"] if entrypoint else ()), *command]
        whole = [*ALONE, "sh", "-c", enter, self.root, *inside, *program]
        return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="session")
def looparr_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Unpacked]:
    """The image of this repository, the one that tests/e2e runs, kept as long as nothing changes."""
    needs_root()
    try:
        into = parts.looparr_image()
    except SandboxError as error:
        unavailable(error)
    built, root = archives.read(into), tmp_path_factory.mktemp("image") / "root"
    assert built is not None
    with tarfile.open(into) as archive:
        for name in built.layers:
            with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                unpack(layer, root)
    yield Unpacked(into, built, root)
    shutil.rmtree(root)


def unpack(layer: tarfile.TarFile, root: Path) -> None:
    members = {path: layer.getmember(path) for path in layer.getnames()}
    for name in [name for name in members if Path(name).name.startswith(".wh.")]:
        gone = root / Path(name).with_name(Path(name).name.removeprefix(".wh."))
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
        del members[name]
    layer.extractall(root, members.values(), filter="fully_trusted")


def test_the_image_says_how_it_runs(looparr_image: Unpacked) -> None:
    config = looparr_image.image.config["config"]
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("65532:65532", ["looparr"], ["operator"])
    assert list(config["ExposedPorts"]) == ["8081/tcp"]
    assert looparr_image.image.tags == ("localhost/looparr:e2e",)
    names = {variable.partition("=")[0] for variable in config["Env"]}
    assert names >= {"PATH", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "LOOPARR_PROBES_HOST"}
    labels = {name for name in config["Labels"] if name.startswith("org.opencontainers.image.")}
    assert {name.rpartition(".")[2] for name in labels} >= {"title", "licenses", "version", "revision", "source"}


def places() -> list[str]:
    """Where this machine gets its packages from, and by what way."""
    told, named = reach._told(os.environ), ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy")
    proxies = [
        os.environ.get(name, "")
        for one in ("all", "http", "https")
        for name in (f"{one}_proxy", f"{one}_proxy".upper())
    ]
    words = " ".join([*(told.get(name, "") for name in named), *proxies]).split()
    if not system.docker(os.environ):  # Docker's own base names Debian's
        words.append(bootstrap.mirror(os.environ)[0])
    return [re.sub(r"^.*://(.*@)?|[:/].*$", "", word) for word in words if not word.startswith("/")]


def test_the_image_names_no_host_and_no_setting_of_this_machine(looparr_image: Unpacked) -> None:
    said = json.dumps(looparr_image.image.config)
    for host in (os.uname().nodename, *places()):
        assert not re.search(rf"\b{re.escape(host)}\b", said), host
    assert not re.search(r"(?i)password|token|proxy|https?://\S*@", said)
    for name in ("hostname", "hosts", "resolv.conf", "apt/sources.list", "pip.conf", "machine-id"):
        path = looparr_image.root / "etc" / name
        assert not path.exists() or path.read_text() == "", name


def test_the_image_holds_what_the_operator_needs_and_nothing_to_build_with(looparr_image: Unpacked) -> None:
    root = looparr_image.root
    names = {path.name.lower() for path in root.rglob("*")}
    assert not {"pip", "ensurepip", "requirements.lock", "wheels", ".netrc", "pip.conf"} & names
    assert not [name for name in names if name.startswith("pip-") or name.endswith(".whl")]
    programs = {path.name for path in root.glob("**/*bin/*")}
    assert {"python3", "looparr", "sh"} <= programs
    assert not [name for name in programs if re.fullmatch(r"(.*-)?(pip|gcc|cc|g\+\+|c\+\+|ld|as|make)[\d.-]*", name)]
    installed = {name.partition("-")[0] for name in names if name.endswith(".dist-info")}
    assert {"looparr", "kopf", "kubernetes", "uvloop"} <= installed
    assert not {"pip", "setuptools", "mypy", "ruff", "pytest", "hatchling", "cryptography", "pykube_ng"} & installed
    package = next(root.glob("opt/looparr/lib/python3*/site-packages/looparr"))
    sources = set(package.rglob("*.py"))
    assert sources == {path.parents[1] / f"{path.name.partition('.')[0]}.py" for path in package.rglob("*.pyc")}
    assert not [path for path in root.rglob("*") if not path.is_symlink() and path.stat().st_uid == 65532]


def test_the_operator_starts_in_the_image_with_nothing_to_write_to(looparr_image: Unpacked) -> None:
    version = looparr_image.run("version")
    assert (version.returncode, version.stdout) == (0, f"looparr {looparr.__version__}\n"), version.stderr
    assert "operator" in looparr_image.run("--help").stdout
    alone = looparr_image.run(*looparr_image.image.config["config"]["Cmd"])
    assert (alone.returncode, alone.stdout) == (2, ""), alone.stderr
    assert alone.stderr == "looparr: this is no pod with a ServiceAccount: name a cluster with --kubeconfig FILE\n"
    refused = looparr_image.run("touch", "/tmp/file", entrypoint=False)
    assert "Read-only file system" in refused.stderr
    assert looparr_image.run("id", "-u", entrypoint=False).stdout == "65532\n"


def test_nothing_that_the_operator_imports_is_compiled_at_each_start(looparr_image: Unpacked) -> None:
    loud = looparr_image.run("python3", "-v", "-c", "import looparr.main, looparr.cli.operator", entrypoint=False)
    assert loud.returncode == 0, loud.stderr
    assert len(re.findall(r"^# \S+ matches ", loud.stderr, re.MULTILINE)) > 500
    compiled = re.findall(r"^# code object from '(\S+\.py)'", loud.stderr, re.MULTILINE)
    assert compiled == []


def test_a_credential_plugin_is_run_in_the_image(looparr_image: Unpacked) -> None:
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": []}
    answer = {"apiVersion": plugin["apiVersion"], "kind": "ExecCredential", "status": {"token": "t"}}
    question = json.dumps({"exec": {**plugin, "args": [json.dumps(answer)]}, "cluster": {}, "folder": "/"})
    script = f"printf %s '{question}' | python3 -m looparr.clients.kube_plugin"
    asked = looparr_image.run("sh", "-c", script, entrypoint=False)
    assert json.loads(asked.stdout) == {"token": "t"}, asked.stderr
