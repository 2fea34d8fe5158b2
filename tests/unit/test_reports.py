"""What is logged of refreshes that fail, and that nobody else would learn of: once, until it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocredentials import AccessDeniedError, CredentialsPool, ThrottledError, _reports
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.roles import Role
from aiocredentials._reports import Reporter
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    import pytest

    from aiocredentials.events import SecretEvent

KEY = SecretRequest("prod/db", Region("eu-west-1", "a test"))


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged."""
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records if record.name == "aiocredentials"]


async def secret() -> Any:  # noqa: ANN401 (a Secret)
    """Fetch a secret."""
    fake = FakeSecretsManager({"prod/db": "hunter2"}, region_name="eu-west-1")
    async with CredentialsPool(session=fake) as pool:
        return await pool.manager("prod/db").secret()


async def test_each_kind_once_until_it_recovers(caplog: pytest.LogCaptureFixture) -> None:
    """A failing refresh is logged once per kind of error, and its recovery once."""
    caplog.set_level("INFO")
    events: list[SecretEvent] = []
    report, value = Reporter(events.append), await secret()
    for error in (ThrottledError("Busy."), ThrottledError("Busy."), AccessDeniedError("No."), ThrottledError("Busy.")):
        report("failed", KEY, error=error, refresh=True)
    report("refreshed", KEY, value=value)
    report("refreshed", KEY, value=value)
    report("failed", KEY, error=ThrottledError("Busy."), refresh=True)
    assert lines(caplog) == [
        "WARNING Secret 'prod/db' in 'eu-west-1': a refresh failed (ThrottledError): Busy.",
        "WARNING Secret 'prod/db' in 'eu-west-1': a refresh failed (AccessDeniedError): No.",
        "INFO Secret 'prod/db' in 'eu-west-1': refreshed again",
        "WARNING Secret 'prod/db' in 'eu-west-1': a refresh failed (ThrottledError): Busy.",
    ]
    assert len(events) == 7


async def test_one_of_two_roles_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A refresh by another role is no recovery: each role has log lines of its own, which name it."""
    caplog.set_level("INFO")
    report, value = Reporter(None), await secret()
    denied = KEY._replace(role=Role("arn:aws:iam::123456789012:role/denied"))
    allowed = KEY._replace(role=Role("arn:aws:iam::123456789012:role/allowed"))
    for _ in range(3):
        report("failed", denied, error=AccessDeniedError("No."), refresh=True)
        report("refreshed", allowed, value=value)
        report("refreshed", KEY, value=value)
    report("refreshed", denied, value=value)
    subject = f"Secret 'prod/db' in 'eu-west-1' as {denied.role.role_arn}"
    assert lines(caplog) == [
        f"WARNING {subject}: a refresh failed (AccessDeniedError): No.",
        f"INFO {subject}: refreshed again",
    ]


async def test_what_is_raised_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The failure of a first fetch is raised to its callers, so it isn't logged as well; nor is a success."""
    caplog.set_level("INFO")
    report = Reporter(None)
    report("failed", KEY, error=ThrottledError("Busy."), refresh=False)
    report("fetched", KEY, value=await secret())
    assert lines(caplog) == []


def test_what_fails_for_ever_does_not_grow(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """However many secrets fail and never recover, the memory of what was logged is bounded."""
    monkeypatch.setattr(_reports, "_MOST_FAILING", 3)
    report = Reporter(None)
    for number in range(10):
        report.warn(f"s{number}", "eu-west-1", ThrottledError("Busy."))
        report.warn(f"s{number}", "eu-west-1", ThrottledError("Busy."))
    assert len(report._failing) == 3
    assert len(lines(caplog)) == 10
