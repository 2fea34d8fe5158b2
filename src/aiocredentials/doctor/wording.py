"""The words of a report that are made of others' words: errors, URLs and times.

The reports name the secret, the region and the advice in fields of their own, so the reason of an
error is taken without them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    CredentialsError,
    SecretDecryptionError,
)

CREDENTIAL_SOURCES = (
    "environment variables, a profile (AWS_PROFILE), "
    "or the role of the instance, container or function."
)
CREDENTIALS_ADVICE = f"Correct or renew the AWS credentials of this process: {CREDENTIAL_SOURCES}"

# Secrets Manager's words when KMS denies access; the code is AccessDeniedException then too.
_KMS_DENIES = re.compile(r"access to kms|\bkms:[a-z]", re.IGNORECASE)
# A login in a URL, up to the last @ of the word. No parser can split a URL whose password holds odd
# characters.
_LOGIN_IN_URL = re.compile(r"(?<=://)\S*@")


def reason_of(error: CredentialsError) -> str:
    """Return what happened, without the secret, the region and the advice."""
    message = _message_of(error)
    if error.code and message:
        sentence = message.rstrip(".") + "."
        return without_logins(f"{error.code}: {sentence}")

    reason: str | None = vars(error).get("_what")
    if not reason:
        text = str(error)
        reason = text.removesuffix(error.advice)
        reason = reason.strip()
    return without_logins(reason)


def advice_of(error: CredentialsError) -> str:
    """Return what to do about an error."""
    # The library's own advice on credentials is to run the doctor. The doctor needs another one.
    if isinstance(error, AuthenticationError) and "aiocredentials doctor" in error.advice:
        return CREDENTIALS_ADVICE
    return error.advice


def reason_and_advice_of(error: CredentialsError) -> str:
    """Return what happened and what to do."""
    reason = reason_of(error)
    advice = advice_of(error)
    return f"{reason} {advice}".rstrip()


def kms_denies(error: CredentialsError) -> bool:
    """Whether an error means that the identity may have the secret, and KMS doesn't decrypt it."""
    if isinstance(error, SecretDecryptionError):
        return True
    if not isinstance(error, AccessDeniedError):
        return False
    message = _message_of(error)
    return _KMS_DENIES.search(message) is not None


def _message_of(error: CredentialsError) -> str:
    """Return AWS's message; an empty text if AWS didn't answer."""
    response = getattr(error, "response", {})
    details = response.get("Error", {})
    return str(details.get("Message", ""))


def without_logins(text: str) -> str:
    """Return a text without the user names and passwords in its URLs."""
    return _LOGIN_IN_URL.sub("", text)


def utc(time: datetime) -> datetime:
    """Return a time in UTC. An emulator's time may have no zone, or lie at the end of time."""
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return time.replace(tzinfo=UTC)
