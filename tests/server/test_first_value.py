"""The first value in a new process: what it imports, reads and makes, in a child that fetches over plain HTTP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import Loader

from server.programs import child

if TYPE_CHECKING:
    from server.stub import StubSecretsManager

# It notes each file that is opened and each folder that is listed, and prints that with the modules.
WATCHED = """
    import asyncio, json, os, re, sys

    read, listed = [], []

    def note(event, arguments):
        if event == "open" and isinstance(arguments[0], str):
            read.append(arguments[0])
        elif event in ("os.listdir", "os.scandir") and isinstance(arguments[0], str):
            listed.append(arguments[0])

    sys.addaudithook(note)
    endpoint = sys.argv[1]
"""
FETCHES = {
    "per call": """
    from aiocredentials import AsyncCredentialsManager

    async def fetch():
        return await AsyncCredentialsManager("prod/db", "eu-west-1", endpoint_url=endpoint).retrieve_secret_string()
    """,
    "pooled": """
    from aiocredentials import CredentialsPool

    async def fetch():
        async with CredentialsPool("eu-west-1", endpoint_url=endpoint) as pool:
            return await pool.manager("prod/db").retrieve_secret_string()
    """,
    "plain": """
    import aioboto3

    async def fetch():
        session = aioboto3.Session()
        async with session.client("secretsmanager", region_name="eu-west-1", endpoint_url=endpoint) as client:
            return json.loads((await client.get_secret_value(SecretId="prod/db"))["SecretString"])
    """,
}
REPORT = """
    value = asyncio.run(fetch())
    contexts = len(sys.modules["aiocredentials._aws.tls"]._contexts) if "aiocredentials" in sys.modules else None
    ours = [module for name, module in sys.modules.items() if name.startswith("aiocredentials")]
    patterns = [name for module in ours for name, one in vars(module).items() if isinstance(one, re.Pattern)]
    facts = {"value": value, "contexts": contexts, "read": read, "listed": listed, "patterns": patterns}
    print(json.dumps({**facts, "modules": sorted(sys.modules)}))
"""
# Beside our own modules, a fetch needs what a plain one needs, and a thread to load it in.
THREADS = {"concurrent.futures.thread", "queue", "_queue", "gc"}
# Of our own ones, these are for other purposes than to fetch.
FOR_FEW = (
    "events",
    "rotation",
    "doctor",
    "integrations",
    "testing",
    "pytest_plugin",
    "_rotation",
    "_shapes",
    "_url_fields",
    "_urls",
)

DATA = Path(Loader.BUILTIN_DATA_PATH)


def of_botocore(paths: list[str]) -> list[Path]:
    """Give the paths in the folder of botocore's models, as seen from there."""
    return [Path(path).relative_to(DATA) for path in paths if Path(path).is_relative_to(DATA)]


async def facts_of(way: str, stub: StubSecretsManager) -> dict[str, Any]:
    """Fetch in a process of its own, and give what that took."""
    facts: dict[str, Any] = json.loads(await child(WATCHED + FETCHES[way] + REPORT, stub.url))
    assert facts["value"] == {"mock_secret_key": "mock_secret_value"}
    return facts


@pytest.fixture(params=["per call", "pooled"])
async def facts(request: pytest.FixtureRequest, stub: StubSecretsManager) -> dict[str, Any]:
    """Fetch in both of the ways that the library has."""
    return await facts_of(request.param, stub)


async def test_modules(facts: dict[str, Any], stub: StubSecretsManager) -> None:
    """Nothing is imported that a plain fetch by aioboto3 doesn't import, except our own modules that a fetch needs."""
    plain = await facts_of("plain", stub)
    more = set(facts["modules"]) - set(plain["modules"])
    assert {name for name in more if name.partition(".")[0] != "aiocredentials"} <= THREADS
    ours = {name.partition(".")[2].partition(".")[0] for name in more}
    assert "_aws" in ours
    assert not ours & set(FOR_FEW)


async def test_models(facts: dict[str, Any]) -> None:
    """Each of botocore's files that are needed is read once, and no folder but that of the service is listed."""
    read = of_botocore(facts["read"])
    assert len(read) == len(set(read))
    names = {path.name.partition(".")[0] for path in read}
    assert names == {"endpoints", "partitions", "sdk-default-configuration", "service-2", "endpoint-rule-set-1"}
    assert {path.parts[0] for path in read if len(path.parts) > 1} == {"secretsmanager"}
    assert {str(path) for path in of_botocore(facts["listed"])} == {"secretsmanager"}


async def test_patterns(facts: dict[str, Any]) -> None:
    """Of our regular expressions, those are compiled that look at a name and at a region; the rest are for errors."""
    assert set(facts["patterns"]) == {"_ARN", "_SUFFIX", "_REGION", "_HOST_LABEL"}


async def test_contexts(facts: dict[str, Any]) -> None:
    """An endpoint of plain HTTP has no TLS context made, neither while all is loaded nor at the request."""
    assert facts["contexts"] == 0
