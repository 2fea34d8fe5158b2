"""The filter on botocore's loggers: our records lose what is secret, others' stay, and it goes when nobody needs it."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials._aws import redact as _redact
from aiocredentials._aws.redact import LOGGERS, our_call, wire_logs_redacted, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator

PARSERS = logging.getLogger("botocore.parsers")
ENDPOINT = logging.getLogger("botocore.endpoint")
CREDENTIALS = logging.getLogger("aiobotocore.credentials")
HIDDEN = "made-up-and-hidden"


class OperationModel:
    """Stands for botocore's class of this name."""

    name = "GetSecretValue"


class Request:
    """Stands for a request that is ready to be sent."""

    def __init__(self, body: object = b"{}") -> None:
        self.method, self.url, self.body = "POST", f"https://endpoint.example/?token={HIDDEN}", body
        self.headers = {"X-Amz-Security-Token": HIDDEN}

    def __repr__(self) -> str:
        return f"<{self.headers}>"


@pytest.fixture(autouse=True)
def _debug(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Log from level DEBUG, and end without a filter."""
    caplog.set_level(logging.DEBUG)
    assert filters() == 0
    yield
    gc.collect()
    assert filters() == 0


def filters() -> int:
    """Count the filters on all loggers that have one of ours."""
    return sum(len(logger.filters) for logger in LOGGERS)


def said(caplog: pytest.LogCaptureFixture, logger: logging.Logger, message: str, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401 - as logging takes them
    """Return what a record of ours becomes."""
    with wire_logs_redacted(), our_call():
        logger.debug(message, *args, **kwargs)
    return caplog.messages[-1]


def test_nothing_without_a_client() -> None:
    """No filter is there unless a client lives; several share one, and the last to go takes it away."""
    with wire_logs_redacted():
        assert filters() == len(LOGGERS)
        with wire_logs_redacted():
            assert filters() == len(LOGGERS)
        assert filters() == len(LOGGERS)


def test_turned_off(caplog: pytest.LogCaptureFixture) -> None:
    """Without redaction nothing is filtered, neither alone nor next to a client that has it."""
    with wire_logs_redacted(redact=False), our_call(redact=False):
        assert filters() == 0
        PARSERS.debug("Response body:\n%r", HIDDEN)
        with wire_logs_redacted(), our_call(), our_call(redact=False):
            PARSERS.debug("Response body:\n%r", HIDDEN)
    assert caplog.messages == [f"Response body:\n{HIDDEN!r}"] * 2


async def test_other_calls(caplog: pytest.LogCaptureFixture) -> None:
    """Records of other clients stay as they are, also of tasks that run at the same time as a call of ours."""
    inside, outside = asyncio.Event(), asyncio.Event()

    async def other() -> None:
        await inside.wait()
        PARSERS.debug("theirs: %r", HIDDEN)
        outside.set()

    theirs = asyncio.create_task(other())
    with wire_logs_redacted(), our_call():
        inside.set()
        await outside.wait()
        PARSERS.debug("ours: %r", HIDDEN)
    PARSERS.debug("after: %r", HIDDEN)
    await theirs
    assert caplog.messages == [
        f"theirs: {HIDDEN!r}",
        f"ours: [{len(HIDDEN)} characters left out]",
        f"after: {HIDDEN!r}",
    ]


async def test_tasks_and_threads_of_a_call(caplog: pytest.LogCaptureFixture) -> None:
    """What a call of ours starts is ours as well."""
    with wire_logs_redacted(), our_call():
        await asyncio.create_task(asyncio.to_thread(PARSERS.debug, "%r", HIDDEN))
    assert caplog.messages == [f"[{len(HIDDEN)} characters left out]"]


def test_a_request(caplog: pytest.LogCaptureFixture) -> None:
    """A request tells operation, method, place and size; not its headers, query or body."""
    with wire_logs_redacted(), our_call():
        ENDPOINT.debug("Making request for %s with params: %s", OperationModel(), vars(Request()))
        ENDPOINT.debug("Sending http request: %s", Request())
        ENDPOINT.debug("Sending http request: %s", Request(body=None))
        PARSERS.debug("Response headers: %r", {"Content-Type": "application/json", "Set-Cookie": HIDDEN})
        PARSERS.debug("Response headers: %r", {"Set-Cookie": HIDDEN})
        PARSERS.debug("Response body:\n%r", HIDDEN.encode())
    request = "[POST https://endpoint.example/, a body of 2 bytes; body and headers left out]"
    assert caplog.messages == [
        f"Making request for GetSecretValue with params: {request}",
        f"Sending http request: {request}",
        "Sending http request: [POST https://endpoint.example/; body and headers left out]",
        "GetSecretValue: Response headers: [dict left out, except {'Content-Type': 'application/json'}]",
        "GetSecretValue: Response headers: [dict left out]",
        f"GetSecretValue: Response body:\n[{len(HIDDEN)} bytes left out]",
    ]


def test_nothing_is_left_in_the_record(caplog: pytest.LogCaptureFixture) -> None:
    """The record itself has no value any more: handlers that look at its arguments find none."""
    with wire_logs_redacted(), our_call():
        ENDPOINT.debug("Exception received: %s", HIDDEN, exc_info=ValueError(HIDDEN))
    assert caplog.messages[-1].endswith(f"[{len(HIDDEN)} characters left out] [ValueError; its text is left out]")
    assert HIDDEN not in repr(vars(caplog.records[-1]))


def test_what_is_useful_stays(caplog: pytest.LogCaptureFixture) -> None:
    """Numbers stay everywhere; words stay where only exceptions can hold a value."""
    assert said(caplog, ENDPOINT, "sleeping for %s seconds", 0.5) == "sleeping for 0.5 seconds"
    assert said(caplog, ENDPOINT, "100% done") == "100% done"
    assert said(caplog, CREDENTIALS, "Looking for credentials via: %s", "env") == "Looking for credentials via: env"
    error = said(caplog, CREDENTIALS, "Error retrieving container metadata: %s", ValueError(HIDDEN))
    assert error == "Error retrieving container metadata: [ValueError; its text is left out]"


def test_where_a_request_goes(caplog: pytest.LogCaptureFixture) -> None:
    """A password in the URL of an endpoint isn't told; the rest of the URL is."""
    request = Request()
    request.url = f"https://user:{HIDDEN}@endpoint.example/"
    with wire_logs_redacted(), our_call():
        ENDPOINT.debug("Sending http request: %s", request)
        logging.getLogger("aiobotocore.regions").debug("Endpoint provider result: %s", request.url)
    assert caplog.messages[0].startswith("Sending http request: [POST https://endpoint.example/, a body")
    assert caplog.messages[1] == f"Endpoint provider result: [{len(request.url)} characters left out]"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://endpoint.example:8443/path", "https://endpoint.example:8443/path"),
        ("http://user:hidden@[::1]:5000", "http://[::1]:5000"),
        ("http://hidden@proxy.example", "http://proxy.example"),
        ("https://user:hidden#1@endpoint.example", "https://endpoint.example"),
        ("https://user:hidden/1@endpoint.example", "https://endpoint.example"),
        ("https://user:hidden@2@endpoint.example", "https://endpoint.example"),
        ("https://[user:hidden@endpoint.example", "https://endpoint.example"),
        ("user:hidden@endpoint.example", "endpoint.example"),
        ("user:hidden://1@endpoint.example", "endpoint.example"),
        ("", ""),
    ],
)
def test_without_password(url: str, shown: str) -> None:
    """Of a URL, all that may be a user and a password is left out, also where a parser finds none."""
    assert without_password(url) == shown


