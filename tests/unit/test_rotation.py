"""Through a rotation: what is tried, how often, how long it takes and what it costs, in virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from aiocredentials import (
    AccessDeniedError,
    CachePolicy,
    DatabaseCredentials,
    PoolClosedError,
    SecretDeletedError,
    SecretFormatError,
    SecretNotFoundError,
)
from aiocredentials.rotation import _verdicts_of, connect_through_rotation
from unit.town import FETCH, LOGIN, POLICY, Town, WrongPasswordError, in_town, managed, now
from unit.virtual_time import run

if TYPE_CHECKING:
    from aiocredentials import AsyncCredentialsManager

WINDOW = 2.0
ORDERS = ("server first", "AWSCURRENT first")


def test_the_first_attempt() -> None:
    """Without a rotation it is one login with the current version, and a fetch only if none is cached."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        for _ in range(3):
            assert await connect_through_rotation(manager, town.login) == "app"

    town = in_town(body)
    assert (len(town.logins), town.asked) == (3, ["AWSCURRENT"])


def test_any_connection_will_do() -> None:
    """What `connect` returns is returned, None as well."""

    async def body(_: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def connect(_: DatabaseCredentials) -> None:
            return None

        assert await connect_through_rotation(manager, connect) is None

    in_town(body)


@pytest.mark.parametrize("order", ORDERS)
def test_after_a_rotation(order: str) -> None:
    """200 connections that fail together on an old password cost one refresh, and all succeed at their second login."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await manager.get()
        await town.rotate(order)
        await asyncio.gather(*(connect_through_rotation(manager, town.login) for _ in range(200)))

    town = in_town(body)
    assert town.asked == ["AWSCURRENT"] * 2
    assert len(town.logins) == 400


def test_server_first() -> None:
    """While the server is ahead of AWSCURRENT, AWSPENDING is taken: two fetches, and no wait but theirs."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        pending = town.create_pending()
        town.change_server(pending)
        start = now()
        await asyncio.gather(*(connect_through_rotation(manager, town.login) for _ in range(50)))
        assert now() - start == pytest.approx(2 * FETCH + 3 * LOGIN)
        assert town.asked == ["AWSCURRENT", "AWSCURRENT", "AWSPENDING"]
        # From now on it is known: no login fails any more, before the promotion and after it.
        before = len(town.logins)
        for _ in range(3):
            await connect_through_rotation(manager, town.login)
        town.promote(pending)
        for _ in range(3):
            await connect_through_rotation(manager, town.login)
        assert len(town.logins) - before == 6
        assert len(town.asked) == 3

    in_town(body)


def test_current_first() -> None:
    """While AWSCURRENT is ahead of the server, the version that the server took last goes on, without a fetch."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        pending = town.create_pending()
        town.promote(pending)
        await manager.refresh()  # as the ttl does it
        asked = len(town.asked)
        for _ in range(5):
            await connect_through_rotation(manager, town.login)
        assert len(town.logins) == 1 + 6  # the new version was tried once
        town.change_server(pending)
        await connect_through_rotation(manager, town.login)
        assert len(town.logins) == 1 + 6 + 2
        assert len(town.asked) == asked  # it is cached already

    in_town(body)


def test_starting_inside_of_a_window() -> None:
    """Who starts while AWSCURRENT is ahead of the server gets in by AWSPREVIOUS."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.promote(town.create_pending())
        assert await connect_through_rotation(manager, town.login) == "app"

    town = in_town(body)
    assert [password for _, password in town.logins] == ["password-2", "password-1"]
    assert town.asked == ["AWSCURRENT", "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"]


def test_a_label_of_the_current_version_is_not_asked() -> None:
    """Where AWSPENDING still is on the version that is current, it isn't fetched by that label once more."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.promote(town.create_pending())
        town.labels["AWSPENDING"] = town.labels["AWSCURRENT"]
        assert await connect_through_rotation(manager, town.login) == "app"

    assert in_town(body).asked == ["AWSCURRENT", "AWSCURRENT", "AWSPREVIOUS"]


def test_what_is_confirmed_is_found_for_all() -> None:
    """That the server goes on taking the version of before is a finding as well: nobody else has to search for it."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        town.promote(town.create_pending())
        await manager.refresh()
        start = now()
        await asyncio.gather(*(connect_through_rotation(manager, town.login) for _ in range(50)))
        assert now() - start == pytest.approx(3 * LOGIN)

    in_town(body)


@pytest.mark.parametrize("order", ORDERS)
def test_what_is_known_stays_small(order: str) -> None:
    """However many rotations a process lives through, it remembers a refusal of two versions at most."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        for _ in range(20):
            await connect_through_rotation(manager, town.login)
            await town.rotate(order)
            await manager.refresh()
            await connect_through_rotation(manager, town.login)
            town.accepted["app"] = "nobody knows it"
            with pytest.raises(WrongPasswordError):
                await connect_through_rotation(manager, town.login, budget=1)
            town.accepted["app"] = town.labels["AWSCURRENT"].password
        await connect_through_rotation(manager, town.login)
        assert len(_verdicts_of[manager].get()._refused) <= 2

    in_town(body)


def test_what_nobody_tried_is_not_refused() -> None:
    """A slow login with the old version, which is taken after a new one came in, says nothing against the new one."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def slow(credentials: DatabaseCredentials) -> str:
            await asyncio.sleep(1)
            return await town.login(credentials)

        late = asyncio.ensure_future(connect_through_rotation(manager, slow))
        await asyncio.sleep(0.5)
        await town.rotate()
        await manager.refresh()
        assert await late == "app"
        assert await connect_through_rotation(manager, town.login) == "app_clone"

    assert len(in_town(body, alternating=True).logins) == 2


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("alternating", [False, True], ids=["single user", "alternating users"])
def test_five_rotations(order: str, alternating: bool, seed: int) -> None:  # noqa: FBT001 (of the table)
    """Under load, through five rotations: nobody fails, nobody waits for the window, two fetches a rotation at most."""
    waits: list[float] = []

    async def worker(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials], number: int) -> None:
        for _ in range(30):
            await asyncio.sleep(0.5 + number / 100)
            start = now()
            await connect_through_rotation(manager, town.login)
            waits.append(now() - start)

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        workers = [asyncio.ensure_future(worker(town, manager, number)) for number in range(20)]
        await asyncio.sleep(1)
        for _ in range(5):
            before = len(town.asked)
            await town.rotate(order, WINDOW)
            await asyncio.sleep(1)
            assert len(town.asked) - before <= 2
        await asyncio.gather(*workers)

    in_town(body, seed=seed, alternating=alternating)
    assert len(waits) == 600
    assert max(waits) < 0.5


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("window", [0.3, WINDOW, 20.0])
def test_without_the_other_labels(order: str, window: float) -> None:
    """With `stages=()` the window is waited out: half as long again at most, and with few logins."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        rotation = asyncio.ensure_future(town.rotate(order, window))
        await asyncio.sleep(0)
        start = now()
        await asyncio.gather(*(connect_through_rotation(manager, town.login, stages=()) for _ in range(50)))
        assert window < now() - start < window * 1.5 + 0.3
        await rotation

    town = in_town(body)
    assert len(town.logins) < 50 * 2 + 20
    assert len(town.asked) < 20
    assert set(town.asked) == {"AWSCURRENT"}


def test_labels_that_are_not_allowed() -> None:
    """A label that the identity may not ask for is passed over, as is one that is on no version."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.denied_labels = {"AWSPENDING"}
        rotation = asyncio.ensure_future(town.rotate("server first", WINDOW))
        await asyncio.sleep(0)
        await connect_through_rotation(manager, town.login)
        assert WINDOW < now() < WINDOW * 1.5 + 0.3
        await rotation

    assert {"AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"} == set(in_town(body).asked)


