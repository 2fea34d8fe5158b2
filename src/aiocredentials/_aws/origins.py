"""Where an error came from: the errors that it was made from, and the modules it passed through."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from aiocredentials._exception_chain import walk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

# The modules that load and renew AWS credentials.
_CREDENTIAL_MODULES = (
    "aiobotocore.credentials",
    "aiobotocore.tokens",
    "botocore.credentials",
    "botocore.tokens",
    "aiocredentials._aws.assuming",
)
# The modules that sign a request, and that set up its connection.
_MODULES_BEFORE_SENDING = (
    "aiobotocore.signers",
    "botocore.auth",
    "botocore.signers",
    "aiocredentials._aws.transport",
)
# The modules that read an answer.
_READING_MODULES = ("botocore.parsers", "aiobotocore.parsers")


def field_of(error: object, name: str, default: object = None) -> object:
    """Return a field of botocore's error; the default if the error has no such field."""
    fields: Mapping[str, object] = getattr(error, "kwargs", {})
    return fields.get(name, default)


def linked_errors(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all errors that it was made from: causes, contexts, wrapped errors.

    Unlike the search for a refused login (`_rotation.refusals`), this one follows contexts, because
    botocore and aiohttp keep the reason of a failed request there.
    """
    return walk(error, _direct_origins)


def _direct_origins(error: BaseException) -> list[object]:
    return [
        # botocore wraps an error in this way.
        field_of(error, "error"),
        error.__cause__,
        error.__context__,
        # aiohttp wraps an error in these two ways.
        getattr(error, "certificate_error", None),
        getattr(error, "os_error", None),
    ]


def reason_of_the_system(error: BaseException) -> str | None:
    """Return the words of the operating system about an error; None if it has none."""
    for link in linked_errors(error):
        # aiohttp wraps the error of the system in an OSError with other words.
        wrapped = getattr(link, "os_error", None)
        if wrapped or not isinstance(link, OSError):
            continue
        if link.strerror:
            return link.strerror
    return None


def frames(error: BaseException) -> Iterator[FrameType]:
    """Yield the frames of the tracebacks of an error and its causes.

    Contexts are left out, because a context may be an error that the caller handles by this call.
    """
    for link in walk(error, lambda each: (each.__cause__,)):
        for frame, _ in traceback.walk_tb(link.__traceback__):
            yield frame


def is_about_credentials(error: BaseException) -> bool:
    """Return whether an error was raised while AWS credentials were loaded or renewed.

    They may be renewed in the middle of a call, and the errors have the same classes as those of
    the call. Only the traceback shows what was asked.
    """
    return _passed_through(error, _CREDENTIAL_MODULES)


def was_raised_before_sending(error: BaseException) -> bool:
    """Return whether an unforeseen error of a call was raised before its request was sent.

    aiobotocore wraps the errors that aiohttp raises while it sends and receives.
    """
    return _passed_through(error, _MODULES_BEFORE_SENDING)


def was_raised_while_reading(error: BaseException) -> bool:
    """Return whether an error was raised by botocore's parsers, so there was an answer."""
    return _passed_through(error, _READING_MODULES)


def _passed_through(error: BaseException, modules: tuple[str, ...]) -> bool:
    passed = (_module_of(frame) for frame in frames(error))
    return any(module in modules for module in passed)


def raising_module(error: BaseException) -> str:
    """Return the module that raised an error; empty if the error has no traceback."""
    module = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = _module_of(frame)
    return module


def _module_of(frame: FrameType) -> str:
    module = frame.f_globals.get("__name__", "")
    return str(module)
