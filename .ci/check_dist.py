"""Check what `nox -s package` built: that wheel and sdist hold the right files and metadata."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).parent.parent

# The sdist holds these files beside the folders that `check_sdist` names.
BESIDE = {
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "noxfile.py",
    "pyproject.toml",
}

# Folders that tools leave in the checkout.
LEFT_BEHIND = {"__pycache__", ".hypothesis", ".ruff_cache"}

# The target of a link or picture in the README.
LINK = re.compile(r'(?:\]\(|\b(?:src|srcset)=")([^)"]+)')

# The wheel's folder `.dist-info` holds these files.
DIST_INFO = ["METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"]

# The README and pyproject.toml promise this. One more package that every user installs is a
# decision: make it here too. boto3 isn't one more: aioboto3 installs it, and we name its bounds.
PROMISES = {
    "Name": ["aiocredentials"],
    "Requires-Python": [">=3.11"],
    "Requires-Dist": ["aioboto3", "aiobotocore", "boto3"],
    "Provides-Extra": [
        "aiomysql",
        "asyncmy",
        "asyncpg",
        "fastapi",
        "opentelemetry",
        "psycopg",
        "pydantic-settings",
        "redis",
        "sqlalchemy",
        "testing",
    ],
    "License-Expression": ["Apache-2.0"],
    "License-File": ["LICENSE"],
    "Description-Content-Type": ["text/markdown"],
}


def files(*folders: str) -> set[str]:
    """Return the files in these folders of the checkout."""
    found: set[str] = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT)
            if path.is_file() and LEFT_BEHIND.isdisjoint(name.parts):
                found.add(name.as_posix())
    return found


def compare(archive: Path, found: set[str], wanted: set[str]) -> list[str]:
    """Return a problem for each file that is missing from the archive, or too many in it."""
    missing = sorted(wanted - found)
    needless = sorted(found - wanted)
    problems = [f"{archive.name} lacks {name}" for name in missing]
    problems += [f"{archive.name} has no use for {name}" for name in needless]
    return problems


def check_sdist(path: Path) -> list[str]:
    """Compare the sdist with the checkout."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}

    folders = files("src", "tests", "docs", "examples", "benchmarks")
    return compare(path, names, BESIDE | folders)


def check_wheel(path: Path) -> list[str]:
    """Compare the wheel with `src`, and its metadata with the promises."""
    name, version, *_ = path.name.split("-")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"{info}/METADATA").decode()

    package = {name.removeprefix("src/") for name in files("src")}
    about = {f"{info}/{name}" for name in DIST_INFO}
    wanted = package | about | {"aiocredentials/py.typed"}
    return compare(path, names, wanted) + check_metadata(path, metadata)


def check_metadata(path: Path, metadata: str) -> list[str]:
    """Return a problem for each field that differs from its promise."""
    headers = HeaderParser().parsestr(metadata)
    problems: list[str] = []
    for field, promised in PROMISES.items():
        values = headers.get_all(field, [])
        if field == "Requires-Dist":
            values = [name_of(value) for value in values if "extra ==" not in value]

        values.sort()
        if values != promised:
            problems.append(f"{path.name} has {field} {values}, not {promised}")

    # The package index resolves no link to a file of the repository.
    readme = headers.get_payload()
    targets = LINK.findall(readme)
    local = [target for target in targets if not target.startswith(("https://", "#"))]
    problems += [f"{path.name} links to {target}" for target in local]
    if not targets:
        problems.append(f"{path.name} has no README")
    return problems


def name_of(requirement: str) -> str:
    """Return the name in a requirement, without bounds and extras."""
    return re.split(r"[^\w.-]", requirement)[0]


(wheel,) = ROOT.glob("dist/aiocredentials-*.whl")
(sdist,) = ROOT.glob("dist/aiocredentials-*.tar.gz")
problems = check_wheel(wheel) + check_sdist(sdist)
if problems:
    sys.exit("\n".join(problems))
