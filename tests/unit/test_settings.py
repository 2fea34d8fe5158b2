"""What a caller may choose about clients: what is refused, and what comes of the rest. Nothing connects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aioboto3
import boto3
import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.config import Config

from aiocredentials import AsyncCredentialsManager, AuthenticationError, CredentialsPool, InvalidParameterError
from aiocredentials._aws.session import SessionPerCall
from aiocredentials._aws.settings import ClientSettings
from unit.lending import error_of, opened

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("settings", "kind", "sentence"),
    [
        ({"region_name": 1}, TypeError, "region_name is a int, not a string: give a region such as 'eu-west-1'"),
        ({"region_name": " "}, ValueError, "region_name is empty: give a region"),
        ({"endpoint_url": 5000}, TypeError, "endpoint_url is a int, not a string: give a URL"),
        ({"endpoint_url": ""}, ValueError, "endpoint_url is empty"),
        (
            {"endpoint_url": "localhost:5000"},
            ValueError,
            "endpoint_url 'localhost:5000' isn't a URL: write it as 'https",
        ),
        ({"endpoint_url": "ftp://localhost"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://two words"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://localhost:99999"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://localhost:0"}, ValueError, "isn't a URL"),
        ({"endpoint_url": "http://[::1"}, ValueError, "isn't a URL"),
        ({"session": object()}, TypeError, "session is a builtins.object: give an aioboto3.Session or an aiobotocore"),
        ({"session": boto3.Session()}, TypeError, "session is a boto3.session.Session: give an aioboto3.Session"),
        ({"session": aioboto3.Session}, TypeError, "session is a builtins.type: give an aioboto3.Session"),
        ({"config": Config()}, TypeError, "config is a Config: give an aiobotocore.config.AioConfig"),
        ({"config": {"retries": 1}}, TypeError, "config is a dict"),
    ],
    ids=range(16),
)
def test_settings_that_cannot_work(settings: dict[str, Any], kind: type[Exception], sentence: str) -> None:
    """What can't work is refused by the constructor, in a sentence that names the argument and what to give."""
    with pytest.raises(kind, match=sentence):
        CredentialsPool(**settings)
    if "region_name" not in settings:
        with pytest.raises(kind, match=sentence):
            AsyncCredentialsManager("x", **settings)


@pytest.mark.parametrize("url", ["https://vpce-1.example/", "http://127.0.0.1:5000", "http://[::1]:5000"])
async def test_an_endpoint_of_the_callers(url: str) -> None:
    """A URL with or without port, path and brackets is taken as it is."""
    async with opened(SessionPerCall(ClientSettings(endpoint_url=url))) as (client, _):
        assert client.meta.endpoint_url == url


async def test_an_endpoint_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A malformed one that botocore finds by itself is said to be that, and not taken for an answer of AWS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "junk")
    error = await error_of(AsyncCredentialsManager("x"))
    assert type(error) is InvalidParameterError
    assert "AWS_ENDPOINT_URL" in str(error)


async def test_a_setting_that_botocore_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What botocore refuses when a client is opened is one of our errors."""
    monkeypatch.setenv("AWS_DEFAULTS_MODE", "junk")
    error = await error_of(AsyncCredentialsManager("prod/db"))
    assert (type(error), error.secret_name) == (InvalidParameterError, "prod/db")


async def test_a_profile_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that nobody configured is an authentication error, whoever chose it, and before any network."""
    session = aioboto3.Session()
    session._session.set_config_variable("profile", "gone")
    assert type(await error_of(AsyncCredentialsManager("x", session=session))) is AuthenticationError
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert type(await error_of(AsyncCredentialsManager("x"))) is AuthenticationError


@pytest.mark.parametrize(
    ("by_session", "by_caller", "expected"),
    [
        (None, None, (3, 5, {"mode": "standard", "total_max_attempts": 3}, 50)),
        (None, AioConfig(read_timeout=1), (3, 1, {"mode": "standard", "total_max_attempts": 3}, 50)),
        (AioConfig(connect_timeout=7), None, (7, 5, {"mode": "standard", "total_max_attempts": 3}, 50)),
        (
            AioConfig(connect_timeout=7, read_timeout=7, max_pool_connections=7),
            AioConfig(connect_timeout=1, retries={"mode": "legacy", "total_max_attempts": 1}),
            (1, 7, {"mode": "legacy", "total_max_attempts": 1}, 7),
        ),
    ],
    ids=["ours", "the caller's", "the session's", "all"],
)
async def test_config(by_session: AioConfig | None, by_caller: AioConfig | None, expected: tuple[object, ...]) -> None:
    """The caller's config goes over the session's, and that over ours: what nobody says keeps our value."""
    core = AioSession()
    if by_session is not None:
        core.set_default_client_config(by_session)
    async with opened(SessionPerCall(ClientSettings(session=core, config=by_caller))) as (client, _):
        config: Any = client.meta.config
    retries = {name: config.retries[name] for name in ("mode", "total_max_attempts")}
    assert (config.connect_timeout, config.read_timeout, retries, config.max_pool_connections) == expected


PROFILE = "[default]\nmax_attempts = 4\nretry_mode = adaptive\n"


@pytest.mark.parametrize(
    ("environment", "profile", "retries", "expected"),
    [
        ({}, "", None, ("standard", 3)),
        ({"AWS_MAX_ATTEMPTS": "1"}, "", None, ("standard", 1)),
        ({"AWS_RETRY_MODE": "legacy"}, "", None, ("legacy", 3)),
        ({"AWS_RETRY_MODE": "adaptive", "AWS_MAX_ATTEMPTS": "7"}, "", None, ("adaptive", 7)),
        ({}, PROFILE, None, ("adaptive", 4)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, None, ("adaptive", 6)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, {"total_max_attempts": 2}, ("adaptive", 2)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, {"mode": "standard"}, ("standard", 6)),
        ({"AWS_MAX_ATTEMPTS": "6"}, PROFILE, {"max_attempts": 0, "mode": "legacy"}, ("legacy", 1)),
    ],
)
@pytest.mark.parametrize("ours", [True, False], ids=["our session", "the caller's"])
async def test_retries(
    monkeypatch: pytest.MonkeyPatch,
    aws_config: Callable[[str], None],
    *,
    environment: dict[str, str],
    profile: str,
    retries: Any,  # noqa: ANN401 (botocore's)
    expected: tuple[str, int],
    ours: bool,
) -> None:
    """A config says how a call is repeated, else the environment, else the profile; if none does: standard, 3 tries."""
    aws_config(profile)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = AioConfig(retries=retries) if retries else None
    session = None if ours else AioSession()
    async with opened(SessionPerCall(ClientSettings(session=session, config=config))) as (client, _):
        chosen: Any = client.meta.config
    assert (chosen.retries["mode"], chosen.retries["total_max_attempts"]) == expected


async def test_retries_of_the_callers_session() -> None:
    """What the session's own settings say holds, too."""
    core = AioSession()
    core.set_config_variable("max_attempts", 9)
    core.get_component("config_store").set_config_variable("retry_mode", "legacy")
    async with opened(SessionPerCall(ClientSettings(session=core))) as (client, _):
        chosen: Any = client.meta.config
    assert (chosen.retries["mode"], chosen.retries["total_max_attempts"]) == ("legacy", 9)


async def test_connector_args() -> None:
    """What a caller says about connections isn't lost, though aiobotocore before 3 loses it in merging."""
    config = AioConfig(connector_args={"keepalive_timeout": 1})
    async with opened(SessionPerCall(ClientSettings(config=config))) as (client, _):
        assert vars(client.meta.config)["connector_args"]["keepalive_timeout"] == 1
