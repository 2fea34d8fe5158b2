"""The check of `.ci/resolve.py`: it accepts the right answers of pip and uv, and only those."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

SCRIPTS = Path(__file__).parents[2] / ".ci"

pytestmark = pytest.mark.skipif(not SCRIPTS.exists(), reason="only a checkout has it")

OTHER = "the answer has aioboto3 {}, and 15.5.0 is the newest: compare the bounds in pyproject.toml with what it needs"
BY_PIP = "Collecting boto3\nWould install aioboto3-15.5.0 aiocredentials-0.1.0 boto3-1.40.61\n"
BY_UV = " + aioboto3==15.5.0\n + aiocredentials==0.1.0\n"
REFUSAL = "The user requested boto3>=1.42\n    aiocredentials 0.1.0 depends on boto3<1.40.62"


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.syspath_prepend(SCRIPTS)
    return importlib.import_module("resolve")


@pytest.mark.parametrize(
    ("status", "text", "problem"),
    [
        (0, BY_PIP, None),
        (0, BY_UV, None),
        (0, "Would install aioboto3-7.0.0 boto3-1.44.8\n", OTHER.format("7.0.0")),
        (0, " + aioboto3==15.4.0\n", OTHER.format("15.4.0")),
        (0, "Collecting aioboto3-15.5.0\nWould install boto3-1.44.8\n", "the answer has no aioboto3"),
        (1, REFUSAL, "failed with exit status 1"),
        (None, "Collecting boto3\n", "stopped after 60 seconds without an answer"),
    ],
)
def test_an_answer_has_the_newest_aioboto3(
    resolve: ModuleType, status: int | None, text: str, problem: str | None
) -> None:
    """A request must end with the newest aioboto3, and before the limit."""
    request = resolve.Request(["aiocredentials"], [])
    assert resolve.problem_with(request, resolve.Outcome(1.0, text, status), "15.5.0") == problem


@pytest.mark.parametrize(
    ("status", "text", "problem"),
    [
        (1, REFUSAL, None),
        (0, BY_PIP, "accepted, but it should be refused"),
        (1, "aiocredentials 0.1.0", "refused, but the text lacks boto3>=1.42 and on boto3"),
        (None, REFUSAL, "stopped after 60 seconds without an answer"),
    ],
)
def test_a_refusal_names_what_conflicts(
    resolve: ModuleType, status: int | None, text: str, problem: str | None
) -> None:
    """A request that can't be met must be refused before the limit, and the text says why."""
    request = resolve.Request(["boto3>=1.42"], ["aiocredentials", "boto3>=1.42", "on boto3"])
    assert resolve.problem_with(request, resolve.Outcome(1.0, text, status), "15.5.0") == problem


def test_a_command_that_goes_on_is_stopped(resolve: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit ends a command that has no end, and the outcome says so."""
    monkeypatch.setattr(resolve, "LIMIT", 0.5)
    outcome = resolve.run([sys.executable, "-c", "while True: pass"])
    assert outcome.status is None
    assert outcome.seconds < 10
