"""The parts of a report's text that come from errors, URLs and times.

`kms_denies` is here because it reads AWS's message, as `reason_of` does.
A report names the secret and the region in other places, so the reason of an error comes without
them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    CredentialsError,
    SecretDecryptionError,
    what_of,
)

CREDENTIAL_SOURCES = (
    "environment variables, a profile (AWS_PROFILE), "
    "or the role of the instance, container or function."
)
CREDENTIALS_ADVICE = f"Correct or renew the AWS credentials of this process: {CREDENTIAL_SOURCES}"
_RUN_THE_DOCTOR = "aiocredentials doctor"

# Secrets Manager's words when KMS denies access; the code is AccessDeniedException then too.
_KMS_DENIES = re.compile(r"access to kms|\bkms:[a-z]", re.IGNORECASE)
# A login in a URL, up to the last @ of the word. No parser can split a URL whose password holds odd
# characters.
_LOGIN_IN_URL = re.compile(r"(?<=://)\S*@")


def reason_of(error: CredentialsError) -> str:
    """Return what happened, without the secret, the region and the advice."""
    message = _message_of(error)
    if error.code and message:
        sentence = message.rstrip(".")
        reason = f"{error.code}: {sentence}."
    else:
        text = str(error).removesuffix(error.advice)
        reason = what_of(error) or text.strip()
    return without_logins(reason)


def advice_of(error: CredentialsError) -> str:
    """Return what to do about an error."""
    advice = error.advice
    is_about_credentials = isinstance(error, AuthenticationError)
    # The library's own advice on credentials is to run the doctor. The doctor has better advice.
    if is_about_credentials and _RUN_THE_DOCTOR in advice:
        return CREDENTIALS_ADVICE
    return advice


def reason_and_advice_of(error: CredentialsError) -> str:
    """Return what happened and what to do."""
    reason = reason_of(error)
    advice = advice_of(error)
    return f"{reason} {advice}".rstrip()


def kms_denies(error: CredentialsError) -> bool:
    """Whether Secrets Manager allowed the call, and KMS did not decrypt the secret."""
    if isinstance(error, SecretDecryptionError):
        return True
    if not isinstance(error, AccessDeniedError):
        return False
    message = _message_of(error)
    match = _KMS_DENIES.search(message)
    return match is not None


def _message_of(error: CredentialsError) -> str:
    """Return AWS's message; an empty text if AWS didn't answer."""
    response = getattr(error, "response", {})
    details = response.get("Error", {})
    message = details.get("Message", "")
    return str(message)


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


def minute_of(time: datetime) -> str:
    """Return a time in UTC, to the minute."""
    utc_time = utc(time)
    return f"{utc_time:%Y-%m-%d %H:%M} UTC"
