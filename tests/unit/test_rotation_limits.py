"""A search that finds nothing: how often it tries, how long it takes, and what is logged."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from aiocredentials import CachePolicy, DatabaseCredentials, PoolClosedError, Secret
from aiocredentials.rotation import _verdicts_of, connect_through_rotation
from unit.town import FETCH, LOGIN, POLICY, Town, WrongPasswordError, in_town, managed, now
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiocredentials import AsyncCredentialsManager

WINDOW = 2.0


# Arguments


def test_one_string_of_labels() -> None:
    """One string as `stages` is rejected before any call: it would be read as labels of one letter."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        with pytest.raises(TypeError, match=r"give a tuple of staging labels, as in \('AWSPENDING',\)\."):
            await connect_through_rotation(manager, town.login, stages="AWSPENDING")
        assert not town.asked
        assert not town.logins

    in_town(body)


# How often


@pytest.mark.parametrize("seed", range(5))
def test_a_login_that_is_refused_for_good(seed: int) -> None:
    """It costs 20 logins and 25 calls in the first minute, half of that in each later one."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.accepted["app"] = "somebody changed it by hand"
        town.labels["AWSPREVIOUS"] = replace(town.labels["AWSCURRENT"], version_id="v0", password="password-0")
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, town.login)
        assert len(town.logins) <= 22
        assert len(town.asked) <= 28
        for _ in range(10):
            before = len(town.logins), len(town.asked)
            with pytest.raises(WrongPasswordError):
                await connect_through_rotation(manager, town.login)
            assert len(town.logins) - before[0] <= 11
            assert len(town.asked) - before[1] <= 14

    in_town(body, seed=seed)


def test_one_pace_for_all() -> None:
    """Callers with short budgets, one after the other, keep one pace, and add one try each."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.accepted["app"] = "somebody changed it by hand"
        for _ in range(60):
            with pytest.raises(WrongPasswordError):
                await connect_through_rotation(manager, town.login, budget=1, stages=())
        assert now() == pytest.approx(60, abs=2)

    assert len(in_town(body).logins) < 60 + 20


@pytest.mark.parametrize("healed", [True, False])
def test_the_pace_starts_anew(healed: bool) -> None:  # noqa: FBT001 (of the table)
    """After a success, or a while without refusals, a rotation is noticed as soon as the first one."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.accepted["app"] = "somebody changed it by hand"
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, town.login, budget=300)
        if healed:
            town.accepted["app"] = "password-1"
            await connect_through_rotation(manager, town.login)
        else:
            await asyncio.sleep(31)
        rotation = asyncio.ensure_future(town.rotate("server first", WINDOW))
        await asyncio.sleep(0)
        start = now()
        await connect_through_rotation(manager, town.login, stages=())
        assert now() - start < WINDOW * 1.5 + 0.3
        await rotation

    in_town(body)


def test_other_labels_are_asked_seldom() -> None:
    """Other labels are fetched at the start, when AWSCURRENT moves, and every 15 seconds."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.accepted["app"] = "somebody changed it by hand"
        searching = asyncio.ensure_future(connect_through_rotation(manager, town.login))
        await asyncio.sleep(10)
        assert town.asked.count("AWSPENDING") == 1
        town.promote(town.create_pending())
        await asyncio.sleep(10)
        assert town.asked.count("AWSPREVIOUS") == 2
        with pytest.raises(WrongPasswordError):
            await searching
        assert 2 < town.asked.count("AWSPENDING") <= 5

    in_town(body)


