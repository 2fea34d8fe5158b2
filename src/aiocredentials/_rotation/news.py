"""News of a secret: what is needed of a manager, and what is done when a new version is fetched."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from aiocredentials._loops import finish
from aiocredentials.errors import CredentialsError, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Container

    from aiocredentials._secret import Secret

C_co = TypeVar("C_co", covariant=True)

logger = logging.getLogger("aiocredentials")

# How long a block waits for the watcher's first look at the secret, in seconds.
_FIRST_LOOK = 2.0
# Seconds until the versions of a manager whose `changes()` has failed are watched again.
_WATCH_AGAIN = 60.0


class RotatingSecret(Protocol[C_co]):
    """What is needed of a manager: each `AsyncCredentialsManager` has it."""

    async def secret(self, *, version_stage: str | None = None) -> Secret:
        """Return the current version, or the one with another staging label."""
        ...

    def decoded(self, secret: Secret) -> C_co:
        """Return the credentials of a version."""
        ...

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Forget a version."""
        ...

    def changes(self) -> AsyncGenerator[Secret]:
        """Yield each new version."""
        ...


async def wait_for_news(
    manager: RotatingSecret[Any],
    delay: float,
    versions: Container[str],
) -> list[str]:
    """Wait for a time, in seconds, or until any fetch brings a version that isn't among these.

    Returns the id of that version, if there is one.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay):
            if found := await _news_of(manager, versions):
                return found
            await asyncio.sleep(delay)
    return []


async def _news_of(manager: RotatingSecret[Any], versions: Container[str]) -> list[str]:
    """Wait for a version that isn't among these; return nothing if none can be waited for."""
    try:
        async with aclosing(manager.changes()) as changes:
            async for secret in changes:
                if secret.version_id not in versions:
                    return [secret.version_id]
    except PoolClosedError:
        raise
    # A manager without a policy has no news, and one of the user's own may raise anything.
    except Exception:  # noqa: BLE001
        return []
    return []


@asynccontextmanager
async def rotations_watched(
    manager: RotatingSecret[Any], act: Callable[[Secret], Awaitable[object]]
) -> AsyncGenerator[None]:
    """Await `act(secret)` with each new version while the block lasts, to renew what is older.

    The block begins with a look at the secret, for which it waits 2 seconds at most: that version
    isn't new, each later one is. What `act` raises is logged, and the watching goes on. It goes on
    as well while the secret is unavailable. A manager that can't watch is logged as a warning: one
    without a `policy` has nothing to compare with, and one of your own may raise. Needs
    secretsmanager:GetSecretValue.
    """
    watch = _Watch(manager, act)
    task = asyncio.create_task(watch.run(), name="aiocredentials.rotations_watched")
    try:
        await watch.first_look()
        yield
    finally:
        task.cancel()
        await finish([task])


class _Watch:
    """Watches one secret, and remembers the version that it has seen last."""

    def __init__(
        self,
        manager: RotatingSecret[Any],
        act: Callable[[Secret], Awaitable[object]],
    ) -> None:
        self._manager = manager
        self._act = act
        self._seen: str | None = None
        self._looked = asyncio.Event()
        self._logged: set[type[Exception]] = set()

    async def first_look(self) -> None:
        """Wait until the secret was looked at, or can't be."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK):
                await self._looked.wait()

    async def run(self) -> None:
        """Watch until the pool is closed, or this is cancelled."""
        # It lets time pass, and waits for no state.
        while await self._follow():  # noqa: ASYNC110
            await asyncio.sleep(_WATCH_AGAIN)

    async def _follow(self) -> bool:
        """Follow the changes until they end; return whether to do so again."""
        try:
            # Until nothing is done about a version: a version that comes in meanwhile is none of the changes' news.
            while await self._look():
                pass
            async with aclosing(self._manager.changes()) as changes:
                async for secret in changes:
                    await self._see(secret, is_new=secret.version_id != self._seen)
        except PoolClosedError:
            return False
        except RuntimeError as error:
            logger.warning("Rotations aren't watched: %s", error)
            return False
        # A manager of the user's own may raise anything.
        except Exception as error:  # noqa: BLE001
            if type(error) not in self._logged:
                self._logged.add(type(error))
                message = "Rotations aren't watched now, and will be again in %g s: %s"
                logger.warning(message, _WATCH_AGAIN, error)
        finally:
            self._looked.set()
        return True

    async def _look(self) -> bool:
        """Compare the current version with the one that was seen last; return whether it is another one."""
        try:
            secret = await self._manager.secret()
        except PoolClosedError:
            raise
        except CredentialsError:
            # That is the listener's; `changes()` goes on.
            return False
        finally:
            self._looked.set()
        is_new = self._seen not in {None, secret.version_id}
        await self._see(secret, is_new=is_new)
        return is_new

    async def _see(self, secret: Secret, *, is_new: bool) -> None:
        self._seen = secret.version_id
        if not is_new:
            return
        try:
            await self._act(secret)
        except Exception:
            logger.exception("What was to be done on a rotation of secret %r failed", secret.name)
