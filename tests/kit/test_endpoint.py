"""An endpoint that doesn't keep AWS's contract: the call that notices says so, and shows no value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aiocredentials.testing import SecretsEndpoint

CANARY = "hunter2-canary"
NAME = "prod/database"
WHERE = {"Name": NAME, "ARN": f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{NAME}-AbCdEf"}


class Stubborn:
    """A client of an endpoint that never takes a label away from a version, nor reads by it."""

    exceptions = SimpleNamespace(ResourceNotFoundException=ClientError)

    def __init__(self) -> None:
        self.stages = {"version-a": ["AWSCURRENT"], "version-b": ["AWSPENDING"]}

    def describe_secret(self, **_: object) -> dict[str, Any]:
        """Tell where the labels are."""
        return {**WHERE, "VersionIdsToStages": {name: list(held) for name, held in self.stages.items()}}

    def put_secret_value(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        """Add a version, or put one that is there; of the labels, it knows AWSCURRENT alone."""
        version_id = asked.get("ClientRequestToken", "version-c")
        self.stages[version_id] = [] if "AWSPENDING" in asked.get("VersionStages", []) else ["AWSCURRENT"]
        return {**WHERE, "VersionId": version_id}

    def get_secret_value(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
        """Read the oldest version, if none is asked."""
        return {**WHERE, "VersionId": asked.get("VersionId", "version-a"), "SecretString": CANARY}

    def update_secret_version_stage(self, **_: object) -> None:
        """Move nothing."""


@pytest.fixture
def endpoint() -> SecretsEndpoint:
    """An endpoint with such a client."""
    endpoint = SecretsEndpoint("http://127.0.0.1:1")
    endpoint._clients["us-east-1"] = Stubborn()
    return endpoint


def test_a_label_that_stays(endpoint: SecretsEndpoint) -> None:
    """A change that had no effect is an error, which says where the labels are and what to do."""
    with pytest.raises(RuntimeError) as info:
        endpoint.set(NAME, CANARY)
    assert str(info.value) == (
        "http://127.0.0.1:1 doesn't move the staging labels of 'prod/database' as AWS does: AWSCURRENT should be at "
        "version-c, and is at version-a and version-c. moto is known to lose track of them after "
        "UpdateSecretVersionStage. Use FakeSecretsManager for this test."
    )


def test_a_label_that_nobody_reads_by(endpoint: SecretsEndpoint) -> None:
    """A rotation that readers without a label don't notice is an error too."""
    sentence = "AWSCURRENT is at version-b, and readers without a label get version-a"
    with pytest.raises(RuntimeError, match=sentence) as info:
        endpoint.finish_rotation(NAME)
    assert CANARY not in str(info.value)


def test_an_endpoint_that_keeps_the_contract(endpoint: SecretsEndpoint) -> None:
    """Where labels move as AWS moves them, no version is put a second time, and no value is read."""
    calls: list[str] = []

    class Honest(Stubborn):
        def update_secret_version_stage(self, **asked: Any) -> None:  # noqa: ANN401 - botocore's arguments
            calls.append(asked["VersionStage"])
            self.stages = {"version-a": ["AWSPREVIOUS"], "version-b": ["AWSCURRENT", "AWSPENDING"]}
            if asked["VersionStage"] == "AWSPENDING":
                self.stages["version-b"].remove("AWSPENDING")

        def put_secret_value(self, **_: object) -> dict[str, Any]:
            raise NotImplementedError

        def get_secret_value(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401 - botocore's arguments
            calls.append("read")
            assert asked == {"SecretId": NAME}
            return {**WHERE, "VersionId": "version-b"}

    endpoint._clients["us-east-1"] = Honest()
    assert endpoint.finish_rotation(NAME).version_id == "version-b"
    assert calls == ["AWSCURRENT", "read", "AWSPENDING"]


def test_a_label_that_is_nowhere(endpoint: SecretsEndpoint) -> None:
    """A label that got lost is named with the version that should have it."""
    client = endpoint._clients["us-east-1"]
    client.stages = {"version-a": ["AWSCURRENT"]}
    with pytest.raises(RuntimeError, match="AWSPENDING should be at version-c, and is at no version"):
        endpoint.rotate(NAME, "value", promote=False)
