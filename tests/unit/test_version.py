"""The version: one number wherever it stands, and beside it what a bug report needs."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import tomllib
from pathlib import Path

import pytest

import aiocredentials
from aiocredentials.doctor import cli

ROOT = Path(__file__).parent.parent.parent


def test_one_version() -> None:
    """`__version__`, pyproject.toml and the metadata of the installed package have the same version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert aiocredentials.__version__ == project["version"]
    assert aiocredentials.__version__ == importlib.metadata.version("aiocredentials")


def printed_versions(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `--version` prints."""
    with pytest.raises(SystemExit) as ended:
        cli.run(["--version"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_versions(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--version` prints our version, Python's, the system, and the packages that reach AWS, on one line."""
    monkeypatch.setenv("COLUMNS", "40")
    about = f"aiocredentials {aiocredentials.__version__} on Python {platform.python_version()} ({sys.platform})"
    packages = [f"{name} {importlib.metadata.version(name)}" for name in ("aioboto3", "aiobotocore", "botocore")]
    assert printed_versions(capsys) == f"{', '.join([about, *packages])}\n"


def test_versions_without_metadata(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a deployment has dropped the metadata of its packages, the command line still works."""

    def dropped(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(cli, "version", dropped)
    printed = printed_versions(capsys)
    assert printed.startswith(f"aiocredentials {aiocredentials.__version__} on Python ")
    assert printed.endswith(" aioboto3 unknown, aiobotocore unknown, botocore unknown\n")
