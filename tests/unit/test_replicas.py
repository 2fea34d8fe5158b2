"""Replica regions: a read that the primary region fails is answered by a replica, inside the same deadline."""

from __future__ import annotations

import asyncio
import logging
import traceback
from typing import Any

import pytest

from aiocredentials import (
    AccessDeniedError,
    CachePolicy,
    CredentialsError,
    CredentialSourceError,
    CredentialsPool,
    EndpointUnreachableError,
    InternalServiceError,
    PoolClosedError,
    Secret,
    ThrottledError,
)
from aiocredentials._aws.region_health import REFUSAL_PAUSE
from aiocredentials.events import FailedBack, FailedOver, Rotated, SecretEvent
from aiocredentials.testing import FakeClock
from unit.cache_model import virtual
from unit.fake_regions import PRIMARY, REPLICA, THIRD, FakeRegions, arn_of, pool_of

POLICY = CachePolicy(ttl=10, jitter=0, refresh_ahead=None, max_stale=1000)


async def error_from(pool: CredentialsPool, name: str = "prod/db") -> CredentialsError:
    """Give what a read raises."""
    with pytest.raises(CredentialsError) as info:
        await pool.manager(name).secret()
    return info.value


@pytest.mark.parametrize("code", ["unreachable", "ThrottlingException", "InternalServiceError"])
async def test_a_transient_failure(code: str) -> None:
    """A read that the primary region fails for a while is answered by the replica, which `Secret.region` names."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        before = await pool.manager("prod/db").secret()
        if code == "unreachable":
            aws.primary.be_unreachable()
        else:
            aws.primary.fail(code)
        secret = await pool.manager("prod/db").secret()
    assert (before.region, secret.region) == (PRIMARY, REPLICA)
    assert secret.arn == before.arn == arn_of("prod/db")
    assert secret.json() == {"number": 1}


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException", "DecryptionFailure"])
async def test_a_permanent_error(code: str) -> None:
    """AWS's refusal is an answer: no replica is asked, because it would hide the refusal."""
    aws = FakeRegions()
    aws.primary.fail(code)
    async with pool_of(aws) as pool:
        error = await error_from(pool)
    assert (error.code, error.region_name, error.transient) == (code, PRIMARY, False)
    assert aws.replica.calls == []


@pytest.mark.parametrize("form", ["prod/db", arn_of("prod/db"), arn_of("prod/db")[:-7]])
async def test_identifiers(form: str) -> None:
    """A name, an ARN of the primary region and a partial ARN are all understood by the replica."""
    aws = FakeRegions()
    aws.primary.fail()
    async with pool_of(aws) as pool:
        secret = await pool.manager(form).secret()
        described = await pool.manager(form).describe()
    assert (secret.region, secret.arn) == (REPLICA, arn_of("prod/db"))
    assert (described.region, described.arn) == (REPLICA, arn_of("prod/db"))


async def test_an_arn_of_another_kind() -> None:
    """An emulator's ARN that names no region of ours stays as it is, so it is the same wherever it comes from."""
    aws = FakeRegions()
    aws.replica.arn_region = aws.primary.arn_region = THIRD
    async with pool_of(aws, clock=FakeClock()) as pool:
        before = await pool.manager("prod/db").secret()
        aws.primary.fail()
        after = await pool.manager("prod/db").secret()
    assert (before.arn, after.region) == (after.arn, REPLICA)


async def test_describe_in_the_primary_region() -> None:
    """As long as the primary region answers, it describes the secret."""
    async with pool_of(FakeRegions()) as pool:
        described = await pool.manager("prod/db").describe()
    assert (described.region, described.arn) == (PRIMARY, arn_of("prod/db"))


async def test_another_region() -> None:
    """A secret of another region than the pool's isn't replicated: it is asked there alone."""
    aws = FakeRegions()
    aws.third.fail()
    async with pool_of(aws) as pool:
        for manager in (pool.manager("prod/db", THIRD), pool.manager(arn_of("prod/db", THIRD))):
            with pytest.raises(InternalServiceError):
                await manager.secret()
            with pytest.raises(InternalServiceError):
                await manager.describe()
    assert aws.primary.calls == aws.replica.calls == []


