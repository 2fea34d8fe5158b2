"""The check of a release runs the README's scripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has it")
def test_readme_scripts() -> None:
    """The check of a release runs the README's scripts with the installed package, and names what they print."""
    command = [sys.executable, ROOT / ".ci" / "readme_scripts.py"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=25)
    assert ended.stdout.count(" prints ['app']\n") == 2
