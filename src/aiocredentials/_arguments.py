"""Checks of arguments. Each error names the argument and what to give instead."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import cast

from aiocredentials._identifiers import region_in

LONGEST_REGION = 63
"""Characters: a region is a label of the endpoint's host name (RFC 1035, section 2.3.4)."""

_REGION = re.compile(rf"[A-Za-z0-9-]{{1,{LONGEST_REGION}}}")
_LONGEST_SHOWN = 80


def check_name(
    argument: str,
    value: object,
    what_to_do: str,
) -> None:
    """Reject an argument that is neither None nor a string, and an empty string.

    Args:
        argument: The name of the argument, for the error.
        value: The argument.
        what_to_do: The end of the error's message, without a full stop.

    Raises:
        TypeError: The value isn't a string.
        ValueError: The string is empty or all spaces.
    """
    if value is None:
        return

    if not isinstance(value, str):
        kind = type(value).__name__
        raise TypeError(f"{argument} is a {kind}, not a string: {what_to_do}.")
    if not value.strip():
        raise ValueError(f"{argument} is empty: {what_to_do}.")


def check_region(region_name: object) -> None:
    """Reject a region that is too long for a label of a host name.

    Another name that isn't a region fails with the call, and the error names the nearest region.
    """
    what_to_do = "give a region such as 'eu-west-1', or leave it out"
    check_name("region_name", region_name, what_to_do)
    if region_name is None:
        return

    length = len(str(region_name))
    if length > LONGEST_REGION:
        limit = f"no region has more than {LONGEST_REGION}"
        raise ValueError(f"region_name has {length} characters, and {limit}: {what_to_do}.")


def check_identifier(argument: str, identifier: str) -> None:
    """Reject an ARN whose region can't exist, with a `ValueError`."""
    region = region_in(identifier)
    if region is None or _REGION.fullmatch(region) is not None:
        return

    is_long = len(region) > _LONGEST_SHOWN
    excerpt = f"{region[:_LONGEST_SHOWN]}..." if is_long else region
    raise ValueError(
        f"{argument} is an ARN with the region {excerpt!r}, which isn't the name of a region: "
        "give the ARN as AWS shows it."
    )


def seconds(
    value: float | timedelta,
    name: str,
    *,
    zero: bool = False,
) -> float:
    """Return a duration in seconds.

    Args:
        value: Seconds as a number, or a timedelta.
        name: The name of the argument, for the error.
        zero: Whether 0 is accepted as well.

    Raises:
        TypeError: The value is neither a number nor a timedelta.
        ValueError: The duration is negative or infinite, or it is 0 and `zero` is False.
    """
    number: object = value
    if isinstance(value, timedelta):
        number = value.total_seconds()

    if not _is_number(number):
        kind = type(value).__name__
        raise TypeError(f"{name} is a {kind}: give seconds as a number, or a timedelta.")
    duration = cast("float", number)

    is_finite = math.isfinite(duration)
    is_accepted_zero = zero and duration == 0
    is_positive = duration > 0
    if not is_finite or not (is_positive or is_accepted_zero):
        limit = "0 or more" if zero else "more than 0"
        raise ValueError(f"{name} is {duration}: give {limit} seconds, as a finite number.")
    return float(duration)


def share_of_one(
    value: object,
    name: str,
    *,
    ends: bool,
) -> float:
    """Return a share of 1, such as 0.5.

    Args:
        value: The argument.
        name: The name of the argument, for the error.
        ends: Whether 0 and 1 are accepted as well.

    Raises:
        TypeError: The value isn't a number.
        ValueError: The number isn't between 0 and 1.
    """
    if not _is_number(value):
        kind = type(value).__name__
        raise TypeError(f"{name} is a {kind}: give a share as a number, such as 0.5.")
    share = cast("float", value)

    is_between = 0 < share < 1
    is_accepted_end = ends and share in {0, 1}
    if not (is_between or is_accepted_end):
        limits = "from 0 to 1" if ends else "between 0 and 1"
        raise ValueError(f"{name} is {share}: give a share {limits}.")
    return float(share)


def _is_number(value: object) -> bool:
    """Return whether a value is a number. A bool isn't one, although Python calls it an int."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
