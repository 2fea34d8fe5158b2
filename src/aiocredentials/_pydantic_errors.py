"""The problems that pydantic finds in an input, without the input.

This file imports no pydantic.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, cast

OUR_TYPE = "aiocredentials_format"
"""The type of the errors that our own pydantic fields raise. Only their messages hold no input."""

# An input may be a list of ten thousand wrong items: the message shall not list them all.
_MOST_LISTED = 10


class Problem(NamedTuple):
    """One problem with an input."""

    loc: tuple[int | str, ...]
    """The path to the problem. A step may be a key of the input: see `place_of`."""
    what: str
    """Pydantic's name for the problem, such as `missing`."""


def problems_of(error: BaseException) -> list[Problem]:
    """Return the problems in a `ValidationError` of pydantic 2; none for any other error.

    Pydantic's messages, contexts and inputs are left out, because each may hold the value.
    """
    if not _is_validation_error(error):
        return []

    validation_error: Any = error
    found = validation_error.errors(
        include_url=False,
        include_context=False,
        include_input=False,
    )
    return [_problem_of(details) for details in found]


def _is_validation_error(error: BaseException) -> bool:
    kind = type(error)
    package, _, _ = kind.__module__.partition(".")
    return kind.__name__ == "ValidationError" and package == "pydantic_core"


def _problem_of(details: Mapping[str, Any]) -> Problem:
    what = details["type"]
    if what == OUR_TYPE:
        what = details["msg"].rstrip(".")

    return Problem(
        loc=details["loc"],
        what=what,
    )


def words_of(schema: object) -> Iterator[str]:
    """Yield each string in a pydantic core schema, and so the names and aliases of all fields.

    A programmer wrote the schema, so no string in it is a part of an input.
    """
    if isinstance(schema, str):
        yield schema
    elif isinstance(schema, Mapping):
        mapping = cast("Mapping[object, object]", schema)
        for key, value in mapping.items():
            yield from words_of(key)
            yield from words_of(value)
    elif isinstance(schema, (list, tuple)):
        items = cast("Iterable[object]", schema)
        for item in items:
            yield from words_of(item)


def place_of(
    loc: Iterable[int | str],
    words: Container[object],
) -> str:
    """Return the path to a problem as text.

    A step that is neither an index nor one of `words` may be a key of the input: `*` replaces it.
    """
    steps: list[str] = []
    for step in loc:
        is_index = isinstance(step, int)
        if is_index or step in words:
            steps.append(str(step))
        else:
            steps.append("*")
    return ".".join(steps)


def listed(parts: Iterable[str]) -> str:
    """Join the descriptions of several problems: each of them once, and at most ten."""
    different = list(dict.fromkeys(parts))
    first_ones = different[:_MOST_LISTED]
    text = "; ".join(first_ones)

    more = len(different) - len(first_ones)
    if more > 0:
        return f"{text}; and {more} more"
    return text
