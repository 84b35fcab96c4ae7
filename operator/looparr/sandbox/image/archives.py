"""Images as one file, in plain Python: what `docker save` writes, and docker, containerd and buildah read."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from looparr.sandbox.files import ARCHITECTURE

_NOBODY = "65535:65535"
PAUSE_TAG = "localhost/looparr-pause:1"


@dataclass(frozen=True, slots=True)
class Image:
    """What an archive says of its image.

    layers: their names in the archive, lowest first. config: the image's own JSON.
    """

    tags: tuple[str, ...]
    layers: tuple[str, ...]
    config: Mapping[str, Any]

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the image, none where it has none."""
        return self.config["config"].get("Labels") or {}


def archive(layer: BinaryIO, config: Mapping[str, Any], *, tag: str, into: Path) -> Path:
    """Write an image of one layer; the same in, the same out. Gives `into` back.

    layer: a seekable, uncompressed tar of the root. config: how it runs (`Entrypoint`, `User`, `Env`, `Labels`, ...).
    """
    digest = _digest(layer)
    described = _json(
        {
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created_by": "looparr sandbox"}],
        }
    )
    name = f"{hashlib.sha256(described).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": [f"{digest}.tar"]}]
    with whole(into) as aside, tarfile.open(aside, "w") as tar:
        _add(tar, f"{digest}.tar", layer)
        _add(tar, name, io.BytesIO(described))
        _add(tar, "manifest.json", io.BytesIO(_json(manifest)))
    return into


def pause_archive(pause: Path, into: Path, tag: str = PAUSE_TAG) -> Path:
    """Write an image of one static program, which runs as nobody; gives `into` back.

    pause: `binaries.resolve(("pause",), ...)` finds it.
    """
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, pause.name, io.BytesIO(pause.read_bytes()), mode=0o755)
    return archive(layer, {"Entrypoint": [f"/{pause.name}"], "User": _NOBODY}, tag=tag, into=into)


def read(path: Path) -> Image | None:
    """Say what is in an archive; None where there is no archive of one image."""
    try:
        with tarfile.open(path) as tar:
            (manifest,) = _load(tar, "manifest.json")
            config = _load(tar, manifest["Config"])
        return Image(tuple(manifest["RepoTags"] or ()), tuple(manifest["Layers"]), config)
    except (OSError, tarfile.TarError, KeyError, ValueError, TypeError):
        return None


@contextmanager
def whole(into: Path) -> Iterator[Path]:
    """Give a name to write to; the file gets its own name when the block ends well, and goes where it does not."""
    aside = into.with_name(f".{into.name}.{os.getpid()}")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(into)
    finally:
        aside.unlink(missing_ok=True)


def _digest(content: BinaryIO) -> str:
    digest = hashlib.sha256()
    content.seek(0)
    while block := content.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _add(tar: tarfile.TarFile, name: str, content: BinaryIO, *, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = content.seek(0, io.SEEK_END), mode
    content.seek(0)
    tar.addfile(member, content)


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _load(tar: tarfile.TarFile, name: str) -> Any:
    content = tar.extractfile(name)
    if content is None:
        raise KeyError(name)
    return json.load(content)
