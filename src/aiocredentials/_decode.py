"""`decode`: how one is checked, named and called. What it is made of is never shown."""

from __future__ import annotations

import asyncio
import copy
import inspect
from collections.abc import AsyncGenerator, Coroutine
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from aiocredentials._pydantic_errors import listed, place_of, problems_of, words_of
from aiocredentials.errors import SecretFormatError, for_caller, make_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from aiocredentials._secret import Secret
    from aiocredentials.errors import CredentialsError

    Decode: TypeAlias = Callable[[str], "T"] | Callable[[bytes], "T"]

T = TypeVar("T")


class Decoder(Generic[T]):
    """A caller's `decode`, as a manager keeps it.

    Its repr has a name only. That of the function itself may show a value: the repr of a
    `functools.partial` shows its arguments, such as a key that came from another secret.
    """

    __slots__ = ("_decode", "_is_binary")

    def __init__(self, decode: Decode[T], *, is_binary: bool) -> None:
        """Raise `TypeError` for what isn't a function, or is an async one."""
        if not _is_plain(decode):
            raise TypeError(
                "decode isn't a plain function: give one that makes an object of the secret's "
                f"{'bytes' if is_binary else 'text'}, without await."
            )
        self._decode = cast("Callable[[str | bytes], T]", decode)
        self._is_binary = is_binary

    def __call__(self, secret: Secret) -> T:
        """Return what `decode` makes of a version. Raises `SecretFormatError` if it fails."""
        try:
            made = self._decode(secret.reveal_bytes() if self._is_binary else secret.reveal())
        except SecretFormatError as error:
            failure = _in_full(error)
        except Exception as error:  # noqa: BLE001 (a decoder may raise anything)
            failure = self._failure(f"refused the secret: {self._told(error)}")
        else:
            if not _is_unfinished(made):
                return made
            failure = self._failure("returned something to await: give a function without await")
            # The repr of a future shows its result.
            del made
        # Raised here, so that neither the decoder's error nor its frames hang on this one.
        raise for_caller(failure, secret_name=secret.name, region_name=secret.region)

    def _failure(self, what: str) -> CredentialsError:
        return make_error(SecretFormatError, f"decode={name_of(self._decode)!r} {what}.")

    def _told(self, error: Exception) -> str:
        """Say what a decoder raised: by the type alone, or by pydantic's words."""
        kind = type(error).__name__
        problems = problems_of(error)
        if not problems:
            return kind

        words = set(words_of(_schema_of(self._decode)))
        parts: list[str] = []
        for loc, what in problems:
            place = place_of(loc, words)
            parts.append(f"{place}: {what}" if place else what)
        model = getattr(error, "title", "")
        return f"{kind} of {model!r}: {listed(parts)}"

    def __repr__(self) -> str:
        return f"<decode {name_of(self._decode)!r}>"


def decoder_of(decode: Decode[T] | None, *, binary: bool) -> Decoder[T] | None:
    """Return what runs `decode`; None for None. Raises `TypeError` or `ValueError`."""
    if type(binary) is not bool:
        raise TypeError(f"binary is a {type(binary).__name__}: give True or False.")
    if decode is not None:
        return Decoder(decode, is_binary=binary)
    if binary:
        raise ValueError("binary=True says what decode takes: give one, such as decode=bytes.")
    return None


def _in_full(error: SecretFormatError) -> CredentialsError:
    """Return a copy whose message can name the secret, also where a caller wrote the message."""
    named = copy.copy(error)
    facts = vars(named)
    facts["_what"] = facts.get("_what") or str(error)
    return named


def _innermost(function: object) -> object:
    while isinstance(function, partial):
        function = cast("partial[object]", function).func
    return function


def _schema_of(decode: object) -> object:
    """Return the core schema behind a method of pydantic's; None if there is none."""
    owner = getattr(_innermost(decode), "__self__", None)
    of_a_model = getattr(owner, "__pydantic_core_schema__", None)
    return of_a_model or getattr(owner, "core_schema", None)


def name_of(function: object) -> str:
    """Name a callable by its qualified name, or by its type's: never by its repr."""
    function = _innermost(function)
    if isinstance(function, MethodType):
        owner = function.__self__
        kind = owner if isinstance(owner, type) else type(owner)
        return f"{kind.__qualname__}.{name_of(function.__func__).rpartition('.')[2]}"
    name = getattr(function, "__qualname__", None)
    return name if isinstance(name, str) else type(function).__qualname__


def _is_plain(decode: object) -> bool:
    return callable(decode) and not is_async(decode)


def is_async(function: object) -> bool:
    """Whether calling this returns something to await, as far as that can be known before."""
    function = _innermost(function)
    call = getattr(type(function), "__call__", None)  # noqa: B004 (an async one is callable, too)
    checks = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
    return any(check(each) for check in checks for each in (function, call))


def _is_unfinished(made: object) -> bool:
    """Whether a decoder returned a result that is still to come, and end it then.

    A client such as redis-py's can be awaited as well, and is a result all the same.
    """
    if isinstance(made, Coroutine):
        # Else Python warns that nobody awaited it.
        cast("Coroutine[object, object, object]", made).close()
        return True
    if asyncio.isfuture(made):
        made.cancel()
        return True
    return isinstance(made, AsyncGenerator)
