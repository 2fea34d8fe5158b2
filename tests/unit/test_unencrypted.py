"""Endpoints without TLS: the warning, the line that it names, and no password in any text."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import AsyncCredentialsManager, CredentialsPool, EndpointUnreachableError
from aiocredentials._aws import transport as _transport
from aiocredentials._aws.session import SessionPerCall
from aiocredentials._aws.settings import ClientSettings
from unit.lending import ONE_ATTEMPT, error_of, opened

if TYPE_CHECKING:
    from server.stub import StubSecretsManager


async def test_unencrypted_endpoints(dns: list[str]) -> None:
    """An `http://` endpoint warns when a client is opened for it, and one on this machine doesn't."""
    config = AioConfig(retries=ONE_ATTEMPT)
    manager = AsyncCredentialsManager[Any]("x", endpoint_url="http://vpce-1.example:8080", config=config)
    for pooled in (False, True):
        with pytest.warns(UserWarning, match=r"http://vpce-1\.example:8080 isn't encrypted: .* Use https"):
            async with manager if pooled else contextlib.nullcontext():
                assert type(await error_of(manager)) is EndpointUnreachableError
    assert dns == ["vpce-1.example"] * 2
    for host in ("127.0.0.1", "127.1.2.3", "[::1]", "localhost", "secrets.localhost"):
        async with opened(SessionPerCall(ClientSettings(endpoint_url=f"http://{host}:1"))):
            pass


IN_CLEAR = "http://vpce-1.example:8080"


def line_of(marker: str) -> int:
    """Return the number of the one line of this file that ends in a comment."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# {marker}")]
    return found


async def test_the_line_that_is_warned_of(dns: list[str]) -> None:
    """The warning names the user's line that made the pool or the manager, though a task of ours issues it."""
    config = AioConfig(retries=ONE_ATTEMPT)
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        manager = AsyncCredentialsManager[Any]("x", endpoint_url=IN_CLEAR, config=config)  # the manager
        await error_of(manager)
        pool = CredentialsPool(endpoint_url=IN_CLEAR, config=config)  # the pool
        async with pool:
            await error_of(pool.manager("x"))
        async with manager:
            await error_of(manager)
    assert [(warning.filename, warning.lineno) for warning in issued] == [
        (__file__, line_of("the manager")),
        (__file__, line_of("the pool")),
        (__file__, line_of("the manager")),
    ]
    assert len(dns) == 3


async def test_a_line_of_no_module(dns: list[str]) -> None:
    """Code that belongs to no module is told as Python calls it."""
    made: dict[str, Any] = {"__name__": "nowhere", "AsyncCredentialsManager": AsyncCredentialsManager, "url": IN_CLEAR}
    exec("manager = AsyncCredentialsManager('x', endpoint_url=url)", made)  # noqa: S102 (our own text)
    with pytest.warns(UserWarning, match="isn't encrypted") as issued:
        await error_of(made["manager"])
    assert [(warning.filename, warning.lineno) for warning in issued] == [("<string>", 1)]
    assert dns


@pytest.fixture
async def stub_answers(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a server that isn't taken for one of this machine."""
    monkeypatch.setattr(_transport, "is_loopback", lambda _: False)
    return stub.url


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_warnings_that_are_errors(
    stub_answers: str,
    caplog: pytest.LogCaptureFixture,
    pooled: bool,  # noqa: FBT001 (a table)
) -> None:
    """Where warnings are errors, ours breaks no call, and no client is opened twice for it: it is logged."""
    manager = AsyncCredentialsManager[Any]("x", endpoint_url=stub_answers, policy=None)
    async with manager if pooled else contextlib.nullcontext():
        for _ in range(2):
            await manager.secret()
    warned = [record.getMessage() for record in caplog.records if record.name == "aiocredentials"]
    assert len(warned) == (1 if pooled else 2)
    assert all(f"{stub_answers} isn't encrypted" in message for message in warned)


async def test_a_hook_that_fails(
    stub_answers: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither does a hook of the user's that fails while the warning is shown."""

    def fail(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", fail)
        await AsyncCredentialsManager[Any]("x", endpoint_url=stub_answers).secret()
    assert "isn't encrypted" in caplog.text


async def test_a_password_in_the_endpoint(dns: list[str]) -> None:
    """A user and a password in `endpoint_url` are in no warning, error or repr, whichever way the call ends."""
    config = AioConfig(retries=ONE_ATTEMPT)
    shown: list[str] = []
    with warnings.catch_warnings(record=True) as issued:
        warnings.simplefilter("always")
        for url, region in (
            ("http://user:hidden@vpce-1.example", "eu-west-1"),
            ("https://user:hidden@eu-wst-1.example", "eu-wst-1"),
            ("https://user:hidden@vpce-1.example", "no region"),
        ):
            manager = AsyncCredentialsManager[Any]("x", region, endpoint_url=url, config=config)
            error = await error_of(manager)
            shown += [str(error), repr(error), repr(vars(error)), repr(vars(manager))]
    for url in ("https://user:hidden#1@vpce-1.example", "https://user:hidden@vpce-1.example:x", "https://u:1#h@vpce"):
        with pytest.raises(ValueError, match=r"write # / \? @ as %23") as info:
            CredentialsPool(endpoint_url=url)
        shown.append(str(info.value))
    (warned,) = [str(warning.message) for warning in issued]
    assert warned.startswith("http://vpce-1.example isn't encrypted")
    shown.append(warned)
    assert not [text for text in shown if "hidden" in text]
    assert "can't be sent beside AWS's own signature" in shown[0]
    assert "https://vpce-1.example would have been asked" in shown[8]
    assert dns == []