async def test_one_entry_of_the_cache() -> None:
    """A failover changes neither the cache's key nor the version, so it is no rotation."""
    aws, clock = FakeRegions(), FakeClock()
    events: list[SecretEvent] = []
    async with pool_of(aws, clock=clock, policy=POLICY, listener=events.append) as pool:
        managers = [pool.manager("prod/db"), pool.manager(arn_of("prod/db"))]
        for manager in managers:
            await manager.secret()
        aws.primary.fail()
        clock.advance(11)
        regions = {(await manager.secret()).region for manager in managers}
        assert regions == {REPLICA}
        assert pool.stats().entries == 1
    assert not [event for event in events if isinstance(event, Rotated)]


async def test_a_rotation_in_the_replica() -> None:
    """A version that only the replica has shown is a rotation as any other."""
    aws, clock = FakeRegions(), FakeClock()
    events: list[SecretEvent] = []
    async with pool_of(aws, clock=clock, policy=POLICY, listener=events.append) as pool:
        await pool.manager("prod/db").secret()
        aws.store("prod/db", 2)
        aws.replicate()
        aws.primary.fail()
        clock.advance(11)
        await pool.manager("prod/db").secret()
    (rotated,) = [event for event in events if isinstance(event, Rotated)]
    assert (rotated.version_id, rotated.region_name) == ("version-2", PRIMARY)


async def test_all_regions_fail() -> None:
    """The error is the primary region's; it says what each replica answered, and is chained to nothing."""
    aws = FakeRegions()
    aws.primary.fail("ThrottlingException")
    aws.replica.fail("ResourceNotFoundException")
    aws.third.be_unreachable()
    async with pool_of(aws, REPLICA, THIRD) as pool:
        error = await error_from(pool)
    assert isinstance(error, ThrottledError)
    assert error.region_name == PRIMARY
    expected = f"No replica region has an answer: {REPLICA} (SecretNotFoundError), {THIRD} (EndpointUnreachableError)."
    assert expected in str(error)
    assert (error.__cause__, error.__context__) == (None, None)


async def test_where_the_region_was_configured() -> None:
    """The error says where this caller's region was configured, though the failure was seen by another caller."""
    aws = FakeRegions()
    aws.primary.fail()
    aws.replica.fail()
    async with pool_of(aws, clock=FakeClock()) as pool:
        sources = [
            (await error_from(pool)).region_source,
            (await error_from(pool, arn_of("prod/db"))).region_source,
        ]
    assert sources == ["the pool", "the secret's ARN"]


async def test_the_replicas_refusal_is_not_the_primarys() -> None:
    """A secret that isn't replicated fails with the primary's transient error, so the stale value is served."""
    aws, clock = FakeRegions(), FakeClock()
    async with pool_of(aws, clock=clock, policy=POLICY) as pool:
        manager = pool.manager("prod/db")
        await manager.secret()
        aws.primary.fail()
        for code in ("ResourceNotFoundException", "AccessDeniedException", "DecryptionFailure"):
            aws.replica.fail(code)
            clock.advance(20)
            assert (await manager.secret()).is_stale
        pool_error = await error_from(pool, "prod/other")
    assert isinstance(pool_error, InternalServiceError)


async def test_the_dead_region_is_left_alone() -> None:
    """After a failure, reads go to the replica at once; one call per pause probes the primary, until it answers."""
    aws, clock = FakeRegions(), FakeClock()
    async with pool_of(aws, clock=clock) as pool:
        manager = pool.manager("prod/db")
        aws.primary.fail()
        for _ in range(10):
            assert (await manager.secret()).region == REPLICA
        assert len(aws.primary.calls) == 1
        for probes in range(2, 9):
            clock.advance(60)
            herd = await asyncio.gather(*(manager.secret() for _ in range(20)))
            assert {secret.region for secret in herd} == {REPLICA}
            assert len(aws.primary.calls) == probes
        clock.advance(60)
        aws.primary.heal()
        herd = await asyncio.gather(*(manager.secret() for _ in range(20)))
        assert sorted(secret.region for secret in herd) == [REPLICA] * 19 + [PRIMARY]
        herd = await asyncio.gather(*(manager.secret() for _ in range(20)))
        assert {secret.region for secret in herd} == {PRIMARY}


