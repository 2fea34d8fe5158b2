"""Install the wheel and the sdist on this Python, by pip and by uv, as `nox -s install` does.

Each installation gets a new environment, because an earlier one would hide the files that a later
one lacks. The package must import without a warning and print its version.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent

SECONDS = 300
"""The time limit of one installation: pip downloads everything and builds the sdist."""

INSTALL = {
    "pip": ["{python}", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "{file}"],
    "uv": ["uv", "pip", "install", "--quiet", "--python", "{python}", "{file}"],
}

CHECK = {
    "pip": ["{python}", "-m", "pip", "check", "--disable-pip-version-check"],
    "uv": ["uv", "pip", "check", "--quiet", "--python", "{python}"],
}


def run(command: list[str], **named: object) -> str:
    """Run a command outside the checkout, whose files must not help, and return what it prints."""
    arguments = [argument.format(**named) for argument in command]
    ended = subprocess.run(  # noqa: S603 (the commands above)
        arguments,
        check=False,
        cwd=tempfile.gettempdir(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
    )
    if ended.returncode:
        sys.exit(f"{' '.join(arguments)}\n{ended.stdout}\nexited with {ended.returncode}")
    return ended.stdout.strip()


def build(folder: Path) -> list[Path]:
    """Build the wheel and the sdist, and return their paths."""
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)])
    return sorted(folder.glob("aiocredentials-*"))


def environment(folder: Path) -> Path:
    """Make an environment with pip in it, and return its Python."""
    run(["uv", "venv", "--quiet", "--seed", "--python", sys.executable, str(folder)])
    scripts = "Scripts" if os.name == "nt" else "bin"
    return folder / scripts / "python"


def main() -> None:
    """Try each file with each installer, and print a line for each."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = pyproject["project"]["version"]

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        built = build(folder / "dist")
        kinds = {path.suffix for path in built}
        if kinds != {".whl", ".gz"}:
            sys.exit(f"expected a wheel and an sdist: {[path.name for path in built]}")

        for file in built:
            for installer, command in INSTALL.items():
                python = environment(folder / f"{installer}-{file.name}")
                run(command, python=python, file=file)
                run(CHECK[installer], python=python)
                run([str(python), "-W", "error", "-c", "from aiocredentials import *"])
                shown = run([str(python), "-m", "aiocredentials", "--version"])
                if not shown.startswith(f"aiocredentials {version} "):
                    sys.exit(f"{file.name} by {installer} prints {shown!r}")
                print(f"{file.name} by {installer}: {shown}")


if __name__ == "__main__":
    main()
