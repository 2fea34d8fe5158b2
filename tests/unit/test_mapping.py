"""An error without an answer becomes one of our errors by its class and by the place where it was raised."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import botocore.exceptions
import pytest
from botocore.exceptions import ClientError

from aiocredentials import (
    AuthenticationError,
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    InvalidParameterError,
    InvalidRegionError,
    MalformedResponseError,
    SecretFormatError,
    ThrottledError,
    errors,
)
from aiocredentials._aws.credential_findings import CREDENTIALS
from aiocredentials._aws.findings import SETTINGS
from aiocredentials._aws.mapping import _BY_CLASS, _listed_class, map_error, map_opening_error
from aiocredentials._aws.origins import frames, linked_errors
from unit.foreign_errors import CANARY, NAMED, WORDED, botocore_error, everything, through

if TYPE_CHECKING:
    from collections.abc import Callable

TRANSIENT = {CredentialSourceError, ThrottledError, EndpointUnreachableError, MalformedResponseError}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ParamValidationError", InvalidParameterError),
        ("InvalidRetryModeError", InvalidParameterError),
        ("InvalidMaxRetryAttemptsError", InvalidParameterError),
        ("InvalidProxiesConfigError", InvalidParameterError),
        ("NoCredentialsError", CredentialSourceError),
        ("CredentialRetrievalError", CredentialSourceError),
        ("MetadataRetrievalError", CredentialSourceError),
        ("TokenRetrievalError", CredentialSourceError),
        ("PartialCredentialsError", AuthenticationError),
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
        ("CapacityNotAvailableError", ThrottledError),
        ("IncompleteReadError", MalformedResponseError),
        ("ChecksumError", MalformedResponseError),
    ],
)
@pytest.mark.parametrize("opening", [False, True], ids=["call", "opening"])
def test_botocore_errors(name: str, expected: type[CredentialsError], opening: bool) -> None:  # noqa: FBT001 (a table)
    """What botocore raises without an answer becomes the class itself, at opening as in a call: no ClientError."""
    names = dict.fromkeys(("error_msg", "source_profile", "visited_profiles", "valid_modes"), "a-name")
    error = botocore_error(
        name,
        **(names if name in {*WORDED, "InfiniteLoopConfigError", "InvalidRetryModeError"} else {}),
    )
    mapped = (map_opening_error if opening else map_error)(error, secret_name="prod/db")
    assert type(mapped) is expected
    assert not isinstance(mapped, ClientError)
    assert not hasattr(mapped, "response")
    assert mapped.secret_name == "prod/db"
    assert mapped.transient is (expected in TRANSIENT)
    assert CANARY not in everything(mapped)


# But for the bases that are never raised themselves, and for answers.
EXCEPTIONS = {
    name: cls
    for name, cls in vars(botocore.exceptions).items()
    if inspect.isclass(cls)
    and cls.__module__ == "botocore.exceptions"
    and name not in {"BotoCoreError", "BaseEndpointResolverError"}
    and not issubclass(cls, ClientError)
}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_class_of_botocore_is_decided(name: str) -> None:
    """Each class that the installed botocore has is in a table, or one of its bases is: none is left to chance."""
    bases = [base.__name__ for base in EXCEPTIONS[name].__mro__]
    assert any(base in table for base in bases for table in (CREDENTIALS, SETTINGS, _BY_CLASS))


def test_no_class_is_in_two_tables() -> None:
    """A class is about AWS credentials or about something else; the words on a setting are for those of that kind."""
    assert not CREDENTIALS.keys() & _BY_CLASS.keys()
    for name in SETTINGS:
        bases = getattr(botocore.exceptions, name).__mro__
        assert _listed_class(botocore_error(name)) is InvalidParameterError, bases


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError(), EndpointUnreachableError),
        (ConnectionResetError("reset"), EndpointUnreachableError),
        (OSError(24, "Too many open files"), EndpointUnreachableError),
        (FileNotFoundError(2, "No such file", "/var/run/token"), CredentialSourceError),
        (PermissionError(13, "Denied", "/var/run/token"), CredentialSourceError),
        (AttributeError(CANARY), MalformedResponseError),
        (UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, "junk"), MalformedResponseError),
        (ValueError(CANARY), MalformedResponseError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_errors(error: Exception, expected: type[CredentialsError]) -> None:
    """The system's errors have their class too; what escapes a parser was no answer, and its text stays out."""
    mapped = map_error(error)
    assert type(mapped) is expected
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AttributeError(CANARY), InvalidParameterError),
        (ValueError(CANARY), InvalidParameterError),
        (RuntimeError(CANARY), InvalidParameterError),
        (OSError(24, "Too many open files"), EndpointUnreachableError),
    ],
    ids=lambda value: type(value).__name__,
)
def test_foreign_errors_at_opening(error: Exception, expected: type[CredentialsError]) -> None:
    """What nobody foresaw at opening is about a setting: permanent, and nobody is sent to look for a proxy."""
    mapped = map_opening_error(through("botocore.args", error))
    assert type(mapped) is expected
    assert mapped.transient is (expected is EndpointUnreachableError)
    assert "answers in its place" not in str(mapped)
    assert mapped.transient or "raised in botocore.args" in str(mapped)
    assert CANARY not in everything(mapped)


@pytest.mark.parametrize("module", ["botocore.auth", "aiobotocore.signers", "aiocredentials._aws.transport"])
def test_before_a_request_is_sent(module: str) -> None:
    """What signing a request or setting up its connection raises in a call is about a setting, and no answer."""
    mapped = map_error(through(module, TypeError("a type")))
    assert (type(mapped), mapped.transient, mapped.asked) == (InvalidParameterError, False, False)
    assert type(map_error(through("botocore.parsers", TypeError(CANARY)))) is MalformedResponseError


def test_a_chain_that_bites_its_tail() -> None:
    """Errors that are each other's cause end the search, too."""
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert list(linked_errors(first)) == [first, second]
    assert list(frames(first)) == []


@pytest.mark.parametrize("map_one", [map_error, map_opening_error])
def test_mapping_ours_again(map_one: Callable[..., CredentialsError]) -> None:
    """An error of ours that is mapped is a copy: same facts, and none of the frames and contexts of the first."""
    ours = errors.make_error(SecretFormatError, "No.", secret_name="x")
    with pytest.raises(SecretFormatError) as info:
        raise ours from ValueError(CANARY)
    mapped = map_one(info.value, secret_name="y")
    assert (type(mapped), mapped.secret_name) == (SecretFormatError, "x")
    assert (mapped.__cause__, mapped.__context__, mapped.__traceback__) == (None, None, None)


def test_names_are_no_canaries() -> None:
    """The fields that are shown of botocore's errors are the ones that this suite takes for names."""
    assert CANARY not in NAMED.values()
