"""Run the README's scripts with the installed package, as a new user would.

`python .ci/readme_scripts.py` needs the extra `testing`: it starts a Secrets Manager on this
machine, and contacts nothing else. RELEASING.md runs it with the wheel of a release, in a new
environment. The tests run the other blocks too, but from a checkout and its environment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import aiocredentials
from aiocredentials.testing import MotoServer, SecretsEndpoint

ROOT = Path(__file__).parent.parent

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROMISED = re.compile(r"# -> (.+)")

NAME = "prod/database"
VALUE = {"username": "app", "password": "made up"}

SECONDS = 60
"""The time limit of a script."""


def scripts() -> list[str]:
    """Return the blocks of the README that are whole programs."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks: list[str] = BLOCK.findall(readme)
    return [block for block in blocks if "asyncio.run(" in block]


def run(script: str, folder: Path, environment: dict[str, str]) -> str:
    """Run a script in a folder without this checkout, and return what it prints."""
    path = folder / "script.py"
    path.write_text(script, encoding="utf-8")
    ended = subprocess.run(  # noqa: S603 (our own scripts)
        [sys.executable, "-W", "error", str(path)],
        check=False,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
    )
    if ended.returncode:
        sys.exit(f"this script of the README failed:\n{script}")
    return ended.stdout


def main() -> None:
    """Run each script, and compare what it prints with the comments behind its arrows."""
    print(f"aiocredentials {aiocredentials.__version__} in {Path(aiocredentials.__file__).parent}")
    found = scripts()
    if not found:
        sys.exit("the README has no script")

    with MotoServer() as server, tempfile.TemporaryDirectory() as folder:
        environment = server.environment()
        os.environ.update(environment)
        for region in ("us-east-1", "eu-west-1"):
            SecretsEndpoint(server.url, region_name=region).set(NAME, VALUE)

        for script in found:
            printed = run(script, Path(folder), environment).splitlines()
            promised = PROMISED.findall(script)
            if printed != promised:
                sys.exit(f"this script prints {printed}, not {promised}:\n{script}")
            print(f"a script of {script.count(chr(10))} lines prints {printed}")


if __name__ == "__main__":
    main()
