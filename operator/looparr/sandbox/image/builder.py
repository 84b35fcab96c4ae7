"""Any Dockerfile to an archive that a node without a registry can load, built again only when something has changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from looparr.errors import SandboxError
from looparr.sandbox import files
from looparr.sandbox.image import archives, context, engines, reach
from looparr.sandbox.progress import Progress, Silent

INPUTS = "dev.looparr.sandbox.inputs"
"""The label by which an archive says what it was built from."""

_LIMIT = 1800.0


def build(
    folder: Path,
    *,
    tag: str,
    into: Path,
    dockerfile: Path | None = None,
    args: Mapping[str, str] | None = None,
    env: Mapping[str, str],
    progress: Progress | None = None,
    install: bool = False,
) -> Path:
    """Build an image, unless `into` has been built from the same; gives `into` back.

    folder: the context. into: the archive; it is there whole or not at all. dockerfile: `folder`'s own by default.
    args: of the Dockerfile; without a Docker engine `BASE` is `image.base`. env: usually os.environ. install: get
    Debian's packages for what is missing. SandboxError that names the cure.
    """
    progress = progress or Silent()
    recipe, shelf = dockerfile or folder / "Dockerfile", files.cache_folder(env) / "images" / "builds"
    if not recipe.is_file():
        raise SandboxError(f"{recipe} does not exist: name the folder of a Dockerfile.")
    engine = engines.choose(env, progress, install=install)
    try:
        with files.lock(shelf / "lock", limit=_LIMIT), files.making(shelf) as work:
            digest = context.stage(folder, work / "context")
            text, given = recipe.read_text(), dict(args or {})
            inputs = _digest([digest, text, engine.foundation(text), tag, given])
            if (known := archives.read(into)) and known.labels.get(INPUTS) == inputs:
                progress.note(f"{tag}: nothing has changed, {into} stays")
                return into
            copied = files.write_whole(work / "Dockerfile", text)
            secrets = reach.secrets(work, env)
            engine.build(engines.Order(work / "context", copied, tag, {INPUTS: inputs}, given, secrets, work))
            with archives.whole(into) as aside:
                shutil.move(work / "image.tar", aside)
    except OSError as error:
        raise SandboxError(f"{tag} cannot be built: {error}") from error
    progress.note(f"{tag}: {into}, {into.stat().st_size / 1e6:.0f} MB")
    return into


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
