"""The credential chain of our sessions, and of copies of a caller's.

What is whose, and what is made anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import aioboto3
import pytest
from aiobotocore.credentials import (
    AioAssumeRoleProvider,
    AioContainerProvider,
    AioCredentialResolver,
    AioCredentials,
    AioInstanceMetadataProvider,
    AioProcessProvider,
    AioRefreshableCredentials,
)
from aiobotocore.session import AioSession

from aiocredentials import CredentialsPool
from aiocredentials._aws import aiosession, chain as _chain, transport as _transport
from aiocredentials._aws.session import open_session
from aiocredentials._aws.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


def expiring(
    refresh: Callable[[], Awaitable[dict[str, str]]] | None = None, method: str = "mine", *, minutes: int = 60
) -> AioRefreshableCredentials:
    """Make credentials that expire."""

    async def never() -> NoReturn:
        pytest.fail("there is no need to renew them")

    until = datetime.now(UTC) + timedelta(minutes=minutes)
    return AioRefreshableCredentials("AKIAFIRST", "x", "t", until, refresh or never, method)


def metadata(access_key: str) -> dict[str, str]:
    """Return what a function that renews credentials does."""
    until = datetime.now(UTC) + timedelta(hours=1)
    return {"access_key": access_key, "secret_key": "x", "token": "t", "expiry_time": until.isoformat()}


def provider_of(core: Any, kind: type[Any]) -> Any:  # noqa: ANN401 (botocore's classes have no stubs)
    """Return the provider of a kind in a session's chain."""
    return next(each for each in core.get_component("credential_provider").providers if isinstance(each, kind))


@pytest.fixture
def refused() -> Iterator[None]:
    """Forget what was refused in this test."""
    yield
    _chain._refused.clear()


class TestOurs:
    """The chain of sessions that we make."""

    async def test_protected(self) -> None:
        """Helper processes, device codes and metadata services are ours."""
        session: Any = await open_session(ClientSettings())
        core = session._session
        assert provider_of(core, AioProcessProvider)._popen is _chain.start_helper
        assert provider_of(core, AioAssumeRoleProvider)._prompter is _chain.refuse_mfa
        builder = provider_of(core, AioAssumeRoleProvider)._profile_provider_builder
        assert builder._create_process_provider("other")._popen is _chain.start_helper
        for kind, name in {AioContainerProvider: "_fetcher", AioInstanceMetadataProvider: "_role_fetcher"}.items():
            http = getattr(provider_of(core, kind), name)._session
            first, second = http.acquire(), http.acquire()
            assert isinstance(first, _transport.TrustedSession)
            assert first is not second

    async def test_searched_twice(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A search through a source profile that failed can be repeated with the same session."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        (tmp_path / "config").write_text(
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/app\nsource_profile = base\n"
            f"[profile base]\ncredential_process = {tmp_path}/missing\n",
            encoding="utf-8",
        )
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        session: Any = await open_session(ClientSettings())
        core = session._session
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                await _chain.resolve(core.get_credentials, core)


