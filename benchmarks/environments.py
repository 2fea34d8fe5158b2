"""The environments of the sides: each peer in one of its own, in its pinned release."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sides import SIDES

if TYPE_CHECKING:
    from pathlib import Path

# Prints the version and the requirements of each installed package.
LIST_PACKAGES = """
import importlib.metadata, json
found = importlib.metadata.distributions()
print(json.dumps([[each.name, each.version, each.requires] for each in found]))
"""


def normal(name: str) -> str:
    """Return a package's name as the index writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed_by(package: str, requirements: dict[str, list[str]]) -> set[str]:
    """Return a package with all that it needs, without extras."""
    found: set[str] = set()
    waiting = [package]
    while waiting:
        name = waiting.pop()
        if name in found or name not in requirements:
            continue
        found.add(name)
        for requirement in requirements[name]:
            needed, _, marker = requirement.partition(";")
            match = re.match(r"[\w.-]+", needed)
            if match and "extra" not in marker:
                waiting.append(normal(match[0]))
    return found


@dataclass(frozen=True)
class Environment:
    """A Python with its packages, or the reason why there is none."""

    python: str | None
    reason: str = ""

    def packages(self) -> dict[str, str]:
        """Return the version of each installed package, without the tools of the benchmark."""
        assert self.python is not None
        listed = json.loads(subprocess.check_output([self.python, "-c", LIST_PACKAGES]))
        requirements = {normal(name): needs or [] for name, _, needs in listed}
        versions = {normal(name): version for name, version, _ in listed}
        names = requirements.keys() - {"pip"}
        if self.python == sys.executable:
            names = needed_by("aiocredentials", requirements)
        return {name: versions[name] for name in sorted(names)}


def this_python(side: str) -> Environment:
    """Return the Python that runs this, if it has the packages of a side, in any release."""
    for requirement in SIDES[side].requirements:
        package = requirement.partition("==")[0].partition("[")[0]
        try:
            version(package)
        except PackageNotFoundError:
            return Environment(None, f"{package} is not installed")
    return Environment(sys.executable)


def made(side: str, folder: Path) -> Environment:
    """Return the environment of a side, which is made below the folder if it isn't there."""
    requirements = SIDES[side].requirements
    if not requirements:
        return Environment(sys.executable)
    oldest = SIDES[side].oldest_python
    if sys.version_info < oldest:
        needed = ".".join(map(str, oldest))
        return Environment(None, f"{requirements[0]} needs Python {needed}")

    described = "\n".join([sys.version, sys.base_prefix, *requirements])
    digest = hashlib.sha256(described.encode()).hexdigest()[:12]
    place = folder / f"{side}-{digest}"
    scripts = "Scripts" if sys.platform == "win32" else "bin"
    python = str(place / scripts / "python")
    complete = place / "complete"
    if complete.exists():
        return Environment(python)

    shutil.rmtree(place, ignore_errors=True)
    try:
        for command in commands(place, python, requirements):
            subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no reason given"]
        return Environment(None, f"{requirements[0]} can't be installed: {lines[-1].strip()}")
    complete.touch()
    return Environment(python)


def commands(place: Path, python: str, requirements: tuple[str, ...]) -> list[list[str]]:
    """Return the commands that make an environment: by uv if it is there, else by venv and pip."""
    uv = uv_command()
    if uv:
        make = [*uv, "venv", "--quiet", "--no-python-downloads", "--python", sys.executable]
        install = [*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python]
    else:
        make = [sys.executable, "-m", "venv"]
        install = [python, "-m", "pip", "install", "--quiet"]
    return [[*make, str(place)], [*install, *requirements]]


def uv_command() -> list[str]:
    """Return how uv is started, or an empty list if it isn't installed."""
    if find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    program = shutil.which("uv")
    return [program] if program else []
