"""Errors of botocore, aiohttp and the system, made by hand, with a canary where they may hold a value."""

from __future__ import annotations

import string
import traceback
from types import FunctionType
from typing import Any

import botocore.exceptions
from botocore.exceptions import ClientError

CANARY = "hunter2-canary"
# The fields of botocore's errors that name a part of the configuration: there is no value in them.
NAMED = {
    "profile": "dev",
    "path": "/etc/aws/config",
    "provider": "env",
    "cred_var": "AWS_SECRET_ACCESS_KEY",
}
# These have words of botocore about the configuration, and so names alone.
WORDED = {
    "InvalidConfigError",
    "SSOTokenLoadError",
    "LoginTokenLoadError",
    "LoginAuthorizationCodeError",
}


def client_error(
    code: str,
    message: str = "No.",
    status: int = 400,
    operation: str = "GetSecretValue",
    **headers: str,
) -> ClientError:
    """Make what botocore raises for an answer of AWS."""
    headers = {"content-type": "application/x-amz-json-1.1"} | headers
    metadata = {
        "RequestId": "request-1",
        "HTTPStatusCode": status,
        "HTTPHeaders": headers,
        "RetryAttempts": 0,
    }
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": metadata,
        "More": CANARY,
    }
    return ClientError(response, operation)


def botocore_error(name: str, /, **given: object) -> BaseException:
    """Make one of botocore's other errors, with the canary in each field of its message that isn't given."""
    cls = getattr(botocore.exceptions, name)
    fields = [field for _, field, _, _ in string.Formatter().parse(getattr(cls, "fmt", "")) if field]
    made: BaseException = cls(**({field: NAMED.get(field, CANARY) for field in fields} | given))
    return made


def _raise(error: BaseException) -> None:
    raise error


def through(module: str, error: BaseException, function: str = "load") -> BaseException:
    """Raise an error through a function of a module, as its traceback shows it."""
    code = _raise.__code__.replace(co_name=function)
    try:
        FunctionType(code, {"__name__": module})(error)
    except BaseException as raised:  # noqa: BLE001 (it may be any)
        return raised
    raise AssertionError


def everything(error: BaseException) -> str:
    """Return all that a log, a debugger or an error tracker could show of an error."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    state = (str(error), repr(error), error.args, vars(error), getattr(error, "__notes__", ()))
    return f"{''.join(whole.format())}{state}"
