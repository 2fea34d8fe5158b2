"""Every fault in every state of the cache, with a session per call and with a pool: a value, or one typed error.

A cell of this table is a fault, a state and a holder. States are made with a clock that the test moves, so nothing
waits for a value to grow old; only faults that hang take time, as much as the deadline of the fetch.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import (
    AccessDeniedError,
    AuthenticationError,
    CachePolicy,
    CredentialsError,
    EndpointUnreachableError,
    InternalServiceError,
    MalformedResponseError,
    Secret,
    SecretDecryptionError,
    SecretDeletedError,
    SecretExpiredError,
    SecretNotFoundError,
    ThrottledError,
)
from aiocredentials._aws.loading import load_transport
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.session import SessionPerCall
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._store import SecretStore
from aiocredentials.events import RefreshFailed, SecretEvent
from server.fault_server import FAULTS, FaultServer

pytestmark = pytest.mark.exhaustive

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

NAME = "prod/db"
TTL, MAX_STALE = 100.0, 1000.0
POLICY = CachePolicy(ttl=TTL, jitter=0, refresh_ahead=0.8, patience=0.1, max_stale=MAX_STALE, negative_ttl=5)
AHEAD, STALE, EXPIRED = 0.9 * TTL, 5 * TTL, 2 * MAX_STALE  # ages
DEADLINE, ROOM = 1.0, 0.25  # long enough to open a session where several tests share a processor
UNHURRIED = 5.0  # the deadline of calls that nothing delays, so that a busy machine fails no test

VALUE = Secret  # stands where a fault does no harm

EXPECTED: dict[str, tuple[type[Any], ...]] = {
    **dict.fromkeys(FAULTS, (EndpointUnreachableError,)),
    # RST may overtake what the client hasn't read yet.
    "reset after the answer": (VALUE, EndpointUnreachableError),
    **dict.fromkeys(("8 MiB", "two answers at once", "two answers in turn", "idle drop"), (VALUE,)),
    **{name: (VALUE,) for name, fault in FAULTS.items() if fault.once},
    **{
        name: (MalformedResponseError,)
        for name in list(FAULTS)[list(FAULTS).index("HTML") : list(FAULTS).index("throttled")]
        if name != "8 MiB"
    },
    "half body, right length": (MalformedResponseError,),
    # The rest of the body is no head of an answer; whether it is seen before this one ends is the network's affair.
    "length too short": (EndpointUnreachableError, MalformedResponseError),
    # A page that isn't AWS's, whatever its status.
    **{name: (MalformedResponseError,) for name in FAULTS if name.startswith("40")},
    **dict.fromkeys(("500", "500, HTML", "503", "503 with Retry-After"), (InternalServiceError,)),
    **dict.fromkeys(("throttled", "429 without a body"), (ThrottledError,)),
    "access denied": (AccessDeniedError,),
    "expired token": (AuthenticationError,),
    "decryption": (SecretDecryptionError,),
    "not found": (SecretNotFoundError,),
    "deleted": (SecretDeletedError,),
}
PERMANENT = {"access denied", "expired token", "decryption", "not found", "deleted"}
# The keep-alive of a pool costs an attempt when the server has dropped the connection: that is what retries are for.
TWO_ATTEMPTS = {"idle drop", *(name for name, fault in FAULTS.items() if fault.once)}
HOLDERS = ("per call", "pool")
# With a value, a session per call differs from a pool in the same way for each fault; `nox -s soak` runs all.
POOL_FIRST = (pytest.param("per call", marks=pytest.mark.soak), "pool")


class Bench:
    """One secret, read through a store whose clock stands until it is moved."""

    def __init__(self, server: FaultServer, fault: str, *, pooled: bool) -> None:
        self.server, self.fault, self.pooled = server, fault, pooled
        self.now = 1000.0
        self.events: list[SecretEvent] = []
        region = Region("us-east-1", "the test")
        retries = {"mode": "standard", "total_max_attempts": 2 if fault in TWO_ATTEMPTS else 1}
        settings = ClientSettings(endpoint_url=server.url, config=AioConfig(retries=retries))
        self.source = PooledSession(settings) if pooled else SessionPerCall(settings)
        self.store = SecretStore(
            self.source, UNHURRIED, pooled=pooled, clock=lambda: self.now, listener=self.events.append
        )
        # A permanent error must come before a caller's patience ends, however busy the machine is.
        policy = replace(POLICY, patience=UNHURRIED) if fault in PERMANENT else POLICY
        self.reader = self.store.located_reader(SecretRequest(NAME, region), policy)
        self.deadline = DEADLINE if FAULTS[fault].hangs else UNHURRIED / 2

    async def prime(self, age: float) -> None:
        """Have a healthy value in the cache, this old."""
        assert edition_of(await self.reader.get()) == 1
        self.now += age

    async def broken(self) -> None:
        """Let the fault begin."""
        self.store.gateway._timeout = self.deadline
        await self.server.break_with(self.fault)

    async def call(self, read: Coroutine[Any, Any, Secret]) -> Secret | CredentialsError:
        """Read, and give the value or the error; it never takes longer than the deadline and a little room."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            result: Secret | CredentialsError = await read
        except CredentialsError as error:
            result = error
        assert loop.time() - started <= self.deadline + ROOM
        if isinstance(result, Secret):
            edition_of(result)
        else:
            assert (result.__cause__, result.__context__, result.secret_name) == (None, None, NAME)
        return result

    async def settled(self) -> None:
        """Wait until the fetch in the background has ended; it has the same deadline."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        flight = self.store.cache.flights.find(self.reader.key)
        if flight is not None and flight.task is not None:
            await asyncio.wait({flight.task})
        assert loop.time() - started <= self.deadline + ROOM

    async def fired(self) -> None:
        """Check that the fault really happened, and sent nobody elsewhere."""
        await self.settled()
        assert self.server.fired[self.fault] >= 1
        assert self.server.strays == 0

    async def recovers(self) -> None:
        """Check that the next call brings what a healthy server says then: nothing lingers, nothing is out of step."""
        if FAULTS[self.fault].keep:
            await self.server.quiet()
        self.store.gateway._timeout = UNHURRIED
        await self.server.heal(edition=2)
        self.now += EXPIRED + TTL  # past all that may be served, and past every pause
        assert edition_of(await self.reader.get()) == 2
        if self.pooled:  # once more by the same connection, which may lag one answer behind
            await self.server.heal(edition=3)
            assert edition_of(await self.reader.refresh()) == 3


def edition_of(secret: Secret) -> int:
    """Return which edition of the server a value is from; it must be a value of our secret."""
    value = json.loads(secret.reveal())
    assert value["secret"] == secret.name == NAME
    return int(value["edition"])


def fits(result: Secret | CredentialsError, fault: str) -> bool:
    """Check a result against the table: its class and `transient`; say whether it is a value of this very fetch."""
    assert type(result).__name__ in {cls.__name__ for cls in EXPECTED[fault]}
    assert isinstance(result, EXPECTED[fault])
    if isinstance(result, CredentialsError):
        assert result.transient is (fault not in PERMANENT)
    return isinstance(result, Secret)


@asynccontextmanager
async def bench_of(fault: str, holder: str) -> AsyncIterator[Bench]:
    """Open a server and a store, and close both; meanwhile nothing may reach the loop's exception handler."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    await load_transport()
    async with FaultServer() as server:
        server.keep_alive = not FAULTS[fault].at_accept
        bench = Bench(server, fault, pooled=holder == "pool")
        if isinstance(bench.source, PooledSession):
            bench.source.open()
        try:
            yield bench
        finally:
            await bench.store.cache.aclose()
            if isinstance(bench.source, PooledSession):
                await bench.source.aclose()
    assert complaints == []


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have botocore retry without its pause."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


