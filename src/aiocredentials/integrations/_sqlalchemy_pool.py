"""Part of `sqlalchemy`: whether an engine can be used, and how long its callers wait."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import sqlalchemy
from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.ext import asyncio as sqlalchemy_asyncio
from sqlalchemy.pool import Pool
from sqlalchemy.util import await_only, greenlet_spawn

from aiocredentials._rotation.waits import CHECK, current_wait

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from aiocredentials._rotation.waits import Waits


def check_engine(engine: object) -> None:
    """Reject an object that isn't an async engine, and an engine that has its own creator.

    Raises `TypeError` or `ValueError`.
    """
    if not isinstance(engine, sqlalchemy_asyncio.AsyncEngine):
        cls = type(engine)
        name = f"{cls.__module__}.{cls.__qualname__}"
        raise TypeError(f"The engine is a {name}: give one of sqlalchemy.ext.asyncio.")

    # Only SQLAlchemy's own creator calls the listeners to `do_connect`. It has no public name.
    creator = getattr(engine.pool, "_creator", sqlalchemy.create_engine)
    if not creator.__module__.startswith("sqlalchemy.engine."):
        raise ValueError(
            "The engine connects by itself: make it without creator=, async_creator= and pool=."
        )


@contextmanager
def waits_limited(engine: AsyncEngine, waits: Waits) -> Generator[None]:
    """Limit how long an engine's callers wait while the block lasts, if there is a limit.

    The engine may have any class of pool. So its pool gets a class that is derived from its own. A
    pool that replaces it, as after `dispose()`, has the class of the one before it.
    """
    if waits.seconds is None:
        yield
        return

    base = type(engine.pool)
    cls = type(base.__name__, (_LimitedPool, base), {"waits": waits})
    object.__setattr__(engine.pool, "__class__", cls)
    try:
        yield
    finally:
        object.__setattr__(engine.pool, "__class__", base)


class _LimitedPool(Pool):
    waits: ClassVar[Waits]

    def _do_get(self) -> ConnectionPoolEntry:
        """Return a place of the pool; an attempt to connect for it notes its own progress."""
        entry = super()._do_get()
        current_wait().what = CHECK
        return entry

    def connect(self) -> PoolProxiedConnection:
        get = partial(greenlet_spawn, super().connect)
        limited = self.waits.within(get, _check_in)
        try:
            return await_only(limited)
        except MissingGreenlet:
            # Sync code, outside of a greenlet, can get an idle connection, because nothing waits.
            limited.close()
        return super().connect()


async def _check_in(connection: PoolProxiedConnection) -> None:
    await greenlet_spawn(connection.close)
