"""IAM tokens through the adapters, to a real PostgreSQL and a real MariaDB behind fronts that check each token."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from aiocredentials import CredentialsPool
from aiocredentials.errors import CredentialSourceError
from aiocredentials.iam import IamDatabaseCredentials
from aiocredentials.rotation import is_auth_error
from integrations import iam_adapters
from integrations.iam_adapters import MOST, use_together, who
from integrations.iam_fixtures import REGION
from integrations.iam_fronts import HOST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from integrations.iam_adapters import OpenPool
    from integrations.iam_fixtures import Trust
    from integrations.iam_fronts import Front, PostgresFront
    from integrations.iam_keys import RollingKeys

REFUSED = r"PAM authentication failed|Access denied"
DRIVERS = ["asyncpg", "psycopg", "aiomysql", "asyncmy"]


@dataclass
class Case:
    """An adapter, and the front before the server that it is for."""

    open_pool: OpenPool
    front: Front
    place: Any
    dbname: str

    def front_in_clear(self) -> Front:
        """Return another front, which doesn't encrypt. No login gets so far that there must be a server."""
        kind: Any = type(self.front)
        return cast("Front", kind(self.front.rule, 1, None))


@pytest.fixture(params=[*iam_adapters.POSTGRES, *iam_adapters.MYSQL])
def case(request: pytest.FixtureRequest) -> Case:
    """Each adapter."""
    if request.param in iam_adapters.POSTGRES:
        open_pool = iam_adapters.POSTGRES[request.param]
        front, place, dbname = "iam_postgres", "place", "postgres"
    else:
        open_pool = iam_adapters.MYSQL[request.param]
        front, place, dbname = "iam_mysql", "maria", "app"
    pytest.importorskip(request.param.rpartition(" ")[2])
    return Case(open_pool, request.getfixturevalue(front), request.getfixturevalue(place), dbname)


@asynccontextmanager
async def iam_database(front: Front, **options: Any) -> AsyncIterator[IamDatabaseCredentials]:  # noqa: ANN401
    """Tokens for the user `app` of a front, signed with the credentials of a pool of the library."""
    where = {"host": HOST, "port": front.port, "username": "app", "dbname": "postgres", **options}
    async with CredentialsPool(REGION) as pool:
        yield IamDatabaseCredentials(pool, **where)


