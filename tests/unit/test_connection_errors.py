"""An error of the connection has the words of the system and of OpenSSL, and DNS errors name the host."""

from __future__ import annotations

import socket
import ssl

import botocore.exceptions
import pytest

from aiocredentials import EndpointUnreachableError, errors
from aiocredentials._aws.mapping import map_error, map_opening_error, unresolved_host
from unit.foreign_errors import CANARY, client_error, everything


class Wrapped(Exception):  # noqa: N818 (as aiohttp names its own)
    """An error that holds another in the way of aiohttp."""

    def __init__(self, **links: object) -> None:
        super().__init__(CANARY)
        vars(self).update(links)


def tls_error(error: ssl.SSLError, **said: str) -> ssl.SSLError:
    """Put in what only OpenSSL itself puts in."""
    for name, value in said.items():
        setattr(error, name, value)
    return error


REFUSED = tls_error(ssl.SSLCertVerificationError(1, "certificate verify failed"), verify_message="Hostname mismatch")
WRONG_VERSION = tls_error(ssl.SSLError(1, "wrong version number"), reason="WRONG_VERSION_NUMBER")


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (Wrapped(certificate_error=REFUSED), "the TLS certificate was refused: Hostname mismatch"),
        (Wrapped(os_error=WRONG_VERSION), "TLS failed: WRONG_VERSION_NUMBER"),
        (ssl.SSLError(1, "no reason, as aiohttp's"), "ConnectTimeoutError: no reason"),
        (ssl.SSLCertVerificationError(1, "no message"), "ConnectTimeoutError: no message"),
        (
            Wrapped(os_error=ConnectionRefusedError(111, "Connection refused")),
            "ConnectTimeoutError: Connection refused",
        ),
        (OSError(), "ConnectTimeoutError."),
    ],
)
def test_the_reason_is_said(below: Exception, expected: str) -> None:
    """The system's and OpenSSL's own words are in the message, however deep; those of a library in between aren't."""
    error = botocore.exceptions.ConnectTimeoutError(endpoint_url="https://x", error=below)
    mapped = map_error(error)
    assert expected in str(mapped)
    assert CANARY not in everything(mapped)


ClientHttpProxyError = type("ClientHttpProxyError", (Wrapped,), {})


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (
            407,
            "the proxy answered with HTTP status 407 (proxy authentication required)",
            "Put the user and the password",
        ),
        (403, "the proxy answered with HTTP status 403.", EndpointUnreachableError.advice),
    ],
)
def test_a_proxy_that_refuses(status: int, words: str, advice: str) -> None:
    """The answer of a proxy is named; if it wants a password, the advice says where that goes."""
    error = botocore.exceptions.ProxyConnectionError(proxy_url=CANARY, error=ClientHttpProxyError(status=status))
    mapped = map_error(error)
    assert type(mapped) is EndpointUnreachableError
    assert words in str(mapped)
    assert advice in str(mapped)
    assert CANARY not in everything(mapped)


def test_a_proxys_page() -> None:
    """The same where the proxy's refusal is a page, as it is for an http:// endpoint."""
    page = client_error("407", CANARY, 407, **{"content-type": "text/html"})
    for mapped in (map_error(page), map_opening_error(page)):
        assert mapped.transient
        assert "HTTP status 407 (proxy authentication required)" in str(mapped)
        assert "Put the user and the password" in str(mapped)


def test_a_ca_bundle() -> None:
    """Where the CA bundle can't be loaded, the advice names each place in which it may be set."""
    mapped = map_error(errors.TransportError(why="the CA bundle or client certificate (x) can't be loaded: No"))
    for setting in ("AWS_CA_BUNDLE", "ca_bundle", "client_cert"):
        assert setting in str(mapped)


@pytest.mark.parametrize(
    ("number", "expected"),
    [(socket.EAI_NONAME, True), (socket.EAI_NODATA, True), (11004, True), (socket.EAI_AGAIN, False)],
    ids=["unknown", "without an address", "without an address, on Windows", "no answer"],
)
def test_unresolved(number: int, expected: bool) -> None:  # noqa: FBT001 (a table)
    """A name that DNS doesn't know isn't a DNS that doesn't answer."""
    below = Wrapped(os_error=socket.gaierror(number, "DNS says so"))
    error = botocore.exceptions.EndpointConnectionError(endpoint_url="https://x", error=below)
    assert unresolved_host(error) == ("https://x" if expected else None)


DNSError = type("DNSError", (Exception,), {})


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((4, "Domain name not found"), True),
        ((1, "DNS server returned answer with no data"), True),
        ((11, "Could not contact DNS servers"), False),
        ((), False),
    ],
)
def test_unresolved_by_aiodns(args: tuple[object, ...], expected: bool) -> None:  # noqa: FBT001 (a table)
    """With aiodns installed, aiohttp's error has no number of the system's: c-ares' own is in what it was made from."""
    os_error = OSError(None, args[1] if args else "DNS lookup failed")
    os_error.__cause__ = DNSError(*args)
    below = Wrapped(os_error=os_error, host="secretsmanager.eu-west1.amazonaws.com")
    error = botocore.exceptions.EndpointConnectionError(endpoint_url="https://x", error=below)
    # aiohttp knows the host, which may be a proxy's.
    assert unresolved_host(error) == ("secretsmanager.eu-west1.amazonaws.com" if expected else None)


def test_unresolved_without_a_url() -> None:
    """An error that names no host is about no host in particular."""
    assert unresolved_host(socket.gaierror(socket.EAI_NONAME, "DNS says so")) == ""
