"""Every check of this project: `nox -l` lists them, `nox` runs all but the demo."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path

import nox
from python_discovery import get_interpreter

nox.needs_version = (
    ">=2026.8.10"  # the first that looks for Pythons with python-discovery, as we do below
)
nox.options.default_venv_backend = "uv|virtualenv"  # uv installs in seconds what takes pip a minute
nox.options.download_python = "never"
# Nobody needs all of the Pythons, a missing one is named and skipped; but the workflows install all of them.
nox.options.error_on_missing_interpreters = "GITHUB_ACTIONS" in os.environ
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# uv leaves compiling to the first import. Where nothing may be written then, each child process compiles all anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PYPROJECT = nox.project.load_toml()
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
WITH_EXTRAS = f".[{','.join(EXTRAS)}]"
PYTHONS = nox.project.python_versions(PYPROJECT)

# A newer Python than those is tested too if it is the one at hand: so there is always one to test with.
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
if RUNNING not in PYTHONS and sys.version_info >= (3, 11):
    PYTHONS.append(RUNNING)

# pyenv starts only the versions that a folder asks for, and this one asks for all that we can use.
PYENV = Path(os.environ.get("PYENV_ROOT", "~/.pyenv"), "versions").expanduser()
INSTALLED = [folder.name for version in PYTHONS for folder in PYENV.glob(f"{version}.*[0-9]")]
os.environ["PYENV_VERSION"] = ":".join(filter(None, [os.environ.get("PYENV_VERSION"), *INSTALLED]))

FOUND = [version for version in PYTHONS if get_interpreter(version)] or PYTHONS
OLDEST, NEWEST = FOUND[0], FOUND[-1]

SHORT = (
    "not exhaustive and not load and not soak"  # by pytest's markers, which pyproject.toml tells of
)


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group in pyproject.toml."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def run_tests(
    session: nox.Session, *where: str, also: tuple[str, ...] = (), measured: bool = False
) -> None:
    """Run pytest in workers: the short tests, under coverage if `measured`, then `also` those of a marker.

    The data of coverage wait for the `coverage` session.
    """
    data = f".coverage.{session.name}"
    for stale in Path().glob(f"{data}.*"):
        stale.unlink()
    cores = min(os.cpu_count() or 1, 4)
    pytest = ["pytest", "--dist", "worksteal", "--numprocesses"]
    measure = ["coverage", "run", "-m"] if measured else []
    what = session.posargs or ["-m", SHORT, *where]
    session.run(*measure, *pytest, str(cores), *what, env={"COVERAGE_FILE": data})
    for marker, *folders in () if session.posargs else map(str.split, also):
        # What is exhaustive waits for a deadline half of the time; load would come to more than it is meant to be.
        session.run(*pytest, str(cores if marker == "load" else 2 * cores), "-m", marker, *folders)


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """See it work: fetch a secret from a Secrets Manager on this machine."""
    session.install(".[testing]")
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and style, safety, the declared dependencies, and the workflows."""
    session.install(*group("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", "src")
    session.run(
        "deptry", "src", "examples", silent=True
    )  # silent: shown only if it finds something
    session.run("zizmor", "--offline", "--quiet", "--persona", "pedantic", ".github/workflows")


@nox.session
def package(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, check what is in them, and import the wheel."""
    session.install(*group("package"))
    for stale in Path("dist").glob("aiocredentials-*"):
        stale.unlink()
    session.run(
        "python", "-m", "build", "--no-isolation", silent=True
    )  # silent: shown only if it fails
    built = [str(path) for path in Path("dist").glob("aiocredentials-*")]
    session.run("python", ".ci/check_dist.py")
    session.run("twine", "check", "--strict", *built)
    session.install(*(path for path in built if path.endswith(".whl")))
    session.run("python", "-W", "error", "-c", "from aiocredentials import *")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types with mypy and pyright, both strict."""
    session.install(WITH_EXTRAS, *group("typing"))
    session.run("mypy")
    session.run(
        "pyright", env={"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    )  # else it asks the net for newer releases


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests with the aiobotocore that aioboto3 asks for."""
    session.install(WITH_EXTRAS, *group("tests"))
    if session.python == OLDEST:
        run_tests(session, also=("exhaustive", "load"))
    elif (
        session.python == NEWEST
    ):  # tests_newest runs all on this Python: here it is about the pinned aiobotocore
        run_tests(
            session,
            "tests/contract",
            "tests/server/test_main_job.py",
            "tests/server/transport",
        )
    else:  # what depends on Python's own asyncio
        run_tests(session, "tests/unit", "tests/server")


@nox.session(python=NEWEST)
def tests_newest(session: nox.Session) -> None:
    """Run the tests with the newest aiobotocore, which aioboto3 doesn't allow yet."""
    session.install(
        "aiobotocore[boto3]", "aiofiles", *itertools.chain(*EXTRAS.values()), *group("tests")
    )
    session.install("--no-deps", "aioboto3", ".")
    run_tests(session, also=("exhaustive tests/leaks",), measured=True)


@nox.session(python=PYTHONS[0], default=False)
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml admits, on the lowest Python."""
    if session.venv_backend != "uv":
        session.skip('only uv can pick the lowest versions: python -m pip install "nox[uv]"')
    session.install("--resolution", "lowest-direct", WITH_EXTRAS, *group("tests_lowest"))
    run_tests(session, also=("exhaustive", "load"))


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Take each promise out of a copy of cache and rotation, one by one, and see the tests catch it."""
    session.install(".[testing]", *group("tests"))
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Run for long: herds, flat memory, 5,000 schedules, a minute of threads; `-- --tenth` for a tenth."""
    session.install(".[testing]", *group("tests"))
    session.run("python", "tests/soak.py", *session.posargs)
    session.run("pytest", "-m", "soak")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Damage a million answers, and try 20,000 of hypothesis's: typed errors only, and no value in any."""
    session.install(WITH_EXTRAS, *group("tests"))
    session.run(
        "python",
        "tests/fuzz.py",
        *(session.posargs or ["--mutations", "1000000", "--cases", "20000"]),
    )


@nox.session
def coverage(session: nox.Session) -> None:
    """Read what tests_newest covered: each line and branch, or it fails."""
    session.install(
        *(requirement for requirement in group("tests") if requirement.startswith("coverage"))
    )
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure what it costs beside plain aioboto3 and other caches: a table, and bench.json."""
    session.install(
        ".", *group("bench")
    )  # a wheel: an editable install distorts what importing costs
    session.run("python", "benchmarks/run.py", "--json", "bench.json", *session.posargs)
