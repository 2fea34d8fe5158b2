"""The tree of errors, the table of codes, and the decorator: what botocore raises becomes ours, without a value."""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import socket
import ssl
import string
import traceback
from typing import TYPE_CHECKING, Any, cast

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError

from aiocredentials import (
    AccessDeniedError,
    AuthenticationError,
    AWSError,
    CredentialsError,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRegionError,
    InvalidRequestError,
    MalformedResponseError,
    PoolClosedError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretExpiredError,
    SecretFormatError,
    SecretNotFoundError,
    ThrottledError,
    errors,
    map_client_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

CANARY = "hunter2-canary"
TRANSIENT = {
    InternalServiceError, ThrottledError, EndpointUnreachableError, MalformedResponseError, SecretExpiredError,
}  # fmt: skip

# The design's table. Each code is tried in both spellings.
CODES = {
    "ResourceNotFoundException": SecretNotFoundError,
    "DecryptionFailure": SecretDecryptionError,
    "KMSDisabledException": SecretDecryptionError,
    "KMSInvalidStateException": SecretDecryptionError,
    "KMSNotFoundException": SecretDecryptionError,
    "KMSAccessDeniedException": SecretDecryptionError,
    "IncorrectKeyException": SecretDecryptionError,
    "InvalidParameterException": InvalidParameterError,
    "ValidationException": InvalidParameterError,
    "InvalidRequestException": InvalidRequestError,
    "InternalServiceError": InternalServiceError,
    "InternalFailure": InternalServiceError,
    "ServiceUnavailable": InternalServiceError,
    "ThrottlingException": ThrottledError,
    "TooManyRequestsException": ThrottledError,
    "RequestLimitExceeded": ThrottledError,
    "ProvisionedThroughputExceededException": ThrottledError,
    "AccessDeniedException": AccessDeniedError,
    "UnrecognizedClientException": AuthenticationError,
    "ExpiredTokenException": AuthenticationError,
    "InvalidSignatureException": AuthenticationError,
    "InvalidClientTokenId": AuthenticationError,
    "RequestTimeout": EndpointUnreachableError,
}
SPELLINGS = sorted(
    (spelling, cls)
    for code, cls in CODES.items()
    for spelling in {code.removesuffix("Exception"), code.removesuffix("Exception") + "Exception"}
)
LOGGED_AS_ERRORS = {
    "DecryptionFailure": SecretDecryptionError,
    "InternalServiceError": InternalServiceError,
    "InvalidParameterException": InvalidParameterError,
    "InvalidRequestException": InvalidRequestError,
}


def client_error(code: str, message: str = "No.", status: int = 400, **headers: str) -> ClientError:
    """Make what botocore raises for an answer of AWS."""
    headers = {"content-type": "application/x-amz-json-1.1"} | headers
    metadata = {"RequestId": "request-1", "HTTPStatusCode": status, "HTTPHeaders": headers, "RetryAttempts": 0}
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata, "More": CANARY}
    return ClientError(response, "GetSecretValue")


NAMED = {"profile": "dev", "path": "/etc/aws/config", "provider": "env", "cred_var": "AWS_SECRET_ACCESS_KEY"}


def botocore_error(name: str) -> BaseException:
    """Make one of botocore's other errors, with the canary in each field of its message."""
    cls = getattr(botocore.exceptions, name)
    fields = [field for _, field, _, _ in string.Formatter().parse(cls.fmt) if field]
    # The fields that name a part of the configuration have no value in them, and are told.
    error: BaseException = cls(**{field: NAMED.get(field, CANARY) for field in fields})
    return error


