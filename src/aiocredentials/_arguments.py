"""Checks of arguments: each error names the argument and says what to give instead."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import cast

from aiocredentials._identifiers import region_in

LONGEST_REGION = 63
"""Characters: a region is a label of the endpoint's host name (RFC 1035, section 2.3.4)."""


# A region is a part of a host name, and so can't be longer (RFC 1123, section 2.1).
_REGION = re.compile(r"[A-Za-z0-9-]{1,63}")
_SHOWN = 80


def check_name(argument: str, value: object, what_to_do: str) -> None:
    """Refuse what isn't a string, and the empty one; None is allowed."""
    if value is not None and not isinstance(value, str):
        message = f"{argument} is a {type(value).__name__}, not a string: {what_to_do}."
        raise TypeError(message)
    if value is not None and not value.strip():
        message = f"{argument} is empty: {what_to_do}."
        raise ValueError(message)


def check_region(region_name: object) -> None:
    """Refuse a region that is too long to be part of a host name.

    Others that aren't regions are refused by the call, with the nearest region.
    """
    what_to_do = "give a region such as 'eu-west-1', or leave it out"
    check_name("region_name", region_name, what_to_do)
    length = 0 if region_name is None else len(str(region_name))
    if length > LONGEST_REGION:
        at_most = f"no region has more than {LONGEST_REGION}"
        raise ValueError(f"region_name has {length} characters, and {at_most}: {what_to_do}.")


def check_identifier(argument: str, identifier: str) -> None:
    """Refuse an ARN whose region can't be one. Raises `ValueError`."""
    region = region_in(identifier)
    if region is not None and _REGION.fullmatch(region) is None:
        shown = region if len(region) <= _SHOWN else f"{region[:_SHOWN]}..."
        raise ValueError(
            f"{argument} is an ARN with the region {shown!r}, which can't be one: give the ARN as AWS shows it."
        )


def seconds(value: float | timedelta, name: str, *, zero: bool = False) -> float:
    """Read a duration: finite and more than 0 (or 0 as well). The error names the argument and says what to give."""
    number = cast("object", value.total_seconds() if isinstance(value, timedelta) else value)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(
            f"{name} is a {type(value).__name__}: give seconds as a number, or a timedelta."
        )
    if not math.isfinite(number) or number < 0 or not (number or zero):
        raise ValueError(
            f"{name} is {number}: give {'0 or more' if zero else 'more than 0'} seconds, and not for ever."
        )
    return float(number)


def share_of_one(value: object, name: str, *, ends: bool) -> float:
    """Read a share of 1: from 0 to 1 with both ends, or without them."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(
            f"{name} is a {type(value).__name__}: give a share as a number, such as 0.5."
        )
    if not (0 <= value <= 1 if ends else 0 < value < 1):
        raise ValueError(
            f"{name} is {value}: give a share {'from 0 to 1' if ends else 'between 0 and 1'}."
        )
    return float(value)
