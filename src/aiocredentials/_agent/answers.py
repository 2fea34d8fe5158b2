"""How the agent's answers are read: as an answer of botocore's client, or as an error.

An error is returned, not raised: the traceback of a raised error would hold the answer.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, TypeAlias, cast

from aiocredentials._agent import failures
from aiocredentials._identifiers import region_in
from aiocredentials.errors import CredentialsError

Answer: TypeAlias = dict[str, Any]
Parameters: TypeAlias = dict[str, str]


class Refusal(Enum):
    """An answer after which the client may ask once more, in another way."""

    TOKEN = auto()
    """The token isn't the agent's."""
    CONNECTIONS = auto()
    """The connection is one too many."""
    NOT_READY = auto()
    """An extension answers only after INIT has ended."""
    REFRESH_NOW = auto()
    """The agent is older than 1.1."""
    ROLE_ARN = auto()
    """The agent is older than 2.1."""


Outcome: TypeAlias = Answer | CredentialsError | Refusal

# The plain texts that the agent and Lambda's extension send. Sources: the agent's server.rs and
# parse.rs, and the extension's log lines in public reports.
_BY_TEXT = {
    "unknown parameter: refreshnow": Refusal.REFRESH_NOW,
    "unknown parameter: rolearn": Refusal.ROLE_ARN,
}
_NOT_READY = ("not ready to serve", "serving not enabled")
_REFUSED = ("missing parameter", "missing secret", "unknown parameter", "invalid ")

# The agent didn't escape what it put into an error's JSON before version 2.0.1.
_CODE = r"[\w.#-]{1,200}"
_ERROR = re.compile(
    rf'\s*\{{\s*"__type"\s*:\s*"({_CODE})"\s*(?:,\s*"[Mm]essage"\s*:\s*"(.*)"\s*)?\}}\s*',
    re.DOTALL,
)
# It decides whether an error shows a region that the other side sent. So it is narrower than the
# patterns for regions that callers configure, which must accept each new form of a name.
_REGION = re.compile(r"[a-z]{2}(-[a-z]{2,9}){1,3}-[0-9]{1,2}")
_EPOCH = re.compile(r"-?\d{1,12}(\.\d{1,9})?")


def read_reply(
    status: int,
    body: bytes,
    *,
    asked: Parameters,
    region_name: str,
    url: str,
) -> Outcome:
    """Return the answer for botocore's caller, an error, or a refusal.

    Args:
        status: The status of the reply.
        body: The body of the reply.
        asked: The parameters of GetSecretValue.
        region_name: The region that was asked.
        url: The address of the agent, for errors.
    """
    if status != HTTPStatus.OK:
        return _read_error(status, body, url)
    found = _object_in(body)
    if found is None:
        return failures.malformed(url, "its answer isn't a JSON object")
    value = _value_in(found)
    if value is None:
        return failures.malformed(url, "its answer has a SecretBinary that isn't base64")

    actual = region_in(str(found.get("ARN")))
    if actual is not None and actual != region_name:
        named = actual if _REGION.fullmatch(actual) else "another region"
        return failures.other_region(url, region_name, named)
    return {
        "ARN": found.get("ARN"),
        "Name": found.get("Name"),
        "CreatedDate": created_at(found.get("CreatedDate")),
        **_version_in(found, asked),
        **value,
    }


def _object_in(body: bytes) -> Answer | None:
    try:
        found: object = json.loads(body.decode())
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        return cast("Answer", found)
    return None


def _value_in(found: Answer) -> Answer | None:
    """Return the members with the value; None if it isn't base64."""
    members = {"SecretString": found.get("SecretString")}
    encoded = found.get("SecretBinary")
    if encoded is None:
        return members
    try:
        members["SecretBinary"] = base64.b64decode(encoded, validate=True)
    except (binascii.Error, TypeError, ValueError):
        return None
    return members


def _version_in(found: Answer, asked: Parameters) -> Answer:
    """Return the members about the version, which the agent may leave out or set to null."""
    version = found.get("VersionId")
    if version is None:
        version = asked.get("VersionId") or _substitute(created_at(found.get("CreatedDate")))
    labels = found.get("VersionStages")
    if labels is None and "VersionStage" in asked:
        labels = [asked["VersionStage"]]
    return {"VersionId": version, "VersionStages": labels}


def _substitute(created: datetime | None) -> str:
    """Return an id for a version without one, which differs for each date, so a rotation shows."""
    if created is None:
        return "unknown"
    return f"unknown-{created.timestamp():.3f}"


def created_at(given: object) -> datetime | None:
    """Return a time that is written as seconds since 1970 or as RFC 3339; None for another text."""
    text = str(given)
    try:
        if _EPOCH.fullmatch(text):
            return datetime.fromtimestamp(float(text), UTC)
        time = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError):
        return None
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    return time


# Errors


def _read_error(status: int, body: bytes, url: str) -> CredentialsError | Refusal:
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return Refusal.CONNECTIONS
    text = body.decode(errors="replace")
    error = _error_in(body, text)
    if error is not None:
        code, message = error
        return failures.answered(code, message, status)
    return _read_text(status, text.strip().lower(), url)


def _error_in(body: bytes, text: str) -> tuple[str, str] | None:
    """Return the code and the message of an error in JSON; None for another body."""
    found = _object_in(body)
    if found is not None:
        code = found.get("__type")
        message = found.get("message") or found.get("Message") or ""
        if not isinstance(code, str) or re.fullmatch(_CODE, code) is None:
            return None
        # An object may hold anything.
        return _name_of(code), message if isinstance(message, str) else ""
    match = _ERROR.fullmatch(text)
    if match is None:
        return None
    return _name_of(match[1]), match[2] or ""


def _name_of(code: str) -> str:
    """Return a code without the name of its service."""
    return code.rpartition("#")[2]


def _read_text(status: int, text: str, url: str) -> CredentialsError | Refusal:
    refusal = _BY_TEXT.get(text)
    if refusal is not None:
        return refusal
    if any(words in text for words in _NOT_READY):
        return Refusal.NOT_READY
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN} and not text.startswith("<"):
        return Refusal.TOKEN
    if status == HTTPStatus.BAD_REQUEST and text == "forwarded":
        return failures.forwarded(url)
    if status == HTTPStatus.BAD_REQUEST and text.startswith(_REFUSED):
        return failures.refused_parameter(url)
    return failures.page(url, status)
