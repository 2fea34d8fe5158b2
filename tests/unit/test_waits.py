"""The longest wait for a connection: what is given back, what is raised, and which error is whose."""

from __future__ import annotations

import asyncio
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsError, DatabaseCredentials
from aiocredentials._rotation.waits import CHECK, CREDENTIALS, SLOT, Wait, Waits, current_wait, noted_check
from aiocredentials.rotation import connect_through_rotation
from unit.town import WrongPasswordError, in_town, now
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from aiocredentials import AsyncCredentialsManager
    from unit.town import Town

LIMIT = 5.0


class Pool:
    """Lends numbers, and gets them back."""

    def __init__(self) -> None:
        self.waits = Waits(LIMIT, TimeoutError)
        self.returned: list[int] = []

    async def give_back(self, number: int) -> None:
        """Get a number back."""
        await asyncio.sleep(0)
        self.returned.append(number)

    async def get(self, seconds: float) -> int:
        """Lend a number, after a time."""
        await asyncio.sleep(seconds)
        return 1

    async def get_stubbornly(self, seconds: float) -> int:
        """Lend a number after a time, also to a caller that has gone, as asyncpg does on Python 3.11."""
        getting = asyncio.create_task(self.get(seconds))
        try:
            return await asyncio.shield(getting)
        except asyncio.CancelledError:
            return await getting


def in_pool(body: Callable[[Pool], Coroutine[Any, Any, None]]) -> None:
    """Run a test's body in virtual time, and see that it leaves nothing behind."""

    async def main() -> None:
        pool = Pool()
        async with pool.waits:
            await body(pool)

    run(main(), seed=0, leave_nothing=True)


@pytest.mark.parametrize("is_lent_then", [False, True])
def test_a_check(*, is_lent_then: bool) -> None:
    """A caller that is cut in the pool's check of a connection learns of it; a check that has ended isn't named."""

    async def body(pool: Pool) -> None:
        check = noted_check(asyncio.sleep)
        assert check is not None

        async def get() -> int:
            await check(0 if is_lent_then else 10)
            return await pool.get(10)

        with pytest.raises(TimeoutError) as caught:
            await pool.waits.within(get, pool.give_back)
        assert (CHECK in str(caught.value)) is not is_lent_then

    in_pool(body)
    assert noted_check(None) is None


def test_what_a_pool_waits_for() -> None:
    """A caller of a pool that connects by itself waits for what the pool does, until it does something of its own."""
    pool = Wait(None, SLOT)
    caller = Wait(None, SLOT, pool=pool)
    pool.what = CREDENTIALS
    assert caller.subject() == CREDENTIALS
    caller.what = CHECK
    assert caller.subject() == CHECK


@pytest.mark.parametrize("seconds", [4.9, 5.1])
def test_in_time_or_not(seconds: float) -> None:
    """A connection that comes in time is the caller's; otherwise the caller is free when the time is over."""

    async def body(pool: Pool) -> None:
        get = partial(pool.get, seconds)
        if seconds < LIMIT:
            assert await pool.waits.within(get, pool.give_back) == 1
        else:
            with pytest.raises(TimeoutError, match=r"^No connection within 5 s, which is max_wait\. The caller waited"):
                await pool.waits.within(get, pool.give_back)
            assert now() == LIMIT
        assert not pool.returned

    in_pool(body)


def test_a_connection_that_comes_too_late() -> None:
    """A driver that makes the connection in spite of the cancellation doesn't hold the caller, nor keep the slot."""

    async def body(pool: Pool) -> None:
        with pytest.raises(TimeoutError):
            await pool.waits.within(partial(pool.get_stubbornly, 6), pool.give_back)
        assert now() == LIMIT
        await asyncio.sleep(2)
        assert pool.returned == [1]

    in_pool(body)


def test_the_end_of_the_block_waits_for_late_connections() -> None:
    """When the pool's block ends, a connection that is still being made is given back first."""

    async def main() -> None:
        pool = Pool()
        async with pool.waits:
            with pytest.raises(TimeoutError):
                await pool.waits.within(partial(pool.get_stubbornly, 6), pool.give_back)
        assert pool.returned == [1]

    run(main(), seed=0, leave_nothing=True)


def test_a_pool_that_refuses_a_late_connection() -> None:
    """An error of giving back reaches nobody: the caller has gone."""

    async def body(pool: Pool) -> None:
        async def refuse(_: int) -> None:
            raise RuntimeError("closed")

        with pytest.raises(TimeoutError):
            await pool.waits.within(partial(pool.get_stubbornly, 6), refuse)

    in_pool(body)


@pytest.mark.parametrize("seconds", [3.0, 2.0])
def test_a_cancelled_caller(seconds: float) -> None:
    """A caller that is cancelled is free at once, also when its connection has just come: that one is given back."""

    async def body(pool: Pool) -> None:
        caller = asyncio.create_task(pool.waits.within(partial(pool.get_stubbornly, seconds), pool.give_back))
        await asyncio.sleep(2)
        # At 2 seconds, the connection may be there, and the caller not have run yet.
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert now() == 2
        await asyncio.sleep(2)
        assert pool.returned == [1]

    in_pool(body)


def test_its_own_timeout_error() -> None:
    """A TimeoutError of the driver isn't taken for the end of the time."""

    async def body(pool: Pool) -> None:
        async def fail() -> int:
            raise TimeoutError("mine")

        with pytest.raises(TimeoutError, match=r"^mine$"):
            await pool.waits.within(fail, pool.give_back)
        with pytest.raises(TimeoutError, match=r"^mine$"):
            async with pool.waits.limited():
                raise TimeoutError("mine")

    in_pool(body)


