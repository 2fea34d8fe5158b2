"""The site that `nox -s docs` has built, for its tests. Without it, they aren't collected."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SITE = ROOT / os.environ.get("SITE", "build/docs")

# Only the sessions `docs` and `browser` of noxfile.py set it, when they have built the site.
IS_BUILT = "SITE" in os.environ
collect_ignore_glob = [] if IS_BUILT else ["test_*.py"]

if IS_BUILT:
    # The extensions of the site know its pages and the public names.
    sys.path.append(str(ROOT / "docs" / "_ext"))


@pytest.fixture(scope="session")
def site() -> Path:
    """Return the folder of the site."""
    return SITE