def test_the_tables_agree() -> None:
    """Every fault has an expectation, and with four states and two holders they make 300 cells at least."""
    assert EXPECTED.keys() == FAULTS.keys()
    assert len(FAULTS) * 4 * len(HOLDERS) >= 300


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("fault", FAULTS)
async def test_cold(fault: str, holder: str) -> None:
    """Without a value, a fault is one typed error, in time; the value, where the fault does no harm."""
    async with bench_of(fault, holder) as bench:
        await bench.broken()
        fits(await bench.call(bench.reader.get()), fault)
        await bench.fired()
        await bench.recovers()


@pytest.mark.parametrize("fault", FAULTS)
async def test_fresh_per_call(fault: str) -> None:
    """A fresh value is served without a call; a forced refresh says what is wrong, and costs a value only its truth."""
    async with bench_of(fault, "per call") as bench:
        await bench.prime(AHEAD)
        await bench.broken()
        assert edition_of(await bench.reader.get()) == 1
        assert len(bench.server.requests) == 1
        forced = await bench.call(bench.reader.refresh())
        fits(forced, fault)
        await bench.fired()
        after = await bench.call(bench.reader.get())
        assert isinstance(after, type(forced) if fault in PERMANENT else Secret)
        await bench.recovers()


@pytest.mark.parametrize("fault", FAULTS)
async def test_fresh_pool(fault: str) -> None:
    """A refresh ahead that fails never reaches a reader; the listener learns of it, once, and in our words."""
    async with bench_of(fault, "pool") as bench:
        await bench.prime(AHEAD)
        await bench.broken()
        before = bench.reader.lease
        assert edition_of(await bench.reader.get()) == 1
        assert bench.reader.lease is not before
        await bench.fired()
        failures = [event.error for event in bench.events if isinstance(event, RefreshFailed)]
        if VALUE not in EXPECTED[fault]:
            assert len(failures) == 1
        for error in failures:
            fits(error, fault)
        assert isinstance(await bench.call(bench.reader.get()), Secret)
        await bench.recovers()


