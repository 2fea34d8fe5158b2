"""What our sessions are made of, without a socket: loaded once, shared, and put back as it was found."""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import ssl
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.config import Config
from botocore.httpsession import get_cert_path

from aiocredentials import AuthenticationError
from aiocredentials._aws import loading, tls, transport as _transport
from aiocredentials._aws.loading import import_and_read, load_transport
from aiocredentials._aws.regions import default_region
from aiocredentials._aws.session import open_session
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._aws.sockets import close_socket
from aiocredentials._aws.tls import ssl_context
from aiocredentials._aws.transport import TrustedConfig, TrustedSession, is_loopback

if TYPE_CHECKING:
    from pathlib import Path


HTTPS = "https://127.0.0.1/"


@pytest.fixture
def no_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the TLS contexts of the process for the length of the test."""
    monkeypatch.setattr(tls, "_contexts", {})


class TestConfig:
    """`TrustedConfig` survives what botocore does with configs."""

    def test_merging(self) -> None:
        """It keeps its class and its transport, and what the other one says goes over what it says itself."""
        ours = TrustedConfig({"use_dns_cache": False}, read_timeout=5, connect_timeout=3)
        theirs = AioConfig({"keepalive_timeout": 1}, read_timeout=7, http_session_cls=AIOHTTPSession)
        # The credential chain's clients bring a config of botocore's own kind.
        merged: Any = ours.merge(theirs).merge(Config(region_name="eu-west-1"))
        assert type(merged) is TrustedConfig
        assert merged.http_session_cls is TrustedSession
        assert (merged.read_timeout, merged.connect_timeout, merged.region_name) == (7, 3, "eu-west-1")
        assert merged.connector_args["keepalive_timeout"] == 1
        assert merged.connector_args["use_dns_cache"] is False


class TestContexts:
    """The CA store is read once for all who trust the same, off the event loop."""

    @pytest.mark.usefixtures("no_contexts")
    async def test_shared(self) -> None:
        """Two who need a context at the same time, and one later, get the same, and it checks everything."""
        first, second = await asyncio.gather(ssl_context(True, None, None), ssl_context(True, None, None))  # noqa: FBT003 (botocore's `verify`)
        assert first is second is await ssl_context(True, None, None)  # noqa: FBT003 (the same)
        assert (first.check_hostname, first.verify_mode) == (True, ssl.CERT_REQUIRED)

    @pytest.mark.usefixtures("no_contexts")
    async def test_the_newest(self, tmp_path: Path) -> None:
        """Of a bundle that is replaced again and again one context is kept, the newest; there are never many."""
        source = get_cert_path(True)  # noqa: FBT003 (botocore's `verify`)
        bundles = [tmp_path / f"bundle{number}.pem" for number in range(tls._MOST_CONTEXTS + 5)]
        seen: list[ssl.SSLContext] = []
        for _ in range(3):
            shutil.copy(source, tmp_path / "new")
            os.replace(tmp_path / "new", bundles[0])  # noqa: PTH105 (as a mounted secret is replaced)
            seen.append(await ssl_context(str(bundles[0]), None, None))
        assert len(set(map(id, seen))) == 3
        assert [context for _, context in tls._contexts.values()] == [seen[-1]]
        assert await ssl_context(str(bundles[0]), None, None) is seen[-1]
        for bundle in bundles:
            bundle.symlink_to(source) if bundle != bundles[0] else None
            last = await ssl_context(str(bundle), None, None)
        kept = [context for _, context in tls._contexts.values()]
        assert len(kept) == tls._MOST_CONTEXTS
        assert kept[-1] is last
        assert seen[-1] not in kept

    @pytest.mark.usefixtures("no_contexts")
    async def test_one_connector(self) -> None:
        """Requests that start at once share a connector; after closing there is none, and no new one is made."""
        async with TrustedSession() as transport:
            first, second = await asyncio.gather(transport.opened(HTTPS, None), transport.opened(HTTPS, None))
            assert first is second is await transport.opened(HTTPS, None)
        with pytest.raises(aiohttp.ClientConnectionError, match="the HTTP session is closed"):
            await transport.opened(HTTPS, None)
        assert first.closed

    async def test_plain_http(self, no_contexts: None) -> None:
        """A URL of plain HTTP has no context made, and never shares a connector with one that needs it."""
        assert no_contexts is None
        async with TrustedSession(max_pool_connections=7) as transport:
            plain = await transport.opened("http://127.0.0.1:5000/", None)
            assert tls._contexts == {}
            # Should it ever meet TLS, it verifies.
            assert plain.connector._ssl is True
            encrypted = await transport.opened(HTTPS, None)
            (kept,) = tls._contexts.values()
            assert encrypted.connector._ssl is kept.context
            assert plain is not encrypted
            assert plain is await transport.opened("HTTP://127.0.0.1:5000/", None)
            assert plain.connector.limit == encrypted.connector.limit == 7
        assert plain.closed
        assert encrypted.closed

    @pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:3128", "https://127.0.0.1:3128"])
    async def test_what_else_has_one(self, no_contexts: None, proxy: str | None) -> None:
        """Every other URL has a context that verifies, also behind a proxy; so has a proxy that speaks TLS."""
        assert no_contexts is None
        async with TrustedSession() as transport:
            for url in (HTTPS, "HTTPS://127.0.0.1/", "wss://127.0.0.1/", "//127.0.0.1/", "127.0.0.1", "httpx://a"):
                session: Any = await transport.opened(url, proxy)
                assert session.connector._ssl.verify_mode is ssl.CERT_REQUIRED
                assert session.connector._ssl.check_hostname
            plain: Any = await transport.opened("http://127.0.0.1/", proxy)
            wants_context = proxy is not None and proxy.startswith("https:")
            assert (plain.connector._proxy_context is not None) is wants_context
            assert (session.connector._proxy_context is not None) is wants_context

    def test_loopback(self) -> None:
        """Only names and addresses that can't be elsewhere are this machine."""
        here = ("127.0.0.1", "127.1.2.3", "[::1]", "localhost", "LOCALHOST", "a.localhost")
        elsewhere = ("vpce-1.example", "10.0.0.1", "localhost.example", "notlocalhost", "127.0.0.1.example", "[::2]")
        assert all(is_loopback(f"http://{host}:5000/") for host in here)
        assert not any(is_loopback(f"http://{host}:5000/") for host in elsewhere)
        assert not is_loopback("/")


