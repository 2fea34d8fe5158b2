"""`SecretsEndpoint`: Secrets Manager at a URL that tests may write to, such as moto's server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiocredentials import CachePolicy, CredentialsPool
from aiocredentials.testing._seeds import SeededVersion, Value, encoded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEFAULT_POLICY = CachePolicy()


class SecretsEndpoint:
    """Secrets Manager at a URL, with the methods by which `FakeSecretsManager` is filled, and pools that ask it.

    `region_name` is for secrets and pools that don't name their own. AWS credentials come from the environment. The
    methods block while they ask, and raise botocore's exceptions; `close()` closes the connections.
    """

    def __init__(self, url: str, *, region_name: str = "us-east-1") -> None:
        self.url = url
        self.region_name = region_name
        self._clients: dict[str, Any] = {}

    def set(self, name: str, value: Value | None, *, region_name: str | None = None) -> SeededVersion:
        """Create a secret, or give it a new current version; None creates one that has no value yet.

        Needs secretsmanager:CreateSecret and secretsmanager:PutSecretValue. Raises `ValueError` for a value that AWS
        refuses.
        """
        client, given = self._client(region_name), {} if value is None else _given(value)
        try:
            answer = client.create_secret(Name=name, **given)
        except client.exceptions.ResourceExistsException:
            answer = client.put_secret_value(SecretId=name, **given)
        return self._seeded(answer, region_name)

    def rotate(self, name: str, value: Value, *, promote: bool = True, region_name: str | None = None) -> SeededVersion:
        """Give a secret a new version; with `promote=False` it stays AWSPENDING until `finish_rotation`.

        Needs secretsmanager:PutSecretValue.
        """
        stages = {} if promote else {"VersionStages": ["AWSPENDING"]}
        answer = self._client(region_name).put_secret_value(SecretId=name, **_given(value), **stages)
        return self._seeded(answer, region_name)

    def finish_rotation(self, name: str, *, region_name: str | None = None) -> SeededVersion:
        """Make the AWSPENDING version current. Raises `ValueError` if there is none.

        Needs secretsmanager:DescribeSecret and secretsmanager:UpdateSecretVersionStage.
        """
        client = self._client(region_name)
        stages: Mapping[str, list[str]] = client.describe_secret(SecretId=name)["VersionIdsToStages"]
        holders = {stage: version_id for version_id, held in stages.items() for stage in held}
        if "AWSPENDING" not in holders:
            raise ValueError(f"{name!r} has no AWSPENDING version: begin by rotate(..., promote=False).")
        pending = holders["AWSPENDING"]
        move: Callable[..., Any] = client.update_secret_version_stage
        move(
            SecretId=name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=pending,
            RemoveFromVersionId=holders["AWSCURRENT"],
        )
        answer = move(SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=pending)
        return self._seeded(answer | {"VersionId": pending}, region_name)

    def delete(self, name: str, *, force: bool = False, region_name: str | None = None) -> None:
        """Schedule a secret for deletion; with `force` it is gone at once. Needs secretsmanager:DeleteSecret."""
        how = {"ForceDeleteWithoutRecovery": True} if force else {}
        self._client(region_name).delete_secret(SecretId=name, **how)

    def restore(self, name: str, *, region_name: str | None = None) -> None:
        """Take back that a secret is scheduled for deletion. Needs secretsmanager:RestoreSecret."""
        self._client(region_name).restore_secret(SecretId=name)

    def pool(
        self,
        region_name: str | None = None,
        *,
        policy: CachePolicy | None = _DEFAULT_POLICY,
        clock: Callable[[], float] | None = None,
    ) -> CredentialsPool:
        """Make a pool that asks this endpoint; enter it by `async with`, as any other."""
        return CredentialsPool(region_name or self.region_name, endpoint_url=self.url, policy=policy, clock=clock)

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

            self._clients[region] = get_session().create_client("secretsmanager", region, endpoint_url=self.url)
        return self._clients[region]

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
