"""Fronts that check IAM tokens as RDS, Aurora, ElastiCache and MemoryDB do, before real servers that can't.

A front ends TLS, takes the login, checks the token by a `TokenRule`, logs in to the real server with a fixed password,
and carries the bytes from then on. MySQL's front is in `iam_mysql_front`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import secrets
import socket
import struct
from typing import TYPE_CHECKING, Self

from integrations.iam_rule import Target
from server.tls_servers import _carry, _first_of, _until_closed, _wrap

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from integrations.iam_rule import TokenRule

HOST = "127.0.0.1"
BACKEND_PASSWORD = "password of the backend"

# The codes that a client sends where a protocol's version would stand.
_SSL_REQUEST = 80877103
_GSS_REQUEST = 80877104
_CANCEL_REQUEST = 80877102


class Front:
    """Listens on a free port of the loopback interface; without a TLS context it asks for tokens in clear."""

    def __init__(self, rule: TokenRule, backend_port: int, context: ssl.SSLContext | None) -> None:
        self.rule = rule
        self.connections = 0
        """How many connections were accepted so far."""
        self.logins = 0
        """How many logins were accepted so far."""
        self.defects: list[Exception] = []
        self._backend_port = backend_port
        self._context = context
        self._changed = asyncio.Condition()
        self._serving: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Event()
        self._gate.set()
        self._waiting = 0

    async def __aenter__(self) -> Self:
        self._listener = socket.create_server((HOST, 0))
        self._listener.settimeout(0)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept())
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._accepting.cancel()
        await self._end(self._accepting, *self._serving)
        self._listener.close()
        if self.defects and error is None:
            raise ExceptionGroup("the front itself failed, so that the test proves nothing", self.defects)

    @property
    def open(self) -> int:
        """The number of connections that are open."""
        return len(self._serving)

    async def until_open(self, count: int) -> None:
        """Wait until so many connections are open."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.open == count)

    @contextlib.asynccontextmanager
    async def hanging(self) -> AsyncIterator[None]:
        """Answer no login while the block lasts."""
        self._gate.clear()
        try:
            yield
        finally:
            self._gate.set()

    async def until_hanging(self, count: int) -> None:
        """Wait until at least so many logins wait for their answer."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._waiting >= count)

    async def end_connections(self) -> None:
        """End each open connection, as a server does that restarts."""
        await self._end(*self._serving)

    def target(self) -> Target:
        """Return what a token must be for."""
        raise NotImplementedError

    async def greet(self, connection: socket.socket) -> Channel:
        """Begin to talk, and encrypt."""
        return await encrypted(connection, self._context)

    async def serve(self, channel: Channel) -> None:
        """Talk to one connection until the peer has gone."""
        raise NotImplementedError

    async def accepts(self, token: str, user: str, channel: Channel) -> bool:
        """Check a token."""
        await self._pass_gate()
        is_accepted = self.rule.accepts(token, self.target(), user, encrypted=channel.is_encrypted)
        self.logins += is_accepted
        return is_accepted

    @contextlib.asynccontextmanager
    async def backend(self) -> AsyncIterator[Channel]:
        """Connect to the real server."""
        reader, writer = await asyncio.open_connection(HOST, self._backend_port)
        channel = Channel(reader, writer, is_encrypted=False)
        try:
            yield channel
        finally:
            await channel.close()

    async def _pass_gate(self) -> None:
        await self._note(1)
        try:
            await self._gate.wait()
        finally:
            self._waiting -= 1

    async def _note(self, waiting: int = 0) -> None:
        self._waiting += waiting
        async with self._changed:
            self._changed.notify_all()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listener)
            connection.settimeout(0)
            self.connections += 1
            task = asyncio.create_task(self._connection(connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            await self._note()

    async def _connection(self, connection: socket.socket) -> None:
        channel = None
        try:
            with connection:
                channel = await self.greet(connection)
                try:
                    await self.serve(channel)
                finally:
                    await channel.close()
                    await _until_closed(connection)
        except (OSError, EOFError):
            pass  # the peer went away, or doesn't trust us, which is its right
        except Exception as error:  # noqa: BLE001 (told at the end, in the test's own task)
            self.defects.append(error)
        finally:
            self._serving.discard(asyncio.current_task())  # type: ignore[arg-type]
            await self._note()

    async def _end(self, *tasks: asyncio.Task[None]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Channel:
    """A connection's two streams."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_encrypted: bool, begun: bytes = b""
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.is_encrypted = is_encrypted
        self.begun = begun
        """What was read before the streams were made."""

    async def read(self, size: int) -> bytes:
        """Read so many bytes."""
        return await self.reader.readexactly(size)

    async def send(self, data: bytes) -> None:
        """Send all of the data."""
        self.writer.write(data)
        await self.writer.drain()

    async def splice(self, other: Channel) -> None:
        """Carry bytes both ways until either end closes."""
        await _first_of(_carry(self.reader, other.writer), _carry(other.reader, self.writer))

    async def close(self) -> None:
        """Send what is left, and close."""
        with contextlib.suppress(OSError):
            self.writer.close()
            await self.writer.wait_closed()


