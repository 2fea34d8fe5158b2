"""IAM tokens through the adapters, to a real PostgreSQL behind a front that checks each token."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool
from aiocredentials.errors import CredentialSourceError
from aiocredentials.iam import IamDatabaseCredentials
from aiocredentials.rotation import is_auth_error
from integrations import iam_adapters
from integrations.iam_adapters import MOST, use_together
from integrations.iam_fixtures import REGION
from integrations.iam_fronts import HOST, PostgresFront

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from integrations.iam_adapters import OpenPool
    from integrations.iam_fixtures import Trust
    from integrations.iam_fronts import Front
    from integrations.iam_keys import RollingKeys
    from integrations.postgres import Place

WHO = "SELECT current_user"
all_adapters = pytest.mark.parametrize("open_pool", iam_adapters.POSTGRES.values(), ids=iam_adapters.POSTGRES)


@asynccontextmanager
async def iam_database(front: Front, **options: Any) -> AsyncIterator[IamDatabaseCredentials]:  # noqa: ANN401
    """Tokens for the user `app` of a front, signed with the credentials of a pool of the library."""
    where = {"host": HOST, "port": front.port, "username": "app", "dbname": "postgres", **options}
    async with CredentialsPool(REGION) as pool:
        yield IamDatabaseCredentials(pool, **where)


@all_adapters
async def test_a_token_per_connection(
    open_pool: OpenPool, iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust, place: Place
) -> None:
    """A pool that grows has one token per connection, also when AWS credentials roll while connections are open.

    The new credentials are loaded once, no query fails, and in the end nothing is left open.
    """
    rule = iam_keys.rule
    async with iam_database(iam_postgres) as database, open_pool(database, iam_trust) as lend:
        async with lend() as query:
            assert await query(WHO) == "app"
            assert (iam_postgres.logins, iam_keys.loads, rule.refusals) == (1, 1, [])
            iam_keys.roll()
            assert await use_together(lend, MOST - 1) == ["app"] * (MOST - 1)
            assert await query(WHO) == "app"
        assert iam_postgres.logins == MOST
        assert iam_keys.loads == 2
        assert rule.refusals
        assert all("isn't valid" in refusal for refusal in rule.refusals)
        assert set(rule.seen.values()) == {1}
        assert sum(rule.seen.values()) == iam_postgres.connections
    await iam_postgres.until_open(0)
    assert await place.all_closed()


@all_adapters
async def test_no_token_in_clear(
    open_pool: OpenPool, iam_keys: RollingKeys, iam_trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without encryption, nothing is sent: it is an error if the options don't demand it, or the server has none."""
    monkeypatch.setattr(iam_adapters, "PATIENCE", 0.2)
    rule = iam_keys.rule
    async with PostgresFront(rule, 1, None) as front, iam_database(front) as database:
        with pytest.raises(ValueError, match="must be encrypted"):
            async with open_pool(database, None) as lend:
                await use_together(lend, 1)
        assert front.connections == 0
        with pytest.raises(Exception, match=r"SSL|TLS"):
            async with open_pool(database, iam_trust) as lend:
                await use_together(lend, 1)
        assert front.connections > 0
        assert (rule.seen, rule.in_clear) == ({}, [])
        await front.until_open(0)


@all_adapters
async def test_a_user_who_may_not_connect(
    open_pool: OpenPool, iam_postgres: PostgresFront, iam_trust: Trust, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal that no token mends is the server's error after the budget, and its note says what to check.

    Neither the log nor the error has a token in it.
    """
    iam_postgres.rule.users = {"another"}
    async with iam_database(iam_postgres) as database:
        with pytest.raises(Exception, match="PAM authentication failed") as caught:
            async with open_pool(database, iam_trust, budget=0.05) as lend, lend():
                """Isn't reached."""
    assert is_auth_error(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    for advice in ("rds-db:connect", "rds_iam", "clock", "region"):
        assert advice in shown
    assert iam_postgres.rule.seen
    for token in iam_postgres.rule.seen:
        signature = token.rpartition("=")[2]
        assert signature not in shown + caplog.text
    await iam_postgres.until_open(0)


async def test_no_token_is_old(iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """Each connection gets a token that is new, however old the pool is, and that ends with its AWS credentials."""
    rule = iam_keys.rule
    iam_keys.roll(life=timedelta(minutes=50))
    async with iam_database(iam_postgres) as database, iam_adapters.asyncpg(database, iam_trust) as lend:
        for count in range(2, MOST + 1):
            iam_keys.clock.now += 1190  # seconds
            assert await use_together(lend, count) == ["app"] * count
        assert iam_postgres.logins == MOST
        assert rule.refusals == []
        assert rule.outlived == []


async def test_a_clock_that_is_wrong(iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """If AWS takes each token for expired, the note says to check the clock; when that is right again, all goes on."""
    iam_keys.clock.skew = 1200
    async with iam_database(iam_postgres) as database:
        with pytest.raises(Exception, match="PAM") as caught:
            async with iam_adapters.asyncpg(database, iam_trust, budget=0.05):
                """Isn't reached."""
        assert "Check the clock" in caught.value.__notes__[0]
        iam_keys.clock.skew = 0
        async with iam_adapters.asyncpg(database, iam_trust) as lend:
            assert await use_together(lend, 1) == ["app"]
    assert all("expired" in refusal for refusal in iam_keys.rule.refusals)


async def test_a_dead_source(iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """While AWS credentials can't be loaded, open connections go on, and new ones raise a transient error at once.

    When the source answers again, new connections are made, without a restart of anything.
    """
    iam_keys.roll(life=timedelta(minutes=1))
    async with iam_database(iam_postgres) as database, iam_adapters.asyncpg(database, iam_trust) as lend:
        async with lend() as query:
            iam_keys.fail()
            with pytest.raises(CredentialSourceError) as caught:
                await use_together(lend, 1)
            assert caught.value.transient
            assert await query(WHO) == "app"
            iam_keys.roll()
            assert await use_together(lend, 1) == ["app"]
        assert iam_postgres.logins == 2


async def cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and forget them with their errors: psycopg's socket is open as long as an error has its frames."""
    while tasks:
        task = tasks.pop()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@all_adapters
async def test_cancelled_while_connecting(
    open_pool: OpenPool, iam_postgres: PostgresFront, iam_trust: Trust, place: Place
) -> None:
    """Callers that are cancelled while they connect leave no connection behind, and a pool that is closed neither."""
    async with iam_database(iam_postgres) as database, AsyncExitStack() as stack:
        lend = await stack.enter_async_context(open_pool(database, iam_trust))
        async with lend() as query, iam_postgres.hanging():
            assert await query(WHO) == "app"
            tasks = [asyncio.create_task(use_together(lend, 1)) for _ in range(2)]
            await iam_postgres.until_hanging(1)
            await cancel(tasks)
        await stack.aclose()
    await iam_postgres.until_open(0)
    assert await place.all_closed()
