"""The watcher of a rotation queue, in virtual time: what it survives, and how it ends."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import CachePolicy, CredentialsPool, PoolClosedError
from aiocredentials._eventbridge import watcher
from aiocredentials._eventbridge.renewals import _is_final
from aiocredentials.errors import AccessDeniedError, ThrottledError
from aiocredentials.eventbridge import _watched
from unit.fake_aws import FakeAWS, pool_of
from unit.fake_sqs import QUEUE_URL, FakeSQS, Stored, label_updated, refusal
from unit.rotation_world import NAME, SPREAD, run, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What fails


@pytest.mark.parametrize(("code", "fetches"), [("ThrottlingException", 3), ("AccessDeniedException", 2)])
def test_a_refresh_that_fails(code: str, fetches: int) -> None:
    """After a transient failure the message comes again. After a permanent one it is deleted. The value is served."""

    async def main() -> None:
        async with world(spread=0, policy=CachePolicy(ttl=1000, jitter=0, refresh_ahead=None)) as its:
            its.aws.failures["GetSecretValue"] = code
            its.sqs.send(its.rotate())
            await asyncio.sleep(20)
            assert await its.number() == 1
            assert await its.pool.manager(its.aws.secrets[NAME].arn).get() == await its.database.get()
            assert bool(its.sqs.messages) is (fetches == 3)
            its.aws.failures.clear()
            await asyncio.sleep(30)
            assert its.sqs.messages == []
            assert len(its.aws.calls) == fetches
            assert await its.number() == fetches - 1

    run(main)


def test_which_failures_are_final() -> None:
    """A permanent failure would come again with the message, so it is final. A closed pool has handled nothing."""
    assert _is_final(AccessDeniedError("no"))
    for error in (ThrottledError("slow"), PoolClosedError("closed"), RuntimeError("of another library")):
        assert not _is_final(error)


def test_a_reader_that_leaves() -> None:
    """A reader whose value expires during the refresh joins it. If this reader is cancelled, the refresh continues."""

    async def main() -> None:
        async with world(spread=0, policy=CachePolicy(ttl=100, jitter=0, refresh_ahead=None, patience=10)) as its:
            await asyncio.sleep(99.5)
            its.aws.latency = 2.0
            its.sqs.send(its.rotate())
            await asyncio.sleep(1)
            reading = asyncio.create_task(its.database.get())
            await asyncio.sleep(0.1)
            reading.cancel()
            await asyncio.sleep(2)
            assert await its.number() == 2
            assert len(its.aws.calls) == 2

    run(main)


def test_a_refresh_that_is_cancelled() -> None:
    """A refresh that something else cancels has handled nothing: the message comes again."""

    async def main() -> None:
        async with world(seed=1) as its:
            its.sqs.send(its.rotate())
            await asyncio.sleep(0.01)
            (refresh,) = [task for task in asyncio.all_tasks() if task.get_name().endswith(": refresh")]
            refresh.cancel()
            await asyncio.sleep(30)
            assert its.aws.calls == [NAME]
            await asyncio.sleep(10)
            assert await its.number() == 2
            assert its.sqs.messages == []

    run(main)


@pytest.mark.parametrize("seed", range(3))
def test_a_fetch_under_way(seed: int) -> None:
    """A fetch that began before the event may bring the old version, so another one follows it."""

    async def main() -> None:
        async with world(spread=0, seed=seed) as its:
            its.aws.latency = 1.0
            reading = asyncio.create_task(its.database.refresh())
            await asyncio.sleep(0.5)
            its.sqs.send(its.rotate())
            await reading
            await asyncio.sleep(2)
            assert len(its.aws.calls) == 3
            assert await its.number() == 2

    run(main, seed)


def test_junk(caplog: pytest.LogCaptureFixture) -> None:
    """A message that isn't an event stays in the queue, with one warning; the others are handled all the same."""

    async def main() -> None:
        async with world() as its:
            its.sqs.send("junk", its.rotate(), {"source": "aws.ec2"})
            await asyncio.sleep(100)
            assert await its.number() == 2
            assert [one.body for one in its.sqs.messages] == ["junk", '{"source": "aws.ec2"}']
            assert len(caplog.records) == 1
            assert "isn't an event of Secrets Manager" in caplog.text
            # Each time that it is visible again, which is rare.
            assert 3 <= len(its.sqs.messages[0].receipts) <= 5

    run(main)


def test_no_long_polling() -> None:
    """A queue that answers at once, with nothing or with junk, is asked once a second."""

    async def main() -> None:
        async with world() as its:
            its.sqs.long_polls = False
            await asyncio.sleep(100)
            before = len(its.sqs.received)
            await asyncio.sleep(60)
            assert 58 <= len(its.sqs.received) - before <= 61

    run(main)