def test_a_label_that_was_not_answered_is_asked_again() -> None:
    """A label that AWS didn't answer for is asked for again in the next round."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.change_server(town.create_pending())
        answer = town.get_secret_value

        async def throttled(**parameters: str) -> dict[str, Any]:
            if parameters["VersionStage"] == "AWSPENDING" and now() < 1:
                raise ClientError({"Error": {"Code": "ThrottlingException", "Message": "No."}}, "GetSecretValue")
            return await answer(**parameters)

        town.get_secret_value = throttled  # type: ignore[method-assign]
        assert await connect_through_rotation(manager, town.login) == "app"
        assert now() < 3

    in_town(body)


def test_old_news_are_no_reason_to_hurry() -> None:
    """A manager that yields the same versions again ends one pause with each, and no more."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        current = await manager.secret()
        other = Secret(
            "{}",
            name=current.name,
            arn=current.arn,
            region=current.region,
            version_id="v0",
            version_stages=(),
            created_at=None,
            fetched_at=current.fetched_at,
            born=0.0,
        )

        async def changes() -> AsyncGenerator[Secret]:
            yield current
            yield other
            await asyncio.Event().wait()

        manager.changes = changes  # type: ignore[method-assign]
        town.accepted["app"] = "somebody changed it by hand"
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, town.login, stages=())

    assert len(in_town(body).logins) < 22


# How long


@pytest.mark.parametrize("hangs", ["AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"])
@pytest.mark.parametrize("policy", [POLICY, None], ids=["cached", "no cache"])
def test_aws_hangs_while_searching(policy: CachePolicy | None, hangs: str) -> None:
    """A fetch that hangs holds no caller past its budget: the one that searches, or the others."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        town.accepted["app"] = "somebody changed it by hand"
        answer = town.get_secret_value
        before = len(town.logins)

        async def hanging(**parameters: str) -> dict[str, Any]:
            if parameters["VersionStage"] == hangs and len(town.logins) > before:
                await asyncio.sleep(9)
            return await answer(**parameters)

        town.get_secret_value = hanging  # type: ignore[method-assign]

        async def one(delay: float) -> None:
            await asyncio.sleep(delay)
            began = now()
            with pytest.raises(WrongPasswordError):
                await connect_through_rotation(manager, town.login, budget=2)
            assert 2 <= now() - began <= 2 + 2 * FETCH + LOGIN

        await asyncio.gather(*(one(delay) for delay in (0, 0, 0, 1, 1)))

    in_town(body, policy=policy)


def test_aws_hangs_after_a_finding() -> None:
    """A fetch that hangs after another caller's finding ends with the budget, too."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def connect(_: DatabaseCredentials) -> str:
            _verdicts_of[manager].get().findings += 1
            manager.invalidate()
            town.latency = 9
            raise WrongPasswordError

        await manager.get()
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, connect, budget=2)
        assert now() == pytest.approx(2, abs=0.1)

    in_town(body)


def test_the_pool_is_closed_during_a_fetch() -> None:
    """Closing the pool while a search fetches ends it with `PoolClosedError`, at once."""
    town = Town()

    async def main() -> None:
        async with managed(town) as (pool, manager):
            await manager.get()
            town.accepted["app"] = "another"
            town.latency = 8.0
            waiting = asyncio.ensure_future(connect_through_rotation(manager, town.login))
            await asyncio.sleep(1)
            await pool.aclose()
            with pytest.raises(PoolClosedError):
                await waiting
            assert now() < 2

    run(main(), seed=0, leave_nothing=True)


