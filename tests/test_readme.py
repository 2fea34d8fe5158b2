"""The README says what is so: its code runs, its commands are the ones that CI runs."""

from __future__ import annotations

import dataclasses
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
@pytest.mark.parametrize("block", blocks_of(PAGE, "diff"), ids=str)
def test_migration(block: Block) -> None:
    """What the migration leaves, runs and gives the secret's parsed JSON."""
    with runner("readme") as (module, run):
        run(block.left())
        assert module.credentials == DATABASE


@pytest.mark.usefixtures("secrets")
def test_fastapi_block() -> None:
    """The app of the FastAPI section answers through its lifespan."""
    (block,) = (block for block in blocks_of(PAGE, "python") if "FastAPI(" in block.text)
    with runner("readme") as (module, run):
        run(block)
        with TestClient(module.app) as client:
            assert client.get("/database").json() == {"host": "db.example", "username": "app"}


def test_error_table() -> None:
    """The table of errors tells of each one truly whether it is transient."""
    rows = re.findall(r"^\| (`\w+Error`.*?) \|.*\| (yes|no) \|$", README, re.MULTILINE)
    listed = {name: word == "yes" for names, word in rows for name in re.findall(r"\w+", names)}
    assert listed == {name: getattr(aiocredentials, name).transient for name in listed}
    errors = {name for name in aiocredentials.__all__ if name.endswith("Error")}
    assert errors - set(listed) == {"CredentialsError"}


def test_cache_table() -> None:
    """The table of the cache gives each of the policy's defaults."""
    section = README[README.index("## The cache") : README.index("## Errors")]
    said = {name: float(number) for name, number in re.findall(r"`(\w+)=([\d.]+)`", section)}
    assert said == dataclasses.asdict(aiocredentials.CachePolicy())


def test_status() -> None:
    """The status has the version, the tested Pythons and the extras of pyproject.toml, and says that it is an alpha."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classifiers = "\n".join(project["classifiers"])
    pythons = re.findall(r"Python :: (3\.\d+)$", classifiers, re.MULTILINE)
    assert project["requires-python"] == f">={pythons[0]}"
    assert "3 - Alpha" in classifiers
    assert f"- **Version {project['version']}, alpha.**\n" in README
    assert f"- **Tested on Python {pythons[0]} to {pythons[-1]}.**\n" in README
    (extras,) = re.findall(r"^The extras are (.+)\.$", README, re.MULTILINE)
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


def test_demo_output() -> None:
    """The calls whose times the README shows are the demo's."""
    calls = re.findall(r"^ +[\d.]+ ms  (.+)$", README, re.MULTILINE)
    quickstart = (ROOT / "examples" / "quickstart.py").read_text()
    assert calls
    assert [call for call in calls if call not in quickstart] == []


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has it")
def test_ci_runs_the_command() -> None:
    """`.ci/run` finds one command in the README, the one that runs everything, and CONTRIBUTING has the same."""
    pattern = re.search(r"grep -E '(.+?)' README\.md", (ROOT / ".ci" / "run").read_text())
    assert pattern is not None
    (command,) = re.findall(pattern[1], README, re.MULTILINE)
    assert command.endswith("/nox")
    assert command in (ROOT / "CONTRIBUTING.md").read_text().splitlines()
