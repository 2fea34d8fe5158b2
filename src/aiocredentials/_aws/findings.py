"""What is wrong with a setting, in a sentence that names the setting, variable, file or profile.

A sentence is made of names: of profiles, files, variables, settings and hosts. It never holds a
value, a line of a file, or the output of a `credential_process`, because each of these may be a
secret.

The types `Failure` and `Finding` are here, and the explanations of errors that aren't about AWS
credentials. `credential_findings` and `ambiguous_findings` have the others.
"""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, NamedTuple

from aiocredentials._aws.origins import field_of, linked_errors, raising_module
from aiocredentials.errors import LONGEST_SENTENCE, one_line, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Explain = Callable[["Failure"], "Finding"]

# Errors that these modules raise about their arguments hold no value.
_MODULES_WITHOUT_VALUES = ("aiocredentials.", "aiohttp.connector", "aiohttp.client_reqrep")

_ENDPOINTS = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
_NUMBERS = ("AWS_MAX_ATTEMPTS", "AWS_METADATA_SERVICE_TIMEOUT", "AWS_METADATA_SERVICE_NUM_ATTEMPTS")
# Each request has these in a header.
_IN_HEADERS = ("AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN")

# `re` compiles and keeps it at its first use, because few processes meet such an error.
_PARAMETER = (
    r"(?m)^(?:Invalid \w+ for parameter |(?:Missing required|Unknown) parameter in input: \")"
    r"([A-Za-z]\w*)"
)


class Finding(NamedTuple):
    """What is wrong, what to do about it, and whether the next attempt may succeed."""

    what: str
    advice: str
    transient: bool = False


class Failure(NamedTuple):
    """An error, and the AWS profile in use: None for the default profile."""

    error: BaseException
    profile: str | None = None

    @property
    def class_name(self) -> str:
        """The name of the error's class."""
        return type(self.error).__name__

    @property
    def the_profile(self) -> str:
        """The profile, as a message names it."""
        if not self.profile:
            return "the default profile"
        return f"profile {shown(self.profile)}"

    def field(self, name: str) -> str:
        """Return a field of botocore's error, fit for a message; empty if it has none."""
        text = str(field_of(self.error, name, ""))
        return one_line(text, LONGEST_SENTENCE).rstrip(".")


def explain_by_class(failure: Failure, table: Mapping[str, Explain]) -> Finding | None:
    """Explain an error by its class, or by the nearest base that the table has."""
    for base in type(failure.error).__mro__:
        explain = table.get(base.__name__)
        if explain is not None:
            return explain(failure)
    return None


# What is wrong with a setting


def first_set(variables: tuple[str, ...]) -> str:
    """Return the first of these environment variables that is set, or else the last one."""
    for variable in variables:
        if variable in os.environ:
            return variable
    return variables[-1]


def refused_parameters(error: BaseException) -> list[str]:
    """Return the names of the parameters that botocore refuses.

    The text of the error isn't used, because it holds values as well.
    """
    report = str(field_of(error, "report", ""))
    found = re.findall(_PARAMETER, report)
    return list(dict.fromkeys(found))


def malformed_number() -> str | None:
    """Return which environment variable should be a number and isn't; None if all are fine."""
    for variable in _NUMBERS:
        text = os.environ.get(variable, "0")
        if not re.fullmatch(r"\s*\d+\s*", text):
            return f"{variable} isn't a number"
    return None


def _unknown_mode(failure: Failure) -> Finding:
    setting = "AWS_DEFAULTS_MODE, or defaults_mode in the profile or of the config"
    if failure.class_name == "InvalidRetryModeError":
        setting = "AWS_RETRY_MODE, retry_mode in the profile, or retries of the config"
    modes = re.sub(r"[^\w ,-]", "", failure.field("valid_modes"))
    return Finding(
        what=f"The client can't be used: {setting} isn't a valid mode",
        advice=f"Use one of {modes}.",
    )


def _too_few_attempts(_: Failure) -> Finding:
    setting = "AWS_MAX_ATTEMPTS, max_attempts in the profile, or retries of the config"
    return Finding(
        what=f"The client can't be used: {setting} is too small",
        advice="Use 1 or more.",
    )


def _invalid_parameters(failure: Failure) -> Finding:
    parameters = ", ".join(refused_parameters(failure.error)) or "a parameter"
    return Finding(
        what=f"botocore refuses the request before it is sent: {parameters}",
        advice="Correct the secret's name, version or staging label.",
    )


