"""Hours of trouble in virtual time: who is served what, how often AWS is asked, and how soon all is well again.

The gateway and the cache are the real ones; only the client is made here, and it answers what the hour brings.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NoReturn, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from aiocredentials import (
    AccessDeniedError,
    AuthenticationError,
    CachePolicy,
    CredentialsError,
    Secret,
    SecretDeletedError,
    SecretExpiredError,
    SecretNotFoundError,
)
from aiocredentials._aws import gateway as _gateway
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.session import Opened
from aiocredentials._cache import LONGEST_BACKOFF
from aiocredentials._store import SecretStore
from unit.virtual_time import run

pytestmark = pytest.mark.exhaustive

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from aiocredentials._cache import Reader

Sky = Literal["clear", "refused", "hanging", "throttled", "malformed", "a page", "no credentials", "no STS",
              "AccessDeniedException", "ResourceNotFoundException", "deleted", "refused by STS"]  # fmt: skip

POLICY = CachePolicy()
TTL, MAX_STALE = 300.0, 3600.0
TIMEOUT = 10.0
REGION = Region("us-east-1", "the test")
REQUEST = SecretRequest("prod/db", REGION)
SLOWEST, SLOW, FAST = 10.0, 2.0, 0.1  # how many seconds each reader of a crowd leaves between its reads
LONGEST_STEP = LONGEST_BACKOFF * 1.1  # with its random share
DELETED = "You can't perform this operation on the secret because it was marked for deletion."


class Service:
    """Secrets Manager under a sky; it is the source of clients, and the client."""

    closed = False
    profile: str | None = None

    def __init__(self) -> None:
        self.sky: Sky = "clear"
        self.edition = 1
        self.calls: list[float] = []

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,  # noqa: ARG002 (of the protocol)
        role: object = None,  # noqa: ARG002 (of the protocol)
    ) -> AsyncGenerator[Opened]:
        """Lend itself."""
        yield Opened(cast("Any", self), region or REGION)

    def forget(self) -> None:
        """Do nothing: another test may forget everything while a store of this one still lives."""

    async def get_secret_value(self, **_: str) -> dict[str, Any]:
        """Answer after 5 ms, or as the sky has it."""
        self.calls.append(asyncio.get_running_loop().time())
        if self.sky == "hanging":
            await asyncio.Event().wait()
        await asyncio.sleep(0.005)
        if self.sky == "malformed":
            return {}
        if self.sky != "clear":
            self._fail(self.sky)
        return {
            "ARN": "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf",
            "Name": "prod/db",
            "VersionId": f"{self.edition:08d}-2222-4333-8444-555555555555",
            "SecretString": "{}",
            "VersionStages": ["AWSCURRENT"],
        }

    def _fail(self, sky: str) -> NoReturn:
        if sky == "refused":
            raise EndpointConnectionError(endpoint_url="https://secretsmanager.us-east-1.amazonaws.com")
        if sky == "no credentials":
            raise NoCredentialsError
        code = {
            "throttled": "ThrottlingException",
            "deleted": "InvalidRequestException",
            "a page": "403",
            "no STS": "Throttling",
            "refused by STS": "AccessDenied",
        }.get(sky, sky)
        error = {"Code": code, "Message": DELETED if sky == "deleted" else "No."}
        operation = "AssumeRole" if "STS" in sky else "GetSecretValue"
        metadata = {"HTTPStatusCode": 403 if sky == "a page" else 400}
        raise ClientError({"Error": error, "ResponseMetadata": metadata}, operation)  # type: ignore[typeddict-item]


class World:
    """A service, a store that reads it, and clocks. `asleep` is how long the machine was suspended."""

    def __init__(self, *, pooled: bool = True, policy: CachePolicy = POLICY) -> None:
        self.loop = asyncio.get_running_loop()
        self.asleep = 0.0
        self.service = Service()
        self.store = SecretStore(self.service, TIMEOUT, pooled=pooled, clock=lambda: self.loop.time() + self.asleep)
        self.reader: Reader[Secret] = self.store.located_reader(REQUEST, policy)

    async def outcome(self) -> Secret | CredentialsError:
        """Read once, and give the value or the error."""
        try:
            return await self.reader.get()
        except CredentialsError as error:
            return error

    async def catches_up(self, pace: float) -> None:
        """Read until what comes is the second edition; what comes before is the first one, or an error."""
        while True:
            outcome = await self.outcome()
            if isinstance(outcome, Secret) and edition_of(outcome) == 2:
                return
            await asyncio.sleep(pace)

    async def until(self, when: float) -> None:
        """Let time pass."""
        await asyncio.sleep(when - self.loop.time())


def edition_of(outcome: Secret | CredentialsError) -> int:
    """Return the edition of a value."""
    assert isinstance(outcome, Secret)
    return int(outcome.version_id[:8])


def play(drama: Callable[[World], Coroutine[Any, Any, None]], *, seed: int = 1, **settings: Any) -> None:  # noqa: ANN401 - World's
    """Run a drama in a world of its own; at its end nothing may be left, neither a task nor a timer."""

    async def main() -> None:
        world = World(**settings)
        await drama(world)
        await world.store.cache.aclose()

    run(main(), seed=seed, max_steps=10_000_000, leave_nothing=True)


def most_in(calls: list[float], seconds: float) -> int:
    """Return the greatest number of calls in any window of so many seconds."""
    return max(sum(begin <= call < begin + seconds for call in calls) for begin in calls)


async def crowd(
    world: World, until: float, check: Callable[[float, Secret | CredentialsError], None], pace: float
) -> int:
    """Read until then: ten readers with a phase of their own, each 20 times every `pace` seconds."""
    reads = 0

    async def member(phase: float) -> None:
        nonlocal reads
        await asyncio.sleep(phase * pace)
        while world.loop.time() < until:
            for _ in range(20):
                began = world.loop.time()
                outcome = await world.outcome()
                reads += 1
                check(began, outcome)
            await asyncio.sleep(pace)

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(member(number / 10))
    return reads


@pytest.mark.timeout(120)
@pytest.mark.parametrize("sky", [pytest.param("refused", marks=pytest.mark.soak), "hanging"])
def test_two_hours(sky: Sky) -> None:
    """The value bridges just `max_stale`, then there is one error for all; few calls; back within a back-off step."""

    async def drama(world: World) -> None:
        begin, hours = 1000.0, 7200.0
        values: list[float] = []
        errors: list[float] = []

        def note(began: float, outcome: Secret | CredentialsError) -> None:
            now = world.loop.time()
            if isinstance(outcome, Secret):
                values.append(now)
                assert edition_of(outcome) == 1
                assert outcome.age <= MAX_STALE
            else:
                errors.append(now)
                assert isinstance(outcome, SecretExpiredError)
                assert outcome.transient
                assert outcome.reason is not None
            # Nobody waits: for the patience while there is a value, and then for one fetch.
            assert now - began <= (0.5 if isinstance(outcome, Secret) else TIMEOUT) + 0.01

        await world.until(begin)
        assert edition_of(await world.outcome()) == 1
        world.service.sky = sky
        # 2,000 reads a second where it matters, 100 before it, 20 of those errors later.
        await crowd(world, begin + MAX_STALE - 15, note, SLOW)
        reads = await crowd(world, begin + MAX_STALE + 5, note, FAST)
        assert reads > 2000 * 12
        await crowd(world, begin + hours, note, SLOWEST)
        # The last value and the first error meet at `max_stale`, to a tick of the readers; no value comes later.
        assert begin + MAX_STALE - 0.11 <= values[-1] <= begin + MAX_STALE < errors[0]
        assert errors[0] <= begin + MAX_STALE + (TIMEOUT if sky == "hanging" else 0) + 0.11
        # While there is a value to serve, refreshing backs off. Then each read asks at once, one fetch at a time.
        bridged = [call for call in world.service.calls if call <= begin + MAX_STALE]
        assert 40 < len(bridged) < 80
        assert most_in(bridged, 600) <= 15
        world.service.sky, world.service.edition = "clear", 2
        recovery = world.loop.time()
        await world.catches_up(0.1)
        assert world.loop.time() - recovery <= LONGEST_STEP + (TIMEOUT if sky == "hanging" else 0) + 0.11

    play(drama)


@pytest.mark.parametrize("sky", ["refused", "hanging", "throttled", "malformed", "a page", "no credentials", "no STS"])
@pytest.mark.parametrize("minutes", [1, 7, 20, 59])
@pytest.mark.parametrize("seed", range(3))
def test_short_outages_are_not_noticed(sky: Sky, minutes: int, seed: int) -> None:
    """An outage shorter than `max_stale` allows is no reader's affair, and ends for all within a back-off step."""

    async def drama(world: World) -> None:
        assert edition_of(await world.outcome()) == 1
        await world.until(30)
        world.service.sky = sky
        while world.loop.time() < 60 * minutes:
            assert edition_of(await world.outcome()) == 1
            await asyncio.sleep(0.7)
        world.service.sky, world.service.edition = "clear", 2
        recovery = world.loop.time()
        await world.catches_up(0.7)
        assert world.loop.time() - recovery <= max(TTL, LONGEST_STEP + TIMEOUT) + 2
        assert most_in(world.service.calls, 600) <= 15

    play(drama, seed=seed)


