"""FastAPI and Starlette: a pool for the life of an app, secrets for `Depends`, a readiness route.

Nothing here needs FastAPI itself. A Starlette endpoint writes `await database(request)` instead of
`Depends(database)`.
"""

# There is no `from __future__ import annotations`, because FastAPI can't resolve the annotations of
# a callable object if they are strings.

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, Unpack, cast

from starlette.requests import Request
from starlette.responses import JSONResponse

from aiocredentials import (
    AsyncCredentialsManager,
    CachePolicy,
    CredentialsError,
    CredentialsPool,
    CustomSession,
    Secret,
)
from aiocredentials.events import Listener
from aiocredentials.integrations._fastapi_secret import CredentialsState, SecretDependency, secret

if TYPE_CHECKING:
    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

__all__ = [
    "CredentialsState",
    "PoolSettings",
    "SecretDependency",
    "credentials_lifespan",
    "readiness",
    "secret",
]

AppState: TypeAlias = Mapping[str, Any]
_Watch: TypeAlias = Callable[[CredentialsPool], AbstractAsyncContextManager[None]]
Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[AppState | None]]

logger = logging.getLogger("aiocredentials")


class PoolSettings(TypedDict, total=False):
    """The arguments of `CredentialsPool`."""

    region_name: str | None
    replica_regions: list[str] | tuple[str, ...]
    session: "aioboto3.Session | AioSession | CustomSession | None"
    endpoint_url: str | None
    config: "AioConfig | None"
    timeout: float | timedelta
    policy: CachePolicy | None
    max_secrets: int
    prefetch: Iterable[str]
    listener: Listener | None
    redact_wire_logs: bool
    role_arn: str | None
    external_id: str | None
    role_session_name: str | None
    clock: Callable[[], float] | None


def credentials_lifespan(
    *,
    lifespan: Lifespan | None = None,
    pool: CredentialsPool | None = None,
    rotation_queue: str | None = None,
    rotation_spread: float | timedelta = 2.0,
    **settings: Unpack[PoolSettings],
) -> Callable[[Any], AbstractAsyncContextManager[CredentialsState]]:
    """Return a lifespan for an app or an `APIRouter`, with a credentials pool for all requests.

    It opens the pool at the startup of the app and closes it at the shutdown. Each start of the app
    makes a new pool. `prefetch` needs secretsmanager:GetSecretValue, and for fewer calls
    secretsmanager:BatchGetSecretValue.

    Example:
        ```python
        from fastapi import FastAPI

        from aiocredentials.integrations.fastapi import credentials_lifespan

        app = FastAPI(lifespan=credentials_lifespan(prefetch=["prod/database"]))
        ```

    Args:
        lifespan: The app's own lifespan. It starts after the pool has been opened and ends before
            the pool is closed. The names that it yields are added to the state.
        pool: A pool that you open and close yourself, instead of `settings`.
        rotation_queue: The URL of an SQS queue with events of rotations, which is read as long as
            the app runs: see `aiocredentials.eventbridge`. Each process needs its own. It needs
            sqs:ReceiveMessage and sqs:DeleteMessage.
        rotation_spread: The longest random delay before a fetch that an event causes, in seconds or
            as a `timedelta`, from 0 to 300. Without `rotation_queue`, it isn't used.
        settings: The arguments of `CredentialsPool`.

    Raises:
        TypeError: A setting has a wrong type, or `lifespan` is an async generator function without
            `@asynccontextmanager`.
        ValueError: A setting is malformed or out of range; there are both a pool and settings;
            `rotation_queue` isn't the URL of a queue; or `rotation_spread` is longer than 300
            seconds.
        ExceptionGroup: At the startup, `prefetch` failed. The pool is closed after each error.
        RuntimeError: At the startup, the app's own lifespan yields a name of `CredentialsState`.
        Exception: At the startup, the app's own lifespan raises it.
    """
    if inspect.isasyncgenfunction(lifespan):
        raise TypeError("lifespan is an async generator function: put @asynccontextmanager on it.")
    if pool is None:
        settings = _checked(settings)
    elif settings:
        names = ", ".join(settings)
        raise ValueError(f"pool= has its own settings: give {names} to the pool instead.")
    watch: _Watch | None = None
    if rotation_queue is not None:
        watch = _queue_watcher(rotation_queue, rotation_spread)

    @asynccontextmanager
    async def opened(app: object) -> AsyncGenerator[CredentialsState]:
        async with AsyncExitStack() as stack:
            open_pool = pool
            if open_pool is None:
                new_pool = CredentialsPool(**settings)
                open_pool = await stack.enter_async_context(new_pool)
            if watch is not None:
                await stack.enter_async_context(watch(open_pool))
            state = CredentialsState(credentials_pool=open_pool, credentials_managers={})

            app_state: AppState | None = None
            if lifespan:
                app_state = await stack.enter_async_context(lifespan(app))
            yield _merged(app_state or {}, state)

    return opened


