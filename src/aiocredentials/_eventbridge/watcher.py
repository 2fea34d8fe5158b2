"""Reads the queue until the watcher or the pool is closed, also if calls fail meanwhile.

The queue is a hint: no failure here reaches a reader. So each one is logged, once per kind, and the
queue is asked again a little later, with a new client, whose AWS credentials are loaded again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from aiocredentials._eventbridge.events import read
from aiocredentials._eventbridge.renewals import all_have_succeeded
from aiocredentials._eventbridge.sqs import delete, received
from aiocredentials._loops import call_in, cancelled_inside, is_cancelled, running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiocredentials._aws.other_services import Explanation
    from aiocredentials._eventbridge.events import SecretChange
    from aiocredentials._eventbridge.renewals import Renewals
    from aiocredentials._eventbridge.sqs import Client, Endpoint, Message
    from aiocredentials._secret import Secret
    from aiocredentials._store import SecretStore

logger = logging.getLogger("aiocredentials")

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""After a failure the queue is asked again after up to 1 s, then 2, 4 ... 60 s."""

SHORTEST_POLL = 1.0
"""Minimum seconds per call without messages. SQS itself waits longer; some emulators don't."""

MOST_BATCHES = 8
"""How many calls' messages may wait for their refreshes at once."""

CLOSE_SECONDS = 3.0
"""How long closing waits for calls that were cancelled."""


