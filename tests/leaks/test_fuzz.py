"""The short form of `nox -s fuzz`: damaged answers end in a value or one of our errors, and none shows the canary."""

from __future__ import annotations

import logging

import pytest

import fuzz

pytestmark = pytest.mark.exhaustive


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Log no traceback for each of thousands of errors."""
    caplog.set_level(logging.CRITICAL, "aiocredentials")


async def test_mutations() -> None:
    """However an answer was damaged, what comes of it is a secret or one of our errors, without the value."""
    outcomes = await fuzz.run_mutations(5_000, seed=1)
    assert {"Secret", "MalformedResponseError", "InternalServiceError", "AWSError"} <= outcomes.keys()


def test_cases() -> None:
    """The same for answers that hypothesis thinks of, and makes smaller when one fails."""
    fuzz.run_cases(150)


async def test_the_check_sees() -> None:
    """The check fails where the canary is shown, and where a foreign error comes out."""
    with pytest.raises(AssertionError, match="shows it"):
        fuzz._check_text(LookupError(fuzz.VALUE), fuzz.Answer(200, {}, b"{}"))
    chained = fuzz.CredentialsError("")
    chained.__cause__ = LookupError()
    with pytest.raises(AssertionError, match="chained"):
        fuzz._check_text(chained, fuzz.Answer(200, {}, b"{}"))
