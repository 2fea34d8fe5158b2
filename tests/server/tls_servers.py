"""Servers on loopback that speak just enough AWS, over real sockets, and remember all that reached them.

Each accepts by hand (`sock_accept`, then `connect_accepted_socket`) and not through `asyncio.Server`: so a failed
handshake is an exception that can be kept, a connection that sends nothing is counted as well, and closing means the
same on every Python.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Mapping
    from types import TracebackType

_HOST = "127.0.0.1"
_HANDSHAKE_SECONDS = 5.0
_ACCOUNT = "123456789012"
_SECRET_ARN = re.compile(r"arn:[^:]+:secretsmanager:[^:]+:\d+:secret:(?P<name>.+)-[A-Za-z0-9]{6}")
_SIGNING_REGION = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request as it came in; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    client: str | None = None
    """The common name of the client's certificate, where the server asked for one."""


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP answer."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_json(cls, value: object, status: int = 200) -> Self:
        """The value as AWS sends JSON."""
        return cls(json.dumps(value).encode(), status, {"Content-Type": "application/x-amz-json-1.1"})

    def encode(self) -> bytes:
        """The answer as it goes over the wire; the connection stays open."""
        headers = {**self.headers, "Content-Length": str(len(self.body))}
        lines = [f"HTTP/1.1 {self.status} {_phrase(self.status)}", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class LoopbackServer:
    """Accepts connections on a loopback port and hands each one, decrypted, to `serve`."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._greeting: set[asyncio.Future[None]] = set()
        self.connections = 0
        self.handshake_failures: list[OSError] = []
        self.defects: list[Exception] = []

    @property
    def port(self) -> int:
        """The port it listens on; there is one only while it is open."""
        assert self._listener is not None, "open the server first"
        port: int = self._listener.getsockname()[1]
        return port

    def url(self, host: str = "localhost") -> str:
        """Its origin under the given name."""
        return f"{'https' if self._context else 'http'}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener = socket.create_server((_HOST, 0))
        self._listener.settimeout(0)
        self._accepting = asyncio.create_task(self._accept(self._listener))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._accepting is not None
        assert self._listener is not None
        for task in (self._accepting, *self._serving):
            task.cancel()
        await asyncio.gather(self._accepting, *self._serving, return_exceptions=True)
        self._listener.close()
        if self.defects and error is None:
            raise ExceptionGroup("the server itself failed, so that the test proves nothing", self.defects)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to one connection until the peer has gone."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Wait until each handshake that a client began has succeeded or failed.

        A client that refuses a certificate is done before the server has read why.
        """
        while self._greeting:
            await asyncio.wait(self._greeting)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(listener)
            self.connections += 1
            task = asyncio.create_task(self._connection(connection))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _connection(self, connection: socket.socket) -> None:
        with connection:
            greeted = asyncio.get_running_loop().create_future()
            self._greeting.add(greeted)
            try:
                reader, writer = await _wrap(connection, self._context)
            except OSError as error:  # ssl.SSLError is one
                self.handshake_failures.append(error)
                await _until_closed(connection)
                return
            finally:
                self._greeting.discard(greeted)
                greeted.set_result(None)
            try:
                await self.serve(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass  # the peer went away, which is its right
            except Exception as error:  # noqa: BLE001 - told at the end, in the test's own task
                self.defects.append(error)
            finally:
                writer.transport.abort()
                await _until_closed(connection)


class HTTPServer(LoopbackServer):
    """Reads requests, keeps them in `requests` and sends what `answer` returns."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.requests: list[Request] = []

    def answer(self, request: Request) -> Response:
        """What to send back."""
        raise NotImplementedError

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer request after request on the one connection."""
        client = _client_of(writer)
        while True:
            request = await _read_request(reader, client)
            self.requests.append(request)
            writer.write(self.answer(request).encode())
            await writer.drain()


class Trap(HTTPServer):
    """The origin that nothing may ever reach: it counts connections, keeps requests and answers `{}`."""

    @property
    def is_untouched(self) -> bool:
        """Whether nobody so much as connected; a connection that still waits to be accepted counts."""
        assert self._listener is not None, "open the trap first"
        with contextlib.suppress(BlockingIOError):
            waiting, _ = self._listener.accept()
            self.connections += 1
            waiting.close()
        return not self.connections and not self.requests

    def answer(self, request: Request) -> Response:  # noqa: ARG002 (everyone gets the same)
        """An empty object, so that whoever did come is not kept waiting."""
        return Response.of_json({})


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that sends the caller elsewhere."""

    location: str
    status: int
    body: bytes = b""

    def response(self) -> Response:
        """The redirect as an answer."""
        return Response(self.body, self.status, {"Location": self.location})


class AWSServer(HTTPServer):
    """A stub that answers, or, where it is told to, redirects."""

    def __init__(self, context: ssl.SSLContext | None = None, *, redirect: Redirect | None = None) -> None:
        super().__init__(context)
        self.redirect = redirect

    def answer(self, request: Request) -> Response:
        """The redirect if there is one, else the service's own answer."""
        return self.redirect.response() if self.redirect else self.service(request)

    def service(self, request: Request) -> Response:
        """The service's own answer."""
        raise NotImplementedError


class SecretsManagerStub(AWSServer):
    """Secrets Manager's GetSecretValue: any secret exists, and all of them hold `value`."""

    value = json.dumps({"username": "app", "password": "not-a-real-password"})

    def service(self, request: Request) -> Response:
        """One version of the secret that was asked for, by name or by ARN, signed for any region."""
        operation = request.headers.get("x-amz-target", "")
        if operation != "secretsmanager.GetSecretValue":
            return Response.of_json({"__type": "UnknownOperationException", "Message": operation}, 400)
        secret_id: str = json.loads(request.body)["SecretId"]
        by_arn = _SECRET_ARN.fullmatch(secret_id)
        name = by_arn["name"] if by_arn else secret_id
        signed = _SIGNING_REGION.search(request.headers.get("authorization", ""))
        region = signed["region"] if signed else "us-east-1"
        return Response.of_json(
            {
                "ARN": secret_id if by_arn else f"arn:aws:secretsmanager:{region}:{_ACCOUNT}:secret:{name}-AbCdEf",
                "Name": name,
                "VersionId": "5048ba5a-3d18-4f1a-9a22-5d1b6ff5e3a1",
                "VersionStages": ["AWSCURRENT"],
                "CreatedDate": 1_700_000_000.0,
                "SecretString": self.value,
            }
        )


class SecurityTokenStub(AWSServer):
    """STS's AssumeRoleWithWebIdentity: every token is good."""

    def service(self, request: Request) -> Response:
        """Temporary credentials, in the XML of the query protocol."""
        form = parse_qs(request.body.decode())
        if form.get("Action") != ["AssumeRoleWithWebIdentity"]:
            return Response(b"<ErrorResponse/>", 400, {"Content-Type": "text/xml"})
        role = form["RoleArn"][0].rsplit("/", 1)[-1]
        session = form["RoleSessionName"][0]
        body = f"""\
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>system:serviceaccount:tests:app</SubjectFromWebIdentityToken>
    <Audience>sts.amazonaws.com</Audience>
    <AssumedRoleUser>
      <Arn>arn:aws:sts::{_ACCOUNT}:assumed-role/{role}/{session}</Arn>
      <AssumedRoleId>AROAEXAMPLEROLEIDENT:{session}</AssumedRoleId>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIAFROMWEBIDENTITY0</AccessKeyId>
      <SecretAccessKey>key-from-web-identity</SecretAccessKey>
      <SessionToken>token-from-web-identity</SessionToken>
      <Expiration>{_in_an_hour():%Y-%m-%dT%H:%M:%SZ}</Expiration>
    </Credentials>
    <Provider>arn:aws:iam::{_ACCOUNT}:oidc-provider/issuer.example</Provider>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>6f2a0c3e-0000-4000-8000-000000000001</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>
"""
        return Response(body.encode(), 200, {"Content-Type": "text/xml"})


class SingleSignOnStub(AWSServer):
    """IAM Identity Center's GetRoleCredentials: every access token is good."""

    def service(self, request: Request) -> Response:
        """Temporary credentials, as the portal's REST interface sends them."""
        if not request.target.startswith("/federation/credentials?"):
            return Response.of_json({"message": "no such operation"}, 404)
        return Response.of_json(
            {
                "roleCredentials": {
                    "accessKeyId": "ASIAFROMSINGLESIGNON",
                    "secretAccessKey": "key-from-single-sign-on",
                    "sessionToken": "token-from-single-sign-on",
                    "expiration": int(_in_an_hour().timestamp() * 1000),
                }
            }
        )


class ContainerStub(AWSServer):
    """The credentials endpoint that ECS and EKS give a container."""

    def service(self, request: Request) -> Response:  # noqa: ARG002 (everyone gets the same)
        """Temporary credentials, as the agent sends them."""
        return Response.of_json(
            {
                "AccessKeyId": "ASIAFROMCONTAINER000",
                "SecretAccessKey": "key-from-container",
                "Token": "token-from-container",
                "Expiration": f"{_in_an_hour():%Y-%m-%dT%H:%M:%SZ}",
            }
        )


class ConnectProxy(LoopbackServer):
    """An HTTP proxy that tunnels, and only to loopback.

    `hosts` maps an authority as a client asks for it (`secretsmanager.example:443`) to a port of this machine.
    `refusal` makes it answer every CONNECT with that status, 407 for one.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        hosts: Mapping[str, int] | None = None,
        refusal: int | None = None,
    ) -> None:
        super().__init__(context)
        self._hosts = dict(hosts or {})
        self._refusal = refusal
        self.requests: list[Request] = []

    @property
    def tunnels(self) -> list[str]:
        """The authorities that CONNECT was asked for, in order."""
        return [request.target for request in self.requests if request.method == "CONNECT"]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Open the one tunnel that the connection asks for, and carry bytes until either end closes."""
        request = await _read_request(reader, None)
        self.requests.append(request)
        port = self._port_for(request.target)
        if self._refusal is not None or request.method != "CONNECT" or port is None:
            status = self._refusal or (502 if request.method == "CONNECT" else 405)
            asks = {"Proxy-Authenticate": 'Basic realm="proxy"'} if status == 407 else {}
            writer.write(Response(b"", status, {**asks, "Connection": "close"}).encode())
            await writer.drain()
            return
        with socket.create_connection((_HOST, port)) as connection:
            connection.settimeout(0)
            upstream_reader, upstream_writer = await asyncio.open_connection(sock=connection)
            try:
                # No Content-Length: what follows a 200 to CONNECT is the tunnel.
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await writer.drain()
                await _first_of(_carry(reader, upstream_writer), _carry(upstream_reader, writer))
            finally:
                upstream_writer.transport.abort()
                await _until_closed(connection)

    def _port_for(self, authority: str) -> int | None:
        if authority in self._hosts:
            return self._hosts[authority]
        target = urlsplit(f"//{authority}")
        return target.port if target.hostname in {"localhost", _HOST} else None


async def _wrap(
    connection: socket.socket, context: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(
        lambda: protocol,
        connection,
        ssl=context,
        ssl_handshake_timeout=_HANDSHAKE_SECONDS if context else None,
    )
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _until_closed(connection: socket.socket) -> None:
    # A transport closes its socket in a later turn of the loop; one closed before that would be closed under its feet.
    while connection.fileno() != -1:  # noqa: ASYNC110 (nothing tells when)
        await asyncio.sleep(0)


async def _read_request(reader: asyncio.StreamReader, client: str | None) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body, client)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


async def _first_of(*carriers: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(carrier) for carrier in carriers]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _client_of(writer: asyncio.StreamWriter) -> str | None:
    certificate = writer.get_extra_info("peercert")
    if not certificate:
        return None
    names = [value for part in certificate["subject"] for kind, value in part if kind == "commonName"]
    return names[0] if names else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)
