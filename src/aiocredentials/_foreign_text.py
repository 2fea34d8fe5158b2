"""Foreign text in a message: names, and sentences of AWS, on one line and not too long."""

from __future__ import annotations

# The longest name, and the longest sentence of AWS, that a message shows, in characters.
LONGEST_NAME = 200
LONGEST_SENTENCE = 1000


def one_line(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a foreign text as one line that isn't too long for a message."""
    return "".join(map(_escaped, _cut(text, longest)))


def shown(text: str) -> str:
    """Return a name in quotes, escaped as by `repr`, and not too long for a message."""
    return repr(_cut(text, LONGEST_NAME))


def _escaped(letter: str) -> str:
    if letter.isprintable():
        return letter
    return repr(letter)[1:-1]


def _cut(text: str, longest: int) -> str:
    """Replace the middle of a text that is too long with an ellipsis."""
    if len(text) <= longest:
        return text
    head = longest // 2
    tail = longest - head - 1
    return f"{text[:head]}…{text[-tail:]}"
