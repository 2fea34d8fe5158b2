"""What pydantic finds wrong with an input, without the input. Nothing here imports pydantic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

# The type of the errors that our own pydantic fields raise. Only their messages hold no input.
OUR_TYPE = "aiocredentials_format"

# A list of ten thousand wrong items shall not make a message of as many lines.
_MOST = 10


class Problem(NamedTuple):
    """One thing that is wrong with an input."""

    loc: tuple[int | str, ...]
    """Where it is. A key of the input may be in here: see `place_of`."""
    what: str
    """Pydantic's word for it."""


def problems_of(error: BaseException) -> list[Problem]:
    """Return what a `ValidationError` of pydantic 2 found; nothing for any other error.

    Pydantic's messages, contexts and inputs are left out, because each may hold the value.
    """
    kind = type(error)
    if kind.__name__ != "ValidationError" or kind.__module__.partition(".")[0] != "pydantic_core":
        return []

    validation_error: Any = error
    found = validation_error.errors(include_url=False, include_context=False, include_input=False)
    return [Problem(each["loc"], _word_for(each)) for each in found]


def _word_for(details: Mapping[str, str]) -> str:
    is_ours = details["type"] == OUR_TYPE
    return details["msg"].rstrip(".") if is_ours else details["type"]


def words_of(schema: object) -> Iterator[str]:
    """Yield each string in a pydantic core schema: among them the names and aliases of all fields.

    What is in a schema was written by a programmer, so none of it is a part of an input.
    """
    if isinstance(schema, str):
        yield schema
    elif isinstance(schema, Mapping):
        for key, value in cast("Mapping[object, object]", schema).items():
            yield from words_of(key)
            yield from words_of(value)
    elif isinstance(schema, (list, tuple)):
        for each in cast("Iterable[object]", schema):
            yield from words_of(each)


def place_of(loc: Iterable[int | str], words: Iterable[str]) -> str:
    """Write where a problem is. A step that is no index and none of `words` becomes `*`.

    Such a step may be a key of the input.
    """
    return ".".join(str(step) if isinstance(step, int) or step in words else "*" for step in loc)


def listed(parts: Iterable[str]) -> str:
    """Join the descriptions of several problems: each of them once, and not more than ten."""
    different = list(dict.fromkeys(parts))
    more = len(different) - _MOST
    return "; ".join(different[:_MOST]) + (f"; and {more} more" if more > 0 else "")
