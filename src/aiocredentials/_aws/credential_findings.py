"""What is wrong with AWS credentials, in a sentence that names the profile, file or variable."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from aiocredentials._aws.findings import (
    Failure,
    Finding,
    chain,
    first_set,
    frames,
    malformed_number,
    parameters_in,
)
from aiocredentials.errors import one_line, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocredentials._aws.findings import Explain

DOCTOR = (
    "Run python -m aiocredentials doctor NAME: it shows which AWS credentials this process finds."
)
_BY_HAND = "Run the program by hand to see what it says: that is left out here, because it may hold a secret."
_PROGRAM = "the program in credential_process"
# The method of botocore that starts it, and reads what it prints.
_RUNS_THE_PROGRAM = "_retrieve_credentials_using"

_PROFILES = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")
_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_TOKEN_FILES = ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
# Where both are set, botocore takes the first.
_CONTAINER_URLS = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
_CONTAINER_TOKENS = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
# The parameters of STS and SSO, and where they are set.
_SETTINGS_OF = {
    "RoleArn": "role_arn (or AWS_ROLE_ARN)",
    "RoleSessionName": "role_session_name (or AWS_ROLE_SESSION_NAME)",
    "DurationSeconds": "duration_seconds",
    "ExternalId": "external_id",
    "SerialNumber": "mfa_serial",
    "roleName": "sso_role_name",
    "accountId": "sso_account_id",
}

_VERSION = re.compile(
    r"Unsupported version .* for credential process provider, supported versions: 1",
    re.DOTALL,
)
_MISSING_KEY = re.compile(r"Missing required key in response: '(AccessKeyId|SecretAccessKey)'")
_STATUS = re.compile(r"non 200 response (\d{3})\b")
_DIFFERS = re.compile(r"The value for (\w+) is inconsistent between profile ")
# What may be shown of the first word of a command: a path, and not a variable with its value.
_PATH = re.compile(r"[\w./~+-]{1,200}")


def sign_in(profile: str | None, command: str = "aws sso login") -> str:
    """Return the command by which to sign in."""
    return f"{command} --profile {shlex.quote(one_line(profile))}" if profile else command


# What botocore raises of its own


def _none_found(failure: Failure) -> Finding:
    hints: list[str] = []
    for variable in _FILES:
        path = Path(os.environ.get(variable) or ".").expanduser()
        if os.environ.get(variable) and (path.is_dir() or not path.exists()):
            hints.append(f"{variable} names {shown(str(path))}, which isn't a file")
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        hints.append("AWS_EC2_METADATA_DISABLED switches the metadata service off")
    details = f" ({'; '.join(hints)})" if hints else ""
    what = (
        f"none were found in the environment, in {failure.where}, or by a metadata service{details}"
    )
    return Finding(what, DOCTOR, transient=True)


def _partial(failure: Failure) -> Finding:
    missing = failure.field("cred_var").strip("'")
    if failure.field("provider") == "env":
        what = f"the environment variable {missing} isn't set, but another one of the AWS credentials is"
        return Finding(what, f"Set {missing}, or unset the other one.")
    if failure.field("provider") == "explicit":
        return Finding(f"the session was given no {missing}", f"Give it {missing} as well.")
    if failure.field("provider") == "assume-role":
        what = f"{failure.where} has a role_arn, but no {missing}"
        return Finding(what, f"Add {missing} to the profile.")
    what = f"{failure.where}, or the one that it refers to, has no {missing}"
    return Finding(what, f"Add {missing} to the profile.")


def _no_profile(failure: Failure) -> Finding:
    name = failure.field("profile")
    if not name:
        variable = first_set(_PROFILES)
        advice = f"Unset {variable}, or put the name of a profile into it."
        return Finding(f"the name of the profile in {variable} is empty", advice)
    named_by = [each for each in _PROFILES if one_line(os.environ.get(each, "")) == name]
    origin = f" (from {named_by[0]})" if named_by else ""
    config = one_line(os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config")
    credentials = one_line(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
    return Finding(
        f"there is no profile '{name}'{origin} in {config} or {credentials}",
        f"Correct the name, or add the profile: as [profile {name}] to the former, or as [{name}] to the latter.",
    )


def _unparsable(failure: Failure) -> Finding:
    cause: object = getattr(failure.error, "kwargs", {}).get("error")
    # Some of configparser's errors have one number, another one has a list of numbers and lines.
    bad_lines: list[tuple[int, str]] = getattr(cause, "errors", [])
    number = getattr(cause, "lineno", bad_lines[0][0] if bad_lines else None)
    line = f" (line {number})" if number else ""
    return Finding(
        f"the file '{failure.field('path')}' can't be parsed{line}",
        "Correct the file: UTF-8 without a byte order mark, [sections], and each key once, as key = value.",
    )


def _no_file(failure: Failure) -> Finding:
    what = f"there is no file '{failure.field('path')}'"
    return Finding(what, "Correct the path, or create the file.")


def _misconfigured(failure: Failure) -> Finding:
    words = failure.field("error_msg")
    if differs := _DIFFERS.match(words):
        # botocore prints both values.
        words = f"{differs[1]} differs between {failure.where} and its sso-session"
    if "assume role with web identity" in words:
        what = f"the environment or {failure.where} names a web identity token file, but no role"
        return Finding(what, "Set AWS_ROLE_ARN, or role_arn in the profile.")
    return Finding(words, f"Correct {failure.where} in the config file.")


def _circle(failure: Failure) -> Finding:
    what = f"source_profile leads in a circle: {failure.field('visited_profiles')}"
    return Finding(what, "Put credentials, or another source, into one of these profiles.")


def _unknown_source(failure: Failure) -> Finding:
    what = f"there is no credential_source '{failure.field('name')}'"
    return Finding(what, "Use Environment, Ec2InstanceMetadata or EcsContainer.")


def _no_token(failure: Failure) -> Finding:
    what = f"{failure.field('error_msg')} ({failure.where})"
    return Finding(what, f"Sign in: {sign_in(failure.profile)}")


def _signed_out(failure: Failure) -> Finding:
    what = f"the SSO session of {failure.where} has expired or isn't valid"
    return Finding(what, f"Sign in: {sign_in(failure.profile)}")


def _token_not_renewed(failure: Failure) -> Finding:
    # botocore has swallowed the answer of SSO: an outage and a refusal look the same.
    what = f"the SSO token of {failure.where} has expired and couldn't be renewed"
    return Finding(what, f"If that continues, sign in: {sign_in(failure.profile)}", transient=True)


def _login(failure: Failure) -> Finding:
    words = failure.field("error_msg") or "the session of aws login has ended, or isn't valid"
    command = sign_in(failure.profile, "aws login")
    return Finding(f"{words} ({failure.where})", f"Sign in: {command}")


def _login_denied(failure: Failure) -> Finding:
    what = f"the identity of {failure.where} isn't allowed to renew its session"
    return Finding(what, "Allow it signin:CreateOAuth2Token.")


def _mfa(failure: Failure) -> Finding:
    what = f"{failure.where} needs a code of an MFA device for each renewal"
    return Finding(what, "Use a role without mfa_serial for a service.")


def _dependency(failure: Failure) -> Finding:
    return Finding(f"a package is missing: {failure.field('msg')}", "Install it.")


def _bad_metadata_url(_: Failure) -> Finding:
    names = "AWS_EC2_METADATA_SERVICE_ENDPOINT (ec2_metadata_service_endpoint in the profile)"
    what = f"the URL in {names} is malformed, or its host doesn't exist"
    return Finding(what, "Correct it, or unset it.")


def _bad_metadata_mode(_: Failure) -> Finding:
    variable = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"
    what = f"{variable} ({variable[4:].lower()} in the profile) is neither ipv4 nor ipv6"
    return Finding(what, "Correct it, or unset it.")


def _not_retrieved(failure: Failure) -> Finding:
    provider = failure.field("provider")
    if provider == "custom-process":
        return _program_refused(failure)
    if provider == "container-role":
        what = f"the endpoint in {first_set(_CONTAINER_URLS)} returned none{_why(failure)}"
        advice = "Check the agent of ECS or EKS that answers there, and the token that it needs."
    elif provider == "iam-role":
        what = "the EC2 metadata service returned none, or not all of them"
        advice = "Check that the instance has a role, and that its metadata service can be reached."
    else:
        what = f"their source '{provider}' has none for {failure.where}{_why(failure)}"
        advice = DOCTOR
    return Finding(what, advice, transient=True)


def _program_refused(failure: Failure) -> Finding:
    words = str(getattr(failure.error, "kwargs", {}).get("error_msg", ""))
    if _VERSION.fullmatch(words):
        what = f"{_PROGRAM} ({failure.where}) prints a Version other than 1"
        return Finding(what, "Install one that prints Version 1.")
    if missing := _MISSING_KEY.fullmatch(words):
        return Finding(f"{_PROGRAM} ({failure.where}) prints no {missing[1]}", _BY_HAND)
    # What it wrote to its standard error.
    return Finding(f"{_PROGRAM} ({failure.where}) ended with an error", _BY_HAND, transient=True)


def _no_metadata(failure: Failure) -> Finding:
    return Finding(f"the metadata service returned none{_why(failure)}", DOCTOR, transient=True)


def _why(failure: Failure) -> str:
    """Say with which status a metadata service answered, or why it didn't."""
    if status := _STATUS.search(failure.field("error_msg")):
        return f" (it answered with HTTP status {status[1]})"
    for link in chain(failure.error):
        if isinstance(link, OSError) and link.strerror and not getattr(link, "os_error", None):
            return f" ({link.strerror})"
    return ""


