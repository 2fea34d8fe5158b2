"""How an error of botocore, aiohttp or the system becomes one of our errors.

`map_error` (for an error of a call) and `map_opening_error` (for an error of opening a session) are
the entry points. They take these steps, and the first that fits decides:

1. Is it one of our errors already? Then the result is a copy, without traceback and context.
2. Did AWS answer it? Then AWS's code decides: see `answered_errors.py`.
3. Would each request fail the same way, because of a header that can't be sent, moto's in-process
   mock, or a malformed URL? Then it is permanent: see `findings.py`.
4. Is it about AWS credentials, by its class or by the place where it was raised? Then it is an
   `AuthenticationError`, or a `CredentialSourceError` if the next attempt may succeed: see
   `credential_findings.py` and `ambiguous_findings.py`.
5. Is it about a setting? Then it is an `InvalidParameterError`: see `findings.py`.
6. Otherwise the table of classes below decides. An error that isn't in the table was raised while
   an answer was parsed, so it is a `MalformedResponseError`.

The result is a new error and has no cause: an error of botocore may hold a whole answer, and with
it a secret's value.
"""

from __future__ import annotations

import copy
import re
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import ClientError

from aiocredentials._aws.ambiguous_findings import explain_loading, explain_unforeseen
from aiocredentials._aws.answered_errors import (
    NOT_LOADED,
    PROXY_ADVICE,
    PROXY_AUTHENTICATION,
    Operation,
    answered_error,
    classes_by_name,
    status_text,
)
from aiocredentials._aws.credential_findings import CREDENTIALS
from aiocredentials._aws.findings import (
    SETTINGS,
    Failure,
    Finding,
    explain_by_class,
    explain_header,
    explain_mock,
    explain_setting,
    explain_url,
)
from aiocredentials._aws.origins import (
    field_of,
    is_about_credentials,
    linked_errors,
    reason_of_the_system,
    was_raised_before_sending,
)
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
    InvalidRequestError,
    MalformedResponseError,
    ThrottledError,
    TransportError,
    make_error,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

# Errors that aren't about AWS credentials; `CREDENTIALS` has those that are. Classes are listed by
# name, because a class may be in newer versions of botocore only. If a class isn't listed, its
# nearest base that is listed decides. Two names mean several classes: ConnectionError is botocore's
# and the built-in one, TimeoutError is asyncio's and the built-in one.
_BY_CLASS = classes_by_name(
    {
        InvalidParameterError: """
            ParamValidationError ValidationError MissingParametersError InvalidExpressionError
            PaginationError OperationNotPageableError UnknownClientMethodError UnknownServiceStyle
            UndefinedModelAttributeError WaiterConfigError UnseekableStreamError StubResponseError
            DataNotFoundError ApiVersionNotFoundError UnsupportedServiceProtocolsError
            MD5UnavailableError InvalidProxiesConfigError InvalidRetryConfigurationError
            InvalidDefaultsMode InvalidChecksumConfigError InvalidEndpointConfigurationError
            InvalidEndpointDiscoveryConfigurationError EndpointProviderError EndpointVariantError
            InvalidHostLabelError InvalidSTSRegionalEndpointsConfigError
            UnknownSignatureVersionError UnsupportedSignatureVersionError InvalidDNSNameError
            InvalidS3AddressingStyleError InvalidS3UsEast1RegionalEndpointConfigError
            UnsupportedS3ArnError UnsupportedS3ControlArnError UnsupportedOutpostResourceError
            UnsupportedS3ConfigurationError UnsupportedS3AccesspointConfigurationError
            UnsupportedS3ControlConfigurationError Warning
        """,
        InvalidRequestError: "WaiterError",
        InvalidRegionError: """
            NoRegionError InvalidRegionError UnknownRegionError ServiceNotInRegionError
            UnknownEndpointError UnknownFIPSEndpointError
        """,
        ThrottledError: "CapacityNotAvailableError",
        MalformedResponseError: """
            RedirectError ResponseParserError IncompleteReadError ChecksumError
            FlexibleChecksumError AwsChunkedWrapperError
        """,
        EndpointUnreachableError: """
            TransportError ConnectionError HTTPClientError TimeoutError OSError
        """,
    }
)

