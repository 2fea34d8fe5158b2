"""What our aioboto3 sessions are made of: a transport that can be trusted, and models that are loaded once a process.

aiobotocore before 3.9 accepts a trusted certificate for any host name and verifies nothing behind a proxy, and every
release follows redirects with the session token in hand. The classes here don't. They hang on private hooks of
aiobotocore and aiohttp; tests over real TLS sockets hold what they promise, and a hook that is gone fails at import.

This module imports aioboto3 (300 ms): `_session` imports it in a thread, when the first session is opened.
"""

# The stubs of aiobotocore and aiohttp don't have the private hooks that this module is about.
# mypy: disable-error-code="attr-defined, has-type, misc, no-any-return, override, union-attr"
# pyright: basic, reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
# ruff: noqa: ANN401, PYI036, SLF001

from __future__ import annotations

import asyncio
import inspect
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession

from aiocredentials._aws.tls import prepare_context, ssl_context
from aiocredentials.errors import RedirectError, TransportError

if TYPE_CHECKING:
    import ssl


if not inspect.iscoroutinefunction(
    getattr(AIOHTTPSession, "_get_session", None)
):  # pragma: no cover (no such release)
    raise ImportError(
        "This aiobotocore opens connections in a way that aiocredentials can't make safe: install another release."
    )

_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})
_LONGEST_BODY = 16 << 20


class TrustedSession(AIOHTTPSession):
    """aiobotocore's HTTP session, made to check host names, also behind a proxy, and to follow no redirect.

    `_get_session` is the one method through which every request of both lines of aiobotocore gets its connection;
    `_create_connector`, which it replaces, is sync in one line and async in the other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._verify in {None, ""}:
            self._verify = True  # AWS_CA_BUNDLE="" would switch verification off
        self._changing = asyncio.Lock()
        self._is_open = False

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._is_open = True
        return self

    async def __aexit__(self, *exc: Any) -> None:
        async with (
            self._changing
        ):  # a close that comes while a connector is being made waits for it
            self._is_open = False
            await super().__aexit__(*exc)

    async def _get_session(self, proxy_url: str | None) -> _WithoutRedirects:
        if self._is_open and (session := self._sessions.get(proxy_url)):
            return _WithoutRedirects(session)
        async with self._changing:
            if not self._is_open:
                raise aiohttp.ClientConnectionError("the HTTP session is closed")
            if proxy_url not in self._sessions:
                self._sessions[proxy_url] = await self._new_session(proxy_url)
            return _WithoutRedirects(self._sessions[proxy_url])

    async def _new_session(self, proxy_url: str | None) -> aiohttp.ClientSession:
        endpoint, proxy = await ssl_context(self._verify, self._cert_file, self._key_file), None
        if proxy_url and proxy_url.startswith("https:"):
            settings = self._proxy_config.settings
            certificate = settings.get("proxy_client_cert")
            pair = certificate if isinstance(certificate, tuple) else (certificate, None)
            proxy = await ssl_context(settings.get("proxy_ca_bundle") or self._verify, *pair)
        return await self._exit_stack.enter_async_context(self._connecting(endpoint, proxy))

    def _connecting(
        self,
        endpoint: ssl.SSLContext,
        proxy: ssl.SSLContext | None,
    ) -> aiohttp.ClientSession:
        connector = _Connector(
            proxy, limit=self._max_pool_connections, ssl=endpoint, **self._connector_args
        )
        # The same as aiobotocore's own, but for the connector.
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            skip_auto_headers={"CONTENT-TYPE"},
            auto_decompress=False,
            response_class=_BoundedResponse,
        )

    def prepare(self) -> None:
        """Build in this thread what the first request would wait for."""
        prepare_context(self._verify, self._cert_file, self._key_file)

    def abandon(self) -> None:
        """Close the sockets when the event loop is closed already; the rest needs the loop."""
        for session in list((self._sessions or {}).values()):
            session.connector.abandon()

    async def send(self, request: Any) -> Any:
        """Send the request, unless the endpoint isn't verified, and refuse an answer that points elsewhere."""
        if self._verify is False and not is_loopback(request.url):
            raise TransportError(
                why="verify=False is for endpoints on this machine only; give a CA bundle instead"
            )
        if "@" in urlsplit(request.url).netloc:
            # aiohttp would refuse it too, with an error that names neither.
            sent = "can't be sent beside AWS's own signature"
            raise TransportError(why=f"a user and a password in endpoint_url {sent}")
        # Here as well: what super().send() meets, it wraps, and botocore would repeat it.
        await self._get_session(self._proxy_config.proxy_url_for(request.url))
        response = await super().send(request)
        if response.status_code in _REDIRECTS:
            raise RedirectError(
                why=f"it answered with a redirect (HTTP {response.status_code}), which isn't followed"
            )
        return response


