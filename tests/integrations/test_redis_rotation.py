"""Load on Redis while passwords rotate: no command fails, and none waits much longer than the window is open."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from aiocredentials.integrations.redis import use_credentials
from integrations.redis_server import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from integrations.redis_fixtures import RotatingSecret, RotatingSecrets
    from integrations.redis_server import RedisServer
    from integrations.rotation_load import Record

WORKERS, ROTATIONS, WINDOW = 50, 5, 2.0
LIMIT = WINDOW + 1
PACE = 0.6  # seconds of a worker between two commands: a load that two cores bear
KINDS = {"single user": 1, "alternating users": 2}
ORDERS = {"server first": True, "AWSCURRENT first": False}


@dataclass
class Load:
    """What workers met: how many commands they sent, which failed, and how long the longest took, in seconds."""

    client: Redis
    commands: int = 0
    failures: list[RedisError] = field(default_factory=list)
    longest: float = 0.0
    connections: set[int] = field(default_factory=set)  # by the server's numbers, each of which it gives once
    over: bool = False

    async def work(self) -> None:
        """Send one command after the other."""
        clock = asyncio.get_running_loop().time
        while not self.over:
            began = clock()
            try:
                self.connections.add(await self.client.client_id())
            except RedisError as error:
                self.failures.append(error)
            self.commands += 1
            self.longest = max(self.longest, clock() - began)
            await asyncio.sleep(PACE)

    async def shrink(self) -> None:
        """Close what is idle, again and again, so that the pool opens connections all the time."""
        while not self.over:
            await self.client.connection_pool.disconnect(inuse_connections=False)
            await asyncio.sleep(2 * PACE)

    def row(self, kind: str, order: str, *, fetches: int | None) -> dict[str, Any]:
        """Return the line of the table; a control has no fetches."""
        return {
            "server": "Valkey",
            "adapter": "redis",
            "control": fetches is None,
            "kind": kind,
            "order": order,
            "queries": self.commands,
            "failures": len(self.failures),
            "longest": round(self.longest, 2),
            "window": WINDOW,
            "fetches": fetches,
        }

    @contextlib.asynccontextmanager
    async def running(self, workers: int) -> AsyncIterator[None]:
        """Load the server while the block runs."""
        # Only for Python 3.11: these tasks aren't cancelled, because asyncio.wait_for, by which redis-py sends, may
        # swallow a cancellation.
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self.work())
            group.create_task(self.shrink())
            try:
                yield
            finally:
                self.over = True


@dataclass
class Outcome:
    """A row of the table."""

    load: Load
    control: Load
    fetches: list[int]
    renewed: list[int]


async def rotate_under_load(port: int, secret: RotatingSecret, *, server_first: bool) -> Outcome:
    """Rotate five times, with the window open for two seconds each, and look at what the workers meet."""
    user, password = secret.username, secret.password
    client = use_credentials(Redis(host=HOST, port=port), secret.manager)
    # Without pauses, so that it has failed sooner: this password is never accepted again.
    retry = Retry(NoBackoff(), 10)
    async with client, Redis(host=HOST, port=port, username=user, password=password, retry=retry) as once:
        load, control = Load(client), Load(once)
        fetches, renewed = [], []
        await client.ping()  # the first fetch loads botocore, which isn't what is measured
        async with load.running(WORKERS), control.running(2):
            for _ in range(ROTATIONS):
                known, before = set(load.connections), secret.fetches
                await secret.rotate(window=WINDOW, server_first=server_first)
                await client.connection_pool.disconnect(inuse_connections=False)
                commands = load.commands
                while load.commands < commands + WORKERS:  # noqa: ASYNC110 (each worker has come round)
                    await asyncio.sleep(0.01)
                renewed.append(len(load.connections - known))
                fetches.append(secret.fetches - before)
    return Outcome(load, control, fetches, renewed)


@pytest.mark.load
@pytest.mark.timeout(90)
async def test_no_command_fails_through_rotations(
    rotating_redis: RotatingSecrets, redis_server: RedisServer, record_rotation: Record
) -> None:
    """Five rotations, one user or two, either side first: nothing fails or waits long; a password read once fails."""
    cases = list(itertools.product(KINDS, ORDERS))
    runs = [
        rotate_under_load(redis_server.port, await rotating_redis.create(users=KINDS[kind]), server_first=ORDERS[order])
        for kind, order in cases
    ]
    for case, outcome in zip(cases, await asyncio.gather(*runs), strict=True):
        load, control = outcome.load, outcome.control
        # In the table, the refresh by which the host is told counts too, as for the databases.
        fetches = max(outcome.fetches) + (not ORDERS[case[1]])
        record_rotation(outcome.load.row(*case, fetches=fetches))
        record_rotation(outcome.control.row(*case, fetches=None))
        assert not load.failures, case
        assert load.longest < LIMIT, case
        assert max(outcome.fetches) <= 2, case
        assert min(outcome.renewed) > 0, case
        assert control.failures, case
        assert all(isinstance(error, AuthenticationError) for error in control.failures), case
