"""What the tests of the kit share: settings for the runs of pytest that they start."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def without_langsmith(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out a plugin that another page's tests bring along: it warns on new Pythons, and a warning is an error."""
    if "pytester" in request.fixturenames:
        # It deletes the variable.
        request.getfixturevalue("pytester")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:langsmith_plugin")
