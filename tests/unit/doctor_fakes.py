"""What the tests of the doctor share: answers of AWS, and a probe that returns them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aiocredentials import SecretDescription
from aiocredentials._aws.answered_errors import from_answer
from aiocredentials._aws.mapping import map_error
from aiocredentials._aws.regions import Region
from aiocredentials.doctor import Contents, Elsewhere, Endpoint, Identity, Report, SecretReport
from aiocredentials.doctor.diagnosis import Examination
from aiocredentials.doctor.route import Route
from aiocredentials.errors import AuthenticationError, CredentialsError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


NOW = datetime.now(UTC)
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
CONTENTS = Contents(
    arn=ARN,
    version_id="v-2",
    created_at=NOW - timedelta(days=22),
    kind="JSON object",
    keys=("password", "username"),
    key_count=2,
)
DESCRIPTION = SecretDescription(
    name="prod/db",
    arn=ARN,
    region="eu-west-1",
    versions={"v-1": ("AWSPREVIOUS",), "v-2": ("AWSCURRENT",)},
    kms_key_id=None,
    created_at=NOW - timedelta(days=100),
    changed_at=NOW - timedelta(hours=1),
    deleted_at=None,
    rotation_enabled=True,
    rotated_at=NOW - timedelta(days=22),
    next_rotation_at=NOW + timedelta(days=8, minutes=1),
    primary_region=None,
)


def answered(code: str, message: str = "No.") -> CredentialsError:
    """Make an error that AWS answered."""
    return from_answer({"Error": {"Code": code, "Message": message}}, "GetSecretValue", secret_name="prod/db")


DENIED = answered("AccessDeniedException", "User: app isn't authorized to perform: secretsmanager:GetSecretValue")
KMS_DENIED = answered("AccessDeniedException", "Access to KMS is not allowed")
NOT_FOUND = answered("ResourceNotFoundException")
DELETED = answered("InvalidRequestException", "The secret was marked for deletion.")
REFUSED = map_error(ConnectionRefusedError(111, "Connection refused"), secret_name="prod/db")
NO_CREDENTIALS = make_error(AuthenticationError, "There are no credentials.")


class FakeProbe:
    """Gives the answers that a test thinks up, and remembers where it was told to look."""

    def __init__(
        self,
        got: Contents | CredentialsError,
        described: SecretDescription | CredentialsError = DESCRIPTION,
        batched: CredentialsError | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._got, self._described, self._batched = got, described, batched
        self._elsewhere = elsewhere or Elsewhere()
        self.looked: list[tuple[list[str], bool]] = []
        self.way: Route | None = Route(url="https://secretsmanager.eu-west-1.amazonaws.com", source=None, proxy=None)

    def region_of(self, _: str) -> Region:
        """One region for all."""
        return Region("eu-west-1", "AWS_REGION")

    async def get(self, _: str) -> Contents | CredentialsError:
        """What was thought up."""
        return self._got

    async def describe(self, _: str) -> SecretDescription | CredentialsError:
        """What was thought up."""
        return self._described

    async def batch(self, _: str) -> CredentialsError | None:
        """What was thought up."""
        return self._batched

    async def other_regions(self, _: Region) -> list[str]:
        """Two of them."""
        return ["eu-west-2", "us-east-1"]

    async def route(self, _: Region) -> Route | None:
        """Where requests go."""
        return self.way

    async def search(
        self, _: str, regions: Sequence[str], *, by_value: bool, progress: Callable[[str], None]
    ) -> Elsewhere:
        """What was thought up."""
        progress("looking")
        self.looked.append((list(regions), by_value))
        return self._elsewhere


async def examined(probe: FakeProbe, regions: Sequence[str] | None = None) -> SecretReport:
    """Examine one secret by those answers."""
    fake: Any = probe
    return await Examination(fake, regions, lambda _: None).examine("prod/db")


async def endpoint_by(probe: FakeProbe) -> Endpoint:
    """Say of the endpoint what those answers mean."""
    fake: Any = probe
    examination = Examination(fake, (), lambda _: None)
    await examination.examine("prod/db")
    (endpoint,) = await examination.endpoints(["prod/db"])
    return endpoint


def report_on(*secrets: SecretReport, **changed: Any) -> Report:  # noqa: ANN401 - of any field
    """Make a report on these, with an identity."""
    identity = Identity(
        account="123456789012", arn="arn:aws:iam::123456789012:user/app", method="env", key_ending="WXYZ"
    )
    report = Report(
        identity=identity,
        region="eu-west-1",
        region_source="AWS_REGION",
        endpoints=(),
        secrets=secrets,
        problem=None,
    )
    return replace(report, **changed)
