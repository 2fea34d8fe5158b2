"""A value that is told from all others, the forms in which it could get out, and everything that can be printed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import dataclasses
import gc
import html
import importlib.util
import io
import json
import logging
import pickle
import pprint
import traceback
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, quote_plus

import aiohttp

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = 8

# Made up. With what each kind of escaping changes: quotes, a backslash, an umlaut, and the signs of HTML and of URLs.
VALUE = 'qX7zKw"é\\/+&%<Zj4VbN>9yTmR2sLd'
TOKEN = "hU3/pWf+8RkMv=Yc5TgQx0DnEa6BoJi1"  # a session token's alphabet


def forms(value: str) -> Iterator[tuple[str, int]]:
    """Yield what printing, encoding and escaping make of a value, and how many characters stand for 8 of it."""
    raw = value.encode()
    escaped = json.dumps(value)[1:-1]
    texts = [value, escaped, json.dumps(value, ensure_ascii=False)[1:-1], json.dumps(escaped)[1:-1], html.escape(value)]
    texts += [repr(value)[1:-1], ascii(value)[1:-1], repr(raw)[2:-1], repr(repr(raw))[3:-2], raw.decode("latin-1")]
    texts += [quote(value), quote(value, safe=""), quote_plus(value), quote(quote(value, safe=""), safe="")]
    for shift in range(3):  # base64 of a longer text that it is part of depends on where it stands in there
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            texts.append(encode(b"\0" * shift + raw).decode()[4 if shift else 0 : -4])
    yield from ((text, WINDOW) for text in texts)
    # Two digits a character. Eight digits alone would be found in many an address of an object.
    yield from ((text, 2 * WINDOW) for text in (raw.hex(), raw.hex().upper()))


FORMS = [form for value in (VALUE, TOKEN) for form in forms(value)]
WINDOWS = frozenset(text[start : start + width] for text, width in FORMS for start in range(len(text) - width + 1))
# Each window has one of these in it, whole: they begin every half window plus one, and are half as long as a window.
# Looking for them first makes the search five times faster.
ANCHORS = frozenset(
    text[start : start + width // 2]
    for text, width in FORMS
    for start in range(0, len(text) - width // 2 + 1, width // 2 + 1)
)


def leaked(text: str) -> str | None:
    """Return a piece of the canary that the text shows, if it shows any."""
    for anchor in ANCHORS:  # a loop, since `any` with a generator takes twice as long
        if anchor in text:
            return next((window for window in WINDOWS if window in text), None)
    return None


def assert_silent(printed: Iterator[tuple[str, str]]) -> int:
    """Fail at the first text that shows a piece, and say how it was printed; return how many texts there were."""
    seen: dict[str, str] = {}
    for how, text in printed:
        seen.setdefault(text, how)
    # All at once first: looking for many short strings in one long text is quicker.
    suspect = seen if leaked("\n".join(seen)) else {}
    found = [f"{how}: {window}" for text, how in suspect.items() if (window := leaked(text)) is not None]
    assert not found, f"{len(found)} of {len(seen)} texts show it; the first: {found[0]}"
    return len(seen)


# What can be printed of one object


def of_object(thing: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - anything can be printed
    """Print an object in all ways that work on any."""
    name = name or type(thing).__name__
    yield f"repr of {name}", repr(thing)
    yield f"str of {name}", str(thing)
    yield f"format of {name}", f"{thing} {thing!a} " + "%s %r" % (thing, thing)  # noqa: UP031 - another way to print
    yield f"pprint of {name}", pprint.pformat(thing)
    for what, make in {
        "vars": lambda: repr(vars(thing)),
        "dir": lambda: repr(dir(thing)),
        "asdict": lambda: repr(dataclasses.asdict(thing)),
        "astuple": lambda: repr(dataclasses.astuple(thing)),
        "JSON": lambda: json.dumps(thing),
        "JSON by vars": lambda: json.dumps(thing, default=vars),
        "JSON by str": lambda: json.dumps(thing, default=str),
        "copy": lambda: repr(copy.copy(thing)),
        "deepcopy": lambda: repr(copy.deepcopy(thing)),
        "getstate": lambda: repr(thing.__getstate__()),
        **{f"pickle {each}": lambda each=each: pickle.dumps(thing, each).decode("latin-1") for each in range(6)},
    }.items():
        try:
            yield f"{what} of {name}", make()
        except Exception as error:  # noqa: BLE001 - a refusal is as good as silence, if it is silent itself
            yield f"refused {what} of {name}", "".join(traceback.format_exception(error))


# What can be printed of an error


def of_error(error: BaseException) -> Iterator[tuple[str, str]]:
    """Print an error, all that hangs on it, and the locals of its frames."""
    pending: list[object] = [error]
    seen: set[int] = set()
    kept: list[object] = []
    while pending:
        link = pending.pop()
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        kept.append(link)
        name = type(link).__name__
        yield from of_object(link, name)
        for attribute in dir(link):
            value = getattr(link, attribute, None)
            yield f"{name}.{attribute}", repr(value)
            yield f"{name}.{attribute} as JSON", json.dumps(value, default=repr, skipkeys=True)
            pending += value if isinstance(value, (tuple, list)) else [value]  # __cause__, __context__, .exceptions
        yield from of_traceback(link)


def of_traceback(error: BaseException) -> Iterator[tuple[str, str]]:
    """Print a traceback with its locals, as the standard library, rich and structlog do it."""
    name = f"the traceback of {type(error).__name__}"
    yield name, "".join(traceback.format_exception(error))
    yield (
        f"{name} with locals",
        "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()),
    )
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "aiocredentials" in frame.f_code.co_filename:  # pragma: no branch
            for key, value in frame.f_locals.items():
                yield f"{key} in {name}", f"{value!r} {getattr(value, '__dict__', '')!r}"
    if importlib.util.find_spec("rich"):
        from rich.traceback import Traceback  # noqa: PLC0415 - optional

        # What it shows besides the lines of the source, which take it long to colour.
        info = (type(error), error, error.__traceback__)
        options: dict[str, Any] = {"show_locals": True, "locals_max_length": None, "locals_max_string": None}
        for stack in Traceback.extract(*info, **options).stacks:
            yield f"rich: {name}", f"{stack.exc_type} {stack.exc_value} {getattr(stack, 'notes', '')}"
            for frame in stack.frames:
                for key, node in (frame.locals or {}).items():
                    yield f"rich: {key} in {name}", node.render(max_width=4_000)
    if importlib.util.find_spec("structlog"):
        from structlog.tracebacks import ExceptionDictTransformer  # noqa: PLC0415 - optional

        info = (type(error), error, error.__traceback__)
        for use_rich in (False, True):
            told = ExceptionDictTransformer(show_locals=True, locals_max_string=10_000, use_rich=use_rich)(info)
            yield f"structlog: {name}", json.dumps(told, default=repr, ensure_ascii=False)


# What can be printed of the process


def of_process() -> Iterator[tuple[str, str]]:
    """Print all tasks and futures that are alive, and all objects of our classes."""
    with contextlib.suppress(RuntimeError):
        for task in asyncio.all_tasks():
            stack = io.StringIO()
            task.print_stack(file=stack)
            yield "a task", f"{task!r} {stack.getvalue()}"
    for thing in gc.get_objects():
        kind = type(thing)
        if issubclass(kind, asyncio.Future):
            yield "a future", repr(thing)
        elif issubclass(kind, aiohttp.ClientResponse):
            yield "a response in memory", repr(thing)  # what it has in its attributes is aiohttp's, and so is the class
        elif kind.__module__.startswith("aiocredentials"):
            yield f"{kind.__qualname__} in memory", f"{thing!r} {getattr(thing, '__dict__', '')!r}"


class LogKeeper(logging.Handler):
    """Keeps the text and the parts of all that is logged while it is on, from the root down and at level DEBUG."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record, as text and with its parts."""
        self.texts.append((f"the log of {record.name}", f"{self.format(record)} {vars(record)!r}"))

    def __enter__(self) -> Self:
        self._level = logging.root.level
        logging.root.addHandler(self)
        logging.root.setLevel(logging.DEBUG)
        return self

    def __exit__(self, *_: object) -> None:
        logging.root.removeHandler(self)
        logging.root.setLevel(self._level)
