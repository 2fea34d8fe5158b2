"""Clients of other services with the settings of a pool: their transport, endpoint and errors. Nothing connects."""

from __future__ import annotations

import threading
import warnings
from contextlib import nullcontext
from typing import Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig
from botocore.exceptions import ClientError, NoCredentialsError

from aiocredentials import CredentialsPool
from aiocredentials._aws import chain, models, other_services, transport
from aiocredentials._aws.other_services import Explanation, Service, explained, opened_client, settings_for_others
from aiocredentials._aws.settings import ClientSettings, core_of
from aiocredentials._eventbridge.queue_url import queue_at
from aiocredentials._eventbridge.sqs import endpoint_of
from aiocredentials.eventbridge import rotation_queue_watched
from aiocredentials.testing import FakeSecretsManager
from unit.fake_sqs import QUEUE_URL, refusal

SQS = Service("sqs", "SQS", "https://sqs.eu-west-1.amazonaws.com", "eu-west-1", 30.0)
CHINA = SQS._replace(endpoint_url="https://sqs.cn-north-1.amazonaws.com.cn", region_name="cn-north-1")
EMULATOR = SQS._replace(endpoint_url="http://127.0.0.1:1", region_name=None)


@pytest.mark.parametrize("variables", [(), ("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT")], ids=["", "fips"])
@pytest.mark.parametrize(
    ("service", "region"),
    [(SQS, "eu-west-1"), (CHINA, "cn-north-1"), (EMULATOR, "us-west-2")],
    ids=["", "cn", "emulator"],
)
async def test_a_client(
    service: Service, region: str, variables: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client asks the endpoint that it was given, signs for its region, and can be trusted."""
    for variable in variables:
        monkeypatch.setenv(variable, "true")
    settings = ClientSettings("us-west-2", config=AioConfig(read_timeout=2, connect_timeout=1))
    async with opened_client(service, settings_for_others(settings)) as client:
        assert client.meta.endpoint_url == service.endpoint_url
        assert (client.meta.region_name, client._request_signer._region_name) == (region, region)
        # Longer than a long poll. The other options of the caller's config stay.
        assert client.meta.config.read_timeout == 30
        assert client.meta.config.connect_timeout == 1
        assert transport.transport_of(client) is client._endpoint.http_session


async def test_models_are_read_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of the service are read in a thread, under the lock for which a fork waits."""
    here = threading.get_ident()
    read: list[tuple[int, bool]] = []
    original = models._JSONFileLoader.load_file

    def load_file(self: Any, file_path: str) -> Any:  # noqa: ANN401 (botocore's)
        if "sqs" in file_path:
            read.append((threading.get_ident(), other_services.loading._lock._is_owned()))  # type: ignore[attr-defined]
        return original(self, file_path)

    monkeypatch.setattr(models._JSONFileLoader, "load_file", load_file)
    models.loader._cache.clear()
    for _ in range(2):
        async with opened_client(SQS, ClientSettings()):
            pass
    # Two models, and an addition to each that isn't there. The client itself, and a second one, read nothing more.
    assert len(read) == 4
    for thread, is_locked in read:
        assert thread != here
        assert is_locked


def test_which_session() -> None:
    """A queue is asked with the pool's session, or with one of its own. A fake has none, and other endpoints."""
    own = aioboto3.Session()
    settings = ClientSettings(session=own, endpoint_url="http://127.0.0.1:1")
    assert settings_for_others(settings) == ClientSettings(session=own)
    assert settings_for_others(ClientSettings(session=FakeSecretsManager())) == ClientSettings()
    assert settings_for_others(ClientSettings(), own) == ClientSettings(session=own)
    with pytest.raises(TypeError, match="session makes clients for Secrets Manager only"):
        rotation_queue_watched(CredentialsPool(), QUEUE_URL, session=FakeSecretsManager())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="session is a builtins") as info:
        rotation_queue_watched(CredentialsPool(), QUEUE_URL, session=7)  # type: ignore[arg-type]
    # It would be refused as well.
    assert "CustomSession" not in str(info.value)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((7, QUEUE_URL), TypeError, "pool is a int: give a CredentialsPool"),
        ((CredentialsPool(), "rotations"), ValueError, "isn't the URL of a queue"),
        ((CredentialsPool(), QUEUE_URL, -1), ValueError, "spread is -1: give 0 or more seconds"),
        ((CredentialsPool(), QUEUE_URL, 301), ValueError, "spread is 301 seconds: give at most 300"),
        ((CredentialsPool(), QUEUE_URL, "2"), TypeError, "spread is a str: give seconds as a number"),
    ],
    ids=["pool", "name", "negative", "long", "text"],
)
def test_arguments(arguments: tuple[Any, ...], error: type[Exception], message: str) -> None:
    """An argument that can't work is refused where it is written, before the block begins."""
    pool, queue_url, *spread = arguments
    with pytest.raises(error, match=message):
        rotation_queue_watched(pool, queue_url, **({"spread": spread[0]} if spread else {}))


