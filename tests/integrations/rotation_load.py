"""Fifty workers query while the secret and the server's password rotate five times, each time with an open window.

The window, between the change of the server and the move of AWSCURRENT, is real time: it is what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from aiocredentials import DatabaseCredentials

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from aiocredentials import AsyncCredentialsManager, CredentialsPool
    from integrations.postgres import Place

    Query = Callable[[], Awaitable[object]]
    Open = Callable[[AsyncCredentialsManager[DatabaseCredentials]], AbstractAsyncContextManager[Query]]
    OpenControl = Callable[[DatabaseCredentials], AbstractAsyncContextManager[Query]]

WORKERS = 50
ROTATIONS = 5
WINDOW = 2.0
SETTLED = 0.2  # after a window, at least, until what came of it is looked at and the next rotation begins
PAUSE = 2.5  # of a worker, on average, between two queries
REST = 4.0  # a pause once something failed: controls that can't connect leave the processor to the others
SQL = "SELECT pg_sleep(0.02)"  # it takes a connection, and no processor

SINGLE, ALTERNATING = "single user", "alternating users"
SERVER_FIRST, CURRENT_FIRST = "server first", "AWSCURRENT first"


class Window(NamedTuple):
    """One rotation: when its window opened and closed, whose password changed, and what it cost."""

    opened: float
    closed: float
    role: str
    fetches: int


@dataclass
class Run:
    """One load, and what came of it."""

    place: Place
    adapter: str
    kind: str
    order: str
    control: bool = False
    queries: int = 0
    longest: float = 0.0
    probe: float = 0.0
    """The longest that a connection took meanwhile which no rotation concerns: a busy machine takes its time."""
    failures: list[str] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What its secret is called, and how its roles begin."""
        words = f"{self.adapter} {self.kind[0]} {self.order[0]} {'control' if self.control else 'load'}"
        return re.sub(r"\W", "_", words).lower()

    def row(self) -> str:
        """Return the line of the table."""
        who = "password read once" if self.control else self.adapter
        fetches = [window.fetches for window in self.windows]
        return (
            f"| {self.adapter} | {who} | {self.kind} | {self.order} | {self.queries} | {len(self.failures)} "
            f"| {self.longest:.2f} s | {'-' if self.control else max(fetches)} |"
        )

    async def under_load(
        self,
        opened: AbstractAsyncContextManager[Query],
        told: Callable[[], Awaitable[Any]],
        start: asyncio.Barrier,
    ) -> None:
        """Rotate while the workers query. All runs start together: to open a client takes the processor from others."""
        async with opened as query, asyncio.TaskGroup() as group:
            await query()
            await start.wait()
            over = asyncio.Event()
            for _ in range(WORKERS):
                group.create_task(self._work(query, over))
            await asyncio.sleep(SETTLED)
            for number in range(1, ROTATIONS + 1):
                await self._rotate(number, told)
            over.set()  # and no cancelling: psycopg_pool takes that for an error of its own

    async def _work(self, query: Query, over: asyncio.Event) -> None:
        while not await _passed(random.uniform(0, 2 * PAUSE) + (REST if self.failures else 0), over):  # noqa: S311
            began = time.monotonic()
            try:
                await query()
            except Exception as error:  # noqa: BLE001 (each is a failure)
                self.failures.append(f"{type(error).__name__}: {error}")
            self.longest = max(self.longest, time.monotonic() - began)
            self.queries += 1

    async def _rotate(self, number: int, told: Callable[[], Awaitable[Any]]) -> None:
        secrets, before = self.place.secrets, self.place.secrets.fetches[self.name]
        role = self.role(number)
        password = f"{self.name}-{number}"
        secrets.pend(self.name, self.place.fields(role, password))
        opened = time.time()
        if self.order == SERVER_FIRST:
            await self.place.set_password(role, password)
            await asyncio.sleep(WINDOW)
            secrets.promote(self.name)
        else:
            secrets.promote(self.name)
            await told()
            await asyncio.sleep(WINDOW)
            await self.place.set_password(role, password)
        closed = time.time()
        if self.order == SERVER_FIRST and self.kind == ALTERNATING:
            await told()
        await asyncio.sleep(SETTLED)
        # A rotation that nobody meets before the next one comes would be counted with that one.
        while not self.control and not await self.place.connected_since(self.name, closed):  # noqa: ASYNC110
            await asyncio.sleep(SETTLED / 4)
        self.windows.append(Window(opened, closed, role, secrets.fetches[self.name] - before))

    def role(self, number: int) -> str:
        """Return whose password a rotation changes."""
        return f"{self.name}_{number % 2 if self.kind == ALTERNATING else 0}"

    async def prepare(self) -> None:
        """Create roles and secret."""
        for number in (1, 0):
            await self.place.role(self.role(number), f"{self.name}-0")
        self.place.secrets.create(self.name, self.place.fields(self.role(0), f"{self.name}-0"))


