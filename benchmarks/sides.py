"""What is compared: this library, the limits beside it, and the peers with their pinned releases.

Newer releases may be better or worse: raise the pins when you refresh the results.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Side:
    """One module in `peers`.

    Args:
        label: How tables and plots call it.
        requirements: What is installed for it, the peer itself first. Without any, it runs in our
            own environment: it is a limit, or the aioboto3 that we depend on.
        oldest_python: The lowest version of Python that it supports, if ours is lower.
        reads_openssl: It takes its CAs from OpenSSL's variable, and not from that of AWS's tools.
    """

    label: str
    requirements: tuple[str, ...] = ()
    oldest_python: tuple[int, ...] = (3, 11)
    reads_openssl: bool = False


BOTO = "boto3==1.44.8"

SIDES = {
    "ours": Side("aiocredentials"),
    "raw": Side("raw signed aiohttp POST", reads_openssl=True),
    "idle": Side("an idle loop"),
    "aioboto": Side("aioboto3"),
    "boto": Side("boto3", (BOTO,)),
    "aiobotocore_newest": Side("newest aiobotocore", ("aiobotocore==3.10.0",)),
    "aws_caching": Side(
        "aws-secretsmanager-caching",
        ("aws-secretsmanager-caching==1.2.0", "botocore==1.44.8"),
    ),
    "powertools": Side("Powertools", ("aws-lambda-powertools==3.37.0", BOTO)),
    "lru": Side("async-lru", ("async-lru==2.4.0", "aioboto3==15.5.0")),
    "capo": Side("capo-secrets-manager", ("capo-secrets-manager==0.17.0",), reads_openssl=True),
    "aws_sdk": Side(
        "aws-sdk-secrets-manager",
        ("aws-sdk-secrets-manager==0.12.0",),
        oldest_python=(3, 12),
        reads_openssl=True,
    ),
    "toolkit": Side("fastapi-toolkit", ("fastapi-toolkit[aws]==0.1.5", "botocore==1.44.8")),
}
