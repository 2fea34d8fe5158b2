"""The files in .github say what is so, and the scripts in the workflows do what they promise.

The lint session compares these files with GitHub's schemas and looks for weaknesses (zizmor). Here
are the facts that only this project knows, and the scripts. What GitHub makes of the files can't be
tested here.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
FILES = [path for path in sorted(GITHUB.rglob("*")) if path.suffix in {".yml", ".yaml"}]
WORKFLOWS = [path for path in FILES if path.parent.name == "workflows"]
FORMS = [path for path in FILES if path.parent.name == "ISSUE_TEMPLATE" and path.name != "config.yml"]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

pytestmark = pytest.mark.skipif(not GITHUB.exists(), reason="only a checkout has .github")
needs_bash = pytest.mark.skipif(not shutil.which("bash"), reason="the workflows' shell is bash")


class Loader(yaml.BaseLoader):
    """Read each scalar as a string, and refuse a key that is in a mapping twice.

    PyYAML's other loaders would read the key `on` as true, and `3.10` as 3.1.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 (PyYAML's signature)
        """Refuse a mapping that PyYAML would read with only the last value of a key."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        doubled = {key for key in keys if keys.count(key) > 1}
        if doubled:
            message = f"{sorted(doubled)} more than once"
            raise yaml.constructor.ConstructorError(None, None, message, node.start_mark)
        return super().construct_mapping(node, deep=deep)


def load(path: Path) -> dict[str, Any]:
    """Return what a YAML file holds."""
    loaded: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)  # noqa: S506 (reads only strings)
    return loaded


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each job of each workflow with a name to find it by."""
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            yield f"{path.stem}/{name}", job


