"""A client heals.

Credentials that come late, that are renewed, or that AWS refuses, don't end a pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import aioboto3
import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.session import AioSession

from aiocredentials import AsyncCredentialsManager, AuthenticationError, CredentialsError, CredentialsPool
from aiocredentials._aws import clients as _clients
from aiocredentials._aws.answered_errors import SIGN_AGAIN
from aiocredentials.errors import AccessDeniedError, EndpointUnreachableError, PoolClosedError
from aiocredentials.testing import FakeSecretsManager
from server.stub import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from server.stub import Request, StubSecretsManager

EXPECTED = {"mock_secret_key": "mock_secret_value"}
# What AWS says of a signature that came too late, and of one by a wrong key, with the same code.
TOO_LATE = "Signature expired: 20261126T120000Z is now earlier than 20261126T121500Z (20261126T122000Z - 5 min.)"
WRONG_KEY = "The request signature we calculated does not match the signature you provided."


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that writes an access key to the only source of AWS credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    path = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))

    def write(access_key: str) -> None:
        path.write_text(
            f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = not-a-real-key\n", encoding="utf-8"
        )

    return write


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Collect the sessions that pools open."""
    opened: list[object] = []
    open_session = _clients.open_session

    async def noted(settings: Any) -> Any:  # noqa: ANN401 (passed on)
        session = await open_session(settings)
        opened.append(session)
        return session

    monkeypatch.setattr(_clients, "open_session", noted)
    return opened


def signed_with(request: Request) -> str:
    """Give the access key that a request was signed with."""
    found = re.search(r"Credential=(\w+)/", request.headers["authorization"])
    assert found is not None
    return found[1]


def accept(
    stub: StubSecretsManager, access_key: str, code: str = "ExpiredTokenException", message: str = "No."
) -> None:
    """Have the stub accept this access key, and answer all others with the code."""

    def answer(request: Request) -> Answer:
        if signed_with(request) == access_key:
            return Answer()
        return Answer(400, {"__type": code, "message": message})

    stub.handler = answer


@contextlib.asynccontextmanager
async def manager_of(
    stub: StubSecretsManager,
    way: str,
    session: aioboto3.Session | AioSession | None = None,
) -> AsyncIterator[AsyncCredentialsManager[Any]]:
    """Lend a manager without a cache: of a pool, or one that opens a session per call."""
    if way == "per call":
        yield AsyncCredentialsManager("prod/db", session=session, endpoint_url=stub.url, policy=None)
    else:
        async with CredentialsPool(session=session, endpoint_url=stub.url, policy=None) as pool:
            yield pool.manager("prod/db")


@pytest.fixture(params=["per call", "pooled"])
def way(request: pytest.FixtureRequest) -> str:
    """Fetch in both of the ways that the library has."""
    name: str = request.param
    return name


