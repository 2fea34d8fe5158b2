"""The layout: imports point down, each third-party package has its owner, and all that is public is documented."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
import types
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import aiocredentials
from aiocredentials import CredentialsError, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "aiocredentials"
FOLDER = Path(aiocredentials.__file__).parent

# From the bottom to the top. A module may import those of lower floors, and none of its own. So the
# folder `_aws` knows nothing of the cache, and the folder `_cache` nothing of AWS.
FLOORS: list[set[str]] = [
    {"_foreign_text", "_field_names"},
    {"errors", "_exception_chain", "_identifiers", "_json_copies", "_listeners", "_random"},
    {"events", "_loops", "_arguments", "_pydantic_errors"},
    {"_secret", "_formats", "_opening"},
    {"_url_fields"},
    {"_masked_credentials", "_shapes", "_urls"},
    {"_aws", "_cache", "_decode", "credentials"},
    {"_reports", "_rotation", "_agent"},
    {"_store", "rotation", "agent"},
    {"_prefetch", "_changes", "_held"},
    {"_eventbridge"},
    {"_manager_state"},
    {"_manager"},
    {"_pool"},
    {"_iam"},
    {"__init__", "eventbridge", "iam"},
    {"testing", "pytest_plugin", "_pytest_entry_point", "doctor", "integrations"},
    {"__main__"},
]
# The files of a folder have an order of their own.
INSIDE: dict[str, list[set[str]]] = {
    "_cache": [
        {"policy", "signatures", "invalidations"},
        {"freshness", "groups"},
        {"shelf", "flight"},
        {"entries", "fetching"},
        {"table", "flights"},
        {"outcomes"},
        {"cache", "renewal"},
        {"reader"},
        {"__init__"},
    ],
    "_aws": [
        {
            "__init__",
            "origins",
            "answered_errors",
            "redact",
            "tls",
            "models",
            "chain",
            "emitters",
            "keys",
            "shared_work",
            "sockets",
            "signing",
            "user_agent",
            "roles",
        },
        {"findings"},
        {"credential_findings"},
        {"ambiguous_findings"},
        {"mapping"},
        {"decorator", "settings", "transport"},
        {"regions", "aiosession"},
        {"role_errors"},
        {"requests", "loading", "assuming", "region_health"},
        {"responses", "session", "known_versions"},
        {"kept_keys"},
        {"gateway", "clients", "other_services"},
        {"replica_reads"},
        {"loop_clients", "replicas"},
        {"pooled"},
        {"key_gateway"},
    ],
    "_agent": [
        {"__init__", "tokens", "slots", "loading", "failures", "http"},
        {"state", "answers"},
        {"client"},
    ],
    "_rotation": [
        {"__init__", "budget", "encryption", "interruption", "news", "refusals"},
        {"adapters", "labels", "verdicts", "words"},
        {"mysql", "naming"},
        {"waits"},
    ],
    "_iam": [{"__init__", "arguments", "generations"}],
    "_eventbridge": [{"__init__", "events", "queue_url"}, {"renewals", "sqs"}, {"watcher"}],
    # An adapter imports no other adapter. Two are several files.
    "integrations": [
        {
            "_fastapi_secret",
            "_mysql",
            "_psycopg_login",
            "_redis_versions",
            "_settings_fields",
            "_sqlalchemy_pool",
        },
        {"_psycopg_pool", "_redis_connections", "_settings_build"},
        {
            "__init__",
            "aiomysql",
            "asyncmy",
            "asyncpg",
            "fastapi",
            "opentelemetry",
            "psycopg",
            "pydantic_settings",
            "redis",
            "snapstart",
            "sqlalchemy",
        },
    ],
    "doctor": [
        {"results", "wording"},
        {"identity", "route", "search", "answers", "layout"},
        {"probe", "advice", "endpoints", "replicas"},
        {"rows"},
        {"diagnosis", "rendering"},
        {"__init__", "cli"},
    ],
}
# What sees what users see, and these, and nothing else of the package.
TOP = {"testing", "pytest_plugin", "doctor", "integrations", "__main__"}
PUBLIC = {"__init__", "errors", "eventbridge", "events", "iam", "rotation"}
# Each exception has its reason:
# The doctor asks what no service needs to know: STS, other regions, each call by itself, the way a
# request takes. A public function for that would be one that nobody else should use.
# Which keys look like names of fields is decided in one place, for the doctor and for errors.
# What pydantic finds wrong with an input is put into words in one place, for settings and `decode`.
# The plugin clears what stores remember between two tests; no program should.
# The adapters for databases share what other code has no use for.
# The hooks for snapshots import AWS's package under the lock that all imports in an event loop are under.
ALSO = {
    "pytest_plugin": {"_store"},
    "doctor.endpoints": {"_aws"},
    "doctor.identity": {"_aws"},
    "doctor.probe": {"_aws", "_field_names"},
    "doctor.replicas": {"_identifiers"},
    "doctor.route": {"_aws"},
    "doctor.search": {"_aws"},
    "__main__": {"doctor"},
    "integrations._mysql": {"_rotation", "_loops"},
    "integrations.aiomysql": {"_rotation"},
    "integrations.asyncmy": {"_rotation"},
    "integrations.asyncpg": {"_rotation"},
    "integrations._psycopg_login": {"_rotation"},
    "integrations._psycopg_pool": {"_rotation"},
    "integrations.psycopg": {"_rotation"},
    "integrations._redis_connections": {"_rotation"},
    "integrations.redis": {"_rotation"},
    "integrations._settings_build": {"_pydantic_errors"},
    "integrations.snapstart": {"_loops"},
    "integrations._sqlalchemy_pool": {"_rotation"},
    "integrations.sqlalchemy": {"_rotation"},
}
# A manager names the type of its pool. It imports no pool at run time, so there is no circle.
POOL_FOR_TYPES = ("_manager", f"{PACKAGE}._pool", True)
# The files of the testing kit and its plugin import each other.
KIT = {"testing", "pytest_plugin"}
OWNERS = {
    "aioboto3": {"_aws.aiosession"},
    "aiobotocore": {
        "_aws.aiosession",
        "_aws.assuming",
        "_aws.chain",
        "_aws.emitters",
        "_aws.signing",
        "_aws.transport",
    },
    "aiohttp": {"_aws.transport", "_agent.http"},
    "botocore": {
        "errors",
        "_aws.aiosession",
        "_aws.assuming",
        "_aws.clients",
        "_aws.decorator",
        "_aws.emitters",
        "_aws.keys",
        "_aws.mapping",
        "_aws.role_errors",
        "_aws.models",
        "_aws.other_services",
        "_aws.regions",
        "_aws.answered_errors",
        "_aws.signing",
        "_aws.tls",
        "_aws.user_agent",
        "testing._client",
        "testing._endpoint",
        "testing._failures",
    },
    "moto": {"testing._moto"},
    "opentelemetry": {"integrations.opentelemetry"},
    "pydantic": {"integrations._settings_build", "integrations._settings_fields"},
    # Credentials can be fields of pydantic models: only pydantic calls the functions that import its core.
    "pydantic_core": {"_masked_credentials"},
    "pydantic_settings": {"integrations.pydantic_settings", "integrations._settings_build"},
    "pytest": {"pytest_plugin"},
    "redis": {
        "integrations._redis_connections",
        "integrations._redis_versions",
        "integrations.redis",
    },
    "starlette": {"integrations._fastapi_secret", "integrations.fastapi"},
    "werkzeug": {"testing._moto"},
    # aiohttp's own URL class.
    "yarl": {"_agent.http"},
    "aiomysql": {"integrations.aiomysql"},
    "asyncmy": {"integrations.asyncmy"},
    "asyncpg": {"integrations.asyncpg"},
    "psycopg": {"integrations._psycopg_login", "integrations._psycopg_pool", "integrations.psycopg"},
    "psycopg_pool": {"integrations._psycopg_pool", "integrations.psycopg"},
    "sqlalchemy": {"integrations._sqlalchemy_pool", "integrations.sqlalchemy"},
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
    tree = ast.parse(path.read_text(encoding="utf-8"))
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
            folder = FOLDER.joinpath(*source.split(".")[1:])
            ours = [f"{source}.{alias.name}" for alias in node.names if (folder / f"{alias.name}.py").exists()]
            names = ours if source.partition(".")[0] == PACKAGE and ours else [source]
        for name in names:
            yield Import(module_name(path), name, id(node) in guarded)


@cache
def all_imports() -> list[Import]:
    """Read the imports off all files: once per process, and only in a process that runs these tests."""
    return [one for path in MODULES for one in imports_of(path)]


def floor(module: str) -> int:
    """Say how high a module is."""
    top = module.partition(".")[0]
    floors = [number for number, modules in enumerate(FLOORS) if top in modules]
    assert floors, f"{module} has no place in FLOORS: give it one"
    return floors[0]


def points_down_inside(module: str, imported: str) -> bool:
    """Say whether one file of a folder imports another one that is below it."""
    folder, _, file = module.partition(".")
    numbers = {name: number for number, names in enumerate(INSIDE[folder]) for name in names}
    assert file in numbers, f"{module} has no place in INSIDE: give it one"
    return numbers[imported.partition(".")[2] or "__init__"] < numbers[file]


def is_in_same_folder(module: str, imported: str) -> bool:
    """Say whether two modules are files of one folder that has an order of its own."""
    folder = module.partition(".")[0]
    return "." in module and folder in INSIDE and imported.partition(".")[0] == folder


@pytest.mark.parametrize("module", [module_name(path) for path in MODULES])
def test_imports_point_down(module: str) -> None:
    """A module imports lower floors only, type annotations included; the top floor sees what users see."""
    top = module.partition(".")[0]
    for one in all_imports():
        if one.module != module or one.imported.partition(".")[0] != PACKAGE:
            continue
        imported = one.imported.partition(".")[2] or "__init__"
        if imported.startswith("testing") and top in KIT:
            continue
        if is_in_same_folder(module, imported):
            assert points_down_inside(module, imported), f"{module} imports {imported}, which isn't below it"
            continue
        if one == POOL_FOR_TYPES:
            continue
        assert floor(imported) < floor(module), f"{module} imports {imported}, which isn't below it"
        if top in TOP:
            allowed = PUBLIC | ALSO.get(module, set())
            assert imported.partition(".")[0] in allowed, f"{module} imports {imported}, which no user sees"


def test_third_parties_have_owners() -> None:
    """Each third-party package is imported by the files that own it, and by nobody else."""
    for module, imported, for_types in all_imports():
        package = imported.partition(".")[0]
        if package == PACKAGE or package in sys.stdlib_module_names or for_types:
            continue
        assert module in OWNERS.get(package, set()), f"{module} imports {package}, and isn't its owner"


def test_the_rules_see_something() -> None:
    """The reader of imports finds them at the top of a file, in functions, and for types."""
    assert Import("_aws.gateway", f"{PACKAGE}._aws.answered_errors", for_types=False) in all_imports()
    assert Import("_aws.clients", f"{PACKAGE}._aws.chain", for_types=False) in all_imports()
    assert Import("_manager", f"{PACKAGE}._pool", for_types=True) in all_imports()
    assert Import("_cache.reader", f"{PACKAGE}._cache.cache", for_types=True) in all_imports()
    assert Import("_aws.aiosession", "aioboto3", for_types=False) in all_imports()


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