def test_a_pending_version_that_makes_no_sense() -> None:
    """What `decode` can't read is passed over under another label, and raised if it is the current version."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.promote(town.create_pending())
        town.labels["AWSPENDING"] = replace(town.labels["AWSCURRENT"], version_id="v3", text="half writ")
        assert await connect_through_rotation(manager, town.login) == "app"
        town.labels["AWSCURRENT"] = town.labels["AWSPENDING"]
        town.accepted["app"] = "password-0"
        with pytest.raises(SecretFormatError):
            await connect_through_rotation(manager, town.login)

    in_town(body)


def test_a_new_version_ends_the_pause() -> None:
    """Who pauses goes on at once when anybody's fetch brings a new version."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        pending = town.create_pending()
        town.change_server(pending)
        waiting = asyncio.ensure_future(connect_through_rotation(manager, town.login, stages=()))
        await asyncio.sleep(30)  # it pauses for seconds by now
        town.promote(pending)
        await manager.refresh()
        start = now()
        await waiting
        assert now() - start == pytest.approx(LOGIN)

    in_town(body)


@pytest.mark.parametrize("policy", [POLICY, None], ids=["cached", "no cache"])
@pytest.mark.parametrize("budget", [5.0, timedelta(minutes=2)])
def test_a_budget(budget: float | timedelta, policy: CachePolicy | None) -> None:
    """When it is spent, each caller gets the server's own error, with a note; and the server wasn't hammered."""
    limit = budget.total_seconds() if isinstance(budget, timedelta) else budget

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.accepted["app"] = "somebody changed it by hand"
        calls = (connect_through_rotation(manager, town.login, budget=budget) for _ in range(20))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert limit <= now() <= limit + 1
        assert len({id(outcome) for outcome in outcomes}) == 20
        for outcome in outcomes:
            assert isinstance(outcome, WrongPasswordError)
            (note,) = outcome.__notes__
            assert f"'prod/db' in 'eu-west-1': for {limit:g} s the server refused" in note
            assert "'v1'" in note
            assert "password-1" not in note

    town = in_town(body, policy=policy)
    assert len(town.logins) < 20 * 2 + 25
    assert len(town.asked) < 20 * 2 + 40


