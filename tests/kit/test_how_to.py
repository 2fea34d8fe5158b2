"""The how-to about testing: its blocks, one after the other, are a test file, and each of its tests passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"


def test_the_how_to_passes(pytester: pytest.Pytester) -> None:
    """Whoever copies the page into a file has tests that pass, without a warning."""
    blocks = re.findall(r"^```python\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    pytester.makepyfile("\n\n".join(blocks))
    scopes = [f"--override-ini=asyncio_default_{each}_loop_scope=function" for each in ("fixture", "test")]
    options = ["-W", "error", "-p", "no:cacheprovider", "--override-ini=asyncio_mode=auto", *scopes]
    tests = sum(len(re.findall(r"^ *(?:async )?def test_", block, re.MULTILINE)) for block in blocks)
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=tests)
