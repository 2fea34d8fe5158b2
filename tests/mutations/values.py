"""What `tests/mutants.py` takes out of secrets, formats, credentials and `decode`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _decode.py
    (
        "a partial is printed",
        "_decode.py",
        "    while isinstance(function, partial):",
        "    while False:",
    ),
    (
        "a format error names no secret",
        "_decode.py",
        "raise for_caller(failure, secret_name=secret.name, region_name=secret.region)",
        "raise failure",
    ),
    # _pydantic_errors.py
    (
        "a key of the input is shown",
        "_pydantic_errors.py",
        "if is_index or step in words:",
        "if True:",
    ),
    # _formats.py
    (
        "a URL is a token",
        "_formats.py",
        "if _URL.match(text):",
        "if False:",
    ),
    # _secret.py
    (
        "labels go raw",
        "_secret.py",
        "repr(label)[1:-1] for label",
        "label for label",
    ),
]
