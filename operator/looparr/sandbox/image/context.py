"""What a build is given: the files of a folder that its `.dockerignore` leaves, set aside: what is built is known.

The rules are Docker's: the last pattern that fits a path, or a folder above it, decides; `!` takes back.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

_TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]*\]|\\.|.")
_WILD = re.compile(r"[*?\[\\]")


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a `.dockerignore`. keeps: it takes back what a line above ignores."""

    pattern: str
    keeps: bool

    def fits(self, path: PurePosixPath) -> bool:
        """Whether it speaks of this path or of a folder above it."""
        regex = _regex(self.pattern)
        return any(regex.fullmatch(str(one)) for one in (path, *path.parents[:-1]))

    def may_keep_below(self, folder: PurePosixPath) -> bool:
        """Whether it can take back anything in this folder."""
        plain, below = _WILD.split(self.pattern)[0], f"{folder}/"
        return self.keeps and (plain.startswith(below) or (plain != self.pattern and below.startswith(plain)))


def rules(text: str) -> list[Rule]:
    """Read a `.dockerignore`."""
    found = []
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            keeps = line.startswith("!")
            found.append(Rule(str(PurePosixPath(line[keeps:].strip().strip("/"))), keeps))
    return found


def kept(context: Path) -> Iterator[PurePosixPath]:
    """Name the files (and links) of a folder that are not ignored, in order, from that folder on."""
    ignore = context / ".dockerignore"
    told = rules(ignore.read_text()) if ignore.exists() else []
    for place, folders, names in os.walk(context):
        here = PurePosixPath(Path(place).relative_to(context))
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from (here / name for name in sorted([*names, *linked]) if not _ignored(told, here / name))
        folders[:] = sorted(
            name
            for name in folders
            if not _ignored(told, here / name) or any(rule.may_keep_below(here / name) for rule in told)
        )


def stage(context: Path, into: Path) -> str:
    """Copy what is kept into a new folder; gives a digest of its names, contents and which of it may be executed."""
    digest = hashlib.sha256()
    into.mkdir()
    for name in kept(context):
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(context / name, target, follow_symlinks=False)
        if target.is_symlink():
            kind, content = "link", os.fsencode(target.readlink())
        else:
            kind, content = str(target.stat().st_mode & 0o111), target.read_bytes()
        for part in (str(name).encode(), kind.encode(), content):
            digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def _ignored(told: Sequence[Rule], path: PurePosixPath) -> bool:
    return not next((rule.keeps for rule in reversed(told) if rule.fits(path)), True)


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}

    def translated(token: str) -> str:
        if token.startswith("["):
            return token.replace("[!", "[^", 1)
        return known.get(token) or re.escape(token[-1])

    return re.compile("".join(translated(token) for token in _TOKENS.findall(pattern)), re.DOTALL)