class Watcher:
    """Reads one queue in one task, and acts on its messages in a task per call.

    It begins at once, and ends with `aclose`. Raises `PoolClosedError` if the pool is closed.

    Args:
        store: The store of the pool.
        endpoint: The queue.
        renewals: Act on the events.
        spread: The longest delay of a refresh, in seconds.
        rng: Returns a random number from 0 to 1.
    """

    def __init__(
        self,
        store: SecretStore,
        endpoint: Endpoint,
        renewals: Renewals,
        *,
        spread: float,
        rng: Callable[[], float],
    ) -> None:
        self._store = store
        self._endpoint = endpoint
        self._renewals = renewals
        self._spread = spread
        self._rng = rng
        self._failures = 0
        shown = endpoint.shown_url
        self._reading = _Log(
            failed=f"The rotation queue can't be read, so only the TTL refreshes values ({shown})",
            succeeded=f"The rotation queue is read again ({shown})",
        )
        messages = "Messages in the rotation queue"
        self._deleting = _Log(
            failed=f"{messages} can't be deleted, so SQS sends them again ({shown})",
            succeeded=f"{messages} are deleted again ({shown})",
        )
        self._has_warned_of_junk = False
        self._is_ending = False
        self._client: Client | None = None
        """The client that is open; None after a failure."""
        self._loop = running_loop()
        self._batches: set[asyncio.Task[None]] = set()
        self._round = asyncio.timeout(None)
        """Ends the reading with one client when everything is forgotten."""
        self._stop_watching = store.cache.watch(self, _PoolWatch(self._cancel, self._forget))
        self._task = asyncio.create_task(self._run(), name="aiocredentials.rotation_queue_watched")

    async def _run(self) -> None:
        """Read until the end. Each round ends with a failure, or when the pool forgets all."""
        while True:
            await self._read_until_failure()
            if self._is_ending:
                return
            await asyncio.sleep(self._pause())

    def _forget(self) -> None:
        """Close the client, which holds AWS credentials; the next one is opened after a pause.

        So a snapshot that is taken meanwhile has no credentials.
        """
        self._client = None
        # It may be closing already, or not open yet.
        with contextlib.suppress(RuntimeError):
            self._round.reschedule(self._loop.time())

    def _cancel(self) -> set[asyncio.Task[Any]]:
        """Cancel all tasks, and return them.

        Only once, because a second cancellation would interrupt the closing of the client.
        """
        refreshes = self._renewals.tasks
        tasks: set[asyncio.Task[Any]] = {self._task, *self._batches, *refreshes}
        if not self._is_ending:
            self._is_ending = True
            for task in tasks:
                task.cancel()
        return tasks

    async def _read_until_failure(self) -> None:
        this_round = asyncio.timeout(None)
        self._round = this_round
        try:
            async with this_round, self._endpoint.open_client() as client:
                self._client = client
                # A client may swallow the cancellation.
                while not (self._is_ending or this_round.expired()):
                    await self._read_once(client)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            # A task inside of the client was cancelled, and not this one.
            self._note_failure(cancelled_inside())
        except Exception as error:  # noqa: BLE001 (no failure may end the watcher)
            if not this_round.expired():
                self._note_failure(error)

    def _note_failure(self, error: Exception) -> None:
        self._client = None
        explanation = self._endpoint.explain(error)
        self._reading.failed(explanation)

    def _pause(self) -> float:
        """Return how long to wait after a failure: twice as long each time, with jitter."""
        doublings = min(self._failures, 10)
        longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2**doublings)
        self._failures += 1
        return longest * (0.5 + 0.5 * self._rng())

    async def _read_once(self, client: Client) -> None:
        await self._room()
        began = self._loop.time()
        messages = await received(client, self._endpoint.queue_url, longest_delay=self._spread)
        self._failures = 0
        self._reading.succeeded()

        understood = list(self._understood(messages))
        if understood and not self._is_ending:
            acting = self._act(understood)
            task = asyncio.create_task(acting, name="aiocredentials.rotation_queue_watched: batch")
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            return
        # Otherwise a queue that answers at once with nothing, or with the same junk, keeps the
        # processor busy.
        elapsed = self._loop.time() - began
        await asyncio.sleep(max(0.0, SHORTEST_POLL - elapsed))

    async def _room(self) -> None:
        """Wait while too many messages wait for their refreshes, so memory is bounded."""
        while len(self._batches) >= MOST_BATCHES:
            await asyncio.wait(self._batches, return_when=asyncio.FIRST_COMPLETED)

    def _understood(self, messages: Iterable[Message]) -> Iterable[tuple[SecretChange, str]]:
        """Yield each event with the receipt of its message; leave other messages in the queue."""
        for message in messages:
            change = read(message.body)
            if change is not None:
                yield change, message.receipt
            elif not self._has_warned_of_junk:
                self._has_warned_of_junk = True
                logger.warning(
                    "A message in the rotation queue isn't an event of Secrets Manager, or has an "
                    "unknown form. Such messages are left to the queue's redrive policy: check "
                    "its dead-letter queue, and the rules and topics that send to it (%s).",
                    self._endpoint.shown_url,
                )

    async def _act(self, understood: list[tuple[SecretChange, str]]) -> None:
        """Act on the events of one call, and delete the messages of those that are handled."""
        acting = [(self._renewals.act(change), receipt) for change, receipt in understood]
        refreshes = [task for tasks, _ in acting for task in tasks]
        if refreshes:
            await asyncio.wait(refreshes)
        handled = [receipt for tasks, receipt in acting if all_have_succeeded(tasks)]
        client = self._client
        # A closed pool holds nothing, so each event seems not to concern it.
        if not handled or client is None or self._store.cache.closed:
            return
        try:
            await delete(client, self._endpoint.queue_url, handled)
        except Exception as error:  # noqa: BLE001 (the messages come again, which is harmless)
            explanation = self._endpoint.explain(error)
            self._deleting.failed(explanation)
        else:
            self._deleting.succeeded()

    async def aclose(self) -> None:
        """End all tasks within `CLOSE_SECONDS`.

        A message that is handled, but isn't deleted yet, comes again.
        """
        self._stop_watching()
        pending = self._cancel()
        end = self._loop.time() + CLOSE_SECONDS
        cancelled: asyncio.CancelledError | None = None
        while pending and self._loop.time() < end:
            try:
                _, pending = await asyncio.wait(pending, timeout=end - self._loop.time())
            except asyncio.CancelledError as error:
                cancelled = error
        if pending:
            logger.warning(
                "The rotation queue's client didn't close within %g s (%s).",
                CLOSE_SECONDS,
                self._endpoint.shown_url,
            )
        if cancelled is not None:
            raise cancelled


class _PoolWatch:
    """Watches the cache for its end, and for the moments when everything is forgotten."""

    def __init__(self, end: Callable[[], object], forget: Callable[[], object]) -> None:
        self._end = end
        self._forget = forget
        self._loop = running_loop()

    def stored(self, _: Secret, /) -> None:
        """Do nothing."""

    def invalidated(self) -> None:
        """Do nothing."""

    def forgotten(self) -> None:
        """Let the watcher drop its client, in its own loop."""
        call_in(self._loop, self._forget)

    def failed(self) -> None:
        """Do nothing."""

    def closed(self) -> None:
        """End the watcher, in its own loop."""
        call_in(self._loop, self._end)


class _Log:
    """Logs failures of one operation: once per kind, until it succeeds again."""

    def __init__(self, failed: str, succeeded: str) -> None:
        self._failed = failed
        self._succeeded = succeeded
        self._kinds: set[str] = set()

    def failed(self, explanation: Explanation) -> None:
        """Log a failure, unless one of this kind was logged since the last success."""
        if explanation.kind not in self._kinds:
            self._kinds.add(explanation.kind)
            logger.warning("%s. %s", self._failed, explanation.text)

    def succeeded(self) -> None:
        """Log the recovery, if there was a failure."""
        if self._kinds:
            self._kinds.clear()
            logger.info("%s", self._succeeded)