@pytest.mark.parametrize("budget", [0, -1, float("nan"), "60"])
def test_a_budget_that_makes_no_sense(budget: Any) -> None:  # noqa: ANN401 (wrong on purpose)
    """It is refused with a sentence, before anything is asked."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        with pytest.raises((TypeError, ValueError), match="budget is"):
            await connect_through_rotation(manager, town.login, budget=budget)

    assert in_town(body).asked == []


def test_other_errors_pass() -> None:
    """An error that isn't about authentication is raised untouched after one attempt, in a search as well."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        boom = ConnectionRefusedError("no server")
        attempts = 0

        async def connect(credentials: DatabaseCredentials) -> str:
            nonlocal attempts
            attempts += 1
            if attempts == failing:
                raise boom
            return await town.login(credentials)

        for failing in (1, 2):
            attempts = 0
            with pytest.raises(ConnectionRefusedError) as caught:
                await connect_through_rotation(manager, connect)
            assert caught.value is boom
            assert attempts == failing
            town.accepted["app"] = "another"

    in_town(body)


def test_what_an_authentication_error_is_may_be_said() -> None:
    """With `is_auth_error=` the caller decides."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await manager.get()
        await town.rotate()

        async def connect(credentials: DatabaseCredentials) -> str:
            try:
                return await town.login(credentials)
            except WrongPasswordError:
                raise LookupError from None

        with pytest.raises(LookupError):
            await connect_through_rotation(manager, connect)
        refused = lambda error: isinstance(error, LookupError)  # noqa: E731 (one line says it)
        assert await connect_through_rotation(manager, connect, is_auth_error=refused) == "app"

    in_town(body)


def test_cancelled_while_searching() -> None:
    """When the one who searches is cancelled, one of those who wait goes on; when all are, nothing is left."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        pending = town.create_pending()
        town.change_server(pending)
        calls = [asyncio.ensure_future(connect_through_rotation(manager, town.login, stages=())) for _ in range(5)]
        await asyncio.sleep(1)
        for call in calls[:3]:
            call.cancel()
        town.promote(pending)
        start = now()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3 + [str] * 2
        assert now() - start < 1
        town.accepted["app"] = "another"
        calls = [asyncio.ensure_future(connect_through_rotation(manager, town.login)) for _ in range(5)]
        await asyncio.sleep(1)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    in_town(body)


@pytest.mark.parametrize("by_timeout", [False, True])
def test_a_driver_that_swallows_cancellations(by_timeout: bool) -> None:  # noqa: FBT001 (of the table)
    """A cancellation or time limit that comes while the server refuses ends the call, though the driver hid it."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def connect(credentials: DatabaseCredentials) -> str:
            try:
                await asyncio.sleep(5)
            except asyncio.CancelledError:
                town.accepted["app"] = "another"
            return await town.login(credentials)

        async def limited() -> None:
            async with asyncio.timeout(2):
                await connect_through_rotation(manager, connect)

        if by_timeout:
            with pytest.raises(TimeoutError):
                await limited()
        else:
            call = asyncio.ensure_future(connect_through_rotation(manager, connect))
            await asyncio.sleep(2)
            call.cancel()
            await asyncio.wait([call])
            assert call.cancelled()
        assert now() < 3

    assert len(in_town(body).logins) == 1


def test_waiting_for_one_who_hangs() -> None:
    """Who waits for another's search gives up when its own budget is spent, though that attempt hangs."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        pending = town.create_pending()
        town.change_server(pending)

        async def connect(credentials: DatabaseCredentials) -> str:
            if credentials.password == pending.password:
                await asyncio.Event().wait()
            return await town.login(credentials)

        first = asyncio.ensure_future(connect_through_rotation(manager, connect))
        await asyncio.sleep(1)
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, town.login, budget=3.0)
        assert now() == pytest.approx(4, abs=0.1)
        first.cancel()
        await asyncio.wait([first])

    in_town(body)


