"""The tree of errors, their copies, their messages, and the decorator that makes them of what botocore raises."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import pickle
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest

from aiocredentials import (
    AccessDeniedError,
    AuthenticationError,
    AWSError,
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRegionError,
    InvalidRequestError,
    MalformedResponseError,
    PoolClosedError,
    SecretDecryptionError,
    SecretExpiredError,
    SecretFormatError,
    SecretNotFoundError,
    ThrottledError,
    errors,
    map_client_errors,
)
from aiocredentials._aws.mapping import map_error
from aiocredentials._aws.origins import linked_errors
from unit.foreign_errors import CANARY, client_error

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

TRANSIENT = {
    CredentialSourceError, InternalServiceError, ThrottledError, EndpointUnreachableError, MalformedResponseError,
    SecretExpiredError,
}  # fmt: skip
LOGGED_AS_ERRORS = {
    "DecryptionFailure": SecretDecryptionError,
    "InternalServiceError": InternalServiceError,
    "InvalidParameterException": InvalidParameterError,
    "InvalidRequestException": InvalidRequestError,
}


@pytest.mark.parametrize("name", [cls.__name__ for cls in errors._TWINS])
def test_names(name: str) -> None:
    """An error goes by its public name, answered or not, has a docstring, and says what a reader can do."""
    cls = vars(errors)[name]
    twin = errors._TWINS[cls]
    assert (twin.__name__, twin.__qualname__, twin.__module__) == (
        name,
        name,
        "aiocredentials.errors",
    )
    assert twin.__doc__ == cls.__doc__
    assert cls.transient is (cls in TRANSIENT)
    assert cls.advice or cls in {CredentialsError, SecretExpiredError, PoolClosedError}


def test_without_anything() -> None:
    """An error may be made with a message alone, and each fact is None then."""
    error = SecretFormatError("Said.")
    assert str(error) == "Said."
    assert (
        error.secret_name,
        error.region_name,
        error.region_source,
        error.code,
        error.request_id,
    ) == (None,) * 5
    assert str(PoolClosedError()) == ""


COPIES: dict[str, Callable[[Any], Any]] = {"copy": copy.copy, "deepcopy": copy.deepcopy} | {
    # S301: what is loaded here was dumped here.
    f"pickle {protocol}": lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol))  # noqa: S301
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1)
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize(
    "error",
    [
        map_error(client_error("ThrottlingException"), secret_name="prod/db"),
        errors.make_error(PoolClosedError, "Closed.", region_name="eu-west-1"),
        map_error(client_error("AccessDenied", operation="AssumeRole", **{"content-type": "text/xml"})),
        map_error(botocore.exceptions.ProfileNotFound(profile="dev"), profile="dev"),
    ],
    ids=["answered", "ours", "answered by STS", "with advice of its own"],
)
def test_copies(error: CredentialsError, make: Callable[[Any], Any]) -> None:
    """A copy, also by pickle, keeps class, text, facts and response, and is another object."""
    made = make(error)
    assert made is not error
    assert type(made) is type(error)
    assert (str(made), made.args, vars(made)) == (str(error), error.args, vars(error))


LONG = "prod/" + "x" * 2000 + "/database"


@pytest.mark.parametrize("fact", ["secret_name", "region_name"])
def test_a_long_name(fact: str) -> None:
    """A name is cut in its middle, so that a message stays readable; the error itself has the whole of it."""
    facts = {fact: LONG}
    error = errors.make_error(SecretNotFoundError, "No.", **facts)
    assert len(str(error)) < 500
    assert "'prod/xxx" in str(error)
    assert "…" in str(error)
    assert "xxx/database'" in str(error)
    assert getattr(error, fact) == LONG
    just_fits = "x" * errors.LONGEST_NAME
    assert f"'{just_fits}'" in str(errors.make_error(SecretNotFoundError, "No.", secret_name=just_fits))
    assert len(errors.one_line(LONG)) == errors.LONGEST_NAME


def test_names_are_escaped() -> None:
    """A name that others chose can't add a line to a log, nor colours to a terminal; letters stay as they are."""
    facts = {
        "secret_name": "a\nb",
        "region_name": "c\x1b[31m",
        "region_source": "profile 'dé\r\u202e'",
    }
    text = str(errors.make_error(SecretNotFoundError, "No.", **facts))
    assert "secret 'a\\nb', region 'c\\x1b[31m' (from profile 'dé\\r\\u202e')" in text
    assert text.isprintable()
    assert len(str(errors.make_error(SecretNotFoundError, "No.", region_name="x", region_source=LONG))) < 500


