"""psycopg: connections with the current user and password of a secret, also during rotations."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from psycopg import AsyncConnection
from psycopg.errors import ConnectionTimeout
from psycopg_pool import PoolTimeout

from aiocredentials._rotation.adapters import close_completely
from aiocredentials._rotation.encryption import check_encryption
from aiocredentials._rotation.waits import Waits
from aiocredentials.integrations._psycopg_login import (
    check_in_advance,
    log_in,
    options_for_psycopg,
)
from aiocredentials.integrations._psycopg_pool import Connector, Pool, bridging_class
from aiocredentials.rotation import OTHER_STAGES, connect_through_rotation, rotations_watched

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta

    from psycopg_pool import AsyncConnectionPool

    from aiocredentials import DatabaseCredentials, Secret
    from aiocredentials.integrations._psycopg_login import Connection, Options, ValueOrCallable
    from aiocredentials.rotation import RotatingSecret

__all__ = ["connect", "create_pool"]


async def connect(
    manager: RotatingSecret[DatabaseCredentials],
    conninfo: str = "",
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    connection_class: type[Connection] = AsyncConnection,
    **options: Any,  # noqa: ANN401 (psycopg's)
) -> Connection:
    """Return a connection with the secret's user and password, as `connection_class.connect` does.

    The caller closes it. Host, port and database come from `options` and `conninfo`, and otherwise
    from the secret. An option that is None counts as left out.

    If the server refuses user and password, as it may during a rotation, the secret is fetched
    again, and the versions with other staging labels are tried. Needs
    secretsmanager:GetSecretValue, except for `IamDatabaseCredentials`; a staging label for which
    that is denied is skipped.

    Example:
        ```python
        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.psycopg import connect


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                connection = await connect(manager, max_wait=5)
                async with connection:
                    await connection.execute("SELECT current_user")
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        conninfo: psycopg's connection string, without user and password.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time until the connection is made, in seconds or as a `timedelta`:
            fetches, attempts to connect and the search in all. None for no limit of this kind.
        stages: The other staging labels to try after a refusal; `()` for none.
        connection_class: psycopg's class of connections, or your own.
        options: The other arguments of `connection_class.connect`, except user and password.

    Raises:
        psycopg.errors.ConnectionTimeout: `max_wait` is over. A note has the last error of an
            attempt to connect.
        ValueError: A user or a password is in `options` or `conninfo`. Or no host is named, neither
            by the secret nor by the caller nor by the environment variables `PGHOST`, `PGHOSTADDR`
            and `PGSERVICE`: libpq would connect to this machine. Or the options don't ensure the
            encryption that IAM tokens need. Or `budget` or `max_wait` isn't positive.
        TypeError: `budget` or `max_wait` isn't a duration, `stages` is one string, or the manager's
            `decode` doesn't return `DatabaseCredentials`.
        CredentialsError: The secret is unavailable.
        Exception: The driver's error. If the server refused user and password until the end of
            `budget`, it is the last refusal, with a note that names the versions that were tried.
    """
    accepted = options_for_psycopg(conninfo, options)
    check_encryption(manager, "psycopg", accepted)

    log_in_once = partial(log_in, connection_class.connect, accepted)
    connect_in_budget = partial(
        connect_through_rotation,
        manager,
        log_in_once,
        budget=budget,
        stages=stages,
    )
    waits = Waits(max_wait, ConnectionTimeout)
    return await waits.within(connect_in_budget, _close)


async def _close(connection: Connection) -> None:
    await connection.close()


@asynccontextmanager
async def create_pool(
    manager: RotatingSecret[DatabaseCredentials],
    conninfo: ValueOrCallable[str] = "",
    *,
    budget: float | timedelta = 60.0,
    max_wait: float | timedelta | None = None,
    stages: Sequence[str] = OTHER_STAGES,
    connection_class: type[Connection] = AsyncConnection,
    kwargs: ValueOrCallable[Options | None] = None,
    **options: Any,  # noqa: ANN401 (psycopg_pool's)
) -> AsyncGenerator[AsyncConnectionPool[Connection]]:
    """Open an `AsyncConnectionPool` while a block lasts; it connects as `connect` does.

    Use it with `async with`. Needs secretsmanager:GetSecretValue, except for
    `IamDatabaseCredentials`.

    It is open when `min_size` connections are made, at the latest after `timeout`, psycopg_pool's
    own option. When a new version of the secret is fetched, older connections are replaced: idle
    connections at once, others when they are returned. No version is missed that is fetched between
    the first connection and the end of the block.

    psycopg_pool raises a `PoolTimeout` for any reason. This pool raises the error that keeps it
    from connecting: a permanent `CredentialsError`, or the server's refusal after the `budget`, at
    once; a transient error at the end of the caller's timeout. The pool continues to try, as
    psycopg_pool does.

    psycopg_pool's `timeout` doesn't limit the time that its own `check` takes, and `max_wait` does.
    It is for callers of an open pool, such as requests, and doesn't limit how long opening the pool
    takes.

    Example:
        ```python
        from aiocredentials import CredentialsPool, DatabaseCredentials
        from aiocredentials.integrations.psycopg import create_pool


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                manager = secrets.manager("prod/database", decode=DatabaseCredentials.from_json)
                async with create_pool(manager, min_size=2, max_wait=5) as pool:
                    async with pool.connection() as connection:
                        await connection.execute("SELECT current_user")
        ```

    Args:
        manager: A manager with `decode=DatabaseCredentials.from_json`, or `IamDatabaseCredentials`.
        conninfo: psycopg's connection string, without user and password; or a callable that returns
            it or an awaitable of it, and is called for each connection.
        budget: How long to search for a version that the server accepts, from the first refusal,
            in seconds or as a `timedelta`.
        max_wait: The longest time that a caller waits for a connection, in seconds or as a
            `timedelta`: for a free connection of the pool, for the secret, for the server, for the
            search and for `check` in all. None for no limit of this kind. With psycopg_pool's
            `timeout`, which is 30 seconds by default, the shorter of the two holds.
        stages: The other staging labels to try after a refusal; `()` for none.
        connection_class: psycopg's class of connections, or your own.
        kwargs: The options of each connection, without user and password; or a callable.
        options: The other arguments of `AsyncConnectionPool`. The block opens and closes the pool,
            so `open=True` has no effect.

    Raises:
        ValueError: The arguments have a user, a password or `open=False`; or one of the other
            reasons for which `connect` raises it.
        TypeError: `budget` or `max_wait` isn't a duration, `stages` is one string, or the manager's
            `decode` doesn't return `DatabaseCredentials`.
        CredentialsError: The secret is unavailable. The pool's methods raise it, too.
        Exception: The driver's error, if the first connections can't be made. The pool's methods
            raise it, too.
        PoolTimeout: A time limit has passed, and the last attempt to connect didn't fail. The
            pool's methods also raise it when `max_wait` is over. Then its message names what the
            caller waited for, and a note has the last error of an attempt to connect.
    """
    if options.pop("open", None) is False:
        raise ValueError("The block opens the pool, and closes it: leave out open=.")
    check_in_advance(manager, conninfo, kwargs)

    waits = Waits(max_wait, PoolTimeout)
    connector = Connector(manager, budget, stages, waits=waits)
    class_for_pool = bridging_class(connection_class, connector, conninfo, kwargs)
    pool = Pool(
        connector,
        connection_class=class_for_pool,
        open=False,
        **options,
    )
    opened = asyncio.Event()

    async def renew(_: Secret) -> None:
        connector.renewals.count += 1
        # A connection that was made before the pool was open is older as well.
        await opened.wait()
        await pool.drain()

    try:
        async with waits, rotations_watched(manager, renew):
            await pool.open(wait=True, timeout=pool.timeout)
            opened.set()
            yield pool
    finally:
        await close_completely(pool.close())
