"""Whether a reader is served, waits or is refused: a pure decision about what is known, made without an event loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials.errors import CredentialsError

HIT, STALE = 0, 1
# A refresh that failed isn't tried again before 2 s, then 4, 8 ... 60 s, however many callers ask: 14 times in ten
# minutes.
FIRST_BACKOFF, LONGEST_BACKOFF = 2.0, 60.0


# While a refresh hangs, readers look again after this time, in seconds: another loop, or a forked child, has no part in
# that refresh, and begins its own.
LOOK_AGAIN = 1.0


class Known(Protocol):
    """What the decision reads of an entry. Times are those of the cache's clock, in seconds."""

    @property
    def has_value(self) -> bool:
        """Whether there is a value."""
        ...

    born: float
    """When the fetch began that brought the value."""
    share: float
    """A random number from 0 to 1, by which the jitter shortens the ttl of this value."""
    stale_ok: bool
    """Whether the value may be served past its ttl: not after AWS has refused to refresh it."""
    failure: CredentialsError | None
    """What the last fetch failed with, if it failed."""
    failed_at: float
    retry_at: float
    """Before this time nobody tries to refresh the value in the background."""


class Rules:
    """A policy in plain seconds, as one kind of reader follows it.

    `pooled` says whether a refresh may go on when no caller waits for it. Without a pool nothing outlives its call, so
    nothing is refreshed ahead, and past the ttl a reader waits until the refresh has ended.
    """

    __slots__ = ("ahead", "jitter", "max_stale", "negative_ttl", "patience", "ttl")

    def __init__(self, policy: CachePolicy, *, pooled: bool = True) -> None:
        self.ttl = cast("float", policy.ttl)
        self.jitter = policy.jitter
        self.ahead = policy.refresh_ahead if pooled else None
        self.patience = cast("float", policy.patience) if pooled else None
        self.max_stale = cast("float", policy.max_stale)
        self.negative_ttl = cast("float", policy.negative_ttl)

    def ttl_of(self, known: Known) -> float:
        """Return the ttl of one value, which its share of the jitter shortens."""
        return self.ttl * (1 - self.jitter * known.share)


@dataclass(frozen=True, slots=True)
class Serve:
    """The value is served, and a lease until then lets the reader skip this decision."""

    kind: int
    until: float
    refresh: bool = False
    """Whether a fetch is to be under way, in the background."""


class Wait(NamedTuple):
    """The reader waits for a fetch, at most for so many seconds; None means until it ends."""

    patience: float | None


class Refuse(NamedTuple):
    """The reader gets an error; `expired` is why a value that is there can't be served, None where there is none."""

    error: CredentialsError
    expired: str | None = None


Decision: TypeAlias = Serve | Wait | Refuse

_TOO_OLD = "The cached value is older than max_stale allows, and it can't be refreshed."
_REFUSED = "AWS refused to refresh the cached value, so it isn't served past its ttl, and it can't be refreshed now."


def is_fresh(policy: CachePolicy, known: Known | None, now: float) -> bool:
    """Return whether a reader under this policy would be served the value as fresh."""
    return known is not None and known.has_value and now - known.born < Rules(policy).ttl_of(known)


def decide(
    rules: Rules,
    known: Known | None,
    began: float | None,
    now: float,
    *,
    is_spent: bool = False,
    failure: CredentialsError | None = None,
) -> Decision:
    """Decide what a reader gets.

    Args:
        rules: The reader's policy.
        known: What the cache knows of the key; None if it knows nothing.
        began: When the fetch began that is under way for the key; None if there is none.
        now: The time by the cache's clock.
        is_spent: Whether this reader has waited for that fetch as long as its patience lasts. It has to be said,
            because patience never ends by itself on a clock that stands still.
        failure: The transient error of a fetch that this reader has waited for. It doesn't wait for another one.
    """
    if known is None or not known.has_value:
        return _without_value(rules, known, now, failure)
    ttl = rules.ttl_of(known)
    age = now - known.born
    if age < ttl:
        return _fresh(rules, known, ttl, now)
    if known.stale_ok and age <= rules.max_stale:
        return _stale(rules, known, began, now, is_spent=is_spent, has_failed=failure is not None)
    return _expired(rules, known, began, now, failure)


def _without_value(
    rules: Rules, known: Known | None, now: float, failure: CredentialsError | None
) -> Decision:
    if failure is not None:
        return Refuse(failure)
    if known is not None and (remembered := _remembered(rules, known, now)) is not None:
        return Refuse(remembered)
    return Wait(None)


def _fresh(rules: Rules, known: Known, ttl: float, now: float) -> Serve:
    end = known.born + ttl
    if rules.ahead is None:
        return Serve(HIT, end)
    begin = known.born + ttl * rules.ahead
    if now < begin:
        return Serve(HIT, begin)
    if now < known.retry_at:
        return Serve(HIT, min(end, known.retry_at))
    return Serve(HIT, end, refresh=True)


def _stale(
    rules: Rules, known: Known, began: float | None, now: float, *, is_spent: bool, has_failed: bool
) -> Decision:
    end = known.born + rules.max_stale
    if has_failed or (began is None and now < known.retry_at):
        return Serve(STALE, min(end, known.retry_at))
    if rules.patience is None:
        return Wait(None)
    left = rules.patience if began is None else began + rules.patience - now
    if is_spent or left <= 0:
        # The lease ends sooner if the fetch ends: that changes the entry.
        return Serve(STALE, min(end, now + LOOK_AGAIN), refresh=True)
    return Wait(left)


def _expired(
    rules: Rules, known: Known, began: float | None, now: float, failure: CredentialsError | None
) -> Decision:
    """Decide where nothing is left to serve. Back-off doesn't count here: only a fetch helps, so it is made at once."""
    if failure is not None:
        return Refuse(failure, _TOO_OLD if known.stale_ok else _REFUSED)
    if began is None and (remembered := _remembered(rules, known, now)) is not None:
        return Refuse(remembered)
    return Wait(None)


def _remembered(rules: Rules, known: Known, now: float) -> CredentialsError | None:
    """Return the permanent failure that is remembered, for `negative_ttl` seconds."""
    failure = known.failure
    if failure is None or failure.transient or now - known.failed_at >= rules.negative_ttl:
        return None
    return failure
