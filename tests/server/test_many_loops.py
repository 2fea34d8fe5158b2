"""A pool that outlives its loops, and one that several threads use.

Quiet, right, and closed in a bounded time.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CredentialsPool, PoolClosedError
from aiocredentials._aws import pooled as _pooled
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.regions import Region
from aiocredentials._aws.settings import ClientSettings
from aiocredentials.testing import FakeSecretsManager
from server.certificates import Authority, server_context
from server.programs import child
from server.stub import StubSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

EXPECTED = {"mock_secret_key": "mock_secret_value"}


@pytest.fixture(params=["http", "https"])
async def origin(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[StubSecretsManager]:
    """Run a Secrets Manager with and without TLS."""
    context = None
    if request.param == "https":
        authority = Authority(tmp_path, "trusted")
        context = server_context(authority.leaf("localhost"))
        monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    async with StubSecretsManager(ssl=context, host="localhost") as server:
        yield server


async def all_gone(stub: StubSecretsManager) -> None:
    """Wait until the stub has seen each connection end."""
    while stub._tasks:  # noqa: ASYNC110 (the test's time limit is this one's, too)
        await asyncio.sleep(0)


class TestLoopsThatDie:
    """`asyncio.run` again and again, and one pool for all.

    As Lambda handlers, Celery tasks and test suites have it.
    """

    @pytest.mark.skipif(sys.platform == "win32", reason="open files are counted in a folder of the system")
    async def test_quiet(self, origin: StubSecretsManager) -> None:
        """Nothing is logged and no warning issued.

        No socket, no filter and no state of a dead loop is left.
        """
        answer = await child(
            """
            import asyncio, gc, logging, os, sys
            from aiocredentials import CredentialsPool
            from aiocredentials._aws import redact as _redact

            logging.basicConfig(level="WARNING")  # to stderr, where nothing may be
            logging.getLogger("asyncio").setLevel("ERROR")  # below that it tells of steps that take 0.1 s
            pool = CredentialsPool(endpoint_url=sys.argv[1], timeout=30)

            async def use(policy):
                await pool.open()
                # Two at once have two connections.
                await asyncio.gather(*(pool.manager(name, policy=policy).get() for name in ("a", "b")))

            def open_files():
                return len(os.listdir("/dev/fd"))

            counts = []
            for policy in (None, pool._policy) * 3:
                asyncio.run(use(policy))
                gc.collect()
                states = len(pool._session._loops._states)
                counts.append((states, len(_redact._living), open_files()))
            assert len(set(counts)) == 1, counts
            assert counts[0][:2] == (1, 1), counts
            asyncio.run(pool.aclose())
            gc.collect()
            assert open_files() < counts[0][2]
            assert not pool._session._loops._states
            assert not _redact._living
            assert not [logger for logger in _redact.LOGGERS if logger.filters]
            print("quiet")
            """,
            origin.url,
            options=("-X", "dev", "-W", "error"),
        )
        assert answer == "quiet"
        await all_gone(origin)

    async def test_never_closed(self, stub: StubSecretsManager) -> None:
        """A pool that nobody closes, because its loops have gone, ends quietly as well."""
        answer = await child(
            """
            import asyncio, logging, sys
            from aiocredentials import CredentialsPool

            logging.basicConfig(level="WARNING")
            logging.getLogger("asyncio").setLevel("ERROR")  # below that it tells of steps that take 0.1 s
            pool = CredentialsPool(endpoint_url=sys.argv[1], timeout=30, policy=None)

            async def use():
                await pool.open()
                await pool.manager("a").get()

            asyncio.run(use())
            asyncio.run(use())
            print("quiet")
            """,
            stub.url,
            options=("-X", "dev", "-W", "error"),
        )
        assert answer == "quiet"
        await all_gone(stub)

    async def test_closed_from_another_loop(self, origin: StubSecretsManager) -> None:
        """Closing in one loop closes the sockets of loops that died before."""
        pool = CredentialsPool(endpoint_url=origin.url, policy=None, timeout=20)
        await pool.open()

        async def use() -> None:
            assert await asyncio.gather(*(pool.manager(name).get() for name in "ab")) == [EXPECTED] * 2
            await pool.manager("a", "eu-west-1").get()
            async with asyncio.timeout(20) as deadline, pool._session.client(Region("eu-west-2", ""), deadline):
                pass  # a client that has no connection

        await asyncio.to_thread(asyncio.run, use())
        assert len(origin._tasks) == 3
        await pool.aclose()
        await all_gone(origin)
        gc.collect()  # now a transport that is open would complain

    def test_a_custom_session(self) -> None:
        """What a `CustomSession` has open in a dead loop is left to it; the pool goes on."""
        pool = CredentialsPool(session=FakeSecretsManager({"a": EXPECTED}), policy=None)

        async def use() -> None:
            await pool.open()
            assert await pool.manager("a").get() == EXPECTED

        for _ in range(3):
            asyncio.run(use())
            assert len(pool._session._loops._states) == 1
        asyncio.run(pool.aclose())
        assert not pool._session._loops._states

    def test_clients_that_were_replaced(self) -> None:
        """A loop that dies while an old client is in use leaves neither the old nor the new one."""
        pooled = PooledSession(ClientSettings())
        pooled.open()
        held: list[Any] = []

        async def use() -> None:
            async with asyncio.timeout(20) as deadline, pooled.client(None, deadline) as (client, _):
                state = pooled._loops.get().of(None)
                state.renew(state.current)
                held.extend([state, client])

        async def cut_short() -> None:
            loop = asyncio.get_running_loop()
            await use()
            loop.stop()  # before the old client is closed

        with contextlib.suppress(RuntimeError):
            asyncio.run(cut_short())
        state, client = held
        asyncio.run(pooled.aclose())
        assert not pooled._loops._states
        assert all(not clients.by_region for clients in (state.current, *state._replaced))
        assert client._endpoint.http_session._sessions is None or not client._endpoint.http_session._sessions


# What it returns isn't needed everywhere; it is short everywhere.
@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> float:
    """Shorten what closing waits for loops that don't close."""
    monkeypatch.setattr(_pooled, "CLOSE_SECONDS", 0.3)
    return 0.3


