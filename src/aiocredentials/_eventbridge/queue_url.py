"""The URL of an SQS queue: its endpoint and its region, and clear errors for other texts."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from aiocredentials._arguments import check_name
from aiocredentials._aws.redact import without_password

_WHAT_TO_DO = "give the queue's URL, as `aws sqs get-queue-url` shows it"
_EXAMPLE = "https://sqs.eu-west-1.amazonaws.com/123456789012/rotations"
_ARN = re.compile(
    r"arn:(?P<partition>[^:]+):sqs:(?P<region>[^:]+):(?P<account>\d+):(?P<name>[^:]+)"
)
_REGION = r"(?P<region>[a-z]{2,5}(-[a-z]+)+-\d+)"
# The hosts of SQS in each partition, such as sqs-fips.us-gov-west-1.amazonaws.com, those of VPC
# endpoints, and as botocore named them until 2022 (AWS General Reference, "Amazon SQS endpoints and
# quotas").
_HOST = re.compile(rf"([^.]+\.)?sqs(-fips)?\.{_REGION}\..+")
_LEGACY = re.compile(rf"({_REGION}\.)?queue\.amazonaws\.com(?P<china>\.cn)?")
_AWS = re.compile(r".*\.(amazonaws\.com|amazonaws\.eu|api\.aws|amazonwebservices\.com)(\.cn)?")


class Queue(NamedTuple):
    """A queue, and where it is asked."""

    url: str
    endpoint_url: str
    region_name: str | None
    """None if the host names no region, as that of an emulator."""


def queue_at(queue_url: str | None) -> Queue:
    """Return the queue with this URL.

    Raises:
        TypeError: The URL isn't a string, or it is None.
        ValueError: It isn't the URL of a queue. The message names what to give instead.
    """
    if queue_url is None:
        raise TypeError(f"queue_url is None: {_WHAT_TO_DO}.")
    check_name("queue_url", queue_url, _WHAT_TO_DO)
    arn = _ARN.fullmatch(queue_url)
    if arn is not None:
        raise ValueError(f"queue_url is a queue's ARN: give its URL, {_url_of(arn)}.")

    safe_url = without_password(queue_url)
    host_part = queue_url.partition("//")[2].partition("/")[0]
    if "@" in host_part:
        raise ValueError(
            f"queue_url has a user and a password: give the URL without them, {safe_url!r}. "
            "AWS credentials come from the session."
        )
    parts = _split(queue_url)
    if parts is None:
        raise ValueError(
            f"queue_url {safe_url!r} isn't the URL of a queue: {_WHAT_TO_DO}, such as {_EXAMPLE}."
        )
    host = str(parts.hostname)
    if parts.scheme == "http" and _AWS.fullmatch(host):
        raise ValueError("queue_url begins with http://: write https://, so tokens stay secret.")

    endpoint_url = f"{parts.scheme}://{parts.netloc}"
    legacy = _LEGACY.fullmatch(host)
    if legacy is not None:
        region = legacy["region"] or "us-east-1"
        china = legacy["china"] or ""
        return Queue(queue_url, f"https://sqs.{region}.amazonaws.com{china}", region)
    match = _HOST.fullmatch(host)
    region_name = None if match is None else match["region"]
    return Queue(queue_url, endpoint_url, region_name)


def _url_of(arn: re.Match[str]) -> str:
    suffix = ".cn" if arn["partition"] == "aws-cn" else ""
    return f"https://sqs.{arn['region']}.amazonaws.com{suffix}/{arn['account']}/{arn['name']}"


def _split(url: str) -> SplitResult | None:
    """Return the parts of the URL; None if it can't be that of a queue."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # A bracket isn't closed, or the port isn't a number.
        return None
    is_http = parts.scheme in {"http", "https"}
    if not is_http or not parts.hostname or port == 0:
        return None
    # An account and a name, at least; emulators may write more in front of them.
    names = [name for name in parts.path.split("/") if name]
    is_more = bool(parts.query or parts.fragment or "@" in url or re.search(r"\s", url))
    if len(names) < 2 or is_more:  # noqa: PLR2004 (an account and a name)
        return None
    return parts
