"""AWS credentials that a test rolls: the library loads them by `credential_process`, and a `TokenRule` knows them."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from integrations.iam_rule import AccessKey, TokenRule

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """#!/bin/sh
cd "$(dirname "$0")"
echo >> loads
exec cat answer
"""


class RollingKeys:
    """The one access key that is valid; `config` is the file for `AWS_CONFIG_FILE`."""

    def __init__(self, folder: Path) -> None:
        self.rule = TokenRule()
        self.config = folder / "config"
        self._answer = folder / "answer"
        self._loads = folder / "loads"
        self._loads.touch()
        self._numbers = count(1)
        program = folder / "program"
        program.write_text(PROGRAM, encoding="utf-8")
        program.chmod(0o755)
        self.config.write_text(f"[default]\ncredential_process = {program}\n", encoding="utf-8")
        self.roll()

    @property
    def loads(self) -> int:
        """How often the credentials were loaded."""
        return len(self._loads.read_bytes())

    def roll(self, *, life: timedelta = timedelta(hours=1)) -> None:
        """Make a new access key, and the old one invalid at once."""
        key = AccessKey(
            f"ASIA{next(self._numbers):016d}", secrets.token_urlsafe(30), secrets.token_urlsafe(300) + "+/="
        )
        self.rule.keys = {key.access_key_id: key}
        expiration = datetime.now(UTC) + life
        answer = {
            "Version": 1,
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret_key,
            "SessionToken": key.session_token,
            "Expiration": expiration.isoformat(),
        }
        new = self._answer.with_suffix(".new")
        new.write_text(json.dumps(answer), encoding="utf-8")
        new.replace(self._answer)

    def fail(self) -> None:
        """Let the source of the credentials fail until the next roll."""
        self._answer.unlink()

    def hang(self) -> None:
        """Let the source hang until the next roll."""
        self._answer.unlink()
        os.mkfifo(self._answer)
