"""The server's words about a refusal, as one line for the log, without any value of the secret."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

from aiocredentials._rotation.refusals import as_word
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from aiocredentials._secret import Secret

_LONGEST_TEXT = 300
_SHORTEST_VALUE = 8
_WORD = r"[^\s\"']+"
# A part of each signed address, such as an IAM token, in lower case.
_SIGNED = "x-amz-"
_PASSWORD_KEYS = {"password", "token", "auth_token"}
_SHOWN_KEYS = {
    # These name the user.
    "username",
    "user",
    # These name the server and the database.
    "engine",
    "host",
    "hostname",
    "port",
    "dbname",
    "database",
}


def words_of(exception: BaseException, secret: Secret) -> str:
    """Return a server's words, as one line for the log, without any value of the secret."""
    text = str(exception)
    values = _values(secret)
    longest_first = sorted(values, key=len, reverse=True)
    for value in longest_first:
        for spelling in _spellings(value):
            is_short = len(value) < _SHORTEST_VALUE
            if is_short:
                # A short value may be part of any word, and a gap in a word would show the value.
                pattern = as_word(re.escape(spelling))
                text = re.sub(pattern, "***", text)
            else:
                text = text.replace(spelling, "***")

    # A token is in no secret, because one is made per connection.
    text = re.sub(_WORD, _hide_signed, text)

    words = text_for_log(text)
    name = type(exception).__name__
    line = f"{name}: {words}"
    return line.removesuffix(": ")


def text_for_log(text: str) -> str:
    """Return a text fit for the log: without control characters and line ends, and not too long.

    Several lines are joined by spaces, and the place of a cut is marked. `errors` has a function
    with other rules, for the parts of a message.
    """
    words = text.split()
    line = " ".join(words)
    characters = map(_printable, line)
    line = "".join(characters)
    if len(line) > _LONGEST_TEXT:
        line = f"{line[:_LONGEST_TEXT]}..."
    return line


def _hide_signed(word: re.Match[str]) -> str:
    # One pattern for words with this part would need a time that grows with the square of a length.
    text = word[0]
    return "***" if _SIGNED in text.lower() else text


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return _without_quotes(ascii(character))


def _spellings(value: str) -> list[str]:
    """Return a value as messages may have it: plain, in a URL, in a repr and in ASCII."""
    in_url = quote(value, safe="", errors="surrogatepass")
    in_repr = _without_quotes(repr(value))
    in_ascii = _without_quotes(ascii(value))
    return [value, in_url, in_repr, in_ascii]


def _without_quotes(text: str) -> str:
    return text[1:-1]


def _values(secret: Secret) -> set[str]:
    """Return the strings in a secret that may be a password."""
    values: set[str] = set()
    content = _content(secret)
    waiting: list[tuple[str, object]] = [("password", content)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            fields = cast("dict[str, object]", value)
            waiting.extend(fields.items())
        elif isinstance(value, list):
            elements = cast("list[object]", value)
            waiting.extend((key, element) for element in elements)
        else:
            text = str(value)
            if _is_hidden(key, text):
                values.add(text)
    return values


def _content(secret: Secret) -> object:
    """Return the JSON object in a secret, or else its text."""
    try:
        text = secret.reveal()
    except CredentialsError:
        # The secret is binary.
        binary = secret.reveal_bytes()
        text = binary.decode("latin-1")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return cast("object", content)
    return text.strip()


def _is_hidden(key: str, value: str) -> bool:
    """Return whether a string may be a password, by the nearest key above it."""
    if key in _PASSWORD_KEYS:
        return bool(value)
    if key in _SHOWN_KEYS:
        return False
    return len(value) >= _SHORTEST_VALUE
