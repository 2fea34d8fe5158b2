"""What is done with each new version: none is missed, whatever the manager does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import (
    EndpointUnreachableError,
    PoolClosedError,
    Secret,
    SecretFormatError,
    SecretNotFoundError,
)
from aiocredentials._rotation.news import wait_for_news
from aiocredentials.rotation import rotations_watched
from unit.town import FETCH, Town, in_town, managed, now
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from aiocredentials import AsyncCredentialsManager, DatabaseCredentials


def version(version_id: str) -> Secret:
    """Make a version."""
    return Secret(
        "{}",
        name="prod/db",
        arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
        region="eu-west-1",
        version_id=version_id,
        version_stages=("AWSCURRENT",),
        created_at=None,
        fetched_at=datetime.now(UTC),
        born=0.0,
    )


class Own:
    """A manager of a user's own: what it has, and what its `changes()` does next."""

    def __init__(self, current: str | Exception = "v1", *script: str | Exception | None) -> None:
        self.current = current
        self.script = list(script)
        self.followed = 0

    async def secret(self, *, version_stage: str | None = None) -> Secret:  # noqa: ARG002 (the protocol's)
        """Return the current version, or raise."""
        await asyncio.sleep(FETCH)
        if isinstance(self.current, Exception):
            raise self.current
        return version(self.current)

    async def changes(self) -> AsyncGenerator[Secret]:
        """Do as the script says: yield a version, raise, or end; then wait."""
        self.followed += 1
        while self.script:
            step = self.script.pop(0)
            await asyncio.sleep(1)
            if step is None:
                return
            if isinstance(step, Exception):
                raise step
            yield version(step)
        await asyncio.Event().wait()

    def decoded(self, _: Secret) -> None:
        """Decode nothing."""

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget nothing."""


def watched(own: Own, body: Callable[[], Coroutine[Any, Any, None]]) -> list[str]:
    """Run a test's body while a manager is watched; return the versions that were acted on."""
    seen: list[str] = []

    async def act(secret: Secret) -> None:
        seen.append(secret.version_id)

    async def main() -> None:
        async with rotations_watched(own, act):
            await body()

    run(main(), seed=0, leave_nothing=True)
    return seen


def test_watching(caplog: pytest.LogCaptureFixture) -> None:
    """Each new version is acted on while the block lasts; an error of that is logged, and ends nothing."""
    seen: list[str] = []

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def act(secret: Secret) -> None:
            seen.append(secret.version_id)
            if len(seen) == 1:
                raise LookupError

        await manager.get()
        async with rotations_watched(manager, act):
            for _ in range(3):
                await asyncio.sleep(1)
                await town.rotate()
                await manager.refresh()
            await asyncio.sleep(1)
        await town.rotate()
        await manager.refresh()
        await asyncio.sleep(1)

    in_town(body)
    assert seen == ["v2", "v3", "v4"]
    assert [record.message for record in caplog.records] == ["The action on a rotation of secret 'prod/db' failed"]


def test_watching_sees_to_refreshing(caplog: pytest.LogCaptureFixture) -> None:
    """A rotation is seen though nobody else reads, within the ttl."""
    seen: list[float] = []

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def act(_: Secret) -> None:
            seen.append(now())

        async with rotations_watched(manager, act):
            await asyncio.sleep(1)
            await town.rotate()
            await asyncio.sleep(400)

    in_town(body)
    assert len(seen) == 1
    assert seen[0] < 302
    assert not caplog.records


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("cached", [False, True])
def test_the_first_moment(cached: bool, seed: int) -> None:  # noqa: FBT001 (of the table)
    """A rotation that is fetched as soon as the block has begun is new, whatever runs first."""
    seen: list[str] = []

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def act(secret: Secret) -> None:
            seen.append(secret.version_id)

        if cached:
            await manager.get()
        async with rotations_watched(manager, act):
            used = (await manager.secret()).version_id
            await town.rotate()
            await manager.refresh()
            await asyncio.sleep(1)
        assert used == "v1"

    in_town(body, seed=seed)
    assert seen == ["v2"]


def test_a_rotation_during_a_refusal() -> None:
    """A rotation that comes while AWS refuses the secret is seen when AWS answers again."""
    seen: list[str] = []

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def act(secret: Secret) -> None:
            seen.append(secret.version_id)

        async with rotations_watched(manager, act):
            town.failures["GetSecretValue"] = "AccessDeniedException"
            await asyncio.sleep(301)
            await town.rotate()
            await asyncio.sleep(10)
            town.failures.clear()
            await asyncio.sleep(600)

    in_town(body)
    assert seen == ["v2"]


def test_a_secret_that_comes_later() -> None:
    """A secret that is created later is watched from then on: its first version isn't new."""
    seen: list[str] = []

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def act(secret: Secret) -> None:
            seen.append(secret.version_id)

        town.failures["GetSecretValue"] = "ResourceNotFoundException"
        async with rotations_watched(manager, act):
            await asyncio.sleep(30)
            town.failures.clear()
            await asyncio.sleep(400)
            await town.rotate()
            await manager.refresh()
            await asyncio.sleep(1)

    in_town(body)
    assert seen == ["v2"]