def test_one_callers_own() -> None:
    """The copy for a caller names what this caller asked, and keeps an advice that isn't the class's."""
    error = errors.make_error(AuthenticationError, "No.", advice="Do that.", secret_name="a", region_name="r")
    error.asked = False
    mine = errors.for_caller(error, secret_name="b", region_name=None, region_source="the pool")
    assert str(mine) == "No. Asked: secret 'b', region 'r' (from the pool). Do that."
    assert (mine.advice, mine.asked) == ("Do that.", False)
    assert str(error) == "No. Asked: secret 'a', region 'r'. Do that."
    assert str(errors.for_caller(SecretFormatError("Said by a caller."), secret_name="b")) == "Said by a caller."


def test_whether_it_was_asked() -> None:
    """By their class alone, errors of the source of credentials and of the region say that no secret was asked for."""
    asked = {cls for cls in errors._TWINS if cls.asked}
    assert errors._TWINS.keys() - asked == {CredentialSourceError, InvalidRegionError}


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
        for spelling in {
            code.removesuffix("Exception"),
            code.removesuffix("Exception") + "Exception",
        }
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
    assert not any(CANARY in str(link) for link in linked_errors(error))


async def test_ours_pass(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is ours already is logged the same way, and goes through as it is."""
    caplog.set_level(logging.DEBUG)
    ours = errors.make_error(InvalidParameterError, "A bad parameter.")
    assert await raised(fetch(ours)) is ours
    assert [record.levelname for record in caplog.records] == ["ERROR"]


@pytest.mark.parametrize(
    "foreign",
    [KeyError("x"), OSError("x"), KeyboardInterrupt()],
    ids=lambda error: type(error).__name__,
)
async def test_foreign_errors_pass(foreign: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """What isn't botocore's passes untouched: an `except` of the caller's goes on working."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(type(foreign)) as info:
        await fetch(foreign)
    assert info.value is foreign
    assert not caplog.records


async def test_an_argument_of_two_kinds() -> None:
    """A keyword that has the name of a positional-only parameter doesn't hide the error behind another."""

    @map_client_errors(logging.getLogger("theirs"))
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
        (
            lambda: fetch(NOT_FOUND, SecretId="prod/keyword", region_name="eu-west-1"),
            ("prod/keyword", "eu-west-1"),
        ),
        (lambda: fetch(NOT_FOUND, region_name=7), (None, None)),
        (lambda: by_aws_name(NOT_FOUND, "prod/aws"), ("prod/aws", None)),
        (
            lambda: by_aws_name(SecretId="prod/aws", error=NOT_FOUND, region_name="eu-west-4"),
            ("prod/aws", "eu-west-4"),
        ),
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
    with pytest.raises(TypeError, match=r"decorates only async functions: '.*plain' isn't one"):
        map_client_errors(logging.getLogger())(wrong)
    wrong = 3
    with pytest.raises(TypeError, match="'int' isn't one"):
        map_client_errors(logging.getLogger())(wrong)
    wrong = functools.partial(plain, "hunter2")
    with pytest.raises(TypeError, match="'partial' isn't one") as caught:
        map_client_errors(logging.getLogger())(wrong)
    assert "hunter2" not in str(caught.value)
