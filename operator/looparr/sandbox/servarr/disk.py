"""Import's hand on the disk: what is in a download, and putting files into the library. Blocking; run in threads."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

_VIDEO = frozenset({".mkv", ".mp4", ".avi", ".m4v", ".mov", ".mpg", ".mpeg", ".ts", ".webm", ".wmv"})
_DANGEROUS = frozenset({".arj", ".lnk", ".lzh", ".ps1", ".scr", ".vbs", ".zipx"})
_EXECUTABLE = frozenset({".bat", ".cmd", ".exe", ".sh"})
_ARCHIVE = frozenset({".7z", ".gz", ".r00", ".rar", ".tar", ".zip"})
_BIG_RAR = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file. errors are the Arr's words."""

    path: Path
    movie_id: int | None
    errors: tuple[str, ...] = ()

    @property
    def imported(self) -> bool:
        """Whether it is in the library now."""
        return self.movie_id is not None and not self.errors


@dataclass(frozen=True, slots=True)
class Content:
    """What lies at a path: a folder or one file; files are its videos (or the file) with sizes, the largest first.

    issue: why a folder without videos has nothing to import, where that can be told.
    """

    path: Path
    is_folder: bool
    files: tuple[tuple[Path, int], ...]
    issue: Result | None = None

    @property
    def name(self) -> str:
        """The release name it bears."""
        return self.path.name if self.is_folder else self.path.stem


def look(path: Path) -> Content | None:
    """Look at a download; None when nothing is there."""
    if not path.exists():
        return None
    is_folder = path.is_dir()
    found = _videos(path) if is_folder else [path]
    sized = sorted(((f, f.stat().st_size) for f in found), key=lambda pair: pair[1], reverse=True)
    return Content(path, is_folder, tuple(sized), _issue_of(path) if is_folder and not found else None)


def _videos(folder: Path) -> list[Path]:
    found = (f for f in folder.rglob("*") if f.is_file() and f.suffix.lower() in _VIDEO)
    return [f for f in found if not _is_sample(f.relative_to(folder))]


def _is_sample(path: Path) -> bool:
    return any(part.lower().startswith("sample") or part.lower().endswith("-sample.mkv") for part in path.parts)


def problem_of(file: Path) -> str | None:
    """Say why a file is never imported, by its extension; None for a video."""
    suffix = file.suffix.lower()
    if suffix in _DANGEROUS:
        return f"Caution: Found potentially dangerous file with extension: {suffix}"
    if suffix in _EXECUTABLE:
        return f"Caution: Found executable file with extension: '{suffix}'"
    return None if suffix in _VIDEO else f"Invalid video file, unsupported extension: '{suffix}'"


def delete_if_done(folder: Path) -> None:
    """Delete a folder whose videos have been moved out; one with a video or a big archive left stays."""
    rars = (f for f in folder.rglob("*") if f.suffix.lower() == ".rar")
    if not _videos(folder) and not any(f.stat().st_size > _BIG_RAR for f in rars):
        shutil.rmtree(folder, ignore_errors=True)


def _issue_of(folder: Path) -> Result | None:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    for file in files:
        if file.suffix.lower() in _DANGEROUS | _EXECUTABLE:
            return Result(file, None, (problem_of(file) or "",))
    archive = next((f for f in files if f.suffix.lower() in _ARCHIVE), None)
    return Result(archive, None, ("Found archive file, might need to be extracted",)) if archive else None


def put(source: Path, target: Path, *, moves: bool) -> None:
    """Put a file into the library: moved, else hard-linked, else copied; never half of it under its name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.partial~")
    part.unlink(missing_ok=True)
    if moves:
        shutil.move(source, part)
    else:
        try:
            part.hardlink_to(source)
        except OSError:
            shutil.copy2(source, part)
    part.replace(target)