async def encrypted(connection: socket.socket, context: ssl.SSLContext | None, begun: bytes = b"") -> Channel:
    """Shake hands on an accepted socket; without a context, go on in clear."""
    reader, writer = await _wrap(connection, context)
    return Channel(reader, writer, is_encrypted=context is not None, begun=begun)


async def receive(connection: socket.socket, size: int) -> bytes:
    """Receive so many bytes of a socket, and none of those that follow, which may be TLS."""
    data = b""
    while len(data) < size:
        chunk = await asyncio.get_running_loop().sock_recv(connection, size - len(data))
        if not chunk:
            raise EOFError
        data += chunk
    return data


def message(kind: bytes, body: bytes) -> bytes:
    """Frame a message of PostgreSQL's."""
    return kind + struct.pack("!I", len(body) + 4) + body


class PostgresFront(Front):
    """RDS and Aurora: a user who has the role rds_iam signs in by a token as the password, in clear inside TLS.

    Words and codes are those in public reports: auth.c's, with the SQLSTATE 28000 that PostgreSQL has for PAM.
    """

    async def greet(self, connection: socket.socket) -> Channel:
        """Answer the request for encryption."""
        loop = asyncio.get_running_loop()
        while True:
            begun = await receive(connection, 8)
            (_, code) = struct.unpack("!II", begun)
            if code == _SSL_REQUEST and self._context is not None:
                await loop.sock_sendall(connection, b"S")
                return await encrypted(connection, self._context)
            if code not in {_SSL_REQUEST, _GSS_REQUEST}:
                return await encrypted(connection, None, begun)
            await loop.sock_sendall(connection, b"N")

    def target(self) -> Target:
        """Return what a token must be for."""
        return Target("rds-db", f"{HOST}:{self.port}", "eu-west-1")

    async def serve(self, channel: Channel) -> None:
        """Ask for the password, check it, and carry what follows; or pass on the request to cancel a query."""
        start = channel.begun or await channel.read(8)
        length, code = struct.unpack("!II", start)
        start += await channel.read(length - 8)
        if code == _CANCEL_REQUEST:
            async with self.backend() as backend:
                await backend.send(start)
                await backend.reader.read()
            return
        words = start[8:].split(b"\0")
        parameters = dict(zip(words[::2], words[1::2], strict=False))
        user = parameters[b"user"].decode()
        if self._context is not None and not channel.is_encrypted:
            database = parameters.get(b"database", b"").decode()
            where = f'host "{HOST}", user "{user}", database "{database}", no encryption'
            await channel.send(_fatal(f"pg_hba.conf rejects connection for {where}", "482", "ClientAuthentication"))
            return
        await channel.send(message(b"R", struct.pack("!I", 3)))  # AuthenticationCleartextPassword
        _, body = await _read_message(channel)
        if not await self.accepts(body.rstrip(b"\0").decode(), user, channel):
            await channel.send(_fatal(f'PAM authentication failed for user "{user}"', "326", "auth_failed"))
            return
        async with self.backend() as backend:
            await backend.send(start)
            await channel.send(await _sign_in(backend))
            await channel.splice(backend)