def test_the_block_begins_though_aws_hangs() -> None:
    """If the first look takes long, the block begins after two seconds, and the look goes on."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.latency = 8.0
        async with rotations_watched(manager, lambda _: asyncio.sleep(0)):
            assert now() == pytest.approx(2)
            await manager.get()
            assert now() == pytest.approx(8)

    assert len(in_town(body).asked) == 1


def test_cancelled_during_the_first_look() -> None:
    """A caller that is cancelled while the block begins leaves no task."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.latency = 8.0

        async def watching() -> None:
            async with rotations_watched(manager, lambda _: asyncio.sleep(0)):
                """Isn't reached."""

        task = asyncio.ensure_future(watching())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert now() == 1

    in_town(body)


def test_watching_ends_with_the_pool(caplog: pytest.LogCaptureFixture) -> None:
    """Closing the pool ends the watching quietly; leaving the block afterwards is fine."""
    town = Town()

    async def main() -> None:
        async with managed(town) as (pool, manager), rotations_watched(manager, lambda _: asyncio.sleep(0)):
            await asyncio.sleep(1)
            await pool.aclose()
            await asyncio.sleep(1)
            async with rotations_watched(manager, lambda _: asyncio.sleep(0)):
                await asyncio.sleep(1)

    run(main(), seed=0, leave_nothing=True)
    assert not caplog.records


def test_watching_needs_a_policy(caplog: pytest.LogCaptureFixture) -> None:
    """Without a cache there is nothing to compare with: that is one warning, and no failure."""

    async def body(_: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async with rotations_watched(manager, lambda _: asyncio.sleep(0)):
            await asyncio.sleep(1_000)

    in_town(body, policy=None)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("Rotations aren't watched: ")
    assert "give the manager a policy" in record.message


# Managers of a user's own


@pytest.mark.parametrize(
    "end", [EndpointUnreachableError("down"), SecretNotFoundError("gone"), OSError("odd"), None], ids=range(4)
)
def test_changes_that_end(end: Exception | None) -> None:
    """If `changes()` raises or ends, it is followed again after a minute, and nothing is missed."""
    own = Own("v1", "v2", end, "v4")

    async def body() -> None:
        await asyncio.sleep(10)
        own.current = "v3"
        await asyncio.sleep(70)

    assert watched(own, body) == ["v2", "v3", "v4"]
    assert own.followed == 2


def test_what_was_seen_is_not_new() -> None:
    """The same version isn't acted on twice, however often it is told; one that comes back is."""
    own = Own("v1", "v1", "v2", "v2", None, "v2", "v1")

    async def body() -> None:
        own.current = "v2"
        await asyncio.sleep(100)

    assert watched(own, body) == ["v2", "v1"]


def test_what_comes_before_the_first_look() -> None:
    """If the secret couldn't be read at first, each version that `changes()` yields is new."""
    assert watched(Own(SecretNotFoundError("gone"), "v1", "v2"), lambda: asyncio.sleep(10)) == ["v1", "v2"]


class Picky(Own):
    """A manager that can't use one version."""

    def __init__(self, reason: Exception, *versions: str) -> None:
        super().__init__(*versions)
        self.reason = reason

    def decoded(self, secret: Secret) -> None:
        """Reject the second version."""
        if secret.version_id == "v2":
            raise self.reason


@pytest.mark.parametrize(
    ("reason", "words"),
    [(SecretFormatError("it isn't JSON"), "it isn't JSON"), (ValueError("the value"), "ValueError")],
)
def test_a_version_that_cant_be_used(reason: Exception, words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Old connections are kept if the new version can't be used; the log has no text of the user's own error."""
    assert watched(Picky(reason, "v1", "v2", "v3"), lambda: asyncio.sleep(10)) == ["v3"]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message == (
        f"Secret 'prod/db': the new version v2 can't be used, so open connections are kept: {words}"
    )


def test_one_warning_for_a_kind(caplog: pytest.LogCaptureFixture) -> None:
    """That `changes()` fails is a warning, once for each kind of error, however long it goes on."""
    own = Own("v1", *[SecretNotFoundError("gone"), OSError("odd"), SecretNotFoundError("gone")] * 5)
    watched(own, lambda: asyncio.sleep(3_600))
    assert own.followed == 16
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "Rotations aren't watched at the moment (next attempt in 60 s): gone"),
        ("WARNING", "Rotations aren't watched at the moment (next attempt in 60 s): odd"),
    ]


def test_a_pool_that_is_closed() -> None:
    """A manager that says that its pool is closed isn't followed any more."""
    for own in (Own(PoolClosedError("closed")), Own("v1", PoolClosedError("closed"))):
        watched(own, lambda: asyncio.sleep(1_000))
        assert own.followed <= 1


# A pause that ends with news


def pause(own: Own, *known: str) -> float:
    """Return how long a pause of 10 seconds took."""

    async def main() -> float:
        news = await wait_for_news(own, 10, known)
        assert (news is not None) == (now() < 10)
        assert news not in known
        return now()

    return run(main(), seed=0, leave_nothing=True)


def test_news_end_a_pause() -> None:
    """Only a version that isn't known ends it: no other one does, and no manager that fails."""
    assert pause(Own("v1", "v1", "v2", "v3"), "v1", "v2") == pytest.approx(3)
    assert pause(Own("v1", "v1", "v2"), "v1", "v2") == pytest.approx(10)
    for end in (None, OSError("odd"), RuntimeError("no policy"), TimeoutError("its own")):
        assert pause(Own("v1", end)) == pytest.approx(10)


def test_a_closed_pool_ends_a_pause() -> None:
    """That the pool is closed is raised at once."""
    with pytest.raises(PoolClosedError):
        pause(Own("v1", PoolClosedError("closed")))