class TestCopies:
    """A copy of a caller's session."""

    async def test_theirs_stays(self) -> None:
        """Nothing of the copy shows in the session that was copied."""
        core = AioSession()
        core.get_scoped_config()  # what it reads and remembers by itself
        before = dict(vars(core)), dict(vars(core._components))
        copy: Any = await open_session(ClientSettings(session=core))
        assert copy is not core
        await copy.get_credentials()
        assert (dict(vars(core)), dict(vars(core._components))) == before
        assert core.get_config_variable("retry_mode") == "legacy"
        assert copy.get_config_variable("retry_mode") == "standard"
        assert provider_of(copy, AioProcessProvider)._popen is _chain.start_helper
        assert provider_of(core, AioProcessProvider)._popen is not _chain.start_helper

    async def test_one_of_ours(self) -> None:
        """A copy of a session that is ours already, as the doctor makes one, is as protected."""
        ours: Any = await open_session(ClientSettings())
        copy: Any = await open_session(ClientSettings(session=ours))
        assert provider_of(copy, AioAssumeRoleProvider)._prompter is _chain.refuse_mfa
        http = provider_of(copy, AioContainerProvider)._fetcher._session
        assert isinstance(http, aiosession._MetadataSessions)

    async def test_providers_of_their_own(self) -> None:
        """What the caller has added to the chain is there, in its place.

        Botocore's own providers are the copy's.
        """

        class Vault:
            METHOD = CANONICAL_NAME = "vault"

            async def load(self) -> AioCredentials:
                return AioCredentials("AKIAVAULT", "x", method="vault")

        core = AioSession()
        chain: Any = core.get_component("credential_provider")
        chain.insert_before("env", Vault())
        chain.remove("iam-role")
        copy: Any = await open_session(ClientSettings(session=core))
        names = [provider.METHOD for provider in copy.get_component("credential_provider").providers]
        assert names == [provider.METHOD for provider in chain.providers]
        assert (await copy.get_credentials()).access_key == "AKIAVAULT"
        assert provider_of(copy, AioProcessProvider) is not provider_of(core, AioProcessProvider)

    async def test_settings_of_their_own(self) -> None:
        """A function that asks for device codes, and a cache of roles, stay the caller's."""
        core = AioSession()
        theirs = provider_of(core, AioAssumeRoleProvider)

        class OnDisk(dict[str, Any]):
            pass

        theirs._prompter, theirs.cache = input, OnDisk()
        copy: Any = await open_session(ClientSettings(session=core))
        ours = provider_of(copy, AioAssumeRoleProvider)
        assert (ours._prompter, ours.cache) == (input, theirs.cache)
        plain = AioSession()
        plain.get_component("credential_provider")
        copy = await open_session(ClientSettings(session=plain))
        ours = provider_of(copy, AioAssumeRoleProvider)
        assert ours._prompter is _chain.refuse_mfa
        assert ours.cache is not provider_of(plain, AioAssumeRoleProvider).cache

    async def test_a_provider_of_roles_of_their_own(self) -> None:
        """A subclass of botocore's provider of roles is the caller's own provider, and stays as it is."""

        class Roles(AioAssumeRoleProvider):
            pass

        core = AioSession()
        theirs = provider_of(core, AioAssumeRoleProvider)
        theirs.__class__ = Roles
        before = dict(vars(theirs))
        copy: Any = await open_session(ClientSettings(session=core))
        assert provider_of(copy, Roles) is theirs
        assert vars(theirs) == before

    async def test_a_chain_of_another_kind(self) -> None:
        """A caller's own object in place of the chain is used as it is."""

        class Chain:
            async def load_credentials(self) -> AioCredentials:
                return AioCredentials("AKIACHAIN", "x")

        core = AioSession()
        core.register_component("credential_provider", Chain())
        copy: Any = await open_session(ClientSettings(session=core))
        assert (await _chain.resolve(copy.get_credentials, copy)).access_key == "AKIACHAIN"

    @pytest.mark.usefixtures("refused")
    async def test_an_empty_chain_of_another_kind(self) -> None:
        """Nor does it matter when AWS refuses what such an object found."""
        core = AioSession()
        core.register_component("credential_provider", object())
        core._credentials = AioCredentials("AKIAGIVEN", "x")
        _chain.refuse(core)
        copy: Any = await open_session(ClientSettings(session=core))
        assert copy._credentials is core._credentials


