"""MySQL's front: RDS and Aurora check the token of a user whose plugin is AWSAuthenticationPlugin."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import struct
from typing import TYPE_CHECKING, NamedTuple

from integrations.iam_fronts import BACKEND_PASSWORD, HOST, Channel, Front, encrypted, receive
from integrations.iam_rule import Target

if TYPE_CHECKING:
    import socket

_CONNECT_WITH_DB = 1 << 3
_SSL = 1 << 11
_PLUGIN_AUTH = 1 << 19
_CONNECT_ATTRIBUTES = 1 << 20
_LONG_DATA = 1 << 21
# Long passwords and flags, found rows, protocol 4.1, transactions, secure connection, several statements and results,
# plugins, attributes and long authentication data. What MariaDB can do beside these isn't offered.
_OFFERED = 0x3FA20F
_NATIVE = b"mysql_native_password\0"
_TWO_BYTES = 0xFC
"""The mark of a length that has two bytes."""


class Login(NamedTuple):
    """What a client says of itself."""

    flags: int
    user: str
    password: bytes
    database: bytes
    plugin: bytes


def packet(number: int, body: bytes) -> bytes:
    """Frame a packet of MySQL's."""
    return struct.pack("<I", len(body))[:3] + bytes([number]) + body


class MySQLFront(Front):
    """Asks for `mysql_clear_password` as RDS does, and refuses in MySQL's words."""

    async def greet(self, connection: socket.socket) -> Channel:
        """Greet, and encrypt if the client asks for it."""
        await asyncio.get_running_loop().sock_sendall(connection, packet(0, greeting(_SSL if self._context else 0)))
        head = await receive(connection, 4)
        body = await receive(connection, int.from_bytes(head[:3], "little"))
        (flags,) = struct.unpack_from("<I", body)
        if flags & _SSL and len(body) == 32:
            if self._context is None:
                raise EOFError  # encryption wasn't offered
            return await encrypted(connection, self._context)
        return await encrypted(connection, None, head + body)

    def target(self) -> Target:
        """Return what a token must be for."""
        return Target("rds-db", f"{HOST}:{self.port}", "eu-west-1")

    async def serve(self, channel: Channel) -> None:
        """Ask for the password, check it, and carry what follows."""
        answer = channel.begun
        number = answer[3] if answer else 0
        body = answer[4:]
        if not answer:
            number, body = await _read_packet(channel)
        login = _login_in(body)
        if self._context is not None and not channel.is_encrypted:
            await channel.send(packet(number + 1, denied(login.user)))
            return
        password = login.password
        if login.plugin != b"mysql_clear_password":
            await channel.send(packet(number + 1, b"\xfemysql_clear_password\0"))
            number, password = await _read_packet(channel)
        if not await self.accepts(password.rstrip(b"\0").decode(), login.user, channel):
            await channel.send(packet(number + 1, denied(login.user)))
            return
        async with self.backend() as backend:
            await _sign_in(backend, login)
            await channel.send(packet(number + 1, b"\0\0\0\2\0\0\0"))
            await channel.splice(backend)


def greeting(more: int = 0) -> bytes:
    """Return what a server says first; `more` are capabilities besides those that each server here has."""
    offered = _OFFERED | more
    salt = bytes(1 + byte % 127 for byte in secrets.token_bytes(20))
    low, high = offered & 0xFFFF, offered >> 16
    begin = b"\x0a" + b"8.4.6\0" + struct.pack("<I", 1) + salt[:8] + b"\0"
    return begin + struct.pack("<HBHHB10x", low, 45, 2, high, 21) + salt[8:] + b"\0" + _NATIVE


def denied(user: str) -> bytes:
    """Return the server's refusal of a user's password."""
    words = f"Access denied for user '{user}'@'{HOST}' (using password: YES)"
    return b"\xff" + struct.pack("<H", 1045) + b"#28000" + words.encode()


async def _read_packet(channel: Channel) -> tuple[int, bytes]:
    head = await channel.read(4)
    return head[3], await channel.read(int.from_bytes(head[:3], "little"))


def _login_in(body: bytes) -> Login:
    """Read a HandshakeResponse41."""
    (flags,) = struct.unpack_from("<I", body)
    user, _, rest = body[32:].partition(b"\0")
    size = rest[0]
    rest = rest[1:]
    if size == _TWO_BYTES:
        size = int.from_bytes(rest[:2], "little")
        rest = rest[2:]
    password = rest[:size]
    rest = rest[size:]
    database = b""
    if flags & _CONNECT_WITH_DB:
        database, _, rest = rest.partition(b"\0")
    plugin = rest.partition(b"\0")[0]
    return Login(flags, user.decode(), password, database, plugin)


async def _sign_in(backend: Channel, login: Login) -> None:
    """Log in to the real server by `mysql_native_password`, with the client's own flags."""
    _, greeting = await _read_packet(backend)
    _, _, rest = greeting.partition(b"\0")
    scramble = _scramble(rest[4:12] + rest[31:43])
    flags = (login.flags | _PLUGIN_AUTH) & ~_SSL & ~_CONNECT_ATTRIBUTES & ~_LONG_DATA
    answer = struct.pack("<IIB23x", flags, 1 << 24, 45) + login.user.encode() + b"\0"
    answer += bytes([len(scramble)]) + scramble
    if flags & _CONNECT_WITH_DB:
        answer += login.database + b"\0"
    await backend.send(packet(1, answer + _NATIVE))
    _, said = await _read_packet(backend)
    assert said[0] == 0, said


def _scramble(salt: bytes) -> bytes:
    first = hashlib.sha1(BACKEND_PASSWORD.encode()).digest()  # noqa: S324 (MySQL's)
    second = hashlib.sha1(salt + hashlib.sha1(first).digest()).digest()  # noqa: S324 (MySQL's)
    return bytes(a ^ b for a, b in zip(first, second, strict=True))
