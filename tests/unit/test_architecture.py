"""The rooms and the door: imports point down, each third-party package has its owner, all that is public is told."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import aiocredentials
from aiocredentials import CredentialsError, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "aiocredentials"
FOLDER = Path(aiocredentials.__file__).parent

# From the bottom to the top. A module may import those of lower floors, and none of its own.
FLOORS: list[set[str]] = [
    {"errors", "_identifiers"},
    {"events", "_findings", "_formats", "_loops", "_validation"},
    {"_credential_findings"},
    {"_policy", "_secret", "_redact", "_chain", "_mapping"},
    {"_transport"},
    {"_cache", "_decode", "_session", "_reports"},
    {"_gateway", "_pooled", "credentials", "_news", "_refusals"},
    {"_store", "_probe", "rotation", "_databases"},
    {"_manager", "_pool"},
    {"__init__"},
    {"testing", "pytest_plugin", "_pytest_entry_point", "doctor", "integrations"},
    {"_doctor_report"},
    {"__main__"},
]
# The files of a folder have an order of their own.
INSIDE: dict[str, list[set[str]]] = {
    "_cache": [{"freshness"}, {"entries", "flights"}, {"cache"}, {"reader"}, {"__init__"}],
}
# A pool makes managers, and a manager that is entered makes a pool: the one circle.
CIRCLE = {"_manager", "_pool"}
# What sees the public door, and these, and no other room.
TOP = {"testing", "pytest_plugin", "doctor", "integrations", "_doctor_report", "__main__"}
PUBLIC = {"__init__", "errors", "events", "rotation"}
# But for the doctor, who asks what no service needs to know: STS, other regions, each call by itself, the way a request
# takes. A public way to that would be one that nobody else should use. The command line is printing and asking apart.
# What pydantic says of a wrong input is told without the input in one place, for settings and for `decode`.
# The plugin clears what stores remember between two tests: no program should.
# The adapters for databases share what a user's own code has no use for.
ALSO = {
    "pytest_plugin": {"_store"},
    "doctor": {"_probe"},
    "_doctor_report": {"_probe", "doctor"},
    "__main__": {"doctor", "_doctor_report"},
    "integrations.asyncpg": {"_databases"},
    "integrations.psycopg": {"_databases"},
    "integrations.pydantic_settings": {"_validation"},
    "integrations.sqlalchemy": {"_databases"},
}
# The files of the testing kit and its plugin see each other.
KIT = {"testing", "pytest_plugin"}
OWNERS = {
    "aioboto3": {"_session", "_transport"},
    "aiobotocore": {"_chain", "_transport"},
    "aiohttp": {"_transport"},
    "botocore": {
        "errors",
        "_mapping",
        "_pooled",
        "_session",
        "_transport",
        "testing._client",
        "testing._endpoint",
        "testing._failures",
    },
    "moto": {"testing._moto"},
    "opentelemetry": {"integrations.opentelemetry"},
    "pydantic": {"integrations.pydantic_settings"},
    # Credentials can be fields of pydantic models: only pydantic calls the functions that import its core.
    "pydantic_core": {"credentials"},
    "pydantic_settings": {"integrations.pydantic_settings"},
    "pytest": {"pytest_plugin"},
    "redis": {"integrations.redis"},
    "starlette": {"integrations.fastapi"},
    "werkzeug": {"testing._moto"},
    "asyncpg": {"integrations.asyncpg"},
    "psycopg": {"integrations.psycopg"},
    "psycopg_pool": {"integrations.psycopg"},
    "sqlalchemy": {"integrations.sqlalchemy"},
}
MODULES = sorted(FOLDER.rglob("*.py"))


class Import(NamedTuple):
    """An import statement: by whom, what, and whether type checkers alone see it."""

    module: str
    imported: str
    for_types: bool


def module_name(path: Path) -> str:
    """Name the module as seen from the package: `_cache`, `integrations.redis`."""
    return ".".join(path.relative_to(FOLDER).with_suffix("").parts)


def imports_of(path: Path) -> Iterator[Import]:
    """Read the imports off a file, also those inside of functions."""
    tree = ast.parse(path.read_text())
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    guarded = {id(node) for guard in guards for statement in guard.body for node in ast.walk(statement)}
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            source = node.module or ""
            # `from aiocredentials import errors` is an import of the module, `import CredentialsError` one of the door.
            ours = [f"{source}.{alias.name}" for alias in node.names if (FOLDER / f"{alias.name}.py").exists()]
            names = ours if source == PACKAGE and ours else [source]
        for name in names:
            yield Import(module_name(path), name, id(node) in guarded)


IMPORTS = [one for path in MODULES for one in imports_of(path)]


def floor(module: str) -> int:
    """Say how high a module lives."""
    room = module.partition(".")[0]
    floors = [number for number, rooms in enumerate(FLOORS) if room in rooms]
    assert floors, f"{module} has no place in the house: give it one in the design, and here"
    return floors[0]


def points_down_inside(module: str, imported: str) -> bool:
    """Say whether one file of a folder imports another one that is below it."""
    folder, _, file = module.partition(".")
    other_folder, _, other = imported.partition(".")
    if folder != other_folder or folder not in INSIDE:
        return False
    numbers = {name: number for number, names in enumerate(INSIDE[folder]) for name in names}
    return numbers[other] < numbers[file]


@pytest.mark.parametrize("module", [module_name(path) for path in MODULES])
def test_imports_point_down(module: str) -> None:
    """A module imports lower floors only, type annotations included; the top floor sees what users see."""
    for one in IMPORTS:
        if one.module != module or one.imported.partition(".")[0] != PACKAGE:
            continue
        room = one.imported.partition(".")[2] or "__init__"
        if room.startswith("testing") and module.partition(".")[0] in KIT:
            continue
        allowed = floor(room) < floor(module) or {room, module} == CIRCLE or points_down_inside(module, room)
        assert allowed, f"{module} imports {room}, which isn't below it"
        if module.partition(".")[0] in TOP:
            assert room in PUBLIC | ALSO.get(module, set()), f"{module} imports {room}, which no user sees"


def test_third_parties_have_owners() -> None:
    """Each third-party package is imported by the files that own it, and by nobody else."""
    for module, imported, for_types in IMPORTS:
        package = imported.partition(".")[0]
        if package == PACKAGE or package in sys.stdlib_module_names or for_types:
            continue
        assert module in OWNERS.get(package, set()), f"{module} imports {package}, and isn't its owner"


def test_the_rules_see_something() -> None:
    """The reader of imports finds them at the top of a file, in functions, and for types."""
    assert Import("_gateway", f"{PACKAGE}._session", for_types=False) in IMPORTS
    assert Import("_manager", f"{PACKAGE}._pool", for_types=False) in IMPORTS
    assert Import("_manager", f"{PACKAGE}._pool", for_types=True) in IMPORTS
    assert Import("_session", "aioboto3", for_types=False) in IMPORTS


def test_the_public_door() -> None:
    """`__all__` is sorted, without duplicates, and names exactly what the package offers."""
    offered = {
        name
        for name, value in vars(aiocredentials).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert aiocredentials.__all__ == sorted(offered)


def test_every_error_is_exported() -> None:
    """Whatever may be raised can be imported from the door."""
    tree = {cls for cls in errors._descendants(CredentialsError) if cls not in errors._TWIN_CLASSES}
    here = {cls for cls in tree if cls.__module__.startswith(PACKAGE)}
    assert len(here) == 18
    assert {cls.__name__ for cls in here} <= set(aiocredentials.__all__)


@pytest.mark.parametrize("name", aiocredentials.__all__)
def test_docstrings(name: str) -> None:
    """Each public name has a docstring, and so has each public method and property."""
    thing = getattr(aiocredentials, name)
    assert inspect.getdoc(thing)
    for attribute, value in vars(thing).items():
        if not attribute.startswith("_") and (callable(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{attribute}"


def test_importing_is_cheap() -> None:
    """`import aiocredentials` imports neither aioboto3 nor aiohttp: that is paid when a session is opened."""
    heavy = ("aioboto3", "boto3", "aiobotocore", "aiohttp", "moto")
    program = f"import sys, aiocredentials; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert answer.stdout.strip() == "[]"


def test_typed() -> None:
    """The package says that it is typed, so that type checkers read it."""
    assert (FOLDER / "py.typed").exists()