def everything(error: BaseException) -> str:
    """Everything that a log, a debugger or an error tracker could show of an error."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    state = (str(error), repr(error), error.args, vars(error), getattr(error, "__notes__", ()))
    return f"{''.join(whole.format())}{state}"


@pytest.mark.parametrize(("code", "expected"), SPELLINGS)
def test_codes(code: str, expected: type[CredentialsError]) -> None:
    """Each code becomes its class, with and without the suffix `Exception`."""
    mapped = errors.map_error(client_error(code))
    assert isinstance(mapped, expected)
    assert mapped.code == code
    assert mapped.transient is (expected in TRANSIENT)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (300, MalformedResponseError),
        (307, MalformedResponseError),
        (400, AWSError),
        (404, AWSError),
        (429, ThrottledError),
        (499, AWSError),
        (500, InternalServiceError),
        (503, InternalServiceError),
        (0, AWSError),
    ],
)
def test_unknown_codes_go_by_status(status: int, expected: type[CredentialsError]) -> None:
    """The status speaks for a code that nobody knows, and only then."""
    assert type(errors.map_error(client_error("FromTomorrowException", status=status))) is errors._TWINS[expected]
    assert isinstance(errors.map_error(client_error("AccessDenied", status=status)), AccessDeniedError)


@pytest.mark.parametrize(
    "message",
    [
        "You can't perform this operation on the secret because it was marked for deletion.",
        "You can't perform this operation on the secret because it was deleted.",
        "An invalid request: the secret is currently marked deleted.",
    ],
)
def test_deleted(message: str) -> None:
    """A secret that is scheduled for deletion has a class of its own, below InvalidRequestError."""
    mapped = errors.map_error(client_error("InvalidRequestException", message))
    assert isinstance(mapped, SecretDeletedError)
    assert isinstance(mapped, InvalidRequestError)
    assert "restore" in str(mapped)
    assert not isinstance(errors.map_error(client_error("InvalidRequestException", "Rotating.")), SecretDeletedError)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ParamValidationError", InvalidParameterError),
        ("InvalidRetryModeError", InvalidParameterError),
        ("InvalidMaxRetryAttemptsError", InvalidParameterError),
        ("InvalidProxiesConfigError", InvalidParameterError),
        ("NoCredentialsError", AuthenticationError),
        ("PartialCredentialsError", AuthenticationError),
        ("CredentialRetrievalError", AuthenticationError),
        ("SSOTokenLoadError", AuthenticationError),
        ("UnauthorizedSSOTokenError", AuthenticationError),
        ("ProfileNotFound", AuthenticationError),
        ("ConfigParseError", AuthenticationError),
        ("InfiniteLoopConfigError", AuthenticationError),
        ("NoRegionError", InvalidRegionError),
        ("InvalidRegionError", InvalidRegionError),
        ("EndpointConnectionError", EndpointUnreachableError),
        ("ConnectionClosedError", EndpointUnreachableError),
        ("ConnectTimeoutError", EndpointUnreachableError),
        ("ReadTimeoutError", EndpointUnreachableError),
        ("SSLError", EndpointUnreachableError),
        ("ProxyConnectionError", EndpointUnreachableError),
        ("HTTPClientError", EndpointUnreachableError),
        ("IncompleteReadError", MalformedResponseError),
        ("ChecksumError", MalformedResponseError),
    ],
)
def test_botocore_errors(name: str, expected: type[CredentialsError]) -> None:
    """What botocore raises without an answer becomes the class itself, which is no ClientError."""
    mapped = errors.map_error(botocore_error(name), secret_name="prod/db")
    assert type(mapped) is expected
    assert not isinstance(mapped, ClientError)
    assert not hasattr(mapped, "response")
    assert mapped.secret_name == "prod/db"
    assert mapped.transient is (expected in TRANSIENT)
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ProfileNotFound", "AWS credentials can't be had: ProfileNotFound (profile 'dev')."),
        ("ConfigParseError", "AWS credentials can't be had: ConfigParseError (path '/etc/aws/config')."),
        ("PartialCredentialsError", "PartialCredentialsError (provider 'env', cred_var 'AWS_SECRET_ACCESS_KEY')."),
        ("NoCredentialsError", "AWS credentials can't be had: NoCredentialsError."),
        ("ReadTimeoutError", "Secrets Manager gave no usable answer: ReadTimeoutError."),
    ],
)
def test_what_is_wrong_with_the_configuration(name: str, said: str) -> None:
    """The profile, file or variable is named: who is called at night has to know which."""
    assert said in str(errors.map_error(botocore_error(name)))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), EndpointUnreachableError),
        (ConnectionResetError("reset"), EndpointUnreachableError),
        (FileNotFoundError(2, "No such file", "/var/run/token"), AuthenticationError),
        (PermissionError(13, "Denied", "/var/run/token"), AuthenticationError),
        (AttributeError(CANARY), MalformedResponseError),
        (UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, "junk"), MalformedResponseError),
        (ValueError(CANARY), MalformedResponseError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_errors(error: Exception, expected: type[CredentialsError]) -> None:
    """The system's errors have their class too; what escapes a parser was no answer, and its text stays out."""
    mapped = errors.map_error(error)
    assert type(mapped) is expected
    assert CANARY not in everything(mapped)