def _unspecified(failure: Failure) -> Finding:
    return Finding(f"{failure.name} ({failure.where})", DOCTOR)


# By the name of the class, so that a class which only a newer botocore has can stand here as well.
CREDENTIALS: Mapping[str, Explain] = {
    "NoCredentialsError": _none_found,
    "PartialCredentialsError": _partial,
    "ProfileNotFound": _no_profile,
    "ConfigParseError": _unparsable,
    "ConfigNotFound": _no_file,
    "InvalidConfigError": _misconfigured,
    "InfiniteLoopConfigError": _circle,
    "UnknownCredentialError": _unknown_source,
    "SSOTokenLoadError": _no_token,
    "UnauthorizedSSOTokenError": _signed_out,
    "SSOError": _unspecified,
    "TokenRetrievalError": _token_not_renewed,
    "NoAuthTokenError": _unspecified,
    "UnknownTokenProviderError": _unspecified,
    "LoginError": _login,
    "LoginInsufficientPermissions": _login_denied,
    "RefreshWithMFAUnsupportedError": _mfa,
    "MissingDependencyException": _dependency,
    "InvalidIMDSEndpointError": _bad_metadata_url,
    "InvalidIMDSEndpointModeError": _bad_metadata_mode,
    "CredentialRetrievalError": _not_retrieved,
    "MetadataRetrievalError": _no_metadata,
}


