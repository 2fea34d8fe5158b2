"""The pages in docs/reference/ say what happens in an outage: when, and which error a call raises."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, CachePolicy, CredentialsError, CredentialsPool
from aiocredentials.testing import FakeClock, FakeSecretsManager
from test_reference_pages import method_rows, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REGION = "eu-west-1"
NO_JITTER = CachePolicy(jitter=0)

# Two hours from 12:01 on, in seconds after 12:00, when the last fetch succeeded.
BEGIN = 60
END = BEGIN + 2 * 3600


@pytest.fixture
def fake() -> FakeSecretsManager:
    """A Secrets Manager with a secret in JSON, and one that isn't JSON."""
    return FakeSecretsManager({"json": {"username": "app"}, "text": "no JSON"}, region_name=REGION)


@pytest.fixture
async def outage(fake: FakeSecretsManager) -> AsyncIterator[CredentialsPool]:
    """A pool that had both secrets two hours ago, and AWS fails since."""
    clock = FakeClock()
    async with CredentialsPool(REGION, session=fake, clock=clock) as pool:
        await pool.prefetch("json", "text")
        fake.fail_next("InternalServiceError", times=None)
        clock.advance(2 * 3600)
        yield pool


async def raised_by(manager: AsyncCredentialsManager[Any], name: str) -> str:
    """Return the name of the error that a method raises."""
    with pytest.raises(CredentialsError) as caught:
        await getattr(manager, name)()
    return type(caught.value).__name__


# The page says "any CredentialsError" of the first three, and names the exceptions of the others.
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("get", "SecretExpiredError"),
        ("retrieve_secret_string", "SecretExpiredError"),
        ("secret", "SecretExpiredError"),
        ("refresh", "InternalServiceError"),
        ("describe", "InternalServiceError"),
    ],
)
async def test_error_of_an_expired_value(outage: CredentialsPool, name: str, expected: str) -> None:
    """`refresh()` and `describe()` raise the error of their call, also where others raise SecretExpiredError."""
    assert await raised_by(outage.manager("json"), name) == expected
    assert await raised_by(outage.manager("json", policy=None), name) == "InternalServiceError"
    said = method_rows(AsyncCredentialsManager)[name][2]
    assert "CredentialsError" in said
    assert ("`SecretExpiredError`" in said) == (expected != "SecretExpiredError")


@pytest.mark.parametrize("name", ["get", "retrieve_secret_string", "secret", "refresh", "describe"])
async def test_error_of_a_format(fake: FakeSecretsManager, name: str) -> None:
    """Only the calls that return what was parsed raise SecretFormatError."""
    said = method_rows(AsyncCredentialsManager)[name][2]
    async with CredentialsPool(REGION, session=fake) as pool:
        manager = pool.manager("text")
        if name in {"get", "retrieve_secret_string"}:
            assert await raised_by(manager, name) == "SecretFormatError"
            assert "it is a `SecretFormatError`" in said
        else:
            await getattr(manager, name)()
            assert re.search(r"(except|or|and) .*`SecretFormatError`", said)


async def test_outage_of_two_hours(fake: FakeSecretsManager, caplog: pytest.LogCaptureFixture) -> None:
    """The table of an outage has the minutes at which the readers notice something, and what they get."""
    caplog.set_level(logging.INFO, logger="aiocredentials")
    found: list[tuple[int, str, str]] = []
    before = ("", 0)
    clock = FakeClock()
    async with CredentialsPool(REGION, session=fake, clock=clock, policy=NO_JITTER) as pool:
        manager = pool.manager("json")
        for second in range(END + 60):
            if second == BEGIN:
                fake.fail_next("InternalServiceError", times=None)
            elif second == END:
                fake.stop_failing()
            try:
                secret = await manager.secret()
                result = "stale" if secret.is_stale else "fresh"
            except CredentialsError as error:
                result = type(error).__name__
            # A refresh in the background ends.
            for _ in range(5):
                await asyncio.sleep(0)
            if (result, len(caplog.records)) != before:
                before = (result, len(caplog.records))
                level = caplog.records[-1].levelname if caplog.records else ""
                found.append((round(second / 60), result, level))
            clock.advance(1)
    assert found == [
        (0, "fresh", ""),
        (4, "fresh", "WARNING"),
        (5, "stale", "WARNING"),
        (60, "SecretExpiredError", "WARNING"),
        (121, "fresh", "INFO"),
    ]

    table = {int(row[1].removesuffix(" min")): row for row in rows("cache.md", "An outage of two hours")}
    assert table.keys() == {minute for minute, *_ in found} | {BEGIN // 60}
    for minute, row in table.items():
        hour, past = divmod(minute, 60)
        assert row[0].startswith(f"{12 + hour}:{past:02}")
    for minute, words in {4: "a WARNING", 5: "the stale value", 60: "`SecretExpiredError`", 121: "an INFO"}.items():
        assert words in table[minute][2]