def test_the_reason() -> None:
    """A secret that is unavailable is the reason for later callers, until a connection is made."""

    async def body(pool: Pool) -> None:
        async def fail() -> int:
            raise CredentialsError("No AWS credentials could be loaded.")

        async def one() -> BaseException:
            with pytest.raises(TimeoutError) as caught:
                await pool.waits.within(partial(pool.get, 6), pool.give_back)
            return caught.value

        with pytest.raises(CredentialsError):
            await pool.waits.within(fail, pool.give_back)
        (note,) = (await one()).__notes__
        assert note == ("The last attempt to connect failed. CredentialsError: No AWS credentials could be loaded.")
        Wait(pool.waits, SLOT).note_success()
        assert not hasattr(await one(), "__notes__")

        with pytest.raises(CredentialsError):
            async with pool.waits.limited():
                await fail()
        assert "CredentialsError" in pool.waits.reason

    in_pool(body)


def test_in_the_callers_task() -> None:
    """A block is limited in the caller's own task; a block inside of it has the wait of the outer one."""

    async def body(pool: Pool) -> None:
        task = asyncio.current_task()
        seen: list[Wait] = []

        async def get() -> None:
            async with pool.waits.limited():
                assert asyncio.current_task() is task
                seen.append(current_wait())
                async with pool.waits.limited():
                    current_wait().what = "the fire brigade"
                    seen.append(current_wait())
                    await asyncio.sleep(6)

        with pytest.raises(TimeoutError, match=r"The caller waited for the fire brigade\."):
            await get()
        assert now() == LIMIT
        assert seen[0] is seen[1]
        assert current_wait() is not seen[0]

    in_pool(body)


def test_no_limit() -> None:
    """Without a limit there is no task and no context of its own."""

    async def body(_: Pool) -> None:
        waits = Waits(None, TimeoutError)
        task = asyncio.current_task()

        async def get() -> asyncio.Task[Any] | None:
            return asyncio.current_task()

        assert await waits.within(get, asyncio.sleep) is task
        async with waits.limited():
            await asyncio.sleep(6)

    in_pool(body)


@pytest.mark.parametrize(
    ("max_wait", "error"), [("5", TypeError), (True, TypeError), (0, ValueError), (-1, ValueError)]
)
def test_what_no_limit_can_be(max_wait: Any, error: type[Exception]) -> None:  # noqa: ANN401
    """A limit that isn't a positive duration is rejected by its name."""
    with pytest.raises(error, match="max_wait is"):
        Waits(max_wait, TimeoutError)


@pytest.mark.parametrize("seed", range(5))
def test_a_search_goes_on_for_others(seed: int) -> None:
    """A caller whose time is over leaves the search: another one takes it over, and finds the new version."""

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        town.accepted["app"] = "password-2"
        connect = partial(connect_through_rotation, manager, town.login, stages=())

        async def impatient() -> None:
            waits = Waits(LIMIT, TimeoutError)
            with pytest.raises(TimeoutError, match="credentials that the server accepts") as caught:
                await waits.within(connect, asyncio.sleep)
            assert now() == pytest.approx(LIMIT, abs=0.1)
            assert "WrongPasswordError" in caught.value.__notes__[0]
            assert "password-" not in caught.value.__notes__[0]

        async def patient() -> None:
            assert await connect() == "app"

        callers = [asyncio.create_task(one()) for one in (impatient, patient, impatient, patient)]
        await asyncio.sleep(7)
        town.promote(town.create_pending())
        await manager.refresh()
        await asyncio.gather(*callers)
        assert now() < 9

    in_town(body, seed=seed)


def test_what_is_waited_for() -> None:
    """An attempt notes whether it waits for the secret, the server, or a version that the server accepts."""
    seen: list[str] = []

    async def body(town: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        waits = Waits(60, TimeoutError)
        wait = Wait(waits, SLOT)

        async def connect(credentials: DatabaseCredentials) -> str:
            seen.append(wait.what)
            if len(seen) < 3:
                raise WrongPasswordError
            return await town.login(credentials)

        running = asyncio.create_task(
            waits.within(partial(connect_through_rotation, manager, connect), asyncio.sleep, wait=wait)
        )
        await asyncio.sleep(0.001)
        seen.append(wait.what)
        await running
        assert not waits.reason

    in_town(body)
    assert seen == ["the credentials from AWS", "the server's answer", "the server's answer"]


class Socket:
    """What a driver's attempt holds, and closes when nothing holds it any more."""


def test_a_cut_attempt_is_let_go() -> None:
    """An attempt that is cancelled isn't held by its error: psycopg closes a socket when nothing holds its attempt."""
    sockets: list[weakref.ref[Socket]] = []

    async def body(_: Town, manager: AsyncCredentialsManager[DatabaseCredentials]) -> None:
        async def connect(_: DatabaseCredentials) -> None:
            socket = Socket()
            sockets.append(weakref.ref(socket))
            await asyncio.Event().wait()

        connecting = asyncio.create_task(connect_through_rotation(manager, connect))
        await asyncio.sleep(1)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await connecting
        assert caught.value.__traceback__
        assert [socket() for socket in sockets] == [None]

    in_town(body)