def steps() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield each step of each job, after the job."""
    for name, job in jobs():
        for step in job.get("steps", []):
            yield name, job, step


def script(workflow: str, job: str, step: str) -> str:
    """Return the script of a step that has a name."""
    for found in load(GITHUB / "workflows" / workflow)["jobs"][job]["steps"]:
        if found.get("name") == step:
            text: str = found["run"]
            return text
    raise LookupError(step)


def run_script(text: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a runner on Linux does by default."""
    path = cwd / "step.sh"
    path.write_text(text, encoding="utf-8")

    # On a runner, `python` and `python3` are recent. Here, only the one that runs the tests must be.
    folders = [str(Path(sys.executable).parent), os.environ["PATH"]]
    environment["PATH"] = os.pathsep.join(folders)
    return subprocess.run(
        ["bash", "-e", str(path)],  # noqa: S607 (the bash of this machine)
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def pythons() -> list[str]:
    """Return the versions of Python that the classifiers name."""
    classifiers = "\n".join(PYPROJECT["project"]["classifiers"])
    return re.findall(r"^Programming Language :: Python :: (3\.\d+)$", classifiers, re.MULTILINE)


def sessions() -> set[str]:
    """Return the names of the sessions in noxfile.py."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    return {
        function.name
        for function in tree.body
        if isinstance(function, ast.FunctionDef)
        for decorator in function.decorator_list
        if ast.unparse(decorator).startswith("nox.session")
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(GITHUB).as_posix())
def test_yaml(path: Path) -> None:
    """Each file parses, holds a mapping, and has no key twice."""
    assert isinstance(load(path), dict)


def test_doubled_key(tmp_path: Path) -> None:
    """The loader of these tests refuses a key that is there twice, in whatever depth."""
    path = tmp_path / "doubled.yml"
    path.write_text("jobs:\n  lint: {name: a, name: b}\n", encoding="utf-8")
    with pytest.raises(yaml.constructor.ConstructorError, match="name"):
        load(path)


def test_actions_are_pinned() -> None:
    """Each action is named by the hash of a commit, with its version, and by one hash only."""
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS:
        for used in re.findall(r"^\s*(?:- )?uses: (.*)$", path.read_text("utf-8"), re.MULTILINE):
            if used.startswith("$/"):
                assert (ROOT / used.removeprefix("$/")).exists(), used
                continue

            pinned = re.fullmatch(r"([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)", used)
            assert pinned, f"{path.name}: {used}"
            pins.setdefault(pinned[1], set()).add(pinned[2])

    assert pins
    assert {action: pin for action, pin in pins.items() if len(pin) > 1} == {}


def test_jobs_are_bounded() -> None:
    """Each job has a name, permissions and a time limit; a called workflow brings its own limit."""
    for name, job in jobs():
        assert {"name", "permissions"} <= job.keys(), name
        assert ("timeout-minutes" in job) != ("uses" in job), name


def test_permissions() -> None:
    """No job may write to the repository, and only the jobs that publish may sign in anywhere."""
    for path in WORKFLOWS:
        assert load(path)["permissions"] == {}, path.name

    allowed = {name: job["permissions"] for name, job in jobs()}
    assert allowed.pop("release/publish") == {"id-token": "write"}
    assert allowed.pop("docs/publish") == {"id-token": "write", "pages": "write"}
    assert [name for name, each in allowed.items() if each not in ({}, {"contents": "read"})] == []


def test_no_secrets() -> None:
    """No workflow reads a secret, and no checkout leaves a token behind for the steps after it."""
    for path in WORKFLOWS:
        assert "secrets" not in path.read_text(encoding="utf-8"), path.name

    for name, _, step in steps():
        if "actions/checkout@" in step.get("uses", ""):
            assert step["with"] == {"persist-credentials": "false"}, name


def test_publisher_runs_no_code_of_ours() -> None:
    """A job that may publish waits for all other jobs, checks nothing out and runs no script."""
    release = load(GITHUB / "workflows" / "release.yml")["jobs"]
    publish = release.pop("publish")
    assert set(publish["needs"]) == set(release)
    for step in publish["steps"]:
        assert step["uses"].startswith(("actions/download-artifact@", "pypa/gh-action-pypi-publish@"))

    docs = load(GITHUB / "workflows" / "docs.yml")["jobs"]
    publish = docs.pop("publish")
    assert set(publish["needs"]) == set(docs)
    for step in publish["steps"]:
        assert step["uses"].startswith("actions/deploy-pages@")


def test_pythons() -> None:
    """CI tests on the Pythons of the classifiers, and a job that installs several has all."""
    tests = load(GITHUB / "workflows" / "ci.yml")["jobs"]["tests"]
    assert tests["strategy"]["matrix"]["python"] == pythons()

    for name, _, step in steps():
        if "actions/setup-python@" in step.get("uses", ""):
            versions = step["with"]["python-version"].split()
            assert len(versions) == 1 or versions[0] == "${{" or versions == pythons(), name


def test_sessions() -> None:
    """Each nox session that a job runs is in noxfile.py."""
    called: set[str] = set()
    for _, job, step in steps():
        for session in re.findall(r"\bnox (?:-R )?-s (\S+)", step.get("run", "")):
            name = session.strip('"')
            if name == "$SESSION":
                called |= {row["session"] for row in job["strategy"]["matrix"]["include"]}
            else:
                called.add(name.removesuffix("-$PYTHON"))

    assert called >= {"lint", "typing", "package", "docs", "browser", "tests", "tests_newest", "coverage", "upstream"}
    assert called - sessions() == set()


def test_markers() -> None:
    """Each marker that a job selects or leaves out is one of pyproject.toml, as pytest won't ask."""
    known = {marker.partition(":")[0] for marker in PYPROJECT["tool"]["pytest"]["markers"]}
    selected: set[str] = set()
    for _, _, step in steps():
        for quoted, bare in re.findall(r' -m (?:"(.+?)"|(\w+)$)', step.get("run", "")):
            selected |= {*(quoted or bare).split()} - {"not", "and", "or"}

    assert selected == {"exhaustive", "load", "soak"}
    assert selected <= known


def test_gate_needs_all() -> None:
    """The gate waits for each other job of CI, and runs even if one of them didn't."""
    ci = load(GITHUB / "workflows" / "ci.yml")["jobs"]
    gate = ci.pop("gate")
    assert set(gate["needs"]) == set(ci)
    assert gate["if"] == "${{ always() }}"


@needs_bash
@pytest.mark.parametrize(
    ("results", "passes"),
    [
        (["success", "success"], True),
        (["success", "failure"], False),
        (["cancelled", "success"], False),
        (["success", "skipped"], False),
        (["skipped", "skipped"], False),
        ([], False),
    ],
)
def test_gate(results: list[str], passes: bool, tmp_path: Path) -> None:  # noqa: FBT001 (a parameter of the test)
    """The gate passes only if each job succeeded: not if one failed, was cancelled or skipped."""
    needs = {
        f"job{number}": {"result": result, "outputs": {"result": "success"}} for number, result in enumerate(results)
    }
    text = script("ci.yml", "gate", "Each job has succeeded")
    ended = run_script(text, tmp_path, NEEDS=json.dumps(needs, indent=2))
    assert (ended.returncode == 0) is passes, ended.stderr
    assert ended.stdout.split() == [word for name in needs for word in (f"{name}:", needs[name]["result"])]


VERSION = "1.2.3"
RELEASE = {
    "pyproject.toml": f'[project]\nversion = "{VERSION}"\nurls.Source = "https://git.here/aiocredentials"\n',
    "src/aiocredentials/__init__.py": f'"""Text."""\n\n__version__: str = "{VERSION}"\n',
    "README.md": f"# aiocredentials\n\nVersion {VERSION} is an alpha.\n",
    "CHANGELOG.md": f"# Changelog\n\n## [Unreleased]\n\n## [{VERSION}] - 2026-12-31\n",
}


def check_release(folder: Path, tag: str, name: str = "", old: str = "", new: str = "") -> tuple[int, str]:
    """Run the workflow's check of a tag in a release of which one file was changed."""
    for file, text in RELEASE.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(old, new) if file == name else text, encoding="utf-8")

    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "check_release.py", folder / ".ci")
    text = script("release.yml", "build", "The tag may be released")
    ended = run_script(text, folder, GITHUB_REF_NAME=tag, GITHUB_ACTIONS="true")
    assert ended.stderr == ""
    return ended.returncode, ended.stdout


