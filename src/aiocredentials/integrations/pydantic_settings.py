"""`load_settings`: pydantic settings with fields from Secrets Manager, fetched asynchronously."""

from __future__ import annotations

import asyncio
import copy
import types
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, cast

from pydantic_settings import BaseSettings

from aiocredentials import AsyncCredentialsManager, CredentialsError, PoolClosedError
from aiocredentials.integrations._settings_build import build
from aiocredentials.integrations._settings_fields import AnyManager, targets_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiocredentials import CredentialsPool
    from aiocredentials.integrations._settings_fields import Target

__all__ = ["SecretSource", "load_settings"]

S = TypeVar("S", bound=BaseSettings)
SecretSource: TypeAlias = str | tuple[str, str] | AsyncCredentialsManager[Any]
"""The source of a field's value.

A secret's name or ARN stands for its text, a name and a key for a value of its JSON, and a manager
for the result of its `get()`.
"""

_NO_INIT: Mapping[str, Any] = types.MappingProxyType({})


async def load_settings(
    settings_class: type[S],
    pool: CredentialsPool,
    secrets: Mapping[str, SecretSource],
    *,
    environment: Literal["wins", "loses"] = "wins",
    init: Mapping[str, Any] = _NO_INIT,
) -> S:
    """Return settings, with the values of some fields from Secrets Manager.

    All secrets are fetched at once, several by batch calls of 20 secrets per region, also if the
    environment has values for their fields. Then the settings are built as `settings_class(**init)`
    builds them: by its own sources in its own order, and the secrets as one more source.

    Needs secretsmanager:GetSecretValue, and for several secrets secretsmanager:BatchGetSecretValue.
    Without the latter, they are fetched one by one.

    Example:
        ```python
        from pydantic import BaseModel
        from pydantic_settings import BaseSettings

        from aiocredentials import CredentialsPool
        from aiocredentials.integrations.pydantic_settings import load_settings


        class RedisSettings(BaseModel):
            password: str


        class Settings(BaseSettings):
            database: dict[str, str]
            redis: RedisSettings


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as pool:
                settings = await load_settings(
                    Settings,
                    pool,
                    {"database": "prod/database", "redis.password": ("prod/redis", "password")},
                )
        ```

    Args:
        settings_class: Your subclass of `BaseSettings`.
        pool: An open pool.
        secrets: The source of the value, by field. The key is the field's name or alias; for a
            field of a nested model, its path, such as "redis.password". A source is one of these:
            a secret's name or ARN, for its whole text, which is parsed as JSON if the field is a
            model, a mapping or a sequence; a name and a key of the secret's JSON, such as
            `("prod/redis", "password")`; or a manager, for the result of its `get()`.
        environment: With "wins", secrets have the lowest priority of all sources. With "loses",
            only the arguments in `init` have a higher one: secrets override environment variables,
            dotenv files and the secrets directory.
        init: The arguments for `settings_class`.

    Raises:
        ValueError: Before any fetch: there is no such field, or an argument is malformed.
        TypeError: Before any fetch: the source of a value has a wrong type.
        ExceptionGroup: Some secrets couldn't be fetched. It has a `CredentialsError` for each.
        PoolClosedError: The pool is closed.
        SecretFormatError: The settings can't be built. The message names each field, the problem
            and the secret. It holds no input, and pydantic's own error, which holds the input,
            isn't chained.
    """
    if environment not in {"wins", "loses"}:
        raise ValueError(f"environment is {environment!r}: give 'wins' or 'loses'.")

    targets = targets_of(settings_class, pool, secrets)
    fetch = _Fetch(pool)
    results = await fetch.run(targets)
    pairs = list(zip(targets, results, strict=True))
    built = build(
        settings_class,
        pairs,
        init,
        environment_wins=environment == "wins",
    )

    # The traceback of the error below includes this frame, so the values are dropped.
    del init, results, pairs
    if isinstance(built, CredentialsError):
        raise built
    return built


class _Fetch:
    """A fetch of several secrets.

    Its tasks store their results here and return nothing, because the repr of a task shows the
    result of the task.
    """

    def __init__(self, pool: CredentialsPool) -> None:
        self._pool = pool
        self._results: dict[AnyManager, Any] = {}
        self._failures: list[CredentialsError] = []

    async def run(self, targets: Sequence[Target]) -> list[Any]:
        """Return a result per target: a `Secret`, or the result of a manager that was given.

        Raises `PoolClosedError`, or an `ExceptionGroup` with the errors of all secrets.
        """
        own = _managers_of(targets, given=False)
        given = _managers_of(targets, given=True)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read_own(own))
                for manager in given:
                    read = self._read(manager, manager.get)
                    tasks.create_task(read)
            if not self._failures:
                return [self._results[target.manager] for target in targets]
        finally:
            # The traceback of an error that is raised here includes this object.
            self._results.clear()

        total = len(own) + len(given)
        raise self._combined_error(total)

    async def _read_own(self, managers: Sequence[AnyManager]) -> None:
        if len(managers) > 1:
            failures = await _prefetch(self._pool, managers)
            if failures:
                self._failures.extend(failures)
                return

        async with asyncio.TaskGroup() as tasks:
            for manager in managers:
                read = self._read(manager, manager.secret)
                tasks.create_task(read)

    async def _read(
        self,
        manager: AnyManager,
        read: Callable[[], Awaitable[Any]],
    ) -> None:
        try:
            self._results[manager] = await read()
        except CredentialsError as error:
            failure = copy.copy(error)
            self._failures.append(failure)

    def _combined_error(self, total: int) -> Exception:
        for failure in self._failures:
            if isinstance(failure, PoolClosedError):
                return failure

        failed = len(self._failures)
        message = f"{failed} of {total} secrets could not be fetched"
        return ExceptionGroup(message, self._failures)


def _managers_of(targets: Sequence[Target], *, given: bool) -> list[AnyManager]:
    """Return the managers that the caller gave, or the other ones: each of them once."""
    managers = [target.manager for target in targets if target.is_given is given]
    return list(dict.fromkeys(managers))


async def _prefetch(
    pool: CredentialsPool, managers: Sequence[AnyManager]
) -> Sequence[CredentialsError]:
    """Fetch secrets by batch calls, and return the errors."""
    names = [manager.secret_name for manager in managers]
    try:
        await pool.prefetch(*names)
    except CredentialsError as error:
        return [copy.copy(error)]
    except ExceptionGroup as group:
        return cast("Sequence[CredentialsError]", group.exceptions)
    except ValueError:
        # The pool has no cache, so it can't prefetch. Each secret is fetched by itself.
        return []
    return []
