"""The requests to the agent, by aiohttp. `loading` imports this module in a thread."""

# The stubs of aiohttp don't have the private attributes that closing without a loop needs.
# pyright: reportPrivateUsage=false

from __future__ import annotations

import errno
import os
import re
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from aiocredentials._aws.origins import reason_of_the_system
from aiocredentials._aws.sockets import close_socket

HEADER = "X-Aws-Parameters-Secrets-Token"
LONGEST_BODY = 1 << 20
"""In bytes. A secret has at most 64 KiB, and JSON makes at most six characters of one."""

# In seconds. The agent ends each connection after 61 s. It closes idle ones no sooner, and counts
# them, so we close ours early.
_KEEP_ALIVE = 15.0
CONNECT = 2.0
"""How long making a connection may take."""
READ = 5.0
"""How long the agent may send nothing: it may have to ask AWS."""

TOO_MANY = 429


class Reply:
    """A status and a body. It has no fields that a repr shows, because the body may be a value."""

    __slots__ = ("body", "status")

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body


class NoReply(NamedTuple):
    """Why there is no reply. The words contain nothing that the other side sent."""

    kind: str
    """`unreachable`, `lost` (an open connection ended), `silent` or `malformed`."""
    words: str


class _Response(aiohttp.ClientResponse):
    """A response that ends its connection if its status is 429.

    Otherwise every later answer on this connection would be 429 as well.
    """

    async def start(self, connection: Any) -> Any:  # noqa: ANN401 (aiohttp's)
        protocol = connection.protocol
        await super().start(connection)
        if self.status == TOO_MANY:
            # aiohttp may have put the connection back already: it drops one that is closed.
            protocol.close()
        return self


class _NotConnectedError(Exception):
    """Making a connection took too long. aiohttp before 3.10 has no error for that."""


class _Connector(aiohttp.TCPConnector):
    """A connector that can be closed without its loop.

    The connector of `_aws.transport` has the same methods. That module imports aiobotocore, which a
    process that only asks the agent doesn't need; and a module for both would be one more import on
    the way to each first value from AWS.
    """

    async def connect(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (aiohttp's)
        """Drop idle connections that have received something unasked for.

        Otherwise it would be read as the next answer.
        """
        for protocol in self._idle():
            if protocol.should_close:
                protocol.close()
        try:
            return await super().connect(*args, **kwargs)
        except TimeoutError:
            raise _NotConnectedError from None

    def abandon(self) -> None:
        """Close the sockets of an event loop that is closed; aiohttp would only log a warning."""
        idle = self._idle()
        for protocol in [*idle, *self._acquired]:
            close_socket(protocol.transport)
        self._close()

    def _idle(self) -> list[Any]:
        protocols: list[Any] = []
        for connections in self._conns.values():
            protocols += [protocol for protocol, _ in connections]
        return protocols


class Connections:
    """Connections to one address, for one event loop."""

    def __init__(self, url: str, limit: int) -> None:
        self._url = url
        self._connector = _Connector(limit=limit, keepalive_timeout=_KEEP_ALIVE)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            response_class=_Response,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ),
            trust_env=False,
            auto_decompress=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "aiocredentials"},
        )

    async def get(self, target: str, token: str | None = None) -> Reply | NoReply:
        """Return the reply to a GET request, or why there is none.

        `target` is the path and the query, with percent escapes.
        """
        headers: dict[str, str] = {}
        if token is not None:
            headers[HEADER] = token
        url = URL(self._url + target, encoded=True)
        try:
            request = self._session.get(url, headers=headers, allow_redirects=False)
            async with request as response:
                return await _read(response)
        except aiohttp.ClientConnectorError as error:
            return NoReply("unreachable", _words(error))
        except (_NotConnectedError, TimeoutError) as error:
            return NoReply("silent", _words_if_late(error))
        except aiohttp.ClientPayloadError:
            return NoReply("malformed", "its answer is incomplete")
        except (aiohttp.ServerDisconnectedError, OSError) as error:
            return NoReply("lost", _words(error))
        except (aiohttp.ClientError, ValueError) as error:
            return NoReply("malformed", f"it isn't HTTP ({type(error).__name__})")

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    def abandon(self) -> None:
        """Close the sockets of an event loop that is closed; aiohttp would only log a warning."""
        self._connector.abandon()


async def _read(response: aiohttp.ClientResponse) -> Reply | NoReply:
    if response.status == TOO_MANY:
        return Reply(TOO_MANY, b"")
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > LONGEST_BODY:
            response.close()
            mebibytes = LONGEST_BODY >> 20
            return NoReply("malformed", f"its answer is longer than {mebibytes} MiB")
    return Reply(response.status, bytes(body))


def _words_if_late(error: Exception) -> str:
    if isinstance(error, _NotConnectedError):
        return f"no connection within {CONNECT:g} s"
    return f"it sent nothing for {READ:g} s"


def _words(error: Exception) -> str:
    """Return the reason of the system, without the addresses that were tried."""
    # A host with several addresses has several reasons, which are in the text alone.
    known = re.search(r"\[Errno (\d+)\]", str(error))
    number = getattr(error, "errno", None) or (known and int(known[1]))
    if isinstance(number, int) and number in errno.errorcode:
        return os.strerror(number)
    return reason_of_the_system(error) or type(error).__name__
