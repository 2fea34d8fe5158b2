"""The doctor's conclusions about an endpoint: whether it answered, and which step failed."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.doctor.diagnosis import Examination
from aiocredentials.doctor.route import Route, failed_step
from aiocredentials.doctor.wording import CREDENTIALS_ADVICE, reason_of
from aiocredentials.errors import (
    CredentialsError,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
    MalformedResponseError,
    make_error,
)
from unit.doctor_fakes import CONTENTS, NO_CREDENTIALS, NOT_FOUND, REFUSED, FakeProbe, answered, endpoint_by, examined

if TYPE_CHECKING:
    from aiocredentials.doctor import Contents

UNREADABLE = "the CA bundle or client certificate (bundle.pem) can't be loaded: No such file or directory"


@pytest.mark.parametrize(
    ("got", "reachable", "tls", "has_problem"),
    [
        (CONTENTS, True, True, False),
        (NOT_FOUND, True, True, False),
        (answered("ThrottlingException"), True, True, True),
        (make_error(MalformedResponseError, "Not an answer."), True, True, True),
        (NO_CREDENTIALS, None, None, True),
        (make_error(InvalidRegionError, "No such region."), None, None, True),
        (make_error(EndpointUnreachableError, "The TLS handshake failed."), False, False, True),
        (make_error(EndpointUnreachableError, f"{UNREADABLE}."), None, None, True),
    ],
)
async def test_reachable(
    got: Contents | CredentialsError, *, reachable: bool | None, tls: bool | None, has_problem: bool
) -> None:
    """A server that answers is reachable, whatever the answer; without credentials or certificates nothing was sent."""
    endpoint = await endpoint_by(FakeProbe(got))
    assert (endpoint.reachable, endpoint.tls, endpoint.problem is not None) == (reachable, tls, has_problem)


async def test_no_way_to_ask() -> None:
    """An endpoint that no client can be made for has no URL, and why it can't be reached isn't guessed."""
    probe = FakeProbe(REFUSED)
    probe.way = None
    endpoint = await endpoint_by(probe)
    assert (endpoint.url, endpoint.reachable, endpoint.failure) == (None, False, None)


async def test_a_setting_that_is_wrong() -> None:
    """An error without AWS's answer isn't about the secret, also where AWS could have answered the same class."""
    probe = FakeProbe(make_error(InvalidParameterError, "AWS_ENDPOINT_URL is malformed."))
    assert (await examined(probe)).exit_code == 3
    assert str((await endpoint_by(probe)).problem).startswith("AWS_ENDPOINT_URL is malformed. ")


async def test_sentences_come_once() -> None:
    """A region's problem has each sentence once, however many secrets it is about, and each kind of advice once."""
    errors = [REFUSED, REFUSED, make_error(EndpointUnreachableError, "No answer within 1 s."), NO_CREDENTIALS]
    probe = FakeProbe(REFUSED)
    probe.way = None
    fake: Any = probe
    examination = Examination(fake, (), lambda _: None)
    for number, probe._got in enumerate(errors):
        await examination.examine(str(number))
    (endpoint,) = await examination.endpoints(map(str, range(len(errors))))
    problem = str(endpoint.problem)
    for sentence in (reason_of(REFUSED), REFUSED.advice, "No answer within 1 s.", CREDENTIALS_ADVICE):
        assert problem.count(sentence) == 1


@pytest.mark.parametrize(
    ("url", "failure"),
    [
        ("http://a..invalid", "dns"),
        ("http://127.0.0.1:99999", None),
        ("http://[::1", None),
    ],
    ids=["no name of DNS", "no port", "no host"],
)
async def test_a_malformed_endpoint(url: str, failure: str | None) -> None:
    """An endpoint that can't be split, or whose name DNS can't express, doesn't stop the doctor."""
    assert await failed_step(Route(url=url, source=None, proxy=None), REFUSED) == failure


@pytest.mark.parametrize(
    ("said", "step"),
    [
        ("the TLS certificate was refused: it has expired", "tls"),
        (UNREADABLE, "ca bundle"),
    ],
)
async def test_tls_failed(said: str, step: str) -> None:
    """A failure of TLS or of its files is known already, so no request is repeated; a file isn't a refusal."""
    route = Route(url="https://nowhere.invalid", source=None, proxy=None)
    assert await failed_step(route, make_error(EndpointUnreachableError, said)) == step


@pytest.mark.parametrize("proxy", [None, "http://127.0.0.1:1"])
@pytest.mark.parametrize(
    ("of_name", "of_connection", "step"),
    [
        (socket.gaierror(-2, "Name or service not known"), None, "dns"),
        (None, ConnectionRefusedError(111, "Connection refused"), "refused"),
        (None, TimeoutError(), "timeout"),
    ],
)
async def test_steps(
    monkeypatch: pytest.MonkeyPatch,
    of_name: Exception | None,
    of_connection: Exception | None,
    step: str,
    proxy: str | None,
) -> None:
    """The first step that fails is reported: the name, then the connection; with a proxy, both are the proxy's."""
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> list[object]:
        asked.append((host, port))
        if of_name:
            raise of_name
        return []

    async def connect(*_: object) -> None:
        assert of_connection
        raise of_connection

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr(asyncio, "open_connection", connect)
    route = Route(url="https://secretsmanager.example", source=None, proxy=proxy)
    assert await failed_step(route, REFUSED) == ("proxy" if proxy else step)
    assert asked == [("127.0.0.1", 1) if proxy else ("secretsmanager.example", 443)]
