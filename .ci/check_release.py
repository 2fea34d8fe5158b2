"""Check that a tag may be released: `python .ci/check_release.py v1.2.3`, before it is pushed.

The workflow release.yml runs this too, so a tag that fails is never published. RELEASING.md
explains each step of a release.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parent.parent

# Besides pyproject.toml, these files have the version, in these words.
COPIES = {
    "src/aiocredentials/__init__.py": '__version__: str = "{version}"',
    "README.md": "Version {version} is ",
}

# RFC 2606 reserves these, so an address in them is a placeholder.
RESERVED = (".example", ".example.com", ".example.net", ".example.org", ".invalid", ".test")


def problems_of(tag: str) -> list[str]:
    """Return a sentence for each reason not to release this tag."""
    pyproject = tomllib.loads(read("pyproject.toml"))
    version = pyproject["project"]["version"]
    problems: list[str] = []
    if tag != f"v{version}":
        problems.append(f"pyproject.toml has version {version}, the tag is {tag}")

    for name, words in COPIES.items():
        wanted = words.format(version=version)
        if wanted not in read(name):
            problems.append(f"{name} has no {wanted!r}")

    heading = rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$"
    if not re.search(heading, read("CHANGELOG.md"), re.MULTILINE):
        problems.append(f"CHANGELOG.md has no heading such as '## [{version}] - 2026-12-31'")

    address = pyproject["project"]["urls"]["Source"]
    host = urlsplit(address).hostname
    if f".{host}".endswith(RESERVED):
        problems.append(f"the address of the repository is a placeholder: {address}")
    return problems


def read(name: str) -> str:
    """Return the text of a file of this repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Print each problem; return 1 if there is one."""
    (tag,) = arguments
    problems = problems_of(tag)
    # GitHub shows a line that begins like this beside the job.
    mark = "::error::" if "GITHUB_ACTIONS" in os.environ else ""
    for problem in problems:
        print(f"{mark}{problem}")
    if not problems:
        print(f"{tag} may be released")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
