"""The README says what is so: its code runs, its commands are the ones that CI runs."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

import aiocredentials
from blocks import Block, blocks_of, is_as_promised, promised_by, runner

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "README.md"
README = PAGE.read_text()
DATABASE = {"username": "app", "password": "mock_password", "host": "db.example", "port": 5432}


@pytest.fixture
def secrets(moto_environment: object, create_secret: Callable[..., dict[str, Any]]) -> None:  # noqa: ARG001
    """Create the secret that the README asks for, in the regions where it asks."""
    for region in ("us-east-1", "eu-west-1"):
        create_secret("prod/database", json.dumps(DATABASE), region)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("block", blocks_of(PAGE, "python"), ids=str)
def test_python_blocks(block: Block, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Python block runs as it stands, and prints what the comments after its arrows say."""
    with runner("readme") as (_, run):
        run(block)
    printed = capsys.readouterr().out
    assert is_as_promised(promised_by(block), printed), printed


@pytest.mark.usefixtures("secrets")
def test_fastapi_block() -> None:
    """The app of the FastAPI section answers through its lifespan."""
    (block,) = (block for block in blocks_of(PAGE, "python") if "FastAPI(" in block.text)
    with runner("readme") as (module, run):
        run(block)
        with TestClient(module.app) as client:
            assert client.get("/database").json() == {"host": "db.example", "username": "app"}


def row_of(results: str, what: str, against: str) -> dict[str, Any]:
    """Return a row of the benchmarks by what it measures and what it is compared with."""
    rows = json.loads((ROOT / "benchmarks" / results).read_text())["rows"]
    (found,) = (row for row in rows if (row["what"], row["against"]) == (what, against))
    return found


def test_promises() -> None:
    """Each number of the promises is one that a session of nox has measured, or a default of the code."""
    policy = aiocredentials.CachePolicy()
    herd = row_of("results.json", "calls for these 10,000", "Powertools")
    read = row_of("results.json", "`retrieve_secret_string()`, 7 keys, flat", "`json.loads` of the text")
    stall = row_of("results.json", "worst stall, first session of a process", "aioboto3")
    hanging = row_of("results.json", "each read past the TTL, refresh hanging", "a hit")
    tests = json.loads((ROOT / "benchmarks" / "rotation_results.json").read_text())["rows"]
    rotations = [row for row in tests if not row["control"]]
    failures = sum(row["failures"] for row in rotations)
    queries = sum(row["queries"] for row in rotations)
    (amounts,) = re.findall(r"--mutations (\d+)", (ROOT / "tests" / "fuzz.py").read_text())

    promises = README[README.index("## What you get") : README.index("```python")]
    for number in (
        f"[{herd['ours']:g} call]",
        f"[{read['ours'] * 1e6:.2f} µs]",
        f"would take {read['theirs'] * 1e6:.1f} µs",
        f"for {stall['ours'] * 1e3:.0f} ms; with plain aioboto3 it is [{stall['theirs'] * 1e3:.0f} ms]",
        f"at most {policy.patience:g} s, and usually takes [{hanging['ours'] * 1e6:.2f} µs]",
        f"in {len(rotations)} tests",
        f"[{failures} of {queries:,}]",
        f"{int(amounts):,} answers that a test damaged",
    ):
        assert number in promises
    assert policy.max_stale == 3600  # "until it is an hour old"


def test_costs() -> None:
    """The price of the calls is that of the simulated fleet, and the memory that of the benchmarks."""
    fleet = json.loads((ROOT / "benchmarks" / "fleet_results.json").read_text())["running"]
    (small,) = (row for row in fleet if (row["processes"], row["secrets"]) == (10, 1))
    assert f"AWS charges ${small['calls price'] / 10:.2f} per month" in README
    assert f"its ${small['secrets price']:.2f} per month for the secret" in README
    assert round(10 / small["mean"] / 60) == 4  # "about every four minutes"
    secret = row_of("results.json", "a cached secret, of 10,000", "async-lru")
    assert f"each cached secret {secret['ours'] / 1024:.1f} KiB" in README
    pool = row_of("results.json", "an idle pool, its modules included", "aioboto3")
    assert f"takes {pool['ours'] / 2**20:.0f} MiB of memory" in README


def test_status() -> None:
    """The status has the version, the tested Pythons and the extras of pyproject.toml, and says that it is an alpha."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classifiers = "\n".join(project["classifiers"])
    pythons = re.findall(r"Python :: (3\.\d+)$", classifiers, re.MULTILINE)
    assert project["requires-python"] == f">={pythons[0]}"
    assert "3 - Alpha" in classifiers
    assert f"\nVersion {project['version']} is an alpha: " in README
    assert f"\nIt is tested on Python {pythons[0]} to {pythons[-1]}, " in README
    (extras,) = re.findall(r"^The extras are (.+): list ", README, re.MULTILINE)
    assert re.findall(r"`(.+?)`", extras) == sorted(project["optional-dependencies"])


def test_commands() -> None:
    """There are two commands: an environment, nox in it, then the demo or everything."""
    demo, everything = re.findall(r"^python3 .*$", README, re.MULTILINE)
    assert everything.split(" && ") == [
        "python3 -m venv .venv",
        '.venv/bin/python -m pip install -q "nox[uv]"',
        ".venv/bin/nox",
    ]
    assert demo == f"{everything} -s demo"
    assert "def demo(session" in (ROOT / "noxfile.py").read_text()


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has it")
def test_ci_runs_the_command() -> None:
    """`.ci/run` finds one command in the README, the one that runs everything, and CONTRIBUTING has the same."""
    pattern = re.search(r"grep -E '(.+?)' README\.md", (ROOT / ".ci" / "run").read_text())
    assert pattern is not None
    (command,) = re.findall(pattern[1], README, re.MULTILINE)
    assert command.endswith("/nox")
    assert command in (ROOT / "CONTRIBUTING.md").read_text().splitlines()
