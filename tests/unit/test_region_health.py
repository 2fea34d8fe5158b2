"""The health of a region: what begins a pause, what ends it, and who may probe."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from aiocredentials import InternalServiceError, ThrottledError
from aiocredentials._aws.region_health import FIRST_PAUSE, LONGEST_PAUSE, Admission, RegionHealth
from aiocredentials.errors import make_error
from aiocredentials.testing import FakeClock
from unit.fake_regions import PRIMARY, REPLICA, FakeRegions, pool_of

ERROR = make_error(InternalServiceError, "No.")
LONGEST_CALL = 10.0


class Region:
    """A region's health, with a clock of the test's and without jitter."""

    def __init__(self, jitter: float = 0.0) -> None:
        self.clock = FakeClock()
        self.health = RegionHealth(self.clock, LONGEST_CALL, lambda: jitter)

    def admitted(self) -> Admission:
        """Begin a call that is admitted."""
        admission = self.health.admit()
        assert admission is not None
        return admission

    def pause(self) -> float:
        """Measure how long the region is left alone from now on, and begin a probe."""
        seconds = 0.0
        while self.health.admit() is None:
            self.clock.advance(0.25)
            seconds += 0.25
        return seconds


def test_pauses_grow() -> None:
    """Each failed probe doubles the pause, up to the longest one; an answer begins again with the first."""
    one = Region()
    pauses: list[float] = []
    admission = one.admitted()
    for _ in range(8):
        one.health.failed(admission, ERROR)
        seconds = 0.0
        while (probe := one.health.admit()) is None:
            one.clock.advance(1)
            seconds += 1
        pauses.append(seconds)
        admission = probe
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, LONGEST_PAUSE)
    one.health.answered(admission)
    one.health.failed(one.admitted(), ERROR)
    assert one.pause() == FIRST_PAUSE


def test_a_year_of_failures() -> None:
    """A region that never comes back is probed once per longest pause for ever."""
    one = Region()
    admission = one.admitted()
    for _ in range(2000):
        one.health.failed(admission, ERROR)
        one.clock.advance(LONGEST_PAUSE)
        admission = one.admitted()


def test_jitter() -> None:
    """A pause is shortened by up to a fifth, so the processes of a fleet don't probe together."""
    one = Region(jitter=1.0)
    one.health.failed(one.admitted(), ERROR)
    one.clock.advance(FIRST_PAUSE * 0.79)
    assert one.health.admit() is None
    one.clock.advance(FIRST_PAUSE * 0.02)
    assert one.health.admit() is not None


def test_calls_that_fail_together() -> None:
    """Of many calls that were under way when a region died, only one counts, however late the others fail."""
    one = Region()
    herd = [one.admitted() for _ in range(200)]
    for admission in herd[:100]:
        one.health.failed(admission, ERROR)
    one.clock.advance(FIRST_PAUSE)
    probe = one.admitted()
    for admission in herd[100:]:
        one.health.failed(admission, ERROR)
        assert one.health.admit() is None
    one.health.answered(probe)
    one.health.failed(herd[0], ERROR)
    assert one.health.admit() is not None


def test_an_answer_from_before() -> None:
    """The answer to a call from before the outage doesn't end it: that isn't how the region is now."""
    one = Region()
    early, late = one.admitted(), one.admitted()
    one.health.failed(early, ERROR)
    assert one.health.answered(late) is False
    assert one.health.admit() is None


def test_one_probe() -> None:
    """After a pause one caller probes, and all others are refused until the probe has ended."""
    one = Region()
    one.health.failed(one.admitted(), ERROR)
    one.clock.advance(FIRST_PAUSE)
    probe = one.admitted()
    one.clock.advance(LONGEST_CALL - 1)
    assert one.health.admit() is None
    one.health.answered(probe)
    assert one.health.admit() is not None
    assert one.health.admit() is not None


def test_a_probe_that_never_ends() -> None:
    """A probe whose loop was closed, or that was left behind by a fork, is given up after the longest call."""
    one = Region()
    one.health.failed(one.admitted(), ERROR)
    one.clock.advance(FIRST_PAUSE)
    lost = one.admitted()
    one.clock.advance(LONGEST_CALL)
    second = one.admitted()
    one.health.failed(lost, ERROR)
    one.health.unknown(lost)
    assert one.health.admit() is None
    one.health.failed(second, ERROR)
    assert one.pause() == 2 * FIRST_PAUSE


def test_a_probe_that_was_cancelled() -> None:
    """A cancelled probe begins the same pause again."""
    one = Region()
    one.health.failed(one.admitted(), ERROR)
    one.clock.advance(FIRST_PAUSE)
    one.health.unknown(one.admitted())
    assert one.pause() == FIRST_PAUSE


def test_a_call_without_another_region() -> None:
    """A call that is made although the region is left alone may end the outage, and never prolongs it."""
    one = Region()
    one.health.failed(one.admitted(), ERROR)
    one.clock.advance(1)
    one.health.failed(one.health.admit_anyway(), ERROR)
    one.health.unknown(one.health.admit_anyway())
    one.clock.advance(1)
    assert one.health.admit() is not None
    one.health.answered(one.health.admit_anyway())
    assert one.health.admit() is not None


def test_reports() -> None:
    """An outage is reported once, and its end is news only if it was."""
    one = Region()
    assert one.health.outage_to_report() is None
    one.health.failed(one.admitted(), make_error(ThrottledError, "No."))
    assert isinstance(one.health.outage_to_report(), ThrottledError)
    assert one.health.outage_to_report() is None
    assert one.health.answered(one.health.admit_anyway()) is True
    assert one.health.answered(one.health.admit_anyway()) is False


@pytest.mark.parametrize("threads", [8])
def test_threads(threads: int) -> None:
    """Of all threads that ask at the same moment, one gets the probe."""
    one = Region()
    one.health.failed(one.admitted(), ERROR)
    one.clock.advance(FIRST_PAUSE)
    start = threading.Barrier(threads)

    def ask() -> Admission | None:
        start.wait()
        return one.health.admit()

    with ThreadPoolExecutor(threads) as executor:
        asked = [executor.submit(ask) for _ in range(threads)]
    assert len([future for future in asked if future.result() is not None]) == 1


def test_loops_share_it() -> None:
    """A failure that one loop has seen spares the others the dead region, also in other threads."""
    aws = FakeRegions()
    aws.primary.fail()
    pool = pool_of(aws, clock=FakeClock())

    async def read() -> str:
        await pool.open()
        return (await pool.manager("prod/db").secret()).region

    assert asyncio.run(read()) == REPLICA
    with ThreadPoolExecutor(4) as executor:
        regions = list(executor.map(lambda _: asyncio.run(read()), range(4)))
    asyncio.run(pool.aclose())
    assert set(regions) == {REPLICA}
    assert aws.regions[PRIMARY].calls == ["get"]
