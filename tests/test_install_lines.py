"""Install lines that are true: from the repository, at its one address, with extras that exist."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from packaging.requirements import InvalidRequirement, Requirement

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = PROJECT["urls"]["Source"]
EXTRAS = PROJECT["optional-dependencies"].keys()

# What an install line has behind the name. CONTRIBUTING.md says when to make it None: once the bare name is ours.
REPOSITORY = f"git+{ADDRESS}"
INSTALLED_FROM: str | None = REPOSITORY

# An sdist has some of these only. What it has must be true there, too.
WHERE = ("*.md", "docs/**/*.md", "examples/**/*.py", "src/**/*.py")
# This page installs what a release has put on the package index, and isn't for users.
RELEASING = ROOT / "RELEASING.md"
PATHS = [path for pattern in WHERE for path in ROOT.glob(pattern) if path != RELEASING]
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PATHS}

# Up to the end of the line, or of the code in a sentence.
COMMAND = re.compile(
    r"\b(?:(?:pip3?|pipx|uv|uv pip|uv tool|poetry|pdm|conda)(?: -\S+)* (?:install|add|run)|uvx)\b([^\n`]*)"
)
NEXT_COMMAND = re.compile(r"\s(?:&&|\|\|?|;|#)\s")
WORD = re.compile(r""""([^"]*)"|'([^']*)'|([^\s"']+)""")
# A requirement with extras, wherever it stands: in a message or a list of dependencies, too.
WITH_EXTRAS = re.compile(r"""[\w./]*aiocredentials\[[^\]]*\](?: @ [^\s"'`]+)?""")
FOLDER = re.compile(r"\A(?:\.{0,2}/[^\[]*|\.{1,2}(?=\[|$))")
URL = re.compile(r"""[\w+]+://[^\s"'`()<>\[\]|\\]+""")


def requirements_in(text: str) -> list[str]:
    """Return what a text says to install of this package: by its name, or as a folder."""
    commands = COMMAND.findall(text.replace("\\\n", " "))
    words = ["".join(word) for command in commands for word in WORD.findall(NEXT_COMMAND.split(command)[0])]
    ours = [word for word in words if "aiocredentials" in word or FOLDER.match(word)]
    return [*ours, *WITH_EXTRAS.findall(text)]


def parsed(requirement: str) -> Requirement:
    """Return a requirement in its parts, where a folder counts as the name of the package."""
    return Requirement(FOLDER.sub("aiocredentials", requirement))


def problem_with(requirement: str, source: str | None = INSTALLED_FROM) -> str | None:
    """Return why a requirement can't be installed as it stands; None if it can."""
    wanted = None if FOLDER.match(requirement) else source
    try:
        parts = parsed(requirement)
    except InvalidRequirement as error:
        return f"{requirement}: {error}"
    if parts.extras - EXTRAS:
        return f"{requirement}: there is no such extra"
    return None if parts.url == wanted else f"{requirement}: install from {wanted or 'the package index'}"


def addresses_in(text: str) -> set[str]:
    """Return the addresses that a text gives for this repository, or for pages of it."""
    cloned = re.findall(r"git clone (\S+)", text)
    urls = [url.rstrip(".,;:") for url in URL.findall(text)]
    ours = [url for url in urls if url.startswith("git+") or re.search(r"/aiocredentials\b", url)]
    return {address.removeprefix("git+") for address in cloned + ours}


def is_ours(address: str) -> bool:
    """Say whether an address is that of the repository, or of a page of it."""
    return address == ADDRESS or address.startswith(f"{ADDRESS}/")


def test_requirements() -> None:
    """Each install line is a requirement, has extras that exist, and installs from the repository or a clone."""
    found = {name: [problem_with(one) for one in requirements_in(text)] for name, text in TEXTS.items()}
    assert {name: problems for name, problems in found.items() if any(problems)} == {}


def test_addresses() -> None:
    """The address of the repository is the one in pyproject.toml, wherever it stands."""
    found = {(name, address) for name, text in TEXTS.items() for address in addresses_in(text)}
    assert {(name, address) for name, address in found if not is_ours(address)} == set()


def test_urls() -> None:
    """The links of the metadata are pages of the repository, and the files that they name exist."""
    for url in PROJECT["urls"].values():
        assert is_ours(url)
        _, _, file = url.partition("/blob/main/")
        assert (ROOT / file).exists()


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_placeholder(name: str) -> None:
    """A page whose first step has the address says that it is a placeholder, as long as it is one."""
    host = f".{urlsplit(ADDRESS).hostname}"
    is_placeholder = host.endswith((".example", ".example.com", ".example.org", ".invalid"))
    assert ("is a placeholder" in TEXTS[name]) == is_placeholder


def test_each_way_is_shown() -> None:
    """The README installs by name and from a clone, and each extra is in an install line."""
    by_name = f"aiocredentials[asyncpg] @ {INSTALLED_FROM}" if INSTALLED_FROM else "aiocredentials[asyncpg]"
    assert {by_name, ".[asyncpg]"} <= {*requirements_in(TEXTS["README.md"])}
    shown = [parsed(one).extras for text in TEXTS.values() for one in requirements_in(text)]
    assert set().union(*shown) == EXTRAS


@pytest.mark.parametrize(
    "text",
    [
        "python -m pip install aiocredentials",
        "run `pip install aiocredentials boto3`",
        "python3 -m pip -q install 'aiocredentials>=0.1'",
        "uv add aiocredentials",
        "uvx aiocredentials doctor prod/database",
        "uv pip install \\\n  aiocredentials",
        "poetry add aiocredentials && true",
        "dependencies = ['aiocredentials[asyncpg]>=0.1']",
        'pip install ".[nothing]"',
        f'pip install "aiocredentials[nothing] @ git+{ADDRESS}"',
        f'pip install "aiocredentials @ git+{ADDRESS}2"',
        f'pip install "aiocredentials @ git+{ADDRESS}@main"',
        f'pip install "aiocredentials[asyncpg] @ {ADDRESS}"',
    ],
)
def test_what_is_refused(text: str) -> None:
    """A bare name, an extra that doesn't exist and another address are found, in each kind of line."""
    found = [problem_with(requirement, REPOSITORY) for requirement in requirements_in(text)]
    assert any(found), found


@pytest.mark.parametrize(
    "text",
    [
        "git clone ADDRESS aiocredentials",
        "see https://git.example/me/aiocredentials/issues.",
        "git+ssh://git.example/other",
    ],
)
def test_which_addresses_are_refused(text: str) -> None:
    """Another address of a repository is found, in a command, a link and a requirement."""
    assert [is_ours(address) for address in addresses_in(text)] == [False]
