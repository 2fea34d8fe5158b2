"""The how-to about testing: its blocks, one after the other, are a test file, and each of its tests passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"


def test_the_how_to_passes(pytester: pytest.Pytester) -> None:
    """Whoever copies the page's settings and blocks has tests that pass, without a warning."""
    (settings,) = re.findall(r"^```toml\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    pytester.makepyprojecttoml(settings)
    blocks = re.findall(r"^```python\n(.*?)^```$", HOW_TO.read_text(), re.MULTILINE | re.DOTALL)
    pytester.makepyfile("\n\n".join(blocks))
    options = ["-W", "error", "-p", "no:cacheprovider"]
    tests = sum(len(re.findall(r"^ *(?:async )?def test_", block, re.MULTILINE)) for block in blocks)
    pytester.runpytest_inprocess(*options).assert_outcomes(passed=tests)
