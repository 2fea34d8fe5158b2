"""What a test puts into Secrets Manager, and what it learns of it: the value goes in and isn't shown again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = str | bytes | Mapping[str, object]
"""Text, bytes for a binary secret, or what is written as JSON."""

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"

# The bounds of a name and of a value, in characters and in bytes (API reference, CreateSecret).
NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}")
_LONGEST = 65_536


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
        raise ValueError(
            f"The value has {size} bytes: AWS keeps from 1 to {_LONGEST}. None stands for no value yet."
        )
    return plain


# Mistakes of a test. The fake and an endpoint raise the same error for each.


def check_name(name: str) -> None:
    """Refuse a name that AWS refuses. Raises `ValueError`."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"AWS refuses the name {name!r}: use up to 512 letters, digits and /_+=.@!-"
        )


def missing(name: str, region_name: str) -> KeyError:
    """Make the error for a secret that the test forgot to create."""
    return KeyError(
        f"There is no secret {name!r} in {region_name!r}: create it by set(), in that region."
    )


def scheduled_for_deletion(name: str) -> ValueError:
    """Make the error for a change of a secret that is scheduled for deletion."""
    sentence = "restore() it first, or delete(..., force=True) it."
    return ValueError(f"{name!r} is scheduled for deletion: {sentence}")


def not_pending(name: str) -> ValueError:
    """Make the error for a rotation that hasn't begun."""
    return ValueError(f"{name!r} has no AWSPENDING version: begin by rotate(..., promote=False).")


def not_finished(name: str) -> ValueError:
    """Make the error for a rotation that begins while another one is under way."""
    return ValueError(f"The rotation of {name!r} isn't finished: call finish_rotation() first.")
