"""The example of a rotation is run as it is: as a process of its own, by somebody with settings of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "rotating_database.py"


@pytest.mark.load
@pytest.mark.usefixtures("postgres_server")  # it skips where there can be no server
def test_it_shows_the_difference() -> None:
    """Who follows the secret has no failure; who has read the password once has them until the end."""
    pytest.importorskip("asyncpg")
    run = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE],
        env=os.environ | {"AWS_PROFILE": "a-profile-that-is-not-there"},
        check=True,
        capture_output=True,
        text=True,
        timeout=25,
    )
    assert re.search(r"follows the secret: \d+ answered; the longest took 0", run.stdout), run.stdout
    assert re.search(r"password read once: \d+ answered, \d+ failed with InvalidPasswordError", run.stdout), run.stdout
    assert "fetches of the secret: 3" in run.stdout
    # Without logging set up, Python writes warnings there: the version that was refused in the window.
    (warning,) = run.stderr.splitlines()
    assert re.match(
        r"Secret 'prod/database': the server refused version '[\w-]+' \(AWSCURRENT\)\. It answered: ", warning
    )
    assert "first-password" not in run.stdout + run.stderr
    assert len(run.stdout.splitlines()) < 16
