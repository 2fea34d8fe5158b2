"""`CachePolicy`: how long a value is fresh, and how long an old value may bridge an outage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta  # noqa: TC003 (typing.get_type_hints looks for it)
from typing import cast

from aiocredentials._arguments import seconds, share_of_one

_DURATIONS = ("ttl", "patience", "max_stale", "negative_ttl")


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """How long a value is served from memory, and how it is refreshed.

    Durations are seconds, or a `timedelta`. After a permanent failure of a refresh, no value past
    its TTL is served. With a session per call, nothing is refreshed in the background, so
    `refresh_ahead` and `patience` have no effect.

    Example:
        ```python
        from aiocredentials import CachePolicy, CredentialsPool

        # Fresh for a minute, and served for up to a day while AWS is unreachable.
        policy = CachePolicy(ttl=60, max_stale=86400)
        pool = CredentialsPool("eu-west-1", policy=policy)
        ```

    Args:
        ttl: Seconds for which a value is fresh, counted from the start of its fetch. More than 0;
            default 300.
        jitter: A share from 0 to 1. The TTL of each value is shortened by a random part of this
            share, so the processes of a fleet don't all fetch at once. Default 0.1.
        refresh_ahead: A share of the TTL between 0 and 1. A read of a value older than this starts
            a refresh in the background; None means never. Default 0.8.
        patience: Seconds that a reader waits for a refresh past the TTL, counted from the start of
            the refresh. Then the stale value is served. 0 means not at all; default 0.5.
        max_stale: Age in seconds up to which a value is still served while its refresh fails or
            hangs. 0 means never; any other number is at least the `ttl`. Default 3600.
        negative_ttl: Seconds for which a permanent failure is remembered. 0 means not at all;
            default 5.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument is out of its range, or `max_stale` is less than the `ttl`.
    """

    ttl: float | timedelta = 300.0
    """A value is fresh for this long, counted from the start of its fetch."""
    jitter: float = 0.1
    """The TTL of each value is shortened by a random part of up to this share."""
    refresh_ahead: float | None = 0.8
    """A read past this share of the TTL starts a refresh in the background; None: never."""
    patience: float | timedelta = 0.5
    """Past the TTL, a reader waits up to this long after the refresh's start; 0: not at all."""
    max_stale: float | timedelta = 3600.0
    """A value up to this old is served while its refresh fails or hangs.

    It is 0, for never, or at least the `ttl`.
    """
    negative_ttl: float | timedelta = 5.0
    """A permanent failure is remembered for this long; 0: not at all."""

    def __post_init__(self) -> None:
        """Reject values that make no sense, and keep durations as seconds."""
        for name in _DURATIONS:
            zero_ok = name != "ttl"
            duration = seconds(getattr(self, name), name, zero=zero_ok)
            object.__setattr__(self, name, duration)

        jitter = share_of_one(self.jitter, "jitter", ends=True)
        object.__setattr__(self, "jitter", jitter)

        refresh_ahead = self.refresh_ahead
        if refresh_ahead is not None:
            refresh_ahead = share_of_one(
                refresh_ahead,
                "refresh_ahead",
                ends=False,
            )
            object.__setattr__(self, "refresh_ahead", refresh_ahead)

        max_stale = cast("float", self.max_stale)
        ttl = cast("float", self.ttl)
        if 0 < max_stale < ttl:
            raise ValueError(
                f"max_stale is {max_stale}, which is less than the ttl, {ttl}: "
                "give at least the ttl, or 0 for never."
            )


DEFAULT_POLICY = CachePolicy()


class _InheritedPolicy(CachePolicy):
    """The default of a manager's `policy=`. Its repr, which signatures show, is an explanation."""

    def __repr__(self) -> str:
        return "<the pool's policy, or CachePolicy() without a pool>"


INHERITED_POLICY = _InheritedPolicy()


def check_policy(policy: object) -> CachePolicy | None:
    """Return the policy; None is one. Raises `TypeError` for anything else."""
    if policy is None or isinstance(policy, CachePolicy):
        return policy
    kind = type(policy).__name__
    raise TypeError(f"policy is a {kind}: give a CachePolicy, or None for no cache.")
