"""What is wrong with AWS credentials, if botocore's error is of a class that is about them.

`ambiguous_findings.py` explains errors of other classes. Each sentence names the profile, file or
variable.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from aiocredentials._aws.findings import Failure, Finding, first_set
from aiocredentials._aws.origins import field_of, reason_of_the_system
from aiocredentials.errors import AuthenticationError, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocredentials._aws.findings import Explain

DOCTOR = AuthenticationError.advice
PROGRAM = "the program in credential_process"
RUN_BY_HAND = (
    "Run the program by hand to see its output, which is left out here because it may hold a "
    "secret."
)

_PROFILES = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
# If both are set, botocore uses the first.
_CONTAINER_URLS = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")

# `re` compiles and keeps them at their first use, because few processes meet such an error.
_VERSION = r"(?s)Unsupported version .* for credential process provider, supported versions: 1"
_MISSING_KEY = r"Missing required key in response: '(AccessKeyId|SecretAccessKey)'"
_STATUS = r"non 200 response (\d{3})\b"
_DIFFERS = r"The value for (\w+) is inconsistent between profile "


# No credentials at all


def _none_found(failure: Failure) -> Finding:
    hints = _hints_on_files()
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        hints.append("AWS_EC2_METADATA_DISABLED switches the metadata service off")

    what = f"none were found in the environment, in {failure.the_profile}, or by a metadata service"
    if hints:
        listed = "; ".join(hints)
        what += f" ({listed})"
    return Finding(what, DOCTOR, transient=True)


def _hints_on_files() -> list[str]:
    hints: list[str] = []
    for variable in _FILES:
        configured = os.environ.get(variable, "")
        path = Path(configured).expanduser()
        is_file = path.exists() and not path.is_dir()
        if configured and not is_file:
            name = shown(str(path))
            hints.append(f"{variable} names {name}, which isn't a file")
    return hints


# Profiles and files


def _partial(failure: Failure) -> Finding:
    missing = failure.field("cred_var").strip("'")
    provider = failure.field("provider")
    profile = failure.the_profile
    if provider == "env":
        return Finding(
            what=(
                f"the environment variable {missing} isn't set, but another one of the AWS "
                "credentials is"
            ),
            advice=f"Set {missing}, or unset the other one.",
        )
    if provider == "explicit":
        return Finding(
            what=f"the session has no {missing}",
            advice=f"Give the session {missing} as well.",
        )
    if provider == "assume-role":
        return Finding(
            what=f"{profile} has a role_arn, but no {missing}",
            advice=f"Add {missing} to the profile.",
        )
    return Finding(
        what=f"{profile}, or the one that it refers to, has no {missing}",
        advice=f"Add {missing} to the profile.",
    )


def _no_profile(failure: Failure) -> Finding:
    name = failure.field("profile")
    if not name:
        variable = first_set(_PROFILES)
        return Finding(
            what=f"the name of the profile in {variable} is empty",
            advice=f"Unset {variable}, or set it to the name of a profile.",
        )

    origin = ""
    for variable in _PROFILES:
        configured = os.environ.get(variable, "")
        if one_line(configured) == name:
            origin = f" (from {variable})"
            break
    config = _file_in("AWS_CONFIG_FILE", "~/.aws/config")
    credentials = _file_in("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")
    return Finding(
        what=f"there is no profile '{name}'{origin} in {config} or {credentials}",
        advice=(
            f"Correct the name, or add the profile: as [profile {name}] to the former, "
            f"or as [{name}] to the latter."
        ),
    )


def _file_in(variable: str, default: str) -> str:
    configured = os.environ.get(variable)
    return one_line(configured or default)


def _unparsable(failure: Failure) -> Finding:
    path = failure.field("path")
    number = _number_of_the_line(failure)
    line = ""
    if number:
        line = f" (line {number})"
    return Finding(
        what=f"the file '{path}' can't be parsed{line}",
        advice=(
            "Correct the file: UTF-8 without a byte order mark, [sections], and each key once, "
            "as key = value."
        ),
    )


def _number_of_the_line(failure: Failure) -> int | None:
    """Return the number that configparser's error has; None if it has none."""
    cause = field_of(failure.error, "error")
    # Some errors have one number, another has a list of numbers and lines.
    lines: list[tuple[int, str]] = getattr(cause, "errors", [])
    first = next((number for number, _ in lines), None)
    number: int | None = getattr(cause, "lineno", first)
    return number


