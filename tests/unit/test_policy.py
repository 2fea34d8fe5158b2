"""`CachePolicy`: what it takes, what it keeps, and the sentence for each kind of nonsense."""

from __future__ import annotations

import inspect
import math
from datetime import timedelta
from typing import Any

import pytest

from aiocredentials import AsyncCredentialsManager, CachePolicy, CredentialsPool
from aiocredentials._arguments import seconds

DURATIONS = ("ttl", "patience", "max_stale", "negative_ttl")


def test_defaults() -> None:
    """The defaults are the documented ones."""
    policy = CachePolicy()
    assert (policy.ttl, policy.jitter, policy.refresh_ahead) == (300.0, 0.1, 0.8)
    assert (policy.patience, policy.max_stale, policy.negative_ttl) == (0.5, 3600.0, 5.0)


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize("given", [3600, 3600.0, timedelta(hours=1)])
def test_durations(name: str, given: Any) -> None:  # noqa: ANN401 (a table)
    """A duration is a number of seconds or a timedelta, and is kept as seconds, a float."""
    kept = getattr(CachePolicy(**{name: given}), name)
    assert (type(kept), kept) == (float, 3600.0)


@pytest.mark.parametrize("name", [name for name in DURATIONS if name != "ttl"])
@pytest.mark.parametrize("nothing", [0, 0.0, timedelta(0)])
def test_nothing_is_a_duration(name: str, nothing: Any) -> None:  # noqa: ANN401 (a table)
    """Each duration but the ttl may be 0: then there is no waiting, no stale value, no memory of failures."""
    assert getattr(CachePolicy(**{name: nothing}), name) == 0.0


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (-1.5, "is -1.5: give"),
        (timedelta(seconds=-2), "is -2.0: give"),
        (math.inf, "is inf: give .* as a finite number"),
        (-math.inf, "is -inf: give"),
        (math.nan, "is nan: give"),
    ],
)
def test_durations_that_cannot_be(name: str, given: Any, sentence: str) -> None:  # noqa: ANN401 (a table)
    """A duration that can't be is refused with its name, what it is, and what to give."""
    with pytest.raises(ValueError, match=f"^{name} {sentence}"):
        CachePolicy(**{name: given})


@pytest.mark.parametrize("ttl", [0, 0.0, timedelta(0)])
def test_no_ttl(ttl: Any) -> None:  # noqa: ANN401 (a table)
    """A ttl of nothing is refused: who wants no cache says policy=None."""
    with pytest.raises(ValueError, match=r"^ttl is 0(\.0)?: give more than 0 seconds, as a finite number\.$"):
        CachePolicy(ttl=ttl)


@pytest.mark.parametrize("name", DURATIONS)
@pytest.mark.parametrize(("given", "kind"), [(True, "bool"), ("60", "str"), (None, "NoneType"), (1j, "complex")])
def test_no_durations(name: str, given: Any, kind: str) -> None:  # noqa: ANN401 (a table)
    """What isn't a duration is refused by its type; True isn't a second."""
    with pytest.raises(TypeError, match=f"^{name} is a {kind}: give seconds as a number, or a timedelta"):
        CachePolicy(**{name: given})


def test_jitter() -> None:
    """Jitter is a share from 0 to 1, and is kept as a float."""
    assert [CachePolicy(jitter=share).jitter for share in (0, 0.25, 1)] == [0.0, 0.25, 1.0]
    assert type(CachePolicy(jitter=1).jitter) is float


@pytest.mark.parametrize("share", [-0.1, 1.1, 10, math.nan, math.inf])
def test_jitter_that_cannot_be(share: float) -> None:
    """Less than nothing and more than all is refused."""
    with pytest.raises(ValueError, match=f"^jitter is {share}: give a share from 0 to 1"):
        CachePolicy(jitter=share)


def test_refresh_ahead() -> None:
    """`refresh_ahead` is a share between 0 and 1, or None for never."""
    assert CachePolicy(refresh_ahead=0.5).refresh_ahead == 0.5
    assert CachePolicy(refresh_ahead=None).refresh_ahead is None


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, 80, math.nan])
def test_refresh_ahead_that_cannot_be(share: float) -> None:
    """Always and only when it is too late are refused, both ends too."""
    with pytest.raises(ValueError, match=f"^refresh_ahead is {share}: give a share between 0 and 1"):
        CachePolicy(refresh_ahead=share)


@pytest.mark.parametrize("name", ["jitter", "refresh_ahead"])
@pytest.mark.parametrize(("given", "kind"), [(True, "bool"), ("0.5", "str"), (timedelta(1), "timedelta")])
def test_no_shares(name: str, given: Any, kind: str) -> None:  # noqa: ANN401 (a table)
    """What isn't a share is refused by its type."""
    with pytest.raises(TypeError, match=f"^{name} is a {kind}: give a share as a number"):
        CachePolicy(**{name: given})


def test_stale_for_less_than_fresh() -> None:
    """A `max_stale` below the ttl would end values that are fresh: it is refused, but the ttl itself and 0 are fine."""
    with pytest.raises(
        ValueError, match=r"^max_stale is 59\.0, which is less than the ttl, 60\.0: give at least the ttl, or 0"
    ):
        CachePolicy(ttl=60, max_stale=59)
    assert CachePolicy(ttl=60, max_stale=60).max_stale == 60.0
    assert CachePolicy(ttl=60, max_stale=0).max_stale == 0.0


def test_a_policy_stays() -> None:
    """A policy can't be changed, and equal ones are equal however they were written."""
    policy = CachePolicy(ttl=60)
    with pytest.raises(AttributeError):
        policy.ttl = 1.0  # type: ignore[misc]
    assert policy == CachePolicy(ttl=timedelta(minutes=1))
    assert len({policy, CachePolicy(ttl=60.0)}) == 1


def test_other_durations() -> None:
    """Other arguments that are durations, such as a timeout, are read in the same way."""
    assert seconds(timedelta(milliseconds=1500), "timeout") == 1.5
    with pytest.raises(ValueError, match=r"^timeout is 0: give more than 0 seconds"):
        seconds(0, "timeout")


def test_the_default_that_is_shown() -> None:
    """A signature doesn't show a policy that isn't used: a manager has its pool's, unless another one is given."""
    for function in (AsyncCredentialsManager.__init__, CredentialsPool.manager):
        shown = str(inspect.signature(function).parameters["policy"])
        assert shown.endswith("= <the pool's policy, or CachePolicy() without a pool>")
    pool = CredentialsPool(policy=CachePolicy(ttl=1))
    assert pool.manager("a")._policy is pool._policy
    assert pool.manager("a", policy=CachePolicy())._policy == CachePolicy()
    assert AsyncCredentialsManager("a")._policy == CachePolicy()