NO_ANSWER = "Secrets Manager gave no usable answer"
_CA_BUNDLE_ADVICE = (
    "Check AWS_CA_BUNDLE, ca_bundle in the profile, and verify and client_cert of the config."
)
# Not urlsplit, which raises an error for some texts that aren't URLs.
_HOST = r"https?://(?:[^/@]*@)?([^/@:]+)"

# The numbers of the system and of c-ares for a name without an address, and for an unknown name.
# On Windows, EAI_NODATA is EAI_NONAME, and a name without an address has another number.
_WSANO_DATA = 11004
_UNRESOLVED = (
    socket.EAI_NONAME,
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME),
    _WSANO_DATA,
)
_UNRESOLVED_BY_ARES = ((1,), (4,))


def map_error(
    error: BaseException, *, profile: str | None = None, **facts: str | None
) -> CredentialsError:
    """Return our error for an error of a call; raise it outside of the `except`.

    Args:
        error: The error of the call.
        profile: The AWS profile in use; None for the default profile.
        **facts: `secret_name`, `region_name` and `region_source`.
    """
    return _map(Failure(error, profile), facts, opening=False)


def map_opening_error(
    error: BaseException, *, profile: str | None = None, **facts: str | None
) -> CredentialsError:
    """Return our error for an error of opening a session; raise it outside of the `except`.

    No secret was asked for yet, so it is about AWS credentials, a setting or the network.

    Args:
        error: The error of the opening.
        profile: The AWS profile in use; None for the default profile.
        **facts: `secret_name`, `region_name` and `region_source`.
    """
    return _map(Failure(error, profile), facts, opening=True)


def _map(
    failure: Failure,
    facts: Mapping[str, str | None],
    *,
    opening: bool,
) -> CredentialsError:
    error = failure.error
    if isinstance(error, CredentialsError):
        # Its traceback and context may hold an error of botocore.
        return copy.copy(error)
    if isinstance(error, ClientError):
        about_credentials = opening or is_about_credentials(error)
        operation = Operation(error.operation_name, failure.profile, about_credentials)
        return answered_error(error.response, operation, facts)

    verdict = _verdict(failure, opening=opening)
    made = make_error(
        verdict.cls,
        f"{verdict.finding.what}.",
        advice=verdict.finding.advice or None,
        **facts,
    )
    if verdict.cls in {AuthenticationError, InvalidParameterError}:
        made.asked = False
    return made


class _Verdict(NamedTuple):
    """The class for an error without an answer, and its message."""

    cls: type[CredentialsError]
    finding: Finding


def _verdict(failure: Failure, *, opening: bool) -> _Verdict:
    """Take the steps 3 to 6 of the module's docstring."""
    error = failure.error
    finding = explain_header(failure)
    if finding is not None:
        return _Verdict(AuthenticationError, finding)
    finding = explain_mock(error) or explain_url(error)
    if finding is not None:
        return _Verdict(InvalidParameterError, finding)

    cls = _listed_class(error)
    finding = _explain_credentials(failure, cls, opening=opening)
    if finding is not None:
        return _verdict_on_credentials(finding)

    finding = explain_by_class(failure, SETTINGS)
    if finding is not None:
        return _Verdict(InvalidParameterError, finding)
    is_unlisted_setting = cls is None and (opening or was_raised_before_sending(error))
    if cls is InvalidParameterError or is_unlisted_setting:
        return _Verdict(InvalidParameterError, explain_setting(failure))

    # An unlisted error comes from a parser: there was no answer to parse.
    cls = cls or MalformedResponseError
    what = f"{NO_ANSWER}: {_reason_below(error)}"
    return _Verdict(cls, Finding(what, _advice_on_connection(error)))


