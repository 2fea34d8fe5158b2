"""What the stub answers: the operations of Secrets Manager that are measured, and its secrets.

The name of a secret decides its text: one below `bench/forty/` has 40 keys, for example. All texts
are made up.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

ACCOUNT = "arn:aws:secretsmanager:us-east-1:123456789012:secret:"
BATCH_LIMIT = 20
FILTER_LIMIT = 10

# AWS adds a hyphen and six characters to the name in an ARN.
SUFFIX_LENGTH = 7

FLAT = {
    "engine": "postgres",
    "host": "database.cluster-c0ffee123456.us-east-1.rds.amazonaws.com",
    "username": "application",
    "password": "not-a-real-password-0123456789",
    "dbname": "orders",
    "port": 5432,
    "dbClusterIdentifier": "database",
}
FORTY = {
    f"SERVICE_SETTING_{number:02}": f"value-{number:02}-of-the-service" for number in range(40)
}
NESTED = {
    "database": {"writer": FLAT, "reader": FLAT},
    "redis": {"hosts": ["a.example", "b.example"], "tls": True, "token": "not-a-real-token"},
    "limits": {"requests": 100, "burst": [1, 2, 3, 5, 8]},
}
# A little more than 20 KiB, as JSON: a certificate with its chain, and some more of these.
LARGE = {f"certificate_{number:02}": "0123456789abcdef" * 64 for number in range(20)}

TEXTS = {
    "bench/forty": json.dumps(FORTY),
    "bench/nested": json.dumps(NESTED),
    "bench/large": json.dumps(LARGE),
}
FLAT_TEXT = json.dumps(FLAT)

# The HTTP status, and the JSON document.
Answer = tuple[int, dict[str, Any]]


def text_of(name: str) -> str:
    """Return the text of a secret."""
    return TEXTS.get(name, FLAT_TEXT)


def secret_value(secret_id: str, stage: str) -> dict[str, Any]:
    """Return the answer of AWS for one secret, which is the same for its name and its ARN."""
    name = secret_id
    if secret_id.startswith(ACCOUNT):
        name = secret_id.removeprefix(ACCOUNT)[:-SUFFIX_LENGTH]

    digest = hashlib.sha256(name.encode()).hexdigest()
    version_id = [
        digest[:8],
        digest[8:12],
        "4" + digest[13:16],
        "8" + digest[17:20],
        digest[20:32],
    ]
    return {
        "ARN": f"{ACCOUNT}{name}-{digest[:6]}",
        "CreatedDate": 1700000000.123,
        "Name": name,
        "SecretString": text_of(name),
        "VersionId": "-".join(version_id),
        "VersionStages": [stage],
    }


def answer(operation: str, body: bytes) -> Answer:
    """Return the status and the body, not yet encoded, for one call of the API."""
    request = json.loads(body)
    match operation:
        case "GetSecretValue":
            stage = request.get("VersionStage", "AWSCURRENT")
            return 200, secret_value(request["SecretId"], stage)
        case "BatchGetSecretValue":
            return answer_batch(request)
        case "DescribeSecret":
            return 200, describe_secret(request["SecretId"])
        case _:
            return bad_request("UnknownOperationException", "The stub knows three operations.")


def answer_batch(request: dict[str, Any]) -> Answer:
    """Return the values of several secrets, which are named in a list or in a filter."""
    names = request.get("SecretIdList", [])
    limit = BATCH_LIMIT
    for item in request.get("Filters", []):
        names = item["Values"]
        limit = FILTER_LIMIT
    if not 1 <= len(names) <= limit:
        return bad_request("InvalidParameterException", f"This takes 1 to {limit} names.")

    secrets = [secret_value(name, "AWSCURRENT") for name in names]
    return 200, {"SecretValues": secrets, "Errors": []}


def describe_secret(secret_id: str) -> dict[str, Any]:
    """Return the one version of a secret with its staging label."""
    secret = secret_value(secret_id, "AWSCURRENT")
    return {
        "ARN": secret["ARN"],
        "Name": secret["Name"],
        "VersionIdsToStages": {secret["VersionId"]: secret["VersionStages"]},
    }


def bad_request(error: str, message: str) -> Answer:
    """Return an error as AWS writes it."""
    return 400, {"__type": error, "Message": message}
