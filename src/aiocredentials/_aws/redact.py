"""Keeps values out of botocore's debug log, in the records of our calls and in no others.

At level DEBUG botocore logs the body of each answer, each request with its session token and its
signature, and the credentials that STS, SSO and the metadata services return. While one of our
clients is open, a filter on the loggers that do so rewrites those records. A context variable marks
our calls, so the records of other clients stay as they were.

`without_password` keeps passwords out of the URLs in these records, and in messages and warnings.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeGuard

from aiocredentials._loops import at_fork, bookkeeping

if TYPE_CHECKING:
    from typing import TypeAlias

    _Facts: TypeAlias = Mapping[Any, Any]

# A logger's filter doesn't see the records of the loggers below it in name, so each is listed here.
# Most modules of aiobotocore log under botocore's name for the same module, some under their own,
# and these change between releases. The first set logs requests, answers and addresses; of the
# second set, only the texts of exceptions can hold any of it.
_WIRE = {"auth", "endpoint", "parsers", "regions", "utils"}
_CARRIERS = {"credentials", "httpsession", "retryhandler", "tokens"}
LOGGERS = tuple(
    logging.getLogger(f"{package}.{module}")
    for package in ("aiobotocore", "botocore")
    for module in sorted(_WIRE | _CARRIERS)
)

# The records of these modules don't name the operation, so it is put in front of them.
_NAMELESS = {"auth", "parsers"}
# The headers of an answer that a record may show.
_HARMLESS_HEADERS = {
    "content-length",
    "content-type",
    "date",
    "x-amzn-requestid",
}
# `re` compiles and keeps it at its first use.
_SCHEME = r"(?i)[a-z][a-z0-9+.-]*://"

# None outside of our calls. In one, a list with the operation, as soon as botocore has named it.
_call: ContextVar[list[str] | None] = ContextVar(
    "aiocredentials_call",
    default=None,
)


# Which records are ours, and when there is a filter


class wire_logs_redacted:  # noqa: N801 (it is used as a function)
    """Keep the filter in place as long as the block lasts: as long as one of our clients is open.

    The first such block adds the filter and the last one removes it. With `redact=False` a block
    does nothing. A block may be entered again before it ends, which changes nothing: it ends once.
    """

    __slots__ = ("_redact",)

    def __init__(self, *, redact: bool = True) -> None:
        self._redact = redact

    def __enter__(self) -> None:
        if self._redact:
            with bookkeeping:
                _living.add(self)
                _update_filters()

    def __exit__(self, *_: object) -> None:
        with bookkeeping:
            _living.discard(self)
            _update_filters()


class our_call:  # noqa: N801 (it is used as a function)
    """Mark the records in this block as ours: those of this task and of tasks that it starts."""

    __slots__ = ("_redact", "_token")

    def __init__(self, *, redact: bool = True) -> None:
        self._redact = redact

    def __enter__(self) -> None:
        # Without redaction it is set as well, because this call may be made inside of another one.
        operation: list[str] | None = None
        if self._redact:
            operation = []
        self._token = _call.set(operation)

    def __exit__(self, *_: object) -> None:
        try:  # noqa: SIM105 (suppress would take as long as all the rest)
            _call.reset(self._token)
        except ValueError:
            # The garbage collector closes an unfinished coroutine in another context, which is in
            # no call.
            pass


_living: set[wire_logs_redacted] = set()


def _update_filters() -> None:
    """Add the filter if there is a block, or remove it if there is none.

    The garbage collector may end a block in the middle of this, in the same thread. So it is done
    again if that has changed the answer.
    """
    while True:
        is_needed = bool(_living)
        for logger in LOGGERS:
            if is_needed:
                logger.addFilter(_redact)
            else:
                logger.removeFilter(_redact)
        if is_needed == bool(_living):
            return


def _forget_blocks() -> None:
    """In a forked child, forget the blocks of the parent, because nothing ends them there."""
    _living.clear()
    _update_filters()


at_fork(after_in_child=_forget_blocks)


# How a record is rewritten


def _redact(record: logging.LogRecord) -> bool:
    """Rewrite a record of our call: only botocore's own words and harmless facts stay."""
    operation = _call.get()
    if operation is None:
        return True

    module = record.name.rpartition(".")[2]
    arguments = _arguments_of(record)
    for argument in arguments:
        if _is_operation(argument):
            operation.clear()
            operation.append(str(argument.name))

    # Replacements have no quotes, so %r becomes %s.
    text = str(record.msg).replace("%r", "%s")
    if arguments:
        text = _filled_in(text, arguments, module)
    if record.exc_info:
        exception = _replacement_of(record.exc_info[1])
        text = f"{text} {exception}"
    if operation and module in _NAMELESS:
        name = operation[0]
        text = f"{name}: {text}"

    record.msg = text
    record.args = ()
    record.exc_info = None
    record.exc_text = None
    return True


