"""Each row of the benchmarks runs. How fast, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent.parent.parent / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the times of one child process can't be read there")


def is_installed(package: str) -> bool:
    """Return whether this environment has a package."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the benchmarks with the peers that are installed here."""
    command = [sys.executable, str(FOLDER / "run.py"), "--here", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.timeout(300)
def test_every_row_runs(tmp_path: Path) -> None:
    """Each row has figures, or names the package that is missing here or what is out of reach of a quick run."""
    file = tmp_path / "results.json"
    done = run("--smoke", "--json", str(file))
    assert done.returncode == 0, done.stderr

    from catalogue import MEASUREMENTS
    from comparisons import amounts
    from comparisons.everything import ROWS
    from sides import SIDES

    records = json.loads(file.read_text())["rows"]
    expected = [row for row in ROWS if not MEASUREMENTS[row.measurement].is_slow]
    assert [record["what"] for record in records] == [row.what for row in expected]
    for row, record in zip(expected, records, strict=True):
        missing = [
            name
            for name in (text.partition("==")[0].partition("[")[0] for text in SIDES[row.side].requirements)
            if not is_installed(name)
        ]
        if missing:
            assert record["skip"] == f"{missing[0]} is not installed"
        elif "skip" in record and row.section == amounts.SIZE_SECTION:
            assert record["skip"] == "a quick run doesn't reach this size"
        elif "skip" in record and row.section == amounts.MEMORY_SECTION:
            assert not Path("/proc/self/status").exists()
        else:
            assert record["ours"] is not None
            assert bool(row.theirs) == (record["theirs"] is not None)


def fake(answer: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Return what runs a measurement of one side, and always answers the same."""
    return lambda *_: answer


@pytest.mark.parametrize("quantity", ["values", "failed"])
def test_exit_code(quantity: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 1 if a row failed, and the run says which one and why; a ratio past its reach is no failure."""
    import run as script

    # A second is past the limit of this row, which has one side.
    answer = {"values": {"ours": [1.0], "ours_uncollected": [1.0], "idle": [1.0]}}
    if quantity == "failed":
        answer = {"failed": "ZeroDivisionError: for a test"}
    monkeypatch.setattr(script.Run, "answer", fake(answer))
    code = script.main(["--here", "--quick", "--only", "prefetch"])
    told = capsys.readouterr()
    if quantity == "failed":
        assert code == 1
        failure = "FAILED: `prefetch` of 10,000 names, longest stall (aiocredentials): ZeroDivisionError: for a test"
        assert failure in told.err
    else:
        assert code == 0
        assert "≤ 20.0 ms  no" in told.out


def test_a_failing_side_fails_alone(tmp_path: Path) -> None:
    """A measurement that raises is reported with its error, and the next one in that process still runs."""
    import processes

    with processes.stub_server() as stub:
        jobs = ["stall:nobody", "stall:idle"]
        failed, idle = processes.measured(sys.executable, jobs, stub.endpoint, quick=True)
    assert failed["failed"].startswith("ModuleNotFoundError")
    assert idle["values"]["idle"]
    assert not list(tmp_path.iterdir())


def test_a_peer_that_cannot_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that needs a newer Python, or whose installation fails, has a reason and no Python."""
    import environments
    from sides import SIDES, Side

    too_new = Side("too new", ("example==1",), oldest_python=(9, 9))
    broken = Side("broken", ("example==1",))
    monkeypatch.setitem(SIDES, "too_new", too_new)
    monkeypatch.setitem(SIDES, "broken", broken)
    program = "import sys; sys.exit('no such release')"
    monkeypatch.setattr(environments, "commands", lambda *_: [[sys.executable, "-c", program]])

    assert environments.made("too_new", tmp_path).reason == "example==1 needs Python 9.9"
    found = environments.made("broken", tmp_path)
    assert found.python is None
    assert found.reason == "example==1 can't be installed: no such release"
    assert environments.made("ours", tmp_path).python == sys.executable
