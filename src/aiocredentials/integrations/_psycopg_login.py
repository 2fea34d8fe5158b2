"""Part of `psycopg`: the options of a connection, and one attempt to connect."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, cast

from psycopg.conninfo import conninfo_to_dict

from aiocredentials._rotation.adapters import (
    PSYCOPG,
    checked_credentials,
    options_without_login,
    server_options,
)
from aiocredentials._rotation.encryption import check_encryption

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import TypeAlias

    from psycopg import AsyncConnection

    from aiocredentials import DatabaseCredentials

    R = TypeVar("R")

    Connection: TypeAlias = AsyncConnection[Any]
    Connect: TypeAlias = Callable[..., Awaitable[Connection]]
    Options: TypeAlias = Mapping[str, Any]
    # psycopg_pool 3.3 accepts each of these.
    ValueOrCallable: TypeAlias = R | Callable[[], R] | Callable[[], Awaitable[R]]


def options_for_psycopg(conninfo: str, options: Options) -> dict[str, Any]:
    """Return psycopg's options; reject a login in them and in conninfo."""
    where = "the arguments and of conninfo"
    in_conninfo = conninfo_to_dict(conninfo)
    return {
        **options_without_login(in_conninfo, where),
        **options_without_login(options, where),
    }


def check_in_advance(
    manager: object,
    conninfo: ValueOrCallable[str],
    kwargs: ValueOrCallable[Options | None],
) -> None:
    """Reject wrong options now, and not by an error of each attempt to connect."""
    known: dict[str, Any] = {}
    if isinstance(conninfo, str):
        known.update(options_for_psycopg(conninfo, {}))
    if kwargs is not None and not callable(kwargs):
        known.update(options_for_psycopg("", kwargs))
    if not callable(conninfo) and not callable(kwargs):
        check_encryption(manager, "psycopg", known)


async def resolved(value: ValueOrCallable[R]) -> R:
    """Resolve a value, a callable or an async callable, as psycopg_pool does."""
    resolved: Any = value
    if callable(value):
        resolved = value()
    if inspect.isawaitable(resolved):
        resolved = await resolved
    return cast("R", resolved)


async def log_in(
    connect: Connect,
    options: Options,
    decoded: DatabaseCredentials,
) -> Connection:
    """Connect once, with the credentials of one version."""
    credentials = checked_credentials(decoded)
    server = server_options(credentials, options, PSYCOPG)
    # No local variable holds the password, because a traceback may show it.
    return await connect(
        **server,
        **options,
        user=credentials.username,
        password=credentials.password,
    )