def _no_file(failure: Failure) -> Finding:
    path = failure.field("path")
    return Finding(
        what=f"there is no file '{path}'",
        advice="Correct the path, or create the file.",
    )


def _misconfigured(failure: Failure) -> Finding:
    words = failure.field("error_msg")
    profile = failure.the_profile
    # In this case botocore prints both values.
    differs = re.match(_DIFFERS, words)
    if differs is not None:
        words = f"{differs[1]} differs between {profile} and its sso-session"
    if "assume role with web identity" in words:
        return Finding(
            what=f"the environment or {profile} names a web identity token file, but no role",
            advice="Set AWS_ROLE_ARN, or role_arn in the profile.",
        )
    return Finding(words, f"Correct {profile} in the config file.")


def _circle(failure: Failure) -> Finding:
    profiles = failure.field("visited_profiles")
    return Finding(
        what=f"source_profile leads in a circle: {profiles}",
        advice="Put credentials, or another source, into one of these profiles.",
    )


def _unknown_source(failure: Failure) -> Finding:
    name = failure.field("name")
    return Finding(
        what=f"there is no credential_source '{name}'",
        advice="Use Environment, Ec2InstanceMetadata or EcsContainer.",
    )


# Signing in


def _sign_in(profile: str | None, command: str = "aws sso login") -> str:
    """Return the command by which to sign in."""
    if not profile:
        return command
    name = shlex.quote(one_line(profile))
    return f"{command} --profile {name}"


def _no_sso_token(failure: Failure) -> Finding:
    words = failure.field("error_msg")
    command = _sign_in(failure.profile)
    return Finding(
        what=f"{words} ({failure.the_profile})",
        advice=f"Sign in: {command}",
    )


def _signed_out(failure: Failure) -> Finding:
    command = _sign_in(failure.profile)
    return Finding(
        what=f"the SSO session of {failure.the_profile} has expired or isn't valid",
        advice=f"Sign in: {command}",
    )


def _token_not_renewed(failure: Failure) -> Finding:
    # botocore dropped the answer of SSO, so an outage and a refusal look the same.
    command = _sign_in(failure.profile)
    return Finding(
        what=f"the SSO token of {failure.the_profile} has expired and couldn't be renewed",
        advice=f"If that continues, sign in: {command}",
        transient=True,
    )


def _login_ended(failure: Failure) -> Finding:
    words = failure.field("error_msg") or "the session of aws login has ended, or isn't valid"
    command = _sign_in(failure.profile, "aws login")
    return Finding(
        what=f"{words} ({failure.the_profile})",
        advice=f"Sign in: {command}",
    )


def _login_denied(failure: Failure) -> Finding:
    return Finding(
        what=f"the identity of {failure.the_profile} isn't allowed to renew its session",
        advice="Allow it signin:CreateOAuth2Token.",
    )


def _mfa(failure: Failure) -> Finding:
    return Finding(
        what=f"{failure.the_profile} needs a code of an MFA device for each renewal",
        advice="Use a role without mfa_serial for a service.",
    )


# Packages, programs and metadata services


def _missing_package(failure: Failure) -> Finding:
    words = failure.field("msg")
    return Finding(
        what=f"a package is missing: {words}",
        advice="Install it.",
    )


