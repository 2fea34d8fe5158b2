"""A role is assumed once, renewed before it ends, and bridges an outage of STS."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import threading
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.config import AioConfig

from aiocredentials import (
    AsyncCredentialsManager,
    AuthenticationError,
    CachePolicy,
    CredentialsError,
    CredentialsPool,
    forget_all,
)
from aiocredentials._aws import assuming
from aiocredentials.errors import (
    AccessDeniedError,
    CredentialSourceError,
    InvalidRegionError,
    PoolClosedError,
    SecretNotFoundError,
)
from aiocredentials.testing import FakeClock
from leaks.canary import TOKEN, assert_silent, leaked, of_error
from server.sts import DENIED, EXTERNAL_ID, HOUR, OTHER_ROLE, ROLE, RoleStub
from unit.lending import error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from server.stub import StubSecretsManager

EXPECTED = {"mock_secret_key": "mock_secret_value"}
ONE_ATTEMPT = AioConfig(retries={"mode": "standard", "total_max_attempts": 1})


@pytest.fixture
async def sts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RoleStub]:
    """An STS that assumes each role, for all clients of the test."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIABASE")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    # A slow machine must not look like an STS that hangs.
    monkeypatch.setattr(assuming, "PATIENCE", 60.0)
    monkeypatch.setattr(assuming, "PATIENT_SHARE", 1.0)
    async with RoleStub() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url())
        yield server


class Time:
    """The time by which credentials end, for the stub and for the library."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


@pytest.fixture
def time(sts: RoleStub, monkeypatch: pytest.MonkeyPatch) -> Time:
    """Stop the time, until the test moves it."""
    stopped = Time()
    monkeypatch.setattr(assuming, "now", stopped)
    monkeypatch.setattr(sts, "clock", stopped)
    return stopped


def signed_with(stub: StubSecretsManager) -> list[str]:
    """Give the access keys of the requests for secrets, in their order."""
    found = [re.search(r"Credential=(\w+)/", request.headers["authorization"]) for request in stub.requests]
    return [match[1] for match in found if match]


def ours_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the log records of this library. Another one may have set the level of botocore's loggers."""
    return [record for record in caplog.records if record.name == "aiocredentials"]


def pool_of(stub: StubSecretsManager, **options: Any) -> CredentialsPool:  # noqa: ANN401 - of CredentialsPool
    """Make a pool without a cache, so that each read is a fetch."""
    return CredentialsPool(endpoint_url=stub.url, **{"policy": None, "role_arn": ROLE, **options})