def test_an_unreachable_credential_service() -> None:
    """Credentials that can't be fetched for want of a network are no authentication error: it is transient."""
    cases = (TimeoutError(), EndpointUnreachableError), (KeyError("AccessKeyId"), AuthenticationError)
    for below, expected in cases:
        wrapped = botocore_error("CredentialRetrievalError")
        wrapped.__context__ = below
        assert type(errors.map_error(wrapped)) is expected


class Wrapped(Exception):  # noqa: N818 (as aiohttp names its own)
    """An error that holds another in the way of aiohttp."""

    def __init__(self, **links: object) -> None:
        super().__init__(CANARY)
        vars(self).update(links)


def tls_error(error: ssl.SSLError, **said: str) -> ssl.SSLError:
    """Put in what only OpenSSL itself puts in."""
    for name, value in said.items():
        setattr(error, name, value)
    return error


REFUSED = tls_error(ssl.SSLCertVerificationError(1, "certificate verify failed"), verify_message="Hostname mismatch")
WRONG_VERSION = tls_error(ssl.SSLError(1, "wrong version number"), reason="WRONG_VERSION_NUMBER")


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (Wrapped(certificate_error=REFUSED), "the TLS certificate was refused: Hostname mismatch"),
        (Wrapped(os_error=WRONG_VERSION), "TLS failed: WRONG_VERSION_NUMBER"),
        (ssl.SSLError(1, "no reason, as aiohttp's"), "ConnectTimeoutError: no reason"),
        (ssl.SSLCertVerificationError(1, "no message"), "ConnectTimeoutError: no message"),
        (
            Wrapped(os_error=ConnectionRefusedError(111, "Connection refused")),
            "ConnectTimeoutError: Connection refused",
        ),
        (OSError(), "ConnectTimeoutError."),
    ],
)
def test_the_reason_is_said(below: Exception, expected: str) -> None:
    """The system's and OpenSSL's own words are in the message, however deep; those of a library in between aren't."""
    error = botocore.exceptions.ConnectTimeoutError(endpoint_url="https://x", error=below)
    mapped = errors.map_error(error)
    assert expected in str(mapped)
    assert CANARY not in everything(mapped)


def test_a_chain_that_bites_its_tail() -> None:
    """Errors that are each other's cause end the search, too."""
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert list(errors.chain(first)) == [first, second]


@pytest.mark.parametrize(
    ("number", "expected"), [(socket.EAI_NONAME, True), (socket.EAI_NODATA, True), (socket.EAI_AGAIN, False)]
)
def test_unresolved(number: int, expected: bool) -> None:  # noqa: FBT001 (a table)
    """A name that DNS doesn't know isn't a DNS that doesn't answer."""
    error = botocore.exceptions.EndpointConnectionError(
        endpoint_url="x", error=Wrapped(os_error=socket.gaierror(number, "DNS says so"))
    )
    assert errors.unresolved(error) is expected


