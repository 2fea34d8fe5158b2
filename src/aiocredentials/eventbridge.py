"""Rotation push: refresh what a pool has cached when AWS reports that a secret has changed.

Secrets Manager sends an event to EventBridge when a staging label moves to a new version, for
example at the end of each rotation. A rule sends these events to an SQS queue, which
`rotation_queue_watched` reads. So a new version is in use seconds after a rotation, and not only at
the end of the TTL.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TYPE_CHECKING

from aiocredentials._arguments import seconds
from aiocredentials._aws.other_services import settings_for_others
from aiocredentials._eventbridge.queue_url import queue_at
from aiocredentials._eventbridge.renewals import Renewals
from aiocredentials._eventbridge.sqs import endpoint_of
from aiocredentials._eventbridge.watcher import Watcher
from aiocredentials._pool import CredentialsPool
from aiocredentials._random import random_share

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    import aioboto3
    from aiobotocore.session import AioSession

    from aiocredentials._eventbridge.sqs import Endpoint

__all__ = ["rotation_queue_watched"]

_LONGEST_SPREAD = 300.0


def rotation_queue_watched(
    pool: CredentialsPool,
    queue_url: str,
    *,
    spread: float | timedelta = 2.0,
    session: aioboto3.Session | AioSession | None = None,
) -> AbstractAsyncContextManager[None]:
    """Read a queue of events as long as the block lasts, and refresh the secrets that they name.

    Use it in `async with`. It adds to the TTL, and doesn't replace it. No failure of the queue, its
    messages or the network is raised, and no read waits for it or fails because of it. Failures are
    logged as a warning, once per kind until the queue can be read again. The block begins at once,
    and ends within three seconds.

    An event causes a fetch only if the pool holds another version of that secret under the staging
    label of the event. Messages that are understood are deleted. If a fetch fails with a transient
    error, or returns a version from before the event, the message isn't deleted, and SQS delivers
    it again half a minute later. Each process needs its own queue, because SQS delivers a message
    to only one reader.

    Needs sqs:ReceiveMessage and sqs:DeleteMessage on the queue, kms:Decrypt if the queue has a
    customer managed KMS key, and secretsmanager:GetSecretValue.

    Example:
        ```python
        import asyncio

        from aiocredentials import CredentialsPool
        from aiocredentials.eventbridge import rotation_queue_watched

        QUEUE = "https://sqs.eu-west-1.amazonaws.com/123456789012/rotations-of-orders-1"

        async def main() -> None:
            async with CredentialsPool("eu-west-1") as pool, rotation_queue_watched(pool, QUEUE):
                credentials = await pool.manager("prod/database").get()
                print(credentials["username"])

        asyncio.run(main())
        ```

    Args:
        pool: The pool. It must be open, and must stay open as long as the block lasts.
        queue_url: The URL of the queue. It names the region and the endpoint.
        spread: The longest random delay before a fetch, in seconds or as a `timedelta`, from 0 to
            300. It spreads the fetches of a fleet. The default of 2 suits up to 2,000 processes;
            for more, give a second per 1,000 processes.
        session: The session whose AWS credentials are used for the queue. Without it, the pool's
            session is used, without the pool's role. If that is a `CustomSession`, which has no AWS
            credentials, AWS's default chain is used.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument can't work: `queue_url` is an ARN or a name, for example.
        PoolClosedError: The pool isn't open when the block begins.
        RuntimeError: The block begins a second time. Each call returns a block for one use.
    """
    _check_pool(pool)
    # By default, 2,000 processes make 1,000 calls per second: a tenth of AWS's quota.
    longest_delay = seconds(spread, "spread", zero=True)
    if longest_delay > _LONGEST_SPREAD:
        raise ValueError(
            f"spread is {longest_delay:g} seconds: give at most {_LONGEST_SPREAD:g}, "
            "because after a longer delay, a TTL of 300 s has ended already."
        )
    settings = settings_for_others(pool._session.settings, session)
    endpoint = endpoint_of(queue_at(queue_url), settings)
    return _watched(pool, endpoint, longest_delay)


def _check_pool(pool: object) -> None:
    if not isinstance(pool, CredentialsPool):
        kind = type(pool).__name__
        raise TypeError(f"pool is a {kind}: give a CredentialsPool.")


class _watched(AbstractAsyncContextManager[None]):  # noqa: N801 (it is used as a function)
    """The block in which a queue is read."""

    def __init__(
        self,
        pool: CredentialsPool,
        endpoint: Endpoint,
        spread: float,
        rng: Callable[[], float] = random_share,
    ) -> None:
        self._pool = pool
        self._endpoint = endpoint
        self._spread = spread
        self._rng = rng
        self._is_entered = False
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> None:
        if self._is_entered:
            raise RuntimeError(
                "This block can be entered once: call rotation_queue_watched again for another."
            )
        self._pool._session.check_open()
        store = self._pool._store
        spread = self._spread
        renewals = Renewals(store, spread, self._rng)
        watcher = Watcher(store, self._endpoint, renewals, spread=spread, rng=self._rng)
        self._is_entered = True
        self._stack.push_async_callback(watcher.aclose)

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()
