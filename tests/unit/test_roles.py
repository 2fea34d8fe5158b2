"""A role is a part of what is asked: of the arguments, of the cache's key, and of nothing that is printed."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiobotocore.credentials import AioCredentials
from aiobotocore.session import AioSession
from aiobotocore.signers import AioRequestSigner

from aiocredentials import AsyncCredentialsManager, CredentialsPool, SecretExpiredError
from aiocredentials._aws import loading
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.roles import Role, default_session_name
from aiocredentials._aws.session import Opened
from aiocredentials.errors import AccessDeniedError, make_error
from aiocredentials.testing import FakeSecretsManager
from unit.fake_aws import FakeAWS, pool_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiocredentials._aws.regions import Region

ARN = "arn:aws:iam::123456789012:role/reader"
OTHER = "arn:aws-us-gov:iam::210987654321:role/teams/blue/reader+x"
EXTERNAL_ID = "canary-external-id"


class AccountsByRole(FakeAWS):
    """Secrets that differ by the role that asks: `by_role` has the fake of each role."""

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.by_role = {ARN: FakeAWS(*names), OTHER: FakeAWS(*names)}

    @asynccontextmanager
    async def client(
        self, region: Region | None, deadline: asyncio.Timeout, role: object = None
    ) -> AsyncIterator[Opened]:
        """Lend the fake of the role."""
        del deadline
        asked: FakeAWS = self if role is None else self.by_role[cast("Role", role).role_arn]
        yield Opened(cast("Any", asked), region or await self.region())


class TestArguments:
    """What can't work is refused when it is written, with a sentence that says what to give."""

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"external_id": EXTERNAL_ID}, "external_id and role_session_name are about a role: give role_arn"),
            ({"role_session_name": "orders"}, "give role_arn as well"),
            ({"role_arn": ""}, "role_arn is empty: give the ARN of a role"),
            ({"role_arn": "reader"}, "role_arn is 'reader', which isn't a role's ARN: give the ARN of a role, such as"),
            ({"role_arn": "arn:aws:sts::123456789012:assumed-role/reader/x"}, "isn't a role's ARN"),
            ({"role_arn": "arn:aws:iam::1234:role/reader"}, "isn't a role's ARN"),
            ({"role_arn": f"{ARN}\n"}, "isn't a role's ARN"),
            ({"role_arn": ARN + "x" * 2048}, "isn't a role's ARN"),
            ({"role_arn": ARN, "external_id": "x"}, "give 2 to 1224 letters"),
            ({"role_arn": ARN, "external_id": f"{EXTERNAL_ID} "}, "STS doesn't accept this external_id"),
            ({"role_arn": ARN, "external_id": EXTERNAL_ID * 100}, "STS doesn't accept this external_id"),
            ({"role_arn": ARN, "role_session_name": "a b"}, "role_session_name is 'a b', which STS doesn't accept"),
            ({"role_arn": ARN, "role_session_name": "ö" * 3}, "give 2 to 64 letters"),
            ({"role_arn": ARN, "role_session_name": "x" * 65}, "give 2 to 64 letters"),
        ],
    )
    def test_refused(self, arguments: dict[str, Any], words: str) -> None:
        """A pool, its managers and a manager without a pool check the same, and show no external id."""
        makers = (CredentialsPool, CredentialsPool().manager, AsyncCredentialsManager)
        for make in makers:
            names = () if make is CredentialsPool else ("prod/db",)
            with pytest.raises(ValueError, match=r"role|STS") as caught:
                cast("Any", make)(*names, **arguments)
            assert words in str(caught.value)
            assert "canary" not in str(caught.value)

    @pytest.mark.parametrize("name", ["role_arn", "external_id", "role_session_name"])
    def test_types(self, name: str) -> None:
        """An argument that isn't a string is a TypeError."""
        with pytest.raises(TypeError, match=f"{name} is a int, not a string"):
            CredentialsPool(**cast("Any", {"role_arn": ARN, name: 5}))

    @pytest.mark.parametrize("arn", [ARN, OTHER])
    def test_accepted(self, arn: str) -> None:
        """Each partition and path is accepted, and the limits of STS are inside."""
        CredentialsPool(role_arn=arn, external_id="a:/" * 408, role_session_name="x" * 64)

    def test_a_custom_session(self) -> None:
        """A session that makes its own clients can't be signed in by a role: that is said at once."""
        fake = FakeSecretsManager()
        words = "session is a FakeSecretsManager, which makes its own clients, so it can't use role_arn"
        with pytest.raises(ValueError, match=words):
            CredentialsPool(session=fake, role_arn=ARN)
        with pytest.raises(ValueError, match=words):
            AsyncCredentialsManager("a", session=fake, role_arn=ARN)
        with pytest.raises(ValueError, match=words):
            CredentialsPool(session=fake).manager("a", role_arn=ARN)

    def test_a_managers_own_role(self) -> None:
        """A manager has its pool's role, unless it names its own, whose other settings are its own as well."""
        pool = CredentialsPool(role_arn=ARN, external_id=EXTERNAL_ID)
        assert pool.manager("a")._request.role == Role(ARN, EXTERNAL_ID)
        assert pool.manager("a", role_arn=OTHER)._request.role == Role(OTHER)
        assert CredentialsPool().manager("a")._request.role is None

    def test_session_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The default session name is that of the process, however its host is called, and fits STS's limit."""
        monkeypatch.setattr(socket, "gethostname", lambda: "höst name." + "x" * 80)
        name = default_session_name()
        assert name == default_session_name()
        assert name.startswith("aiocredentials-h-st-name.xxx")
        assert name.endswith(f"x-{os.getpid()}")
        assert len(name) == 64
        monkeypatch.setattr(os, "getpid", lambda: 7)
        assert default_session_name().endswith("-7")