async def test_a_refused_probe() -> None:
    """A permanent error is an answer: the region that gives it is asked again by everybody."""
    aws, clock = FakeRegions(), FakeClock()
    async with pool_of(aws, clock=clock) as pool:
        aws.primary.fail()
        await pool.manager("prod/db").secret()
        aws.primary.heal()
        clock.advance(5)
        aws.primary.refused["prod/db"] = "AccessDeniedException"
        for _ in range(2):
            assert isinstance(await error_from(pool), AccessDeniedError)


async def test_a_cancelled_probe() -> None:
    """A probe that is cancelled frees its place after another pause: it neither holds it for ever nor passes it on."""
    aws, clock = FakeRegions(), FakeClock()
    async with pool_of(aws, clock=clock) as pool:
        manager = pool.manager("prod/db")
        aws.primary.fail()
        await manager.secret()
        aws.primary.is_holding = True
        clock.advance(5)
        probe = asyncio.create_task(manager.secret())
        await aws.primary.reached.wait()
        assert (await manager.secret()).region == REPLICA
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        aws.primary.is_holding = False
        aws.primary.heal()
        assert (await manager.secret()).region == REPLICA
        clock.advance(2)
        assert (await manager.secret()).region == PRIMARY


async def test_a_cancelled_call_is_no_failure() -> None:
    """A caller that leaves says nothing about the region."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        manager = pool.manager("prod/db")
        aws.primary.is_holding = True
        call = asyncio.create_task(manager.secret())
        await aws.primary.reached.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        aws.primary.is_holding = False
        assert (await manager.secret()).region == PRIMARY


@virtual
@pytest.mark.parametrize(("patience", "longest"), [(1.1, 10), (0.6, 2)])
async def test_impatient_callers(patience: float, longest: float) -> None:
    """A region that hangs also fails for callers that never wait as long as a call may take."""
    aws = FakeRegions()
    aws.primary.seconds = 86_400
    async with pool_of(aws, clock=FakeClock(), timeout=longest) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(patience):
                await pool.manager("prod/db").secret()
        async with asyncio.timeout(patience):
            assert (await pool.manager("prod/db").secret()).region == REPLICA


@virtual
async def test_very_impatient_callers() -> None:
    """A caller that gives up at once has seen nothing."""
    aws = FakeRegions()
    aws.primary.seconds = 0.9
    async with pool_of(aws, clock=FakeClock(), timeout=10) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.8):
                await pool.manager("prod/db").secret()
        assert (await pool.manager("prod/db").secret()).region == PRIMARY


async def test_the_last_resort() -> None:
    """If no replica answers, the region that is left alone is asked all the same, and comes back if it answers."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        manager = pool.manager("prod/db")
        aws.primary.fail()
        await manager.secret()
        aws.primary.heal()
        aws.replica.fail()
        assert (await manager.secret()).region == PRIMARY
        aws.replica.heal()
        assert (await manager.secret()).region == PRIMARY


