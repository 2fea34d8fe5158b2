"""What a fleet costs per month: AWS's public prices of us-east-1, without the free tiers."""

from __future__ import annotations

# https://aws.amazon.com/secrets-manager/pricing/, https://aws.amazon.com/sqs/pricing/ and
# https://aws.amazon.com/sns/pricing/, as of this date. Events of AWS's own services and deliveries
# from SNS to SQS are free (https://aws.amazon.com/eventbridge/pricing/).
PRICES_AS_OF = "2026-11-26"
PER_CALL = 0.05 / 10_000
PER_SECRET = 0.40
PER_SQS_REQUEST = 0.40 / 1_000_000
PER_SNS_PUBLISH = 0.50 / 1_000_000

SECONDS_PER_MONTH = 365 * 24 * 3600 / 12

# A queue is asked without a pause, and an empty answer comes after this many seconds.
LONG_POLL = 20.0

# How often each secret is rotated: AWS's examples rotate each 30 days.
ROTATIONS_PER_MONTH = 1


def calls_price(per_second: float) -> float:
    """Return the price of calls of Secrets Manager, in dollars per month."""
    return per_second * SECONDS_PER_MONTH * PER_CALL


def secrets_price(secrets: int) -> float:
    """Return the price of having secrets, in dollars per month."""
    return secrets * PER_SECRET


def push_price(processes: int, secrets: int) -> float:
    """Return the price of a queue per process, in dollars per month.

    That is: long polls, a deletion per event, one publication per rotation, and the refresh of each
    process after it.
    """
    rotations = secrets * ROTATIONS_PER_MONTH
    polls = processes * SECONDS_PER_MONTH / LONG_POLL
    events = processes * rotations
    queues = (polls + events) * PER_SQS_REQUEST
    return queues + rotations * PER_SNS_PUBLISH + events * PER_CALL