class TestLoading:
    """What takes long is done once a process, in a thread, and leaves no trace but what it loaded."""

    async def test_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """However many sessions are the first ones, the models are loaded once."""
        loaded: list[str] = []
        monkeypatch.setattr(loading, "_is_loaded", False)
        monkeypatch.setattr(loading, "import_and_read", lambda: loaded.append("once"))
        await asyncio.gather(*(load_transport() for _ in range(5)))
        await load_transport()
        # A thread that another loop had already sent finds, once it has the lock, nothing left to do.
        await asyncio.to_thread(loading._load)
        assert loaded == ["once"]

    @pytest.mark.parametrize("collecting", [True, False])
    async def test_the_collector(self, collecting: bool) -> None:  # noqa: FBT001 (a table)
        """The garbage collector is afterwards as it was before."""
        if not collecting:
            gc.disable()
        try:
            await asyncio.to_thread(import_and_read)
            assert gc.isenabled() is collecting
        finally:
            gc.enable()

    @pytest.mark.usefixtures("no_contexts")
    async def test_no_context(self) -> None:
        """The CA store isn't read before a request needs it: an endpoint of plain HTTP doesn't."""
        await asyncio.to_thread(import_and_read)
        assert tls._contexts == {}

    async def test_a_broken_configuration(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is no error of loading: the session that needs it tells, with our words."""
        monkeypatch.setenv("AWS_PROFILE", "missing")
        await asyncio.to_thread(import_and_read)
        session = await open_session(ClientSettings())
        with pytest.raises(AuthenticationError, match="there is no profile 'missing'"):
            default_region(ClientSettings(), session)


class TestAbandoning:
    """A transport of a loop that is closed: its socket is closed without the loop."""

    def test_by_layers(self) -> None:
        """Below TLS, over a proxy that speaks TLS as well, it is the innermost transport that has the socket."""

        class Sock:
            is_closed = False

            def close(self) -> None:
                self.is_closed = True

        sock = Sock()
        plain = SimpleNamespace(_sock=sock)
        inner = SimpleNamespace(_ssl_protocol=SimpleNamespace(_transport=plain), _closed=False)
        outer = SimpleNamespace(_ssl_protocol=SimpleNamespace(_transport=inner), _closed=False)
        close_socket(outer)
        assert sock.is_closed
        assert (plain._sock, inner._closed, outer._closed) == (None, True, True)

    def test_nothing_to_close(self) -> None:
        """Transports of uvloop have none that can be reached, and a protocol may have no transport any more."""
        for transport in (None, object(), SimpleNamespace(_sock=None)):
            close_socket(transport)

    async def test_a_client_without_a_connection(self) -> None:
        """What never connected has nothing to close; nor what is closed."""
        transport = TrustedSession()
        transport.abandon()
        async with transport:
            transport.abandon()
        transport.abandon()


class TestSmallThings:
    """What only one line of aiobotocore comes by in the other tests."""

    @pytest.mark.parametrize("verify", [None, ""])
    def test_verification_stays_on(self, verify: str | None) -> None:
        """No value of the setting that means nothing switches verification off."""
        assert _transport.TrustedSession(verify=verify)._verify is True

    def test_the_repr_of_an_answer(self) -> None:
        """It has the status, and no header: a redirect may have anything in its target."""
        answer = object.__new__(_transport._BoundedResponse)
        answer.status = 307
        assert repr(answer) == "<_BoundedResponse 307>"