async def test_all_are_left_alone() -> None:
    """If all regions are left alone, all are asked, the primary first."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        aws.primary.fail()
        aws.replica.fail("ThrottlingException")
        for _ in range(3):
            assert isinstance(await error_from(pool), InternalServiceError)
        aws.primary.heal()
        aws.replica.heal()
        assert (await pool.manager("prod/db").secret()).region == PRIMARY
    assert (len(aws.primary.calls), len(aws.replica.calls)) == (4, 3)


async def test_credentials_are_no_regions_fault() -> None:
    """AWS credentials that can't be loaded fail in each region, so no other one is asked, and none left alone."""
    aws = FakeRegions()
    failing = CredentialSourceError("The metadata service is silent.")
    aws.primary.fail(failing)
    async with pool_of(aws, clock=FakeClock()) as pool:
        assert isinstance(await error_from(pool), CredentialSourceError)
        assert aws.replica.calls == []
        aws.primary.heal()
        assert (await pool.manager("prod/db").secret()).region == PRIMARY
        # In the replica, it isn't the primary's answer either.
        aws.primary.fail()
        aws.replica.fail(failing)
        error = await error_from(pool)
    assert isinstance(error, InternalServiceError)
    assert f"{REPLICA} (CredentialSourceError)" in str(error)


async def test_a_replica_that_refuses_our_credentials() -> None:
    """It isn't asked at each read, because each refusal drops the clients of all regions; later it is tried again."""
    aws, clock = FakeRegions(), FakeClock()
    aws.primary.fail()
    aws.replica.fail("InvalidClientTokenId")
    async with pool_of(aws, clock=clock) as pool:
        refused = await error_from(pool)
        asked = len(aws.replica.calls)
        clock.advance(REFUSAL_PAUSE - 1)
        for _ in range(3):
            again = await error_from(pool)
        assert len(aws.replica.calls) == asked
        assert str(refused) == str(again)
        assert f"{REPLICA} (AuthenticationError)" in str(again)
        aws.replica.heal()
        clock.advance(1)
        assert (await pool.manager("prod/db").secret()).region == REPLICA


@pytest.mark.parametrize("where", [PRIMARY, REPLICA])
async def test_a_closed_pool(where: str) -> None:
    """A pool that is closed during a call says so, whichever region is asked, and asks no other."""
    aws = FakeRegions()
    if where == REPLICA:
        aws.primary.fail()
    region = aws.regions[where]
    region.is_holding = True
    async with pool_of(aws, REPLICA, THIRD) as pool:
        call = asyncio.create_task(error_from(pool))
        await region.reached.wait()
        await pool.aclose()
        error = await call
    assert isinstance(error, PoolClosedError)
    assert (error.region_name, error.secret_name) == (PRIMARY, "prod/db")
    assert aws.third.calls == []


@virtual
async def test_a_region_that_hangs() -> None:
    """A primary region that hangs leaves the replica its part of the one deadline; then it is left alone."""
    aws = FakeRegions()
    loop = asyncio.get_running_loop()
    aws.primary.seconds = 86_400
    async with pool_of(aws, clock=FakeClock(), timeout=10) as pool:
        secret = await pool.manager("prod/db").secret()
        assert (secret.region, loop.time()) == (REPLICA, 5.0)
        await pool.manager("prod/db").secret()
        assert loop.time() == 5.0


@virtual
async def test_all_regions_hang() -> None:
    """However many regions hang, a read ends at its deadline, and each of them has had its part."""
    aws = FakeRegions()
    loop = asyncio.get_running_loop()
    for region in aws.regions.values():
        region.seconds = 86_400
    async with pool_of(aws, REPLICA, THIRD, clock=FakeClock(), timeout=9) as pool:
        error = await error_from(pool)
        assert loop.time() == 9.0
    assert isinstance(error, EndpointUnreachableError)
    assert "within 3 s" in str(error)
    assert len(aws.primary.calls) == len(aws.replica.calls) == len(aws.third.calls) == 1


@virtual
async def test_a_slow_replica() -> None:
    """A replica that is the last region to ask has all the time that is left."""
    aws = FakeRegions()
    aws.primary.fail()
    aws.replica.seconds = 9
    async with pool_of(aws, clock=FakeClock(), timeout=10) as pool:
        assert (await pool.manager("prod/db").secret()).region == REPLICA


