"""Loads aioboto3 and botocore's models once per process, in a thread.

`models` keeps the models, `tls` the TLS contexts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
from typing import TYPE_CHECKING, Any

from aiocredentials._loops import PerLoop, loading

if TYPE_CHECKING:
    from collections.abc import Coroutine

# One task of each loop waits for the thread; the others wait for that task.
_locks = PerLoop(asyncio.Lock)

_is_loaded = False
_is_begun = False
_is_ready_for_roles = False


def is_loaded() -> bool:
    """Return whether the transport was loaded."""
    return _is_loaded


def is_loading() -> bool:
    """Return whether the transport is being loaded, or its loading was given up."""
    return _is_begun and not _is_loaded


async def load_transport() -> None:
    """Import aioboto3 and load botocore's models in a thread, once per process.

    In the event loop this would block all tasks for 0.5 s.
    """
    global _is_begun  # noqa: PLW0603 (the process has begun, or it hasn't)
    if not _is_loaded:
        _is_begun = True
        async with _locks.get():
            await asyncio.to_thread(_load)


def _load() -> None:
    global _is_loaded  # noqa: PLW0603 (the process has loaded them, or it hasn't)
    with loading:
        if not _is_loaded:
            import_and_read()
            _is_loaded = True


def import_and_read() -> None:
    """Import the transport; then read models and endpoint rules, and import the rest.

    For a thread: reading takes 0.1 s. The garbage collector is off meanwhile, because it would stop
    all threads while it looks through the new objects.
    """
    from aiocredentials._aws import aiosession  # noqa: PLC0415 (300 ms and 500 modules)

    # `clients` needs it. If the event loop imported it, a child that another thread forks could
    # inherit a module that is imported by half.
    importlib.import_module("aiocredentials._aws.signing")

    was_collecting = gc.isenabled()
    gc.disable()
    try:
        _run_dry(aiosession.dry_run())
    finally:
        if was_collecting:
            gc.enable()


def _run_dry(dry_run: Coroutine[Any, Any, None]) -> None:
    # The session that needs a broken configuration reports it.
    with contextlib.suppress(Exception):
        asyncio.run(dry_run)
    # Under gevent, a thread is a greenlet in the thread of the event loop, where no second loop can
    # run. Then the modules are loaded when they are needed, and the coroutine wasn't begun.
    dry_run.close()


async def load_roles() -> None:
    """Import `assuming` and load STS's model in a thread, once per process that has a role."""
    if not _is_ready_for_roles:
        async with _locks.get():
            await asyncio.to_thread(_load_roles)


def _load_roles() -> None:
    global _is_ready_for_roles  # noqa: PLW0603 (the process has loaded it, or it hasn't)
    from aiocredentials._aws import aiosession  # noqa: PLC0415 (it was imported by `_load`)

    with loading:
        if _is_ready_for_roles:
            return
        importlib.import_module("aiocredentials._aws.assuming")
        _run_dry(aiosession.dry_run("sts"))
        _is_ready_for_roles = True
