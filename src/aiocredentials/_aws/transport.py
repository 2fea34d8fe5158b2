"""The HTTP transport of our sessions, and the config that keeps it: both can be trusted.

aiobotocore before 3.9 accepts a trusted certificate for any host name and verifies nothing behind a
proxy, and every release sends the session token to wherever a redirect points. The classes here
don't. They depend on private hooks of aiobotocore and aiohttp. Tests over real TLS sockets hold
these promises, and a missing hook is an error at import.

Importing this module imports aiobotocore and aiohttp: `loading` does that in a thread, when the
first session is opened. `tls` makes the TLS contexts, `aiosession` the sessions.
"""

# The stubs of aiobotocore and aiohttp don't have the private hooks that this module uses.
# mypy: disable-error-code="attr-defined, has-type, no-any-return"
# pyright: basic, reportAttributeAccessIssue=false
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

from aiocredentials._aws.sockets import close_socket
from aiocredentials._aws.tls import ssl_context
from aiocredentials.errors import RedirectError, TransportError

if TYPE_CHECKING:
    import ssl


_hook = getattr(AIOHTTPSession, "_get_session", None)
if not inspect.iscoroutinefunction(_hook):  # pragma: no cover (there is no such release)
    raise ImportError(
        "This aiobotocore opens connections in a way that aiocredentials can't make safe: "
        "install another release."
    )

_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})
_LONGEST_BODY = 16 << 20
"""Bytes. An answer of Secrets Manager has at most 1.3 MiB, in a batch."""


class TrustedSession(AIOHTTPSession):
    """aiobotocore's HTTP session, made to check host names and to follow no redirect.

    It does so behind a proxy, too. `_get_session` is the one method through which every request of
    both lines of aiobotocore gets its connection. `_create_connector`, which it replaces, is sync
    in one line and async in the other.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._verify in {None, ""}:
            # AWS_CA_BUNDLE="" would switch verification off.
            self._verify = True
        self._changing = asyncio.Lock()
        self._is_open = False
        # The last URL that was checked and has a session.
        self._ready_for: str | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._is_open = True
        return self

    async def __aexit__(self, *exc: Any) -> None:
        # If a connector is being made, closing waits for it.
        async with self._changing:
            self._is_open = False
            self._ready_for = None
            await super().__aexit__(*exc)

    async def _get_session(self, proxy_url: str | None) -> _WithoutRedirects:
        return _WithoutRedirects(self, proxy_url)

    async def opened(
        self,
        url: Any,
        proxy_url: str | None,
    ) -> aiohttp.ClientSession:
        """Return aiohttp's session for a URL, which is made at its first request.

        Args:
            url: The URL of a request. One that begins with http:// needs no TLS context.
            proxy_url: The proxy that the request takes.

        Raises:
            TransportError: A CA bundle or client certificate can't be loaded.
            aiohttp.ClientConnectionError: This session is closed.
        """
        route = (proxy_url, is_plain(url))
        if self._is_open:
            session = self._sessions.get(route)
            if session:
                return session
        async with self._changing:
            if not self._is_open:
                raise aiohttp.ClientConnectionError("the HTTP session is closed")
            if route not in self._sessions:
                self._sessions[route] = await self._new_http_session(*route)
            return self._sessions[route]

    async def _new_http_session(
        self,
        proxy_url: str | None,
        plain: bool,  # noqa: FBT001 (a part of the key of `_sessions`)
    ) -> aiohttp.ClientSession:
        # True has aiohttp verify everything by itself. It serves no URL that needs that.
        endpoint_context: ssl.SSLContext | bool = True
        if not plain:
            endpoint_context = await ssl_context(
                self._verify,
                self._cert_file,
                self._key_file,
            )
        proxy_context = None
        if proxy_url and proxy_url.startswith("https:"):
            proxy_context = await self._context_for_proxy()
        session = self._connecting(endpoint_context, proxy_context)
        return await self._exit_stack.enter_async_context(session)

    async def _context_for_proxy(self) -> ssl.SSLContext:
        """Return the TLS context for a proxy, by botocore's `proxies_config`."""
        settings = self._proxy_config.settings
        bundle = settings.get("proxy_ca_bundle") or self._verify
        certificate = settings.get("proxy_client_cert")
        if isinstance(certificate, tuple):
            return await ssl_context(bundle, *certificate)
        return await ssl_context(bundle, certificate, None)

    def _connecting(
        self,
        endpoint_context: ssl.SSLContext | bool,  # noqa: FBT001 (aiohttp's `ssl`)
        proxy_context: ssl.SSLContext | None,
    ) -> aiohttp.ClientSession:
        connector = _TrustedConnector(
            proxy_context,
            limit=self._max_pool_connections,
            ssl=endpoint_context,
            **self._connector_args,
        )
        # It is the same as aiobotocore's own, except for the connector and the response class.
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._timeout,
            skip_auto_headers={"CONTENT-TYPE"},
            auto_decompress=False,
            response_class=_BoundedResponse,
        )

    def abandon(self) -> None:
        """Close the sockets when the event loop is closed already; the rest needs the loop."""
        sessions = self._sessions or {}
        for session in list(sessions.values()):
            session.connector.abandon()

    async def send(self, request: Any) -> Any:
        """Send a request to an endpoint that can be trusted, and reject a redirect.

        Raises:
            TransportError: The endpoint isn't verified, its URL has a password, or the answer is a
                redirect.
        """
        if request.url != self._ready_for:
            await self._make_ready(request)
        response = await super().send(request)
        status = response.status_code
        if status in _REDIRECTS:
            why = f"it answered with a redirect (HTTP {status}), which isn't followed"
            raise RedirectError(why=why)
        return response

    async def _make_ready(self, request: Any) -> None:
        """Check a URL, and make the session for it: both depend on the URL alone."""
        self._check_endpoint(request)
        # `super().send` opens it as well. But it wraps the errors, and botocore would repeat the
        # request. The URL of the proxy may have a password, so it isn't a local variable here.
        await self.opened(request.url, self._proxy_config.proxy_url_for(request.url))
        self._ready_for = request.url

    def _check_endpoint(self, request: Any) -> None:
        is_unverified = self._verify is False
        if is_unverified and not is_loopback(request.url):
            why = "verify=False is for endpoints on this machine only; give a CA bundle instead"
            raise TransportError(why=why)
        if "@" in urlsplit(request.url).netloc:
            # aiohttp would reject it too, with an error that names neither.
            why = "a user and a password in endpoint_url can't be sent beside AWS's own signature"
            raise TransportError(why=why)