def test_what_is_asked() -> None:
    """A call waits 20 s for up to ten messages, and hides them for longer than their refreshes can take."""

    async def main() -> None:
        async with world(spread=2.5) as its:
            await asyncio.sleep(50)
            assert its.sqs.received[0] == {
                "QueueUrl": its.sqs.endpoint.queue_url,
                "MaxNumberOfMessages": 10,
                "WaitTimeSeconds": 20,
                "VisibilityTimeout": 33,
            }
            assert its.sqs.received_at == [0, 20, 40]

    run(main)


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (ConnectionError("mock_password"), "SQS gave no usable answer: ConnectionError"),
        (TimeoutError(), "SQS gave no usable answer: TimeoutError"),
        (refusal("AccessDenied"), "SQS answered AccessDenied: AWS says no. Allow this identity sqs:ReceiveMessage"),
        (refusal("ThrottlingException"), "SQS answered ThrottlingException: AWS says no."),
        (refusal("ExpiredToken"), "SQS answered ExpiredToken: AWS says no."),
        (refusal("AWS.SimpleQueueService.NonExistentQueue"), "Create the queue, or correct its URL."),
        (refusal("QueueDoesNotExist"), "Create the queue, or correct its URL."),
        (asyncio.CancelledError(), "cancelled from inside the client"),
        (ValueError("mock_password"), "MalformedResponseError"),
    ],
    ids=["reset", "timeout", "denied", "throttled", "expired", "missing", "missing too", "cancelled", "malformed"],
)
def test_an_outage(failure: BaseException, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """While the queue can't be read: one warning, longer and longer pauses with jitter, a new client each time.

    Readers notice nothing. Afterwards there is one INFO line, and events are read again.
    """
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with world() as its:
            await asyncio.sleep(1)
            its.sqs.failures["receive"] = [failure] * 10
            await asyncio.sleep(400)
            assert await its.number() == 1
            assert its.sqs.opened == 11
            assert its.sqs.closed == 10
            failed_at = its.sqs.received_at[1:]
            pauses = [after - before for before, after in pairwise(failed_at)][:10]
            for pause, longest in zip(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60], strict=True):
                assert longest / 2 <= pause <= longest
            assert len({round(pause / longest, 6) for pause, longest in zip(pauses[6:], [60] * 4, strict=True)}) == 4

            levels = [record.levelname for record in caplog.records]
            assert levels == ["WARNING", "INFO"]
            assert caplog.records[0].getMessage().startswith("The rotation queue can't be read")
            if text == "MalformedResponseError":
                assert "SQS gave no usable answer: ValueError" in caplog.text
            else:
                assert text in caplog.text
            assert "mock_password" not in caplog.text
            assert "Secrets Manager" not in caplog.text

            its.sqs.send(its.rotate())
            await asyncio.sleep(SPREAD + 0.1)
            assert await its.number() == 2

            its.sqs.failures["receive"] = [failure]
            await asyncio.sleep(60)
            assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING", "INFO"]

    run(main)


def test_two_kinds_of_failures(caplog: pytest.LogCaptureFixture) -> None:
    """Each kind of failure is logged once during an outage."""

    async def main() -> None:
        async with world() as its:
            await asyncio.sleep(1)
            its.sqs.failures["receive"] = [refusal("AccessDenied"), refusal("ThrottlingException")] * 4
            await asyncio.sleep(300)
            assert len(caplog.records) == 2

    run(main)


def test_a_call_that_hangs() -> None:
    """A call without an answer ends by its deadline, and the next client is a new one."""

    async def main() -> None:
        async with world() as its:
            its.sqs.hangs = True
            await asyncio.sleep(25)
            its.sqs.hangs = False
            await asyncio.sleep(30)
            assert its.sqs.opened == 2

    run(main)


def test_a_client_that_does_not_open(caplog: pytest.LogCaptureFixture) -> None:
    """An error while the client is opened is like one of a call."""

    async def main() -> None:
        aws = FakeAWS(NAME)
        sqs = FakeSQS()
        opened = 0

        @asynccontextmanager
        async def client() -> AsyncIterator[FakeSQS]:
            nonlocal opened
            opened += 1
            if opened < 3:
                raise FileNotFoundError(2, "No such file", "token")
            yield sqs

        endpoint = sqs.endpoint._replace(open_client=client)
        async with pool_of(aws) as pool, _watched(pool, endpoint, 0.0):
            await pool.manager(NAME).get()
            await asyncio.sleep(10)
            aws.rotate(NAME)
            sqs.send(label_updated(aws.secrets[NAME].arn, NAME, "version-2"))
            await asyncio.sleep(1)
            assert len(aws.calls) == 2
            assert len(caplog.records) == 1

    run(main)


