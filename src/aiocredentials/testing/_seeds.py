"""Values that a test puts into Secrets Manager, and the versions that are made of them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

Value: TypeAlias = str | bytes | Mapping[str, object]
"""Text, bytes for a binary secret, or a mapping that is written as JSON."""

CURRENT = "AWSCURRENT"
PENDING = "AWSPENDING"
PREVIOUS = "AWSPREVIOUS"

# The limits of a name in characters, and of a value in bytes (API reference, CreateSecret).
NAME = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}")
_LONGEST = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class SeededVersion:
    """A version that a test has created, without its value."""

    name: str
    """The name of the secret."""
    arn: str
    """The full ARN of the secret."""
    region_name: str
    """The region of the secret."""
    version_id: str | None
    """The id of the version; None for a secret that has no value yet."""


# The form of all names of regions.
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-[0-9]+")


def encoded(value: Value) -> str | bytes:
    """Return a value as Secrets Manager stores it.

    Raises `ValueError` for a size that AWS rejects. The error doesn't quote the value.
    """
    plain = value
    if not isinstance(plain, (str, bytes)):
        plain = json.dumps(plain)

    size = _size_in_bytes(plain)
    if not 0 < size <= _LONGEST:
        raise ValueError(
            f"The value has {size} bytes: AWS keeps from 1 to {_LONGEST}. "
            "None stands for no value yet."
        )
    return plain


def _size_in_bytes(plain: str | bytes) -> int:
    if isinstance(plain, str):
        return len(plain.encode())
    return len(plain)


# The following errors are for mistakes in a test. The fake and an endpoint raise the same ones.


def check_name(name: str) -> None:
    """Raise `ValueError` for a name that AWS rejects."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"AWS refuses the name {name!r}: use up to 512 letters, digits and /_+=.@!-"
        )


def missing(name: str, region_name: str) -> KeyError:
    """Return the error for a secret that the test forgot to create."""
    return KeyError(
        f"There is no secret {name!r} in {region_name!r}: create it by set(), in that region."
    )


def scheduled_for_deletion(name: str) -> ValueError:
    """Return the error for a change of a secret that is scheduled for deletion."""
    advice = "restore() it first, or delete(..., force=True) it."
    return ValueError(f"{name!r} is scheduled for deletion: {advice}")


def read_only(name: str, region_name: str, primary_region: str) -> ValueError:
    """Return the error for a change of a replica."""
    return ValueError(
        f"{name!r} in {region_name!r} is a replica, which is read only: change it in "
        f"{primary_region!r}, and replicate() it again."
    )


def check_replica_region(region_name: str, primary_region: str) -> None:
    """Raise `ValueError` for a region that can't have a replica."""
    if region_name == primary_region:
        raise ValueError(f"{region_name!r} is the region of the secret: name another one.")
    if not _REGION.fullmatch(region_name):
        raise ValueError(f"{region_name!r} isn't the name of a region: write it as 'eu-central-1'.")


def not_pending(name: str) -> ValueError:
    """Return the error for the end of a rotation that hasn't begun."""
    return ValueError(f"{name!r} has no AWSPENDING version: call rotate(..., promote=False).")


def not_finished(name: str) -> ValueError:
    """Return the error for a rotation that begins before the last one has ended."""
    return ValueError(f"The rotation of {name!r} isn't finished: call finish_rotation() first.")
