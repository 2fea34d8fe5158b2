"""The examples in docstrings that need only Secrets Manager: they run against moto's server."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest

import aiocredentials
from aiocredentials import doctor, eventbridge, events, rotation, testing
from aiocredentials.integrations import fastapi

if TYPE_CHECKING:
    from aiocredentials.testing import SecretsEndpoint

FENCED = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
DATABASE = {"username": "app", "password": "made up", "host": "db.example"}

DOCUMENTED = [
    aiocredentials.AsyncCredentialsManager,
    aiocredentials.AsyncCredentialsManager.get,
    aiocredentials.AsyncCredentialsManager.retrieve_secret_string,
    aiocredentials.CachePolicy,
    aiocredentials.CredentialsPool,
    aiocredentials.DatabaseCredentials,
    aiocredentials.DatabaseCredentials.reader,
    aiocredentials.Secret,
    aiocredentials.map_client_errors,
    doctor.diagnose,
    eventbridge.rotation_queue_watched,
    events.Listener,
    fastapi.credentials_lifespan,
    fastapi.secret,
    rotation.rotations_watched,
    testing.FakeClock,
    testing.FakeSecretsManager,
    testing.SecretsEndpoint,
]


def example_of(thing: object) -> str:
    """Return the code of the example in a docstring."""
    found = FENCED.search(inspect.getdoc(thing) or "")
    assert found is not None
    return textwrap.dedent(found[2])


@pytest.mark.parametrize("thing", DOCUMENTED, ids=lambda thing: thing.__qualname__)
async def test_an_example_runs(moto_secrets: SecretsEndpoint, thing: object) -> None:
    """An example works as it is written: a whole program, or statements about a pool and a manager."""
    for region_name in ("us-east-1", "eu-west-1"):
        testing.SecretsEndpoint(moto_secrets.url, region_name=region_name).set("prod/database", DATABASE)

    name = getattr(thing, "__qualname__", "")
    code: CodeType = compile(example_of(thing), name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with aiocredentials.CredentialsPool("eu-west-1") as pool:
        names: dict[str, Any] = {
            "__name__": "example",
            "DatabaseCredentials": aiocredentials.DatabaseCredentials,
            "manager": pool.manager("prod/database"),
            "pool": pool,
        }
        if "asyncio.run(" in example_of(thing):
            await asyncio.to_thread(exec, code, names)
            return

        made = FunctionType(code, names)()
        if inspect.isawaitable(made):
            await made
        for function in [*names.values()]:
            is_defined = inspect.iscoroutinefunction(function) and function.__module__ == "example"
            if is_defined and not inspect.signature(function).parameters:
                await function()