def _in_words_of_botocore(failure: Failure) -> Finding:
    words = failure.field("msg") or failure.field("data_path") or failure.class_name
    return Finding(
        what=f"The client can't be used: {words}",
        advice=(
            "Correct the config, the session, or the settings in the environment and the profile."
        ),
    )


# Errors of botocore about a setting, for which a sentence is more exact than the name of the class.
SETTINGS: Mapping[str, Explain] = {
    "InvalidRetryModeError": _unknown_mode,
    "InvalidDefaultsMode": _unknown_mode,
    "InvalidMaxRetryAttemptsError": _too_few_attempts,
    "ParamValidationError": _invalid_parameters,
    "EndpointProviderError": _in_words_of_botocore,
    "InvalidEndpointConfigurationError": _in_words_of_botocore,
    "DataNotFoundError": _in_words_of_botocore,
}


def explain_setting(failure: Failure) -> Finding:
    """Explain an error of a client or its request that isn't about AWS credentials."""
    error = failure.error
    if isinstance(error, Warning):
        name = failure.class_name
        return Finding(
            what=f"The warnings filter of this process has turned a {name} into an error",
            advice="Let that filter ignore the warnings of libraries.",
        )

    module = raising_module(error)
    if isinstance(error, ImportError) or module.startswith(_MODULES_WITHOUT_VALUES):
        words = one_line(str(error)).rstrip(".")
        return Finding(
            what=f"The client can't be used: {words}",
            advice="Correct the config or the session, or install a version that fits.",
        )

    setting = _malformed_setting(error)
    if setting is not None:
        return Finding(
            what=f"The client can't be used: {setting}",
            advice="Correct it, or unset it.",
        )

    words = failure.class_name
    if module:
        words += f" (raised in {module})"
    return Finding(
        what=f"The client can't be used: {words}",
        advice="Check the config, the session, and the settings of the profile.",
    )


def _malformed_setting(error: BaseException) -> str | None:
    if type(error) is not ValueError:
        return None
    text = str(error)
    if text.startswith("Invalid endpoint"):
        in_use = [variable for variable in _ENDPOINTS if variable in os.environ]
        settings = " or ".join(["endpoint_url", *in_use])
        return f"{settings} isn't a URL whose host is made of letters, digits, hyphens and dots"
    if "invalid literal" in text:
        return malformed_number() or "a setting in the profile isn't a number"
    return None


# Errors that each request would have


def explain_mock(error: BaseException) -> Finding | None:
    """Recognize moto's in-process mock, whose answers can't be awaited."""
    # Only if moto was imported already: a service has no moto.
    models = sys.modules.get("moto.core.models")
    stubber = getattr(models, "botocore_stubber", None)
    if getattr(stubber, "enabled", False) is not True:
        return None
    if not any(isinstance(link, TypeError) for link in linked_errors(error)):
        return None
    return Finding(
        what=(
            "The request was caught by moto's in-process mock (mock_aws), "
            "whose answers can't be awaited"
        ),
        advice="Use the fixture moto_secrets, or FakeSecretsManager of aiocredentials.testing.",
    )


def explain_header(failure: Failure) -> Finding | None:
    """Recognize credentials with a control character, which no header can hold."""
    if failure.class_name != "HTTPClientError":
        return None
    if not any(map(_is_about_a_header, linked_errors(failure.error))):
        return None
    setting = f"aws_access_key_id or aws_session_token of {failure.the_profile} or the session"
    for variable in _IN_HEADERS:
        text = os.environ.get(variable, "")
        if not text.isprintable():
            setting = variable
            break
    return Finding(
        what=(
            f"The AWS credentials can't be sent: {setting} contains a line end or another control "
            "character"
        ),
        advice="Remove that character.",
    )


def _is_about_a_header(link: BaseException) -> bool:
    # aiohttp's sentence differs between its versions; each has this word.
    return type(link) is ValueError and "header" in str(link).lower()


def explain_url(error: BaseException) -> Finding | None:
    """Recognize a URL of the endpoint or of a proxy that aiohttp can't parse."""
    for link in linked_errors(error):
        bases = [base.__name__ for base in type(link).__mro__]
        if "InvalidURL" in bases:
            return Finding(
                what=(
                    "The request can't be sent: the URL of the endpoint or of the proxy is "
                    "malformed"
                ),
                advice="Correct endpoint_url, HTTPS_PROXY, or proxies of the config.",
            )
    return None