def _arguments_of(record: logging.LogRecord) -> tuple[Any, ...]:
    arguments = record.args
    if isinstance(arguments, tuple):
        return arguments
    # logging unpacks a single mapping, for formats such as "%(name)s", which botocore doesn't use.
    return (arguments,) if arguments else ()


def _filled_in(
    text: str,
    arguments: tuple[Any, ...],
    module: str,
) -> str:
    """Fill harmless arguments, and replacements of the others, in the text of a record."""
    harmless = tuple(_made_harmless(each, module) for each in arguments)
    try:
        return text % harmless
    except (TypeError, ValueError):
        # The format may be for numbers alone. An error that is raised here would end the call.
        return f"{text} {harmless}"


def _made_harmless(value: object, module: str) -> object:
    if value is None or isinstance(value, (int, float)):
        return value
    if isinstance(value, str) and module in _CARRIERS:
        return value
    return _replacement_of(value)


def _is_operation(value: object) -> bool:
    # By its name, because importing botocore's class would slow down the import of this package.
    return type(value).__name__ == "OperationModel"


def _replacement_of(value: Any) -> str:  # noqa: ANN401 (botocore may log anything)
    """Describe an argument by the facts that can't be secret."""
    if _is_operation(value):
        return str(value.name)
    return f"[{_description_of(value)}]"


def _description_of(value: object) -> str:
    kind = type(value).__name__
    if isinstance(value, BaseException):
        return f"{kind}; its text is left out"
    if isinstance(value, str):
        return f"{len(value)} characters left out"
    if isinstance(value, bytes):
        return f"{len(value)} bytes left out"
    if _is_mapping(value):
        return _description_of_mapping(value)

    attributes = getattr(value, "__dict__", {})
    if _is_request(attributes):
        return _description_of_request(attributes)
    return f"{kind} left out"


def _is_mapping(value: object) -> TypeGuard[_Facts]:
    return isinstance(value, Mapping)


def _description_of_mapping(mapping: _Facts) -> str:
    # A request is a dict at first, an object later.
    if _is_request(mapping):
        return _description_of_request(mapping)
    # All other mappings are the headers of an answer.
    harmless: dict[Any, str] = {}
    for name in mapping:
        header = str(name).lower()
        if header in _HARMLESS_HEADERS:
            harmless[name] = str(mapping[name])
    kind = type(mapping).__name__
    if harmless:
        return f"{kind} left out, except {harmless}"
    return f"{kind} left out"


def _is_request(facts: _Facts) -> bool:
    return "method" in facts and "url" in facts


def _description_of_request(facts: _Facts) -> str:
    method = facts["method"]
    url = without_password(str(facts["url"]))
    # Without the query, which may hold a signature.
    address = url.partition("?")[0]
    size = ""
    body = facts.get("body")
    if isinstance(body, str | bytes):
        size = f", a body of {len(body)} bytes"
    return f"{method} {address}{size}; body and headers left out"


# URLs


def without_password(url: str) -> str:
    """Return a URL without the user and the password in it, also if it isn't a valid URL.

    A `#` or `/` in a password ends the host name for a parser, so this removes everything up to the
    last `@`.
    """
    head, at, rest = url.rpartition("@")
    if not at:
        return url
    scheme = re.match(_SCHEME, head)
    if scheme is None:
        return rest
    return scheme.group() + rest