async def _passed(pause: float, over: asyncio.Event) -> bool:
    """Wait, but not longer than until it is over; say whether it is."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(pause):
            await over.wait()
    return over.is_set()


async def measure(place: Place, adapter: str, open_pool: Open, open_control: OpenControl) -> list[Run]:
    """Run each kind and order, and the controls beside them, all at once; return what came of each."""
    orders = [(kind, order) for kind in (SINGLE, ALTERNATING) for order in (SERVER_FIRST, CURRENT_FIRST)]
    runs = [Run(place, adapter, kind, order) for kind, order in orders]
    controls = [Run(place, adapter, kind, SERVER_FIRST, control=True) for kind in (SINGLE, ALTERNATING)]
    for run in [*runs, *controls]:
        await run.prepare()

    start = asyncio.Barrier(len(runs) + len(controls))

    async def load(run: Run, host: CredentialsPool) -> None:
        manager = host.manager(run.name, decode=DatabaseCredentials.from_json)
        # A host learns of a rotation from a queue, or as the ttl ends: here it is told.
        await run.under_load(open_pool(manager), manager.refresh, start)

    async def control(run: Run, host: CredentialsPool) -> None:
        credentials = await host.manager(run.name, decode=DatabaseCredentials.from_json).get()

        async def nobody_told() -> None: ...

        await run.under_load(open_control(credentials), nobody_told, start)

    async with place.host() as host, asyncio.TaskGroup() as group:
        tasks = [group.create_task(load(run, host)) for run in runs]
        tasks += [group.create_task(control(run, host)) for run in controls]
        while not all(task.done() for task in tasks):
            await asyncio.sleep(SETTLED)
            began = time.monotonic()
            await place.connect_elsewhere()
            probe = time.monotonic() - began
            for run in runs:
                run.probe = max(run.probe, probe)
    return [*runs, *controls]


def check(runs: list[Run], record_property: Callable[[str, object], None], log: str) -> None:
    """Hold the promise, and see that the controls break it; each run leaves its line of the table."""
    for run in runs:
        record_property("rotation", run.row())
        print(run.row())  # noqa: T201 (`pytest -s` shows the table)
    for run in runs:
        if run.control:
            assert run.failures, f"{run.row()}: a password that is read once survived"
            continue
        assert run.failures == [], run.row()
        window = max(window.closed - window.opened for window in run.windows)
        # Who meets a window makes up to three connections: two are refused, one is taken.
        assert run.longest < window + 1 + 3 * run.probe, f"{run.row()}, where one connection took {run.probe:.2f} s"
        assert max(window.fetches for window in run.windows) <= 2, run.row()
        assert run.queries > WORKERS * 2, run.row()
        for window in run.windows:
            _check_met(run, window, log)


def _check_met(run: Run, window: Window, log: str) -> None:
    """See in the server's log that new connections met the rotation."""
    pattern = rf"^([\d.]+) {run.name}_(\d) \w+: +(connection authorized|password authentication failed)"
    lines = [(float(at), role, what) for at, role, what in re.findall(pattern, log, re.MULTILINE)]
    during = [what for at, _, what in lines if window.opened <= at <= window.closed]
    assert "connection authorized" in during, f"{run.row()}: no new connection in a window"
    if run.kind == ALTERNATING and run.order == SERVER_FIRST:
        # The user of before goes on working; what is met is the change to the other.
        later = {role for at, role, _ in lines if at >= window.closed}
        assert window.role[-1] in later, f"{run.row()}: no new connection as the new user"
    else:
        assert "password authentication failed" in during, f"{run.row()}: nothing was refused in a window"