def test_deletes_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    """If messages can't be deleted, they come again, which costs no fetch; one warning, and INFO when it works."""
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with world(spread=0) as its:
            its.sqs.failures["delete"] = [refusal("AccessDenied", "DeleteMessageBatch")] * 2
            its.sqs.send(its.rotate())
            await asyncio.sleep(100)
            assert len(its.aws.calls) == 2
            assert its.sqs.messages == []
            assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
            assert f"can't be deleted, so SQS sends them again ({QUEUE_URL}). SQS answered AccessDenied" in caplog.text
            assert its.sqs.opened == 1

    run(main)


def test_an_outage_during_the_delay(caplog: pytest.LogCaptureFixture) -> None:
    """If the queue can't be read any more when a refresh has ended, its message comes again, with no second warning."""

    async def main() -> None:
        async with world(seed=2) as its:
            its.sqs.send(its.rotate())
            await asyncio.sleep(0.01)
            its.sqs.failures["receive"] = [ConnectionError()] * 2
            its.sqs.send("junk")
            await asyncio.sleep(SPREAD)
            assert await its.number() == 2
            assert (its.sqs.deleted, len(its.sqs.messages)) == ([], 2)
            await asyncio.sleep(60)
            assert len(its.aws.calls) == 2
            assert [one.body for one in its.sqs.messages] == ["junk"]
            assert len([record for record in caplog.records if "can't be" in record.getMessage()]) == 1

    run(main)


def test_many_messages_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """While many messages wait for their refreshes, no more are asked for: memory is bounded."""
    monkeypatch.setattr(watcher, "MOST_BATCHES", 2)

    async def main() -> None:
        async with world(seed=1) as its:
            event = its.rotate()
            its.sqs.send(*[event] * 35)
            await asyncio.sleep(0.01)
            # Two calls, and no third one before the refresh.
            assert len(its.sqs.received) == 2
            await asyncio.sleep(2 * SPREAD)
            assert its.sqs.messages == []
            assert len(its.aws.calls) == 2

    run(main)


@pytest.mark.parametrize("when", [0.0, 0.5, 30.0])
def test_forgetting(when: float, caplog: pytest.LogCaptureFixture) -> None:
    """`forget()` closes the client, which holds AWS credentials; a new one reads on soon, and no failure is logged."""

    async def main() -> None:
        async with world(spread=0) as its:
            its.sqs.close_takes = 0.1
            await asyncio.sleep(when)
            its.pool.forget()
            its.pool.forget()
            await asyncio.sleep(0.2)
            its.pool.forget()
            assert its.sqs.opened == its.sqs.closed
            await asyncio.sleep(1)
            assert its.sqs.opened == its.sqs.closed + 1
            assert not caplog.records
            await its.database.get()
            its.sqs.send(its.rotate())
            await asyncio.sleep(1)
            assert await its.number() == 2
            assert its.sqs.messages == []

    run(main)


def test_a_client_that_swallows_it() -> None:
    """A client that swallows the cancellation isn't used any more after `forget()`."""

    async def main() -> None:
        async with world(spread=0) as its:
            patient = its.sqs.receive_message

            async def deaf(**parameters: Any) -> dict[str, Any]:  # noqa: ANN401 (botocore's)
                try:
                    return await patient(**parameters)
                except asyncio.CancelledError:
                    return {}

            vars(its.sqs)["receive_message"] = deaf
            await asyncio.sleep(2)
            its.pool.forget()
            await asyncio.sleep(1.5)
            assert (its.sqs.opened, its.sqs.closed) == (2, 1)

    run(main)


# The end


