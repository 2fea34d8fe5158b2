"""FastAPI and Starlette: a pool that lives as long as the app, secrets for `Depends`, and a readiness route.

Nothing here needs FastAPI itself: a Starlette endpoint writes `await database(request)` for `Depends(database)`.
"""

# No `from __future__ import annotations`: FastAPI can't resolve annotations that are strings on callable objects.

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, TypedDict, TypeVar, Unpack, cast, overload

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse

from aiocredentials import (
    AsyncCredentialsManager,
    CachePolicy,
    CredentialsError,
    CredentialsPool,
    CustomSession,
)
from aiocredentials.events import Listener

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

T = TypeVar("T")

logger = logging.getLogger("aiocredentials")

_NO_POOL = (
    "This request's state has no credentials pool: give the app lifespan=credentials_lifespan(...), and see that it "
    "runs. TestClient runs it in a block only: `with TestClient(app) as client:`. Starlette doesn't run the lifespan "
    "of a mounted app: give it to the app that is outermost."
)


class PoolSettings(TypedDict, total=False):
    """What `CredentialsPool` takes."""

    region_name: str | None
    session: "aioboto3.Session | AioSession | CustomSession | None"
    endpoint_url: str | None
    config: "AioConfig | None"
    timeout: float | timedelta
    policy: CachePolicy | None
    max_secrets: int
    prefetch: Iterable[str]
    listener: Listener | None
    redact_wire_logs: bool
    clock: Callable[[], float] | None


class CredentialsState(TypedDict):
    """What the lifespan puts in the state of each request."""

    credentials_pool: CredentialsPool
    """The pool: `request.state.credentials_pool`."""
    credentials_managers: "dict[SecretDependency[Any], AsyncCredentialsManager[Any]]"
    """A manager for each dependency that was asked for: all requests share it."""


def credentials_lifespan(
    *,
    lifespan: Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None = None,
    pool: CredentialsPool | None = None,
    **settings: Unpack[PoolSettings],
) -> Callable[[Any], AbstractAsyncContextManager[CredentialsState]]:
    """Return a lifespan for the app, or for an `APIRouter`: it opens a pool at startup and closes it at shutdown.

    `settings` are those of `CredentialsPool`; each start of the app makes a pool of its own. Instead of them, `pool` is
    a pool that you open and close yourself. `lifespan` is the app's own: it starts when the pool is open, ends before
    the pool is closed, and what it yields is in the state, too.

    Raises `TypeError` or `ValueError` at once for settings that can't work. At startup it raises what `lifespan`
    raises, an `ExceptionGroup` if `prefetch` fails, and `RuntimeError` if `lifespan` yields a name that is in
    `CredentialsState`; the pool is closed then. Needs secretsmanager:BatchGetSecretValue for `prefetch`.
    """
    if inspect.isasyncgenfunction(lifespan):
        raise TypeError("lifespan is an async generator function: put @asynccontextmanager on it.")
    if pool is None:
        names = settings.get("prefetch", ())
        if not isinstance(names, str):
            settings["prefetch"] = tuple(names)  # each start of the app reads it
        CredentialsPool(
            **settings
        )  # not used: settings that can't work are refused here, where they are written
    elif settings:
        raise ValueError(
            f"pool= has settings of its own: give {', '.join(settings)} to the pool instead."
        )

    @asynccontextmanager
    async def opened(app: object) -> AsyncGenerator[CredentialsState]:
        async with AsyncExitStack() as stack:
            mine = (
                await stack.enter_async_context(CredentialsPool(**settings))
                if pool is None
                else pool
            )
            state = CredentialsState(credentials_pool=mine, credentials_managers={})
            more = await stack.enter_async_context(lifespan(app)) if lifespan else None
            if clash := state.keys() & (more or {}).keys():
                message = f"The app's own lifespan yields {', '.join(sorted(clash))}, which is ours: take another name."
                raise RuntimeError(message)
            yield cast("CredentialsState", {**(more or {}), **state})

    return opened


@dataclass(frozen=True, slots=True)
class SecretDependency(Generic[T]):
    """One secret, as a dependency: `Depends` calls it, and `app.dependency_overrides` has it as key.

    Make it with `secret()`. Two that were made of equal arguments are equal, and one manager serves them. Raises
    `TypeError` or `ValueError` for an argument that can't work.
    """

    secret_name: str
    # The repr of a function may show what it was made of, such as the arguments of a `functools.partial`.
    decode: Callable[[str], T] | Callable[[bytes], T] | None = field(default=None, repr=False)
    _: KW_ONLY
    binary: bool = False
    region_name: str | None = None
    version_stage: str = "AWSCURRENT"

    def __post_init__(self) -> None:
        """Refuse what can't work here, where it is written, and not when the first request comes."""
        AsyncCredentialsManager(
            self.secret_name,
            self.region_name,
            # One of the overloads takes these two: which one, the caller of `secret()` knows.
            decode=cast("Callable[[str], T]", self.decode),
            binary=cast("Literal[False]", self.binary),
            version_stage=self.version_stage,
        )
        try:
            hash(self)
        except TypeError:
            pass
        else:
            return
        raise TypeError(
            "decode can't be hashed, and each request looks its manager up by it: give a function, or give the "
            "object's class a __hash__, as dataclass(frozen=True) does."
        )

    async def __call__(self, connection: HTTPConnection) -> T:
        """Return what `decode` makes of the secret; without `decode`, the parsed JSON. From memory, or by a fetch.

        Takes a request or a websocket. Raises a `CredentialsError`, and `RuntimeError` if no `credentials_lifespan`
        runs. Needs secretsmanager:GetSecretValue.
        """
        return await (await self.manager(connection)).get()

    async def manager(self, connection: HTTPConnection) -> AsyncCredentialsManager[T]:
        """Return the manager of the secret, the same one for all requests. `Depends` can call this as well.

        Raises `RuntimeError` if no `credentials_lifespan` runs. Makes no call.
        """
        state: CredentialsState = connection.scope.get("state", {})
        if "credentials_managers" not in state:
            raise RuntimeError(_NO_POOL)
        managers = state["credentials_managers"]
        manager = managers.get(self)
        if manager is None:
            manager = managers[self] = state["credentials_pool"].manager(
                self.secret_name,
                self.region_name,
                decode=cast("Callable[[str], T]", self.decode),  # as above
                binary=cast("Literal[False]", self.binary),
                version_stage=self.version_stage,
            )
        return manager


