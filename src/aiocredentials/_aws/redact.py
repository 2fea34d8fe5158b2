"""Keep values out of botocore's debug log, in the records of our own calls and in no others.

At level DEBUG botocore writes each answer's body, each request with its session token and its signature, and what the
credential chain was told by STS, SSO and the metadata services. While a client of ours lives, a filter on the loggers
that do so rewrites those records; a context variable tells which are ours, so another client's stay as they were.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import NoneType
from typing import Any, cast

from aiocredentials._loops import at_fork, bookkeeping

# A filter sees what is logged by its own logger, not by those below it in name: each is named here.
# Most modules of aiobotocore log as botocore's of the same name, some under their own, and which
# ones changes between releases. The first log what goes over the wire, and where to; of the others,
# only the texts of exceptions can hold any of it.
_WIRE = frozenset({"auth", "endpoint", "parsers", "regions", "utils"})
_CARRIERS = frozenset({"credentials", "httpsession", "retryhandler", "tokens"})
LOGGERS = tuple(
    logging.getLogger(f"{package}.{module}")
    for package in ("aiobotocore", "botocore")
    for module in sorted(_WIRE | _CARRIERS)
)

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_HEADERS = frozenset(
    {"content-length", "content-type", "date", "x-amzn-requestid"}
)  # that a record may show

# None outside of our calls; inside, the operation that is under way, as soon as botocore has named it.
_call: ContextVar[list[str] | None] = ContextVar("aiocredentials_call", default=None)


class wire_logs_redacted:  # noqa: N801 (it is used as a function; so is the next)
    """Have the filter in place as long as the block lasts, which is as long as a client of ours lives.

    The first such block puts it there and the last takes it away; with `redact=False` a block does nothing.
    """

    __slots__ = ("_redact",)

    def __init__(self, *, redact: bool = True) -> None:
        self._redact = redact

    def __enter__(self) -> None:
        if self._redact:
            with bookkeeping:
                _living.add(self)
                _settle()

    def __exit__(self, *_: object) -> None:
        with bookkeeping:
            _living.discard(self)
            _settle()


class our_call:  # noqa: N801 (as above)
    """Mark what is logged in this block, by this task and those that it starts, as ours."""

    __slots__ = ("_redact", "_token")

    def __init__(self, *, redact: bool = True) -> None:
        self._redact = redact

    def __enter__(self) -> None:
        # Without redaction it is set as well: such a call may be made inside of another one.
        self._token: Token[list[str] | None] = _call.set([] if self._redact else None)

    def __exit__(self, *_: object) -> None:
        try:  # noqa: SIM105 (suppress would take as long as all the rest)
            _call.reset(self._token)
        except ValueError:
            pass  # A coroutine that nobody finished is closed by the collector, in another context: it has no call.


_living: set[wire_logs_redacted] = set()


def _settle() -> None:
    """Put the filter in place or take it away.

    Then look again: the garbage collector may end a block in the middle of this, in the same
    thread.
    """
    done = None
    while done is not bool(_living):
        done = bool(_living)
        for logger in LOGGERS:
            if done:
                logger.addFilter(_redact)
            else:
                logger.removeFilter(_redact)


def _start_anew() -> None:
    """In a forked child, forget the blocks of the parent: nothing there ends them."""
    _living.clear()
    _settle()


at_fork(after_in_child=_start_anew)


def without_password(url: str) -> str:
    """Return a URL without the user and the password in it, also if it isn't a valid URL.

    A `#` or `/` in a password ends the host name for a parser, so everything up to the last `@`
    goes.
    """
    head, at, rest = url.rpartition("@")
    if not at:
        return url
    scheme = _SCHEME.match(head)
    return scheme[0] + rest if scheme else rest


def _redact(record: logging.LogRecord) -> bool:
    """Rewrite a record of ours: what is kept are the words of botocore's source, and facts that can't be secret."""
    operation = _call.get()
    if operation is None:
        return True
    module = record.name.rpartition(".")[2]
    # logging unpacks a single mapping, for formats such as "%(name)s", which botocore doesn't use.
    arguments = (
        record.args if isinstance(record.args, tuple) else (record.args,) if record.args else ()
    )
    for each in arguments:
        if type(each).__name__ == "OperationModel":
            operation[:] = [_shown(each)]
    text = str(record.msg).replace("%r", "%s")
    if arguments:
        shown = tuple(each if _may_stay(each, module) else _shown(each) for each in arguments)
        try:
            text %= shown
        except (
            TypeError,
            ValueError,
        ):  # a format for numbers alone, say; raised from here, it would end the call
            text = f"{text} {shown}"
    if record.exc_info:
        text = f"{text} {_shown(record.exc_info[1])}"
    record.msg = f"{operation[0]}: {text}" if operation and module in {"auth", "parsers"} else text
    record.args = ()
    record.exc_info = record.exc_text = None
    return True


def _may_stay(value: object, module: str) -> bool:
    return isinstance(value, (bool, int, float, NoneType)) or (
        isinstance(value, str) and module in _CARRIERS
    )


def _shown(value: Any) -> str:  # noqa: ANN401 (whatever botocore logs)
    """Say what an argument was, in place of it."""
    kind = type(value).__name__
    if kind == "OperationModel":
        return str(value.name)
    if isinstance(value, BaseException):
        return f"[{kind}; its text is left out]"
    if isinstance(value, str | bytes):
        return f"[{len(value)} {'characters' if isinstance(value, str) else 'bytes'} left out]"
    is_mapping = isinstance(value, Mapping)
    # A request is a dict at first, an object later; any other mapping is the headers of an answer.
    facts = cast("Mapping[Any, Any]", value if is_mapping else getattr(value, "__dict__", {}))
    if "method" in facts and "url" in facts:
        body = facts.get("body")
        size = f", a body of {len(body)} bytes" if isinstance(body, str | bytes) else ""
        url = without_password(str(facts["url"])).partition("?")[0]
        return f"[{facts['method']} {url}{size}; body and headers left out]"
    known = (
        {name: str(facts[name]) for name in facts if str(name).lower() in _HEADERS}
        if is_mapping
        else {}
    )
    return f"[{kind} left out{f', but for {known}' if known else ''}]"
