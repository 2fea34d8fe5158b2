"""The AWS credentials by which tokens are signed: renewed in the background, and waited for only near their end."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import CredentialRetrievalError, ProfileNotFound

from aiocredentials import CredentialsPool
from aiocredentials._aws import keys
from aiocredentials._aws.kept_keys import PAUSE, KeptKeys, KeptState
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._aws.shared_work import SharedWork
from aiocredentials.iam import IamDatabaseCredentials

HOUR = 3600.0


class Source(AioRefreshableCredentials):
    """Credentials as botocore's chain finds them: each question loads them, waits for a gate, or fails."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.loads = 0
        self.found: list[bool] = []
        self.life = HOUR
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, *, new_session: bool) -> Source:
        """Find these."""
        self.found.append(new_session)
        return self

    async def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """Load new ones."""
        self.loads += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self._expiry_time = datetime.fromtimestamp(self.clock.now + self.life, UTC)
        return ReadOnlyCredentials(f"ASIA{self.loads}", "secret", "token")


class Clock:
    """The time, which a test moves."""

    now = 1_800_000_000.0


class World:
    """Kept keys with a source, and a clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.source = Source(clock)
        self.work = SharedWork()
        self.work.seconds = 30
        self.state = KeptState()
        self.kept = self.new()

    def new(self) -> KeptKeys:
        """Return kept keys for another session with the same state."""
        return KeptKeys(self.source.find, ClientSettings(), self.work, self.state)

    async def id(self) -> str:
        """Return the present access key's id."""
        return (await self.kept.current()).access_key_id

    async def settle(self) -> None:
        """Wait until no work is under way."""
        while self.work._tasks:
            await asyncio.wait(set(self.work._tasks))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which credentials end."""
    made = Clock()
    monkeypatch.setattr(keys, "now", lambda: made.now)
    return made


@pytest.fixture
async def world(clock: Clock) -> World:
    """Kept keys that have loaded once."""
    made = World(clock)
    assert await made.id() == "ASIA1"
    return made


async def test_current(world: World) -> None:
    """In the first three quarters of their life, and until 15 minutes before their end, nothing is loaded."""
    world.clock.now += HOUR - 901
    assert [await world.id() for _ in range(100)] == ["ASIA1"] * 100
    assert not world.work.is_under_way
    world.state.present = None
    world.source.life = 400
    assert await world.id() == "ASIA2"
    world.clock.now += 299
    assert await world.id() == "ASIA2"
    assert world.source.loads == 2


async def test_renewed_ahead(world: World) -> None:
    """Then one renewal goes on in the background: no caller waits for it, and the next ones use its result."""
    world.source.gate.clear()
    world.clock.now += HOUR - 899
    assert [await world.id() for _ in range(100)] == ["ASIA1"] * 100
    await asyncio.sleep(0)
    world.clock.now += PAUSE
    assert await world.id() == "ASIA1"
    world.source.gate.set()
    await world.settle()
    assert [await world.id() for _ in range(100)] == ["ASIA2"] * 100
    assert world.source.loads == 2


async def test_failing_source(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A renewal that fails is tried once per minute, by a new session, and logged once until one succeeds."""
    world.source.error = CredentialRetrievalError(provider="container-role", error_msg="status 500")
    world.clock.now += HOUR - 899
    for _ in range(3):
        assert [await world.id() for _ in range(100)] == ["ASIA1"] * 100
        await world.settle()
        world.clock.now += PAUSE
    assert world.source.loads == 4
    # Its first renewal asks botocore's own object, and each later one a new session's.
    assert world.source.found == [False, True, True]
    (warning,) = caplog.records
    assert (warning.name, warning.levelno) == ("aiocredentials", logging.WARNING)
    assert "can't be renewed yet; the present ones are used until they expire" in warning.message

    world.source.error = None
    with caplog.at_level(logging.INFO, "aiocredentials"):
        await world.id()
        await world.settle()
    assert await world.id() == "ASIA5"
    assert caplog.records[-1].message == "The AWS credentials that sign tokens were renewed."