@pytest.mark.parametrize("holder", POOL_FIRST)
@pytest.mark.parametrize("fault", FAULTS)
async def test_stale(fault: str, holder: str) -> None:
    """Past the ttl, a transient fault is bridged by the stale value, which gets no younger; a permanent one isn't."""
    async with bench_of(fault, holder) as bench:
        await bench.prime(STALE)
        await bench.broken()
        result = await bench.call(bench.reader.get())
        if fault in PERMANENT:
            fits(result, fault)
        else:
            assert isinstance(result, Secret)
            assert result.age == (0 if VALUE in EXPECTED[fault] and not result.is_stale else STALE)
        await bench.fired()
        if fault in PERMANENT:
            fits(await bench.call(bench.reader.get()), fault)
        if VALUE not in EXPECTED[fault] and fault not in PERMANENT:
            [failure] = [event.error for event in bench.events if isinstance(event, RefreshFailed)]
            fits(failure, fault)
        await bench.recovers()


@pytest.mark.parametrize("holder", POOL_FIRST)
@pytest.mark.parametrize("fault", FAULTS)
async def test_expired(fault: str, holder: str) -> None:
    """Past `max_stale`, a transient fault is a `SecretExpiredError` that carries it; a permanent one is itself."""
    async with bench_of(fault, holder) as bench:
        await bench.prime(EXPIRED)
        await bench.broken()
        result = await bench.call(bench.reader.get())
        if isinstance(result, SecretExpiredError):
            assert result.transient
            assert result.reason is not None
            assert fault not in PERMANENT
            result = result.reason
        else:
            assert VALUE in EXPECTED[fault] or fault in PERMANENT
        fits(result, fault)
        await bench.fired()
        await bench.recovers()