@pytest.mark.parametrize("when", [0.0, 0.01, 0.5, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_closing_is_quick(when: float, seed: int) -> None:
    """The block ends at once, whatever is under way: a long poll, a delay, a fetch. Nothing is left behind."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world(seed=seed) as its:
            its.sqs.send(its.rotate())
            its.aws.latency = 5.0
            await asyncio.sleep(when)
            began = loop.time()
        assert loop.time() == began
        assert its.sqs.opened == its.sqs.closed

    run(main, seed)


def test_a_client_that_does_not_close(caplog: pytest.LogCaptureFixture) -> None:
    """A client that ignores its cancellation delays the end by three seconds, also that of a cancelled caller."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        aws = FakeAWS(NAME)
        sqs = FakeSQS()
        let_go = asyncio.Event()

        @asynccontextmanager
        async def deaf() -> AsyncIterator[FakeSQS]:
            try:
                yield sqs
            finally:
                await let_go.wait()

        async def watch() -> None:
            async with pool_of(aws) as pool, _watched(pool, sqs.endpoint._replace(open_client=deaf), 0.0):
                await asyncio.sleep(10)

        for is_cancelled in (False, True):
            let_go.clear()
            began = loop.time()
            watching = asyncio.create_task(watch())
            await asyncio.sleep(11)
            if is_cancelled:
                watching.cancel()
            await asyncio.wait([watching])
            assert watching.cancelled() is is_cancelled
            assert loop.time() - began == pytest.approx(13)
            let_go.set()
            await asyncio.sleep(1)
        assert caplog.text.count("didn't close within 3 s") == 2

    run(main)


@pytest.mark.parametrize("seed", range(3))
def test_a_pool_that_is_closed_inside(seed: int) -> None:
    """When the pool is closed, the long poll ends, and a message that waits for its refresh isn't deleted."""

    async def main() -> None:
        async with world(seed=1) as its:
            its.sqs.send(its.rotate())
            await asyncio.sleep(0.01)
            await its.pool.aclose()
            await asyncio.sleep(100)
            assert its.sqs.opened == its.sqs.closed == 1
            assert len(its.sqs.messages) == 1
            assert len(its.aws.calls) == 1

    run(main, seed)


@pytest.mark.parametrize("fails", [False, True])
def test_a_client_that_swallows_the_cancellation(*, fails: bool) -> None:
    """The watcher ends with the call that swallowed the cancellation, whatever its outcome is, and acts no more."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with world(spread=0) as its:

            async def swallowing(**_: object) -> dict[str, Any]:
                try:
                    await asyncio.sleep(20)
                except asyncio.CancelledError:
                    if fails:
                        raise ConnectionError from None
                its.sqs.long_polls = False
                return await receive(MaxNumberOfMessages=10, WaitTimeSeconds=0, VisibilityTimeout=30)

            receive = its.sqs.receive_message
            await asyncio.sleep(1)
            vars(its.sqs)["receive_message"] = swallowing
            await asyncio.sleep(20)
            its.sqs.messages.append(Stored(json.dumps(its.rotate())))
            began = loop.time()
        assert loop.time() - began <= watcher.SHORTEST_POLL
        assert its.aws.calls == [NAME]
        assert len(its.sqs.messages) == 1

    run(main)


def test_closing_is_not_interrupted() -> None:
    """If the pool was closed inside, and then the block ends, the client is still closed to its end."""

    async def main() -> None:
        async with world() as its:
            its.sqs.close_takes = 1.0
            await asyncio.sleep(1)
            await its.pool.aclose()
            await asyncio.sleep(0.5)
            assert its.sqs.closed == 0
        assert its.sqs.closed == 1

    run(main)


def test_a_pool_that_was_closed() -> None:
    """A closed pool can't be watched for."""

    async def main() -> None:
        pool = CredentialsPool()
        await pool.aclose()
        with pytest.raises(PoolClosedError):
            async with _watched(pool, FakeSQS().endpoint, 0.0):
                pass

    run(main)


def test_a_pool_that_is_not_open() -> None:
    """The block can't begin before the pool is opened. The same block begins afterwards."""

    async def main() -> None:
        pool = CredentialsPool()
        block = _watched(pool, FakeSQS().endpoint, 0.0)
        with pytest.raises(PoolClosedError, match="isn't open yet: use `async with pool:` first"):
            await block.__aenter__()
        async with pool, block:
            pass

    run(main)


def test_a_block_that_is_entered_twice() -> None:
    """A block can be entered once: the second time, the error says to make another."""

    async def main() -> None:
        sqs = FakeSQS()
        async with CredentialsPool() as pool:
            block = _watched(pool, sqs.endpoint, 0.0)
            async with block:
                await asyncio.sleep(1)
                with pytest.raises(RuntimeError, match="can be entered once: call rotation_queue_watched"):
                    await block.__aenter__()
                assert sqs.opened == 1
            with pytest.raises(RuntimeError, match="can be entered once"):
                await block.__aenter__()

    run(main)


def test_closed_while_the_refresh_waits() -> None:
    """After the pool was closed, neither a refresh whose delay ends nor another event handles a message."""

    async def main() -> None:
        async with world(seed=1) as its:
            watched = its.pool._store.cache._watchers
            its.sqs.send(its.rotate())
            await asyncio.sleep(0.01)
            # As in another thread: the pool is closed, and this loop doesn't know it yet.
            watched.clear()
            await its.pool.aclose()
            its.sqs.send(its.rotate())
            await asyncio.sleep(SPREAD)
            assert its.sqs.deleted == []

    run(main)


def test_closed_while_another_fetch_is_awaited() -> None:
    """A refresh that waits for a reader's fetch when the pool is closed has handled nothing."""

    async def main() -> None:
        async with world(spread=0) as its:
            its.aws.latency = 1.0
            reading = asyncio.create_task(its.database.refresh())
            await asyncio.sleep(0.1)
            its.sqs.send(its.rotate())
            await asyncio.sleep(0.1)
            its.pool._store.cache._watchers.clear()
            await its.pool.aclose()
            with pytest.raises(PoolClosedError):
                await reading
            await asyncio.sleep(1)
            assert its.sqs.deleted == []

    run(main)
