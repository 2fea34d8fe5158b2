"""Loops, forks, deadlines and closing: nothing is shared where it can't be, nothing hangs, nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
from typing import TYPE_CHECKING, Any, cast

import pytest
from aiobotocore.config import AioConfig

from aiocredentials import (
    AsyncCredentialsManager,
    CredentialSourceError,
    CredentialsPool,
    EndpointUnreachableError,
    PoolClosedError,
)
from server.programs import child
from server.tls_servers import ContainerStub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from server.stub import StubSecretsManager

EXPECTED = {"mock_secret_key": "mock_secret_value"}
HEADERS = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 100000\r\n\r\n"


async def turns(count: int) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


async def all_gone(stub: StubSecretsManager) -> None:
    """Wait until the stub has seen each connection end."""
    while stub._tasks:  # noqa: ASYNC110 (the test's time limit is this one's, too)
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Open a server that accepts and never answers; the event is set once somebody has connected."""
    connected = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        with contextlib.suppress(OSError):
            while await reader.read(4096):
                pass
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connected


@pytest.fixture
async def silent_credentials(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[asyncio.Event]:
    """Give AWS credentials from a source that never answers; the event says that it was asked."""
    async with silent_server() as (url, connected):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{url}/credentials")
        yield connected


class TestLoops:
    """One pool in more than one loop or process: each has sessions and sockets of its own."""

    async def test_a_loop_in_a_thread(self, stub: StubSecretsManager) -> None:
        """A second loop gets a client of its own, both work, and closing closes both."""
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            manager = pool.manager("prod/db")
            fetched, done = asyncio.Event(), asyncio.Event()
            here = asyncio.get_running_loop()

            async def elsewhere() -> None:
                for _ in range(2):
                    assert await manager.get() == EXPECTED
                here.call_soon_threadsafe(fetched.set)
                # The loop goes on, so that the client in it can be closed.
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(cast("Any", done.wait()), here))

            thread = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
            assert await manager.get() == EXPECTED
            await fetched.wait()
            assert await manager.get() == EXPECTED
            assert repr(pool) == "<CredentialsPool open us-east-1>"
        await all_gone(stub)
        done.set()
        await thread
        assert sorted(request.connection for request in stub.requests) == [1, 1, 2, 2]
        assert stub.connections == 2

    async def test_closed_from_another_loop(self, stub: StubSecretsManager) -> None:
        """A pool that is closed elsewhere ends the calls here, and this loop's client is closed in this loop."""
        pool = CredentialsPool(endpoint_url=stub.url, policy=None)
        await pool.open()
        await pool.manager("prod/db").get()
        stub.hang()
        call = asyncio.create_task(pool.manager("prod/db").get())
        await stub.arrival(2)
        await asyncio.to_thread(asyncio.run, pool.aclose())
        with pytest.raises(PoolClosedError, match="closed during the call"):
            await call
        await all_gone(stub)

    async def test_a_loop_that_died(self, stub: StubSecretsManager) -> None:
        """A pool that is kept from one `asyncio.run` to the next, cached or not, works in both, and can be closed."""
        answer = await child(
            """
            import asyncio, logging, sys
            from aiocredentials import CredentialsPool

            logging.getLogger("asyncio").disabled = True  # aiohttp tells what each loop leaves open, and it is right
            pool = CredentialsPool(endpoint_url=sys.argv[1])

            async def handler(policy):
                await pool.open()
                return [(await pool.manager(name, policy=policy).get())["mock_secret_key"] for name in ("a", "b")]

            print([asyncio.run(handler(policy)) for policy in (None, pool._policy, None)])
            asyncio.run(pool.aclose())
            """,
            stub.url,
        )
        assert answer.count("mock_secret_value") == 6
        assert [request.connection for request in stub.requests] == [1, 1, 2, 2, 3, 3]
        await all_gone(stub)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    async def test_a_fork(self, stub: StubSecretsManager) -> None:
        """A child process that a service forks has a client of its own, and the parent's goes on as before."""
        answer = await child(
            """
            import asyncio, os, sys, warnings
            from aiocredentials import CredentialsPool

            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
            os.environ["no_proxy"] = "*"  # macOS's own search for a proxy can crash in a forked child
            pool = CredentialsPool(endpoint_url=sys.argv[1], policy=None)

            async def use(name):
                await pool.manager(name).get()

            async def forked():
                await use("child")
                await use("child")
                await pool.aclose()

            async def main():
                async with pool:
                    await use("parent")
                    if not (pid := os.fork()):
                        try:
                            asyncio.run(forked())
                        except BaseException:
                            import traceback
                            traceback.print_exc()
                        finally:
                            os._exit(0)
                    await asyncio.to_thread(os.waitpid, pid, 0)
                    await use("parent")
                print("done")

            asyncio.run(main())
            """,
            stub.url,
        )
        assert answer == "done"
        who = [(request.body["SecretId"], request.connection) for request in stub.requests]
        assert who == [("parent", 1), ("child", 2), ("child", 2), ("parent", 1)]
        await all_gone(stub)