class Other:
    """A thread with an event loop of its own, which uses the pool and then does something."""

    def __init__(self, pool: CredentialsPool) -> None:
        self._pool = pool
        self.used = threading.Event()
        self.go = threading.Event()
        self.outcome: object = None

    async def fetch(self) -> None:
        """Have a client in this loop."""
        assert await self._pool.manager("a").get() == EXPECTED
        self.used.set()

    async def blocked(self) -> None:
        """Block the loop until the test says so, and then let it go on for a moment."""
        await self.fetch()
        self.go.wait()
        for _ in range(20):
            await asyncio.sleep(0)

    async def deaf(self) -> None:
        """Have a call that ignores its cancellation."""
        fetching = asyncio.create_task(self._pool.manager("deaf").get())
        await asyncio.get_running_loop().run_in_executor(None, self.go.wait)
        self.outcome = (await asyncio.gather(fetching, return_exceptions=True))[0]

    async def ends(self) -> None:
        """End as soon as the test says so."""
        await self.fetch()
        await asyncio.get_running_loop().run_in_executor(None, self.go.wait)


@contextlib.asynccontextmanager
async def running(other: Other, main: Any) -> AsyncIterator[None]:  # noqa: ANN401 (one of its coroutine functions)
    """Run it in a thread until the block ends."""
    thread = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(main())))
    try:
        await asyncio.to_thread(other.used.wait, 20)
        yield
    finally:
        other.go.set()
        await thread


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give what our logger was told at WARNING and above."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


class Deaf:
    """A `CustomSession` whose calls for one secret ignore cancellation until they are let go."""

    region_name = "us-east-1"

    def __init__(self) -> None:
        self._fake = FakeSecretsManager({"a": EXPECTED, "deaf": EXPECTED})
        self.asked = threading.Event()
        self.go = threading.Event()

    @contextlib.asynccontextmanager
    async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
        """Lend a client."""
        async with self._fake.secretsmanager_client(region_name) as client:

            class Client:
                async def get_secret_value(_, **asked: Any) -> Any:  # noqa: ANN401, N805 (botocore's; `self` is the session)
                    if asked["SecretId"] == "deaf":
                        self.asked.set()
                        while not self.go.is_set():
                            with contextlib.suppress(asyncio.CancelledError):
                                await asyncio.sleep(0.01)
                    return await client.get_secret_value(**asked)

            yield Client()


