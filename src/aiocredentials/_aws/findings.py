"""What is wrong with a setting, in a sentence that names the setting, variable, file or profile.

A sentence is made of names: of profiles, files, variables, settings and hosts. It never holds a
value, a line of a file, or what a `credential_process` wrote: each of these may be a secret.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from typing import TYPE_CHECKING, NamedTuple

from aiocredentials.errors import LONGEST_SENTENCE, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    Explain = Callable[["Failure"], "Finding"]

# The modules that load and renew AWS credentials.
_CREDENTIALS = frozenset({
    "aiobotocore.credentials", "aiobotocore.tokens", "botocore.credentials", "botocore.tokens",
})  # fmt: skip
# Where a request is signed, and where its connection is set up.
_BEFORE_SENDING = frozenset({
    "aiobotocore.signers", "botocore.auth", "botocore.signers", "aiocredentials._aws.transport",
})  # fmt: skip
# What these modules raise about their arguments has no value in it.
_OUR_WORDS = ("aiocredentials.", "aiohttp.connector", "aiohttp.client_reqrep")

_ENDPOINTS = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
_NUMBERS = ("AWS_MAX_ATTEMPTS", "AWS_METADATA_SERVICE_TIMEOUT", "AWS_METADATA_SERVICE_NUM_ATTEMPTS")
# These are sent in a header of each request, and so is the region.
_SENT = ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

_PARAMETER = re.compile(
    r"^(?:Invalid \w+ for parameter |(?:Missing required|Unknown) parameter in input: \")"
    r"([A-Za-z]\w*)",
    re.MULTILINE,
)


class Finding(NamedTuple):
    """What is wrong, what to do about it, and whether it may be over a little later."""

    what: str
    advice: str
    transient: bool = False


class Failure(NamedTuple):
    """An error, and the AWS profile in use: None for the default one."""

    error: BaseException
    profile: str | None = None

    @property
    def name(self) -> str:
        """The name of the error's class."""
        return type(self.error).__name__

    @property
    def where(self) -> str:
        """The profile, as a message names it."""
        return f"profile {shown(self.profile)}" if self.profile else "the default profile"

    def field(self, name: str) -> str:
        """Return what botocore's error has under this name, fit for a message."""
        fields: Mapping[str, object] = getattr(self.error, "kwargs", {})
        return one_line(str(fields.get(name, "")), LONGEST_SENTENCE).rstrip(".")


def explained(failure: Failure, table: Mapping[str, Explain]) -> Finding | None:
    """Explain an error by its class, or by the nearest base that the table has."""
    for base in type(failure.error).__mro__:
        if base.__name__ in table:
            return table[base.__name__](failure)
    return None


# Where an error came from


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that it was made from: causes, contexts, and what is wrapped in it."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        link = pending.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        # botocore wraps in the first way, aiohttp in the last two.
        wrapped: Mapping[str, object] = getattr(link, "kwargs", {})
        pending += [wrapped.get("error"), link.__cause__, link.__context__]
        pending += [getattr(link, "certificate_error", None), getattr(link, "os_error", None)]


def frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames that an error came through, and those of its causes.

    Contexts are left out: one may be an error of the caller's, who handles it by this call.
    """
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        for frame, _ in traceback.walk_tb(link.__traceback__):
            yield frame
        link = link.__cause__


def is_of_the_credentials(error: BaseException) -> bool:
    """Whether an error was raised while AWS credentials were loaded or renewed.

    What is raised there, also in the midst of a call, has the classes of any other call: only the
    way that it took shows what was asked.
    """
    return any(_module_of(frame) in _CREDENTIALS for frame in frames(error))


def is_of_a_setting(error: BaseException) -> bool:
    """Whether an unforeseen error of a call was raised before its request was sent.

    What aiohttp raises while it sends and receives is wrapped by aiobotocore.
    """
    return any(_module_of(frame) in _BEFORE_SENDING for frame in frames(error))


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


# What is wrong with a setting


def first_set(variables: tuple[str, ...]) -> str:
    """Name the first of these environment variables that is set, or else the last one."""
    return next((variable for variable in variables if variable in os.environ), variables[-1])


def parameters_in(error: BaseException) -> list[str]:
    """Name the parameters that botocore refuses; its own text has values, too."""
    report = str(getattr(error, "kwargs", {}).get("report", ""))
    return list(dict.fromkeys(_PARAMETER.findall(report)))


def malformed_number() -> str | None:
    """Say which environment variable should be a number and isn't."""
    for variable in _NUMBERS:
        if not re.fullmatch(r"\s*\d+\s*", os.environ.get(variable, "0")):
            return f"{variable} isn't a number"
    return None


