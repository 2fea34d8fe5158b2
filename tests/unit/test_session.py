"""Sessions that are opened, ours and the caller's: what they are made of, and which can't be used. Nothing connects."""

from __future__ import annotations

import contextlib
from typing import Any, NoReturn, Self

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import ProfileNotFound

from aiocredentials import AsyncCredentialsManager, AuthenticationError, EndpointUnreachableError, InvalidParameterError
from aiocredentials._aws import aiosession, transport as _transport
from aiocredentials._aws.loading import load_transport
from aiocredentials._aws.session import SessionPerCall, open_session
from aiocredentials._aws.settings import ClientSettings
from unit.lending import ONE_ATTEMPT, error_of, opened


async def test_a_session_of_the_callers() -> None:
    """Theirs, of either kind, is copied: the copy has its settings and our transport, and theirs stays as it was."""
    session = aioboto3.Session("theirs", "theirs", region_name="eu-west-1")
    core = AioSession()
    core.set_config_variable("region", "eu-west-1")
    for theirs, inside in ((session, session._session), (core, core)):
        before = dict(vars(inside))
        # Read from the same files by the session's own credential chain, and kept.
        del before["_config"], before["_profile_map"]
        paths = list(inside.get_component("data_loader").search_paths)
        for _ in range(3):
            async with opened(SessionPerCall(ClientSettings(session=theirs))) as (client, region):
                assert (region.name, region.source) == ("eu-west-1", "the session")
                assert isinstance(_transport.transport_of(client), _transport.TrustedSession)
        assert vars(inside).items() >= before.items()
        assert inside.get_component("data_loader").search_paths == paths


async def test_a_session_of_ours() -> None:
    """It is aioboto3's, on a core whose credential chain has our transport; nothing grows with each session."""
    session = await open_session(ClientSettings())
    assert isinstance(session, aioboto3.Session)
    assert isinstance(session._session, aiosession.TrustedAioSession)
    assert isinstance(session._session.get_default_client_config(), _transport.TrustedConfig)
    loader = session._session.get_component("data_loader")
    before = list(loader.search_paths)
    for _ in range(50):
        another: Any = await open_session(ClientSettings())
        assert another._session.get_component("data_loader") is loader
    assert list(loader.search_paths) == before


async def test_a_session_that_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever aioboto3 raises there is one of our errors."""
    await load_transport()

    def session(**_: object) -> NoReturn:
        raise ProfileNotFound(profile="missing")

    monkeypatch.setattr(aiosession, "SlimSession", session)
    error = await error_of(AsyncCredentialsManager("prod/db"))
    assert (type(error), error.secret_name) == (AuthenticationError, "prod/db")


async def test_what_is_asked_of_a_session() -> None:
    """A session whose `create_client` brings a transport of its own can't be used, and that is said."""

    class Own(AioSession):
        def create_client(self, *_: object, **__: object) -> Any:  # noqa: ANN401 (a client that is none)
            return contextlib.nullcontext(object())

    error = await error_of(AsyncCredentialsManager("x", session=Own()))
    assert type(error) is InvalidParameterError
    assert "The client can't be used: the client uses a NoneType, which doesn't verify the host" in str(error)


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_a_client_that_fails_its_check(pooled: bool) -> None:  # noqa: FBT001 (a table)
    """A client that was entered before it is refused is closed at once, in a pool, too."""
    events: list[str] = []

    class Client:
        async def __aenter__(self) -> Self:
            events.append("entered")
            return self

        async def __aexit__(self, *_: object) -> None:
            events.append("closed")

    class Own(AioSession):
        def create_client(self, *_: object, **__: object) -> Any:  # noqa: ANN401 (a client that is none)
            return Client()

    manager = AsyncCredentialsManager[Any]("x", session=Own(), policy=None)
    async with manager if pooled else contextlib.nullcontext():
        for count in (1, 2):
            assert type(await error_of(manager)) is InvalidParameterError
            assert events == ["entered", "closed"] * count


@pytest.mark.parametrize("pooled", [False, True], ids=["per call", "pooled"])
async def test_verification_is_not_switched_off(dns: list[str], pooled: bool) -> None:  # noqa: FBT001 (a table)
    """A session that verifies nothing reaches endpoints on this machine alone."""
    session = AioSession()
    session.set_config_variable("ca_bundle", False)  # noqa: FBT003 (as `verify=False` is for a client)
    config = AioConfig(retries=ONE_ATTEMPT)
    manager = AsyncCredentialsManager[Any]("x", session=session, endpoint_url="https://vpce-1.example", config=config)
    async with manager if pooled else contextlib.nullcontext():
        error = await error_of(manager)
    assert type(error) is EndpointUnreachableError
    assert "verify=False is for endpoints on this machine only; give a CA bundle instead" in str(error)
    assert not dns
