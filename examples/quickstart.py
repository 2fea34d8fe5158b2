"""Read a secret in each way, from a Secrets Manager that this script starts on your machine.

Run it with `nox -s demo`, or with `python examples/quickstart.py` if aiocredentials is installed
with the extra `testing`. It needs no AWS account, and sends nothing beyond the loopback interface.
"""

from __future__ import annotations

import asyncio
import json
import os
import textwrap
import time
from typing import TYPE_CHECKING

import aioboto3

from aiocredentials import AsyncCredentialsManager, CredentialsError, CredentialsPool
from aiocredentials.testing import MotoServer

if TYPE_CHECKING:
    from collections.abc import Awaitable

REGION = "us-east-1"
VALUE = {"mock_secret_key": "mock_secret_value"}
WIDTH = 110
INDENT = " " * 13


def use_server(server: MotoServer) -> None:
    """Replace all AWS settings of this process by those of the server."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]

    os.environ.update(server.environment())
    os.environ["AWS_CONFIG_FILE"] = os.devnull
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


async def show(call: str, awaitable: Awaitable[object]) -> None:
    """Print a call, its duration, and its result or its error."""
    start = time.perf_counter()
    try:
        outcome = str(await awaitable)
    except CredentialsError as error:
        outcome = f"{type(error).__name__}: {error}"
    milliseconds = (time.perf_counter() - start) * 1000

    print(f"{milliseconds:8.2f} ms  {call}")
    print(textwrap.fill(outcome, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT))


async def main() -> None:
    """Create a secret, read it in each way, and show errors."""
    await create_secret()
    await read_without_pool()
    async with CredentialsPool(region_name=REGION) as pool:
        await read_from_pool(pool)
        await show_errors(pool)


async def create_secret() -> None:
    """Create the secret with plain aioboto3."""
    session = aioboto3.Session()
    async with session.client("secretsmanager", region_name=REGION) as client:
        await client.create_secret(Name="mock_secret", SecretString=json.dumps(VALUE))


async def read_without_pool() -> None:
    """Read the secret once, without a pool."""
    print("\nA session per call: nothing to open, nothing to close")
    manager = AsyncCredentialsManager("mock_secret")
    call = 'AsyncCredentialsManager("mock_secret").retrieve_secret_string()'
    await show(call, manager.retrieve_secret_string())


async def read_from_pool(pool: CredentialsPool) -> None:
    """Read the secret several times: by a fetch, from the cache, and in a hundred tasks at once."""
    print("\nA pool: one client and one cache for the whole service")
    manager = pool.manager("mock_secret")

    call = "manager.retrieve_secret_string()  # opens the client"
    await show(call, manager.retrieve_secret_string())

    call = "manager.retrieve_secret_string()  # from memory"
    await show(call, manager.retrieve_secret_string())

    call = "manager.refresh()  # fetches; a Secret doesn't show its value"
    await show(call, manager.refresh())

    call = "100 x manager.secret(), after manager.invalidate()"
    await show(call, read_a_hundred_times(manager))


async def read_a_hundred_times(manager: AsyncCredentialsManager[object]) -> str:
    """Forget the value, then read the secret in a hundred tasks at once."""
    manager.invalidate()
    reads = [manager.secret() for _ in range(100)]
    secrets = await asyncio.gather(*reads)

    # Callers that share a fetch share its Secret.
    fetches = len({id(secret) for secret in secrets})
    return f"{len(secrets)} answers from {fetches} fetch"


async def show_errors(pool: CredentialsPool) -> None:
    """Make three mistakes: a wrong name, a wrong region, and a region that doesn't exist."""
    print("\nThree mistakes: each error says what to do")

    wrong_name = pool.manager("mock_secrt")
    await show('pool.manager("mock_secrt").get()', wrong_name.get())

    wrong_region = pool.manager("mock_secret", "eu-west-1")
    await show('pool.manager("mock_secret", "eu-west-1").get()', wrong_region.get())

    no_region = pool.manager("mock_secret", "us_east_1")
    await show('pool.manager("mock_secret", "us_east_1").get()', no_region.get())


if __name__ == "__main__":
    with MotoServer() as server:
        use_server(server)
        print(
            f"A Secrets Manager (moto) listens at {server.url}. "
            "This script creates the secret mock_secret in us-east-1."
        )
        asyncio.run(main())
