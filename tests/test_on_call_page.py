"""The page for a person on call agrees with the code: its kinds of errors, its times and its log lines."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import aiocredentials
from aiocredentials import CachePolicy, CredentialsError
from aiocredentials._cache import LONGEST_BACKOFF
from aiocredentials.rotation import connect_through_rotation

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "how-to" / "on-call.md"
LOGGING = ROOT / "docs" / "reference" / "logging.md"

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="only a checkout has the docs")

ERRORS = {name for name in aiocredentials.__all__ if name.endswith("Error")} - {CredentialsError.__name__}


def section(heading: str) -> str:
    """Return the text under a heading, up to the next one."""
    found = re.search(
        rf"^## {re.escape(heading)}\n(.*?)^## ", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found is not None
    return found[1]


def rows() -> list[list[str]]:
    """Return the cells of the large table, without its head."""
    lines = re.findall(r"^\|.*\|$", section("What you see, and what to do"), re.MULTILINE)[2:]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_every_error_has_a_row() -> None:
    """Each public error is in the first column, and a row that names its kind names the right one."""
    listed: set[str] = set()
    for seen, now, *_ in rows():
        names = ERRORS.intersection(re.findall(r"`(\w+)`", seen))
        listed |= names
        kind = re.match(r"(transient|permanent)\b", now)
        if kind is not None:
            assert {getattr(aiocredentials, name).transient for name in names} == {kind[1] == "transient"}, seen
    assert listed == ERRORS


def test_records() -> None:
    """Each record in the first column is one that the reference lists."""
    spans = re.findall(r"\| WARNING \| `(.+?)`", LOGGING.read_text(encoding="utf-8"))
    listed = [re.compile(".*".join(map(re.escape, span.split("…")))) for span in spans]
    shown = [span for seen, *_ in rows() for span in re.findall(r"WARNING `(.+?)`", seen)]
    assert shown
    unknown = [span for span in shown if not any(text.match(span) for text in listed)]
    assert unknown == []


def test_times() -> None:
    """The times of the page are the defaults of the cache and of the adapters."""
    policy = CachePolicy()
    text = section("How long the service continues")
    longest_pause = 1.1 * LONGEST_BACKOFF
    for number in (policy.ttl, policy.max_stale, policy.patience, policy.negative_ttl, longest_pause):
        assert f"{number:g} s" in text
    budget = inspect.signature(connect_through_rotation).parameters["budget"].default
    assert f"{budget:g} s (`budget`)" in section("What you see, and what to do")
