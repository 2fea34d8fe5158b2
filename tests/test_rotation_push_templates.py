"""The templates in examples/rotation-push are valid, say the same, and match what the library reads."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import hcl2
import pytest
import yaml
from cfnlint.api import lint_file

from aiocredentials._eventbridge.events import Kind, read
from aiocredentials._eventbridge.sqs import LONG_POLL
from unit.fake_sqs import cloudtrail, label_updated

FOLDER = Path(__file__).parent.parent / "examples" / "rotation-push"
CLOUDFORMATION = FOLDER / "template.yaml"
TERRAFORM = FOLDER / "main.tf"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/database-Ab12Cd"

# What the two languages call the same thing.
NAMES = {
    "${aws_sns_topic.rotations.arn}": "Topic",
    "${values(aws_cloudwatch_event_rule.rules)[*].arn}": ["LabelUpdated", "DeletedOrFailed"],
    "${each.value.arn}": "Queue",
    "${data.aws_partition.current.partition}": "${AWS::Partition}",
    "${data.aws_region.current.name}": "${AWS::Region}",
    "${data.aws_caller_identity.current.account_id}": "${AWS::AccountId}",
    "${var.name}": "${AWS::StackName}",
}


class Loader(yaml.SafeLoader):
    """Reads the short forms of CloudFormation's functions as the text or the list that they are given."""


def _plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:  # noqa: ANN401 (YAML)
    if isinstance(node, yaml.ScalarNode):
        return str(loader.construct_scalar(node)).removesuffix(".Arn")
    assert isinstance(node, yaml.SequenceNode)
    # Such as [Queue${Process}, Arn].
    return str(loader.construct_sequence(node)[0]).replace("${Process}", "")


Loader.add_multi_constructor("!", _plain)


@pytest.fixture(scope="module")
def cloudformation() -> dict[str, Any]:
    """The resources of the CloudFormation template; those for each process by their name without it."""
    text = CLOUDFORMATION.read_text(encoding="utf-8")
    resources: dict[str, Any] = yaml.load(text, Loader)["Resources"]  # noqa: S506 (a SafeLoader, and our own file)
    _, _, per_process = resources.pop("Fn::ForEach::Queues")
    for name, resource in per_process.items():
        resources[name.replace("${Process}", "")] = resource
    return {name: resource["Properties"] for name, resource in resources.items() if "Properties" in resource}


def unquoted(value: Any) -> Any:  # noqa: ANN401 (HCL)
    """Return what the parser of HCL read, without quotes, and with CloudFormation's names."""
    if isinstance(value, dict):
        return {unquoted(key): unquoted(each) for key, each in value.items() if not str(key).startswith("__")}
    if isinstance(value, list):
        return [unquoted(each) for each in value]
    if not isinstance(value, str):
        return value
    if value in NAMES:
        return NAMES[value]
    for theirs, ours in NAMES.items():
        value = value.replace(theirs, str(ours))
    return value.removeprefix('"').removesuffix('"')


@pytest.fixture(scope="module")
def terraform() -> dict[str, Any]:
    """The resources and data of the Terraform file, by type and name; and its local values."""
    parsed = hcl2.loads(TERRAFORM.read_text(encoding="utf-8"))
    found: dict[str, Any] = {"local": unquoted(parsed["locals"][0])}
    for block in parsed["resource"] + parsed["data"]:
        for kind, by_name in unquoted(block).items():
            for name, resource in by_name.items():
                found[f"{kind}.{name}"] = resource
    return found


def test_cloudformation_is_valid() -> None:
    """cfn-lint, with the schemas that it brings, has neither an error nor a warning."""
    assert lint_file(CLOUDFORMATION) == []


def patterns_of(cloudformation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the event patterns."""
    return [cloudformation[name]["EventPattern"] for name in ("LabelUpdated", "DeletedOrFailed")]


def test_the_same_patterns(cloudformation: dict[str, Any], terraform: dict[str, Any]) -> None:
    """Both match the same events."""
    assert patterns_of(cloudformation) == list(terraform["local"]["patterns"].values())


def matches(pattern: dict[str, Any], event: dict[str, Any]) -> bool:
    """Return whether EventBridge sends an event to the targets of a rule (user guide, event patterns)."""
    for name, wanted in pattern.items():
        value = event.get(name)
        if isinstance(wanted, dict):
            if not isinstance(value, dict) or not matches(wanted, value):
                return False
        elif value not in wanted:
            return False
    return True


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (label_updated(ARN, "prod/database", "v2"), Kind.MOVED),
        (cloudtrail("DeleteSecret", requestParameters={"secretId": ARN}), Kind.GONE),
        (cloudtrail("RestoreSecret", requestParameters={"secretId": ARN}), Kind.GONE),
        (cloudtrail("RotationFailed", additionalEventData={"SecretId": ARN}), Kind.FAILED),
        # The first event says the same, with the version.
        (cloudtrail("RotationSucceeded", additionalEventData={"SecretId": ARN}), None),
        (cloudtrail("PutSecretValue", requestParameters={"secretId": ARN}), None),
        (cloudtrail("GetSecretValue", requestParameters={"secretId": ARN}), None),
        ({**label_updated(ARN, "prod/database", "v2"), "source": "aws.ec2"}, None),
    ],
    ids=["moved", "deleted", "restored", "failed", "succeeded", "put", "got", "another"],
)
def test_which_events_are_sent(cloudformation: dict[str, Any], event: dict[str, Any], kind: Kind | None) -> None:
    """Each event is sent once if the library acts on it and it says something new, and not otherwise."""
    sent = [pattern for pattern in patterns_of(cloudformation) if matches(pattern, event)]
    assert len(sent) == (0 if kind is None else 1)
    if kind is not None:
        change = read(json.dumps(event))
        assert change is not None
        assert change.kind is kind


def as_list(value: Any) -> list[Any]:  # noqa: ANN401 (a policy)
    """Return a list: policies may have a single value in its place."""
    return value if isinstance(value, list) else [value]


def cloudformation_statement(policy: dict[str, Any]) -> dict[str, Any]:
    """Return the only statement of a policy."""
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert statement["Effect"] == "Allow"
    condition = statement.get("Condition", {}).get("ArnEquals", {})
    return {
        "actions": as_list(statement["Action"]),
        "resources": as_list(statement["Resource"]),
        "principals": as_list(statement.get("Principal", {}).get("Service", [])),
        "conditions": {name: as_list(value) for name, value in condition.items()},
    }


def terraform_statement(document: dict[str, Any]) -> dict[str, Any]:
    """Return the only statement of a policy document."""
    (statement,) = document["statement"]
    conditions = statement.get("condition", [])
    assert all(condition["test"] == "ArnEquals" for condition in conditions)
    principals = statement.get("principals", [])
    assert all(principal["type"] == "Service" for principal in principals)
    return {
        "actions": statement["actions"],
        "resources": statement["resources"],
        "principals": [name for principal in principals for name in principal["identifiers"]],
        "conditions": {condition["variable"]: condition["values"] for condition in conditions},
    }


@pytest.mark.parametrize(
    ("resource", "document"), [("TopicPolicy", "topic"), ("QueuePolicy", "queue"), ("Reader", "reader")]
)
def test_the_same_policies(
    cloudformation: dict[str, Any], terraform: dict[str, Any], resource: str, document: str
) -> None:
    """Both allow the same: EventBridge to publish, the topic to send, and the service to receive and delete."""
    theirs = terraform_statement(terraform[f"aws_iam_policy_document.{document}"])
    assert cloudformation_statement(cloudformation[resource]) == theirs
    is_for_a_service = bool(theirs["principals"])
    assert is_for_a_service is bool(theirs["conditions"])


def test_the_reader_may_do_what_the_library_needs(cloudformation: dict[str, Any]) -> None:
    """The policy for the service has the two actions of the docstring, on the queues of the template and no others."""
    statement = cloudformation_statement(cloudformation["Reader"])
    assert statement["actions"] == ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    (resource,) = statement["resources"]
    queue = cloudformation["Queue"]["QueueName"]
    assert resource.endswith(":" + queue.replace("${Process}", "*"))


def test_the_same_queues(cloudformation: dict[str, Any], terraform: dict[str, Any]) -> None:
    """Both make the same queues, with a dead-letter queue, and subscribe them in the same way."""
    ours = cloudformation["Queue"]
    theirs = terraform["aws_sqs_queue.rotations"]
    redrive = re.search(r"maxReceiveCount = (\d+)", theirs["redrive_policy"])
    assert redrive is not None
    assert ours["RedrivePolicy"] == {"deadLetterTargetArn": "DeadLetters", "maxReceiveCount": int(redrive[1])}
    assert "aws_sqs_queue.dead_letters.arn" in theirs["redrive_policy"]
    assert ours["SqsManagedSseEnabled"] is theirs["sqs_managed_sse_enabled"] is True
    assert ours["MessageRetentionPeriod"] == theirs["message_retention_seconds"]
    assert ours["VisibilityTimeout"] == theirs["visibility_timeout_seconds"] > LONG_POLL
    assert ours["QueueName"].replace("${Process}", "${each.key}") == theirs["name"]

    dead = terraform["aws_sqs_queue.dead_letters"]
    assert cloudformation["DeadLetters"]["MessageRetentionPeriod"] == dead["message_retention_seconds"]
    subscription = terraform["aws_sns_topic_subscription.rotations"]
    assert cloudformation["Subscription"] == {
        "TopicArn": subscription["topic_arn"],
        "Protocol": subscription["protocol"],
        "Endpoint": subscription["endpoint"],
        "RawMessageDelivery": subscription["raw_message_delivery"],
    }


def test_the_same_alarm(cloudformation: dict[str, Any], terraform: dict[str, Any]) -> None:
    """Both have an alarm on the dead-letter queue, with the same limits."""
    ours = cloudformation["DeadLettersAlarm"]
    theirs = terraform["aws_cloudwatch_metric_alarm.dead_letters"]
    same = {
        "AlarmDescription": "alarm_description",
        "Namespace": "namespace",
        "MetricName": "metric_name",
        "Statistic": "statistic",
        "Period": "period",
        "EvaluationPeriods": "evaluation_periods",
        "ComparisonOperator": "comparison_operator",
        "Threshold": "threshold",
        "TreatMissingData": "treat_missing_data",
    }
    for our_name, their_name in same.items():
        assert ours[our_name] == theirs[their_name]
