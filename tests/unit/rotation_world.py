"""What the tests of the rotation queue share: a pool that holds a secret, AWS, and a queue that is watched."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiocredentials.eventbridge import _watched
from unit import virtual_time
from unit.fake_aws import FakeAWS, pool_of
from unit.fake_sqs import FakeSQS, label_updated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from aiocredentials import CachePolicy, CredentialsPool

NAME = "prod/database"
OTHER = "prod/redis"
SPREAD = 2.0


class World:
    """A pool that holds secrets, AWS, and a queue that is watched."""

    def __init__(self, aws: FakeAWS, sqs: FakeSQS, pool: CredentialsPool) -> None:
        self.aws = aws
        self.sqs = sqs
        self.pool = pool
        self.database = pool.manager(NAME)

    async def number(self, **selector: str) -> int:
        """Read the secret; return the number of its version."""
        number: int = (await self.database.secret(**selector)).json()["number"]
        return number

    def event(self, name: str = NAME, **more: Any) -> dict[str, Any]:  # noqa: ANN401 (fields of an event)
        """Return the event for the current version of a secret."""
        version = self.aws.secrets[name]
        return label_updated(version.arn, name, version.version_id, **more)

    def rotate(self, name: str = NAME) -> dict[str, Any]:
        """Rotate a secret, and return the event."""
        self.aws.rotate(name)
        return self.event(name)


@asynccontextmanager
async def world(
    *,
    spread: float = SPREAD,
    seed: int = 0,
    policy: CachePolicy | None = None,
) -> AsyncIterator[World]:
    """Open a pool that has read one of two secrets, and watch a queue for it."""
    aws = FakeAWS(NAME, OTHER)
    sqs = FakeSQS()
    options = {} if policy is None else {"policy": policy}
    async with pool_of(aws, **options) as pool:
        its = World(aws, sqs, pool)
        await its.database.get()
        async with _watched(pool, sqs.endpoint, spread, random.Random(seed).random):  # noqa: S311 (a schedule)
            yield its


def run(main: Callable[[], Coroutine[Any, Any, None]], seed: int = 0) -> None:
    """Run a test in virtual time. No task may be left, and no exception be lost."""
    virtual_time.run(main(), seed=seed, leave_nothing=True)
