"""Check that pip and uv find versions for this package in seconds, or refuse clearly.

`nox -s resolve` runs this script. It builds the wheel and passes each request below to the pip
that came with this Python, to the newest pip and to uv, all without a cache, as on a fresh
machine. Nothing is installed except two copies of pip. It needs the package index.

Each answer must have the newest aioboto3. So the session fails on the day that a newer one appears
which our bounds of boto3 keep away.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

# In seconds, per request and tool.
LIMIT = 60

# pip prints one line with all names and versions, uv one line for each.
AIOBOTO3 = re.compile(
    r"^(?:Would install (?:.* )?aioboto3-| \+ aioboto3==)(?P<version>\S+)",
    re.MULTILINE,
)


class Request(NamedTuple):
    """What a user asks for."""

    requirements: list[str]

    # These are empty if the request has an answer. Otherwise the tool must refuse it, and each of
    # them must stand in its text.
    refusal: list[str]


class Outcome(NamedTuple):
    """What a tool did with a request."""

    seconds: float
    text: str

    # None if the tool was stopped because of the limit.
    status: int | None


REQUESTS = [
    Request(["aiocredentials"], []),
    Request(["aiocredentials", "boto3"], []),
    # The order counts: pip chooses a version for the first name first.
    Request(["boto3", "aiocredentials"], []),
    Request(["aiocredentials", "fastapi", "pydantic"], []),
    # aioboto3 needs an older boto3. pip says that we depend on it, uv that all our versions do.
    Request(["aiocredentials", "boto3>=1.42"], ["aiocredentials", "boto3>=1.42", "on boto3"]),
    Request(["boto3>=1.42", "aiocredentials"], ["aiocredentials", "boto3>=1.42", "on boto3"]),
]


def problem_with(request: Request, outcome: Outcome, newest: str) -> str | None:
    """Return what is wrong with an outcome, or None if it is as the request expects.

    An aioboto3 that isn't the newest is wrong: a resolver falls back to one of years ago if it
    lacks our bounds, and keeps to 15.5 if they are out of date.
    """
    if outcome.status is None:
        return f"stopped after {LIMIT} seconds without an answer"

    if request.refusal:
        return problem_with_refusal(request, outcome)

    if outcome.status != 0:
        return f"failed with exit status {outcome.status}"

    version = aioboto3_in(outcome)
    if version is None:
        return "the answer has no aioboto3"
    if version != newest:
        return (
            f"the answer has aioboto3 {version}, and {newest} is the newest: "
            "compare the bounds in pyproject.toml with what it needs"
        )
    return None


def aioboto3_in(outcome: Outcome) -> str | None:
    """Return the version of aioboto3 that a tool would install, if it would."""
    found = AIOBOTO3.search(outcome.text)
    return found["version"] if found else None


def problem_with_refusal(request: Request, outcome: Outcome) -> str | None:
    """Return what is wrong with an outcome that should be a refusal, or None."""
    if outcome.status == 0:
        return "accepted, but it should be refused"

    missing = [name for name in request.refusal if name not in outcome.text]
    if missing:
        return f"refused, but the text lacks {' and '.join(missing)}"
    return None


def run(command: list[str]) -> Outcome:
    """Run a command, at most as long as the limit allows."""
    start = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 (pip and uv, with the requests above)
            command,
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        # Whatever `encoding` says, this error has bytes.
        output = error.stdout or b""
        text = output.decode(errors="replace") if isinstance(output, bytes) else output
        return Outcome(time.monotonic() - start, text, None)

    text = done.stdout + done.stderr
    return Outcome(time.monotonic() - start, text, done.returncode)


def build_wheel(folder: Path) -> None:
    """Build the wheel, and write a constraint file that keeps our other releases away."""
    build = ["uv", "build", "--quiet", "--wheel", "--out-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True)  # noqa: S603 (uv, which nox has installed)

    (wheel,) = folder.glob("aiocredentials-*.whl")
    version = wheel.name.split("-")[1]
    constraint = f"aiocredentials=={version}\n"
    (folder / "constraints.txt").write_text(constraint, encoding="utf-8")


def make_pip(folder: Path, *, newest: bool) -> tuple[str, list[str]]:
    """Make an environment with the pip that came with this Python, or with the newest one.

    Returns:
        The name and version of that pip, and the command that runs it.
    """
    venv.create(folder, with_pip=True)
    scripts = "Scripts" if os.name == "nt" else "bin"
    pip = [str(folder / scripts / "python"), "-m", "pip", "--disable-pip-version-check"]
    if newest:
        upgrade = [*pip, "install", "--quiet", "--upgrade", "pip"]
        subprocess.run(upgrade, check=True)  # noqa: S603 (pip, which came with this Python)

    about = subprocess.check_output([*pip, "--version"], encoding="utf-8")  # noqa: S603 (as before)
    name = " ".join(about.split()[:2])
    return name, [*pip, "install", "--dry-run", "--ignore-installed", "--no-cache-dir"]


def make_tools(folder: Path) -> dict[str, list[str]]:
    """Return the command of each tool, to which only the requirements must be added."""
    bundled, bundled_command = make_pip(folder / "bundled", newest=False)
    newest, newest_command = make_pip(folder / "newest", newest=True)
    uv = ["uv", "pip", "install", "--python", bundled_command[0]]
    uv += ["--dry-run", "--reinstall", "--no-cache"]
    commands = {bundled: bundled_command, newest: newest_command, "uv": uv}

    wheels = ["--find-links", str(folder), "--constraint", str(folder / "constraints.txt")]
    return {name: [*command, *wheels] for name, command in commands.items()}


def main() -> int:
    """Print a row per request and tool; return 1 if an outcome isn't as the request expects."""
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build_wheel(folder)
        tools = make_tools(folder)
        newest = aioboto3_in(run([*tools["uv"], "aioboto3"]))
        if newest is None:
            sys.exit("uv finds no aioboto3")

        for tool, command in tools.items():
            for request in REQUESTS:
                asked = " ".join(request.requirements)
                outcome = run([*command, *request.requirements])
                problem = problem_with(request, outcome, newest)
                expected = "refused, as expected" if request.refusal else "found"
                result = problem or expected
                row = f"{asked:42} {tool:10} {outcome.seconds:5.1f} s  {result}"
                print(row, flush=True)
                if problem:
                    failures.append(f"{tool}, asked for {asked}: {problem}")
                    print(outcome.text[-2000:], flush=True)

    for failure in failures:
        print(f"FAILED: {failure}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
