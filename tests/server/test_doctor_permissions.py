"""The doctor distinguishes permissions, and searches other regions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aiocredentials.doctor import Elsewhere, search as searching
from leaks.canary import leaked
from server.doctor_servers import REGIONS, environment, of_one, sts
from server.stub import Answer, Request, StubSecretsManager

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["environment", "sts"]  # fixtures


def denies(*operations: str, message: str = "No.") -> Callable[[Request], Answer]:
    """Deny some operations, as AWS does."""

    def answer(request: Request) -> Answer:
        if request.target not in operations:
            return Answer()
        return Answer(400, {"__type": "AccessDeniedException", "Message": message})

    return answer


@pytest.mark.usefixtures("sts")
@pytest.mark.parametrize(
    ("operations", "may"),
    [
        ([], ("allowed", "allowed", "allowed")),
        (["BatchGetSecretValue"], ("allowed", "denied", "allowed")),
        (["DescribeSecret"], ("allowed", "allowed", "denied")),
        (["GetSecretValue"], ("denied", "allowed", "allowed")),
    ],
    ids=["none", "batch", "describe", "get"],
)
async def test_permissions(stub: StubSecretsManager, operations: list[str], may: tuple[str, ...]) -> None:
    """Each permission is asked by itself: only the one to get decides."""
    stub.handler = denies(*operations)
    secret = await of_one(endpoint_url=stub.url)
    permissions = secret.permissions
    assert (permissions.get, permissions.batch, permissions.describe) == may
    assert secret.exit_code == (may[0] == "denied")


@pytest.mark.usefixtures("sts")
async def test_kms_denied(stub: StubSecretsManager, caplog: pytest.LogCaptureFixture) -> None:
    """KMS is told apart from Secrets Manager."""
    stub.handler = denies("GetSecretValue", message="Access to KMS is not allowed")
    secret = await of_one(endpoint_url=stub.url)
    assert (secret.permissions.get, secret.permissions.decrypt, secret.found) == ("allowed", "denied", True)
    assert leaked(caplog.text) is None


def by_region(answers: dict[str, Answer]) -> Callable[[Request], Answer]:
    """Answer each region as it is said; a region that isn't named has no secret."""
    missing = Answer(400, {"__type": "ResourceNotFoundException", "Message": "No."})
    return lambda request: answers.get(request.region, missing)


@pytest.mark.usefixtures("sts")
@pytest.mark.parametrize("describe_is_denied", [False, True])
async def test_the_search(stub: StubSecretsManager, *, describe_is_denied: bool) -> None:
    """Regions that don't know the account, deny or fail aren't taken for regions without it; KMS gives it away."""
    error = lambda code, message="No.": Answer(400, {"__type": code, "Message": message})  # noqa: E731
    regions = {
        "ap-east-1": error("UnrecognizedClientException"),
        "us-east-1": error("AccessDeniedException"),
        "us-east-2": error("AccessDeniedException", "Access to KMS is not allowed"),
        "us-west-1": error("ThrottlingException"),
        "us-west-2": error("InvalidRequestException", "The secret is marked for deletion."),
        "eu-west-2": Answer(),
    }
    answers = by_region(regions)

    def handler(request: Request) -> Answer:
        if describe_is_denied and request.target == "DescribeSecret":
            return error("AccessDeniedException")
        return answers(request)

    stub.handler = handler
    elsewhere = (await of_one(endpoint_url=stub.url, regions=[*regions, "eu-west-3"])).elsewhere
    assert elsewhere
    assert elsewhere.found == ("us-east-2", "eu-west-2")
    assert (elsewhere.refused, elsewhere.deleted) == (("ap-east-1", "us-east-1"), ("us-west-2",))
    assert (elsewhere.silent, elsewhere.absent) == (("us-west-1",), ("eu-west-3",))


@pytest.mark.usefixtures("sts")
async def test_the_search_ends(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions that hang hold it up for some seconds, and no longer."""
    monkeypatch.setattr(searching, "SEARCH_SECONDS", 0.2)
    stub.handler = by_region({region: Answer(action="hang") for region in REGIONS})
    elsewhere = (await of_one(endpoint_url=stub.url, regions=REGIONS)).elsewhere
    assert elsewhere == Elsewhere(name="prod/db", silent=tuple(REGIONS))
