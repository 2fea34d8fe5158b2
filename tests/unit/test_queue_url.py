"""URLs of queues: the region and the endpoint in them, and what to do about texts that are none."""

from __future__ import annotations

import pytest

from aiocredentials._eventbridge.queue_url import queue_at

PATH = "/123456789012/rotations"


@pytest.mark.parametrize(
    ("host", "region", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com", "eu-west-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn", "cn-north-1", None),
        ("https://sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1", None),
        ("https://sqs-fips.us-east-1.amazonaws.com", "us-east-1", None),
        ("https://sqs.us-east-1.api.aws", "us-east-1", None),
        ("https://sqs-fips.us-gov-east-1.api.aws", "us-gov-east-1", None),
        ("https://sqs.cn-northwest-1.api.amazonwebservices.com.cn", "cn-northwest-1", None),
        ("https://vpce-0a1b-2c3d.sqs.eu-west-1.vpce.amazonaws.com", "eu-west-1", None),
        ("https://sqs.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", None),
        ("https://sqs.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", None),
        ("http://sqs.eu-west-1.localhost.localstack.cloud:4566", "eu-west-1", None),
        ("https://queue.amazonaws.com", "us-east-1", "https://sqs.us-east-1.amazonaws.com"),
        ("https://eu-west-1.queue.amazonaws.com", "eu-west-1", "https://sqs.eu-west-1.amazonaws.com"),
        ("https://cn-north-1.queue.amazonaws.com.cn", "cn-north-1", "https://sqs.cn-north-1.amazonaws.com.cn"),
        ("http://127.0.0.1:5000", None, None),
        ("http://localhost:4566", None, None),
        ("https://queues.example", None, None),
    ],
)
def test_hosts(host: str, region: str | None, endpoint: str | None) -> None:
    """The host names the region; old hosts are asked by their present names, others as they are written."""
    assert queue_at(host + PATH) == (host + PATH, endpoint or host, region)


@pytest.mark.parametrize(
    ("arn", "url"),
    [
        ("arn:aws:sqs:eu-west-1:123456789012:rotations", "https://sqs.eu-west-1.amazonaws.com/123456789012/rotations"),
        ("arn:aws-cn:sqs:cn-north-1:1:a", "https://sqs.cn-north-1.amazonaws.com.cn/1/a"),
    ],
)
def test_an_arn(arn: str, url: str) -> None:
    """An ARN is refused with the URL that belongs to it."""
    with pytest.raises(ValueError, match="is a queue's ARN: give its URL, ") as info:
        queue_at(arn)
    assert f" {url}." in str(info.value)


@pytest.mark.parametrize(
    "text",
    [
        "rotations",
        "rotations.fifo",
        "https://",
        "https://sqs.eu-west-1.amazonaws.com",
        "https://sqs.eu-west-1.amazonaws.com/rotations",
        "ftp://sqs.eu-west-1.amazonaws.com/1/a",
        "https://[::1/1/a",
        "https://host:port/1/a",
        "https://host:0/1/a",
        "https://host/1/a?b",
        "https://host/1/a#b",
        "https://host/1/a b",
        "https://host/1/a@b",
        "arn:aws:sns:eu-west-1:123456789012:rotations",
    ],
)
def test_no_url(text: str) -> None:
    """A name, and each text that is no URL of a queue, is refused with an example of one."""
    with pytest.raises(ValueError, match="isn't the URL of a queue: give the queue's URL, as `aws sqs get-queue-url`"):
        queue_at(text)


@pytest.mark.parametrize("url", ["https://user:mock_password@host/1/a", "https://user:mock#_password@host/1/a"])
def test_a_password(url: str) -> None:
    """A URL with a user and a password is refused for these, and the error leaves them out."""
    with pytest.raises(ValueError, match="has a user and a password: give the URL without them") as info:
        queue_at(url)
    assert "'https://host/1/a'" in str(info.value)
    assert "mock_password" not in str(info.value)
    assert "user:" not in str(info.value)


def test_in_clear() -> None:
    """No token is sent to AWS in clear."""
    with pytest.raises(ValueError, match="write https://"):
        queue_at("http://sqs.eu-west-1.amazonaws.com" + PATH)


@pytest.mark.parametrize(
    ("value", "error"), [(7, TypeError), (None, TypeError), (0, TypeError), ("", ValueError), (" ", ValueError)]
)
def test_no_text(value: object, error: type[Exception]) -> None:
    """What isn't a text is refused."""
    with pytest.raises(error, match="give the queue's URL"):
        queue_at(value)  # type: ignore[arg-type]