def _listed_class(error: BaseException) -> type[CredentialsError] | None:
    for base in type(error).__mro__:
        cls = _BY_CLASS.get(base.__name__)
        if cls is not None:
            return cls
    return None


# AWS credentials


def _explain_credentials(
    failure: Failure,
    cls: type[CredentialsError] | None,
    *,
    opening: bool,
) -> Finding | None:
    """Explain an error that is about AWS credentials; None if it isn't."""
    error = failure.error
    finding = explain_by_class(failure, CREDENTIALS)
    if finding is not None:
        return finding

    is_about_a_file = isinstance(error, OSError) and error.filename is not None
    if not is_about_a_file and not is_about_credentials(error):
        return None
    finding = explain_loading(failure)
    if finding is not None:
        return finding
    if cls is not None and cls.transient:
        return _source_without_answer(failure)
    return explain_unforeseen(failure, opening=opening)


def _source_without_answer(failure: Failure) -> Finding:
    error = failure.error
    source = "their source"
    host = re.match(_HOST, failure.field("endpoint_url"))
    if host is not None:
        source = host[1]
    return Finding(
        what=f"{source} gave no usable answer: {_reason_below(error)}",
        advice=_advice_on_connection(error),
        transient=True,
    )


def _verdict_on_credentials(finding: Finding) -> _Verdict:
    cls: type[CredentialsError] = AuthenticationError
    if finding.transient:
        cls = CredentialSourceError
    what = f"{NOT_LOADED}: {finding.what}"
    return _Verdict(cls, finding._replace(what=what))


# The connection


def _reason_below(error: BaseException) -> str:
    """Return what went wrong below botocore, in the words of the system and of OpenSSL alone."""
    name = type(error).__name__
    links = list(linked_errors(error))
    for link in links:
        if isinstance(link, TransportError):
            return str(link)
        # aiohttp's error for an answer that a proxy sends in place of a connection.
        if type(link).__name__ == "ClientHttpProxyError":
            answer = status_text(getattr(link, "status", 0))
            return f"{name}: the proxy answered with {answer}"

    reason = _reason_of_tls(links)
    if reason is not None:
        return reason
    reason = reason_of_the_system(error)
    if reason is not None:
        return f"{name}: {reason}"
    return name


def _reason_of_tls(links: list[BaseException]) -> str | None:
    # aiohttp has subclasses of these errors, which have neither a message nor a reason.
    for link in links:
        refused = getattr(link, "verify_message", "")
        if refused and isinstance(link, ssl.SSLCertVerificationError):
            return f"the TLS certificate was refused: {refused}"
    for link in links:
        reason = getattr(link, "reason", "")
        if reason and isinstance(link, ssl.SSLError):
            return f"TLS failed: {reason}"
    return None


def _advice_on_connection(error: BaseException) -> str:
    """Return the advice if it can be more exact than that of the class; empty otherwise."""
    for link in linked_errors(error):
        if getattr(link, "status", None) == PROXY_AUTHENTICATION:
            return PROXY_ADVICE
        if isinstance(link, TransportError) and str(link).startswith("the CA bundle"):
            return _CA_BUNDLE_ADVICE
    return ""


def unresolved_host(error: BaseException) -> str | None:
    """Return the host or the URL that DNS doesn't know; None for an error of another kind."""
    links = list(linked_errors(error))
    if not any(map(_is_unresolved, links)):
        return None
    # aiohttp knows the host. It may be a proxy and not the endpoint.
    for link in links:
        host = getattr(link, "host", None)
        if host:
            return str(host)
    return str(field_of(error, "endpoint_url", ""))


def _is_unresolved(link: BaseException) -> bool:
    if isinstance(link, socket.gaierror):
        return link.errno in _UNRESOLVED
    # If aiodns is installed, aiohttp makes an OSError without a number from this error.
    is_of_ares = type(link).__name__ == "DNSError"
    return is_of_ares and link.args[:1] in _UNRESOLVED_BY_ARES
