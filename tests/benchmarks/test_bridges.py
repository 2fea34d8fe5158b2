"""The sides of benchmarks/bridges.py run, and its page has a place for their table. How fast, no test says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the page's bridge is for systems that fork")

ROOT = Path(__file__).parent.parent.parent


def test_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each side that needs no process of its own has a first read, a cached read and a fetch."""
    import bridges
    from processes import environment, stub_server

    with stub_server() as stub:
        for name, value in environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", stub.endpoint)
        gathered = {}
        for side, (_, needed) in bridges.SIDES.items():
            if side in {"forked", "gevent"}:
                continue
            pytest.importorskip(needed)
            gathered[side] = bridges.measure_side(side, 1)
            sys.modules.pop("bridge").close()
    assert all(values.keys() >= {"first", "hit", "fetch"} for values in gathered.values())
    assert len(bridges.bridge_table(gathered).splitlines()) == len(gathered) + 2


def test_table() -> None:
    """Tables have two digits, a hyphen for a missing value, and one figure for first reads that load the modules."""
    import bridges

    gathered = {
        "awaited": {"hit": 2.53e-7, "fetch": 0.00123, "first": 0.5},
        "bridge": {"hit": 0.000101, "fetch": 0.00123, "first": 1.04, "busy": 0.01},
        "forked": {"hit": 0.0001, "fetch": 0.00123, "first": 0.0048},
    }
    assert bridges.bridge_table(gathered).splitlines()[2:] == [
        "| `await`, in a coroutine | 250 ns | 1 | - | 1.2 ms | about 1 s |",
        "| the bridge of this page | 100 µs | 400 | 10 ms | 1.2 ms | about 1 s |",
        "| the bridge in a forked child, after `preload()` | 100 µs | 400 | - | 1.2 ms | 4.8 ms |",
    ]
    assert "| `celery --pool threads` | the bridge | 100 µs | about 1 s |" in bridges.process_table(gathered)
    assert bridges.first_reads({"awaited": {"first": 0.234}}) == {"awaited": "about 200 ms"}


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has all pages")
def test_page() -> None:
    """The page shows the results of a run, in both of its places."""
    import bridges

    page = bridges.PAGE.read_text("utf-8")
    for process, _, _ in bridges.PROCESSES:
        assert f"| {process} |" in page
    assert f"| {bridges.SIDES['bridge'].label} |" in page
    assert page.count("\nMeasured on ") == 2
