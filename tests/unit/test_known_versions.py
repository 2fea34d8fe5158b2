"""A replica that lags: an older version never replaces a newer one."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings, strategies as st

from aiocredentials import CachePolicy, CredentialsPool, InternalServiceError, Secret
from aiocredentials._aws.known_versions import KnownVersions
from aiocredentials._aws.requests import SecretRequest
from aiocredentials.events import Rotated, SecretEvent
from aiocredentials.testing import FakeClock
from unit.fake_regions import REPLICA, THIRD, FakeRegions, Version, arn_of, pool_of, version

if TYPE_CHECKING:
    from collections.abc import Sequence

ASKED = SecretRequest("prod/db")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def secret(one: Version, *, born: float = 0.0, name: str = "prod/db", arn: str | None = None) -> Secret:
    """Make a secret as the gateway does."""
    return Secret(
        "mock",
        name=name,
        arn=arn or arn_of(name),
        region=REPLICA,
        version_id=one.version_id,
        version_stages=("AWSCURRENT",),
        created_at=one.created_at,
        fetched_at=NOW,
        born=born,
    )


def undated(number: int) -> Version:
    """Return a version as an emulator without dates has it."""
    return Version(number, None)


def naive(number: int) -> Version:
    """Return a version as an emulator without time zones has it."""
    dated = version(number).created_at
    assert dated
    return Version(number, dated.replace(tzinfo=None))


@pytest.mark.parametrize("make", [version, undated, naive])
def test_superseded(make: type[Version]) -> None:
    """The version that the primary region has replaced is refused, and the newest one accepted."""
    known = KnownVersions(10)
    known.note(ASKED, secret(make(1)))  # type: ignore[call-arg]
    known.note(ASKED, secret(make(2), born=1))  # type: ignore[call-arg]
    assert not known.accept(ASKED, secret(make(1)))  # type: ignore[call-arg]
    assert known.accept(ASKED, secret(make(2)))  # type: ignore[call-arg]
    assert known.accept(ASKED, secret(make(3)))  # type: ignore[call-arg]
    assert not known.accept(ASKED, secret(make(2)))  # type: ignore[call-arg]


def test_versions_that_were_never_seen() -> None:
    """A version that is older than the newest known one is refused, though nobody has seen it."""
    known = KnownVersions(10)
    known.note(ASKED, secret(version(5)))
    assert not known.accept(ASKED, secret(version(3)))


def test_a_rollback() -> None:
    """The primary region is right, also if it returns to an older version: the replica's newer one is refused."""
    known = KnownVersions(10)
    known.note(ASKED, secret(version(5)))
    known.note(ASKED, secret(version(2), born=1))
    assert known.accept(ASKED, secret(version(2)))
    for number in (3, 5):
        assert not known.accept(ASKED, secret(version(number)))
    assert known.accept(ASKED, secret(version(6)))


def test_there_and_back() -> None:
    """A version that is current once more isn't superseded any longer, also without dates."""
    known = KnownVersions(10)
    for born, number in enumerate([1, 2, 1]):
        known.note(ASKED, secret(undated(number), born=born))
    assert known.accept(ASKED, secret(undated(1)))
    assert not known.accept(ASKED, secret(undated(2)))


def test_answers_in_another_order() -> None:
    """The primary's answer to an earlier fetch that comes later doesn't count."""
    known = KnownVersions(10)
    known.note(ASKED, secret(version(2), born=2))
    known.note(ASKED, secret(version(1), born=1))
    assert known.accept(ASKED, secret(version(2)))


def test_a_late_answer_after_a_replicas() -> None:
    """The primary's answer to an earlier fetch is noted: the replica's older version isn't accepted again."""
    known = KnownVersions(10)
    assert known.accept(ASKED, secret(version(1), born=2))
    known.note(ASKED, secret(version(2), born=1))
    assert not known.accept(ASKED, secret(version(1), born=3))
    assert known.accept(ASKED, secret(version(2), born=3))
    assert known.accept(ASKED, secret(version(3), born=4))
    # This one was superseded meanwhile.
    known.note(ASKED, secret(version(2), born=1))
    assert known.accept(ASKED, secret(version(3), born=5))


