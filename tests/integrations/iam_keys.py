"""AWS credentials that a test rolls: the library loads them by `credential_process`, and a `TokenRule` knows them."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from botocore import auth

from aiocredentials._aws import keys as signing_keys
from integrations.iam_rule import AccessKey, TokenRule

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PROGRAM = """#!/bin/sh
cd "$(dirname "$0")"
echo >> loads
exec cat answer
"""


class Clock:
    """The time of this host, by which tokens are signed. AWS's may differ."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        """By how many seconds it is ahead of the real time."""
        self.step = 0.0
        """By how many seconds it goes on with each token. The tokens of one second are equal."""
        self.skew = 0.0
        """By how many seconds AWS's clock is ahead of it."""
        patch.setattr(auth, "get_current_datetime", self._sign)
        patch.setattr(signing_keys, "now", self.now)

    def now(self) -> float:
        """Return the time of this host."""
        return time.time() + self.ahead

    def aws(self) -> float:
        """Return the time of AWS."""
        return self.now() + self.skew

    def _sign(self, *_: object, **__: object) -> datetime:
        self.ahead += self.step
        return datetime.fromtimestamp(self.now(), UTC).replace(tzinfo=None)


class RollingKeys:
    """The one access key that is valid; `config` is the file for `AWS_CONFIG_FILE`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.clock = clock
        self.rule = TokenRule()
        self.rule.clock = clock.aws
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
        name = f"ASIA{next(self._numbers):016d}"
        expiration = datetime.now(UTC) + life
        end = expiration.timestamp()
        key = AccessKey(name, secrets.token_urlsafe(30), secrets.token_urlsafe(300) + "+/=", end)
        self.rule.keys = {name: key}
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
