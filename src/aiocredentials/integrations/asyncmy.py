"""asyncmy: connections with the current user and password of a secret, also during rotations."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncmy

from aiocredentials._rotation.waits import Waits
from aiocredentials.integrations._mysql import Connector, RotatingPool, opened
from aiocredentials.rotation import OTHER_STAGES

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta

    from aiocredentials import DatabaseCredentials
    from aiocredentials.rotation import RotatingSecret

__all__ = ["connect", "create_pool"]

# The types of its functions aren't complete.
_driver: Any = asyncmy


async def connect(
    manager: RotatingSecret[DatabaseCredentials],
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (asyncmy's)
) -> asyncmy.Connection:
    """Return a connection with the secret's user and password, as `asyncmy.connect` does.

    The caller closes it. Host, port and database come from `options`, and otherwise from the
    secret. An option that is None counts as left out.

    If the server refuses user and password, as it may during a rotation, the secret is fetched
    again, and the versions with other staging labels are tried. Needs
    secretsmanager:GetSecretValue, except for `IamDatabaseCredentials`; a staging label for which
    that is denied is skipped.

    Example:
        ```python
        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.asyncmy import connect


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                connection = await connect(manager, max_wait=5)
                async with connection.cursor() as cursor:
                    await cursor.execute("SELECT CURRENT_USER()")
                    print(await cursor.fetchone())
                await connection.ensure_closed()
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time until the connection is made, in seconds or as a `timedelta`:
            fetches, attempts to connect and the search in all. None for no limit of this kind.
        stages: The other staging labels to try after a refusal; `()` for none.
        options: The other arguments of `asyncmy.connect`, except user and password.

    Raises:
        TimeoutError: `max_wait` is over. A note has the last error of an attempt to connect.
        ValueError: A user or a password is in `options`, or in the file that `read_default_file`
            names. Or no host is named, neither by the secret nor by `host`, `unix_socket` or
            `read_default_file`: asyncmy would connect to this machine. Or the options don't ensure
            the encryption that IAM tokens need. Or `budget` or `max_wait` isn't positive.
        TypeError: `budget` or `max_wait` isn't a duration, `stages` is one string, or the manager's
            `decode` doesn't return `DatabaseCredentials`.
        CredentialsError: The secret is unavailable.
        Exception: The driver's error. If the server refused user and password until the end of
            `budget`, it is the last refusal, with a note that names the versions that were tried.
    """
    connector = Connector(manager, _driver.connect, options, budget=budget, stages=stages)
    connection: asyncmy.Connection = await connector.connect(max_wait)
    return connection


@asynccontextmanager
async def create_pool(
    manager: RotatingSecret[DatabaseCredentials],
    *,
    minsize: int = 1,
    maxsize: int = 10,
    pool_recycle: float = 3600,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    **options: Any,  # noqa: ANN401 (asyncmy's)
) -> AsyncGenerator[asyncmy.Pool]:
    """Open an `asyncmy.Pool` while a block lasts; it connects as `connect` does.

    Use it with `async with`. Needs secretsmanager:GetSecretValue, except for
    `IamDatabaseCredentials`.

    When a new version of the secret is fetched, older connections are replaced: idle ones at once,
    others when they are released. A query that runs isn't interrupted. No version is missed that is
    fetched between the first connection and the end of the block. Leaving the block waits until all
    connections are released; if it is cancelled meanwhile, it closes them.

    Unlike in asyncmy's own pool, no caller waits for another caller's login. The next caller
    gets its turn even if a caller is cancelled, if a login fails, or if a connection is closed or
    in a transaction when it is released. `minsize` connections are made at the beginning, and more
    when callers need them.

    Behind a full pool, the waits of callers add up, so `budget` doesn't limit what one of them
    waits; `max_wait` does. It is for callers of an open pool, such as requests, and doesn't limit
    how long opening the pool takes.

    Example:
        ```python
        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.asyncmy import create_pool


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                async with create_pool(manager, maxsize=10, max_wait=5) as pool:
                    async with pool.acquire() as connection, connection.cursor() as cursor:
                        await cursor.execute("SELECT CURRENT_USER()")
                        print(await cursor.fetchone())
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        minsize: How many connections are made at the beginning.
        maxsize: How many connections there are at most.
        pool_recycle: How long a connection may be idle, in seconds; a negative number for no limit.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time that a caller waits for a connection, in seconds or as a
            `timedelta`: for a free connection of the pool, for the secret, for the server and for
            the search in all. None for no limit of this kind.
        stages: The other staging labels to try after a refusal; `()` for none.
        options: The other arguments of `asyncmy.connect`, except user and password.

    Raises:
        TimeoutError: `acquire()` raises it when `max_wait` is over. Its message names what the
            caller waited for, and a note has the last error of an attempt to connect.
        RuntimeError: `acquire()` raises it after the end of the block.
        ValueError: `minsize` is negative or more than `maxsize`; or one of the reasons for which
            `connect` raises it, such as a password in `options`.
        TypeError: `budget` or `max_wait` isn't a duration, `stages` is one string, or the manager's
            `decode` doesn't return `DatabaseCredentials`.
        CredentialsError: The secret is unavailable. `acquire()` raises it, too.
        Exception: The driver's error, if the first connections can't be made. Then no connection is
            left open. `acquire()` raises it, too.
    """
    connector = Connector(manager, _driver.connect, options, budget=budget, stages=stages)
    waits = Waits(max_wait, TimeoutError)
    pool = _Pool(
        connector,
        waits,
        minsize=minsize,
        maxsize=maxsize,
        pool_recycle=pool_recycle,
        echo=bool(options.get("echo")),
    )
    async with opened(pool, waits, connector):
        yield pool


class _Pool(RotatingPool, asyncmy.Pool):
    """asyncmy's pool, with connections that are renewed."""

    @staticmethod
    def _is_usable(connection: Any) -> bool:  # noqa: ANN401 (its types lack this)
        return not connection._stream_broken  # noqa: SLF001 (as asyncmy's own pool does)