class TestOneAtATime:
    """What is costly is done once, however many ask for it at once."""

    async def test_credentials(self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        """A pool asks once for AWS credentials, though twenty fetches in two regions start cold at the same time."""
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        async with ContainerStub() as agent:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{agent.url()}/credentials")
            async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
                regions = ("eu-west-1", "eu-west-2")
                managers = [pool.manager(f"prod/{number}", regions[number % 2]) for number in range(20)]
                assert await asyncio.gather(*(manager.get() for manager in managers)) == [EXPECTED] * 20
                assert len(agent.requests) == 1
            await AsyncCredentialsManager("prod/db", endpoint_url=stub.url).get()
            assert len(agent.requests) == 2  # a session per call has credentials of its own

    async def test_a_failed_opening_is_tried_again(
        self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those who waited for an opening that failed get an error each, and the next call opens anew."""
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            with monkeypatch.context() as broken:
                broken.setenv("AWS_DEFAULTS_MODE", "junk")
                manager = pool.manager("prod/db")
                errors = await asyncio.gather(manager.get(), manager.get(), return_exceptions=True)
            assert len({id(error) for error in errors}) == 2
            assert {type(error).__name__ for error in errors} == {"InvalidParameterError"}
            assert await manager.get() == EXPECTED


PATIENCE = 0.3
WITHIN = r"within 0\.3 s, connecting and retrying included"


class TestDeadline:
    """`timeout=` is for the whole of a fetch, wherever the time goes."""

    @pytest.mark.parametrize("pooled", [False, True], ids=["session per call", "pooled"])
    async def test_credentials(self, silent_credentials: asyncio.Event, pooled: bool) -> None:  # noqa: FBT001 (a table)
        """A source of AWS credentials that doesn't answer is given up, and nobody asks Secrets Manager."""
        manager = AsyncCredentialsManager[Any]("prod/db", endpoint_url="http://127.0.0.1:1", timeout=PATIENCE)
        async with manager if pooled else contextlib.nullcontext():
            with pytest.raises(CredentialSourceError, match=r"No AWS credentials could be loaded within 0\.3 s"):
                await manager.get()
        assert silent_credentials.is_set()

    async def test_a_body_that_drips(self) -> None:
        """An answer that comes a byte at a time, each well inside of the read timeout, is given up."""

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEADERS)
            with contextlib.suppress(OSError):
                while not reader.at_eof():
                    writer.write(b" ")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(4096), 0.02)
            writer.close()

        async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with CredentialsPool(endpoint_url=url, timeout=PATIENCE) as pool:
                with pytest.raises(EndpointUnreachableError, match=WITHIN):
                    await pool.manager("prod/db").get()

    async def test_a_full_pool(self, stub: StubSecretsManager) -> None:
        """A call that waits for a connection, while others have them all, is given up as well."""
        stub.hang()
        config = AioConfig(max_pool_connections=1)
        async with CredentialsPool(endpoint_url=stub.url, timeout=PATIENCE, config=config) as pool:
            calls = [asyncio.create_task(pool.manager(name).get()) for name in ("prod/db", "prod/redis")]
            for call in calls:
                with pytest.raises(EndpointUnreachableError, match=WITHIN):
                    await call
            pool._store.gateway._timeout = 20  # the rest isn't about time
            assert await pool.manager("prod/api").get() == EXPECTED
        assert [request.body["SecretId"] for request in stub.requests] == ["prod/db", "prod/api"]


async def per_call(stub: StubSecretsManager) -> None:
    """Fetch with a session of its own."""
    await AsyncCredentialsManager("prod/db", endpoint_url=stub.url, policy=None).get()


async def cached(stub: StubSecretsManager) -> None:
    """Open a pool, fetch, close it."""
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        await pool.manager("prod/db").get()


