"""How this machine reaches its packages, for a build to reach them the same way: pip's settings and the certificates.

They are handed in as a Dockerfile's secrets (`RUN --mount=type=secret`): files that are there while a step runs and
leave no trace in the image, its history or its labels, although they may name hosts and hold passwords.

    pip            a pip.conf
    certificates   the authorities that this machine trusts; the pip.conf names them
"""

from __future__ import annotations

import ast
import configparser
import io
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from looparr.sandbox import files

# Those of pip's settings that say where packages are, not what to do with them.
_SETTINGS = ("index-url", "extra-index-url", "find-links", "no-index", "proxy", "retries", "timeout", "trusted-host")
_SECTIONS = ("global", "download", "install", ":env:")  # the later one counts
_BUNDLES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_IN_BUILD = "/run/secrets/certificates"


def secrets(folder: Path, env: Mapping[str, str]) -> dict[str, Path]:
    """Write the secrets into a folder, for our eyes only: id -> file."""
    told = _told(env)
    chosen = {name: told[name] for name in _SETTINGS if name in told}
    made = {}
    if certificates := _certificates(told, env):
        made["certificates"] = files.write_whole(folder / "certificates", certificates)
        chosen["cert"] = _IN_BUILD
    document = configparser.RawConfigParser()
    document["global"] = chosen
    text = io.StringIO()
    document.write(text)
    made["pip"] = files.write_whole(folder / "pip.conf", text.getvalue())
    return made


def _told(env: Mapping[str, str]) -> dict[str, str]:
    """Ask pip for what its files and variables set; nothing where this Python has no pip."""
    asked = [sys.executable, "-m", "pip", "--disable-pip-version-check", "config", "list"]
    said = subprocess.run(asked, env=dict(env), capture_output=True, text=True, timeout=60, check=False).stdout
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in said.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.partition(".")
        if section in found:
            found[section][name.removeprefix("default-").replace("_", "-")] = str(ast.literal_eval(value))
    return {name: value for section in _SECTIONS for name, value in found[section].items()}


def _certificates(told: Mapping[str, str], env: Mapping[str, str]) -> bytes | None:
    named = (told.get("cert"), *(env.get(name) for name in _BUNDLES), ssl.get_default_verify_paths().cafile)
    return next((Path(path).read_bytes() for path in named if path and Path(path).is_file()), None)