@pytest.mark.parametrize("make", [version, undated])
def test_a_late_answer_after_a_rollback(make: type[Version]) -> None:
    """The primary's earlier answer is superseded by its later one, also if its version is newer or has no date."""
    known = KnownVersions(10)
    known.note(ASKED, secret(make(1), born=2))  # type: ignore[call-arg]
    for _ in range(2):
        known.note(ASKED, secret(make(2), born=1))  # type: ignore[call-arg]
    assert not known.accept(ASKED, secret(make(2), born=3))  # type: ignore[call-arg]
    assert known.accept(ASKED, secret(make(1), born=3))  # type: ignore[call-arg]
    known.note(ASKED, secret(make(1), born=1))  # type: ignore[call-arg]
    known.note(ASKED, secret(make(2), born=4))  # type: ignore[call-arg]
    assert known.accept(ASKED, secret(make(2), born=5))  # type: ignore[call-arg]


def test_a_replica_confirms_the_primary() -> None:
    """A version that the primary has answered stays the primary's when a replica answers it, too."""
    known = KnownVersions(10)
    known.note(ASKED, secret(version(1), born=2))
    assert known.accept(ASKED, secret(version(1), born=3))
    known.note(ASKED, secret(version(2), born=1))
    assert known.accept(ASKED, secret(version(1), born=4))


def test_without_dates() -> None:
    """If one version has no date, only ids are compared."""
    known = KnownVersions(10)
    known.note(ASKED, secret(version(2)))
    assert known.accept(ASKED, secret(undated(1)))


def test_a_version_id() -> None:
    """A version that was asked by its id is that version in each region."""
    known = KnownVersions(10)
    by_id = ASKED._replace(version_id="version-1")
    known.note(by_id, secret(version(9)))
    assert known.accept(by_id, secret(version(1)))
    assert known.accept(ASKED, secret(version(1)))


def test_labels() -> None:
    """Each staging label has versions of its own."""
    known = KnownVersions(10)
    known.note(ASKED, secret(version(2)))
    previous = ASKED._replace(version_stage="AWSPREVIOUS")
    assert known.accept(previous, secret(version(1)))


def test_memory() -> None:
    """It remembers so many secrets, the most recently used ones; per secret a few ids; and never a value."""
    known = KnownVersions(2)
    for name in ("a", "b", "a", "c"):
        known.note(ASKED, secret(version(5), name=name))
    assert known.accept(ASKED, secret(version(1), name="b"))
    assert not known.accept(ASKED, secret(version(1), name="c"))
    for number in range(5, 1000):
        known.note(ASKED, secret(version(number), name="c"))
    kept = known._by_question[arn_of("c"), "AWSCURRENT"]
    assert len(kept.superseded) < 10
    held = [getattr(kept, name) for name in kept.__slots__]
    assert not [one for one in held if isinstance(one, Secret)]


def test_another_secret() -> None:
    """Once the ARN of a name is known, another one is another secret; the primary region is always right."""
    known = KnownVersions(10)
    first = secret(version(1))
    created_anew = secret(version(2), arn=arn_of("prod/db", suffix="QqQqQq"))
    assert not known.is_another(first)
    assert not known.is_another(created_anew)
    assert known.accept(ASKED, first)
    assert known.is_another(created_anew)
    known.note(ASKED, created_anew)
    assert known.is_another(first)
    assert not known.is_another(created_anew)


def test_another_account() -> None:
    """Two accounts may have secrets of the same name: each of them is itself. So may two names."""
    known = KnownVersions(10)
    known.note(ASKED, secret(version(1)))
    theirs = arn_of("prod/db", suffix="QqQqQq").replace("123456789012", "210987654321")
    assert not known.is_another(secret(version(1), arn=theirs))
    assert not known.is_another(secret(version(1), name="prod/db2", arn=arn_of("prod/db2", suffix="QqQqQq")))
    odd = secret(version(1), name="odd", arn="odd")
    known.note(ASKED, odd)
    assert not known.is_another(odd)


def test_memory_of_arns() -> None:
    """It remembers the ARNs of so many secrets, the most recently used ones, and never a value."""
    known = KnownVersions(2)
    by_id = ASKED._replace(version_id="version-1")
    for name in ("a", "b", "a", "c"):
        known.note(by_id, secret(version(5), name=name))
    for name, is_known in (("a", True), ("b", False), ("c", True)):
        other = secret(version(5), name=name, arn=arn_of(name, suffix="QqQqQq"))
        assert known.is_another(other) is is_known
    assert {type(arn) for arn in known._arns.values()} == {str}
    assert len(known._arns) == 2