class _WithoutRedirects:
    """The part of a ClientSession that aiobotocore's `send` uses.

    It is no subclass and sets no attribute, because aiohttp warns of both. The URL of a request
    decides which ClientSession is used: one for plain HTTP has no TLS context.
    """

    __slots__ = ("_proxy_url", "_transport")

    def __init__(
        self,
        transport: TrustedSession,
        proxy_url: str | None,
    ) -> None:
        self._transport = transport
        self._proxy_url = proxy_url

    async def request(
        self,
        method: str,
        url: Any,
        **kwargs: Any,
    ) -> Any:
        session = await self._transport.opened(url, self._proxy_url)
        return await session.request(
            method,
            url,
            **kwargs,
            allow_redirects=False,
        )


class _BoundedResponse(aiohttp.ClientResponse):
    """A response whose body is read only as far as an answer can be long."""

    def __repr__(self) -> str:
        """Leave out the headers, which aiohttp prints: a redirect's target may contain anything."""
        kind = type(self).__name__
        return f"<{kind} {self.status}>"

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
        mebibytes = _LONGEST_BODY >> 20
        raise TransportError(why=f"its answer is longer than {mebibytes} MiB")


class _TrustedConnector(aiohttp.TCPConnector):
    """A connector with a separate TLS context for an https:// proxy.

    aiohttp has one context for proxy and endpoint, and a proxy mustn't get our certificate.
    """

    def __init__(
        self,
        proxy_context: ssl.SSLContext | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._proxy_context = proxy_context

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        """Drop idle connections that have received unrequested data.

        Otherwise that data would be read as the next answer.
        """
        for protocol in self._idle_protocols():
            if protocol.should_close:
                protocol.close()
        return await super().connect(*args, **kwargs)

    def abandon(self) -> None:
        """Close the sockets of an event loop that is closed; aiohttp would only complain."""
        idle = self._idle_protocols()
        for protocol in [*idle, *self._acquired]:
            close_socket(protocol.transport)
        self._close()

    def _idle_protocols(self) -> list[Any]:
        protocols = []
        for connections in self._conns.values():
            for protocol, _ in connections:
                protocols.append(protocol)
        return protocols

    def _update_proxy_auth_header_and_build_proxy_req(self, req: Any) -> Any:
        proxy_request = super()._update_proxy_auth_header_and_build_proxy_req(req)
        if self._proxy_context is not None:
            proxy_request._ssl = self._proxy_context
        return proxy_request


class TrustedConfig(AioConfig):
    """A config that keeps `TrustedSession` when botocore merges it.

    aiobotocore 2 forgets the class in `merge`. As the default config of a session this one reaches
    the credential chain's clients too, which have their own configs.
    """

    def __init__(
        self,
        connector_args: Any = None,
        **options: Any,
    ) -> None:
        options.pop("http_session_cls", None)
        super().__init__(
            connector_args=connector_args,
            http_session_cls=TrustedSession,
            **options,
        )

    def merge(self, other_config: Any) -> TrustedConfig:
        """Return both configs as one.

        The other's explicit options overrule ours, except for the session class.
        """
        options = {
            **self._user_provided_options,
            **other_config._user_provided_options,
        }
        options.pop("connector_args", None)
        connector_args = {
            **self.connector_args,
            **getattr(other_config, "connector_args", {}),
        }
        return TrustedConfig(connector_args, **options)


def transport_of(client: object) -> TrustedSession:
    """Return the HTTP session that a client really got.

    Raises `TypeError` if it can't be trusted.
    """
    endpoint = getattr(client, "_endpoint", None)
    transport = getattr(endpoint, "http_session", None)
    if not isinstance(transport, TrustedSession):
        kind = type(transport).__name__
        flaw = "which doesn't verify the host that it connects to"
        raise TypeError(f"the client uses a {kind}, {flaw}")
    return transport


def abandon(client: object) -> None:
    """Close the sockets of a client whose event loop is closed."""
    transport_of(client).abandon()


def is_plain(url: Any) -> bool:
    """Return whether the URL is one of plain HTTP; every other one gets a TLS context."""
    return str(url)[:5].lower() == "http:"


def is_loopback(url: str) -> bool:
    """Return whether the URL is on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback
