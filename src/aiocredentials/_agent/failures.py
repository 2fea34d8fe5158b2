"""The errors of the agent and of the connection to it, in words for the operator of an agent."""

from __future__ import annotations

from typing import Any

from aiocredentials._aws.answered_errors import from_answer, status_text
from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    CredentialsError,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidParameterError,
    MalformedResponseError,
    ThrottledError,
    make_error,
    set_what,
    shown,
    what_of,
)

GET = "GetSecretValue"

NOT_RUNNING = (
    "Is the agent running? Check its service or its container, its log, and the port (2773, or "
    "http_port in its configuration)."
)
_NOT_THE_AGENT = (
    "Check the url of LocalAgent: another server may listen on this port, or a proxy may answer."
)
_ADVICE: dict[type[CredentialsError], str] = {
    AccessDeniedError: (
        "Allow the role of the agent, not of this process, secretsmanager:GetSecretValue and "
        "secretsmanager:DescribeSecret on this secret, and kms:Decrypt on its key if that is a "
        "customer managed key."
    ),
    AuthenticationError: (
        "The error is about the AWS credentials of the agent, not of this process: check them "
        "where the agent runs."
    ),
    InternalServiceError: (
        "The agent got no usable answer from Secrets Manager: check its log, its AWS credentials, "
        "and the network where it runs."
    ),
    ThrottledError: "Make fewer calls: raise ttl_seconds of the agent; or raise the quota.",
}
_TOO_MANY_ROLES = "Raise max_roles in the configuration of the agent, or use fewer roles."


def answered(code: str, message: str, status: int, operation: str = GET) -> CredentialsError:
    """Make the error for an error of AWS that the agent passes on, or has made in AWS's form."""
    response: dict[str, Any] = {
        "Error": {"Code": code, "Message": message or "the agent reported no reason"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = from_answer(response, operation)
    advice = next((text for cls, text in _ADVICE.items() if isinstance(error, cls)), None)
    if code == "MaxRolesExceeded":
        advice = _TOO_MANY_ROLES
    return _advised(error, advice)


def unsupported(operation: str, what: str, status: int) -> CredentialsError:
    """Make the error for an operation that the agent doesn't have."""
    error = answered("UnknownOperationException", what, status, operation)
    return _advised(error, "Use a pool without LocalAgent for this call.")


def _advised(error: CredentialsError, advice: str | None) -> CredentialsError:
    if advice is not None:
        error.advice = advice
        set_what(error, what_of(error) or "")
    return error


def unreachable(url: str, words: str) -> CredentialsError:
    """Make the error for an agent to which no connection could be made, or that sent nothing."""
    what = f"The local agent at {url} gave no answer: {words}."
    return make_error(EndpointUnreachableError, what, advice=NOT_RUNNING)


def not_ready(url: str, seconds: float) -> CredentialsError:
    """Make the error for an extension that wasn't ready for so long."""
    what = f"The extension at {url} wasn't ready for {seconds:g} s."
    advice = (
        "Lambda's extensions answer only after INIT has ended: fetch secrets in the handler, not "
        "while the module is imported. Check that the layer is attached to the function."
    )
    return make_error(EndpointUnreachableError, what, advice=advice)


def crowded(url: str) -> CredentialsError:
    """Make the error for an agent that accepts no further connection."""
    what = f"The local agent at {url} has more connections than it allows."
    advice = (
        "Raise max_conn in its configuration, or set a lower number with connections= of "
        "LocalAgent. One pool per process needs the fewest connections."
    )
    return make_error(ThrottledError, what, advice=advice)


def malformed(url: str, words: str) -> CredentialsError:
    """Make the error for an answer that isn't the agent's."""
    what = f"{url} doesn't answer like the local agent: {words}."
    return make_error(MalformedResponseError, what, advice=_NOT_THE_AGENT)


def page(url: str, status: int) -> CredentialsError:
    """Make the error for a page that the agent doesn't send; its text is left out."""
    text = f"{status_text(status)}, and a text that isn't the agent's (left out)"
    if status < 500:  # noqa: PLR2004 (a fault of the server)
        return malformed(url, text)
    what = f"The local agent at {url} failed: {text}."
    return make_error(InternalServiceError, what, advice=_ADVICE[InternalServiceError])


def bad_token(url: str, origin: str) -> CredentialsError:
    """Make the error for a token that the agent refuses."""
    what = f"The local agent at {url} refused the token, which is from {origin}."
    advice = (
        "The error is about the agent's own token, not about AWS credentials: set the token with "
        "which the agent was started. The agent reads AWS_TOKEN, AWS_SESSION_TOKEN, "
        "AWS_CONTAINER_AUTHORIZATION_TOKEN or its file once, when it starts."
    )
    return _not_asked(AuthenticationError, what, advice)


def old_agent(url: str) -> CredentialsError:
    """Make the error for an agent that knows no roles."""
    what = f"The local agent at {url} doesn't know role_arn: it needs version 2.1 or newer."
    return _not_asked(InvalidParameterError, what, "Install a newer agent, or leave role_arn out.")


def forwarded(url: str) -> CredentialsError:
    """Make the error for a request that the agent refuses because it was forwarded."""
    what = f"The local agent at {url} refused a request that has the header X-Forwarded-For."
    advice = "Something between this process and the agent adds it: use the agent without a proxy."
    return _not_asked(InvalidParameterError, what, advice)


def refused_parameter(url: str) -> CredentialsError:
    """Make the error for a parameter that the agent refuses."""
    what = f"The local agent at {url} refused a parameter of the request."
    return _not_asked(InvalidParameterError, what, InvalidParameterError.advice)


def unsendable(parameter: str) -> CredentialsError:
    """Make the error for a parameter that can't be a part of a URL."""
    what = f"{parameter} contains a surrogate, which no URL can hold."
    return _not_asked(InvalidParameterError, what, InvalidParameterError.advice)


def other_region(url: str, asked: str, actual: str) -> CredentialsError:
    """Make the error for a region that the agent doesn't ask."""
    what = (
        f"The local agent at {url} answers only for the region {shown(actual)}, but "
        f"{shown(asked)} was asked."
    )
    advice = (
        "Give LocalAgent the region_name of the agent, and use a pool without LocalAgent for "
        "secrets of other regions."
    )
    return _not_asked(InvalidParameterError, what, advice)


def _not_asked(cls: type[CredentialsError], what: str, advice: str) -> CredentialsError:
    error = make_error(cls, what, advice=advice)
    error.asked = False
    return error