@pytest.mark.parametrize("pooled", [True, False], ids=["pool", "per call"])
def test_calls_while_it_fails(pooled: bool) -> None:  # noqa: FBT001 - a parameter
    """A refresh that fails, however many ask for it, makes at most 15 calls in any ten minutes."""

    async def drama(world: World) -> None:
        await world.outcome()
        world.service.sky = "throttled"
        await crowd(world, 1500, lambda _, outcome: edition_of(outcome) and None, SLOW)
        assert most_in(world.service.calls, 600) <= 15
        pauses = [later - sooner for sooner, later in pairwise(world.service.calls[1:])]
        assert all(pause <= LONGEST_STEP + 0.2 for pause in pauses)
        assert pauses[0] < 3 < LONGEST_BACKOFF <= pauses[-1]

    play(drama, pooled=pooled)


@pytest.mark.parametrize(
    ("sky", "expected"),
    [
        ("AccessDeniedException", AccessDeniedError),
        ("ResourceNotFoundException", SecretNotFoundError),
        ("deleted", SecretDeletedError),
        ("refused by STS", AuthenticationError),
    ],
)
@pytest.mark.parametrize("pooled", [True, False], ids=["pool", "per call"])
def test_permanent_answers_are_never_bridged(sky: Sky, expected: type[CredentialsError], pooled: bool) -> None:  # noqa: FBT001
    """A right that was taken, a secret that is gone: no reader gets the value past the ttl, nor ever again."""

    async def drama(world: World) -> None:
        assert edition_of(await world.outcome()) == 1
        world.service.sky = sky
        seen: list[type[Secret | CredentialsError]] = []
        while world.loop.time() < 2 * MAX_STALE:
            outcome = await world.outcome()
            seen.append(type(outcome))
            if isinstance(outcome, Secret):
                assert outcome.age < TTL
            else:
                assert isinstance(outcome, expected)
            await asyncio.sleep(1 if world.loop.time() < 2 * TTL else 15)
        first = seen.index(next(cls for cls in seen if cls is not Secret))
        assert TTL * 0.9 - 1 <= first <= TTL + 1
        assert Secret not in seen[first:]
        # Back at once, or after what is remembered: 5 s by default.
        world.service.sky, world.service.edition = "clear", 2
        recovery = world.loop.time()
        await world.catches_up(0.1)
        assert world.loop.time() - recovery <= 5.1

    play(drama, pooled=pooled)


