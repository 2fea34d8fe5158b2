"""What the adapters for databases have in common: whose login it is, which server, how to close."""

from __future__ import annotations

import asyncio
import os
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, cast

from aiocredentials._loops import finish
from aiocredentials.credentials import DatabaseCredentials

if TYPE_CHECKING:
    from collections.abc import Container, Coroutine, Mapping, Sequence

_UNDECODED = "This adapter needs a manager with decode=DatabaseCredentials.from_json."
_WITH_PORT = "host has a colon and isn't an IPv6 address: give it without its port, which is port=."
_LOGIN = ("user", "password")
_SAY_A_HOST = ("host", "hostaddr", "service", "dsn")
_PLACE = ("host", "hostaddr", "port", "dbname", "database")


def checked(credentials: object) -> DatabaseCredentials:
    """Return what a manager decoded, if an adapter can use it.

    Raises:
        TypeError: if it isn't `DatabaseCredentials`. An AttributeError would hold the value.
    """
    if isinstance(credentials, DatabaseCredentials):
        return credentials
    del credentials
    raise TypeError(_UNDECODED)


def given(options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a driver's options without those of login and place that are None or empty.

    Raises:
        ValueError: if there are a user or a password, or a host that holds a port.
    """
    may_be_empty = options.keys() - {*_LOGIN, *_PLACE}
    found = {name: value for name, value in options.items() if value or name in may_be_empty}
    if not found.keys().isdisjoint(_LOGIN):
        raise ValueError(f"User and password come from the secret: leave them out of {where}.")

    host: object = found.get("host")
    if isinstance(host, str):
        found["host"] = ",".join(map(_bare, host.split(",")))
    elif isinstance(host, (list, tuple)):
        found["host"] = [_bare(each) for each in cast("Sequence[str]", host)]
    return found


def _bare(host: str) -> str:
    """Return a host without the brackets of an IPv6 address."""
    bare = host.removeprefix("[").removesuffix("]")
    # What begins so is a path of a Unix-domain socket, which may have any character.
    if ":" not in bare or host.startswith(("/", "@")):
        return bare
    try:
        IPv6Address(bare)
    except ValueError:
        raise ValueError(_WITH_PORT) from None
    return bare


def place(
    credentials: DatabaseCredentials,
    options: Container[str],
    *,
    database: str,
    variables: Sequence[str],
) -> dict[str, Any]:
    """Return what the secret says of the server and the caller's options don't.

    Args:
        credentials: what the secret says.
        options: the names of what the caller has said.
        database: the driver's name for the database.
        variables: the environment's variables by which the driver finds a host.

    Raises:
        ValueError: if there is no host. The driver would go to this machine, with the password.
    """
    found: dict[str, Any] = {
        "host": credentials.host,
        "port": credentials.port,
        database: credentials.dbname,
    }
    found = {name: value for name, value in found.items() if value and name not in options}

    is_said = any(name in options for name in _SAY_A_HOST)
    if "host" not in found and not is_said and not any(map(os.environ.get, variables)):
        raise ValueError(credentials._no_host_message)  # noqa: SLF001 (the adapters share it)
    return found


async def complete(closing: Coroutine[Any, Any, None]) -> None:
    """Await what closes something; a cancellation meanwhile is passed on when that is done."""
    task = asyncio.create_task(closing)
    await finish([task])
    task.result()
