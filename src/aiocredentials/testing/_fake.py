"""`FakeSecretsManager`: Secrets Manager in memory, in place of a session."""

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
    """Secrets Manager in memory.

    Pass it as `session=` to a pool or a manager. Only the client is fake; the cache, the pool and
    the managers are the real ones. A call that fails here counts as a call after all its retries.

    The fake separates the regions, moves staging labels as AWS does, and answers with AWS's codes
    and words. Neither its repr nor `calls` shows a value.

    Example:
        ```python
        from aiocredentials import CredentialsPool
        from aiocredentials.testing import FakeSecretsManager


        async def test_the_password() -> None:
            fake = FakeSecretsManager({"prod/database": {"username": "app", "password": "made up"}})
            async with CredentialsPool(session=fake) as pool:
                fields = await pool.manager("prod/database").get()
            assert fields["password"] == "made up"
        ```

    Args:
        secrets: The names and values of secrets to create, in `region_name`.
        region_name: The region of callers and methods that name no region.

    Raises:
        TypeError: JSON can't hold a value.
        ValueError: AWS rejects a name or the size of a value.
    """

    def __init__(
        self,
        secrets: Mapping[str, Value] | None = None,
        *,
        region_name: str = "us-east-1",
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
        self,
        name: str,
        value: Value | None,
        *,
        region_name: str | None = None,
    ) -> SeededVersion:
        """Create a secret, or give it a new current version.

        Args:
            name: The name of the secret.
            value: Text, bytes for a binary secret, or a mapping, which is written as JSON. None
                creates a secret without a value, or leaves the secret as it is.
            region_name: The region of the secret; the fake's own by default.

        Raises:
            TypeError: JSON can't hold the value.
            ValueError: AWS rejects this name or this size, or the secret is scheduled for deletion
                or a replica, which is read only.
        """
        region = region_name or self.region_name
        version = None
        if value is not None:
            version = self._account.version(encoded(value))

        secret = self._account.secrets.get((region, name))
        if secret is None:
            secret = self._account.create(region, name)
        if secret.deleted_at is not None:
            raise scheduled_for_deletion(name)
        secret.check_writable()

        if version is not None:
            secret.add(version, CURRENT)
        return secret.seeded(version)

    def rotate(
        self,
        name: str,
        value: Value,
        *,
        promote: bool = True,
        region_name: str | None = None,
    ) -> SeededVersion:
        """Give a secret a new version, as a rotation does.

        Args:
            name: The name of the secret.
            value: Text, bytes for a binary secret, or a mapping, which is written as JSON.
            promote: Whether the version becomes current at once. If not, it is AWSPENDING until
                you call `finish_rotation`.
            region_name: The region of the secret; the fake's own by default.

        Raises:
            KeyError: There is no such secret.
            TypeError: JSON can't hold the value.
            ValueError: AWS rejects a value of this size, the last rotation isn't finished, or the
                secret is scheduled for deletion or a replica, which is read only.
        """
        secret = self._changeable(name, region_name)
        secret.check_writable()
        pending = secret.labelled(PENDING)
        if pending is not None and pending is not secret.labelled(CURRENT):
            raise not_finished(name)

        version = self._account.version(encoded(value))
        secret.add(version, PENDING)
        if promote:
            return self.finish_rotation(name, region_name=region_name)
        return secret.seeded(version)

    def finish_rotation(
        self,
        name: str,
        *,
        region_name: str | None = None,
    ) -> SeededVersion:
        """Make the AWSPENDING version current.

        Args:
            name: The name of the secret.
            region_name: The region of the secret; the fake's own by default.

        Raises:
            KeyError: There is no such secret.
            ValueError: The secret has no AWSPENDING version, or it is scheduled for deletion.
        """
        secret = self._changeable(name, region_name)
        version = secret.labelled(PENDING)
        if version is None:
            raise not_pending(name)

        secret.promote(version)
        now = datetime.now(UTC)
        secret.rotated_at = now
        secret.changed_at = now
        return secret.seeded(version)

    def replicate(
        self,
        name: str,
        to_region: str,
        *,
        region_name: str | None = None,
    ) -> None:
        """Copy a secret to another region, as AWS does for a replica.

        Until you call this again, the replica doesn't get later changes: it lags.

        Args:
            name: The name of the secret.
            to_region: The region of the replica.
            region_name: The region of the secret; the fake's own by default.

        Raises:
            KeyError: There is no such secret.
            ValueError: The secret is scheduled for deletion or a replica itself, or `to_region` is
                its own region or no region's name.
        """
        secret = self._changeable(name, region_name)
        secret.check_writable()
        self._account.replicate(secret, to_region)

    def delete(
        self,
        name: str,
        *,
        force: bool = False,
        region_name: str | None = None,
    ) -> None:
        """Schedule a secret for deletion, or delete it at once.

        Args:
            name: The name of the secret.
            force: Whether the secret is deleted at once, without a way to restore it.
            region_name: The region of the secret; the fake's own by default.

        Raises:
            KeyError: There is no such secret.
            ValueError: The secret is already scheduled for deletion, and `force` is False.
        """
        region = region_name or self.region_name
        if force:
            self._account.known(region, name)
            del self._account.secrets[region, name]
        else:
            secret = self._changeable(name, region)
            secret.deleted_at = datetime.now(UTC)

    def restore(
        self,
        name: str,
        *,
        region_name: str | None = None,
    ) -> None:
        """Cancel the scheduled deletion of a secret.

        Args:
            name: The name of the secret.
            region_name: The region of the secret; the fake's own by default.

        Raises:
            KeyError: There is no such secret.
        """
        region = region_name or self.region_name
        secret = self._account.known(region, name)
        secret.deleted_at = None

    def fail_next(
        self,
        error: str | type[CredentialsError] | Exception,
        *,
        times: int | None = 1,
        secret_name: str | None = None,
        operation: str | None = None,
        region_name: str | None = None,
    ) -> None:
        """Let the next call fail, or several.

        In a batch, a secret that fails with an AWS error doesn't affect the other secrets.

        Args:
            error: An AWS code; the class of the error that your code gets, such as
                `ThrottledError`; or an exception, which is raised as it is (botocore's, or an
                `OSError`).
            times: How many calls fail. None lets each call fail until you call `stop_failing`.
            secret_name: The secret whose calls fail; by default all secrets.
            operation: The operation that fails, such as `"BatchGetSecretValue"`; by default all.
            region_name: The region that fails; by default all.

        Raises:
            TypeError: No client raises such an error.
            ValueError: `times` is less than 1.
        """
        self._failures.add(
            error,
            times=times,
            secret_name=secret_name,
            operation=operation,
            region_name=region_name,
        )

    def stop_failing(self) -> None:
        """Cancel all failures that `fail_next` has asked for."""
        self._failures.clear()

    def hold(self, secret_name: str | None = None) -> Gate:
        """Let calls wait at a gate from now on: all calls, or those for one secret.

        The answer to a call is made after the gate, so it shows the state at that time.
        """
        gate = Gate()
        self._gates.append((secret_name, gate))
        return gate

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[FakeClient]:
        """Return a client for a region, as a `CustomSession` does.

        Raises botocore's `InvalidRegionError` for a region that can't exist.
        """
        client = FakeClient(
            region_name,
            self._account,
            self._failures,
            self._gates,
            record=self.calls.append,
        )
        # There is nothing to close. A generator would stay open if its loop ended before the pool
        # was closed.
        return nullcontext(client)

    def __repr__(self) -> str:
        """Show the region, and the numbers of secrets and calls."""
        secrets = len(self._account.secrets)
        calls = len(self.calls)
        return f"<FakeSecretsManager {self.region_name}, secrets: {secrets}, calls: {calls}>"

    def _changeable(self, name: str, region_name: str | None) -> StoredSecret:
        region = region_name or self.region_name
        return self._account.changeable(region, name)
