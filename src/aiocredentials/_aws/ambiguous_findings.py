"""What is wrong with AWS credentials, if the error's class doesn't show that it is about them.

These errors are raised while AWS credentials are loaded or renewed, but they have the same classes
as errors of other calls, so only the traceback shows what was asked. `credential_findings.py`
explains the errors whose class is enough.
"""

from __future__ import annotations

import os
import re

from aiocredentials._aws.credential_findings import DOCTOR, PROGRAM, RUN_BY_HAND
from aiocredentials._aws.findings import (
    Failure,
    Finding,
    first_set,
    malformed_number,
    refused_parameters,
)
from aiocredentials._aws.origins import frames
from aiocredentials.errors import shown

# The method of botocore that starts the program in credential_process and parses its output.
_STARTS_THE_PROGRAM = "_retrieve_credentials_using"

_TOKEN_FILES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
_CONTAINER_TOKENS = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
# The parameters of STS and SSO, and where they are configured.
_SETTING_OF_PARAMETER = {
    "RoleArn": "role_arn (or AWS_ROLE_ARN)",
    "RoleSessionName": "role_session_name (or AWS_ROLE_SESSION_NAME)",
    "DurationSeconds": "duration_seconds",
    "ExternalId": "external_id",
    "SerialNumber": "mfa_serial",
    "roleName": "sso_role_name",
    "accountId": "sso_account_id",
}
_REGION_ERRORS = frozenset({"NoRegionError", "InvalidRegionError", "UnknownRegionError"})

# The first word of a command may be shown if it is a path, but not if it is a variable with its
# value.
_PATH = r"[\w./~+-]{1,200}"


def explain_loading(failure: Failure) -> Finding | None:
    """Explain an error that was raised while AWS credentials were loaded or renewed.

    Returns None for an error of the network, and for an unforeseen error.
    """
    for explain in (
        _explain_program,
        _explain_parameter,
        _explain_file,
        _explain_expiry,
        _explain_value,
        _explain_region,
    ):
        finding = explain(failure)
        if finding is not None:
            return finding
    return None


def explain_unforeseen(failure: Failure, *, opening: bool) -> Finding:
    """Name an unforeseen error that was raised while AWS credentials were loaded or renewed.

    At the opening of a session, the configuration causes it, so it is permanent. In a call,
    credentials are renewed, so the next attempt may succeed.
    """
    what = f"an unexpected {failure.class_name} was raised ({failure.the_profile})"
    return Finding(what, DOCTOR, transient=not opening)


def _explain_program(failure: Failure) -> Finding | None:
    error = failure.error
    functions = [frame.f_code.co_name for frame in frames(error)]
    if _STARTS_THE_PROGRAM not in functions:
        return None
    if isinstance(error, OSError):
        return _not_started(error, failure)
    # asyncio raises it without a message. psycopg needs such a loop on Windows.
    if isinstance(error, NotImplementedError):
        return Finding(
            what=(
                f"{PROGRAM} ({failure.the_profile}) can't be started, because this event loop "
                "can't start programs"
            ),
            advice=(
                "On Windows, use asyncio's ProactorEventLoop and not its SelectorEventLoop, or "
                "another source of AWS credentials."
            ),
        )
    if "quotation" in str(error):
        return Finding(
            what=(
                f"credential_process ({failure.the_profile}) has a quotation mark that isn't closed"
            ),
            advice="Close it.",
        )
    return Finding(
        what=f"{PROGRAM} ({failure.the_profile}) doesn't print the expected JSON",
        advice=RUN_BY_HAND,
    )


def _not_started(error: OSError, failure: Failure) -> Finding:
    path = str(error.filename)
    reason = str(error.strerror)
    if error.filename and re.fullmatch(_PATH, path):
        reason = f"{path}: {reason}"
    # A program that can't be found or run isn't installed. Any other reason may be over soon, such
    # as too many open files.
    is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError))
    return Finding(
        what=f"{PROGRAM} ({failure.the_profile}) can't be started: {reason}",
        advice="Correct the path, or install the program.",
        transient=not is_missing,
    )


def _explain_parameter(failure: Failure) -> Finding | None:
    if failure.class_name != "ParamValidationError":
        return None
    parameters = refused_parameters(failure.error)
    if "WebIdentityToken" in parameters:
        return Finding(
            what=(
                "the web identity token in the file of AWS_WEB_IDENTITY_TOKEN_FILE is empty, or "
                "too short"
            ),
            advice="Check the program that writes that file.",
            transient=True,
        )
    settings = [_SETTING_OF_PARAMETER.get(parameter, parameter) for parameter in parameters]
    listed = ", ".join(settings) or "one of the settings"
    return Finding(
        what=f"the value of {listed} is malformed, or out of range ({failure.the_profile})",
        advice="Correct it.",
    )


def _explain_file(failure: Failure) -> Finding | None:
    error = failure.error
    if not isinstance(error, OSError) or error.filename is None:
        return None
    path = str(error.filename)
    name = shown(path)
    for variable in _TOKEN_FILES:
        if os.environ.get(variable) == path:
            name += f" (from {variable})"
            break
    return Finding(
        what=f"the file {name} can't be used: {error.strerror}",
        advice="Check that it exists, and that this process may read it.",
        transient=True,
    )


def _explain_expiry(failure: Failure) -> Finding | None:
    error = failure.error
    if not isinstance(error, RuntimeError) or "still expired" not in str(error):
        return None
    return Finding(
        what=f"the source of {failure.the_profile} returned credentials that have expired already",
        advice="Check that source, and the clock of this host.",
        transient=True,
    )


def _explain_value(failure: Failure) -> Finding | None:
    if not isinstance(failure.error, ValueError):
        return None
    words = str(failure.error)
    if "legal header value" in words:
        variable = first_set(_CONTAINER_TOKENS)
        return Finding(
            what=f"the token of {variable} contains a line end",
            advice="Remove the line end.",
        )
    if words.startswith("Unsupported host"):
        return Finding(
            what=(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI names a host from which credentials aren't "
                "accepted over plain http"
            ),
            advice="Use https, a loopback address, or the address of the agent of ECS or EKS.",
        )
    number = None
    if "invalid literal" in words:
        number = malformed_number()
    if number is None:
        return None
    return Finding(number, "Correct it, or unset it.")


def _explain_region(failure: Failure) -> Finding | None:
    if failure.class_name not in _REGION_ERRORS:
        return None
    return Finding(
        what=f"{failure.the_profile} has no valid region for the calls to STS or SSO",
        advice="Set AWS_DEFAULT_REGION, or region and sso_region in the profile.",
    )