def _mode(failure: Failure) -> Finding:
    retry = "AWS_RETRY_MODE, retry_mode in the profile, or retries of the config"
    defaults = "AWS_DEFAULTS_MODE, or defaults_mode in the profile or of the config"
    names = retry if failure.name == "InvalidRetryModeError" else defaults
    known = re.sub(r"[^\w ,-]", "", failure.field("valid_modes"))
    return Finding(f"The client can't be used: {names} isn't a mode", f"Use one of {known}.")


def _attempts(_: Failure) -> Finding:
    names = "AWS_MAX_ATTEMPTS, max_attempts in the profile, or retries of the config"
    return Finding(f"The client can't be used: {names} is too small", "Use 1 or more.")


def _parameters(failure: Failure) -> Finding:
    names = ", ".join(parameters_in(failure.error)) or "a parameter"
    advice = "Correct the secret's name, version or staging label."
    return Finding(f"botocore refuses the request before it is sent: {names}", advice)


def _own_words(failure: Failure) -> Finding:
    words = failure.field("msg") or failure.field("data_path") or failure.name
    return Finding(
        f"The client can't be used: {words}",
        "Correct the config, the session, or the settings in the environment and the profile.",
    )


# What botocore raises about a setting, where more can be said than the name of the class.
SETTINGS: Mapping[str, Explain] = {
    "InvalidRetryModeError": _mode,
    "InvalidDefaultsMode": _mode,
    "InvalidMaxRetryAttemptsError": _attempts,
    "ParamValidationError": _parameters,
    "EndpointProviderError": _own_words,
    "InvalidEndpointConfigurationError": _own_words,
    "DataNotFoundError": _own_words,
}


def of_a_setting(failure: Failure) -> Finding:
    """Explain what was raised about a client or its request, and isn't about AWS credentials."""
    error = failure.error
    places = [_module_of(frame) for frame, _ in traceback.walk_tb(error.__traceback__)]
    place = places[-1] if places else ""
    if isinstance(error, Warning):
        what = f"The warnings filter of this process has made an error of a {failure.name}"
        return Finding(what, "Let that filter leave the warnings of libraries alone.")
    if isinstance(error, ImportError) or place.startswith(_OUR_WORDS):
        words = one_line(str(error)).rstrip(".")
        advice = "Correct the config or the session, or install a version that fits."
        return Finding(f"The client can't be used: {words}", advice)
    if setting := _malformed_setting(error):
        return Finding(f"The client can't be used: {setting}", "Correct it, or unset it.")
    raised = f" (raised in {place})" if place else ""
    advice = "Look through the config, the session, and the settings of the profile."
    return Finding(f"The client can't be used: {failure.name}{raised}", advice)


def _malformed_setting(error: BaseException) -> str | None:
    if type(error) is not ValueError:
        return None
    if str(error).startswith("Invalid endpoint"):
        set_here = [variable for variable in _ENDPOINTS if variable in os.environ]
        names = " or ".join(["endpoint_url", *set_here])
        return f"{names} isn't a URL whose host is made of letters, digits, hyphens and dots"
    if "invalid literal" in str(error):
        return malformed_number() or "a setting in the profile isn't a number"
    return None


# What keeps every request from being sent


def of_a_mock(error: BaseException) -> Finding | None:
    """Recognise moto's in-process mock, which answers with what can't be awaited."""
    # Asked of what is imported: a service has no moto.
    stubber = getattr(sys.modules.get("moto.core.models"), "botocore_stubber", None)
    if getattr(stubber, "enabled", False) is not True:
        return None
    if not any(isinstance(link, TypeError) for link in chain(error)):
        return None
    return Finding(
        "The request was caught by moto's in-process mock (mock_aws), whose answers can't be awaited",
        "Use the fixture moto_secrets, or FakeSecretsManager of aiocredentials.testing.",
    )


def of_a_header(failure: Failure) -> Finding | None:
    """Recognise a header that can't be sent: of credentials with a control character in them."""
    if failure.name != "HTTPClientError":
        return None
    # aiohttp's sentence differs between its versions; this word is in each.
    causes = [str(link).lower() for link in chain(failure.error) if type(link) is ValueError]
    if not any("header" in cause for cause in causes):
        return None
    unfit = [variable for variable in _SENT if not os.environ.get(variable, "").isprintable()]
    in_profile = f"aws_access_key_id or aws_session_token of {failure.where} or the session"
    name = unfit[0] if unfit else in_profile
    return Finding(
        f"The AWS credentials can't be sent: {name} has a line end or another control character in it",
        "Write it without one.",
    )


def of_a_url(error: BaseException) -> Finding | None:
    """Recognise a URL that aiohttp can't read, of the endpoint or of a proxy."""
    bases = [base.__name__ for link in chain(error) for base in type(link).__mro__]
    if "InvalidURL" not in bases:
        return None
    what = "The request can't be sent: the URL of the endpoint or of the proxy is malformed"
    return Finding(what, "Correct endpoint_url, HTTPS_PROXY, or proxies of the config.")
