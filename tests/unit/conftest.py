"""What several files of this folder ask for."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def aws_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that writes the AWS configuration file of this test."""

    def write(text: str) -> None:
        (tmp_path / "config").write_text(text, encoding="utf-8")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    return write


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fail the test if a connection is made, and collect the names that are looked up: nobody knows them."""
    asked: list[str] = []

    async def getaddrinfo(_: object, host: str, *__: object, **___: object) -> NoReturn:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def connect(*_: object) -> NoReturn:
        pytest.fail("a test without network connects")

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    return asked
