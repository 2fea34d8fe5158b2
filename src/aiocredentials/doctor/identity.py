"""The AWS credentials of this process, and the identity that STS returns for them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from aiocredentials._aws.answered_errors import NOT_LOADED
from aiocredentials._aws.mapping import NO_ANSWER, map_error, map_opening_error
from aiocredentials._aws.redact import our_call, wire_logs_redacted
from aiocredentials._aws.session import new_role
from aiocredentials._aws.shared_work import SharedWork
from aiocredentials.doctor.results import Identity
from aiocredentials.doctor.wording import (
    CREDENTIAL_SOURCES,
    CREDENTIALS_ADVICE,
    advice_of,
    reason_and_advice_of,
    reason_of,
)
from aiocredentials.errors import AuthenticationError, CredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiobotocore.session import AioSession

    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.roles import Role
    from aiocredentials._aws.settings import ClientSettings

_OUTAGE = (
    "It is an outage of STS, or of the network, and not a mistake in the credentials: "
    "try again later."
)
_NOT_REACHED = (
    "If this network can't reach the internet, it needs an interface VPC endpoint for STS "
    "(com.amazonaws.{region}.sts) in this region. AWS_ENDPOINT_URL_STS names another endpoint."
)
_NOT_FOUND = f"No AWS credentials were found. Configure one of these: {CREDENTIAL_SOURCES}"


async def load_credentials(
    session: AioSession,
    timeout: float,  # noqa: ASYNC109 (the text of the problem names it)
) -> Identity:
    """Load a session's credentials, once for all its later calls, and return their source."""
    known = Identity(profile=session.profile)
    try:
        with wire_logs_redacted(), our_call():
            async with asyncio.timeout(timeout):
                credentials = await session.get_credentials()
                if credentials is None:
                    return replace(known, problem=_NOT_FOUND)

                known = replace(known, method=str(credentials.method))
                # No variable holds the secret key, because a traceback may show its value.
                key = (await credentials.get_frozen_credentials()).access_key or ""
                return replace(known, key_ending=key[-4:])
    except Exception as error:  # noqa: BLE001 (whatever botocore raises)
        problem = _why_not_loaded(error, session.profile, timeout)
    return replace(known, problem=problem)


def _why_not_loaded(
    error: Exception,
    profile: str | None,
    timeout: float,
) -> str:
    if not isinstance(error, TimeoutError):
        error = map_opening_error(error, profile=profile)
    reason = _explain(error, timeout)
    advice = CREDENTIALS_ADVICE
    if isinstance(error, AuthenticationError):
        advice = advice_of(error)
        # The library's own errors about credentials are whole sentences.
        if not error.code:
            return f"{reason} {advice}"
    return f"{NOT_LOADED}: {reason} {advice}"


async def ask_sts(
    session: AioSession,
    region_name: str,
    timeout: float,  # noqa: ASYNC109 (the text of the problem names it)
    known: Identity,
) -> Identity:
    """Ask STS for our identity. It needs no permission, and no other check depends on it.

    Args:
        session: A session that has loaded its credentials.
        region_name: The region whose STS is asked.
        timeout: The limit of the call, in seconds.
        known: The source of the credentials.

    Returns:
        The known facts together with the answer, or with the reason why there is none.
    """
    from aiocredentials._aws import transport  # noqa: PLC0415 (300 ms, loaded in a thread by now)

    # The stubs know the clients that are installed; this one isn't among them.
    create = cast("Callable[..., Any]", session.create_client)
    try:
        # The answer is no secret, but the request has a session token: no log may show it.
        with wire_logs_redacted(), our_call():
            opening = create("sts", region_name=region_name)
            async with asyncio.timeout(timeout), opening as client:
                transport.transport_of(client)
                answer = await client.get_caller_identity()
    except Exception as error:  # noqa: BLE001 (no other check depends on the identity)
        reason = _explain(error, timeout)
        problem = f"STS in {region_name}: {reason}"
        return replace(known, problem=problem)
    return replace(
        known,
        account=answer.get("Account"),
        arn=answer.get("Arn"),
    )


async def assume(
    role: Role,
    settings: ClientSettings,
    region: Region,
    timeout: float,  # noqa: ASYNC109 (the text of the problem names it)
    known: Identity,
) -> Identity:
    """Assume the role that the secrets are read through. It needs sts:AssumeRole.

    Args:
        role: The role.
        settings: The settings of a session that has loaded its credentials.
        region: The region whose STS is asked.
        timeout: The limit of the call, in seconds.
        known: The source of the credentials.

    Returns:
        The known facts together with the identity that the role became, or with the reason why it
        can't be assumed.
    """
    known = replace(known, role_arn=role.role_arn)
    try:
        assumed = await new_role(role, settings, SharedWork())
        async with asyncio.timeout(timeout):
            await assumed.frozen(region)
    except CredentialsError as error:
        return replace(known, role_problem=_why_not_assumed(error, region))
    except TimeoutError as error:
        reason = _explain(error, timeout)
        advice = _NOT_REACHED.format(region=region.name)
        return replace(known, role_problem=f"STS in {region.name}: {reason} {advice}")
    return replace(known, assumed_arn=assumed.identity)


def _why_not_assumed(error: CredentialsError, region: Region) -> str:
    if not error.transient or error.advice != type(error).advice:
        return reason_and_advice_of(error)
    advice = _OUTAGE if error.code else _NOT_REACHED.format(region=region.name)
    reason = reason_of(error).removeprefix(f"{NOT_LOADED}: ")
    return f"STS in {region.name}: {reason} {advice}"


def _explain(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s."

    mapped = map_error(error)
    # An error without an answer names Secrets Manager, which wasn't asked here.
    reason = reason_of(mapped).removeprefix(f"{NO_ANSWER}: ")
    operation = getattr(mapped, "operation_name", None)
    if operation:
        reason = f"{operation} failed with {reason}"
    return reason
