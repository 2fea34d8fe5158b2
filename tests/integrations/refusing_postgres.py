"""A server that speaks PostgreSQL's protocol as far as the login, and refuses in any words.

A test machine has no PAM, LDAP or RDS Proxy, and its PostgreSQL speaks English.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HOST = "127.0.0.1"
NO_ENCRYPTION = (80877103, 80877104)  # the codes of SSLRequest and GSSENCRequest
READY = {"server_version": "18.0", "client_encoding": "UTF8", "standard_conforming_strings": "on"}


def message(kind: bytes, body: bytes) -> bytes:
    """Frame a message."""
    return kind + struct.pack("!I", len(body) + 4) + body


class RefusingPostgres:
    """Accepts one password, and refuses others with a severity, an SQLSTATE and words."""

    def __init__(self, accepted: str, refusal: tuple[str, str, str]) -> None:
        self.accepted = accepted
        self.refusal = refusal
        self.logins = 0
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while (await self._read(reader))[:4] in {struct.pack("!I", code) for code in NO_ENCRYPTION}:
                writer.write(b"N")
            writer.write(message(b"R", struct.pack("!I", 3)))  # AuthenticationCleartextPassword
            await reader.readexactly(1)
            password = (await self._read(reader)).rstrip(b"\0").decode()
            self.logins += 1
            if password != self.accepted:
                fields = zip("SCM", self.refusal, strict=True)
                text = "".join(f"{name}{value}\0" for name, value in fields)
                writer.write(message(b"E", text.encode() + b"\0"))
                await writer.drain()
                return
            writer.write(message(b"R", struct.pack("!I", 0)))
            for name, value in READY.items():
                writer.write(message(b"S", f"{name}\0{value}\0".encode()))
            writer.write(message(b"K", struct.pack("!II", 1, 1)) + message(b"Z", b"I"))
            await reader.read()  # until the client goes

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        return await reader.readexactly(length - 4)


@contextlib.asynccontextmanager
async def refusing_postgres(accepted: str, refusal: tuple[str, str, str]) -> AsyncIterator[RefusingPostgres]:
    """Run such a server on a free port of the loopback interface."""
    postgres = RefusingPostgres(accepted, refusal)
    server = await asyncio.start_server(postgres._serve, HOST, 0)
    postgres.port = server.sockets[0].getsockname()[1]
    async with server:
        yield postgres