async def uncached(stub: StubSecretsManager) -> None:
    """The same without a cache, and so without a task between the caller and the client."""
    async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
        await pool.manager("prod/db").get()


class TestClosing:
    """Closing and cancelling leave no task, no socket and no warning."""

    async def test_during_the_opening(self, silent_credentials: asyncio.Event) -> None:
        """A pool that is closed while it waits for AWS credentials ends the call, and lets go of their source."""
        async with CredentialsPool(endpoint_url="http://127.0.0.1:1") as pool:
            call = asyncio.create_task(pool.manager("prod/db").get())
            await silent_credentials.wait()
        with pytest.raises(PoolClosedError, match="closed during the call"):
            await call

    async def test_whoever_opened_was_cancelled(self, silent_credentials: asyncio.Event) -> None:
        """An opening goes on without the call that began it, and closing ends it."""
        async with CredentialsPool(endpoint_url="http://127.0.0.1:1", policy=None) as pool:
            call = asyncio.create_task(pool.manager("prod/db").get())
            await silent_credentials.wait()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    @pytest.mark.parametrize("work", [per_call, cached, uncached])
    async def test_cancelled_anywhere(
        self, stub: StubSecretsManager, work: Callable[[StubSecretsManager], Coroutine[Any, Any, None]]
    ) -> None:
        """A caller who is cancelled after no turn of the loop, after one, two, and so on, leaves nothing behind."""
        await work(stub)  # what a process does once isn't looked at here
        for count in range(1000):
            task = asyncio.create_task(work(stub))
            await turns(count)
            task.cancel()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            await all_gone(stub)
            if outcome is None:
                break
            assert isinstance(outcome, asyncio.CancelledError)
            left = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [task for task in left if "aiocredentials" in repr(task)]
        assert 10 < count < 999
        gc.collect()

    async def test_closing_is_cancelled_anywhere(self, stub: StubSecretsManager) -> None:
        """Whoever is cancelled while closing is cancelled when all is closed, and not before."""
        for count in range(100):
            pool = CredentialsPool(endpoint_url=stub.url, policy=None)
            await pool.open()
            await pool.manager("prod/db").get()
            stub.hang()
            call = asyncio.create_task(pool.manager("prod/db").get())
            await stub.arrival(len(stub.requests) + 1)
            task = asyncio.create_task(pool.aclose())
            await turns(count)
            was_done = task.done()
            task.cancel()
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            if count:  # before its first turn, closing hasn't begun
                assert not pool._session.holds_clients
            await pool.aclose()
            with pytest.raises(PoolClosedError):
                await call
            await all_gone(stub)
            if was_done:
                break
            assert isinstance(outcome, asyncio.CancelledError)
        assert 1 < count < 99

    async def test_no_warning(self, stub: StubSecretsManager) -> None:
        """A whole program, with Python's own checks on and each warning an error, says nothing and ends."""
        answer = await child(
            """
            import asyncio, contextlib, gc, logging, sys
            from aiocredentials import AsyncCredentialsManager, CredentialsPool, PoolClosedError

            logging.getLogger("asyncio").setLevel("ERROR")  # below that it tells of steps that take 0.1 s

            async def main(url):
                await asyncio.gather(*(AsyncCredentialsManager("a", endpoint_url=url).get() for _ in range(3)))
                async with CredentialsPool(endpoint_url=url) as pool:
                    await asyncio.gather(*(pool.manager(name).get() for name in "abc"))
                for count in (1, 5, 10, 20, 40):
                    async with CredentialsPool(endpoint_url=url) as pool:
                        task = asyncio.create_task(pool.manager("a").get())
                        for _ in range(count):
                            await asyncio.sleep(0)
                    with contextlib.suppress(PoolClosedError):
                        await task
                    task = asyncio.create_task(AsyncCredentialsManager("a", endpoint_url=url).get())
                    for _ in range(count):
                        await asyncio.sleep(0)
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
                # Who is cancelled doesn't wait for the fetch to wind up; it ends by itself.
                left = asyncio.all_tasks() - {asyncio.current_task()}
                assert not left or not (await asyncio.wait(left, timeout=20))[1]

            asyncio.run(main(sys.argv[1]))
            gc.collect()
            print("quiet")
            """,
            stub.url,
            options=("-X", "dev", "-W", "error"),
        )
        assert answer == "quiet"
        await all_gone(stub)