async def test_credentials_that_aws_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """If AWS refuses the credentials of a caller's session, the next client loads them anew."""
    refused: list[object] = []
    monkeypatch.setattr(chain, "refuse", refused.append)
    own = aioboto3.Session()
    for code in ("AccessDenied", "ExpiredToken"):
        with pytest.raises(ClientError):
            async with opened_client(SQS, ClientSettings(session=own)):
                raise refusal(code)
    assert refused == [core_of(own)]


async def test_an_endpoint_in_clear() -> None:
    """An endpoint on another machine that isn't encrypted is warned of."""
    service = SQS._replace(endpoint_url="http://queues.example")
    with pytest.warns(UserWarning, match="http://queues.example isn't encrypted"):
        async with opened_client(service, ClientSettings()):
            pass


async def test_an_endpoint_in_clear_is_warned_of_once() -> None:
    """A watcher opens a client after each failure, and warns of its endpoint once; another watcher warns again."""
    pool = CredentialsPool()
    settings = pool._session.settings
    service = queue_at("http://queues.example/1/rotations")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            endpoint = endpoint_of(service, settings)
            for _ in range(3):
                async with endpoint.open_client():
                    pass
    assert len([one for one in caught if "isn't encrypted" in str(one.message)]) == 2


async def test_a_transport_without_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose transport can't be trusted isn't lent."""
    monkeypatch.setattr(other_services, "_new_client", lambda *_: nullcontext(object()))
    with pytest.raises(TypeError, match="doesn't verify the host that it connects to"):
        async with opened_client(SQS, ClientSettings()):
            pytest.fail("it was lent")


def said(sentence: str) -> ClientError:
    """Return an answer of AWS with this sentence."""
    error = refusal("AccessDenied")
    error.response["Error"]["Message"] = sentence
    return error


def page(content_type: str, code: str = "502") -> ClientError:
    """Return what botocore makes of an answer that has no code, or isn't AWS's."""
    metadata = {"HTTPStatusCode": 502, "HTTPHeaders": {"content-type": content_type}}
    error = {"Code": code, "Message": "<html>mock_password</html>"}
    return ClientError({"Error": error, "ResponseMetadata": metadata}, "ReceiveMessage")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "explanation"),
    [
        (refusal("AccessDenied"), Explanation("AccessDenied", "SQS answered AccessDenied: AWS says no.")),
        (said("no Allow on this"), Explanation("AccessDenied", "SQS answered AccessDenied: no Allow on this.")),
        (said(""), Explanation("AccessDenied", "SQS answered AccessDenied.")),
        (page("text/html", "AccessDenied"), "HTTP status 502, and a body that isn't AWS's"),
        (page("application/json"), "HTTP status 502, and a body that isn't AWS's"),
        (page("application/json", "a b"), "HTTP status 502, and a body that isn't AWS's"),
        (NoCredentialsError(), "No AWS credentials"),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "SQS gave no usable answer: ConnectionResetError: Conn",
        ),
    ],
    ids=["answered", "without an end", "without a word", "page", "status", "no code", "credentials", "reset"],
)
def test_explained(error: Exception, explanation: Explanation | str) -> None:
    """An error is explained by AWS's code and sentence, or by what failed, and never by another server's page."""
    found = explained(error, SQS, ClientSettings())
    if isinstance(explanation, Explanation):
        assert found == explanation
    else:
        assert explanation in found.text
    assert "mock_password" not in found.text


def test_a_refused_role(monkeypatch: pytest.MonkeyPatch) -> None:
    """What STS refuses while AWS credentials are loaded isn't called an answer of SQS."""
    monkeypatch.setattr(other_services, "is_about_credentials", lambda _: True)
    found = explained(refusal("AccessDenied", "AssumeRole"), SQS, ClientSettings())
    assert found.kind == "AuthenticationError"
    assert "SQS answered" not in found.text
