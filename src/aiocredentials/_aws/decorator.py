"""`map_client_errors`: a decorator for functions that call botocore themselves."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from aiocredentials._aws.mapping import map_error
from aiocredentials.errors import (
    CredentialsError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRequestError,
    SecretDecryptionError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Coroutine, Iterable

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:
    AsyncFunction = Callable[P, Coroutine[Any, Any, R]]

_LOGGED_AS_ERRORS = (
    SecretDecryptionError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRequestError,
)


def map_client_errors(
    logger: logging.Logger,
) -> Callable[[AsyncFunction[P, R]], AsyncFunction[P, R]]:
    """Decorate an async function that calls botocore: raise our errors, and log some of them.

    Decryption failures, internal errors, invalid parameters and invalid requests are logged with
    `logger.exception`, a secret that doesn't exist with `logger.info`. Every error is raised, also
    one with an unknown code (`AWSError`). Errors of other libraries are raised unchanged. The error
    names the secret and the region if the function has arguments `secret_name` (or `SecretId`) and
    `region_name`, or is a method of an object with such attributes.

    Example:
        ```python
        import logging

        import aioboto3

        from aiocredentials import map_client_errors

        @map_client_errors(logging.getLogger(__name__))
        async def describe(secret_name: str) -> dict:
            async with aioboto3.Session().client("secretsmanager") as client:
                return await client.describe_secret(SecretId=secret_name)
        ```

    Args:
        logger: The logger for these lines.

    Raises:
        TypeError: The decorated function isn't async.
    """

    def decorate(function: AsyncFunction[P, R]) -> AsyncFunction[P, R]:
        if not inspect.iscoroutinefunction(function):
            # The repr of a functools.partial shows its arguments, so the message shows the name.
            name = getattr(function, "__qualname__", type(function).__qualname__)
            raise TypeError(
                f"map_client_errors decorates only async functions: {name!r} isn't one."
            )
        signature = inspect.signature(function)

        @functools.wraps(function)
        async def mapping(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return await function(*args, **kwargs)
            except CredentialsError as error:
                _log(logger, error)
                raise
            except (ClientError, BotoCoreError) as error:
                mapped = map_error(error, **_facts_of_call(signature, args, kwargs))
            # Outside of the `except`, so botocore's error isn't the context of our error.
            _log(logger, mapped)
            raise mapped

        return mapping

    return decorate


def _log(logger: logging.Logger, error: CredentialsError) -> None:
    if isinstance(error, _LOGGED_AS_ERRORS):
        # One of the two callers has left its `except`, so the error is passed on.
        logger.exception("%s", error, exc_info=error)  # noqa: LOG004 (passed by argument)
    elif isinstance(error, SecretNotFoundError):
        logger.info("%s", error)


def _facts_of_call(
    signature: inspect.Signature,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dict[str, str | None]:
    """Return the secret and the region that a call's arguments, or its object, name."""
    # Only for Python 3.11 and 3.12: signature.bind rejects a keyword there that has the name of a
    # positional-only parameter with a default. From 3.13 on, signature.bind_partial does this.
    named: dict[str, Any] = dict(zip(signature.parameters, args, strict=False))
    named.update(kwargs)
    holder = next(iter(args), None)

    secrets = [
        named.get("secret_name"),
        named.get("SecretId"),
        getattr(holder, "secret_name", None),
    ]
    regions = [
        named.get("region_name"),
        getattr(holder, "region_name", None),
    ]
    return {
        "secret_name": _first_text(secrets),
        "region_name": _first_text(regions),
    }


def _first_text(candidates: Iterable[object]) -> str | None:
    for candidate in candidates:
        if isinstance(candidate, str):
            return candidate
    return None
