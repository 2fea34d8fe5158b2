"""An STS on the loopback interface that knows each role, counts what it is asked, and can refuse, fail and hang."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from leaks.canary import TOKEN
from server.tls_servers import HTTPServer, Request, Response, _read_request

if TYPE_CHECKING:
    import ssl

ROLE = "arn:aws:iam::123456789012:role/reader"
OTHER_ROLE = "arn:aws:iam::210987654321:role/teams/other"
EXTERNAL_ID = "canary-external-id"
HOUR = 3600.0
DENIED = (
    "User: arn:aws:iam::123456789012:user/app is not authorized to perform: sts:AssumeRole on resource: "
    "arn:aws:iam::123456789012:role/reader"
)
_NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"'


class Assumption(NamedTuple):
    """One AssumeRole that arrived."""

    parameters: dict[str, str]
    access_key: str
    region: str


class RoleStub(HTTPServer):
    """Assumes each role: the first one gets the key ASIA0001, the second one ASIA0002."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(context)
        self.asked: list[Assumption] = []
        self.issued = 0
        self.name_nobody = False
        self.redirect: Response | None = None
        self.life = HOUR
        self.clock = lambda: datetime.now(UTC).timestamp()
        self.gate = asyncio.Event()
        self.gate.set()
        self.hanging = ""
        """The region whose STS waits for the gate; empty for all regions."""
        self._answers: deque[Response] = deque()
        self._arrived = asyncio.Condition()

    def refuse(self, code: str = "AccessDenied", message: str = DENIED, *, status: int = 403, times: int = 1) -> None:
        """Answer the next requests with an error."""
        body = (
            f"<ErrorResponse {_NAMESPACE}><Error><Type>Sender</Type><Code>{code}</Code>"
            f"<Message>{message}</Message></Error><RequestId>stub</RequestId></ErrorResponse>"
        )
        self._answers.extend([Response(body.encode(), status, {"Content-Type": "text/xml"})] * times)

    def send(self, body: str) -> None:
        """Answer the next request with this body."""
        self._answers.append(Response(body.encode(), 200, {"Content-Type": "text/xml"}))

    async def arrival(self, count: int = 1) -> None:
        """Wait until `count` requests have arrived since the start."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.asked) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer request after request, each of them when the gate is open."""
        while True:
            request = await _read_request(reader, None)
            async with self._arrived:
                self.asked.append(assumption_in(request))
                self._arrived.notify_all()
            if self.hanging in {"", self.asked[-1].region}:
                await self.gate.wait()
            writer.write(self.answer(request).encode())
            await writer.drain()

    def answer(self, request: Request) -> Response:
        """Return the queued answer, or credentials."""
        if self._answers:
            return self._answers.popleft()
        if self.redirect:
            return self.redirect
        return Response(self.credentials(request).encode(), 200, {"Content-Type": "text/xml"})

    def credentials(self, request: Request) -> str:
        """Issue credentials, in the XML of the query protocol."""
        form = dict(parse_qsl(request.body.decode()))
        if form["Action"] == "GetCallerIdentity":
            return (
                f"<GetCallerIdentityResponse {_NAMESPACE}><GetCallerIdentityResult>"
                "<Arn>arn:aws:iam::123456789012:user/app</Arn><UserId>AIDAMADEUP</UserId>"
                "<Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
            )
        self.issued += 1
        end = datetime.fromtimestamp(self.clock() + self.life, UTC) + timedelta(microseconds=1)
        account = form["RoleArn"].split(":")[4]
        name = form["RoleArn"].rpartition("/")[2]
        identity = (
            f"<AssumedRoleUser><Arn>arn:aws:sts::{account}:assumed-role/{name}/{form['RoleSessionName']}</Arn>"
            "<AssumedRoleId>AROAMADEUP:x</AssumedRoleId></AssumedRoleUser>"
        )
        return (
            f"<AssumeRoleResponse {_NAMESPACE}><AssumeRoleResult>{'' if self.name_nobody else identity}<Credentials>"
            f"<AccessKeyId>ASIA{self.issued:04}</AccessKeyId><SecretAccessKey>{TOKEN}</SecretAccessKey>"
            f"<SessionToken>{TOKEN}</SessionToken><Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration>"
            "</Credentials></AssumeRoleResult></AssumeRoleResponse>"
        )


def assumption_in(request: Request) -> Assumption:
    """Read who asked which STS for which role."""
    scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/sts/", request.headers["authorization"])
    assert scope is not None
    return Assumption(dict(parse_qsl(request.body.decode())), scope[1], scope[2])
