"""The words that the doctor takes from errors, ARNs and times."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.doctor import Elsewhere
from aiocredentials.doctor.diagnosis import Examination
from aiocredentials.doctor.rendering import as_json, as_text
from aiocredentials.doctor.search import name_in
from aiocredentials.doctor.wording import reason_of, utc, without_logins
from aiocredentials.errors import EndpointUnreachableError, make_error
from unit.doctor_fakes import (
    ARN,
    CONTENTS,
    DELETED,
    DESCRIPTION,
    NOT_FOUND,
    NOW,
    REFUSED,
    FakeProbe,
    answered,
    examined,
    report_on,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.mark.parametrize("login", ["user:CANARY", "CANARY", "user:CANARY#1", "user:CAN/ARY", "u@v:CANARY", ""])
def test_a_password_in_a_url(login: str) -> None:
    """A login in a URL isn't shown, whatever its characters; the rest of the URL is."""
    assert without_logins(f"http://{login}@proxy.example:3128/") == "http://proxy.example:3128/"
    assert without_logins("http://proxy.example:3128/a") == "http://proxy.example:3128/a"


def test_a_password_in_an_error() -> None:
    """An error that repeats a URL is shown without the login in it; so is AWS's own message."""
    ours = make_error(EndpointUnreachableError, "No answer from https://user:CANARY@host.example or http://CANARY@b.")
    assert reason_of(ours) == "No answer from https://host.example or http://b."
    assert reason_of(answered("Odd", "See https://user:CANARY@host.example")) == "Odd: See https://host.example."


def test_told() -> None:
    """An error is shown by what happened alone: what was asked, and what to do, has other places."""
    assert reason_of(REFUSED) == "Secrets Manager gave no usable answer: ConnectionRefusedError: Connection refused."
    assert reason_of(NOT_FOUND) == "ResourceNotFoundException: No."
    assert reason_of(answered("Odd", "")).startswith("An error occurred (Odd)")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("prod/db", "prod/db"),
        (ARN, "prod/db"),
        (ARN[:-7], "prod/db"),
        ("arn:aws:secretsmanager:eu-west-1:123456789012:secret:a:b-AbCdEf", "a:b"),
    ],
)
def test_the_name_in_an_arn(given: str, name: str) -> None:
    """Other regions are asked by name, because the end of an ARN differs there."""
    assert name_in(given) == name


async def test_the_advice_names_the_name_in_an_arn() -> None:
    """A secret found elsewhere by the name in an ARN may be another one: the advice says which name was found."""
    fake: Any = FakeProbe(NOT_FOUND, NOT_FOUND, elsewhere=Elsewhere(name="prod/other", found=("us-east-1",)))
    arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/other-AbCdEf"
    (problem,) = (await Examination(fake, None, lambda _: None).examine(arn)).problems
    assert "A secret with the name 'prod/other' exists in us-east-1" in problem


@pytest.fixture
def tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have a local time that isn't UTC, where the system can."""
    reset: Callable[[], None] = getattr(time, "tzset", lambda: None)
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC-9")
        reset()
        yield
    reset()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2026-11-01T09:30:00", "2026-11-01T09:30:00+00:00"),
        ("2026-11-01T09:30:00+02:00", "2026-11-01T07:30:00+00:00"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"),
    ],
)
@pytest.mark.usefixtures("tokyo")
async def test_odd_times(given: str, shown: str) -> None:
    """Times without a zone are in UTC; neither they nor the end of time stop the doctor, whatever an emulator sends."""
    odd = datetime.fromisoformat(given)
    assert utc(odd).isoformat() == shown
    description = replace(DESCRIPTION, changed_at=odd, deleted_at=odd, rotated_at=odd, next_rotation_at=odd)
    secret = await examined(FakeProbe(replace(CONTENTS, created_at=odd), description))
    assert len(secret.notes) == 1
    assert "created" in as_text(report_on(secret), colours=False, now=NOW)
    assert shown in as_json(report_on(secret))
    assert "scheduled for deletion (" in (await examined(FakeProbe(DELETED, description))).problems[0]
