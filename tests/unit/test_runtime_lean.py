"""Imports that leave others out."""

from __future__ import annotations

import subprocess
import sys

import pytest

from looparr.runtime.lean import without


def test_a_hidden_package_is_missing_inside_and_there_again_outside() -> None:
    with without("antigravity"), pytest.raises(ImportError):
        __import__("antigravity")
    assert "antigravity" not in sys.modules


def test_what_is_imported_already_stays() -> None:
    with without("json"):
        assert __import__("json").loads("1") == 1
    assert "json" in sys.modules


def test_the_operator_carries_no_client_library_that_it_does_not_use() -> None:
    program = "import sys, looparr.main; print(sorted({'kubernetes', 'pykube'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"