@overload
def secret(
    secret_name: str,
    decode: None = None,
    *,
    binary: Literal[False] = False,
    region_name: str | None = None,
    version_stage: str = ...,
) -> SecretDependency[Any]: ...
@overload
def secret(
    secret_name: str,
    decode: Callable[[str], T],
    *,
    binary: Literal[False] = False,
    region_name: str | None = None,
    version_stage: str = ...,
) -> SecretDependency[T]: ...
@overload
def secret(
    secret_name: str,
    decode: Callable[[bytes], T],
    *,
    binary: Literal[True],
    region_name: str | None = None,
    version_stage: str = ...,
) -> SecretDependency[T]: ...
def secret(
    secret_name: str,
    decode: Callable[[str], Any] | Callable[[bytes], Any] | None = None,
    *,
    binary: bool = False,
    region_name: str | None = None,
    version_stage: str = "AWSCURRENT",
) -> SecretDependency[Any]:
    """Return a dependency on one secret, by name or ARN: `Depends(secret("prod/database", decode))`.

    `decode` takes the secret's text; with `binary=True`, its bytes. Give the dependency a name, as in
    `database = secret(...)`, and tests replace it by `app.dependency_overrides[database]`. Raises `TypeError` or
    `ValueError` for an argument that can't work.
    """
    return SecretDependency(
        secret_name, decode, binary=binary, region_name=region_name, version_stage=version_stage
    )


def readiness(
    **secrets: str | SecretDependency[Any],
) -> Callable[[Request], Coroutine[Any, Any, JSONResponse]]:
    """Return a route function: 200 while the app can use a value of each secret, 503 when one is missing.

    `app.add_api_route("/ready", readiness(database=database))`, where `database = secret(...)`. It reads as the app
    reads: from memory, and by a fetch what isn't there, of which one is under way at a time. A dependency is also
    decoded, once per version, and a value that `decode` refuses is missing. A name, as in `cache="prod/redis"`, only
    has to be there. A permanent failure is remembered for the policy's `negative_ttl`. With `policy=None`, each probe
    is a fetch.

    The answer says fresh, stale or missing, and the age in seconds, under the keyword that you give. It shows no name,
    version or reason. The log has these, at level WARNING, once per reason.

    Raises `TypeError` if no secret is given, or one that can't work. The function raises `RuntimeError` if no
    `credentials_lifespan` runs. Needs secretsmanager:GetSecretValue.
    """
    if not secrets:
        raise TypeError(
            'readiness() looks at no secret: name each, as in readiness(database="prod/database").'
        )
    dependencies = {
        label: secret(one) if isinstance(one, str) else one for label, one in secrets.items()
    }
    decoded = {label for label, one in secrets.items() if not isinstance(one, str)}
    usable: dict[str, tuple[str, str]] = {}
    failures: dict[str, type[CredentialsError]] = {}

    async def look(
        label: str, manager: AsyncCredentialsManager[Any]
    ) -> dict[str, str | float | None]:
        try:
            found = await manager.secret()
            version = (found.arn, found.version_id)
            if label in decoded and usable.get(label) != version:
                manager.decoded(found)
                usable[label] = version
        except CredentialsError as error:
            # A probe comes every few seconds: log each reason once.
            if failures.get(label) is not type(error):
                failures[label] = type(error)
                logger.warning(
                    "Not ready: no usable value for %s. %s: %s", label, type(error).__name__, error
                )
            return {"state": "missing", "age": None}
        failures.pop(label, None)
        return {"state": "stale" if found.is_stale else "fresh", "age": round(found.age, 3)}

    async def ready(request: Request) -> JSONResponse:
        """Report of each secret whether the app can use a value: 503 if one is missing."""
        managers = {
            label: await dependency.manager(request) for label, dependency in dependencies.items()
        }
        found = await asyncio.gather(*(look(label, manager) for label, manager in managers.items()))
        is_ready = all(one["state"] != "missing" for one in found)
        content = {"ready": is_ready, "secrets": dict(zip(managers, found, strict=True))}
        return JSONResponse(content, 200 if is_ready else 503, {"Cache-Control": "no-store"})

    return ready