def test_a_fork(caplog: pytest.LogCaptureFixture) -> None:
    """In a child process the parent's blocks have no effect, and their ends neither."""
    with wire_logs_redacted():
        _redact._forget_blocks()  # what the handler calls in a child
        assert filters() == 0
        with wire_logs_redacted(), our_call():
            PARSERS.debug("%s", HIDDEN)
        assert filters() == 0
    assert HIDDEN not in caplog.text


def test_formats_that_nobody_foresaw(caplog: pytest.LogCaptureFixture) -> None:
    """A format that takes numbers alone, or has too few places, doesn't end the call, nor show the value."""
    for message in ("%.2f", "%s %s", "no place", "%(name)s"):
        text = said(caplog, PARSERS, message, {"name": HIDDEN} if "name" in message else HIDDEN)
        assert "left out" in text
        assert HIDDEN not in text


def test_an_exception_without_one(caplog: pytest.LogCaptureFixture) -> None:
    """A record that asks for an exception where there is none is kept."""
    assert said(caplog, PARSERS, "nothing", exc_info=True) == "nothing [NoneType left out]"


def test_end_in_another_context(caplog: pytest.LogCaptureFixture) -> None:
    """A call that is closed in another context, as the collector may do, ends quietly and marks nothing there."""
    call = our_call()
    contextvars.copy_context().run(call.__enter__)
    with wire_logs_redacted(), our_call():
        call.__exit__()
        PARSERS.debug("%s", HIDDEN)
    assert HIDDEN not in caplog.text


def test_threads() -> None:
    """Clients come and go in many threads: whoever has one has the filter, and none is left."""
    missing: list[int] = []

    def work() -> None:
        for _ in range(200):
            with wire_logs_redacted():
                if (count := filters()) != len(LOGGERS):
                    missing.append(count)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []


def test_a_change_in_the_middle_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that ends while the filter is being put in place for another, in the same thread, breaks nothing."""
    other, inner = wire_logs_redacted(), wire_logs_redacted()
    add = logging.Logger.addFilter
    begun: list[logging.Logger] = []

    def adding(self: logging.Logger, filter_: Any) -> None:  # noqa: ANN401 - any filter
        if not begun:
            begun.append(self)
            inner.__enter__()
            inner.__exit__()
            other.__exit__()
        add(self, filter_)

    monkeypatch.setattr(logging.Logger, "addFilter", adding)
    other.__enter__()
    assert filters() == 0
