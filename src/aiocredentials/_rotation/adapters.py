"""Code that the adapters for databases share: credentials, driver options, renewal, closing.

Each rule is here once: which credentials an adapter accepts, that it rejects a login that the
caller passes beside the manager, and that it closes completely although its caller is cancelled.
"""

from __future__ import annotations

import asyncio
import os
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from aiocredentials._loops import finish
from aiocredentials.credentials import DatabaseCredentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Coroutine, Mapping, Sequence
    from typing import TypeAlias

    Options: TypeAlias = Mapping[str, Any]

_UNDECODED = "This adapter needs a manager with decode=DatabaseCredentials.from_json."
_WITH_PORT = "host has a colon and isn't an IPv6 address: give it without its port, which is port=."
_LOGIN = {"user", "password", "password_creator"}
_SERVER = {"host", "hostaddr", "port", "dbname", "database", "db"}
# Each of these options names a host, or may do so.
_NAME_A_HOST = ("host", "hostaddr", "service", "dsn", "unix_socket", "read_default_file")

ConnectionT = TypeVar("ConnectionT")


async def _close(connection: Any) -> None:  # noqa: ANN401 (any driver's)
    await connection.close()


def _accept(_: Options) -> None:
    """Accept a driver's options."""


class Driver(NamedTuple):
    """How a driver names the server, and the peculiarities of its connections."""

    database: str
    """The option for the name of the database."""
    variables: tuple[str, ...]
    """The environment variables by which the driver finds a host."""
    spell: Callable[[str], str] = str
    """Returns a password as the driver must get it."""
    check: Callable[[Options], None] = _accept
    """Rejects a login to which the driver's options refer."""
    close: Callable[[Any], Awaitable[None]] = _close
    """Closes a connection."""


ASYNCPG = Driver("database", ("PGHOST",))
PSYCOPG = Driver("dbname", ("PGHOST", "PGHOSTADDR", "PGSERVICE"))


def checked_credentials(credentials: object) -> DatabaseCredentials:
    """Return the credentials that a manager decoded, if an adapter can use them.

    Raises:
        TypeError: They aren't `DatabaseCredentials`. An AttributeError would hold the value.
    """
    if isinstance(credentials, DatabaseCredentials):
        return credentials
    # The frame is in the traceback of the error.
    del credentials
    raise TypeError(_UNDECODED)


def reject_login(options: Options, where: str) -> None:
    """Reject a user or a password in a driver's options.

    Raises:
        ValueError: There are a user or a password. The message names the place.
    """
    if any(options.get(name) for name in _LOGIN):
        raise ValueError(f"User and password come from the secret: leave them out of {where}.")


def options_without_login(options: Options, where: str) -> dict[str, Any]:
    """Return a driver's options as an adapter passes them on.

    Options of login and server that are None or empty are left out, and IPv6 addresses have no
    brackets.

    Raises:
        ValueError: There are a user or a password, or a host that holds a port.
    """
    reject_login(options, where)
    accepted = dict(options)
    for name in _LOGIN | _SERVER:
        if not accepted.get(name):
            accepted.pop(name, None)

    host: object = accepted.get("host")
    if isinstance(host, str):
        hosts = host.split(",")
        bare_hosts = map(_bare, hosts)
        accepted["host"] = ",".join(bare_hosts)
    elif isinstance(host, (list, tuple)):
        several = cast("Sequence[str]", host)
        bare_hosts = map(_bare, several)
        accepted["host"] = list(bare_hosts)
    return accepted


def _bare(host: str) -> str:
    """Return a host without the brackets of an IPv6 address."""
    bare = host.removeprefix("[")
    bare = bare.removesuffix("]")
    # The path of a Unix-domain socket begins so, and may have any character.
    is_path = host.startswith(("/", "@"))
    if is_path or ":" not in bare:
        return bare
    try:
        IPv6Address(bare)
    except ValueError:
        raise ValueError(_WITH_PORT) from None
    return bare


def server_options(
    credentials: DatabaseCredentials,
    named: Container[str],
    driver: Driver,
    *,
    advice: str = "give host=",
) -> dict[str, Any]:
    """Return the secret's host, port and database, except for those that the caller names.

    Args:
        credentials: The credentials in the secret.
        named: The names of the options that the caller has passed.
        driver: The driver that the options are for.
        advice: How the caller can name a host.

    Raises:
        ValueError: There is no host. Otherwise the driver would send the password to this machine.
    """
    in_secret = {
        "host": credentials.host,
        "port": credentials.port,
        driver.database: credentials.dbname,
    }
    options: dict[str, Any] = dict(in_secret)
    for name, value in in_secret.items():
        if not value or name in named:
            del options[name]

    if "host" not in options and not _is_host_named(named, driver):
        message = credentials._no_host_unless(advice)  # noqa: SLF001 (the adapters share it)
        raise ValueError(message)
    return options


def _is_host_named(named: Container[str], driver: Driver) -> bool:
    """Return whether the caller or the environment names a host."""
    if any(name in named for name in _NAME_A_HOST):
        return True
    return any(os.environ.get(variable) for variable in driver.variables)


class Renewals:
    """Counts how often an adapter has replaced its connections because of a new version."""

    def __init__(self) -> None:
        self.count = 0

    async def connect(
        self,
        connect: Callable[[], Awaitable[ConnectionT]],
        close: Callable[[ConnectionT], Awaitable[None]] = _close,
    ) -> ConnectionT:
        """Return a connection that isn't older than the last renewal.

        A renewal can't replace a connection that is being made, because the pool doesn't have it
        yet. Later the pool would consider it newer than the renewal.
        """
        while True:
            count = self.count
            connection = await connect()
            if count == self.count:
                return connection
            await close(connection)


async def close_completely(closing: Coroutine[Any, Any, None]) -> None:
    """Await the coroutine that closes something; pass a cancellation on when that is done."""
    task = asyncio.create_task(closing)
    await finish([task])
    task.result()