# What else is raised while AWS credentials are loaded or renewed


def of_the_credentials(failure: Failure) -> Finding | None:
    """Explain what was raised while AWS credentials were loaded, and is none of the classes above.

    None stands for an error of the network, and for what nobody foresaw.
    """
    for explain in (
        _of_the_program,
        _of_a_parameter,
        _of_a_file,
        _of_their_expiry,
        _of_a_value,
        _of_the_region,
    ):
        if (finding := explain(failure)) is not None:
            return finding
    return None


def unforeseen(failure: Failure, *, opening: bool) -> Finding:
    """Name what nobody foresaw while AWS credentials were loaded.

    At opening it is a matter of the configuration, and permanent. In a call credentials are
    renewed, so it may be over a little later.
    """
    what = f"{failure.name}, which nobody expected ({failure.where})"
    return Finding(what, DOCTOR, transient=not opening)


def _of_the_program(failure: Failure) -> Finding | None:
    error = failure.error
    if not any(frame.f_code.co_name == _RUNS_THE_PROGRAM for frame in frames(error)):
        return None
    if isinstance(error, OSError):
        path = str(error.filename)
        named = f"{path}: " if _PATH.fullmatch(path) and error.filename else ""
        what = f"{_PROGRAM} ({failure.where}) can't be started: {named}{error.strerror}"
        # Too many open files may be over soon. A program that isn't there was never installed.
        is_missing = isinstance(error, (FileNotFoundError, NotADirectoryError, PermissionError))
        return Finding(what, "Correct the path, or install the program.", transient=not is_missing)
    if "quotation" in str(error):
        return Finding(
            f"credential_process ({failure.where}) has a quotation mark that isn't closed",
            "Close it.",
        )
    what = f"{_PROGRAM} ({failure.where}) doesn't print the JSON that is expected"
    return Finding(what, _BY_HAND)


def _of_a_parameter(failure: Failure) -> Finding | None:
    if failure.name != "ParamValidationError":
        return None
    names = parameters_in(failure.error)
    if "WebIdentityToken" in names:
        what = "the web identity token in the file of AWS_WEB_IDENTITY_TOKEN_FILE is empty, or too short"
        return Finding(what, "Check the program that writes that file.", transient=True)
    settings = ", ".join(_SETTINGS_OF.get(name, name) for name in names) or "one of the settings"
    what = f"the value of {settings} is malformed, or out of range ({failure.where})"
    return Finding(what, "Correct it.")


def _of_a_file(failure: Failure) -> Finding | None:
    error = failure.error
    if not isinstance(error, OSError) or error.filename is None:
        return None
    path = str(error.filename)
    named_by = [variable for variable in _TOKEN_FILES if os.environ.get(variable) == path]
    origin = f" (from {named_by[0]})" if named_by else ""
    what = f"the file {shown(path)}{origin} can't be used: {error.strerror}"
    advice = "Check that it is there, and that this process may use it."
    return Finding(what, advice, transient=True)


def _of_their_expiry(failure: Failure) -> Finding | None:
    if not isinstance(failure.error, RuntimeError) or "still expired" not in str(failure.error):
        return None
    what = f"the source of {failure.where} returned credentials that have expired already"
    return Finding(what, "Check that source, and the clock of this host.", transient=True)


def _of_a_value(failure: Failure) -> Finding | None:
    words = str(failure.error)
    if not isinstance(failure.error, ValueError):
        return None
    if "legal header value" in words:
        what = f"the token of {first_set(_CONTAINER_TOKENS)} has a line end in it"
        return Finding(what, "Write it without one.")
    if words.startswith("Unsupported host"):
        return Finding(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI names a host that may not hand out credentials by plain http",
            "Use https, a loopback address, or the address of the agent of ECS or EKS.",
        )
    number = malformed_number() if "invalid literal" in words else None
    return Finding(number, "Correct it, or unset it.") if number else None


def _of_the_region(failure: Failure) -> Finding | None:
    if failure.name not in {"NoRegionError", "InvalidRegionError", "UnknownRegionError"}:
        return None
    what = f"{failure.where} has no region, or no valid one, in which to ask STS or SSO"
    return Finding(what, "Set AWS_DEFAULT_REGION, or region and sso_region in the profile.")