async def test_a_replica_that_is_another_secret() -> None:
    """Another secret of the same name is no answer, and no failure of its region; the next region is asked."""
    aws, clock = FakeRegions(), FakeClock()
    events: list[SecretEvent] = []
    policy = CachePolicy(ttl=10, jitter=0, max_stale=1000)
    async with pool_of(aws, clock=clock, policy=policy, listener=events.append) as pool:
        manager = pool.manager("prod/db")
        await manager.secret()
        aws.primary.fail()
        aws.replica.suffix = "QqQqQq"
        aws.replica.secrets["prod/db"] = version(7)
        aws.replica.secrets["prod/new"] = version(7)
        clock.advance(20)
        stale = await manager.secret()
        assert (stale.version_id, stale.is_stale, stale.arn) == ("version-1", True, arn_of("prod/db"))
        with pytest.raises(InternalServiceError, match=rf"{REPLICA} \(another secret of the same name\)"):
            await manager.refresh()
        asked = len(aws.replica.calls)
        assert (await pool.manager("prod/new").secret()).region == REPLICA
        assert len(aws.replica.calls) == asked + 1
    assert not [event for event in events if isinstance(event, Rotated)]
    async with pool_of(aws, REPLICA, THIRD, clock=clock) as pool:
        aws.primary.heal()
        await pool.manager("prod/db").secret()
        aws.primary.fail()
        assert (await pool.manager("prod/db").secret()).region == THIRD


async def test_a_replica_that_lags() -> None:
    """A replica's older version is no answer: the stale value is served, and the replica stays in use."""
    aws, clock = FakeRegions(), FakeClock()
    aws.store("prod/other", 1)
    aws.replicate()
    aws.store("prod/db", 2)
    policy = CachePolicy(ttl=10, jitter=0, max_stale=1000)
    async with pool_of(aws, clock=clock, policy=policy) as pool:
        manager = pool.manager("prod/db")
        await manager.secret()
        aws.primary.fail()
        clock.advance(20)
        stale = await manager.secret()
        assert (stale.version_id, stale.is_stale) == ("version-2", True)
        with pytest.raises(InternalServiceError, match=rf"{REPLICA} \(an older version\)"):
            await manager.refresh()
        asked = len(aws.replica.calls)
        assert (await pool.manager("prod/other").secret()).region == REPLICA
        assert len(aws.replica.calls) == asked + 1
        aws.replicate()
        assert (await manager.refresh()).region == REPLICA


async def test_the_next_replica_may_have_it() -> None:
    """If one replica lags, the next one is asked."""
    aws = FakeRegions()
    async with pool_of(aws, REPLICA, THIRD, clock=FakeClock()) as pool:
        aws.store("prod/db", 2)
        await pool.manager("prod/db").secret()
        aws.primary.fail()
        aws.third.secrets = dict(aws.primary.secrets)
        assert (await pool.manager("prod/db").secret()).region == THIRD


STEPS = st.lists(
    st.sampled_from(
        ["rotate", "read", "primary fails", "primary heals", "replicate", "replicate third", "replica fails", "wait"]
    ),
    max_size=40,
)


@given(steps=STEPS)
@settings(max_examples=40, deadline=None)
@example(steps=["rotate", "replicate", "rotate", "read", "primary fails"])
@example(steps=["rotate", "read", "primary fails", "read", "replicate", "replica fails", "read"])
def test_no_reader_goes_back(steps: Sequence[str]) -> None:
    """Whatever fails and lags, a reader never sees an older version after a newer one."""
    aws, clock = FakeRegions(), FakeClock()

    async def go() -> None:
        seen = 0
        number = 1
        async with pool_of(aws, REPLICA, THIRD, clock=clock) as pool:
            for step in [*steps, "primary heals", "wait", "read", "read"]:
                match step:
                    case "rotate":
                        number += 1
                        aws.store("prod/db", number)
                    case "read":
                        seen = await _read(pool, seen)
                    case "primary fails":
                        aws.primary.fail()
                    case "primary heals":
                        aws.primary.heal()
                    case "replicate":
                        aws.replica.secrets = dict(aws.primary.secrets)
                        aws.replica.heal()
                    case "replicate third":
                        aws.third.secrets = dict(aws.primary.secrets)
                    case "replica fails":
                        aws.replica.fail()
                    case _:
                        clock.advance(61)
        assert seen == number

    asyncio.run(go())


async def _read(pool: CredentialsPool, seen: int) -> int:
    """Read once, and return the newest number that was ever seen."""
    try:
        answer = (await pool.manager("prod/db").secret()).json()["number"]
    except InternalServiceError:
        return seen
    assert answer >= seen
    return int(answer)
