"""The clock that ages are counted by goes on while the machine sleeps, on each system."""

from __future__ import annotations

import inspect
import time

import pytest

from aiocredentials._aws.session import SessionPerCall
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._store import CLOCK, SecretStore, suspend_aware_clock


@pytest.mark.parametrize(
    ("clocks", "chosen"),
    [
        ({"CLOCK_BOOTTIME": 7, "CLOCK_MONOTONIC": 1, "CLOCK_MONOTONIC_RAW": 4}, 7),
        ({"CLOCK_MONOTONIC": 6, "CLOCK_MONOTONIC_RAW": 4}, 4),
        ({"CLOCK_MONOTONIC": 4}, None),
        ({}, None),
    ],
    ids=["Linux", "macOS", "another", "Windows"],
)
def test_the_clock_counts_time_asleep(
    clocks: dict[str, int], chosen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Age is counted by the system's clock that goes on while the machine sleeps; on Windows that is Python's own."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "clock_gettime"):
        monkeypatch.delattr(time, name, raising=False)
    for name, number in clocks.items():
        monkeypatch.setattr(time, name, number, raising=False)
    if clocks:
        monkeypatch.setattr(time, "clock_gettime", lambda number: 1_000.0 + number, raising=False)
    clock = suspend_aware_clock()
    if chosen is None:
        assert clock is time.monotonic
    else:
        assert clock() == 1_000.0 + chosen


def test_the_clock_of_this_system() -> None:
    """By default a store goes by that clock, which does go on."""
    clock = inspect.signature(SecretStore).parameters["clock"].default
    assert clock is CLOCK
    assert SecretStore(SessionPerCall(ClientSettings()), 10.0, pooled=True).cache.clock is clock
    before = suspend_aware_clock()()
    assert before <= clock() <= suspend_aware_clock()()