class _WithoutRedirects:
    """All of a ClientSession that aiobotocore's `send` uses; aiohttp warns of a subclass and of new attributes."""

    __slots__ = ("_session",)

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    def request(self, method: str, url: Any, **kwargs: Any) -> Any:
        return self._session.request(method, url, **kwargs, allow_redirects=False)


class _BoundedResponse(aiohttp.ClientResponse):
    """A body is read as far as an answer can be long; Secrets Manager's are 1.3 MiB at most, in a batch."""

    def __repr__(self) -> str:
        """Leave out the headers, which aiohttp prints: a redirect may have anything in its target."""
        return f"<{type(self).__name__} {self.status}>"

    async def read(self) -> bytes:
        body = bytearray()
        try:
            async for piece in self.content.iter_any():
                body += piece
                if len(body) > _LONGEST_BODY:
                    break
            else:
                return bytes(body)
        except BaseException:
            self.close()
            raise
        self.close()
        raise TransportError(why=f"its answer is longer than {_LONGEST_BODY >> 20} MiB")


class _Connector(aiohttp.TCPConnector):
    """aiohttp has one TLS context for an https:// proxy and for the endpoint; a proxy mustn't get our certificate."""

    def __init__(self, proxy_context: ssl.SSLContext | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._proxy_context = proxy_context

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Drop idle connections that have brought what nobody asked for: it would pass for the next answer."""
        for idle in self._conns.values():
            for protocol, _ in idle:
                if protocol.should_close:
                    protocol.close()
        return await super().connect(*args, **kwargs)

    def abandon(self) -> None:
        """Close the sockets of an event loop that is closed; aiohttp would only complain."""
        protocols = [protocol for idle in self._conns.values() for protocol, _ in idle]
        for protocol in [*protocols, *self._acquired]:
            _close_socket(protocol.transport)
        self._close()

    def _update_proxy_auth_header_and_build_proxy_req(self, req: Any) -> Any:
        proxy_request = super()._update_proxy_auth_header_and_build_proxy_req(req)
        if self._proxy_context is not None:
            proxy_request._ssl = self._proxy_context
        return proxy_request


def _close_socket(transport: Any) -> None:
    """Close the socket of a transport whose event loop is closed, quietly.

    Its own methods would ask the loop to do it. uvloop closes the sockets with the loop; there is
    nothing left to do.
    """
    while (tls := getattr(transport, "_ssl_protocol", None)) is not None:
        transport._closed = True
        transport = tls._transport
    sock = getattr(transport, "_sock", None)
    if sock is not None:
        transport._sock = None
        sock.close()


class TrustedConfig(AioConfig):
    """A config that keeps `TrustedSession` when botocore merges it: aiobotocore 2 forgets the class in `merge`.

    As the default config of a session it reaches the credential chain's clients too, which bring configs of their own.
    """

    def __init__(self, connector_args: Any = None, **options: Any) -> None:
        options.pop("http_session_cls", None)
        super().__init__(connector_args=connector_args, http_session_cls=TrustedSession, **options)

    def merge(self, other_config: Any) -> TrustedConfig:
        """Return both configs as one, in which the other's explicit options win, and the session class stays ours."""
        options = {**self._user_provided_options, **other_config._user_provided_options}
        options.pop("connector_args", None)
        return TrustedConfig(
            {**self.connector_args, **getattr(other_config, "connector_args", {})}, **options
        )


def transport_of(client: object) -> TrustedSession:
    """Return the HTTP session that a client really got. Raises `TypeError` if it isn't one that can be trusted."""
    transport = getattr(getattr(client, "_endpoint", None), "http_session", None)
    if not isinstance(transport, TrustedSession):
        raise TypeError(
            f"the client came with a {type(transport).__name__}, which doesn't check what it connects to"
        )
    return transport


def abandon(client: object) -> None:
    """Close the sockets of a client whose event loop is closed."""
    transport_of(client).abandon()


def is_loopback(url: str) -> bool:
    """Whether the URL is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