def test_an_answer_is_a_client_error() -> None:
    """An error that AWS answered is caught by both names, and has AWS's words, the facts, and what to do."""
    said = "Secrets Manager can't find the specified secret."
    mapped = errors.map_error(
        client_error("ResourceNotFoundException", said),
        secret_name="prod/db",
        region_name="eu-west-1",
        region_source="AWS_REGION",
    )
    assert isinstance(mapped, SecretNotFoundError)
    assert isinstance(mapped, ClientError)
    assert mapped.response["Error"] == {"Code": "ResourceNotFoundException", "Message": said}
    assert mapped.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert mapped.operation_name == "GetSecretValue"
    facts = (mapped.secret_name, mapped.region_name, mapped.region_source, mapped.code, mapped.request_id)
    assert facts == ("prod/db", "eu-west-1", "AWS_REGION", "ResourceNotFoundException", "request-1")
    for words in ("ResourceNotFoundException", said, "'prod/db'", "'eu-west-1' (from AWS_REGION)", "wrong region"):
        assert words in str(mapped)
    assert CANARY not in everything(mapped)  # botocore's response had it beside the error


@pytest.mark.parametrize("name", [cls.__name__ for cls in errors._TWINS])
def test_names(name: str) -> None:
    """An error goes by its public name, answered or not, has a docstring, and says what a reader can do."""
    cls = vars(errors)[name]
    twin = errors._TWINS[cls]
    assert (twin.__name__, twin.__qualname__, twin.__module__) == (name, name, "aiocredentials.errors")
    assert twin.__doc__ == cls.__doc__
    assert cls.transient is (cls in TRANSIENT)
    assert cls.advice or cls in {CredentialsError, SecretExpiredError, PoolClosedError}


def test_without_anything() -> None:
    """An error may be made with a message alone, and each fact is None then."""
    error = SecretFormatError("Said.")
    assert str(error) == "Said."
    assert (error.secret_name, error.region_name, error.region_source, error.code, error.request_id) == (None,) * 5
    assert str(PoolClosedError()) == ""


@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-8", "application/xml"])
def test_a_body_that_is_not_json(content_type: str) -> None:
    """Without JSON botocore's message is the whole body: it is in no part of our error."""
    mapped = errors.map_error(client_error("502", f"<p>{CANARY}</p>", 502, **{"content-type": content_type}))
    assert isinstance(mapped, InternalServiceError)
    assert "HTTP status 502" in str(mapped)
    assert CANARY not in everything(mapped)


def test_a_body_that_only_claims_to_be_json() -> None:
    """The same where the header promises JSON: the code that botocore makes up is the status then."""
    assert CANARY not in everything(errors.map_error(client_error("403", CANARY, 403)))


def test_an_answer_with_nothing_in_it() -> None:
    """An answer without an error, headers or metadata is mapped all the same."""
    empty: Any = {}
    mapped = errors.map_error(ClientError(empty, "GetSecretValue"))
    assert isinstance(mapped, AWSError)
    assert (mapped.code, mapped.request_id) == ("Unknown", None)


COPIES: dict[str, Callable[[Any], Any]] = {"copy": copy.copy, "deepcopy": copy.deepcopy} | {
    # S301: what is loaded here was dumped here.
    f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "error",
    [
        errors.map_error(client_error("ThrottlingException"), secret_name="prod/db"),
        errors.describe(PoolClosedError, "Closed.", region_name="eu-west-1"),
    ],
    ids=["answered", "ours"],
)
def test_copies(error: CredentialsError, make: Callable[[Any], Any]) -> None:
    """A copy, also by pickle, keeps class, text, facts and response, and is another object."""
    made = make(error)
    assert made is not error
    assert type(made) is type(error)
    assert (str(made), made.args, vars(made)) == (str(error), error.args, vars(error))


def test_mapping_ours_again() -> None:
    """An error of ours that is mapped is a copy: same facts, and none of the frames and contexts of the first."""
    ours = errors.describe(SecretFormatError, "No.", secret_name="x")
    with pytest.raises(SecretFormatError) as info:
        raise ours from ValueError(CANARY)
    mapped = errors.map_error(info.value, secret_name="y")
    assert (type(mapped), mapped.secret_name) == (SecretFormatError, "x")
    assert (mapped.__cause__, mapped.__context__, mapped.__traceback__) == (None, None, None)


