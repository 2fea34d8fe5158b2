"""The doctor's page in the docs shows the printed lines."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.doctor import cli as main, diagnose
from aiocredentials.doctor.rendering import as_text
from server.doctor_servers import aws, environment, sts
from server.stub import Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.stub import Request, StubSecretsManager


__all__ = ["aws", "environment", "sts"]  # fixtures


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md"
is_checkout = pytest.mark.skipif(not HOW_TO.exists(), reason="only a checkout has the docs")


def skeleton(text: str) -> list[str]:
    """What is in the first columns: the marks and the labels, the titles, and the last line."""
    return [line[:20].strip() if line.startswith("  ") else line for line in text.splitlines()]


def shown_reports() -> dict[str, str]:
    """Return each report of the page, by the name of its secret."""
    found = re.findall(
        r"^\$ python -m aiocredentials doctor (prod/\S+)\n(.*?)^```$",
        HOW_TO.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    reports = dict(found)
    assert len(reports) == len(found)
    assert reports.keys() == {"prod/database", "prod/redis", "prod/orders"}
    return reports


def check_report(shown: str, printed: str) -> None:
    """Compare a report of the page with a printed one; a stand-in for AWS has no TLS."""
    printed = printed.replace("note  TLS", "ok    TLS")
    assert skeleton(printed) == skeleton(shown)
    for line in re.findall(r"(?:value|problem|region|note  note) .*", shown):
        assert line in printed


@is_checkout
@pytest.mark.usefixtures("aws")
def test_the_how_to(create_secret: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows the printed lines, except for names and numbers."""
    create_secret("prod/database", '{"username": "a", "password": "b", "host": "c"}', "eu-west-1")
    create_secret("prod/redis", "text", "us-west-2")
    reports = shown_reports()
    for name in ("prod/database", "prod/redis"):
        main.run(["doctor", name])
        check_report(reports[name], capsys.readouterr().out)


@is_checkout
@pytest.mark.usefixtures("sts")
async def test_a_denied_secret_of_the_how_to(stub: StubSecretsManager) -> None:
    """The page shows the printed lines for a secret that AWS denies in every region, in AWS's words."""

    def deny(request: Request) -> Answer:
        if request.target == "BatchGetSecretValue":
            return Answer()
        action = f"secretsmanager:{request.target}"
        message = (
            f"User: arn:aws:sts::123456789012:assumed-role/orders/i-0abc is not authorized to perform: {action} "
            f"on resource: prod/orders because no identity-based policy allows the {action} action"
        )
        return Answer(400, {"__type": "AccessDeniedException", "Message": message})

    stub.handler = deny
    report = await diagnose(["prod/orders"], endpoint_url=stub.url)
    check_report(shown_reports()["prod/orders"], as_text(report, colours=False, now=datetime.now(UTC)))


@is_checkout
def test_exit_codes_of_the_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    """The page has the exit codes of the help, in the same words."""
    with pytest.raises(SystemExit):
        main.run(["doctor", "--help"])
    helped = re.findall(r"^  (\d+) +(.+)$", capsys.readouterr().out, re.MULTILINE)
    assert helped
    assert helped == re.findall(r"^\| (\d+) \| (.+) \|$", HOW_TO.read_text(encoding="utf-8"), re.MULTILINE)