async def test_a_token_per_connection(case: Case, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """A pool that grows has one token per connection, also when AWS credentials roll while connections are open.

    The new credentials are loaded once, no query fails, and in the end nothing is left open.
    """
    iam_keys.clock.step = 1
    rule = iam_keys.rule
    front = case.front
    async with iam_database(front, dbname=case.dbname) as database, case.open_pool(database, iam_trust) as lend:
        async with lend() as query:
            assert await who(query) == "app"
            assert (front.logins, iam_keys.loads, rule.refusals) == (1, 1, [])
            iam_keys.roll()
            assert await use_together(lend, MOST - 1) == ["app"] * (MOST - 1)
            assert await who(query) == "app"
        assert front.logins == MOST
        assert iam_keys.loads == 2
        assert rule.refusals
        assert all("isn't valid" in refusal for refusal in rule.refusals)
        assert set(rule.seen.values()) == {1}
        assert sum(rule.seen.values()) == front.connections
    await front.until_open(0)
    assert await case.place.all_closed()


async def test_no_token_in_clear(
    case: Case, iam_keys: RollingKeys, iam_trust: Trust, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without encryption, nothing is sent: it is an error if the options don't demand it, or the server has none."""
    monkeypatch.setattr(iam_adapters, "PATIENCE", 0.2)
    rule = iam_keys.rule
    async with case.front_in_clear() as front, iam_database(front, dbname=case.dbname) as database:
        with pytest.raises(ValueError, match="must be encrypted"):
            async with case.open_pool(database, None) as lend, lend():
                """Isn't reached."""
        assert front.connections == 0
        with pytest.raises(Exception, match=r"SSL|TLS|reset by peer"):
            async with case.open_pool(database, iam_trust) as lend, lend():
                """Isn't reached."""
        assert front.connections > 0
        assert (rule.seen, rule.in_clear) == ({}, [])
        await front.until_open(0)


@pytest.mark.parametrize("case", DRIVERS, indirect=True)
async def test_a_user_who_may_not_connect(case: Case, iam_trust: Trust, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal that no token mends is the server's error after the budget, and its note says what to check.

    Neither the log nor the error has a token in it.
    """
    case.front.rule.users = {"another"}
    async with iam_database(case.front, dbname=case.dbname) as database:
        with pytest.raises(Exception, match=REFUSED) as caught:
            async with case.open_pool(database, iam_trust, budget=0.05) as lend, lend():
                """Isn't reached."""
    assert is_auth_error(caught.value)
    shown = "".join(traceback.format_exception(caught.value))
    for advice in ("rds-db:connect", "rds_iam", "AWSAuthenticationPlugin", "clock", "region"):
        assert advice in shown
    assert case.front.rule.seen
    for token in case.front.rule.seen:
        signature = token.rpartition("=")[2]
        assert signature not in shown + caplog.text
    await case.front.until_open(0)


async def test_no_token_is_old(iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """Each connection gets a token that is new, however old the pool is, and that ends with its AWS credentials."""
    rule = iam_keys.rule
    iam_keys.roll(life=timedelta(minutes=50))
    async with iam_database(iam_postgres) as database, iam_adapters.asyncpg(database, iam_trust) as lend:
        for count in range(2, MOST + 1):
            iam_keys.clock.ahead += 950  # seconds
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
    """While AWS credentials can't be loaded, the present ones sign until they end.

    Then open connections go on, and new ones raise a transient error at once. When the source answers again, new
    connections are made, without a restart of anything.
    """
    iam_keys.roll(life=timedelta(minutes=1))
    async with iam_database(iam_postgres) as database, iam_adapters.asyncpg(database, iam_trust) as lend:
        async with lend() as query:
            iam_keys.fail()
            assert await use_together(lend, 1) == ["app"]
            iam_keys.clock.ahead = 61
            with pytest.raises(CredentialSourceError) as caught:
                await use_together(lend, 2)
            assert caught.value.transient
            assert await who(query) == "app"
            iam_keys.roll()
            assert await use_together(lend, 2) == ["app"] * 2
        assert iam_postgres.logins == 3


async def test_a_dead_source_after_a_roll(iam_postgres: PostgresFront, iam_keys: RollingKeys, iam_trust: Trust) -> None:
    """If AWS credentials have rolled and can't be loaded, the server's refusal has a note with the source's error."""
    async with iam_database(iam_postgres) as database, iam_adapters.asyncpg(database, iam_trust, budget=0.3) as lend:
        iam_keys.roll()
        iam_keys.fail()
        async with lend() as query:
            with pytest.raises(Exception, match="PAM authentication failed") as caught:
                await use_together(lend, 1)
            assert "the program in credential_process" in caught.value.__notes__[1]
            assert await who(query) == "app"


async def cancel(tasks: list[asyncio.Task[Any]]) -> None:
    """Cancel tasks, and forget them with their errors: psycopg's socket is open as long as an error has its frames."""
    while tasks:
        task = tasks.pop()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.mark.parametrize("case", DRIVERS, indirect=True)
async def test_cancelled_while_connecting(case: Case, iam_trust: Trust, caplog: pytest.LogCaptureFixture) -> None:
    """Callers that are cancelled, and a pool that is closed, while a server is silent leave no connection behind.

    The error that psycopg_pool then logs holds no attempt, which has the token, and a socket that would stay open.
    """
    front = case.front
    async with (
        iam_database(front, dbname=case.dbname) as database,
        AsyncExitStack() as silence,
        AsyncExitStack() as block,
    ):
        lend = await block.enter_async_context(case.open_pool(database, iam_trust))
        async with lend() as query:
            assert await who(query) == "app"
            await silence.enter_async_context(front.hanging())
            tasks = [asyncio.create_task(use_together(lend, 1)) for _ in range(2)]
            await front.until_hanging(1)
            await cancel(tasks)
        await block.aclose()
    await front.until_open(0)
    assert await case.place.all_closed()
    logged = [argument for record in caplog.records for argument in record.args or ()]
    assert all(error.__context__ is None for error in logged if isinstance(error, BaseException))