class TestOnce:
    """One AssumeRole per role and life of its credentials."""

    async def test_per_role(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """Many secrets, callers and regions share one AssumeRole; each role has one of its own."""
        async with pool_of(stub) as pool:
            names = [pool.manager(f"s{number}") for number in range(3)]
            elsewhere = pool.manager("s", "us-east-1")
            others = pool.manager("s", role_arn=OTHER_ROLE)
            reads = [manager.get() for manager in (*names, elsewhere, others) for _ in range(3)]
            assert await asyncio.gather(*reads) == [EXPECTED] * 15
            await names[0].get()
            assert sorted(one.parameters["RoleArn"] for one in sts.asked) == sorted([ROLE, OTHER_ROLE])
            assert {one.access_key for one in sts.asked} == {"AKIABASE"}
            assert set(signed_with(stub)) == {"ASIA0001", "ASIA0002"}
            assert repr(pool) == "<CredentialsPool open eu-west-1 us-east-1>"
            assert pool._session.holds_clients
        assert not pool._session.holds_clients

    async def test_per_call(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """A manager without a pool keeps the role's credentials between its calls, and shares the first assumption."""
        manager = AsyncCredentialsManager("prod/db", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        assert await asyncio.gather(*(manager.get() for _ in range(3))) == [EXPECTED] * 3
        assert await manager.get() == EXPECTED
        assert len(sts.asked) == 1
        assert set(signed_with(stub)) == {"ASIA0001"}

    async def test_forgotten(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """What forgets everything forgets roles, too: they are assumed anew, with a pool and without one."""
        alone = AsyncCredentialsManager("prod/db", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        async with pool_of(stub) as pool:
            for assumed in (2, 4):
                await pool.manager("prod/db").get()
                await alone.get()
                assert len(sts.asked) == assumed
                forget_all()

    async def test_own_block(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """A manager's own block shares clients of its role."""
        async with AsyncCredentialsManager("prod/db", endpoint_url=stub.url, policy=None, role_arn=ROLE) as manager:
            await manager.get()
            await manager.describe()
        assert len(sts.asked) == 1
        assert repr(manager) == f"<AsyncCredentialsManager 'prod/db' as {ROLE}, a session per call>"

    async def test_parameters(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """STS gets the role, the external id and the session name; that of the process names library, host and id."""
        async with pool_of(stub, external_id=EXTERNAL_ID) as pool:
            await pool.manager("a").get()
            await pool.manager("a", role_arn=OTHER_ROLE, role_session_name="orders").get()
        first, second = (one.parameters for one in sts.asked)
        assert (first["RoleArn"], first["ExternalId"]) == (ROLE, EXTERNAL_ID)
        host = re.sub(r"[^\w+=,.@-]", "-", socket.gethostname())
        assert re.fullmatch(rf"aiocredentials-{re.escape(host[:30])}\S*-{os.getpid()}", first["RoleSessionName"])
        assert len(first["RoleSessionName"]) <= 64
        assert (second["RoleSessionName"], "ExternalId" in second) == ("orders", False)

    async def test_prefetch(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """A pool prefetches as its role, and a manager of the pool is served from there; another role's isn't."""
        async with CredentialsPool(endpoint_url=stub.url, role_arn=ROLE, prefetch=["a", "b"]) as pool:
            await pool.manager("a").get()
            assert [request.target for request in stub.requests] == ["BatchGetSecretValue"]
            await pool.manager("a", role_arn=OTHER_ROLE).get()
            assert signed_with(stub) == ["ASIA0001", "ASIA0002"]
        assert len(sts.asked) == 2

    async def test_a_callers_session(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """A caller's own session is the base, and stays as it is."""
        session = aioboto3.Session("AKIATHEIRS", "not-a-real-key", region_name="eu-west-2")
        async with pool_of(stub, session=session) as pool:
            await pool.manager("a").get()
        assert [(one.access_key, one.region) for one in sts.asked] == [("AKIATHEIRS", "eu-west-2")]
        assert signed_with(stub) == ["ASIA0001"]
        credentials = await session._session.get_credentials()
        assert credentials.access_key == "AKIATHEIRS"

    async def test_loops_in_threads(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """Each event loop assumes the role by itself, with a pool and with a session per call."""
        manager = AsyncCredentialsManager("prod/db", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        async with pool_of(stub) as pool:

            async def read() -> None:
                await pool.manager("a").get()
                await manager.get()

            await read()
            await asyncio.to_thread(asyncio.run, read())
            await read()
        assert len(sts.asked) == 4


class TestRegionalEndpoint:
    """The STS of the region that the client asks is asked."""

    @pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "cn-north-1"])
    async def test_regional(
        self, stub: StubSecretsManager, sts: RoleStub, monkeypatch: pytest.MonkeyPatch, region: str
    ) -> None:
        """The regional endpoint is asked, also where the environment or botocore's default names the global one."""
        monkeypatch.delenv("AWS_ENDPOINT_URL_STS")
        monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
        urls: list[str] = []

        def noted(client: Any) -> None:  # noqa: ANN401 - of botocore
            urls.append(client.meta.endpoint_url)
            raise TypeError("nothing is sent")

        monkeypatch.setattr(assuming.transport, "transport_of", noted)
        async with pool_of(stub, region_name=region) as pool:
            with pytest.raises(CredentialsError):
                await pool.manager("a").get()
        suffix = ".cn" if region.startswith("cn-") else ""
        assert urls == [f"https://sts.{region}.amazonaws.com{suffix}"]
        assert not sts.asked

    async def test_signed_for_the_region(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """The request is signed for the region of the secret's client."""
        async with pool_of(stub) as pool:
            await pool.manager("a", "ap-south-1").get()
        assert [one.region for one in sts.asked] == ["ap-south-1"]

    @pytest.mark.parametrize("fault", ["hangs", "fails", "refuses"])
    async def test_another_region(
        self, stub: StubSecretsManager, sts: RoleStub, monkeypatch: pytest.MonkeyPatch, fault: str
    ) -> None:
        """A region whose STS hangs, fails or refuses keeps no other region from assuming the role by its own STS."""
        if fault == "hangs":
            monkeypatch.setattr(assuming, "PATIENCE", 0.05)
        sts.gate.clear()
        sts.hanging = "eu-west-1"
        async with pool_of(stub, config=ONE_ATTEMPT) as pool:
            first = asyncio.create_task(pool.manager("a").get())
            await sts.arrival()
            second = asyncio.create_task(pool.manager("a", "us-east-1").get())
            if fault != "hangs":
                clients = pool._session._loops.get().of(pool._role).current
                while clients._assumed is None or sum(clients._assumed._callers.values()) < 2:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                if fault == "fails":
                    sts.refuse("ServiceUnavailable", "down", status=503)
                else:
                    sts.refuse("RegionDisabledException", "STS is not activated in this region.")
                sts.gate.set()
            assert await second == EXPECTED
            # An STS that hangs is given up after a while, but nobody has waited for that.
            assert fault != "hangs" or not first.done()
            assert [one.region for one in sts.asked] == ["eu-west-1", "us-east-1"]
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            sts.gate.set()

    async def test_a_refusal_in_each_region(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """Each region asks its own STS once, because a refusal may be about the region."""
        sts.gate.clear()
        sts.refuse(times=2)
        async with pool_of(stub) as pool:
            reads = [asyncio.create_task(pool.manager("a", region).get()) for region in ("eu-west-1", "us-east-1")]
            clients = pool._session._loops.get().of(pool._role)
            while clients.current._assumed is None or sum(clients.current._assumed._callers.values()) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            sts.gate.set()
            errors = await asyncio.gather(*reads, return_exceptions=True)
        assert [type(error).__name__ for error in errors] == ["AuthenticationError"] * 2
        assert sorted(one.region for one in sts.asked) == ["eu-west-1", "us-east-1"]

    @pytest.mark.parametrize("region", ["eu_west_1", "eu-wst"])
    async def test_no_region(self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, region: str) -> None:
        """A name that is no region is named as such: STS's unknown host isn't blamed on the credentials."""

        async def unknown(*_: object, **__: object) -> Any:  # noqa: ANN401 - never returns
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        async with pool_of(stub, config=ONE_ATTEMPT) as pool:
            with pytest.raises(InvalidRegionError, match="AWS has no region"):
                await pool.manager("a", region).get()


class TestRefused:
    """A refusal of STS is permanent, in STS's words, and says what to do."""

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    async def test_denied(self, stub: StubSecretsManager, sts: RoleStub, way: str, caplog: Any) -> None:  # noqa: ANN401
        """The error has STS's sentence, the role and the advice, and the secret was never asked for."""
        caplog.set_level(logging.DEBUG)
        sts.refuse()
        options: dict[str, Any] = {"role_arn": ROLE, "external_id": EXTERNAL_ID}
        manager = AsyncCredentialsManager("prod/db", endpoint_url=stub.url, **options)
        async with pool_of(stub, **options) as pool:
            with pytest.raises(AuthenticationError) as caught:
                await (pool.manager("prod/db") if way == "pooled" else manager).get()
        error = caught.value
        assert (error.transient, error.asked, error.code, error.role_arn) == (False, False, "AccessDenied", ROLE)
        assert DENIED in str(error)
        assert "sts:AssumeRole" in error.advice
        assert "trust policy" in error.advice
        assert "external_id" in error.advice
        assert f"Asked: secret 'prod/db', region 'eu-west-1' (from AWS_DEFAULT_REGION), as role '{ROLE}'." in str(error)
        assert not stub.requests
        everything = f"{error!r} {vars(error)} {caplog.text} {pool!r} {manager!r}"
        everything += repr(manager._request)
        assert EXTERNAL_ID not in everything
        assert "canary" not in everything

    async def test_shared(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """Callers that wait for the same refusal get an error object each."""
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        sts.refuse()
        sts.gate.clear()
        reading = [asyncio.create_task(manager.get()) for _ in range(3)]
        await sts.arrival()
        (assumed,) = manager._store.gateway._source._roles.get().values()  # type: ignore[attr-defined]
        while sum(assumed._callers.values()) < 3:  # noqa: ASYNC110 (until each of them waits)
            await asyncio.sleep(0)
        sts.gate.set()
        errors = await asyncio.gather(*reading, return_exceptions=True)
        assert {type(error).__name__ for error in errors} == {"AuthenticationError"}
        assert len({id(error) for error in errors}) == 3
        assert len(sts.asked) == 1

    async def test_a_secret_read_through_a_role(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """An error about the secret names the role, and so does that of each secret of a batch."""
        stub.error("AccessDeniedException", "not yours")
        stub.answer(body={"SecretValues": [], "Errors": [{"SecretId": "a", "ErrorCode": "ResourceNotFoundException"}]})
        async with CredentialsPool(endpoint_url=stub.url, role_arn=ROLE) as pool:
            with pytest.raises(AccessDeniedError, match=f"as role '{ROLE}'") as caught:
                await pool.manager("prod/db").get()
            assert caught.value.role_arn == ROLE
            with pytest.raises(ExceptionGroup) as group:
                await pool.prefetch("a")
        (missing,) = group.value.exceptions
        assert isinstance(missing, SecretNotFoundError)
        assert missing.role_arn == ROLE
        assert len(sts.asked) == 1

    @pytest.mark.parametrize(
        ("code", "advice"),
        [
            ("ValidationError", "Correct role_arn"),
            ("RegionDisabledException", "Activate STS"),
            ("SignatureDoesNotMatch", "Renew the AWS credentials of this process"),
        ],
    )
    async def test_other_refusals(self, stub: StubSecretsManager, sts: RoleStub, code: str, advice: str) -> None:
        """Each refusal has an advice of its own, which names no profile's role."""
        sts.refuse(code, "No.")
        async with pool_of(stub) as pool:
            with pytest.raises(AuthenticationError, match=advice) as caught:
                await pool.manager("a").get()
        assert "source_profile" not in str(caught.value)

    async def test_base_credentials(self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the process has no credentials, or a broken profile, that is the error, and STS isn't asked."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        async with pool_of(stub, region_name="eu-west-1") as pool:
            with pytest.raises(CredentialSourceError, match="none were found") as caught:
                await pool.manager("a").get()
            assert caught.value.role_arn == ROLE
            monkeypatch.setenv("AWS_PROFILE", "missing")
            with pytest.raises(AuthenticationError, match="no profile 'missing'"):
                await pool.manager("a").get()

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("<AssumeRoleResponse><AssumeRoleResult/></AssumeRoleResponse>", "contains no credentials"),
            (None, "have expired already"),
        ],
    )
    async def test_a_useless_answer(
        self, stub: StubSecretsManager, sts: RoleStub, body: str | None, words: str
    ) -> None:
        """An answer without credentials that are valid is a transient error, and isn't used."""
        sts.life = -1.0
        if body:
            sts.send(body)
        async with pool_of(stub) as pool:
            with pytest.raises(CredentialSourceError, match=words) as caught:
                await pool.manager("a").get()
        assert caught.value.role_arn == ROLE
        assert not stub.requests

    @pytest.mark.parametrize("expiration", ["soon", "0001-01-01T00:00:00", None])
    async def test_an_answer_of_another_server(
        self, stub: StubSecretsManager, sts: RoleStub, expiration: str | None
    ) -> None:
        """A page of a proxy, or an answer that can't be read, is transient, and blames no profile."""
        body = "<html><head><title>Sign in</title></head><body>canary</body></html>"
        if expiration:
            keys = "<AccessKeyId>A</AccessKeyId><SecretAccessKey>B</SecretAccessKey><SessionToken>C</SessionToken>"
            credentials = f"<Credentials>{keys}<Expiration>{expiration}</Expiration></Credentials>"
            body = f"<AssumeRoleResponse><AssumeRoleResult>{credentials}</AssumeRoleResult></AssumeRoleResponse>"
        sts.send(body)
        async with pool_of(stub) as pool:
            manager = pool.manager("a")
            with pytest.raises(CredentialSourceError, match="the answer in region 'eu-west-1' isn't STS's") as caught:
                await manager.get()
            assert await manager.get() == EXPECTED
        error = caught.value
        assert (error.transient, error.asked, error.role_arn) == (True, False, ROLE)
        assert "profile" not in str(error)
        assert "canary" not in f"{error!r} {error} {vars(error)}"


class TestNothingIsShown:
    """Neither the external id nor the role's keys are in an error, in all that hangs on it, or in a log."""

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    @pytest.mark.parametrize("fault", ["refused", "useless", "down", "secret"])
    async def test_errors(
        self, stub: StubSecretsManager, sts: RoleStub, caplog: pytest.LogCaptureFixture, way: str, fault: str
    ) -> None:
        """Whatever fails, the frames of the error hold none of them."""
        caplog.set_level(logging.DEBUG)
        if fault == "refused":
            sts.refuse()
        elif fault == "useless":
            sts.life = -1.0
        elif fault == "down":
            sts.refuse("ServiceUnavailable", "down", status=503)
        else:
            stub.error("AccessDeniedException")
        options: dict[str, Any] = {"policy": None, "role_arn": ROLE, "external_id": TOKEN, "config": ONE_ATTEMPT}
        manager = AsyncCredentialsManager("prod/db", endpoint_url=stub.url, **options)
        async with pool_of(stub, **options) as pool:
            error = await error_of(pool.manager("prod/db") if way == "pooled" else manager)
            assert_silent(of_error(error))
        assert error.role_arn == ROLE
        assert sts.asked
        assert sts.asked[0].parameters["ExternalId"] == TOKEN
        assert leaked(caplog.text) is None


class TestRenewal:
    """The credentials are renewed before they end, and used until then whatever STS does."""

    async def test_ahead(self, stub: StubSecretsManager, sts: RoleStub, time: Time) -> None:
        """They are renewed in the last 15 minutes of the hour, by one call, and not before."""
        async with pool_of(stub) as pool:
            manager = pool.manager("a")
            await manager.get()
            time.now += HOUR - 15 * 60 - 1
            await manager.get()
            assert len(sts.asked) == 1
            time.now += 2
            await asyncio.gather(*(manager.get() for _ in range(5)))
            assert len(sts.asked) == 2
            await manager.get()
        assert signed_with(stub)[-1] == "ASIA0002"
        assert len(sts.asked) == 2

    async def test_an_outage_is_bridged(
        self, stub: StubSecretsManager, sts: RoleStub, time: Time, caplog: pytest.LogCaptureFixture
    ) -> None:
        """While STS fails, each fetch succeeds until the last minute; one a minute asks STS; the log says so once."""
        caplog.set_level(logging.INFO, "aiocredentials")
        async with pool_of(stub, config=ONE_ATTEMPT) as pool:
            manager = pool.manager("a")
            await manager.get()
            sts.refuse("ServiceUnavailable", "down", status=503, times=20)
            time.now += HOUR - 15 * 60
            for _ in range(14):
                for _ in range(3):
                    assert await manager.get() == EXPECTED
                time.now += 60
            assert len(sts.asked) == 15
            assert set(signed_with(stub)) == {"ASIA0001"}
            assert [record.levelname for record in ours_of(caplog)] == ["WARNING"]
            assert ROLE in ours_of(caplog)[0].getMessage()
            with pytest.raises(CredentialSourceError):
                await manager.get()
            sts._answers.clear()
            assert await manager.get() == EXPECTED
        assert signed_with(stub)[-1] == "ASIA0002"
        assert [record.levelname for record in ours_of(caplog)] == ["WARNING", "INFO"]

    async def test_failures_in_turn(
        self, stub: StubSecretsManager, sts: RoleStub, time: Time, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Failures of two kinds that alternate are logged once each until a renewal succeeds."""
        async with pool_of(stub, config=ONE_ATTEMPT, policy=None) as pool:
            manager = pool.manager("a")
            await manager.get()
            time.now += HOUR - 15 * 60
            for code, status in [("ServiceUnavailable", 503), ("AccessDenied", 403)] * 3:
                sts.refuse(code, "no", status=status, times=1)
                assert await manager.get() == EXPECTED
                time.now += 60
        assert [record.levelname for record in ours_of(caplog)] == ["WARNING", "WARNING"]

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    async def test_a_hanging_sts(
        self, stub: StubSecretsManager, sts: RoleStub, time: Time, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        """While STS hangs, one call waits as long as the patience, and the others don't wait at all."""
        begun = asyncio.Event()
        renew = assuming.AssumedRole._renewed

        async def once(role: assuming.AssumedRole, region: Any) -> Any:  # noqa: ANN401 - passed on
            monkeypatch.setattr(assuming.AssumedRole, "_renewed", never)
            begun.set()
            return await renew(role, region)

        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        async with pool_of(stub) as pool:
            read = pool.manager("a").get if way == "pooled" else manager.get
            await read()
            sts.gate.clear()
            time.now += HOUR - 10 * 60
            monkeypatch.setattr(assuming, "PATIENCE", 0.05)
            monkeypatch.setattr(assuming.AssumedRole, "_renewed", once)
            waiting = asyncio.create_task(read())
            await begun.wait()
            assert await asyncio.gather(*(read() for _ in range(5))) == [EXPECTED] * 5
            assert await waiting == EXPECTED
            sts.gate.set()
        assert set(signed_with(stub)) == {"ASIA0001"}

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    async def test_a_short_timeout(  # noqa: PLR0917 (fixtures)
        self,
        stub: StubSecretsManager,
        sts: RoleStub,
        time: Time,
        caplog: pytest.LogCaptureFixture,
        monkeypatch: pytest.MonkeyPatch,
        way: str,
    ) -> None:
        """Waiting for a renewal takes a share of the call's own time: also one with a short timeout succeeds."""
        monkeypatch.setattr(assuming, "PATIENT_SHARE", 0.005)
        options: dict[str, Any] = {"policy": None, "role_arn": ROLE, "timeout": 10}
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, **options)
        async with pool_of(stub, **options) as pool:
            read = pool.manager("a").get if way == "pooled" else manager.get
            await read()
            sts.gate.clear()
            time.now += HOUR - 10 * 60
            assert await read() == EXPECTED
            sts.gate.set()
        assert "can't be renewed yet" in caplog.text

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    async def test_a_slow_sts(
        self, stub: StubSecretsManager, sts: RoleStub, time: Time, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        """A renewal that takes longer than the patience goes on, and the calls after it use its result."""
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        async with pool_of(stub) as pool:
            read = pool.manager("a").get if way == "pooled" else manager.get
            await leave_a_renewal(read, sts, time, monkeypatch)
            renewals = renewals_of(asyncio.all_tasks())
            assert len(renewals) == 1
            sts.gate.set()
            await asyncio.wait(renewals)
            await read()
        assert signed_with(stub) == ["ASIA0001", "ASIA0001", "ASIA0002"]
        assert len(sts.asked) == 2

    @pytest.mark.parametrize("end", ["close", "forget", "forget without a pool", "refused"])
    async def test_a_renewal_that_is_not_needed(
        self, stub: StubSecretsManager, sts: RoleStub, time: Time, monkeypatch: pytest.MonkeyPatch, end: str
    ) -> None:
        """A renewal that goes on alone ends with its pool, and when the role's credentials are dropped."""
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        async with pool_of(stub) as pool:
            read = manager.get if end in {"forget without a pool", "refused"} else pool.manager("a").get
            await leave_a_renewal(read, sts, time, monkeypatch)
            renewals = renewals_of(asyncio.all_tasks())
            if end.startswith("forget"):
                forget_all()
            elif end == "refused":
                # The second attempt waits for the STS that hangs.
                stub.error("ExpiredTokenException")
                again = asyncio.create_task(read())
                await sts.arrival(3)
                again.cancel()
            else:
                await pool.aclose()
            await asyncio.wait(renewals)
            assert all(task.cancelled() for task in renewals)
            sts.gate.set()

    async def test_a_late_opening(self, stub: StubSecretsManager, sts: RoleStub, time: Time) -> None:
        """A renewal has the time of a whole call, also if the last client was opened at the end of one."""
        async with pool_of(stub) as pool:
            manager = pool.manager("a")
            await manager.get()
            for clients in pool._session._loops.get()._all():
                clients.current._shared.seconds = 0.0
            time.now += HOUR
            assert await manager.get() == EXPECTED
        assert len(sts.asked) == 2

    async def test_stale_values(self, stub: StubSecretsManager, sts: RoleStub, time: Time) -> None:
        """After the end, STS's silence is transient: the cache serves its value up to max_stale."""
        clock = FakeClock()
        policy = CachePolicy(ttl=60, max_stale=3600, jitter=0)
        async with pool_of(stub, policy=policy, clock=clock, config=ONE_ATTEMPT) as pool:
            manager = pool.manager("a")
            await manager.get()
            sts.refuse("ServiceUnavailable", "down", status=503, times=2)
            time.now += HOUR
            clock.advance(61)
            assert await manager.get() == EXPECTED
            with pytest.raises(CredentialSourceError):
                await manager.refresh()
        assert len(stub.requests) == 1

    async def test_a_cancelled_caller(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """A cancelled caller disturbs nobody; the last one that leaves ends the assumption."""
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        sts.gate.clear()
        first, second = (asyncio.create_task(manager.get()) for _ in range(2))
        await sts.arrival()
        first.cancel()
        await asyncio.wait([first])
        sts.gate.set()
        assert await second == EXPECTED
        assert (first.cancelled(), len(sts.asked)) == (True, 1)

    async def test_the_last_caller_leaves(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """An assumption that nobody waits for any more is ended: no task is left, and the next call begins anew."""
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        sts.gate.clear()
        reading = asyncio.create_task(manager.get())
        await sts.arrival()
        before = asyncio.all_tasks()
        reading.cancel()
        await asyncio.wait([reading])
        for _ in range(10):  # a task that was cancelled last needs a few turns of the loop to end
            await asyncio.sleep(0)
        assert not [task for task in before if not task.done() and "_in_time" in repr(task)]
        sts.gate.set()
        assert await manager.get() == EXPECTED

    async def test_close_meanwhile(self, stub: StubSecretsManager, sts: RoleStub) -> None:
        """Closing ends an assumption under way, and the caller's error says that the pool was closed."""
        sts.gate.clear()
        async with pool_of(stub) as pool:
            reading = asyncio.create_task(pool.manager("a").get())
            await sts.arrival()
        with pytest.raises(PoolClosedError):
            await reading


def renewals_of(tasks: set[asyncio.Task[Any]]) -> set[asyncio.Task[Any]]:
    """Return the tasks of shared work."""
    return {task for task in tasks if "_in_time" in repr(task)}


async def leave_a_renewal(
    read: Callable[[], Awaitable[object]], sts: RoleStub, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read twice, so that the second read leaves a renewal whose STS hangs."""
    await read()
    time.now += HOUR - 10 * 60
    sts.gate.clear()
    # STS has been asked when the patience ends.
    monkeypatch.setattr(assuming, "PATIENCE", 0.1)
    await read()
    await sts.arrival(2)


async def never(*_: object) -> Any:  # noqa: ANN401 - it returns nothing
    """Fail the call that asks STS although another one does."""
    raise AssertionError("this call asked STS")


class TestHealing:
    """Credentials of a role that AWS refuses are replaced, and the call is made once more."""

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    @pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
    async def test_refused_by_secrets_manager(
        self, stub: StubSecretsManager, sts: RoleStub, way: str, code: str
    ) -> None:
        """The role is assumed anew by the process's credentials, which are loaded again; other roles aren't touched."""
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        async with pool_of(stub) as pool:
            other = pool.manager("a", role_arn=OTHER_ROLE)
            await other.get()
            own = pool.manager("a") if way == "pooled" else manager
            await own.get()
            stub.error(code)
            os.environ["AWS_ACCESS_KEY_ID"] = "AKIANEW"
            assert await own.get() == EXPECTED
            await other.get()
        assert signed_with(stub) == ["ASIA0001", "ASIA0002", "ASIA0002", "ASIA0003", "ASIA0001"]
        assert [one.access_key for one in sts.asked] == ["AKIABASE", "AKIABASE", "AKIANEW"]

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    async def test_many_refusals(self, stub: StubSecretsManager, sts: RoleStub, way: str) -> None:
        """Of many calls that are refused one after the other, the first one has the role assumed anew for all."""
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        gates = [asyncio.Event() for _ in range(3)]
        for gate in gates:
            stub.answer(status=400, body={"__type": "ExpiredTokenException", "Message": "No."}, gate=gate)
        async with pool_of(stub) as pool:
            reading = [asyncio.create_task((pool.manager("a") if way == "pooled" else manager).get()) for _ in range(3)]
            await stub.arrival(3)
            for count, gate in enumerate(gates, 4):
                gate.set()
                await stub.arrival(count)
            assert await asyncio.gather(*reading) == [EXPECTED] * 3
        assert len(sts.asked) == 2

    @pytest.mark.parametrize("way", ["pooled", "per call"])
    async def test_base_refused_by_sts(self, stub: StubSecretsManager, sts: RoleStub, way: str) -> None:
        """If STS calls the process's credentials expired, they are loaded anew, and the call is made once more."""
        sts.refuse("ExpiredToken", "The security token included in the request is expired")
        manager = AsyncCredentialsManager("a", endpoint_url=stub.url, policy=None, role_arn=ROLE)
        async with pool_of(stub) as pool:
            assert await (pool.manager("a") if way == "pooled" else manager).get() == EXPECTED
        assert len(sts.asked) == 2

    async def test_a_renewal_loads_the_base_anew(self, stub: StubSecretsManager, sts: RoleStub, time: Time) -> None:
        """After a failed renewal, the next one has a new session, which reads the configuration again."""
        async with pool_of(stub) as pool:
            manager = pool.manager("a")
            await manager.get()
            sts.refuse("InvalidClientTokenId", "No.")
            os.environ["AWS_ACCESS_KEY_ID"] = "AKIANEW"
            time.now += HOUR - 600
            await manager.get()
            time.now += 61
            await manager.get()
        assert [one.access_key for one in sts.asked] == ["AKIABASE", "AKIABASE", "AKIANEW"]
        assert signed_with(stub) == ["ASIA0001", "ASIA0001", "ASIA0002"]


async def test_abandoned_with_its_loop(stub: StubSecretsManager, sts: RoleStub) -> None:
    """The clients of a role in a loop that was closed without it are dropped with it."""
    pool = pool_of(stub)
    await pool.open()
    thread = threading.Thread(target=lambda: asyncio.run(one_read(pool)))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert len(pool._session._loops._states) == 1
    await pool.aclose()
    assert not pool._session._loops._states
    assert len(sts.asked) == 1


async def one_read(pool: CredentialsPool) -> None:
    """Read a secret once."""
    await pool.manager("a").get()
