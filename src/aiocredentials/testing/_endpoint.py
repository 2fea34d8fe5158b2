"""`SecretsEndpoint`: Secrets Manager at a URL, such as moto's server, that tests may write to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocredentials import CachePolicy, CredentialsPool
from aiocredentials.testing._labels import LabelMover, Labels
from aiocredentials.testing._seeds import (
    CURRENT,
    PENDING,
    SeededVersion,
    Value,
    check_name,
    encoded,
    missing,
    not_finished,
    not_pending,
    scheduled_for_deletion,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiocredentials.testing._labels import Description

_DEFAULT_POLICY = CachePolicy()


class SecretsEndpoint:
    """Secrets Manager at a URL: methods that write to it, and pools that read from it.

    `set`, `rotate`, `finish_rotation`, `delete` and `restore` do the same as the methods of
    `FakeSecretsManager`. They block while they wait for the endpoint, and they get AWS credentials
    from the environment. For a mistake in the test, they raise the errors that the fake raises;
    otherwise they raise botocore's exceptions. `close()` closes the connections.

    `set`, `rotate` and `finish_rotation` read the staging labels back. If the endpoint didn't move
    the labels as AWS does, these methods move them. If that has no effect either, they raise
    `RuntimeError`. moto 5.2.5 needs this.

    Example:
        ```python
        import os

        from aiocredentials.testing import MotoServer, SecretsEndpoint


        async def main() -> None:
            with MotoServer() as server:
                os.environ.update(server.environment())
                endpoint = SecretsEndpoint(server.url)
                endpoint.set("prod/database", {"username": "app", "password": "made up"})
                async with endpoint.pool() as pool:
                    print(await pool.manager("prod/database").get())
        ```

    Args:
        url: The URL of the endpoint, such as `http://127.0.0.1:49152`.
        region_name: The region of secrets and pools that name no region.
    """

    def __init__(
        self,
        url: str,
        *,
        region_name: str = "us-east-1",
    ) -> None:
        self.url = url
        self.region_name = region_name
        self._clients: dict[str, Any] = {}

    def set(
        self,
        name: str,
        value: Value | None,
        *,
        region_name: str | None = None,
    ) -> SeededVersion:
        """Create a secret, or give it a new current version.

        Needs secretsmanager:DescribeSecret, CreateSecret, PutSecretValue and
        UpdateSecretVersionStage.

        Args:
            name: The name of the secret.
            value: Text, bytes for a binary secret, or a mapping, which is written as JSON. None
                creates a secret without a value, or leaves the secret as it is.
            region_name: The region of the secret; the endpoint's own by default.

        Raises:
            ValueError: AWS rejects this name or this size, or the secret is scheduled for deletion.
        """
        check_name(name)
        given = {} if value is None else _value_parameter(value)
        client = self._client(region_name)

        try:
            description = client.describe_secret(SecretId=name)
        except client.exceptions.ResourceNotFoundException:
            answer = client.create_secret(Name=name, **given)
            return self._seeded(answer, region_name)

        if "DeletedDate" in description:
            raise scheduled_for_deletion(name)
        if not given:
            return self._seeded(description, region_name)

        before = Labels.of(description)
        answer = client.put_secret_value(SecretId=name, **given)
        wanted = Labels(
            current=answer["VersionId"],
            previous=before.current,
            pending=before.pending,
        )
        self._mover(name, region_name).settle(wanted)
        return self._seeded(answer, region_name)

    def rotate(
        self,
        name: str,
        value: Value,
        *,
        promote: bool = True,
        region_name: str | None = None,
    ) -> SeededVersion:
        """Give a secret a new version, as a rotation does.

        Needs secretsmanager:DescribeSecret, PutSecretValue and UpdateSecretVersionStage.

        Args:
            name: The name of the secret.
            value: Text, bytes for a binary secret, or a mapping, which is written as JSON.
            promote: Whether the version becomes current at once. If not, it is AWSPENDING until
                you call `finish_rotation`.
            region_name: The region of the secret; the endpoint's own by default.

        Raises:
            KeyError: There is no such secret.
            ValueError: AWS rejects a value of this size, the last rotation isn't finished, or the
                secret is scheduled for deletion.
        """
        given = _value_parameter(value)
        before = Labels.of(self._changeable(name, region_name))
        if before.pending not in {None, before.current}:
            raise not_finished(name)

        label = CURRENT if promote else PENDING
        client = self._client(region_name)
        answer = client.put_secret_value(
            SecretId=name,
            VersionStages=[label],
            **given,
        )
        new = answer["VersionId"]
        wanted = before.after_rotation(new, promote=promote)
        self._mover(name, region_name).settle(wanted)
        return self._seeded(answer, region_name)

    def finish_rotation(
        self,
        name: str,
        *,
        region_name: str | None = None,
    ) -> SeededVersion:
        """Make the AWSPENDING version current.

        Needs secretsmanager:DescribeSecret, GetSecretValue, PutSecretValue and
        UpdateSecretVersionStage.

        Args:
            name: The name of the secret.
            region_name: The region of the secret; the endpoint's own by default.

        Raises:
            KeyError: There is no such secret.
            ValueError: The secret has no AWSPENDING version, or it is scheduled for deletion.
        """
        description = self._changeable(name, region_name)
        before = Labels.of(description)
        pending = before.pending
        if pending is None:
            raise not_pending(name)

        mover = self._mover(name, region_name)
        previous = before.previous
        if pending != before.current:
            mover.promote(pending, before.current)
            previous = before.current

        wanted = Labels(current=pending, previous=previous, pending=None)
        mover.settle(wanted)
        return self._seeded({**description, "VersionId": pending}, region_name)

    def delete(
        self,
        name: str,
        *,
        force: bool = False,
        region_name: str | None = None,
    ) -> None:
        """Schedule a secret for deletion, or delete it at once.

        Needs secretsmanager:DescribeSecret and DeleteSecret.

        Args:
            name: The name of the secret.
            force: Whether the secret is deleted at once, without a way to restore it.
            region_name: The region of the secret; the endpoint's own by default.

        Raises:
            KeyError: There is no such secret.
            ValueError: The secret is already scheduled for deletion, and `force` is False.
        """
        client = self._client(region_name)
        if force:
            self._described(name, region_name)
            client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        else:
            self._changeable(name, region_name)
            client.delete_secret(SecretId=name)

    def restore(
        self,
        name: str,
        *,
        region_name: str | None = None,
    ) -> None:
        """Cancel the scheduled deletion of a secret.

        Needs secretsmanager:DescribeSecret and RestoreSecret.

        Args:
            name: The name of the secret.
            region_name: The region of the secret; the endpoint's own by default.

        Raises:
            KeyError: There is no such secret.
        """
        self._described(name, region_name)
        client = self._client(region_name)
        client.restore_secret(SecretId=name)

    def pool(
        self,
        region_name: str | None = None,
        *,
        policy: CachePolicy | None = _DEFAULT_POLICY,
        clock: Callable[[], float] | None = None,
    ) -> CredentialsPool:
        """Return a pool that reads from this endpoint. Open it with `async with`, as any other.

        Args:
            region_name: The region of the pool; the endpoint's own by default.
            policy: The cache policy of the pool; None for no cache.
            clock: The clock of the pool, such as a `FakeClock`; a monotonic clock by default.

        Raises:
            TypeError: An argument has a wrong type.
            ValueError: `region_name` isn't the name of a region.
        """
        return CredentialsPool(
            region_name or self.region_name,
            endpoint_url=self.url,
            policy=policy,
            clock=clock,
        )

    def close(self) -> None:
        """Close the connections of the methods that write. A later call opens new ones."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def __repr__(self) -> str:
        """Show the URL."""
        return f"<SecretsEndpoint {self.url}>"

    def _client(self, region_name: str | None) -> Any:  # noqa: ANN401 (botocore makes its class)
        region = region_name or self.region_name
        if region not in self._clients:
            self._clients[region] = self._new_client(region)
        return self._clients[region]

    def _new_client(self, region: str) -> Any:  # noqa: ANN401 (botocore makes its class)
        from botocore.session import get_session  # noqa: PLC0415 (slow, and not always needed)

        session = get_session()
        return session.create_client("secretsmanager", region, endpoint_url=self.url)

    def _described(self, name: str, region_name: str | None) -> Description:
        client = self._client(region_name)
        try:
            description: Description = client.describe_secret(SecretId=name)
        except client.exceptions.ResourceNotFoundException:
            raise missing(name, region_name or self.region_name) from None
        return description

    def _changeable(self, name: str, region_name: str | None) -> Description:
        description = self._described(name, region_name)
        if "DeletedDate" in description:
            raise scheduled_for_deletion(name)
        return description

    def _mover(self, name: str, region_name: str | None) -> LabelMover:
        client = self._client(region_name)
        return LabelMover(client, self.url, name)

    def _seeded(
        self,
        answer: Mapping[str, Any],
        region_name: str | None,
    ) -> SeededVersion:
        return SeededVersion(
            name=answer["Name"],
            arn=answer["ARN"],
            region_name=region_name or self.region_name,
            version_id=answer.get("VersionId"),
        )


def _value_parameter(value: Value) -> dict[str, str | bytes]:
    """Return the parameter of an API call that holds a value."""
    plain = encoded(value)
    kind = "SecretString" if isinstance(plain, str) else "SecretBinary"
    return {kind: plain}