def test_the_last_attempt_is_not_cut() -> None:
    """An attempt that has begun goes on after the budget is spent, and none begins after that."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        began: list[float] = []

        async def slow(_: DatabaseCredentials) -> str:
            began.append(now())
            await asyncio.sleep(1.5)
            raise WrongPasswordError

        town.create_pending()
        stages = ["AWSPENDING", "ONE", "TWO", "THREE"]
        for stage in stages[1:]:
            town.labels[stage] = replace(town.labels["AWSCURRENT"], version_id=stage)
            await manager.secret(version_stage=stage)  # it is cached, so no fetch takes the time
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, slow, budget=2, stages=stages)
        assert began[-1] < began[0] + 1.5 + 2
        assert now() == pytest.approx(began[-1] + 1.5)

    in_town(body)


def test_a_timeout_of_the_managers_own() -> None:
    """A TimeoutError that the manager raises isn't taken for the end of the budget."""

    async def body(_: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def late(**_: object) -> None:
            raise TimeoutError("mine")

        manager.secret = late  # type: ignore[assignment, method-assign]
        with pytest.raises(TimeoutError, match="mine"):
            await connect_through_rotation(manager, lambda _: asyncio.sleep(0))

    in_town(body)


def test_a_late_caller_takes_what_comes_in() -> None:
    """A caller that comes while another searches connects as soon as the new version is fetched."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        await town.rotate()
        town.latency = 1.0
        first = asyncio.ensure_future(connect_through_rotation(manager, town.login))
        await asyncio.sleep(0.5)
        assert await connect_through_rotation(manager, town.login, budget=2) == "app"
        assert await first == "app"
        assert now() < 1.2

    in_town(body)


# What is logged


def test_a_refusal_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The first refusal of a version is one warning, with the server's words."""
    caplog.set_level("INFO", "aiocredentials")

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def connect(credentials: DatabaseCredentials) -> str:
            try:
                return await town.login(credentials)
            except WrongPasswordError:
                raise WrongPasswordError(f"no\nentry for {credentials.password}") from None

        await manager.get()
        await town.rotate("AWSCURRENT first", WINDOW / 2)
        town.accepted["app"] = "by hand"
        calls = [asyncio.ensure_future(connect_through_rotation(manager, connect, budget=30)) for _ in range(20)]
        await asyncio.sleep(5 * LOGIN + FETCH)
        words = "(AWSCURRENT). It answered: WrongPasswordError: no entry for ***"
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
            f"Secret 'prod/db': the server refused version {name!r} {words}" for name in ("v1", "v2")
        ]
        await asyncio.sleep(10)
        town.accepted["app"] = "password-2"
        await asyncio.gather(*calls)

    in_town(body)
    logged = [(record.levelname, record.message) for record in caplog.records if "version" in record.message]
    assert [level for level, _ in logged].count("WARNING") == 2
    assert ("INFO", "Secret 'prod/db': version 'v2' (AWSCURRENT) is accepted") in logged
    assert "password-" not in caplog.text


def test_a_version_is_logged_again_after_a_success(caplog: pytest.LogCaptureFixture) -> None:
    """A version that is refused after it was accepted is another warning; few are remembered."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        for number in range(1, 4):
            town.accepted["app"] = "by hand"
            with pytest.raises(WrongPasswordError):
                await connect_through_rotation(manager, town.login, budget=1)
            assert caplog.text.count("the server refused version 'v1'") == number
            town.accepted["app"] = "password-1"
            await connect_through_rotation(manager, town.login)
        town.accepted["app"] = "by hand"
        for _ in range(40):
            town.promote(town.create_pending())
            await manager.refresh()
            with pytest.raises(WrongPasswordError):
                await connect_through_rotation(manager, town.login, budget=0.1)
        assert len(_verdicts_of[manager].get()._logged) < 20

    in_town(body)


def test_labels_that_others_chose(caplog: pytest.LogCaptureFixture) -> None:
    """A staging label comes into the log on one line, without control characters."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.labels["EVIL\n\x1b[2J"] = town.labels["AWSCURRENT"]
        town.accepted["app"] = "by hand"
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, town.login, budget=1)

    in_town(body)
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.message.isprintable()
    assert r"(AWSCURRENT/EVIL \x1b[2J)" in record.message


def test_no_password_stays_in_an_error() -> None:
    """What a driver hangs on its error is cleared of the password before the error is raised."""

    async def body(_: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def connect(credentials: DatabaseCredentials) -> str:
            error = ConnectionError("lost")
            error.pgconn = Connection(credentials.password.encode())  # type: ignore[attr-defined]
            raise error

        with pytest.raises(ConnectionError, match="lost") as caught:
            await connect_through_rotation(manager, connect)
        assert "password-1" not in repr(vars(caught.value))

    in_town(body)


@dataclass
class Connection:
    """What psycopg keeps of a connection that failed."""

    password: bytes
    status: int = 1

    def finish(self) -> None:
        """Do nothing."""
