"""What a reader gets, row by row: no event loop, no clock, no fetch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from aiocredentials import (
    AccessDeniedError,
    CachePolicy,
    CredentialsError,
    ThrottledError,
)
from aiocredentials._cache.freshness import (
    HIT,
    STALE,
    Decision,
    Refuse,
    Rules,
    Serve,
    Wait,
    decide,
    is_fresh,
)

NEVER = float("-inf")
POLICY = CachePolicy(ttl=100, jitter=0.5, refresh_ahead=0.8, patience=2, max_stale=1000, negative_ttl=5)
RULES = Rules(POLICY)
LATE = Rules(CachePolicy(ttl=100, jitter=0.5, refresh_ahead=None, patience=2, max_stale=1000))
HASTY = Rules(CachePolicy(ttl=100, jitter=0, patience=0, max_stale=1000))
STRICT = Rules(CachePolicy(ttl=100, jitter=0, max_stale=0, negative_ttl=5))
FORGETFUL = Rules(CachePolicy(negative_ttl=0))
ALONE = Rules(POLICY, pooled=False)
DENIED = AccessDeniedError("No.")
BUSY = ThrottledError("Busy.")
TOO_OLD = "older than max_stale"
REFUSED = "A refresh of the cached value failed permanently"


@dataclass
class Known:
    """What is known of a value that was fetched at the time 0."""

    has_value: bool = True
    born: float = 0.0
    share: float = 0.0
    stale_ok: bool = True
    failure: CredentialsError | None = None
    failed_at: float = NEVER
    retry_at: float = NEVER


def failed(at: float, retry_at: float, failure: CredentialsError = BUSY, **more: Any) -> Known:  # noqa: ANN401 (Known's)
    """Return a value whose last refresh failed."""
    return Known(failure=failure, failed_at=at, retry_at=retry_at, **more)


def nothing(failure: CredentialsError | None = None, failed_at: float = NEVER) -> Known:
    """Return what is known of a key without a value."""
    return Known(has_value=False, born=NEVER, failure=failure, failed_at=failed_at)


@dataclass
class Row:
    """A question, and the answer."""

    name: str
    known: Known | None
    now: float
    answer: Decision
    rules: Rules = RULES
    began: float | None = None
    is_spent: bool = False
    failure: CredentialsError | None = None


ROWS = [
    # Nothing is known, or no value.
    Row("unknown", None, 0, Wait(None)),
    Row("unknown, under way", None, 50, Wait(None), began=49),
    Row("unknown, under way for long", None, 500, Wait(None), began=1, is_spent=True),
    Row("unknown, and the fetch failed", None, 0, Refuse(BUSY), failure=BUSY),
    Row("no value", nothing(), 0, Wait(None)),
    Row("no value, and the fetch failed", nothing(), 0, Refuse(BUSY), failure=BUSY),
    Row("refused just now", nothing(DENIED, 10), 10, Refuse(DENIED)),
    Row("refused a moment ago", nothing(DENIED, 10), 14.9, Refuse(DENIED)),
    Row("refused, and long enough ago", nothing(DENIED, 10), 15, Wait(None)),
    Row("refused, another fetch under way", nothing(DENIED, 10), 12, Refuse(DENIED), began=11),
    Row("refused, nothing remembered", nothing(DENIED, 10), 10, Wait(None), rules=FORGETFUL),
    Row("a transient failure isn't remembered", nothing(BUSY, 10), 10, Wait(None)),
    # Fresh.
    Row("new", Known(), 0, Serve(HIT, 80)),
    Row("fresh", Known(), 79.9, Serve(HIT, 80)),
    Row("fresh, under way", Known(), 50, Serve(HIT, 80), began=49),
    Row("time to refresh ahead", Known(), 80, Serve(HIT, 100, refresh=True)),
    Row("being refreshed ahead", Known(), 90, Serve(HIT, 100, refresh=True), began=85),
    Row("the last moment of the ttl", Known(), 99.9, Serve(HIT, 100, refresh=True)),
    Row("jitter, fresh", Known(share=1.0), 39, Serve(HIT, 40)),
    Row("jitter, time to refresh", Known(share=1.0), 40, Serve(HIT, 50, refresh=True)),
    Row("half of the jitter", Known(share=0.5), 59, Serve(HIT, 60)),
    Row("backing off", failed(81, 83), 82, Serve(HIT, 83)),
    Row("backing off past the ttl", failed(98, 102), 99, Serve(HIT, 100)),
    Row("backed off", failed(81, 83), 83, Serve(HIT, 100, refresh=True)),
    Row("refused ahead", failed(81, 83, DENIED, stale_ok=False), 82, Serve(HIT, 83)),
    Row("refused ahead, again", failed(81, 83, DENIED, stale_ok=False), 84, Serve(HIT, 100, refresh=True)),
    Row("never ahead", Known(), 99, Serve(HIT, 100), rules=LATE),
    Row("never ahead without a pool", Known(), 99, Serve(HIT, 100), rules=ALONE),
    Row("fresh, and a fetch failed", Known(), 50, Serve(HIT, 80), failure=BUSY),
    # Past the ttl.
    Row("stale", Known(), 100, Wait(2)),
    Row("stale by jitter", Known(share=1.0), 50, Wait(2)),
    Row("stale, just under way", Known(), 101, Wait(2), began=101),
    Row("stale, under way", Known(), 102, Wait(1), began=101),
    Row("stale, under way for too long", Known(), 103, Serve(STALE, 104, refresh=True), began=101),
    Row("stale, hanging", Known(), 500, Serve(STALE, 501, refresh=True), began=101),
    Row("stale, hanging to the end", Known(), 999.5, Serve(STALE, 1000, refresh=True), began=101),
    Row("stale, patience is over", Known(), 101, Serve(STALE, 102, refresh=True), began=101, is_spent=True),
    Row("stale, no patience", Known(), 100, Serve(STALE, 101, refresh=True), rules=HASTY),
    Row("stale, no patience, under way", Known(), 100, Serve(STALE, 101, refresh=True), rules=HASTY, began=100),
    Row("stale, without a pool", Known(), 100, Wait(None), rules=ALONE),
    Row("stale, without a pool, under way", Known(), 200, Wait(None), rules=ALONE, began=101),
    Row("stale, backing off", failed(101, 103), 102, Serve(STALE, 103)),
    Row("stale, backing off to the end", failed(990, 1050), 995, Serve(STALE, 1000)),
    Row("stale, backed off", failed(101, 103), 103, Wait(2)),
    Row("stale, backing off, and forced", failed(101, 110), 102, Wait(2), began=102),
    Row("stale, and the fetch failed", failed(101, 103), 101, Serve(STALE, 103), failure=BUSY),
    Row("stale, and the fetch failed unnoted", Known(), 101, Serve(STALE, NEVER), failure=BUSY),
    Row("stale, without a pool, failed", failed(101, 103), 101, Serve(STALE, 103), rules=ALONE, failure=BUSY),
    Row("stale, the last moment", Known(), 1000, Wait(2)),
    # Nothing is left to serve.
    Row("too old", Known(), 1000.1, Wait(None)),
    Row("too old, under way", Known(), 1001, Wait(None), began=1000),
    Row("too old, under way for long", Known(), 1100, Wait(None), began=1000, is_spent=True),
    Row("too old, backing off", failed(1000, 1060), 1001, Wait(None)),
    Row("too old, and the fetch failed", Known(), 1001, Refuse(BUSY, TOO_OLD), failure=BUSY),
    Row("never stale", Known(), 100, Wait(None), rules=STRICT),
    Row("never stale, and the fetch failed", Known(), 100, Refuse(BUSY, TOO_OLD), rules=STRICT, failure=BUSY),
    Row("refused at its end", failed(98, 100, DENIED, stale_ok=False), 101, Refuse(DENIED)),
    Row("refused before its end", failed(90, 92, DENIED, stale_ok=False), 101, Wait(None)),
    Row("refused, under way", failed(98, 100, DENIED, stale_ok=False), 101, Wait(None), began=100),
    Row("refused ahead, and failed", failed(90, 92, DENIED, stale_ok=False), 101, Refuse(BUSY, REFUSED), failure=BUSY),
    Row("suspended for a day", failed(90, 150), 90_000, Wait(None)),
    Row("suspended while it hung", Known(), 90_000, Wait(None), began=90),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_decisions(row: Row) -> None:
    """A reader is served, waits or is refused as the promises say, by what is known and the time alone."""
    answer = decide(row.rules, row.known, row.began, row.now, is_spent=row.is_spent, failure=row.failure)
    if isinstance(row.answer, Refuse) and row.answer.expired is not None:
        assert isinstance(answer, Refuse)
        assert answer.error is row.answer.error
        assert row.answer.expired in str(answer.expired)
    else:
        assert answer == row.answer


def test_the_table_is_whole() -> None:
    """There are enough rows to have every kind of answer several times, and no two have one name."""
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_one_truth_on_freshness(share: float) -> None:
    """`is_fresh` says of every age what a reader would be served as."""
    for now in range(150):
        known = Known(share=share)
        served = decide(RULES, known, None, now)
        assert is_fresh(Rules(POLICY), known, now) == (isinstance(served, Serve) and served.kind == HIT)
    assert not is_fresh(Rules(POLICY), None, 0)
    assert not is_fresh(Rules(POLICY), nothing(), 0)
