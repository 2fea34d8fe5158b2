"""JSON that is parsed once and returned as copies, so no caller's change reaches another caller.

Texts are immutable, so a copy shares them: copying a flat object takes a small part of the time
that parsing takes. Where copying isn't clearly faster, or the parsed value would take much memory,
`parse` returns no function for copies, and the text is parsed each time.
"""

# ruff: noqa: ANN401 (JSON has no better type)

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Copy: TypeAlias = Callable[[], Any]
    """Returns a new copy of a parsed value. Its repr doesn't show the value."""

LONGEST_KEPT = 16 * 1024
"""Characters. A parsed value takes several times the memory of its text."""

DEEPEST_KEPT = 20
"""How deep containers may be nested, because each level is a Python call."""

# How many characters can't be parsed faster than one container is copied. A container that has
# others in it is copied by Python code.
_CHARACTERS_PER_FLAT = 4
_CHARACTERS_PER_NESTED = 16


class _NotWorthItError(Exception):
    """Copying isn't clearly faster than parsing."""


class _NestedCopy:
    """Copies an object or array that has others in it."""

    __slots__ = ("_copy", "_inner")

    def __init__(self, copy: Copy, inner: list[tuple[Any, Copy]]) -> None:
        self._copy = copy
        self._inner = inner
        """The place of each inner container, and the function that copies it."""

    def __call__(self) -> Any:
        copy = self._copy()
        for place, copy_inner in self._inner:
            copy[place] = copy_inner()
        return copy

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("The parsed JSON of a secret can't be pickled, because it holds the value.")

    def __getstate__(self) -> NoReturn:
        """Refuse, because some serializers call this alone."""
        raise TypeError("The parsed JSON of a secret can't be pickled, because it holds the value.")


def parse(text: str) -> tuple[Any, Copy | None]:
    """Parse JSON; return the value, and a function that returns copies of it.

    The function is None if the text is to be parsed each time. Otherwise the value belongs to the
    function, and must not be changed. Raises `ValueError` or `RecursionError` if the text isn't
    JSON.
    """
    value = json.loads(text)
    if len(text) > LONGEST_KEPT:
        return value, None
    if not _is_container(value):
        return value, lambda: value
    try:
        copy = _Builder(len(text)).copy_of(value, 1)
    except _NotWorthItError:
        return value, None
    return value, copy


def _is_container(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _items_of(container: Any) -> Iterable[tuple[Any, Any]]:
    """Return the values in a container, each with its place there."""
    if isinstance(container, dict):
        return cast("dict[str, Any]", container).items()
    return enumerate(cast("list[Any]", container))


class _Builder:
    """Builds the function that copies a value, unless copying would take too long."""

    def __init__(self, length: int) -> None:
        self._characters_left = length

    def copy_of(self, container: Any, depth: int) -> Copy:
        """Return a function that copies a container. Raises `_NotWorthItError`."""
        items = _items_of(container)
        containers = [(place, each) for place, each in items if _is_container(each)]
        if not containers:
            copy: Copy = container.copy
            return copy

        self._spend(_CHARACTERS_PER_NESTED + _CHARACTERS_PER_FLAT * len(containers))
        if depth == DEEPEST_KEPT:
            raise _NotWorthItError
        inner = [(place, self.copy_of(each, depth + 1)) for place, each in containers]
        return _NestedCopy(container.copy, inner)

    def _spend(self, characters: int) -> None:
        self._characters_left -= characters
        if self._characters_left < 0:
            raise _NotWorthItError
