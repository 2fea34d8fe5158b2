"""Two regions on the loopback interface, of which the primary breaks under load: no reader notices."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import CredentialsPool
from aiocredentials._aws import session as sessions
from aiocredentials._aws.gateway import Gateway
from aiocredentials.testing import FakeClock
from server.fault_server import FAULTS, FaultServer
from server.stub import StubSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiocredentials._aws.regions import Region

# The servers' ARNs name this region.
PRIMARY, REPLICA = "us-east-1", "eu-central-1"
ONE_ATTEMPT = AioConfig(retries={"total_max_attempts": 1})
OFTEN = ["refused", "reset before the answer", "500", "dripping body"]
UNHURRIED = 20.0
# One of each kind.
MORE = [
    "accept and reset",
    "close in the headers",
    "slow first byte",
    "stalled body",
    "endless continue",
    "length too short",
    "HTML",
    "redirect 307",
    "503",
    "throttled",
]


class Town:
    """Two servers, and a pool whose clients are routed to them by their region."""

    def __init__(self, primary: FaultServer | StubSecretsManager, replica: FaultServer | StubSecretsManager) -> None:
        self.primary = primary
        self.replica = replica
        self.clock = FakeClock()
        self.calls: Counter[str] = Counter()
        """The calls that were begun, by region."""
        self.longest = 0.0
        """How long the slowest read took, in seconds."""

    def pool(self, timeout: float) -> CredentialsPool:
        """Make a pool that keeps nothing."""
        return CredentialsPool(
            PRIMARY,
            replica_regions=[REPLICA],
            config=ONE_ATTEMPT,
            timeout=timeout,
            policy=None,
            clock=self.clock,
        )

    async def read(self, pool: CredentialsPool, readers: int) -> Counter[str]:
        """Read at the same time, and return which regions answered. A read that fails fails the test."""
        loop = asyncio.get_running_loop()
        manager = pool.manager("prod/db")

        async def one() -> str:
            begun = loop.time()
            secret = await manager.secret()
            self.longest = max(self.longest, loop.time() - begun)
            assert json.loads(secret.reveal())
            return secret.region

        return Counter(await asyncio.gather(*(one() for _ in range(readers))))


@pytest.fixture
def routed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Town], None]:
    """Return a function that sends clients to the servers of a town, and counts the calls of each region."""

    def route(town: Town) -> None:
        new_client = sessions._new_client
        get = Gateway.get
        servers = {PRIMARY: town.primary, REPLICA: town.replica}

        def client(session: Any, region: Region, _: str | None) -> Any:  # noqa: ANN401 - aiobotocore's
            return new_client(session, region, servers[region.name].url)

        async def counted(self: Gateway, request: Any, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - its own
            town.calls[request.region_name or PRIMARY] += 1
            return await get(self, request, *arguments, **named)

        monkeypatch.setattr(sessions, "_new_client", client)
        monkeypatch.setattr(Gateway, "get", counted)

    return route


@asynccontextmanager
async def town_of(routed: Callable[[Town], None]) -> AsyncIterator[Town]:
    """Run two servers that can break."""
    async with FaultServer() as primary, FaultServer() as replica:
        town = Town(primary, replica)
        routed(town)
        yield town


async def an_outage(town: Town, fault: str, *, readers: int, hanging: float) -> None:
    """Break the primary region under load, and heal it. `hanging` is the deadline if the region hangs."""
    # Nothing else is about time, so a busy machine fails no test.
    seconds = hanging if FAULTS[fault].hangs else UNHURRIED
    primary = town.primary
    assert isinstance(primary, FaultServer)
    async with town.pool(seconds) as pool:
        assert await town.read(pool, 1) == {PRIMARY: 1}

        await primary.break_with(fault)
        assert await town.read(pool, readers) == {REPLICA: readers}
        town.calls.clear()
        assert await town.read(pool, readers) == {REPLICA: readers}
        assert town.calls[PRIMARY] == 0

        # The pause is over: one of all readers probes the region.
        town.clock.advance(2)
        assert await town.read(pool, readers) == {REPLICA: readers}
        assert town.calls[PRIMARY] == 1
        assert primary.fired[fault]

        await primary.heal(1)
        town.clock.advance(4)
        assert await town.read(pool, readers) == {REPLICA: readers - 1, PRIMARY: 1}
        assert await town.read(pool, readers) == {PRIMARY: readers}
    assert town.longest < seconds


@pytest.mark.parametrize("fault", OFTEN)
async def test_an_outage(routed: Callable[[Town], None], fault: str) -> None:
    """However the primary region fails, no read fails or exceeds its deadline, and one call a pause probes it."""
    async with town_of(routed) as town:
        await an_outage(town, fault, readers=20, hanging=3.0)


@pytest.mark.soak
@pytest.mark.parametrize("fault", OFTEN + MORE)
async def test_each_outage(routed: Callable[[Town], None], fault: str) -> None:
    """The same for more faults and with 200 readers."""
    async with town_of(routed) as town:
        await an_outage(town, fault, readers=200, hanging=4.0)


async def test_the_replicas_arn(routed: Callable[[Town], None]) -> None:
    """A replica is asked by its own ARN, and signed for its region; callers see the ARN of the primary."""
    arn = f"arn:aws:secretsmanager:{PRIMARY}:123456789012:secret:prod/db-AbCdEf"
    async with StubSecretsManager() as primary, StubSecretsManager() as replica:
        town = Town(primary, replica)
        routed(town)
        async with town.pool(20) as pool:
            manager = pool.manager(arn)
            before = await manager.secret()
            primary.error("InternalServiceError", status=500, times=9)
            after = await manager.secret()
            described = await manager.describe()
    assert (before.arn, before.region) == (arn, PRIMARY)
    assert (after.arn, after.region) == (arn, REPLICA)
    assert (described.arn, described.region) == (arn, REPLICA)
    assert {request.region for request in primary.requests} == {PRIMARY}
    assert {request.region for request in replica.requests} == {REPLICA}
    assert {request.body["SecretId"] for request in replica.requests} == {arn.replace(PRIMARY, REPLICA)}