class TestClosing:
    """Closing takes a bounded time, whatever other loops do."""

    async def test_a_blocked_loop(
        self, stub: StubSecretsManager, patience: float, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A loop that stands still has some time, then closing goes on with a warning.

        Its client is closed later.
        """
        pool = CredentialsPool(endpoint_url=stub.url, policy=None)
        await pool.open()
        other = Other(pool)
        async with running(other, other.blocked):
            await pool.manager("a").get()
            begun = time.monotonic()
            await pool.aclose()
            assert patience <= time.monotonic() - begun < patience + 5
            (warning,) = warned(caplog)
            assert "1 event loop(s) didn't close their clients within 0.3 s" in warning
            assert repr(pool) == "<CredentialsPool closed us-east-1>"
            other.go.set()
            await all_gone(stub)

    def test_a_loop_that_stands_still(self, patience: float, caplog: pytest.LogCaptureFixture) -> None:
        """So has one that is stopped; what is in it is closed when it runs again."""
        pool = CredentialsPool(session=FakeSecretsManager({"a": EXPECTED}), policy=None)
        loop = asyncio.new_event_loop()
        try:
            loop.run_until_complete(pool.open())
            loop.run_until_complete(pool.manager("a").get())
            begun = time.monotonic()
            asyncio.run(pool.aclose())
            assert time.monotonic() - begun < patience + 5
            assert len(warned(caplog)) == 1
            assert pool._session.holds_clients
            loop.run_until_complete(pool.aclose())
            assert not pool._session.holds_clients
            assert len(warned(caplog)) == 1
        finally:
            loop.close()

    async def test_a_deaf_call_elsewhere(self, caplog: pytest.LogCaptureFixture) -> None:
        """A loop with a call that ignores its cancellation isn't waited for either."""
        session = Deaf()
        async with CredentialsPool(session=session, policy=None) as pool:
            other = Other(pool)
            other.used = session.asked
            async with running(other, other.deaf):
                await pool.aclose()
                session.go.set()
        assert other.outcome == EXPECTED  # it has come to an end all the same
        assert len(warned(caplog)) <= 1  # a third of the time is for such calls: it may close in time

    async def test_a_deaf_call_here(self) -> None:
        """Neither is one in this loop: its client is closed under it."""
        session = Deaf()
        try:
            async with CredentialsPool(session=session, policy=None) as pool:
                call = asyncio.create_task(pool.manager("deaf").get())
                while not session.asked.is_set():  # noqa: ASYNC110 (a thread's event)
                    await asyncio.sleep(0)
            assert not call.done()
            assert not pool._session.holds_clients
        finally:
            session.go.set()
        assert await call == EXPECTED

    async def test_a_loop_that_ends_just_then(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A loop that ends while the pool closes is waited for no longer than it lives."""
        monkeypatch.setattr(_pooled, "CLOSE_SECONDS", 10.0)
        for _ in range(20):
            pool = CredentialsPool(session=FakeSecretsManager({"a": EXPECTED}), policy=None)
            await pool.open()
            other = Other(pool)
            async with running(other, other.ends):
                other.go.set()
                begun = time.monotonic()
                await pool.aclose()
                assert time.monotonic() - begun < _pooled.CLOSE_SECONDS
        assert warned(caplog) == []

    async def test_closed_between_two_looks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A call that finds the pool open while another thread closes it gets no client."""
        pool = CredentialsPool(session=FakeSecretsManager({"a": EXPECTED}), policy=None)
        await pool.open()
        looks = iter([None])
        check = PooledSession.check_open

        def checked(session: PooledSession) -> None:
            check(session)
            if next(looks, session) is None:  # after the first look
                threads = threading.Thread(target=lambda: asyncio.run(session.aclose()))
                threads.start()
                threads.join()

        monkeypatch.setattr(PooledSession, "check_open", checked)
        with pytest.raises(PoolClosedError):
            await pool.manager("a").get()
        assert not pool._session.holds_clients


STRESS = """
import asyncio, collections, sys, threading, time, warnings
from aiocredentials import AsyncCredentialsManager, CredentialsPool

sys.setswitchinterval(1e-6)
warnings.simplefilter("error")
url, seconds, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
pool = CredentialsPool("us-east-1", endpoint_url=url, policy=None, timeout=25)
asyncio.run(pool.open())
alone = AsyncCredentialsManager("a", endpoint_url=url, policy=None, timeout=25)
outcomes = collections.Counter()
asyncio.run(alone.get())
end = time.monotonic() + seconds

async def read():
    managers = [pool.manager(name, region) for name in "ab" for region in (None, "eu-west-1")]
    return await asyncio.gather(*(manager.get() for manager in managers), alone.get())

def work():
    while time.monotonic() < end:
        try:
            for value in asyncio.run(read()):
                outcomes[value["mock_secret_key"]] += 1
            repr(pool)
        except BaseException as error:
            outcomes[repr(error)] += 1

threads = [threading.Thread(target=work) for _ in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
asyncio.run(pool.aclose())
assert list(outcomes) == ["mock_secret_value"], outcomes
print(outcomes.total())
"""


class TestThreads:
    """Loops in several threads share a pool, the log's filter, what is loaded, TLS contexts."""

    async def test_short_lived_loops(self, stub: StubSecretsManager) -> None:
        """Eight threads of short-lived loops, at the shortest switch interval.

        No error, no wrong value, no hang.
        """
        assert int(await child(STRESS, stub.url, "2", "8")) >= 40
        await all_gone(stub)

    @pytest.mark.soak
    @pytest.mark.timeout(180)
    async def test_for_a_minute(self, stub: StubSecretsManager) -> None:
        """The same for a minute."""
        assert int(await child(STRESS, stub.url, "60", "8")) >= 1000
        await all_gone(stub)