async def test_failures_in_turn(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Failures of two kinds that alternate are logged once each until a renewal succeeds."""
    failures = [
        CredentialRetrievalError(provider="container-role", error_msg="status 500"),
        ProfileNotFound(profile="a"),
    ]
    world.clock.now += HOUR - 899
    for failure in failures * 3:
        world.source.error = failure
        await world.id()
        await world.settle()
        world.clock.now += PAUSE
    assert world.source.loads == 7
    assert len(caplog.records) == 2


async def test_hanging_source(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A renewal that hangs is logged, isn't given up before the time of a whole call, and then ends."""
    world.work.seconds = 0.02
    world.source.gate.clear()
    world.clock.now += HOUR - 899
    assert await world.id() == "ASIA1"
    await world.settle()
    (warning,) = caplog.records
    assert "their source didn't answer within 0.01 s" in warning.message
    assert await world.id() == "ASIA1"


async def test_urgent(world: World) -> None:
    """In the last minute callers wait, and share one load; if it fails, they fail."""
    world.clock.now += HOUR - 59
    world.source.error = CredentialRetrievalError(provider="container-role", error_msg="status 500")
    failed = await asyncio.gather(*(world.id() for _ in range(100)), return_exceptions=True)
    assert {type(one) for one in failed} == {CredentialRetrievalError}
    assert world.source.loads == 2
    world.source.error = None
    assert await asyncio.gather(*(world.id() for _ in range(100))) == ["ASIA3"] * 100


async def test_same_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A source that returns the same ones until shortly before their end is asked once per minute."""
    world.clock.now += HOUR - 800
    world.source.life = 800
    await world.id()
    await world.settle()
    world.state.warned_of.add("TimeoutError")
    for _ in range(5):
        world.clock.now += PAUSE / 2
        world.source.life -= PAUSE / 2
        await world.id()
        await world.settle()
    assert world.source.loads == 4
    assert not caplog.records
    assert world.state.begin == world.clock.now - HOUR + 800 - 5 * PAUSE / 2


async def test_without_end(clock: Clock) -> None:
    """Credentials whose end nobody knows are asked each time: only they can renew themselves."""
    world = World(clock)
    world.source._expiry_time = None

    async def frozen() -> ReadOnlyCredentials:
        world.source.loads += 1
        return ReadOnlyCredentials("AKIA", "secret", None)

    vars(world.source)["get_frozen_credentials"] = frozen
    assert [await world.id() for _ in range(3)] == ["AKIA"] * 3
    assert world.source.loads == 3
    assert world.source.found == [False]


async def test_replaced_session(world: World) -> None:
    """A session that replaces another one goes on with its credentials, and does not join its load."""
    world.source.gate.clear()
    world.clock.now += HOUR - 899
    assert await world.id() == "ASIA1"
    await asyncio.sleep(0)
    old = world.kept
    world.kept = world.new()
    assert await world.id() == "ASIA1"
    world.state = KeptState()
    world.kept = world.new()
    waiting = asyncio.create_task(world.id())
    await asyncio.sleep(0)
    world.source.gate.set()
    await waiting
    await world.settle()
    assert old is not world.kept
    assert world.source.loads == 3


@pytest.mark.parametrize("are_refused", [False, True])
async def test_healing_clients(clock: Clock, are_refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001 - a parameter
    """If a call of Secrets Manager replaces the clients, tokens are signed as before, unless AWS refused the keys."""
    source = Source(clock)
    async with CredentialsPool() as pool:
        manager = IamDatabaseCredentials(pool, host="a.b.eu-west-1.rds.amazonaws.com", port=5432, username="app")
        state = pool._session._loops.get().of(None)
        monkeypatch.setattr(type(state.current), "_find", staticmethod(source.find))
        assert (await manager.secret()).version_id == "ASIA1"
        state.renew(state.current, are_refused=are_refused)
        assert state.current.access_key_id == ("" if are_refused else "ASIA1")
        assert (await manager.secret()).version_id == ("ASIA2" if are_refused else "ASIA1")
        manager.invalidate(if_version="ASIA1")
        assert (await manager.secret()).version_id == "ASIA2"


async def test_close(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the pool ends a renewal, without a warning."""
    source = Source(clock)
    async with CredentialsPool() as pool:
        manager = IamDatabaseCredentials(pool, host="a.b.eu-west-1.rds.amazonaws.com", port=5432, username="app")
        clients = pool._session._loops.get().of(None).current
        monkeypatch.setattr(type(clients), "_find", staticmethod(source.find))
        await manager.secret()
        source.gate.clear()
        clock.now += HOUR - 100
        await manager.secret()
        assert clients._shared.is_under_way
    assert not clients._shared.is_under_way
