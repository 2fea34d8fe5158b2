"""Check what `nox -s package` built: wheel and sdist hold what they should, nothing else, and true metadata."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from pathlib import Path

ROOT = Path(__file__).parent.parent
BESIDE = {
    ".gitignore",
    "CHANGELOG.md",
    "LICENSE",
    "PKG-INFO",
    "README.md",
    "noxfile.py",
    "pyproject.toml",
}
LEFT_BEHIND = {"__pycache__", ".hypothesis"}

# What the README and pyproject.toml promise. One more package that every user installs is a decision: make it here too.
PROMISES = {
    "Name": ["aiocredentials"],
    "Requires-Python": [">=3.11"],
    "Requires-Dist": ["aioboto3", "aiobotocore"],
    "Provides-Extra": [
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
    found = (
        path.relative_to(ROOT)
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    )
    return {path.as_posix() for path in found if not LEFT_BEHIND.intersection(path.parts)}


def compare(archive: Path, found: set[str], wanted: set[str]) -> list[str]:
    """Say which files are missing and which are too many."""
    lacks = [f"{archive.name} lacks {name}" for name in sorted(wanted - found)]
    return lacks + [f"{archive.name} has no use for {name}" for name in sorted(found - wanted)]


def check_sdist(path: Path) -> list[str]:
    """Compare the sdist with the checkout."""
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    return compare(path, names, BESIDE | files("src", "tests", "docs", "examples", "benchmarks"))


def check_wheel(path: Path) -> list[str]:
    """Compare the wheel with `src`, and its metadata with what is promised."""
    info = "-".join(path.name.split("-")[:2]) + ".dist-info"
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
    package = {name.removeprefix("src/") for name in files("src")}
    about = {
        f"{info}/{name}"
        for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    problems = compare(path, names, package | about | {"aiocredentials/py.typed"})
    for field, promised in PROMISES.items():
        values = [value for value in metadata.get_all(field, []) if "extra ==" not in value]
        if field == "Requires-Dist":
            values = [
                re.split(r"[^\w.-]", value)[0] for value in values
            ]  # the name, without bounds and extras
        if sorted(values) != promised:
            problems.append(f"{path.name} has {field} {sorted(values)}, not {promised}")
    return problems


(wheel,), (sdist,) = (
    ROOT.glob("dist/aiocredentials-*.whl"),
    ROOT.glob("dist/aiocredentials-*.tar.gz"),
)
if problems := check_wheel(wheel) + check_sdist(sdist):
    sys.exit("\n".join(problems))
