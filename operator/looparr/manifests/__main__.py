"""`python -m looparr.manifests [--check] [--root DIR]`: write the generated files, or say what differs (exit 1)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from looparr.manifests.files import differences, write


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m looparr.manifests", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 with a diff when files differ")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository (default: the current folder)")
    options = parser.parse_args(arguments)
    if not options.check:
        for path in write(options.root):
            print(f"wrote {path}", file=sys.stderr)  # noqa: T201 - a command talks to a person
        return 0
    if diff := differences(options.root):
        print(diff, end="")  # noqa: T201 - a command talks to a person
        print("The generated files are not what the models say: run `make generate`.", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