@pytest.mark.usefixtures("refused")
class TestCredentials:
    """The credentials that a copy of a caller's session begins with."""

    async def copied(self, credentials: object) -> Any:  # noqa: ANN401 (botocore's)
        """Return what a copy has of them."""
        core = AioSession()
        core._credentials = credentials
        copy: Any = await open_session(ClientSettings(session=core))
        return copy._credentials

    async def test_static_ones(self) -> None:
        """Keys that don't expire are shared; none are none."""
        keys = AioCredentials("AKIAGIVEN", "x")
        assert await self.copied(keys) is keys
        assert await self.copied(None) is None

    async def test_expiring_ones(self) -> None:
        """Those that expire are copied for each loop, with a lock of its own."""
        theirs = expiring()
        ours = await self.copied(theirs)
        assert ours is not theirs
        assert ours._refresh_lock is not theirs._refresh_lock
        assert (await ours.get_frozen_credentials()).access_key == "AKIAFIRST"

    @pytest.mark.parametrize("method", ["iam-role", "container-role"])
    async def test_of_a_metadata_service(self, method: str) -> None:
        """What asks with an HTTP session of another loop is searched anew.

        A caller's own function isn't.
        """
        theirs = expiring(method=method)
        assert await self.copied(theirs) is not None
        theirs._refresh_using = AioProcessProvider("default", dict)._retrieve_credentials_using
        assert await self.copied(theirs) is None

    async def test_refused(self) -> None:
        """What the chain found is searched anew once AWS has refused it.

        What the caller gave is kept, and renewed.
        """
        renewed: list[str] = []

        async def refresh() -> dict[str, str]:
            renewed.append("once")
            return metadata("AKIARENEWED")

        core = AioSession()
        for credentials, kept in (
            (AioCredentials("AKIAFILE", "x", method="shared-credentials-file"), False),
            (AioCredentials("AKIAGIVEN", "x"), True),
            (expiring(refresh), True),
            (expiring(refresh, "assume-role"), True),
        ):
            core._credentials = credentials
            _chain.refuse(core)
            copy: Any = await open_session(ClientSettings(session=core))
            assert (copy._credentials is not None) is kept
        assert (await copy._credentials.get_frozen_credentials()).access_key == "AKIARENEWED"
        assert renewed == ["once"]

    async def test_the_files_are_read_again(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """With refused credentials, the copy forgets what the configuration files said."""
        config = tmp_path / "config"
        config.write_text("[default]\nregion = eu-west-1\n", encoding="utf-8")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        core = AioSession()
        assert core.get_scoped_config() == {"region": "eu-west-1"}
        core._credentials = AioCredentials("AKIAGIVEN", "x")
        config.write_text("[default]\nregion = eu-west-2\n", encoding="utf-8")
        copy: Any = await open_session(ClientSettings(session=core))
        assert copy.get_scoped_config() == {"region": "eu-west-1"}
        _chain.refuse(core)
        copy = await open_session(ClientSettings(session=core))
        assert copy.get_scoped_config() == {"region": "eu-west-2"}
        assert core.get_scoped_config() == {"region": "eu-west-1"}

    async def test_what_cannot_be_noted(self) -> None:
        """An object of the caller's that can't be referred to weakly is used on as it is."""

        class Own:
            __slots__ = ()

        core = AioSession()
        core._credentials = Own()
        _chain.refuse(core)
        assert await self.copied(core._credentials) is core._credentials

    def test_nothing_is_kept(self) -> None:
        """Refused credentials go when their session goes."""
        core = aioboto3.Session("AKIAGIVEN", "x")._session
        _chain.refuse(core)
        assert len(_chain._refused) == 1
        del core
        gc.collect()
        assert len(_chain._refused) == 0

    async def test_renewal_that_fails(self) -> None:
        """A failing renewal is noted, once for each time, and raised all the same.

        A cancelled one isn't.
        """
        noted: list[str] = []
        outcomes: list[BaseException] = [ZeroDivisionError(), asyncio.CancelledError()]

        async def refresh() -> NoReturn:
            raise outcomes.pop(0)

        credentials = expiring(refresh, minutes=1)
        for _ in range(2):
            _chain.when_refresh_fails(credentials, lambda: noted.append("failed"))
        for kind in (ZeroDivisionError, asyncio.CancelledError):
            with pytest.raises(kind):
                await credentials.get_frozen_credentials()
        assert noted == ["failed"]
        _chain.when_refresh_fails(AioCredentials("AKIAGIVEN", "x"), lambda: None)


def test_expiring_credentials_in_many_loops() -> None:
    """One session with expiring credentials serves loop after loop; each renews them once."""
    renewals: list[int] = []

    async def refresh() -> dict[str, str]:
        renewals.append(id(asyncio.get_running_loop()))
        for _ in range(5):
            await asyncio.sleep(0)
        return metadata("AKIARENEWED")

    core = AioSession()
    core._credentials = expiring(refresh, minutes=1)
    pool = CredentialsPool("us-east-1", session=core, endpoint_url="http://127.0.0.1:1", policy=None)

    async def sign() -> None:
        await pool.open()

        async def one(region: str) -> None:
            async with asyncio.timeout(20) as deadline:
                from aiocredentials._aws.regions import Region  # noqa: PLC0415 (for this line)

                async with pool._session.client(Region(region, ""), deadline) as (client, _):
                    signer: Any = client._request_signer
                    frozen = await signer._credentials.get_frozen_credentials()
                    assert frozen.access_key == "AKIARENEWED"

        await asyncio.gather(*(one(f"eu-west-{number % 3 + 1}") for number in range(10)))

    for _ in range(3):
        asyncio.run(sign())
    asyncio.run(pool.aclose())
    assert len(renewals) == 3


async def test_a_metadata_session_is_for_one_question() -> None:
    """A question that is cancelled at any moment leaves nothing that a later one could meet."""
    http = aiosession._MetadataSessions(_transport.TrustedSession(timeout=1))
    for count in range(4):

        async def ask() -> None:
            async with http.acquire() as session:
                assert not (await session.opened("http://169.254.169.254/", None)).closed

        task = asyncio.create_task(ask())
        for _ in range(count):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await ask()


def test_the_resolver_is_botocores() -> None:
    """What is protected is the chain that botocore makes.

    A release that makes another one is noticed.
    """
    core = aiosession.TrustedAioSession()
    assert type(core.get_component("credential_provider")) is AioCredentialResolver
