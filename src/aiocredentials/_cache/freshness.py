"""The decision on a read: whether the reader is served, waits for a fetch, or gets an error.

`decide` is a pure function of the reader's policy, the cache's knowledge of the key and the time.
It needs no event loop and has no effects, so `tests/unit/test_freshness.py` tests it as a table.
`reader` acts on the decision.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials.errors import CredentialsError

# The two kinds of reads that are served from memory.
HIT = 0
STALE = 1

NEVER = float("-inf")
"""A time before all others: that of an event that hasn't happened."""

# After a failed refresh the next one waits 2 s, then 4, 8 ... 60 s, however many callers ask. These
# are 14 refreshes in ten minutes.
FIRST_BACKOFF = 2.0
LONGEST_BACKOFF = 60.0

LOOK_AGAIN = 1.0
"""While a refresh hangs, readers decide again after this time, in seconds.

Another event loop or a forked child doesn't share that refresh, and begins its own.
"""


class Known(Protocol):
    """The properties of an entry on which the decision depends.

    Times are seconds of the cache's clock.
    """

    @property
    def has_value(self) -> bool:
        """Whether there is a value."""
        ...

    born: float
    """When the fetch of the value began."""
    share: float
    """A random number from 0 to 1: the part of the jitter that shortens the TTL of this value."""
    stale_ok: bool
    """Whether the value may be served past its TTL: not after its refresh failed permanently."""
    failure: CredentialsError | None
    """The error of the last fetch, if it failed."""
    failed_at: float
    """When the last fetch failed."""
    retry_at: float
    """Until this time, no refresh begins."""


class Rules:
    """A policy in plain seconds, as one kind of reader follows it.

    Args:
        policy: The policy.
        pooled: Whether a refresh may continue when no caller waits for it. Without a pool, no fetch
            outlives its call: nothing is refreshed ahead, and past the TTL a reader waits until the
            refresh has ended.
    """

    __slots__ = ("ahead", "jitter", "max_stale", "negative_ttl", "patience", "ttl")

    def __init__(
        self,
        policy: CachePolicy,
        *,
        pooled: bool = True,
    ) -> None:
        self.ttl = cast("float", policy.ttl)
        self.jitter = policy.jitter
        self.max_stale = cast("float", policy.max_stale)
        self.negative_ttl = cast("float", policy.negative_ttl)

        self.ahead: float | None = None
        self.patience: float | None = None
        if pooled:
            self.ahead = policy.refresh_ahead
            self.patience = cast("float", policy.patience)

    def ttl_of(self, known: Known) -> float:
        """Return the TTL of one value, which is shortened by the value's share of the jitter."""
        return self.ttl * (1 - self.jitter * known.share)


class Serve(NamedTuple):
    """The reader gets the value, with a lease that lets further reads skip this decision."""

    kind: int
    """`HIT` or `STALE`."""
    until: float
    """When the lease ends."""
    refresh: bool = False
    """Whether a fetch must be under way in the background."""


class Wait(NamedTuple):
    """The reader waits for a fetch, for at most `patience` seconds; None means until it ends."""

    patience: float | None


class Refuse(NamedTuple):
    """The reader gets an error.

    `expired` is the reason why an existing value can't be served; it is None if there is no value.
    """

    error: CredentialsError
    expired: str | None = None


Decision: TypeAlias = Serve | Wait | Refuse

_TOO_OLD = "The cached value is older than max_stale allows, and it can't be refreshed."
_REFUSED = (
    "A refresh of the cached value failed permanently, so it isn't served past its ttl, "
    "and it can't be refreshed now."
)


def is_fresh(
    rules: Rules,
    known: Known | None,
    now: float,
) -> bool:
    """Return whether a reader under these rules would be served the value as fresh."""
    if known is None or not known.has_value:
        return False
    age = now - known.born
    return age < rules.ttl_of(known)


def decide(
    rules: Rules,
    known: Known | None,
    began: float | None,
    now: float,
    *,
    is_spent: bool = False,
    failure: CredentialsError | None = None,
) -> Decision:
    """Decide whether a reader is served, waits or gets an error.

    Args:
        rules: The reader's policy.
        known: The cache's entry for the key; None if there is none.
        began: When the fetch that is under way for the key began; None if no fetch is under way.
        now: The time by the cache's clock.
        is_spent: Whether this reader has used up its patience on that fetch. The times alone don't
            show that, because on a clock that stands still, patience never ends.
        failure: The transient error of a fetch for which this reader has waited. It doesn't wait
            for another one.
    """
    if known is None or not known.has_value:
        return _without_value(rules, known, now, failure)

    ttl = rules.ttl_of(known)
    age = now - known.born
    if age < ttl:
        return _fresh(rules, known, ttl, now)
    if known.stale_ok and age <= rules.max_stale:
        has_failed = failure is not None
        return _stale(rules, known, began, now, is_spent=is_spent, has_failed=has_failed)
    return _expired(rules, known, began, now, failure)


def _without_value(
    rules: Rules,
    known: Known | None,
    now: float,
    failure: CredentialsError | None,
) -> Decision:
    if failure is not None:
        return Refuse(failure)

    remembered = _remembered(rules, known, now)
    if remembered is not None:
        return Refuse(remembered)
    return Wait(None)


def _fresh(
    rules: Rules,
    known: Known,
    ttl: float,
    now: float,
) -> Serve:
    end = known.born + ttl
    if rules.ahead is None:
        return Serve(HIT, end)

    refresh_at = known.born + ttl * rules.ahead
    if now < refresh_at:
        return Serve(HIT, refresh_at)
    if now < known.retry_at:
        return Serve(HIT, min(end, known.retry_at))
    return Serve(HIT, end, refresh=True)


def _stale(
    rules: Rules,
    known: Known,
    began: float | None,
    now: float,
    *,
    is_spent: bool,
    has_failed: bool,
) -> Decision:
    end = known.born + rules.max_stale
    is_backing_off = began is None and now < known.retry_at
    if has_failed or is_backing_off:
        return Serve(STALE, min(end, known.retry_at))

    if rules.patience is None:
        return Wait(None)

    left = rules.patience
    if began is not None:
        left = began + rules.patience - now
    if is_spent or left <= 0:
        # The lease ends sooner if the fetch ends, whatever its outcome is.
        look_again_at = min(end, now + LOOK_AGAIN)
        return Serve(STALE, look_again_at, refresh=True)
    return Wait(left)


def _expired(
    rules: Rules,
    known: Known,
    began: float | None,
    now: float,
    failure: CredentialsError | None,
) -> Decision:
    """Decide where no value can be served. Back-off doesn't apply: only a fetch helps."""
    if failure is not None:
        expired = _TOO_OLD if known.stale_ok else _REFUSED
        return Refuse(failure, expired)

    if began is None:
        remembered = _remembered(rules, known, now)
        if remembered is not None:
            return Refuse(remembered)
    return Wait(None)


def _remembered(
    rules: Rules,
    known: Known | None,
    now: float,
) -> CredentialsError | None:
    """Return the permanent failure of the last fetch, for `negative_ttl` seconds."""
    if known is None:
        return None

    failure = known.failure
    if failure is None or failure.transient:
        return None
    is_over = now - known.failed_at >= rules.negative_ttl
    return None if is_over else failure
