"""`FakeSecretsManager`: Secrets Manager in memory, in the place of a session. All above the client is the real code."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiocredentials.testing._account import Account, StoredSecret
from aiocredentials.testing._client import Call, FakeClient, Gate
from aiocredentials.testing._failures import Failures
from aiocredentials.testing._seeds import (
    CURRENT,
    PENDING,
    SeededVersion,
    Value,
    encoded,
    not_finished,
    not_pending,
    scheduled_for_deletion,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from aiocredentials.errors import CredentialsError


class FakeSecretsManager:
    """Secrets Manager in memory. Give it as `session=` to a pool or a manager: all above the client is the real code.

    `secrets` are there from the start, in `region_name`, which is also the region of whoever doesn't name one. It holds
    the regions apart, moves staging labels as AWS does, and answers in AWS's codes and words. It sits where a client
    does: a call that fails here has had its retries. Values show neither in its repr nor in `calls`.
    """

    def __init__(
        self, secrets: Mapping[str, Value] | None = None, *, region_name: str = "us-east-1"
    ) -> None:
        self.region_name = region_name
        self.calls: list[Call] = []
        """The calls that arrived, oldest first."""
        self._account = Account()
        self._failures = Failures()
        self._gates: list[tuple[str | None, Gate]] = []
        for name, value in (secrets or {}).items():
            self.set(name, value)

    def set(
        self, name: str, value: Value | None, *, region_name: str | None = None
    ) -> SeededVersion:
        """Create a secret, or give it a new current version; None creates one that has no value yet.

        A mapping is written as JSON, bytes make a binary secret. Raises `ValueError` for a name or a value that AWS
        refuses, and for a secret that is scheduled for deletion.
        """
        region = region_name or self.region_name
        kept = None if value is None else self._account.version(encoded(value))
        secret = self._account.secrets.get((region, name)) or self._account.create(region, name)
        if secret.deleted_at is not None:
            raise scheduled_for_deletion(name)
        if kept is not None:
            secret.add(kept, CURRENT)
        return secret.seeded(kept)

    def rotate(
        self, name: str, value: Value, *, promote: bool = True, region_name: str | None = None
    ) -> SeededVersion:
        """Give a secret a new version, as a rotation does; with `promote=False`, `finish_rotation` makes it current.

        Raises `KeyError` if there is no such secret, and `ValueError` for a value that AWS refuses, if the
        last rotation isn't finished, or if the secret is scheduled for deletion.
        """
        secret = self._changeable(name, region_name)
        pending = secret.labelled(PENDING)
        if pending is not None and pending is not secret.labelled(CURRENT):
            raise not_finished(name)
        version = self._account.version(encoded(value))
        secret.add(version, PENDING)
        return (
            self.finish_rotation(name, region_name=region_name)
            if promote
            else secret.seeded(version)
        )

    def finish_rotation(self, name: str, *, region_name: str | None = None) -> SeededVersion:
        """Make the AWSPENDING version current.

        Raises `KeyError` if there is no such secret, and `ValueError` if it has no AWSPENDING version or is
        scheduled for deletion.
        """
        secret = self._changeable(name, region_name)
        version = secret.labelled(PENDING)
        if version is None:
            raise not_pending(name)
        secret.promote(version)
        secret.rotated_at = secret.changed_at = datetime.now(UTC)
        return secret.seeded(version)

    def delete(self, name: str, *, force: bool = False, region_name: str | None = None) -> None:
        """Schedule a secret for deletion; with `force` it is gone at once.

        Raises `KeyError` if there is no such secret, and `ValueError` if it is scheduled for deletion
        already and `force` is False.
        """
        region = region_name or self.region_name
        if force:
            self._account.known(region, name)
            del self._account.secrets[region, name]
        else:
            self._changeable(name, region).deleted_at = datetime.now(UTC)

    def restore(self, name: str, *, region_name: str | None = None) -> None:
        """Take back that a secret is scheduled for deletion. Raises `KeyError` if there is none."""
        self._account.known(region_name or self.region_name, name).deleted_at = None

    def fail_next(
        self,
        error: str | type[CredentialsError] | Exception,
        *,
        times: int | None = 1,
        secret_name: str | None = None,
        operation: str | None = None,
    ) -> None:
        """Have the next call fail, or the next `times`; None: each, until `stop_failing`.

        `error` is an AWS code, the class of the error that your code shall get, or an exception that is raised as it
        is (botocore's, or an `OSError`). `secret_name` and `operation` (`"BatchGetSecretValue"`) limit it to some
        calls; in a batch, a secret that fails by an AWS error leaves the others alone. Raises `TypeError` or
        `ValueError` for what no client fails with.
        """
        self._failures.add(error, times, secret_name, operation)

    def stop_failing(self) -> None:
        """Forget what `fail_next` has left."""
        self._failures.clear()

    def hold(self, secret_name: str | None = None) -> Gate:
        """Have calls wait at a gate from now on, all or those for one secret; they answer what is true afterwards."""
        gate = Gate()
        self._gates.append((secret_name, gate))
        return gate

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[FakeClient]:
        """Make a client for a region, as a `CustomSession` does.

        Raises botocore's `InvalidRegionError` for a region that can't exist.
        """
        client = FakeClient(
            region_name, self._account, self._failures, self._gates, self.calls.append
        )
        # There is nothing to close. A generator would be left open where a loop ends before its pool is closed.
        return nullcontext(client)

    def __repr__(self) -> str:
        """Say how much there is, and no value."""
        return f"<FakeSecretsManager {self.region_name}, secrets: {len(self._account.secrets)}, calls: {len(self.calls)}>"

    def _changeable(self, name: str, region_name: str | None) -> StoredSecret:
        return self._account.changeable(region_name or self.region_name, name)