@virtual
async def test_no_time_is_left() -> None:
    """If a region that should end in time doesn't, the next one isn't blamed for a call without time."""
    aws = FakeRegions()
    loop: Any = asyncio.get_running_loop()

    class StallError(OSError):
        """Blocks the loop past the deadline before it is raised."""

    async def stalled(_: str) -> None:
        loop._now += 20
        raise StallError

    async with pool_of(aws, clock=FakeClock(), timeout=10) as pool:
        aws.primary._arrive = stalled  # type: ignore[method-assign]
        error = await error_from(pool)
        assert isinstance(error, EndpointUnreachableError)
        assert aws.replica.calls == []
        assert (await pool.manager("prod/db").secret()).region == REPLICA


async def test_log_and_events(caplog: pytest.LogCaptureFixture) -> None:
    """One warning and one event say that reads go to the replica; one line and one event that they are back."""
    caplog.set_level(logging.INFO, "aiocredentials")
    aws, clock = FakeRegions(), FakeClock()
    events: list[SecretEvent] = []
    async with pool_of(aws, clock=clock, listener=events.append) as pool:
        manager = pool.manager("prod/db")
        aws.primary.fail()
        for _ in range(5):
            await manager.secret()
            clock.advance(100)
        aws.primary.heal()
        for _ in range(5):
            await manager.secret()
        await asyncio.sleep(0)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", f"Region '{PRIMARY}' failed (InternalServiceError): reads go to '{REPLICA}'"),
        ("INFO", f"Region '{PRIMARY}' answers again: reads go to it"),
    ]
    over, back = events
    assert isinstance(over, FailedOver)
    assert isinstance(over.error, InternalServiceError)
    assert over.error.__traceback__ is None
    assert (over.secret_name, over.region_name, over.replica_region) == ("prod/db", PRIMARY, REPLICA)
    assert over.version_stage == "AWSCURRENT"
    assert isinstance(back, FailedBack)
    assert (back.secret_name, back.region_name) == ("prod/db", PRIMARY)


async def test_no_news_without_an_answer(caplog: pytest.LogCaptureFixture) -> None:
    """As long as no replica answers, nothing says that reads go there, nor that they are back."""
    caplog.set_level(logging.INFO, "aiocredentials")
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        aws.primary.fail()
        aws.replica.fail()
        await error_from(pool)
        aws.primary.heal()
        await pool.manager("prod/db").secret()
        await asyncio.sleep(0)
    assert caplog.records == []


async def test_a_listener_that_fails() -> None:
    """A listener that fails on a failover disturbs no read."""
    aws = FakeRegions()
    aws.primary.fail()

    def listener(_: SecretEvent) -> None:
        raise ZeroDivisionError

    async with pool_of(aws, listener=listener) as pool:
        assert (await pool.manager("prod/db").secret()).region == REPLICA
        await asyncio.sleep(0)


async def test_two_loops_that_begin_together() -> None:
    """The health of the regions is one for all loops, also if they find the primary region at the same time."""
    aws = FakeRegions()
    async with pool_of(aws) as pool:
        gateway: Any = pool._store.gateway
        found = asyncio.Event()
        region = gateway._gateway.region

        async def slow(request: object) -> Any:  # noqa: ANN401 - a region
            await found.wait()
            return await region(request)

        gateway._gateway.region = slow
        reads = [asyncio.create_task(pool.manager("prod/db").secret()) for _ in range(2)]
        await asyncio.sleep(0)
        found.set()
        await asyncio.gather(*reads)
        before = gateway._places
        await pool.manager("prod/db").secret()
        assert gateway._places is before


async def test_no_value_in_an_error() -> None:
    """No frame of the error of a read, and nothing chained to it, has the answer that was refused."""
    aws = FakeRegions()
    async with pool_of(aws, clock=FakeClock()) as pool:
        aws.store("prod/db", 2)
        await pool.manager("prod/db").secret()
        aws.primary.fail()
        error = await error_from(pool)
    assert "an older version" in str(error)
    assert (error.__cause__, error.__context__) == (None, None)
    held = [value for frame, _ in traceback.walk_tb(error.__traceback__) for value in frame.f_locals.values()]
    assert held
    assert not [value for value in held if isinstance(value, Secret)]
