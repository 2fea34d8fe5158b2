"""Distinguish JSON keys that are names of fields from JSON keys that may be tokens."""

from __future__ import annotations

import re

# A JSON key may itself be a token, so a key is shown only if it looks like the name of a field.
# This is one part of such a name, between dots, hyphens and underscores.
_FIELD_PART = re.compile(
    r"""
    [a-z]{1,16}\d{0,3}      # password2
    | [A-Z]{1,14}\d{0,3}    # PASSWORD
    | \d{1,3}               # 2
    | (?:[a-z]{2,16})?(?:[A-Z]{1,4}[a-z]{1,15}){0,4}[A-Z]{0,4}  # masterUserARN
    """,
    re.VERBOSE,
)
_SEPARATOR = re.compile(r"[_.-]")
_HUMP = re.compile(r"[a-z][A-Z]|[A-Z](?=[A-Z][a-z])")
_FIVE_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}", re.IGNORECASE)
_LONGEST_FIELD = 32
_MOST_DIGITS = 3
_LETTERS_PER_HUMP = 4


def is_field_name(key: str) -> bool:
    """Whether a JSON key looks like the name of a field, such as `password`, and not like a token.

    It is a guess that would rather hide a name than show a token: words of letters, at most three
    digits, and these at the end of a word; no changes of case except those of `camelCase`; and no
    five consonants in a row.
    """
    if len(key) > _LONGEST_FIELD:
        return False
    digits = sum(map(str.isdigit, key))
    if digits > _MOST_DIGITS:
        return False
    if _FIVE_CONSONANTS.search(key):
        return False
    humps = len(_HUMP.findall(key))
    if humps * _LETTERS_PER_HUMP > len(key):
        return False

    parts = _SEPARATOR.split(key.lstrip("_"))
    begins_with_letters = parts[0] and not parts[0].isdigit()
    if not begins_with_letters:
        return False
    return all(part and _FIELD_PART.fullmatch(part) for part in parts)
