"""The doctor on replicas: what AWS says of them, and whether a service could read them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.doctor import Report, cli, diagnose
from aiocredentials.doctor.rendering import as_json, as_text
from leaks.canary import VALUE, leaked
from server.doctor_servers import aws, environment, every_text
from unit.doctor_fakes import NOW

if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["aws", "environment"]  # fixtures

PRIMARY, REPLICA = "eu-west-1", "eu-central-1"


@pytest.fixture
def replicated(aws: object, create_secret: Callable[..., Any], secrets_client: Callable[..., Any]) -> str:
    """Create a secret with a replica, and return its version."""
    assert aws
    created = create_secret("prod/db", json.dumps({"password": VALUE}), PRIMARY)
    replicas = [{"Region": REPLICA}]
    secrets_client(PRIMARY).replicate_secret_to_regions(SecretId="prod/db", AddReplicaRegions=replicas)
    return str(created["VersionId"])


def table(report: Report) -> list[str]:
    """Return the lines about replicas, without the marks' spaces."""
    lines = as_text(report, colours=False, now=NOW).splitlines()
    return [" ".join(line.split()) for line in lines if " replica " in line]


@pytest.mark.usefixtures("replicated")
async def test_what_aws_says() -> None:
    """The state of each replica is shown without an option, in both formats; a replica names its primary region."""
    report = await diagnose(["prod/db"])
    assert table(report) == [f"ok replica {REPLICA}: InSync"]
    (replica,) = json.loads(as_json(report))["secrets"][0]["description"]["replicas"]
    assert (replica["region"], replica["status"]) == (REPLICA, "InSync")
    there = await diagnose(["prod/db"], region_name=REPLICA)
    assert table(there)[0] == f"replica of {PRIMARY}"


async def test_the_option(replicated: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each region that is named is asked, by name and by ARN, except the primary one; and no value is shown."""
    first = await diagnose(["prod/db"], replica_regions=[REPLICA, "us-east-1", PRIMARY])
    contents = first.secrets[0].contents
    assert contents
    report = await diagnose([contents.arn], replica_regions=[REPLICA, "us-east-1"])
    for one in (first, report):
        good, missing = one.secrets[0].replicas
        assert (good.region, good.found, good.exit_code) == (REPLICA, True, 0)
        assert (good.version_id, good.is_same_version) == (replicated, True)
        assert (missing.region, missing.found, missing.exit_code) == ("us-east-1", False, 1)
        assert one.exit_code == 1
        assert leaked(every_text(one)) is None
    lines = table(first)
    assert lines[1] == f"ok replica get {REPLICA}: allowed, the same version"
    assert lines[2].startswith("FAIL replica get us-east-1: The secret isn't replicated to us-east-1.")
    assert lines[2].endswith(f"--secret-id prod/db --region {PRIMARY} --add-replica-regions Region=us-east-1")
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("replicated")
async def test_a_secret_of_another_region(create_secret: Callable[..., Any]) -> None:
    """A pool asks no replica of a secret that isn't in its primary region, and neither does the doctor."""
    created = create_secret("prod/other", "text", "us-east-1")
    report = await diagnose([created["ARN"]], replica_regions=[REPLICA])
    assert report.secrets[0].replicas == ()
    assert report.exit_code == 0


@pytest.mark.usefixtures("replicated")
def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """The option may be repeated, and the exit code counts the replicas."""
    assert cli.run(["doctor", "prod/db", "--replica-region", REPLICA]) == 0
    assert cli.run(["doctor", "prod/db", "--replica-region", REPLICA, "--replica-region", "us-east-1"]) == 1
    capsys.readouterr()
    for wrong in (["--replica-region", "moon"], ["--replica-region", PRIMARY, "--region", PRIMARY]):
        with pytest.raises(SystemExit) as ended:
            cli.run(["doctor", "prod/db", *wrong])
        assert ended.value.code == 2
        assert "--replica-region has" in capsys.readouterr().err


async def test_wrong_arguments() -> None:
    """`diagnose` refuses what a pool would refuse."""
    with pytest.raises(TypeError, match="is a string: give a list"):
        await diagnose(["prod/db"], replica_regions=REPLICA)  # type: ignore[arg-type]