def _queue_watcher(queue_url: str, spread: float | timedelta) -> _Watch:
    """Return a function that makes the block in which the queue is read.

    Raises `TypeError` or `ValueError` now if an argument can't work.
    """
    # Few apps need this module. It is imported here, and not in the event loop.
    from aiocredentials.eventbridge import rotation_queue_watched  # noqa: PLC0415

    # It checks the arguments. This pool is never opened, and the block isn't entered.
    rotation_queue_watched(CredentialsPool(), queue_url, spread=spread)

    def watch(pool: CredentialsPool) -> AbstractAsyncContextManager[None]:
        return rotation_queue_watched(pool, queue_url, spread=spread)

    return watch


def _checked(settings: PoolSettings) -> PoolSettings:
    """Return the settings for each start of the app. Reject now those that can't work."""
    checked = settings.copy()
    names = checked.get("prefetch", ())
    if not isinstance(names, str):
        # Each start of the app reads them, and an iterator could be read only once.
        checked["prefetch"] = tuple(names)

    # The constructor checks the settings. This pool is never opened.
    CredentialsPool(**checked)
    return checked


def _merged(app_state: AppState, state: CredentialsState) -> CredentialsState:
    clash = state.keys() & app_state.keys()
    if clash:
        names = ", ".join(sorted(clash))
        raise RuntimeError(
            f"The app's own lifespan yields {names}, which credentials_lifespan uses: "
            "choose another name."
        )
    return cast("CredentialsState", {**app_state, **state})


def readiness(
    **secrets: str | SecretDependency[Any],
) -> Callable[[Request], Coroutine[Any, Any, JSONResponse]]:
    """Return a route function: 200 while the app can use a value of each secret, otherwise 503.

    The route reads as the app reads: from the cache, or by a fetch if there is no value. All
    requests share one fetch. A permanent error is remembered for the policy's `negative_ttl`. With
    `policy=None`, each request fetches.

    The answer has the state (fresh, stale or missing) and the age in seconds of each secret, under
    its keyword. It shows no name, version or reason. These are logged as a warning, once per
    reason. The route raises `RuntimeError` if the app runs without `credentials_lifespan`. Needs
    secretsmanager:GetSecretValue.

    Example:
        ```python
        from fastapi import FastAPI

        from aiocredentials import DatabaseCredentials
        from aiocredentials.integrations.fastapi import credentials_lifespan, readiness, secret

        database = secret("prod/database", DatabaseCredentials.from_json)
        app = FastAPI(lifespan=credentials_lifespan(region_name="eu-west-1"))
        app.add_api_route("/ready", readiness(database=database, cache="prod/redis"))
        ```

    Args:
        secrets: The secrets, by the keyword that the answer shows. A dependency is decoded as well,
            once per version: a value that its `decode` rejects is missing. For a name or ARN, any
            value is accepted.

    Raises:
        TypeError: There is no secret, or an argument has a wrong type.
        ValueError: An argument is empty or malformed.
    """
    if not secrets:
        raise TypeError(
            "readiness() has no secret to check: name each, as in "
            'readiness(database="prod/database").'
        )
    checks = [_ReadinessCheck(keyword, source) for keyword, source in secrets.items()]

    async def ready(request: Request) -> JSONResponse:
        """Report for each secret whether the app can use a value: 503 if one is missing."""
        managers = [await check.dependency.manager(request) for check in checks]
        pairs = zip(checks, managers, strict=True)
        states = await asyncio.gather(*(check.read(manager) for check, manager in pairs))

        by_keyword = dict(zip(secrets, states, strict=True))
        is_ready = all(state["state"] != "missing" for state in states)
        content = {"ready": is_ready, "secrets": by_keyword}
        status = 200 if is_ready else 503
        return JSONResponse(content, status, {"Cache-Control": "no-store"})

    return ready


class _ReadinessCheck:
    """The check of one secret for a readiness route."""

    def __init__(self, keyword: str, source: str | SecretDependency[Any]) -> None:
        self._keyword = keyword
        self._needs_decode = not isinstance(source, str)
        self._accepted: tuple[str, str] | None = None
        """ARN and id of the version that `decode` has accepted."""
        self._logged: set[type[CredentialsError]] = set()
        """The classes of the errors since the last success."""
        self.dependency = secret(source) if isinstance(source, str) else source

    async def read(self, manager: AsyncCredentialsManager[Any]) -> dict[str, str | float | None]:
        """Return the state of the secret and its age in seconds, as the answer shows them."""
        try:
            found = await manager.secret()
            self._check_decode(manager, found)
        except CredentialsError as error:
            self._warn_once(error)
            return {"state": "missing", "age": None}

        self._logged.clear()
        state = "stale" if found.is_stale else "fresh"
        return {"state": state, "age": round(found.age, 3)}

    def _check_decode(self, manager: AsyncCredentialsManager[Any], found: Secret) -> None:
        version = (found.arn, found.version_id)
        if self._needs_decode and self._accepted != version:
            manager.decoded(found)
            self._accepted = version

    def _warn_once(self, error: CredentialsError) -> None:
        # A request comes every few seconds, so each reason is logged once.
        kind = type(error)
        if kind not in self._logged:
            self._logged.add(kind)
            logger.warning(
                "Not ready: no usable value for %s. %s: %s", self._keyword, kind.__name__, error
            )
