"""`SecretsEndpoint`: Secrets Manager at a URL that tests may write to, such as moto's server."""

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

_DEFAULT_POLICY = CachePolicy()


class SecretsEndpoint:
    """Secrets Manager at a URL, with the methods by which `FakeSecretsManager` is filled, and pools that ask it.

    `region_name` is for secrets and pools that don't name their own. AWS credentials come from the
    environment. The methods block while they wait for the endpoint. For a mistake in the test they raise
    the errors that the fake raises, and otherwise botocore's exceptions. `close()` closes the connections.

    `set`, `rotate` and `finish_rotation` read the staging labels back. If the endpoint didn't move them as
    AWS does, they move them; if that has no effect either, they raise `RuntimeError`. moto 5.2.5 needs this.
    """

    def __init__(self, url: str, *, region_name: str = "us-east-1") -> None:
        self.url = url
        self.region_name = region_name
        self._clients: dict[str, Any] = {}

    def set(
        self, name: str, value: Value | None, *, region_name: str | None = None
    ) -> SeededVersion:
        """Create a secret, or give it a new current version; None creates one that has no value yet.

        Raises `ValueError` for a name or a value that AWS refuses, and for a secret that is scheduled
        for deletion. Needs secretsmanager:DescribeSecret, CreateSecret, PutSecretValue and UpdateSecretVersionStage.
        """
        check_name(name)
        given = {} if value is None else _given(value)
        client = self._client(region_name)
        try:
            description = client.describe_secret(SecretId=name)
        except client.exceptions.ResourceNotFoundException:
            return self._seeded(client.create_secret(Name=name, **given), region_name)
        if "DeletedDate" in description:
            raise scheduled_for_deletion(name)
        if not given:
            return self._seeded(description, region_name)
        before = Labels.of(description)
        answer = client.put_secret_value(SecretId=name, **given)
        wanted = Labels(
            current=answer["VersionId"], previous=before.current, pending=before.pending
        )
        self._mover(name, region_name).settle(wanted)
        return self._seeded(answer, region_name)

    def rotate(
        self, name: str, value: Value, *, promote: bool = True, region_name: str | None = None
    ) -> SeededVersion:
        """Give a secret a new version; with `promote=False` it stays AWSPENDING until `finish_rotation`.

        Raises `KeyError` if there is no such secret, and `ValueError` for a value that AWS refuses, if the
        last rotation isn't finished, or if the secret is scheduled for deletion. Needs
        secretsmanager:DescribeSecret, PutSecretValue and UpdateSecretVersionStage.
        """
        given = _given(value)
        before = Labels.of(self._changeable(name, region_name))
        if before.pending not in {None, before.current}:
            raise not_finished(name)
        stage = CURRENT if promote else PENDING
        client = self._client(region_name)
        answer = client.put_secret_value(SecretId=name, VersionStages=[stage], **given)
        new = answer["VersionId"]
        if promote:
            wanted = Labels(current=new, previous=before.current, pending=None)
        else:
            wanted = Labels(current=before.current or new, previous=before.previous, pending=new)
        self._mover(name, region_name).settle(wanted)
        return self._seeded(answer, region_name)

    def finish_rotation(self, name: str, *, region_name: str | None = None) -> SeededVersion:
        """Make the AWSPENDING version current.

        Raises `KeyError` if there is no such secret, and `ValueError` if it has no AWSPENDING version or is
        scheduled for deletion. Needs secretsmanager:DescribeSecret, GetSecretValue, PutSecretValue and
        UpdateSecretVersionStage.
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
        mover.settle(Labels(current=pending, previous=previous, pending=None))
        return self._seeded({**description, "VersionId": pending}, region_name)

    def delete(self, name: str, *, force: bool = False, region_name: str | None = None) -> None:
        """Schedule a secret for deletion; with `force` it is gone at once.

        Raises `KeyError` if there is no such secret, and `ValueError` if it is scheduled for deletion
        already and `force` is False.
        Needs secretsmanager:DescribeSecret and DeleteSecret.
        """
        client = self._client(region_name)
        if force:
            self._described(name, region_name)
            client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        else:
            self._changeable(name, region_name)
            client.delete_secret(SecretId=name)

    def restore(self, name: str, *, region_name: str | None = None) -> None:
        """Take back that a secret is scheduled for deletion. Raises `KeyError` if there is none.

        Needs secretsmanager:DescribeSecret and RestoreSecret.
        """
        self._described(name, region_name)
        self._client(region_name).restore_secret(SecretId=name)

    def pool(
        self,
        region_name: str | None = None,
        *,
        policy: CachePolicy | None = _DEFAULT_POLICY,
        clock: Callable[[], float] | None = None,
    ) -> CredentialsPool:
        """Make a pool that asks this endpoint; enter it by `async with`, as any other."""
        return CredentialsPool(
            region_name or self.region_name, endpoint_url=self.url, policy=policy, clock=clock
        )

    def close(self) -> None:
        """Close the connections by which it writes; it can be used again."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def __repr__(self) -> str:
        """Say where it is."""
        return f"<SecretsEndpoint {self.url}>"

    def _client(self, region_name: str | None) -> Any:  # noqa: ANN401 (botocore makes its clients' classes at run time)
        region = region_name or self.region_name
        if region not in self._clients:
            from botocore.session import get_session  # noqa: PLC0415 (it takes a while, and not every test asks)

            self._clients[region] = get_session().create_client(
                "secretsmanager", region, endpoint_url=self.url
            )
        return self._clients[region]

    def _described(self, name: str, region_name: str | None) -> Mapping[str, Any]:
        client = self._client(region_name)
        try:
            description: Mapping[str, Any] = client.describe_secret(SecretId=name)
        except client.exceptions.ResourceNotFoundException:
            raise missing(name, region_name or self.region_name) from None
        return description

    def _changeable(self, name: str, region_name: str | None) -> Mapping[str, Any]:
        description = self._described(name, region_name)
        if "DeletedDate" in description:
            raise scheduled_for_deletion(name)
        return description

    def _mover(self, name: str, region_name: str | None) -> LabelMover:
        return LabelMover(self._client(region_name), self.url, name)

    def _seeded(self, answer: Mapping[str, Any], region_name: str | None) -> SeededVersion:
        return SeededVersion(
            name=answer["Name"],
            arn=answer["ARN"],
            region_name=region_name or self.region_name,
            version_id=answer.get("VersionId"),
        )


def _given(value: Value) -> dict[str, str | bytes]:
    plain = encoded(value)
    return {"SecretString" if isinstance(plain, str) else "SecretBinary": plain}
