"""What a listener is told, and when: each event at its time, with its facts, and never a value."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import (
    CachePolicy,
    CredentialsError,
    CredentialsPool,
    PoolClosedError,
    SecretNotFoundError,
    ThrottledError,
    events,
)
from aiocredentials.events import (
    Evicted,
    Fetched,
    FetchFailed,
    Refreshed,
    RefreshFailed,
    Rotated,
    SecretEvent,
    ServedStale,
    fan_out,
    report_event,
)
from aiocredentials.testing import FakeSecretsManager
from unit.fake_aws import CANARY, TTL, FakeAWS, pool_of
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NAME = "prod/db"
WHERE = {"secret_name": NAME, "region_name": "eu-west-1", "version_stage": "AWSCURRENT"}


def told(
    story: Callable[[FakeAWS, Any], Coroutine[Any, Any, None]], *, max_secrets: int = 1024
) -> list[tuple[float, SecretEvent]]:
    """Run a story with a pool in virtual time, and return each event with its time."""
    heard: list[tuple[float, SecretEvent]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        aws = FakeAWS(NAME, "prod/redis")
        async with pool_of(aws, max_secrets=max_secrets, listener=lambda one: heard.append((loop.time(), one))) as pool:
            await story(aws, pool)

    run(main(), seed=0, leave_nothing=True)
    # However an event is shown, no value is in it.
    assert CANARY not in repr(heard) + str([dataclasses.asdict(event) for _, event in heard])
    return heard


def test_fetches() -> None:
    """A secret that comes in is fetched the first time, refreshed later, and fetched anew when it was forgotten."""

    async def story(_: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        manager = pool.manager(NAME)
        await manager.get()
        await manager.get()
        await asyncio.sleep(10)
        await manager.refresh()
        await asyncio.sleep(TTL)
        await manager.get()
        manager.invalidate()
        await manager.get()

    kinds = [Fetched, Refreshed, Refreshed, Fetched]
    times = [0, 10, 10 + TTL, 10 + TTL]
    assert told(story) == [
        (time, kind(**WHERE, version_id="version-1", duration=0)) for time, kind in zip(times, kinds, strict=True)
    ]


def test_rotation() -> None:
    """Another version is told after it came in, with the one before; also when that was invalidated."""

    async def story(aws: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        manager = pool.manager(NAME)
        await manager.get()
        aws.rotate(NAME)
        await manager.refresh()
        aws.rotate(NAME)
        manager.invalidate()
        await manager.get()

    assert [event for _, event in told(story)] == [
        Fetched(**WHERE, version_id="version-1", duration=0),
        Refreshed(**WHERE, version_id="version-2", duration=0),
        Rotated(**WHERE, version_id="version-2", previous_version_id="version-1"),
        Fetched(**WHERE, version_id="version-3", duration=0),
        Rotated(**WHERE, version_id="version-3", previous_version_id="version-2"),
    ]


def facts(event: SecretEvent) -> tuple[type[SecretEvent], dict[str, str | None]]:
    """Give what an event is, and the facts that all have."""
    return type(event), {name: getattr(event, name) for name in WHERE}


def test_failures() -> None:
    """A failure is a failed fetch or a failed refresh, whether somebody waits or not; it carries its error."""

    async def story(aws: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        manager = pool.manager(NAME)
        aws.failures[NAME] = "ThrottlingException"
        with pytest.raises(ThrottledError):
            await manager.get()
        aws.failures.clear()
        await manager.get()
        aws.failures[NAME] = "ThrottlingException"
        await asyncio.sleep(0.9 * TTL)
        await manager.get()  # begins a refresh ahead, which fails: the reader doesn't learn of it
        await asyncio.sleep(1)
        await manager.get()
        with pytest.raises(SecretNotFoundError):
            await pool.manager("prod/api").get()

    heard = told(story)
    assert [facts(event) for _, event in heard] == [
        (FetchFailed, WHERE),
        (Fetched, WHERE),
        (RefreshFailed, WHERE),
        (FetchFailed, WHERE | {"secret_name": "prod/api"}),
    ]
    assert [time for time, _ in heard] == [0, 0, 0.9 * TTL, 0.9 * TTL + 1]
    errors = [event.error for _, event in heard if isinstance(event, (FetchFailed, RefreshFailed))]
    assert [type(error).__mro__[1] for error in errors] == [ThrottledError, ThrottledError, SecretNotFoundError]
    assert [(error.secret_name, error.__traceback__) for error in errors] == [
        (NAME, None),
        (NAME, None),
        ("prod/api", None),
    ]


def test_durations() -> None:
    """What a fetch brings or doesn't is told with the seconds that it took, from its start, whoever waited how long."""

    async def story(aws: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        manager = pool.manager(NAME)
        aws.latency = 2
        aws.failures[NAME] = "ThrottlingException"
        with pytest.raises(ThrottledError):
            await manager.get()
        aws.failures.clear()
        first = asyncio.create_task(manager.get())
        await asyncio.sleep(1.5)
        await manager.get()
        await first
        aws.latency = 3
        await manager.refresh()
        aws.failures[NAME] = "ThrottlingException"
        with pytest.raises(ThrottledError):
            await manager.refresh()
        aws.failures.clear()
        await pool.prefetch("prod/redis")

    kinds = {FetchFailed: 2, Fetched: 2, Refreshed: 3, RefreshFailed: 3}
    heard: list[Any] = [event for _, event in told(story)]
    assert [(type(event), event.duration) for event in heard] == [*kinds.items(), (Fetched, 3)]


def test_stale() -> None:
    """A stale value is told when serving it begins, with its age, and not with each read."""

    async def story(aws: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        manager = pool.manager(NAME)
        await manager.get()
        aws.failures[NAME] = "InternalServiceError"
        await asyncio.sleep(TTL + 7)
        for _ in range(5):
            await manager.get()

    heard = told(story)
    assert [type(event) for _, event in heard] == [Fetched, RefreshFailed, ServedStale]
    assert heard[-1] == (TTL + 7, ServedStale(**WHERE, version_id="version-1", age=TTL + 7))


def test_eviction() -> None:
    """A secret that makes room for another is told by its name, however it was asked."""

    async def story(aws: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        await pool.manager(aws.secrets[NAME].arn).get()
        await asyncio.sleep(1)
        await pool.manager("prod/redis").get()

    assert (1, Evicted(**WHERE)) in told(story, max_secrets=1)


def test_names() -> None:
    """Once a secret is known its events have its name, also where an ARN was asked and refreshing fails."""

    async def story(aws: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        arn = aws.secrets[NAME].arn
        await pool.manager(arn).get()
        aws.failures[arn] = "InternalServiceError"
        with pytest.raises(CredentialsError):
            await pool.manager(arn).refresh()

    assert [facts(event) for _, event in told(story)] == [(Fetched, WHERE), (RefreshFailed, WHERE)]


def test_selectors() -> None:
    """An event has the staging label that was asked, and none where it was a version id."""

    async def story(_: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        await pool.manager(NAME).secret(version_stage="AWSPREVIOUS")
        await pool.manager(NAME).secret(version_id="version-1")

    assert [event.version_stage for _, event in told(story)] == ["AWSPREVIOUS", None]


def test_after_close() -> None:
    """Closing isn't a failure: what it ends is told to those who wait, not to the listener."""

    async def story(aws: FakeAWS, pool: Any) -> None:  # noqa: ANN401 - a pool
        aws.latency = 5
        call = asyncio.create_task(pool.manager(NAME).get())
        await asyncio.sleep(1)
        await pool.aclose()
        with pytest.raises(CredentialsError, match="closed during the call"):
            await call

    assert told(story) == []


@pytest.mark.parametrize(
    "error",
    [ValueError("mine"), asyncio.CancelledError(), pytest.fail.Exception("mine"), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
async def test_a_listener_that_raises(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """What a listener raises is logged with the name of the event, and neither fetch nor reader is hurt."""

    def listener(_: SecretEvent) -> None:
        raise error

    aws = FakeAWS(NAME)
    async with pool_of(aws, listener=listener) as pool:
        manager = pool.manager(NAME)
        assert (await manager.get())["number"] == 1
        aws.rotate(NAME)
        await manager.refresh()
        assert (await manager.get())["number"] == 2
    records = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert records == [f"A listener failed on {kind}" for kind in ("Fetched", "Refreshed", "Rotated")]
    assert CANARY not in caplog.text


async def test_a_listener_that_acts() -> None:
    """A listener may use the pool: it is told when the change is made, not in the middle of it."""
    aws, seen = FakeAWS(NAME), []

    def listener(event: SecretEvent) -> None:
        seen.append(pool.stats().entries)
        if isinstance(event, Fetched):
            pool.manager(NAME).invalidate()

    async with pool_of(aws, listener=listener, policy=CachePolicy()) as pool:
        for _ in range(2):
            assert (await pool.manager(NAME).get())["number"] == 1
    assert aws.calls == [NAME, NAME]
    assert seen == [1, 1]


def test_events_are_fixed() -> None:
    """An event can't be changed, takes keywords alone, and compares by what it says; every kind has a docstring."""
    event = Fetched(**WHERE, version_id="version-1", duration=1)
    assert event == Fetched(**WHERE, version_id="version-1", duration=1)
    with pytest.raises(AttributeError):
        event.version_id = "version-2"  # type: ignore[misc]
    with pytest.raises(TypeError):
        Evicted(NAME, "eu-west-1")  # type: ignore[misc]
    kinds = [one for one in vars(events).values() if isinstance(one, type) and issubclass(one, SecretEvent)]
    assert len(kinds) == 10
    assert all(kind.__doc__ and not kind.__doc__.startswith(kind.__name__) for kind in kinds)


def test_fan_out(caplog: pytest.LogCaptureFixture) -> None:
    """Several listeners are one: each is told in its turn, whatever those before it raise."""
    heard: list[tuple[str, SecretEvent]] = []

    def fails(_: SecretEvent) -> None:
        raise ValueError("mine")

    event = Evicted(**WHERE)
    fan_out(lambda one: heard.append(("a", one)), fails, lambda one: heard.append(("b", one)))(event)
    fan_out()(event)
    assert heard == [("a", event), ("b", event)]
    assert [record.getMessage() for record in caplog.records] == ["A listener failed on Evicted"]


def test_nobody_listens() -> None:
    """Without a listener there is nothing to do."""
    report_event(None, Evicted(**WHERE))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_raised(kind: type[BaseException], caplog: pytest.LogCaptureFixture) -> None:
    """An interrupt that arrives in a listener isn't lost, and the listeners after it are called first."""
    heard: list[SecretEvent] = []

    def interrupted(_: SecretEvent) -> None:
        raise kind

    event = Evicted(**WHERE)
    with pytest.raises(kind):
        fan_out(interrupted, heard.append)(event)
    assert heard == [event]
    assert caplog.records == []


# Pools


class Watcher:
    """A listener that notes which pools open and close."""

    def __init__(self, *, fails: bool = False) -> None:
        self.seen: list[tuple[str, object]] = []
        self._fails = fails

    def __call__(self, event: SecretEvent, /) -> None:
        """Note the kind of the event."""
        self._note(type(event).__name__, None)

    def pool_opened(self, pool: object, /) -> None:
        """Note the pool."""
        self._note("opened", pool)

    def pool_closed(self, pool: object, /) -> None:
        """Note the pool."""
        self._note("closed", pool)

    def _note(self, what: str, pool: object) -> None:
        self.seen.append((what, pool))
        if self._fails:
            raise ValueError("mine")


async def test_a_pool_opens_and_closes() -> None:
    """A listener that asks for it learns once that its pool has opened, after prefetching, and once that it closed."""
    watcher = Watcher()
    fake = FakeSecretsManager({NAME: "value"})
    pool = CredentialsPool(session=fake, listener=fan_out(lambda _: None, watcher), prefetch=[NAME])
    async with pool:
        await pool.open()
        assert watcher.seen == [("Fetched", None), ("opened", pool)]
    await pool.aclose()
    assert watcher.seen[2:] == [("closed", pool)]


async def test_a_pool_that_never_opened() -> None:
    """A pool that couldn't open, or wasn't opened, reports neither."""
    watcher = Watcher()
    fake = FakeSecretsManager()
    pool = CredentialsPool(session=fake, listener=watcher, prefetch=[NAME])
    with pytest.RaisesGroup(SecretNotFoundError, match="could not be fetched"):
        await pool.open()
    await CredentialsPool(session=fake, listener=watcher).aclose()
    assert [what for what, _ in watcher.seen] == ["FetchFailed"]


async def test_a_watcher_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """What these methods raise is logged, and the pool opens and closes all the same."""
    watcher = Watcher(fails=True)
    async with CredentialsPool(session=FakeSecretsManager({NAME: "1"}), listener=watcher) as pool:
        assert await pool.manager(NAME).get() == 1
    assert "closed" in repr(pool)
    assert [record.getMessage() for record in caplog.records] == [
        "A listener failed on pool_opened",
        "A listener failed on Fetched",
        "A listener failed on pool_closed",
    ]


async def test_a_pool_whose_closing_is_cancelled_reports_it() -> None:
    """Closing that is cancelled still ends, and is reported."""
    watcher = Watcher()
    fake = FakeSecretsManager({NAME: "1"})
    pool = CredentialsPool(session=fake, listener=watcher)
    await pool.open()
    gate = fake.hold()
    reading = asyncio.create_task(pool.manager(NAME).get())
    await gate.reached()
    closing = asyncio.create_task(pool.aclose())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(PoolClosedError):
        await reading
    assert watcher.seen == [("opened", pool), ("closed", pool)]


async def test_a_listener_with_attributes_of_any_name() -> None:
    """An attribute by such a name that can't be called is left alone."""

    class Odd:
        pool_opened = "yesterday"
        pool_closed = None

        def __call__(self, event: SecretEvent, /) -> None:
            """Do nothing."""

    async with CredentialsPool(session=FakeSecretsManager(), listener=Odd()) as pool:
        assert "open" in repr(pool)