def test_the_registry_refuses_duplicates() -> None:
    """A code that is in the table twice is a mistake that is found at import."""
    with pytest.raises(AssertionError, match="Twice is in the table twice"):
        errors._registry({ThrottledError: "Once Twice", AWSError: "Twice"})


class Holder:
    """Has the secret's name and region as attributes, as the origin's class did."""

    secret_name = "prod/attribute"
    region_name = "eu-west-2"

    @map_client_errors(logging.getLogger("theirs"))
    async def fetch(self, error: BaseException) -> str:
        """Fail."""
        raise error


@map_client_errors(logging.getLogger("theirs"))
async def fetch(error: BaseException | None, secret_name: str | None = None, /, **kwargs: Any) -> tuple[Any, ...]:  # noqa: ANN401
    """Fail, or give back what came."""
    if error is not None:
        raise error
    return secret_name, kwargs


@map_client_errors(logging.getLogger("theirs"))
async def by_aws_name(error: BaseException, SecretId: str, region_name: str = "eu-west-3") -> None:  # noqa: ARG001, N803
    """Fail; the arguments are named as botocore's."""
    raise error


async def raised(awaited: Coroutine[Any, Any, object]) -> CredentialsError:
    """Give what a call raises."""
    with pytest.raises(CredentialsError) as info:
        await awaited
    return info.value


@pytest.mark.parametrize(
    ("code", "expected"),
    sorted(
        (spelling, cls)
        for code, cls in LOGGED_AS_ERRORS.items()
        for spelling in {code.removesuffix("Exception"), code.removesuffix("Exception") + "Exception"}
    ),
)
async def test_the_origins_errors(
    code: str, expected: type[CredentialsError], caplog: pytest.LogCaptureFixture
) -> None:
    """Decryption, internal error, parameter and request are logged as errors, with a traceback, and raised."""
    caplog.set_level(logging.DEBUG)
    error = await raised(fetch(client_error(code, "AWS's words.", status=500), "prod/db", region_name="eu-west-1"))
    assert isinstance(error, expected)
    (record,) = caplog.records
    assert (record.name, record.levelname, record.getMessage()) == ("theirs", "ERROR", str(error))
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    for words in (code, "AWS's words", "'prod/db'", "'eu-west-1'", expected.advice):
        assert words in record.getMessage()


@pytest.mark.parametrize("code", ["ResourceNotFound", "ResourceNotFoundException"])
async def test_not_found(code: str, caplog: pytest.LogCaptureFixture) -> None:
    """A secret that isn't there is logged as information, and raised."""
    caplog.set_level(logging.DEBUG)
    error = await raised(fetch(client_error(code), "prod/db"))
    assert isinstance(error, SecretNotFoundError)
    (record,) = caplog.records
    assert (record.levelname, record.getMessage(), record.exc_info) == ("INFO", str(error), None)
    assert "'prod/db'" in record.getMessage()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (client_error("FromTomorrow"), AWSError),
        (client_error("AccessDenied"), AccessDeniedError),
        (botocore.exceptions.NoCredentialsError(), AuthenticationError),
    ],
    ids=["unknown", "denied", "no credentials"],
)
async def test_all_others_are_raised(
    error: Exception, expected: type[CredentialsError], caplog: pytest.LogCaptureFixture
) -> None:
    """What isn't one of the five is raised without a log, and never is a None that somebody unpacks later."""
    caplog.set_level(logging.DEBUG)
    assert isinstance(await raised(fetch(error)), expected)
    assert not caplog.records


async def test_no_chain() -> None:
    """The error isn't chained to botocore's, which may hold a whole answer: neither as cause nor as context."""
    error = await raised(fetch(botocore.exceptions.ParamValidationError(report=CANARY)))
    assert (error.__cause__, error.__context__) == (None, None)
    assert not any(CANARY in str(link) for link in errors.chain(error))


