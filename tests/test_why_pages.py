"""The pages in docs/why are true: the tests that they name exist, and their figures are those of the code."""

from __future__ import annotations

import re
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from packaging.requirements import Requirement

import mutants
import soak
from aiocredentials._aws.regions import Region
from aiocredentials._aws.session import open_client, open_session
from aiocredentials._aws.settings import ClientSettings
from unit.test_cache_schedules import SHORT

ROOT = Path(__file__).parent.parent
WHY = ROOT / "docs" / "why"

pytestmark = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has all pages")

LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^)#\s]+)[^)]*\)")
# A section about one promise, from its number to the next heading.
PROMISE = re.compile(r"^### (?P<number>\d+)\. [^\n]+\n(?P<text>.*?)(?=^##)", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"[\d.,]+ (?:ms|KiB)")

PROMISES = 17


def text_of(name: str) -> str:
    """Return a page."""
    return (WHY / name).read_text(encoding="utf-8")


def named_tests(text: str) -> list[tuple[str, Path]]:
    """Return the links of a page to files of tests: what each is called, and where it leads."""
    links = [(link["text"], WHY / link["target"]) for link in LINK.finditer(text)]
    return [(shown, path) for shown, path in links if "/tests/" in path.as_posix()]


@pytest.mark.parametrize("name", ["promises.md", "transport.md", "alternatives.md"])
def test_named_tests_exist(name: str) -> None:
    """Each test that a page names exists, under the name that the reader sees."""
    named = named_tests(text_of(name))
    assert named
    for shown, path in named:
        assert path.exists(), f"{name} names {path.name}"
        assert path.as_posix().endswith(shown), f"{shown} leads to {path}"


def test_numbers_of_promises() -> None:
    """Each numbered promise stands on the page once, and a test that the page names has its number."""
    sections = list(PROMISE.finditer(text_of("promises.md")))
    numbers = Counter(int(section["number"]) for section in sections)
    assert numbers == Counter(range(1, PROMISES + 1))
    for section in sections:
        tests = [path.read_text(encoding="utf-8") for _, path in named_tests(section["text"])]
        number = re.compile(rf"Promises? (?:\d+ and )?{section['number']}\b")
        assert any(number.search(test) for test in tests), section["number"]


def test_figures_of_the_tests() -> None:
    """The page about promises has as many mutants, schedules and hits as the tests have."""
    text = text_of("promises.md")
    assert f"breaks the package {len(mutants.MUTATIONS)} times" in text
    assert f"plays {SHORT:,} such programs, and `nox -s soak` {soak.FIGURES['schedules']:,} or more" in text
    assert soak.FIGURES["hits"] == 20_000_000
    assert soak.FIGURES["failures"] == 1_000_000
    assert soak.FIGURES["seconds"] == 60
    assert "20 million hits, a million failing reads, and a minute of" in text
    assert '"--mutations", "1000000"' in (ROOT / "noxfile.py").read_text(encoding="utf-8")


def test_versions_of_the_alternatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of another package is said of the release that the benchmarks install."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import sides  # noqa: PLC0415 (the folder is on the path for this test only)

    monkeypatch.delitem(sys.modules, "sides")
    pinned: dict[str, str] = {}
    for side in sides.SIDES.values():
        for requirement in map(Requirement, side.requirements):
            pinned[requirement.name] = str(requirement.specifier).removeprefix("==")

    text = text_of("alternatives.md")
    sources = text[text.index("## Sources") :]
    names = {
        "aws-secretsmanager-caching": "aws-secretsmanager-caching",
        "aws-lambda-powertools": "Powertools for AWS Lambda (Python)",
        "aioboto3": "aioboto3",
        "capo-secrets-manager": "capo-secrets-manager",
        "aws-sdk-secrets-manager": "aws-sdk-secrets-manager",
        "fastapi-toolkit": "fastapi-toolkit",
    }
    for package, shown in names.items():
        assert f"{shown} {pinned[package]}" in sources, package