@needs_bash
@pytest.mark.parametrize("tag", ["v1.2.4", "1.2.3", "v1.2.3rc1", "v*"])
def test_tag(tag: str, tmp_path: Path) -> None:
    """A release whose tag isn't `v` and the version of pyproject.toml fails, and names both."""
    status, printed = check_release(tmp_path, tag)
    assert status == 1
    assert printed == f"::error::pyproject.toml has version 1.2.3, the tag is {tag}\n"


@needs_bash
def test_release(tmp_path: Path) -> None:
    """A tag may be released if all places have its version, the changelog its date, and the address is real."""
    assert check_release(tmp_path, "v1.2.3") == (0, "v1.2.3 may be released\n")


@needs_bash
@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("src/aiocredentials/__init__.py", VERSION, "1.2.30", "src/aiocredentials/__init__.py has no '__version__"),
        ("README.md", VERSION, "1.2", "README.md has no 'Version 1.2.3 is '"),
        ("CHANGELOG.md", "2026-12-31", "soon", "CHANGELOG.md has no heading such as '## [1.2.3] - "),
        ("CHANGELOG.md", VERSION, "1.2.4", "CHANGELOG.md has no heading such as '## [1.2.3] - "),
        (
            "pyproject.toml",
            "git.here",
            "git.example.org",
            "the address of the repository is a placeholder: https://git.",
        ),
    ],
)
def test_what_keeps_a_release_back(name: str, old: str, new: str, problem: str, tmp_path: Path) -> None:
    """A release with another version in one place, an undated changelog or a placeholder fails, and says why."""
    status, printed = check_release(tmp_path, "v1.2.3", name, old, new)
    assert status == 1
    (line,) = printed.splitlines()
    assert line.startswith(f"::error::{problem}")


def test_release_knows_the_files() -> None:
    """The files of this repository have the words that the check of a release looks for."""
    version = PYPROJECT["project"]["version"]
    command = [sys.executable, ROOT / ".ci" / "check_release.py", f"v{version}"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert " has version " not in ended.stdout
    assert " has no '" not in ended.stdout


def test_dependabot() -> None:
    """Dependabot knows actions and requirements, waits a week, and raises no lower bound."""
    updates = {update["package-ecosystem"]: update for update in load(GITHUB / "dependabot.yml")["updates"]}
    assert updates.keys() == {"github-actions", "pip"}
    assert updates["pip"]["versioning-strategy"] == "increase-if-necessary"
    for update in updates.values():
        assert int(update["cooldown"]["default-days"]) >= 7


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms(path: Path) -> None:
    """GitHub accepts the form: it has what a form must have, and each input an id of its own."""
    form = load(path)
    assert {"name", "description", "body"} <= form.keys()

    inputs = [field for field in form["body"] if field["type"] != "markdown"]
    assert inputs
    ids = [field["id"] for field in inputs]
    assert len(ids) == len(set(ids))
    labels = [field["attributes"]["label"] for field in inputs]
    assert len(labels) == len(set(labels))
    assert "real secret" in path.read_text(encoding="utf-8"), "a form asks not to send secrets"


def test_bug_report_asks_for_output() -> None:
    """A bug report has the output of the doctor and the versions, which must be filled in."""
    body = load(GITHUB / "ISSUE_TEMPLATE" / "bug.yml")["body"]
    required = {
        field["attributes"]["label"] for field in body if field.get("validations", {}).get("required") == "true"
    }
    assert required >= {
        "Output of `python -m aiocredentials --version`",
        "Output of `python -m aiocredentials doctor NAME`",
        "Python",
        "Operating system",
    }