def test_servers_that_disagree() -> None:
    """Where replicas take different versions, each caller still ends inside of its budget."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.create_pending()

        async def never(_: DatabaseCredentials) -> str:
            await asyncio.sleep(0.5)  # so that the others find something meanwhile, each time
            raise WrongPasswordError

        async def only(number: int) -> str:
            async def connect(credentials: DatabaseCredentials) -> str:
                await asyncio.sleep(LOGIN)
                if credentials.password != f"password-{number}":
                    raise WrongPasswordError
                return "in"

            for _ in range(200):
                await connect_through_rotation(manager, connect, budget=3.0)
                await asyncio.sleep(0.05)
            return "in"

        others = [asyncio.ensure_future(only(number)) for number in (1, 2)]
        with pytest.raises(WrongPasswordError):
            await connect_through_rotation(manager, never, budget=3.0)
        assert now() < 4
        await asyncio.gather(*others)

    in_town(body)


def test_a_late_success_is_no_news() -> None:
    """A login that began before a finding and succeeds after it doesn't take the finding's place."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        go = asyncio.Event()

        async def slow(_: DatabaseCredentials) -> str:
            await go.wait()
            return "late"

        late = asyncio.ensure_future(connect_through_rotation(manager, slow))
        await asyncio.sleep(1)
        town.change_server(town.create_pending())
        await connect_through_rotation(manager, town.login)
        go.set()
        assert await late == "late"
        before = len(town.asked), len(town.logins)
        await connect_through_rotation(manager, town.login)
        assert (len(town.asked), len(town.logins)) == (before[0], before[1] + 1)

    in_town(body)


@pytest.mark.parametrize(
    ("code", "error"),
    [("ResourceNotFoundException", SecretNotFoundError), ("AccessDeniedException", AccessDeniedError)],
)
def test_the_secret_is_gone(code: str, error: type[Exception]) -> None:
    """That the secret can't be had is raised: at the first fetch, and while searching."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.failures["GetSecretValue"] = code
        with pytest.raises(error):
            await connect_through_rotation(manager, town.login)
        town.failures.clear()
        await asyncio.sleep(10)
        await connect_through_rotation(manager, town.login)
        town.accepted["app"] = "another"
        town.failures["GetSecretValue"] = code
        start = now()
        with pytest.raises(error):
            await connect_through_rotation(manager, town.login)
        assert now() - start < 1

    in_town(body)


def test_aws_is_away() -> None:
    """A transient error while searching isn't the end: when AWS is back, so is the connection."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        await town.rotate()
        town.failures["GetSecretValue"] = "ServiceUnavailable"
        waiting = asyncio.ensure_future(connect_through_rotation(manager, town.login))
        await asyncio.sleep(10)
        assert not waiting.done()
        town.failures.clear()
        start = now()
        assert await waiting == "app"
        assert now() - start < 5

    assert len(in_town(body).logins) < 40


def test_aws_stays_away() -> None:
    """If no newer version can be fetched in the whole budget, a note of the refusal says so, and why."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        await town.rotate()
        town.failures["GetSecretValue"] = "ServiceUnavailable"
        with pytest.raises(WrongPasswordError) as caught:
            await connect_through_rotation(manager, town.login, budget=10)
        assert "ServiceUnavailable" in caught.value.__notes__[1]
        town.failures.clear()
        town.accepted["app"] = "somebody changed it by hand"
        with pytest.raises(WrongPasswordError) as caught:
            await connect_through_rotation(manager, town.login, budget=10)
        assert len(caught.value.__notes__) == 1

    in_town(body)


def test_the_pool_is_closed_meanwhile() -> None:
    """Closing the pool ends a search with `PoolClosedError`, at once."""
    town = Town()

    async def main() -> None:
        async with managed(town) as (pool, manager):
            await manager.get()
            town.accepted["app"] = "another"
            waiting = asyncio.ensure_future(connect_through_rotation(manager, town.login))
            await asyncio.sleep(20)
            await pool.aclose()
            start = now()
            with pytest.raises(PoolClosedError):
                await waiting
            assert now() - start < 0.1

    run(main(), seed=0, leave_nothing=True)


def test_each_loop_finds_for_itself() -> None:
    """What is known of a manager is kept by event loop: a second loop starts clean, and contends for no lock."""
    manager = None
    for seed in (0, 1):
        town = Town()

        async def main(town: Town) -> None:
            nonlocal manager
            async with managed(town) as (_, mine):
                manager = manager or mine
                manager._read_from(mine._store)
                town.change_server(town.create_pending())
                await asyncio.gather(*(connect_through_rotation(manager, town.login) for _ in range(5)))

        run(main(town), seed=seed, leave_nothing=True)


def test_a_deleted_secret_keeps_nothing() -> None:
    """A secret scheduled for deletion while connections fail is said so."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        await connect_through_rotation(manager, town.login)
        town.accepted["app"] = "another"

        def deleted(_: str) -> None:
            answer = {"Error": {"Code": "InvalidRequestException", "Message": "marked for deletion"}}
            raise ClientError(answer, "GetSecretValue")

        town._check = deleted  # type: ignore[method-assign]
        with pytest.raises(SecretDeletedError):
            await connect_through_rotation(manager, town.login)

    in_town(body)