def test_figures_of_the_alternatives() -> None:
    """Each measured figure in the tables about alternatives is one of the benchmarks."""
    measured = (ROOT / "docs" / "reference" / "benchmarks.md").read_text(encoding="utf-8")
    rows = [line for line in text_of("alternatives.md").splitlines() if re.match(r"\| \*\*1[23]\.", line)]
    figures = [figure for row in rows for figure in FIGURE.findall(row)]
    assert len(figures) == len(set(figures)) == 7
    for figure in figures:
        assert re.search(rf"\| (\*\*)?{re.escape(figure)}(\*\*)? \|", measured), figure


def numbered_rows(table: str) -> dict[int, list[str]]:
    """Return the cells of each numbered row of a table, with the row's name as the first one."""
    lines = re.findall(r"^\| \*\*(\d+)\. (.*) \|$", table, re.MULTILINE)
    return {int(number): cells.split(" | ") for number, cells in lines}


def test_rows_of_the_alternatives() -> None:
    """Two tables have the same rows, and the same column of ours; the cells are short, and every column has sources."""
    text = text_of("alternatives.md")
    libraries, others = (numbered_rows(table) for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[:2])
    assert list(libraries) == list(range(1, 15))
    # These two weren't measured.
    assert list(others) == [number for number in libraries if number not in {12, 13}]
    for number, (name, ours, *cells) in libraries.items():
        assert len(cells) == 3
        assert number not in others or (name, ours) == tuple(others[number][:2])
    for _, _, *cells in others.values():
        assert len(cells) == 2
    for _, *cells in [*libraries.values(), *others.values()]:
        # The site shows all columns without scrolling.
        assert max(len(re.sub(r"\]\(.*?\)", "]", cell).split()) for cell in cells) <= 6, cells
    sources = text[text.index("## Sources") :]
    assert len(re.findall(r"^### ", sources, re.MULTILINE)) == 7


def test_bounds_of_boto3() -> None:
    """The page about limits names the versions of boto3 that pyproject.toml allows."""
    assert "boto3>=1.40.46,<1.40.62" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "boto3 1.40.46 to 1.40.61" in text_of("limits.md")
    assert "boto3 1.40.62 or newer" in text_of("alternatives.md")


@pytest.mark.parametrize(
    ("variable", "value", "settings", "expected"),
    [
        ("AWS_USE_FIPS_ENDPOINT", "true", {}, "https://secretsmanager-fips.us-east-1.amazonaws.com"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true", {}, "https://secretsmanager.us-east-1.api.aws"),
        ("AWS_ENDPOINT_URL", "https://vpce-1.example", {}, "https://vpce-1.example"),
        ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "https://vpce-1.example", {}, "https://vpce-1.example"),
        (None, None, {"endpoint_url": "https://vpce-1.example"}, "https://vpce-1.example"),
        (
            None,
            None,
            {"config": AioConfig(use_fips_endpoint=True)},
            "https://secretsmanager-fips.us-east-1.amazonaws.com",
        ),
        (None, None, {"config": AioConfig(use_dualstack_endpoint=True)}, "https://secretsmanager.us-east-1.api.aws"),
    ],
)
@pytest.mark.usefixtures("aws_environment")
async def test_endpoints(
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    value: str | None,
    settings: dict[str, Any],
    expected: str,
) -> None:
    """FIPS, dual-stack and VPC endpoints are chosen by botocore's own settings; all have the checked transport."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mock")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mock")
    if variable is not None and value is not None:
        monkeypatch.setenv(variable, value)
    chosen = ClientSettings(**settings)
    session = await open_session(chosen)
    async with AsyncExitStack() as stack:
        # It raises if the client's transport isn't ours.
        opened = await open_client(stack, session, Region("us-east-1", "the test"), chosen)
        assert opened.client.meta.endpoint_url == expected
