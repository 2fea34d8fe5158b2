"""News of a secret: wait for a new version, or act on each one while a block lasts."""

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

# How long a block waits for the watcher's first read of the secret, in seconds.
_FIRST_READ = 2.0
# Seconds until a manager whose `changes()` has failed is watched again.
_WATCH_AGAIN = 60.0


class RotatingSecret(Protocol[C_co]):
    """The methods of a manager that rotation needs: each `AsyncCredentialsManager` has them.

    Your own class may have these methods instead. It may have two more attributes. If
    `needs_encryption` is True, the adapters reject connections without encryption.
    `advice_if_refused` is a sentence for the error of a server that refuses every version; by
    default it is about user and password.
    """

    async def secret(self, *, version_stage: str | None = None) -> Secret:
        """Return the current version, or the one with another staging label."""
        ...

    def decoded(self, secret: Secret) -> C_co:
        """Return the credentials of a version, for one attempt to connect.

        It is called once per attempt, and its result isn't kept, because it may be valid only once
        or only for some minutes.
        """
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
    known: Container[str],
) -> str | None:
    """Wait until any caller fetches a version that isn't known, or until a delay is over.

    Args:
        manager: The manager of the secret.
        delay: How long to wait, in seconds.
        known: The identifiers of the versions that aren't news.

    Returns:
        The identifier of the new version; None if there is none after the delay.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(delay):
            version_id = await _wait_for_version(manager, known)
            if version_id is not None:
                return version_id
            # No version can be waited for, so the rest of the delay passes.
            await asyncio.sleep(delay)
    return None


async def _wait_for_version(manager: RotatingSecret[Any], known: Container[str]) -> str | None:
    """Wait for a version that isn't known; return None if none can be waited for."""
    try:
        async with aclosing(manager.changes()) as changes:
            async for secret in changes:
                if secret.version_id not in known:
                    return secret.version_id
    except PoolClosedError:
        raise
    # A manager without a policy has no news, and the user's own manager may raise any error.
    except Exception:  # noqa: BLE001
        return None
    return None


@asynccontextmanager
async def rotations_watched(
    manager: RotatingSecret[Any], act: Callable[[Secret], Awaitable[object]]
) -> AsyncGenerator[None]:
    """Await `act(secret)` for each new version while the block lasts, to replace older connections.

    Use it with `async with`. The block begins with a read of the secret, for which it waits 2
    seconds at most: that version isn't new, each later one is. A version that can't be decoded is
    logged as a warning, and isn't acted on, because older connections are better than none. An
    error of `act` is logged, and the watching continues. It also continues while the secret is
    unavailable. A manager that can't watch is logged as a warning: a manager without a `policy` has
    nothing to compare with, and your own manager may raise any error. Needs
    secretsmanager:GetSecretValue.

    Example:
        ```python
        from aiocredentials import CredentialsPool, Secret
        from aiocredentials.rotation import rotations_watched


        async def main() -> None:
            async def reconnect(secret: Secret) -> None:
                print("replace the connections: a new version is", secret.version_id)

            async with CredentialsPool("eu-west-1") as pool:
                async with rotations_watched(pool.manager("prod/database"), reconnect):
                    ...  # serve
        ```

    Args:
        manager: The manager of the secret.
        act: Called with each new version, one call at a time.
    """
    watch = _Watch(manager, act)
    task = asyncio.create_task(watch.run(), name="aiocredentials.rotations_watched")
    try:
        await watch.first_read()
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
        self._first_read_done = asyncio.Event()
        self._logged: set[type[Exception]] = set()

    async def first_read(self) -> None:
        """Wait until the secret was read, or the read has failed or takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_READ):
                await self._first_read_done.wait()

    async def run(self) -> None:
        """Watch until the pool is closed, or the task is cancelled."""
        # This lets time pass, and doesn't wait for a state.
        while await self._follow():  # noqa: ASYNC110
            await asyncio.sleep(_WATCH_AGAIN)

    async def _follow(self) -> bool:
        """Follow the changes until they end; return whether to follow them again."""
        try:
            # `changes()` doesn't report a version that is fetched before it begins. So the secret
            # is read until there was nothing to do about it.
            while await self._read_once():
                pass
            async with aclosing(self._manager.changes()) as changes:
                async for secret in changes:
                    is_new = secret.version_id != self._seen
                    await self._see(secret, is_new=is_new)
                    # While the next version is waited for, nothing here holds this one.
                    del secret
        except PoolClosedError:
            return False
        except RuntimeError as error:
            logger.warning("Rotations aren't watched: %s", error)
            return False
        # The user's own manager may raise any error.
        except Exception as error:  # noqa: BLE001
            if type(error) not in self._logged:
                self._logged.add(type(error))
                message = "Rotations aren't watched at the moment (next attempt in %g s): %s"
                logger.warning(message, _WATCH_AGAIN, error)
        finally:
            self._first_read_done.set()
        return True

    async def _read_once(self) -> bool:
        """Compare the current version with the one seen last; return whether it is new."""
        try:
            secret = await self._manager.secret()
        except PoolClosedError:
            raise
        except CredentialsError:
            # The pool's listener learns of this error. `changes()` continues.
            return False
        finally:
            self._first_read_done.set()

        is_new = self._seen not in {None, secret.version_id}
        await self._see(secret, is_new=is_new)
        return is_new

    async def _see(self, secret: Secret, *, is_new: bool) -> None:
        """Remember a version, and act on it if it is new."""
        self._seen = secret.version_id
        if not is_new or not self._is_usable(secret):
            return
        try:
            await self._act(secret)
        except Exception:
            logger.exception("The action on a rotation of secret %r failed", secret.name)

    def _is_usable(self, secret: Secret) -> bool:
        """Return whether a version can be decoded: older connections are better than none."""
        try:
            self._manager.decoded(secret)
        except Exception as error:  # noqa: BLE001 (the user's own manager may raise any error)
            # The text of another error than ours may have the value in it.
            reason = error if isinstance(error, CredentialsError) else type(error).__name__
            logger.warning(
                "Secret %r: the new version %s can't be used, so open connections are kept: %s",
                secret.name,
                secret.version_id,
                reason,
            )
            return False
        return True
