"""Change a text except for its code."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Callable


def changed(
    text: str,
    code: re.Pattern[str],
    change_prose: Callable[[str], str],
    change_code: Callable[[re.Match[str]], str],
) -> str:
    """Return a text whose prose and whose code are changed in different ways.

    Args:
        text: The text.
        code: Finds the code in it.
        change_prose: Called with each part between two pieces of code.
        change_code: Called with each piece of code.
    """
    parts: list[str] = []
    end = 0
    for piece in code.finditer(text):
        parts.append(change_prose(text[end : piece.start()]))
        parts.append(change_code(piece))
        end = piece.end()
    parts.append(change_prose(text[end:]))
    return "".join(parts)