def _fatal(words: str, line: str, routine: str) -> bytes:
    fields = {"S": "FATAL", "V": "FATAL", "C": "28000", "M": words, "F": "auth.c", "L": line, "R": routine}
    text = "".join(f"{name}{value}\0" for name, value in fields.items())
    return message(b"E", text.encode() + b"\0")


async def _read_message(channel: Channel) -> tuple[bytes, bytes]:
    kind, length = struct.unpack("!cI", await channel.read(5))
    return kind, await channel.read(length - 4)


async def _sign_in(backend: Channel) -> bytes:
    """Log in by SCRAM-SHA-256 (RFC 5802); return the server's last message, which the client gets too."""
    kind, body = await _read_message(backend)
    assert (kind, body[:4]) == (b"R", struct.pack("!I", 10)), (kind, body)
    ours = f"n=,r={secrets.token_hex(9)}"
    initial = f"n,,{ours}".encode()
    await backend.send(message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(initial)) + initial))
    kind, body = await _read_message(backend)
    assert kind == b"R", body
    challenge = body[4:].decode()
    nonce, salt, iterations = (part[2:] for part in challenge.split(","))
    final = f"c=biws,r={nonce}"
    key = hashlib.pbkdf2_hmac("sha256", BACKEND_PASSWORD.encode(), base64.b64decode(salt), int(iterations))
    client_key = hmac.digest(key, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    signature = hmac.digest(stored_key, f"{ours},{challenge},{final}".encode(), "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    await backend.send(message(b"p", f"{final},p={base64.b64encode(proof).decode()}".encode()))
    kind, body = await _read_message(backend)
    assert kind == b"R", body
    return message(*await _read_message(backend))


class ValkeyFront(Front):
    """ElastiCache and MemoryDB: the token is the password of AUTH and HELLO, also on an open connection."""

    def __init__(self, rule: TokenRule, backend_port: int, context: ssl.SSLContext | None, target: Target) -> None:
        super().__init__(rule, backend_port, context)
        self._target = target

    def target(self) -> Target:
        """Return what a token must be for."""
        return self._target

    async def serve(self, channel: Channel) -> None:
        """Carry commands and answers, and replace passwords."""
        async with self.backend() as backend:
            await _first_of(self._carry_commands(channel, backend), _carry(backend.reader, channel.writer))

    async def _carry_commands(self, channel: Channel, backend: Channel) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                words = await _read_command(channel)
                place = _place_of_password(words)
                if place is not None:
                    user, token = words[place - 1].decode(), words[place].decode()
                    is_accepted = await self.accepts(token, user, channel)
                    # The server itself answers, in the order of the commands, and in its own words.
                    words[place] = BACKEND_PASSWORD.encode() if is_accepted else b"refused"
                parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
                await backend.send(b"*%d\r\n%b" % (len(words), parts))


async def _read_command(channel: Channel) -> list[bytes]:
    count = int((await channel.reader.readuntil(b"\r\n"))[1:])
    words = []
    for _ in range(count):
        size = int((await channel.reader.readuntil(b"\r\n"))[1:])
        words.append((await channel.read(size + 2))[:-2])
    return words


def _place_of_password(words: list[bytes]) -> int | None:
    """Return the place of the password in AUTH and in HELLO's AUTH; None in other commands."""
    upper = [word.upper() for word in words[:3]]
    if upper[0] == b"AUTH":
        return len(words) - 1
    if upper[0] == b"HELLO" and upper[2:] == [b"AUTH"]:
        return 4
    return None
