"""A caller's `decode`: how it is checked, named and called. Its repr is never shown."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import AsyncGenerator, Coroutine
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar, cast

from aiocredentials._pydantic_errors import listed, place_of, problems_of, words_of
from aiocredentials.errors import SecretFormatError, for_caller, make_error, set_what, what_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from aiocredentials._secret import Secret
    from aiocredentials.errors import CredentialsError

    Decode: TypeAlias = Callable[[str], "T"] | Callable[[bytes], "T"]

T = TypeVar("T")

_GIVE_ONE = "binary=True needs decode, which then gets bytes: give one, such as decode=bytes."


class Decoder(Generic[T]):
    """A caller's `decode`, as a manager keeps it.

    Its repr shows only the name of the function. The repr of the function itself may show a value:
    that of a `functools.partial` shows its arguments, such as a key that came from another secret.
    """

    __slots__ = ("_decode", "_is_binary")

    def __init__(
        self,
        decode: Decode[T],
        *,
        is_binary: bool,
    ) -> None:
        """Raise `TypeError` if `decode` isn't a function, or is an async function."""
        if not _is_plain_function(decode):
            argument = "bytes" if is_binary else "text"
            raise TypeError(
                "decode isn't a plain function: give one that isn't async, and that makes an "
                f"object of the secret's {argument}."
            )
        self._decode = cast("Callable[[str | bytes], T]", decode)
        self._is_binary = is_binary

    def __call__(self, secret: Secret) -> T:
        """Return the result of `decode` for one version of a secret.

        Raises:
            SecretFormatError: `decode` raised an error, or returned an awaitable.
        """
        try:
            made = self._result_for(secret)
        except SecretFormatError as error:
            failure = _nameable(error)
        except Exception as error:  # noqa: BLE001 (a decoder may raise anything)
            reason = self._reason_for_message(error)
            failure = self._failure(f"refused the secret: {reason}")
        else:
            if not _is_awaitable_result(made):
                return made
            failure = self._failure("returned an awaitable: give a function that isn't async")
            # The repr of a future shows its result.
            del made

        # Our error is raised after the block, so it isn't chained to the decoder's error, and the
        # decoder's frames aren't in its traceback.
        raise for_caller(
            failure,
            secret_name=secret.name,
            region_name=secret.region,
        )

    def _result_for(self, secret: Secret) -> T:
        # No variable holds the value, because a traceback may be printed with its variables.
        if self._is_binary:
            return self._decode(secret.reveal_bytes())
        return self._decode(secret.reveal())

    def _failure(self, what: str) -> CredentialsError:
        name = name_of(self._decode)
        sentence = f"decode={name!r} {what}."
        return make_error(SecretFormatError, sentence)

    def _reason_for_message(self, error: Exception) -> str:
        """Describe a decoder's error by its type, and pydantic's by its problems as well."""
        kind = type(error).__name__
        problems = problems_of(error)
        if not problems:
            return kind

        schema = _schema_of(self._decode)
        words = set(words_of(schema))
        parts: list[str] = []
        for problem in problems:
            place = place_of(problem.loc, words)
            if place:
                parts.append(f"{place}: {problem.what}")
            else:
                parts.append(problem.what)

        model = getattr(error, "title", "")
        reasons = listed(parts)
        return f"{kind} of {model!r}: {reasons}"

    def __repr__(self) -> str:
        name = name_of(self._decode)
        return f"<decode {name!r}>"


class Decoded(Generic[T]):
    """The object that `decode` returned for one version.

    The value may be a plain dict, so it needs a wrapper: `vars()` of a manager must not show it.
    """

    __slots__ = ("value", "version")

    def __init__(self, version: tuple[str, str], value: T) -> None:
        self.version = version
        self.value = value

    def __repr__(self) -> str:
        return f"<Decoded {self.version[1]!r}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("The result of decode can't be pickled, because it may hold a secret.")

    def __getstate__(self) -> NoReturn:
        """Refuse, because some serializers call this alone."""
        raise TypeError("The result of decode can't be pickled, because it may hold a secret.")


def decoder_of(
    decode: Decode[T] | None,
    *,
    binary: bool,
) -> Decoder[T] | None:
    """Return the decoder for the arguments of a manager; None if there is no `decode`.

    Raises `TypeError` or `ValueError` for arguments that can't work.
    """
    if type(binary) is not bool:
        kind = type(binary).__name__
        raise TypeError(f"binary is a {kind}: give True or False.")
    if decode is not None:
        return Decoder(decode, is_binary=binary)
    if binary:
        raise ValueError(_GIVE_ONE)
    return None


def _nameable(error: SecretFormatError) -> CredentialsError:
    """Return a copy whose message can name the secret, also if a caller wrote the message."""
    named = copy.copy(error)
    set_what(named, what_of(error) or str(error))
    return named


def _innermost(function: object) -> object:
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    return function


def _schema_of(decode: object) -> object:
    """Return the core schema behind a method of pydantic's; None if there is none."""
    function = _innermost(decode)
    owner = getattr(function, "__self__", None)
    schema_of_model = getattr(owner, "__pydantic_core_schema__", None)
    return schema_of_model or getattr(owner, "core_schema", None)


def name_of(function: object) -> str:
    """Return the qualified name of a callable, or that of its type; never its repr."""
    function = _innermost(function)
    if isinstance(function, MethodType):
        return _name_of_method(function)

    name = getattr(function, "__qualname__", None)
    if isinstance(name, str):
        return name
    return type(function).__qualname__


def _name_of_method(method: MethodType) -> str:
    kind = method.__self__
    if not isinstance(kind, type):
        kind = type(kind)
    full_name = name_of(method.__func__)
    _, _, name = full_name.rpartition(".")
    return f"{kind.__qualname__}.{name}"


def _is_plain_function(decode: object) -> bool:
    return callable(decode) and not is_async(decode)


def is_async(function: object) -> bool:
    """Return whether a call of this function returns an awaitable, as far as its type shows."""
    function = _innermost(function)
    # The __call__ of an object may be an async function.
    call = getattr(type(function), "__call__", None)  # noqa: B004 (it doesn't ask "callable?")
    return _is_async_function(function) or _is_async_function(call)


def _is_async_function(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _is_awaitable_result(made: object) -> bool:
    """Return whether a decoder returned an awaitable, and close or cancel it in that case.

    Some clients, such as redis-py's, can be awaited, but are a proper result.
    """
    if isinstance(made, Coroutine):
        # Without this, Python warns that the coroutine was never awaited.
        cast("Coroutine[object, object, object]", made).close()
        return True
    if asyncio.isfuture(made):
        made.cancel()
        return True
    return isinstance(made, AsyncGenerator)
