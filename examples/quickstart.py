"""See it work: a secret, awaited, from a Secrets Manager that this script starts on this machine.

Run it with `nox -s demo`, or with `python examples/quickstart.py` where `aiocredentials[testing]` is installed.
No AWS account is used, and nothing is sent beyond the loopback interface.
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

    from aiocredentials import Secret

VALUE = {"mock_secret_key": "mock_secret_value"}


def use(server: MotoServer) -> None:
    """Point this process's AWS settings at the server, and forget the user's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= server.environment()
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


async def show(call: str, awaitable: Awaitable[object]) -> None:
    """Await it, and print the call, how long it took, and what came of it."""
    start = time.perf_counter()
    try:
        outcome = str(await awaitable)
    except CredentialsError as error:
        outcome = f"{type(error).__name__}: {error}"
    print(f"{(time.perf_counter() - start) * 1000:8.2f} ms  {call}")
    print(textwrap.fill(outcome, 110, initial_indent=13 * " ", subsequent_indent=13 * " "))


async def hundred(manager: AsyncCredentialsManager[object]) -> str:
    """Forget the value, then ask for the secret from a hundred tasks at once."""
    manager.invalidate()
    secrets: list[Secret] = await asyncio.gather(*(manager.secret() for _ in range(100)))
    return f"{len(secrets)} answers from {len({id(secret) for secret in secrets})} fetch"


async def main() -> None:
    """Create a secret, then ask for it in each way there is."""
    async with aioboto3.Session().client("secretsmanager", region_name="us-east-1") as client:
        await client.create_secret(Name="mock_secret", SecretString=json.dumps(VALUE))

    print("\nA session per call: nothing to open, nothing to close")
    call = 'AsyncCredentialsManager("mock_secret").retrieve_secret_string()'
    await show(call, AsyncCredentialsManager("mock_secret").retrieve_secret_string())

    print("\nA pool: one client and one cache for the whole service")
    async with CredentialsPool(region_name="us-east-1") as pool:
        manager = pool.manager("mock_secret")
        await show(
            "manager.retrieve_secret_string()  # opens the client", manager.retrieve_secret_string()
        )
        await show(
            "manager.retrieve_secret_string()  # from memory", manager.retrieve_secret_string()
        )
        await show(
            "manager.refresh()  # fetches; a Secret doesn't show its value", manager.refresh()
        )
        await show("100 x manager.secret(), after manager.invalidate()", hundred(manager))

        print("\nWhat goes wrong says what to do")
        wrong_name, elsewhere = pool.manager("mock_secrt"), pool.manager("mock_secret", "eu-west-1")
        await show('pool.manager("mock_secrt").get()', wrong_name.get())
        await show('pool.manager("mock_secret", "eu-west-1").get()', elsewhere.get())
        await show(
            'pool.manager("mock_secret", "us_east_1").get()',
            pool.manager("mock_secret", "us_east_1").get(),
        )


if __name__ == "__main__":
    with MotoServer() as server:
        use(server)
        print(
            f"moto's Secrets Manager listens at {server.url}; it gets one secret in us-east-1, mock_secret"
        )
        asyncio.run(main())
