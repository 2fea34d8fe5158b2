"""The doctor's page in the docs shows the printed lines."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.doctor import cli as main
from server.doctor_servers import aws, environment

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["aws", "environment"]  # fixtures


HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "doctor.md"
is_checkout = pytest.mark.skipif(not HOW_TO.exists(), reason="only a checkout has the docs")


def skeleton(text: str) -> list[str]:
    """What is in the first columns: the marks and the labels, the titles, and the last line."""
    return [line[:20].strip() if line.startswith("  ") else line for line in text.splitlines()]


@is_checkout
@pytest.mark.usefixtures("aws")
def test_the_how_to(create_secret: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The page shows the printed lines, except for names and numbers."""
    create_secret("prod/database", '{"username": "a", "password": "b", "host": "c"}', "eu-west-1")
    create_secret("prod/redis", "text", "us-west-2")
    shown = re.findall(
        r"^\$ python -m aiocredentials (doctor prod/\S+)\n(.*?)^```$",
        HOW_TO.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    assert len(shown) == 2
    for arguments, output in shown:
        main.run(arguments.split())
        # moto has no TLS, and nobody else's regions.
        printed = capsys.readouterr().out.replace("note  TLS", "ok    TLS")
        assert skeleton(printed) == skeleton(output)
        for line in re.findall(r"(?:value|problem|region) .*", output):
            assert line in printed


@is_checkout
def test_exit_codes_of_the_how_to(capsys: pytest.CaptureFixture[str]) -> None:
    """The page has the exit codes of the help, in the same words."""
    with pytest.raises(SystemExit):
        main.run(["doctor", "--help"])
    helped = re.findall(r"^  (\d+) +(.+)$", capsys.readouterr().out, re.MULTILINE)
    assert helped
    assert helped == re.findall(r"^\| (\d+) \| (.+) \|$", HOW_TO.read_text(encoding="utf-8"), re.MULTILINE)