def test_a_permanent_answer_in_an_outage() -> None:
    """When an outage ends with a permanent answer, the stale value is gone with it, though `max_stale` has room."""

    async def drama(world: World) -> None:
        await world.outcome()
        world.service.sky = "refused"
        while world.loop.time() < 900:
            assert edition_of(await world.outcome()) == 1
            await asyncio.sleep(1)
        world.service.sky = "AccessDeniedException"
        ends = world.loop.time() + LONGEST_STEP + 1
        while world.loop.time() < ends:
            outcome = await world.outcome()
            await asyncio.sleep(1)
        assert isinstance(outcome, AccessDeniedError)
        world.service.sky = "refused"
        while world.loop.time() < 1800:
            assert not isinstance(await world.outcome(), Secret)
            await asyncio.sleep(1)

    play(drama)


@pytest.mark.parametrize("jump", [timedelta(days=400), timedelta(days=-400), timedelta(hours=1), timedelta(hours=-1)])
def test_the_wall_clock_jumps(jump: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the time of day does (NTP, an administrator, a leap), freshness, age and calls are the same."""

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # noqa: ANN401 - datetime's own
            return datetime.now(tz) + (jump if world.loop.time() > 100 else timedelta())

    real = time.time
    monkeypatch.setattr(_gateway, "datetime", Jumping)
    monkeypatch.setattr(time, "time", lambda: real() + jump.total_seconds())
    world: World

    async def drama(here: World) -> None:
        nonlocal world
        world = here
        secret = await world.reader.get()
        await world.until(TTL * 0.7)
        assert await world.reader.get() is secret
        assert (secret.age, secret.is_stale) == (TTL * 0.7, False)
        assert len(world.service.calls) == 1
        await world.until(TTL + 1)
        assert await world.reader.get() is not secret
        assert len(world.service.calls) == 2
        assert secret.fetched_at.tzinfo is UTC

    play(drama)


@pytest.mark.parametrize("sky", ["clear", "refused", "hanging"])
@pytest.mark.parametrize("asleep", [TTL, 1800.0, MAX_STALE, 86400.0])
def test_suspend(sky: Sky, asleep: float) -> None:
    """Time asleep counts: who wakes up is served as if the machine had been awake, by age and by nothing else."""

    async def drama(world: World) -> None:
        await world.outcome()
        await world.until(10)
        world.asleep = asleep
        world.service.sky, world.service.edition = sky, 2
        outcome = await world.outcome()
        if sky == "clear":
            assert edition_of(outcome) == 2
        elif asleep + 10 <= MAX_STALE:
            assert edition_of(outcome) == 1
            assert cast("Secret", outcome).age == pytest.approx(asleep + 10, abs=1)
        else:
            assert isinstance(outcome, SecretExpiredError)

    play(drama)


@pytest.mark.parametrize("asleep", [60.0, 7200.0])
def test_suspend_during_a_fetch(asleep: float) -> None:
    """A value whose fetch began before the machine slept is as old as that, and a reader's patience is over."""

    async def drama(world: World) -> None:
        await world.outcome()
        await world.until(TTL * 2)
        world.service.sky = "hanging"
        waiting = asyncio.create_task(world.outcome())
        await asyncio.sleep(0.1)
        world.asleep = asleep
        outcomes = [await world.outcome(), await waiting]
        for outcome in outcomes:
            if asleep < MAX_STALE - 2 * TTL:
                assert edition_of(outcome) == 1
            else:
                assert isinstance(outcome, SecretExpiredError)
        world.service.sky, world.service.edition = "clear", 2
        await asyncio.sleep(LONGEST_STEP + TIMEOUT)
        assert edition_of(await world.outcome()) == 2

    play(drama)
