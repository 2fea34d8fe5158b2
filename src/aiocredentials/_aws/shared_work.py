"""Work that is done once for all callers that need it at the same time, in one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiocredentials._loops import detached_task, join

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    SharedTask: TypeAlias = "asyncio.Task[WorkResult | None]"
    Work: TypeAlias = Callable[[], Coroutine[Any, Any, "R"]]

R = TypeVar("R")


class WorkResult:
    """The result of a shared task.

    An error is returned, not raised, because asyncio logs the error of a task that is never
    awaited. There is no repr, because the repr of a task shows its result, and an error of the
    credential chain may hold an answer.
    """

    __slots__ = ("error", "value")

    def __init__(
        self,
        value: object = None,
        error: Exception | None = None,
    ) -> None:
        self.value = value
        self.error = error


class SharedWork:
    """Tasks that belong to no caller: one per key, which callers of the same key share."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        """How long work that begins now may take. None means without a limit."""
        self._by_key: dict[object, SharedTask] = {}
        self._tasks: set[SharedTask] = set()

    @property
    def is_under_way(self) -> bool:
        """Whether any work is under way, needed or given up."""
        return bool(self._tasks)

    async def once(
        self,
        key: object,
        work: Work[R],
        *,
        detached: bool = False,
    ) -> R:
        """Do some work, or wait for the same work that another caller needed before.

        If the work takes too long, it is given up. A caller that still has time begins it again,
        because a helper process that hung may work when it is started again.

        Args:
            key: Callers with the same key share the work.
            work: Carries it out, in a separate task, which a cancelled caller doesn't disturb.
            detached: Whether the task has an empty context, not the caller's.

        Returns:
            The result of the work.

        Raises:
            Exception: Whatever the work raises. All callers get the same object.
        """
        while True:
            task = self._begun(key, work, detached=detached)
            result = await join(task)
            if result is not None:
                break
        if result.error is not None:
            raise result.error
        return cast("R", result.value)

    def begin(self, key: object, work: Work[object]) -> None:
        """Begin some work, in an empty context, for which no caller waits. Its result is lost.

        Nothing happens if the work of the key is under way.
        """
        self._begun(key, work, detached=True)

    def _begun(
        self,
        key: object,
        work: Work[object],
        *,
        detached: bool,
    ) -> SharedTask:
        task = self._by_key.get(key)
        if task is None or task.done():
            task = self._start(work, detached=detached)
            self._add(key, task)
        return task

    def _start(
        self,
        work: Work[object],
        *,
        detached: bool,
    ) -> SharedTask:
        working = self._in_time(work)
        if detached:
            return detached_task(working)
        return asyncio.create_task(working)

    async def _in_time(self, work: Work[object]) -> WorkResult | None:
        """Do the work; return None if it took too long."""
        limit = asyncio.timeout(self.seconds)
        try:
            async with limit:
                return WorkResult(await work())
        except Exception as error:  # noqa: BLE001 (it is raised to the callers that wait)
            if limit.expired():
                return None
            return WorkResult(error=error)

    def _add(self, key: object, task: SharedTask) -> None:
        """Keep a task until it has ended."""

        def forget(ended: SharedTask) -> None:
            self._tasks.discard(ended)
            if self._by_key.get(key) is ended:
                del self._by_key[key]

        self._by_key[key] = task
        self._tasks.add(task)
        task.add_done_callback(forget)

    def give_up(self, key: object) -> None:
        """Cancel the work of a key if it is under way; a later caller begins it again."""
        task = self._by_key.pop(key, None)
        if task is not None:
            task.cancel()

    async def give_up_all(self, seconds: float) -> None:
        """Cancel all work, and wait for its end, at most for `seconds`."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