class TestNoCredentials:
    """A client that was made without credentials isn't kept."""

    async def test_they_come_later(self, stub: StubSecretsManager, keys: Callable[[str], None], way: str) -> None:
        """The call that finds no credentials fails; the next one looks again."""
        async with manager_of(stub, way) as manager:
            for _ in range(2):
                with pytest.raises(AuthenticationError):
                    await manager.get()
            keys("AKIALATE")
            assert await manager.get() == EXPECTED
        assert [signed_with(request) for request in stub.requests] == ["AKIALATE"]

    async def test_other_regions_look_again(self, stub: StubSecretsManager, keys: Callable[[str], None]) -> None:
        """It holds for a region that was never asked, too, and a client that works is kept."""
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            with pytest.raises(AuthenticationError):
                await pool.manager("prod/db").get()
            keys("AKIALATE")
            for region in ("eu-west-1", "us-east-1", "eu-west-1"):
                assert await pool.manager("prod/db", region).get() == EXPECTED
        assert [request.connection for request in stub.requests] == [1, 2, 1]

    async def test_a_session_that_has_none_at_first(
        self, stub: StubSecretsManager, keys: Callable[[str], None]
    ) -> None:
        """A caller's own session may find its credentials later as well."""
        keys("AKIAFILE")

        class Late(AioSession):
            asked = 0

            async def get_credentials(self) -> Any:  # noqa: ANN401 (botocore's credentials, or None)
                Late.asked += 1
                return None if Late.asked == 1 else await super().get_credentials()

        async with manager_of(stub, "pooled", Late()) as manager:
            with pytest.raises(AuthenticationError):
                await manager.get()
            assert await manager.get() == EXPECTED
        assert Late.asked == 2

    async def test_a_broken_configuration_is_read_again(
        self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A profile that is missing when the pool starts is found once it is written.

        A session remembers its files.
        """
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
        monkeypatch.setenv("AWS_PROFILE", "work")
        async with CredentialsPool("eu-west-1", endpoint_url=stub.url, policy=None) as pool:
            with pytest.raises(AuthenticationError):
                await pool.manager("prod/db").get()
            (tmp_path / "config").write_text("[profile work]\noutput = json\n", encoding="utf-8")
            assert await pool.manager("prod/db").get() == EXPECTED

    async def test_what_works_is_kept(self, stub: StubSecretsManager, sessions: list[object]) -> None:
        """An opening that fails doesn't cost those that work.

        A region that isn't one drops nobody's client.
        """
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            assert await pool.manager("prod/db").get() == EXPECTED
            for _ in range(3):
                with pytest.raises(CredentialsError):
                    await pool.manager("prod/db", "no region").get()
            assert await pool.manager("prod/db").get() == EXPECTED
        assert len(sessions) == 1
        assert [request.connection for request in stub.requests] == [1, 1]

    async def test_an_opening_under_way_is_kept(
        self, stub: StubSecretsManager, sessions: list[object], keys: Callable[[str], None]
    ) -> None:
        """While one region is opened, an opening that fails starts no second session beside it."""
        keys("AKIAFILE")
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            good, bad = pool.manager("prod/db"), pool.manager("prod/db", "no region")
            outcomes = await asyncio.gather(bad.get(), good.get(), return_exceptions=True)
            assert [type(outcomes[0]).__name__, outcomes[1]] == ["InvalidRegionError", EXPECTED]
            assert await good.get() == EXPECTED
        assert len(sessions) == 1


class TestRefusedCredentials:
    """When AWS refuses credentials or signature as too old, the call is made once more."""

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            *((code, "No.") for code in sorted(SIGN_AGAIN)),
            ("ExpiredTokenException", "No."),
            ("UnrecognizedClientException", "No."),
            ("InvalidSignatureException", TOO_LATE),
            ("SignatureDoesNotMatch", TOO_LATE.replace("expired", "not yet current")),
        ],
    )
    async def test_renewed_on_disk(
        self, stub: StubSecretsManager, keys: Callable[[str], None], code: str, message: str
    ) -> None:
        """A pool goes on with keys that were renewed, whatever AWS calls the old ones."""
        keys("AKIAOLD")
        async with manager_of(stub, "pooled") as manager:
            assert await manager.get() == EXPECTED
            keys("AKIANEW")
            accept(stub, "AKIANEW", code, message)
            assert await manager.get() == EXPECTED
            assert await manager.get() == EXPECTED
        assert [signed_with(request) for request in stub.requests] == ["AKIAOLD", "AKIAOLD", "AKIANEW", "AKIANEW"]

    async def test_a_session_per_call(self, stub: StubSecretsManager, keys: Callable[[str], None]) -> None:
        """Without a pool it is a new session that asks once more: keys may be renewed just then."""
        keys("AKIAOLD")

        def renew(_: Request) -> Answer:
            keys("AKIANEW")
            accept(stub, "AKIANEW")
            return Answer(400, {"__type": "ExpiredTokenException", "message": "No."})

        stub.handler = renew
        async with manager_of(stub, "per call") as manager:
            assert await manager.get() == EXPECTED
        assert [signed_with(request) for request in stub.requests] == ["AKIAOLD", "AKIANEW"]

    async def test_once(self, stub: StubSecretsManager, way: str) -> None:
        """If the new signature is refused as well, that is the answer.

        The next call tries once more again.
        """
        stub.error("ExpiredTokenException", times=4)
        async with manager_of(stub, way) as manager:
            for count in (2, 4):
                with pytest.raises(AuthenticationError) as info:
                    await manager.get()
                assert info.value.code == "ExpiredTokenException"
                assert (info.value.__cause__, info.value.__context__) == (None, None)
                assert len(stub.requests) == count
            assert await manager.get() == EXPECTED

    @pytest.mark.parametrize(
        ("code", "message", "kind"),
        [
            ("AccessDeniedException", "No.", AccessDeniedError),
            ("InvalidSignatureException", WRONG_KEY, AuthenticationError),
            ("MissingAuthenticationTokenException", "No.", AuthenticationError),
        ],
    )
    async def test_what_no_signature_changes(
        self, stub: StubSecretsManager, sessions: list[object], code: str, message: str, kind: type[CredentialsError]
    ) -> None:
        """What is refused for another reason is asked once, and the client stays."""
        stub.error(code, message)
        async with manager_of(stub, "pooled") as manager:
            with pytest.raises(kind):
                await manager.get()
            assert await manager.get() == EXPECTED
        assert [request.connection for request in stub.requests] == [1, 1]
        assert len(sessions) == 1

    async def test_inside_one_deadline(self, stub: StubSecretsManager) -> None:
        """The second try has what is left of the call's time."""
        stub.error("ExpiredTokenException")
        stub.hang()
        async with CredentialsPool(endpoint_url=stub.url, policy=None, timeout=0.3) as pool:
            with pytest.raises(EndpointUnreachableError, match=r"within 0\.3 s"):
                await pool.manager("prod/db").get()
        assert len(stub.requests) == 2

    async def test_many_at_once(
        self, stub: StubSecretsManager, keys: Callable[[str], None], sessions: list[object]
    ) -> None:
        """Twenty calls that are refused together begin one new session, and each gets its value."""
        keys("AKIAOLD")
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            await pool.manager("first").get()
            keys("AKIANEW")
            gate = asyncio.Event()

            def answer(request: Request) -> Answer:
                refused = Answer(400, {"__type": "ExpiredTokenException", "message": "No."}, gate=gate)
                return Answer() if signed_with(request) == "AKIANEW" else refused

            stub.handler = answer
            calls = [asyncio.create_task(pool.manager(f"prod/{number}").get()) for number in range(20)]
            await stub.arrival(21)
            gate.set()
            assert await asyncio.gather(*calls) == [EXPECTED] * 20
        assert len(sessions) == 2
        assert len(stub.requests) == 41

    async def test_a_call_with_the_old_client_ends(self, stub: StubSecretsManager, keys: Callable[[str], None]) -> None:
        """A call under way keeps its client when another one is refused; it is closed then."""
        keys("AKIAOLD")
        gate = asyncio.Event()
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            stub.answer(gate=gate)
            slow = asyncio.create_task(pool.manager("slow").get())
            await stub.arrival()
            stub.error("UnrecognizedClientException")
            keys("AKIANEW")
            assert await pool.manager("prod/db").get() == EXPECTED
            state = pool._session._loops.get().of(None)
            assert len(state._replaced) == 1
            gate.set()
            assert await slow == EXPECTED
            await asyncio.gather(*state._closing)
            assert not state._replaced
            while len(stub._tasks) > 1:  # noqa: ASYNC110 (until the stub has seen its connections end)
                await asyncio.sleep(0)
            assert repr(pool) == "<CredentialsPool open us-east-1>"

    async def test_closing_ends_it(self, stub: StubSecretsManager) -> None:
        """Closing the pool ends the calls that still use an old client, and closes it."""
        stub.hang()
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            slow = asyncio.create_task(pool.manager("slow").get())
            await stub.arrival()
            stub.error("ExpiredTokenException")
            assert await pool.manager("prod/db").get() == EXPECTED
        with pytest.raises(PoolClosedError, match="closed during the call"):
            await slow
        while stub._tasks:  # noqa: ASYNC110 (until the stub has seen its connections end)
            await asyncio.sleep(0)

    async def test_closing_waits_for_a_client_that_is_closed_just_then(self, stub: StubSecretsManager) -> None:
        """An old client that is being closed when the pool closes leaves no task behind."""
        stub.error("ExpiredTokenException")
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            await pool.manager("prod/db").get()
            state = pool._session._loops.get().of(None)
        assert not state._closing


class TestACallersOwnSession:
    """A session that the caller made can't be made anew; what is in it can be looked for anew."""

    async def test_credentials_that_it_found(
        self, stub: StubSecretsManager, keys: Callable[[str], None], way: str
    ) -> None:
        """Keys that the session has read from a file are read again, here and in later loops."""
        keys("AKIAOLD")
        session = AioSession()
        found: Any = await session.get_credentials()
        assert found.access_key == "AKIAOLD"
        keys("AKIANEW")
        accept(stub, "AKIANEW")
        async with manager_of(stub, way, session) as manager:
            assert await manager.get() == EXPECTED
            assert await manager.get() == EXPECTED
        async with manager_of(stub, way, session) as manager:
            assert await manager.get() == EXPECTED
        assert [signed_with(request) for request in stub.requests] == ["AKIAOLD", *["AKIANEW"] * 3]
        assert await session.get_credentials() is found

    async def test_keys_that_were_given(self, stub: StubSecretsManager, keys: Callable[[str], None], way: str) -> None:
        """Explicit keys stay: no other identity takes their place.

        New ones that are given to the session count.
        """
        keys("AKIAOTHER")
        session = aioboto3.Session("AKIAGIVEN", "not-a-real-key")
        accept(stub, "AKIARENEWED")
        async with manager_of(stub, way, session) as manager:
            with pytest.raises(AuthenticationError):
                await manager.get()
            session._session.set_credentials("AKIARENEWED", "not-a-real-key")
            assert await manager.get() == EXPECTED
        assert [signed_with(request) for request in stub.requests] == ["AKIAGIVEN", "AKIAGIVEN", "AKIARENEWED"]

    @pytest.mark.parametrize("method", ["my own", "assume-role"])
    async def test_credentials_of_their_own_making(self, stub: StubSecretsManager, method: str, way: str) -> None:
        """Expiring credentials with a function of the caller's are renewed by that function."""
        made: list[str] = []

        def metadata() -> dict[str, str]:
            made.append(f"AKIA{len(made)}")
            expiry = datetime.now(UTC) + timedelta(hours=1)
            return {"access_key": made[-1], "secret_key": "x", "token": "t", "expiry_time": expiry.isoformat()}

        async def refresh() -> dict[str, str]:
            return metadata()

        session = AioSession()
        session._credentials = AioRefreshableCredentials.create_from_metadata(metadata(), refresh, method)
        accept(stub, "AKIA1")
        async with manager_of(stub, way, session) as manager:
            assert await manager.get() == EXPECTED
        assert [signed_with(request) for request in stub.requests] == ["AKIA0", "AKIA1"]

    async def test_a_custom_session(self) -> None:
        """A `CustomSession` is asked for a client once more, and the old client is closed."""
        events: list[str] = []
        fake = FakeSecretsManager({"prod/db": EXPECTED})

        class Custom:
            region_name = "us-east-1"

            @contextlib.asynccontextmanager
            async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
                async with fake.secretsmanager_client(region_name) as client:
                    events.append("opened")
                    yield client
                events.append("closed")

        async with CredentialsPool(session=Custom(), policy=None) as pool:
            assert await pool.manager("prod/db").get() == EXPECTED
            fake.fail_next("ExpiredTokenException")
            assert await pool.manager("prod/db").get() == EXPECTED
            assert await pool.manager("prod/db").get() == EXPECTED
            assert sorted(events) == ["closed", "opened", "opened"]
        assert sorted(events) == ["closed", "closed", "opened", "opened"]


class TestRenewalThatFails:
    """Expiring credentials that can't be renewed: no client is kept that could never renew them."""

    async def test_another_source(
        self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, keys: Callable[[str], None]
    ) -> None:
        """Where the profile names another source by then, the next call asks that one."""
        helper = tmp_path / "helper"
        soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
        helper.write_text(
            'print(\'{"Version": 1, "AccessKeyId": "AKIAHELPER", "SecretAccessKey": "x",'
            f' "SessionToken": "t", "Expiration": "{soon}"}}\')\n',
            encoding="utf-8",
        )
        config = tmp_path / "config"
        config.write_text(f'[default]\ncredential_process = "{sys.executable}" "{helper}"\n', encoding="utf-8")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
        async with manager_of(stub, "pooled") as manager:
            assert await manager.get() == EXPECTED
            helper.unlink()
            config.write_text("", encoding="utf-8")
            keys("AKIAFILE")
            with pytest.raises(CredentialsError):
                await manager.get()
            assert await manager.get() == EXPECTED
        assert [signed_with(request) for request in stub.requests] == ["AKIAHELPER", "AKIAFILE"]
