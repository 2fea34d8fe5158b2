"""What a test puts into Secrets Manager, and what it learns of it: the value goes in and isn't shown again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = str | bytes | Mapping[str, object]
"""Text, bytes for a binary secret, or what is written as JSON."""

_LONGEST = 65_536  # bytes (API reference, CreateSecret)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededVersion:
    """A version that a test has put there, without its value."""

    name: str
    arn: str
    region_name: str
    version_id: str | None
    """None for a secret that has no value yet."""


def encoded(value: Value) -> str | bytes:
    """Return the value as it is kept. Raises `ValueError` for one that AWS doesn't keep, without quoting it."""
    plain = value if isinstance(value, str | bytes) else json.dumps(value)
    size = len(plain.encode() if isinstance(plain, str) else plain)
    if not 0 < size <= _LONGEST:
        raise ValueError(f"The value has {size} bytes: AWS keeps from 1 to {_LONGEST}. None stands for no value yet.")
    return plain
