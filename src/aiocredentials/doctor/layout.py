"""How the rows of the doctor's table become lines of a terminal or of a file."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from aiocredentials.doctor.wording import without_logins

if TYPE_CHECKING:
    from collections.abc import Iterator

    Rows: TypeAlias = Iterator["Row"]

_COLOURS = {
    "ok": "32",
    "note": "33",
    "FAIL": "1;31",
    "?": "33",
    "title": "1",
}
_END_OF_COLOUR = "\x1b[0m"

_MARK_WIDTH = 4
_LABEL_WIDTH = 14
# Two spaces stand before the mark, and two after it.
_TEXT_COLUMN = 2 + _MARK_WIDTH + 2 + _LABEL_WIDTH
# In a terminal that leaves fewer than 20 columns for the text, the text goes below its label.
_LEAST_WIDTH = _TEXT_COLUMN + 20
_NARROW_COLUMN = 4

# Characters that are printable for Python and invisible in terminals: fillers, joiners and
# variation selectors.
_INVISIBLE = re.compile(
    "["
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164"
    "\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
    "]"
)
# The categories and widths of Unicode that a terminal shows without a column, and in two columns.
_COMBINING = {"Mn", "Me"}
_WIDE = {"F", "W"}


class Row(NamedTuple):
    """One line of the table. The mark is "ok", "note", "FAIL", "?" or nothing."""

    label: str
    text: str
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Turns rows into lines for one output."""

    colours: bool
    width: int | None
    """The columns of a line; None leaves each row on one line."""
    encoding: str

    def section(self, title: str, rows: Rows) -> list[str]:
        """Return the lines of a title and its rows, and an empty line."""
        lines: list[str] = []
        if title:
            printable_title = printable(title, self.encoding)
            for line in self.wrapped(printable_title):
                coloured_line = self._coloured(line, "title")
                lines.append(coloured_line)

        for row in rows:
            lines += self._lines_of(row)
        lines.append("")
        return lines

    def _lines_of(self, row: Row) -> list[str]:
        padded_mark = row.mark.ljust(_MARK_WIDTH)
        mark = self._coloured(padded_mark, row.mark)
        text = printable(row.text, self.encoding)
        if self.width is None or self.width >= _LEAST_WIDTH:
            indent = _TEXT_COLUMN
            beginning, *others = self.wrapped(text, indent)
            label = row.label.ljust(_LABEL_WIDTH)
            first = label + beginning
        else:
            indent = _NARROW_COLUMN
            first = row.label
            others = self.wrapped(text, indent)

        line = f"  {mark}  {first}"
        lines = [line.rstrip()]
        spaces = " " * indent
        lines += [spaces + other for other in others]
        return lines

    def wrapped(self, text: str, indent: int = 0) -> list[str]:
        """Break a text between its words, so each line fits to the right of the indent."""
        if self.width is None:
            return [text]

        available = max(self.width - indent, 1)
        lines = [""]
        for word in text.split():
            line = lines[-1]
            longer_line = f"{line} {word}".lstrip()
            if columns(longer_line) <= available:
                lines[-1] = longer_line
            else:
                lines += _pieces_of(word, available)
        # The first line stays empty if the first word is longer than a line.
        if not lines[0]:
            del lines[0]
        return lines

    def _coloured(self, text: str, mark: str) -> str:
        colour = _COLOURS.get(mark)
        if not self.colours or colour is None:
            return text
        start = f"\x1b[{colour}m"
        return start + text + _END_OF_COLOUR


def _pieces_of(word: str, width: int) -> list[str]:
    """Break a word that is longer than a line into pieces that fit."""
    pieces = [""]
    for character in word:
        piece = pieces[-1]
        longer_piece = piece + character
        if piece and columns(longer_piece) > width:
            pieces.append(character)
        else:
            pieces[-1] = longer_piece
    return pieces


def columns(text: str) -> int:
    """Return how many columns of a terminal a printable text fills."""
    widths = map(_columns_of, text)
    return sum(widths)


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in _COMBINING:
        return 0
    if unicodedata.east_asian_width(character) in _WIDE:
        return 2
    return 1


def fitting(text: str, width: int) -> str:
    """Return the beginning of a printable text that fills fewer columns than this."""
    beginning = text
    while columns(beginning) >= width:
        beginning = beginning[:-1]
    return beginning


def harmless(text: str) -> str:
    """Return a text without passwords in URLs, and printable."""
    return printable(without_logins(text))


def printable(text: str, encoding: str = "utf-8") -> str:
    """Escape the characters that a terminal hides, obeys or can't show."""
    characters = map(_escaped, text)
    escaped = "".join(characters)
    data = escaped.encode(encoding, "backslashreplace")
    return data.decode(encoding)


def _escaped(character: str) -> str:
    # Controls, zero-width characters, lone surrogates and the characters that change the direction
    # of text aren't printable for Python.
    is_invisible = _INVISIBLE.match(character)
    if is_invisible or not character.isprintable():
        code = character.encode("unicode_escape")
        return code.decode()
    return character
