"""Peculiarities of the drivers aiomysql and asyncmy: passwords, option files, TLS, closing."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiocredentials._rotation.adapters import Driver

if TYPE_CHECKING:
    from collections.abc import Mapping

# A server on a dead network doesn't answer. The connection is closed all the same.
_QUIT_SECONDS = 2.0
# A server's capability, and a client's error (MySQL's documentation: "Capabilities Flags", "Client
# Error Message Reference").
_OFFERS_TLS = 0x800
_TLS_ERROR = 2026
_IN_FILE = (
    "User and password come from the secret: "
    "remove them from the file that read_default_file names, or name another group of it."
)


def as_sent(password: str) -> str:
    """Return the text that a driver sends as the password's UTF-8.

    Both drivers encode a password as Latin-1. A server keeps the hash of the bytes that it got with
    the statement that set the password, and clients send statements as UTF-8.
    """
    encoded = password.encode("utf-8", "surrogatepass")
    return encoded.decode("latin-1")


def reject_login_in_file(options: Mapping[str, Any]) -> None:
    """Reject a user or a password in the option file that a driver reads.

    aiomysql prefers the file to its arguments, so a password in the file would replace the secret's
    silently. Both drivers read the file for each connection, in the event loop. This reads it once
    per pool, engine or single connection, and in `use_credentials` for each connection.

    Raises:
        ValueError: The group of the file has a user or a password.
    """
    file = options.get("read_default_file")
    if not file:
        return
    group = options.get("read_default_group") or "client"
    parser = configparser.RawConfigParser(allow_no_value=True, strict=False)
    # The error of a file that can't be parsed would hold its lines. The driver raises its own.
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        parser.read(Path(file).expanduser())
    is_rejected = any(parser.has_option(group, name) for name in ("user", "password"))
    # The frame is in the traceback of the error.
    del parser
    if is_rejected:
        raise ValueError(_IN_FILE)


async def quit_connection(connection: Any) -> None:  # noqa: ANN401 (of either driver)
    """Announce the end of a connection to the server, and close it, also without an answer.

    A server logs a warning for each connection that is closed without this.
    """
    # asyncmy waits for the end of the socket by itself. With TLS, that takes a round trip.
    writer = getattr(connection, "_writer", None)
    try:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_QUIT_SECONDS):
                await connection.ensure_closed()
                if writer is not None:
                    await writer.wait_closed()
    finally:
        connection.close()


def connect_of_aiomysql(module: Any, options: Mapping[str, Any]) -> Any:  # noqa: ANN401 (its types)
    """Return a function like `aiomysql.connect` that always encrypts if the options have `ssl`.

    aiomysql continues in plain text if the server, or an attacker in between, offers no TLS;
    asyncmy fails.

    Raises:
        RuntimeError: The version of aiomysql is unknown.
    """
    if options.get("ssl"):
        return _encrypted_class(module)
    return module.connect


@cache
def _encrypted_class(module: Any) -> Any:  # noqa: ANN401 (aiomysql's)
    """Return aiomysql's class of connections, which sends nothing if the server offers no TLS.

    A connection of this class is awaited until it is open. So no function here is called with the
    password, which a traceback would show.
    """
    base = module.Connection
    if not hasattr(base, "_connect") or not hasattr(base, "_request_authentication"):
        raise RuntimeError("This version of aiomysql isn't known to encrypt: install an older one.")

    async def request_authentication(self: Any) -> None:  # noqa: ANN401
        if not self.server_capabilities & _OFFERS_TLS:
            raise module.OperationalError(_TLS_ERROR, "The server has no TLS, but ssl= is given.")
        await base._request_authentication(self)  # noqa: SLF001

    async def opened(self: Any) -> Any:  # noqa: ANN401
        await self._connect()
        return self

    def wait(self: Any) -> Any:  # noqa: ANN401
        return opened(self).__await__()

    members = {"_request_authentication": request_authentication, "__await__": wait}
    return type(base.__name__, (base,), members)


MYSQL = Driver("db", (), as_sent, reject_login_in_file, quit_connection)