class TestNeverShown:
    """The external id is in no repr, and roles are compared by it all the same."""

    def test_repr(self) -> None:
        """A role, a request and a manager show the role's ARN alone."""
        role = Role(ARN, EXTERNAL_ID, "orders")
        request = SecretRequest("a", role=role)
        manager = CredentialsPool().manager("a", "eu-west-1", role_arn=ARN, external_id=EXTERNAL_ID)
        assert repr(role) == f"Role('{ARN}')"
        assert repr(manager) == f"<AsyncCredentialsManager 'a' in 'eu-west-1' as {ARN}, pooled>"
        assert EXTERNAL_ID not in f"{request} {request!r} {request.facts()} {manager!r}"

    def test_equality(self) -> None:
        """All three settings count."""
        role = Role(ARN, EXTERNAL_ID, "orders")
        assert role == Role(ARN, EXTERNAL_ID, "orders")
        assert hash(role) == hash(Role(ARN, EXTERNAL_ID, "orders"))
        # Each is compared by itself, because a set would compare the hashes first.
        assert role != Role(OTHER, EXTERNAL_ID, "orders")
        assert role != Role(ARN, None, "orders")
        assert role != Role(ARN, EXTERNAL_ID)
        assert role != ARN

    def test_errors(self) -> None:
        """An error says by which role, also in a copy and when it is pickled."""
        error = make_error(AccessDeniedError, "No.", secret_name="a", role_arn=ARN)
        assert f"Asked: secret 'a', as role '{ARN}'. " in str(error)
        assert pickle.loads(pickle.dumps(error)).role_arn == ARN  # noqa: S301 - our own


class TestCache:
    """A role is a part of the cache's key; an invalidation concerns all roles."""

    async def test_apart(self) -> None:
        """Neither an entry nor a flight of one role answers another one."""
        aws = AccountsByRole("a")
        arn = aws.by_role[OTHER].secrets["a"].arn
        aws.by_role[OTHER].rotate("a")
        aws.by_role[OTHER].latency = aws.latency = 1e-9
        async with pool_of(aws) as pool:
            managers = [pool.manager("a"), pool.manager("a", role_arn=ARN), pool.manager("a", role_arn=OTHER)]
            secrets = await asyncio.gather(*(manager.secret() for manager in managers * 2))
            assert [secret.version_id for secret in secrets] == ["version-1", "version-1", "version-2"] * 2
            # An alias is one of the same role.
            await pool.manager(arn, role_arn=OTHER).secret()
            assert pool.stats().fetches == pool.stats().entries == 3

    @pytest.mark.parametrize("asked_by", [None, ARN])
    async def test_invalidation(self, asked_by: str | None) -> None:
        """Whichever manager invalidates, each role fetches anew."""
        aws = AccountsByRole("a")
        async with pool_of(aws) as pool:
            managers = [pool.manager("a"), pool.manager("a", role_arn=ARN), pool.manager("a", role_arn=OTHER)]
            for manager in managers:
                await manager.secret()
            for fake in (aws, *aws.by_role.values()):
                fake.rotate("a")
            pool.manager("a", role_arn=asked_by).invalidate(if_version="version-1")
            assert [(await manager.secret()).version_id for manager in managers] == ["version-2"] * 3
            for fake in (aws, *aws.by_role.values()):
                fake.rotate("a")
            pool.manager("a", role_arn=asked_by).invalidate()
            assert [(await manager.secret()).version_id for manager in managers] == ["version-3"] * 3

    async def test_invalidation_during_a_first_fetch(self) -> None:
        """A fetch of another role that began before an invalidation answers nobody who asks after it."""
        aws = AccountsByRole("a")
        other = aws.by_role[OTHER]
        other.latency = 1e-9
        async with pool_of(aws) as pool:
            reader = pool.manager("a", role_arn=OTHER)
            await pool.manager("a", role_arn=ARN).secret()
            first = asyncio.create_task(reader.secret())
            while not other.calls:  # noqa: ASYNC110 (until the fetch has begun)
                await asyncio.sleep(0)
            pool.manager("a", role_arn=ARN).invalidate()
            await reader.secret()
            await first
            assert len(other.calls) == 2

    async def test_expired(self) -> None:
        """The error for a value that is too old names the role as well."""
        aws = AccountsByRole("a")
        clock = [0.0]
        async with pool_of(aws, clock=lambda: clock[0]) as pool:
            manager = pool.manager("a", role_arn=ARN)
            await manager.secret()
            aws.by_role[ARN].failures["GetSecretValue"] = "InternalServiceError"
            clock[0] = 1e6
            with pytest.raises(SecretExpiredError, match=f"as role '{ARN}'") as caught:
                await manager.secret()
            assert caught.value.role_arn == ARN


def test_hooks_of_aiobotocore() -> None:
    """The hooks that sign as a role exist: the session's kept credentials, and the one method that signers ask."""
    assert "_credentials" in inspect.getsource(AioSession.get_credentials)
    assert "await credentials.get_frozen_credentials()" in inspect.getsource(AioRequestSigner.get_auth_instance)
    assert inspect.iscoroutinefunction(AioCredentials.get_frozen_credentials)


def test_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What roles need is loaded once, however many threads ask, and nothing is loaded without a role."""
    tried: list[object] = []
    monkeypatch.setattr(loading, "_is_ready_for_roles", False)
    monkeypatch.setattr(asyncio, "run", lambda coroutine: (coroutine.close(), tried.append(coroutine)))
    loading._load_roles()
    loading._load_roles()
    assert len(tried) == 1
