"""Errors of STS, when a role is assumed: what each one means, and what to do."""

from __future__ import annotations

from botocore.exceptions import ClientError

from aiocredentials._aws.answered_errors import NOT_LOADED
from aiocredentials._aws.mapping import map_opening_error, unresolved_host
from aiocredentials._aws.origins import raising_module, was_raised_while_reading
from aiocredentials._aws.regions import Region, may_be_a_region, wrong_region_error
from aiocredentials.errors import (
    CredentialsError,
    CredentialSourceError,
    make_error,
    set_what,
    what_of,
)

_REFUSED = frozenset({"AccessDenied", "AccessDeniedException"})
_ADVICE_ON_REFUSAL = (
    "Allow the identity of this process sts:AssumeRole on the role, and let the role's trust "
    "policy allow it to this identity. If the trust policy has a condition on sts:ExternalId, "
    "check external_id."
)
_ADVICE_BY_CODE = {
    "ValidationError": "Correct role_arn, external_id or role_session_name.",
    "RegionDisabledException": (
        "Activate STS in this region for the account (IAM, account settings), or use another one."
    ),
}
_ADVICE_ON_KEYS = "Renew the AWS credentials of this process: they are used to assume the role."
_ADVICE_ON_FOREIGN_ANSWERS = (
    "A proxy or a sign-in page may have sent it. Check the proxy, and the endpoint in "
    "AWS_ENDPOINT_URL_STS."
)


def error_of_sts(
    error: Exception,
    region: Region,
    *,
    profile: str | None,
    role_arn: str,
    reader: str,
) -> CredentialsError:
    """Return our error for an error of the call to STS.

    Args:
        error: The error.
        region: The region whose STS was asked.
        profile: The AWS profile in use, for the error to name.
        role_arn: The role.
        reader: The module that reads STS's answers. An error that it raises is about an answer.
    """
    if not isinstance(error, ClientError) and _is_about_the_answer(error, reader):
        kind = type(error).__name__
        return make_error(
            CredentialSourceError,
            f"{NOT_LOADED}: the answer in region {region.name!r} isn't STS's ({kind}).",
            advice=_ADVICE_ON_FOREIGN_ANSWERS,
            role_arn=role_arn,
        )
    failure = map_opening_error(error, profile=profile, role_arn=role_arn)
    is_answer = isinstance(error, ClientError) and not failure.transient
    if is_answer:
        failure.advice = _advice_on(failure.code or "")
        set_what(failure, what_of(failure) or "")
    elif _names_no_region(error, region):
        failure = wrong_region_error(region)
    return failure


def _is_about_the_answer(error: Exception, reader: str) -> bool:
    """Return whether there was an answer, which botocore or the reader can't read."""
    return was_raised_while_reading(error) or raising_module(error) == reader


def _names_no_region(error: Exception, region: Region) -> bool:
    """Return whether STS's host is unknown because the region doesn't exist."""
    host = unresolved_host(error) or ""
    # Otherwise it is the host of a proxy, or of AWS_ENDPOINT_URL_STS.
    is_regional = region.name.lower() in host.lower()
    return is_regional and not may_be_a_region(region.name)


def _advice_on(code: str) -> str:
    if code in _REFUSED:
        return _ADVICE_ON_REFUSAL
    return _ADVICE_BY_CODE.get(code, _ADVICE_ON_KEYS)