async def test_ours_pass(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is ours already is logged the same way, and goes through as it is."""
    caplog.set_level(logging.DEBUG)
    ours = errors.describe(InvalidParameterError, "A bad parameter.")
    assert await raised(fetch(ours)) is ours
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    "foreign", [KeyError("x"), OSError("x"), KeyboardInterrupt()], ids=lambda error: type(error).__name__
)
async def test_foreign_errors_pass(foreign: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """What isn't botocore's passes untouched: an `except` of the caller's goes on working."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(type(foreign)) as info:
        await fetch(foreign)
    assert info.value is foreign
    assert not caplog.records


@pytest.mark.parametrize("code", ["no code at all", "<html>", ["a"], {"a": 1}], ids=range(4))
def test_a_code_that_is_none(code: object) -> None:
    """What stands where a code should, and isn't one, is left out: it may be anything."""
    error = errors.map_error(client_error(cast("str", code)))
    assert (type(error).__name__, error.code) == ("AWSError", "Unknown")
    assert str(code) not in str(error)


async def test_an_argument_of_two_kinds() -> None:
    """A keyword that has the name of a positional-only parameter doesn't hide the error behind another."""

    @errors.map_client_errors(logging.getLogger("theirs"))
    async def fetch(secret_name: str = "", /, **more: str) -> None:
        assert (secret_name, more) == ("", {"secret_name": "b"})
        raise client_error("AccessDenied")

    error = await raised(fetch(secret_name="b"))
    assert (type(error).__name__, error.secret_name) == ("AccessDeniedError", "b")


async def test_results_pass() -> None:
    """What the function returns comes back, None too."""
    assert await fetch(None, None) == (None, {})
    assert await fetch(None, "prod/db", region_name=1) == ("prod/db", {"region_name": 1})


NOT_FOUND = client_error("ResourceNotFound")


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: fetch(NOT_FOUND, "prod/positional"), ("prod/positional", None)),
        (lambda: fetch(NOT_FOUND, SecretId="prod/keyword", region_name="eu-west-1"), ("prod/keyword", "eu-west-1")),
        (lambda: fetch(NOT_FOUND, region_name=7), (None, None)),
        (lambda: by_aws_name(NOT_FOUND, "prod/aws"), ("prod/aws", None)),
        (lambda: by_aws_name(SecretId="prod/aws", error=NOT_FOUND, region_name="eu-west-4"), ("prod/aws", "eu-west-4")),
        (lambda: Holder().fetch(NOT_FOUND), ("prod/attribute", "eu-west-2")),
    ],
    ids=["positional", "keyword", "no string", "botocore's name", "all keywords", "attributes"],
)
async def test_names_of_the_call(
    call: Callable[[], Coroutine[Any, Any, object]], expected: tuple[str | None, str | None]
) -> None:
    """The secret and the region are read off the arguments, by our names or botocore's, else off the object."""
    error = await raised(call())
    assert (error.secret_name, error.region_name) == expected


def test_the_signature_stays() -> None:
    """A decorated function looks like itself: name, docstring, signature, and async."""

    async def plain(secret_name: str, /, limit: int = 3, *, flag: bool) -> bytes:
        """Do it."""
        raise NotImplementedError(secret_name, limit, flag)

    decorated = map_client_errors(logging.getLogger())(plain)
    assert inspect.signature(decorated) == inspect.signature(plain)
    assert inspect.iscoroutinefunction(decorated)
    assert (decorated.__name__, decorated.__doc__) == ("plain", "Do it.")


def test_sync_functions_are_refused() -> None:
    """A plain def, which can't be awaited, is refused when it is decorated."""

    def plain() -> None:
        """Not async."""

    wrong: Any = plain
    with pytest.raises(TypeError, match=r"decorates an async def; '.*plain' isn't one"):
        map_client_errors(logging.getLogger())(wrong)
    wrong = 3
    with pytest.raises(TypeError, match="3 isn't one"):
        map_client_errors(logging.getLogger())(wrong)