def _bad_metadata_url(_: Failure) -> Finding:
    setting = "AWS_EC2_METADATA_SERVICE_ENDPOINT (ec2_metadata_service_endpoint in the profile)"
    return Finding(
        what=f"the URL in {setting} is malformed, or its host doesn't exist",
        advice="Correct it, or unset it.",
    )


def _bad_metadata_mode(_: Failure) -> Finding:
    return Finding(
        what=(
            "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE (ec2_metadata_service_endpoint_mode in the "
            "profile) is neither ipv4 nor ipv6"
        ),
        advice="Correct it, or unset it.",
    )


def _not_retrieved(failure: Failure) -> Finding:
    provider = failure.field("provider")
    if provider == "custom-process":
        return _program_failed(failure)
    if provider == "container-role":
        variable = first_set(_CONTAINER_URLS)
        return Finding(
            what=f"the endpoint in {variable} returned none{_cause(failure)}",
            advice="Check the agent of ECS or EKS that answers there, and the token that it needs.",
            transient=True,
        )
    if provider == "iam-role":
        return Finding(
            what="the EC2 metadata service returned none, or not all of them",
            advice=(
                "Check that the instance has a role, and that its metadata service can be reached."
            ),
            transient=True,
        )
    return Finding(
        what=f"their source '{provider}' has none for {failure.the_profile}{_cause(failure)}",
        advice=DOCTOR,
        transient=True,
    )


def _program_failed(failure: Failure) -> Finding:
    program = f"{PROGRAM} ({failure.the_profile})"
    words = str(field_of(failure.error, "error_msg", ""))
    if re.fullmatch(_VERSION, words) is not None:
        return Finding(
            what=f"{program} prints a Version other than 1",
            advice="Install a program that prints Version 1.",
        )
    missing = re.fullmatch(_MISSING_KEY, words)
    if missing is not None:
        return Finding(f"{program} prints no {missing[1]}", RUN_BY_HAND)
    # These words are the standard error of the program, which may hold a secret.
    return Finding(f"{program} ended with an error", RUN_BY_HAND, transient=True)


def _no_metadata(failure: Failure) -> Finding:
    return Finding(
        what=f"the metadata service returned none{_cause(failure)}",
        advice=DOCTOR,
        transient=True,
    )


def _cause(failure: Failure) -> str:
    """Return the status that a metadata service answered with, or why it didn't answer."""
    status = re.search(_STATUS, failure.field("error_msg"))
    if status is not None:
        return f" (it answered with HTTP status {status[1]})"
    reason = reason_of_the_system(failure.error)
    if reason is None:
        return ""
    return f" ({reason})"


def _unspecified(failure: Failure) -> Finding:
    return Finding(f"{failure.class_name} ({failure.the_profile})", DOCTOR)


# By name, because a class may be in newer versions of botocore only.
CREDENTIALS: Mapping[str, Explain] = {
    "NoCredentialsError": _none_found,
    "PartialCredentialsError": _partial,
    "ProfileNotFound": _no_profile,
    "ConfigParseError": _unparsable,
    "ConfigNotFound": _no_file,
    "InvalidConfigError": _misconfigured,
    "InfiniteLoopConfigError": _circle,
    "UnknownCredentialError": _unknown_source,
    "SSOTokenLoadError": _no_sso_token,
    "UnauthorizedSSOTokenError": _signed_out,
    "SSOError": _unspecified,
    "TokenRetrievalError": _token_not_renewed,
    "NoAuthTokenError": _unspecified,
    "UnknownTokenProviderError": _unspecified,
    "LoginError": _login_ended,
    "LoginInsufficientPermissions": _login_denied,
    "RefreshWithMFAUnsupportedError": _mfa,
    "MissingDependencyException": _missing_package,
    "InvalidIMDSEndpointError": _bad_metadata_url,
    "InvalidIMDSEndpointModeError": _bad_metadata_mode,
    "CredentialRetrievalError": _not_retrieved,
    "MetadataRetrievalError": _no_metadata,
}
