"""The command line: `python -m aiocredentials doctor NAME...`."""

from __future__ import annotations

import argparse
import asyncio
import errno
import itertools
import logging
import os
import shutil
import signal
import sys
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

from aiocredentials import AsyncCredentialsManager
from aiocredentials.doctor.diagnosis import UNKNOWN, diagnose
from aiocredentials.doctor.report import as_json, as_text, columns, harmless, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocredentials.doctor.diagnosis import Report

_EXIT_CODES = """\
exit codes:
  0    every secret can be read
  1    at least one can't: it doesn't exist, or is denied, not decrypted or scheduled for deletion
  2    the command line is wrong
  3    at least one is unknown: no AWS credentials, AWS not reached, or no usable answer
  130  interrupted (Ctrl-C)
"""
_INTERRUPTED = 130
_FRAME_SECONDS = 0.1
# To the start of the line, and erase it.
_CLEAR = "\r\x1b[K"


def main() -> int:
    """Run the command line in a process of its own, and return its exit code."""
    signal.signal(signal.SIGINT, _interrupted)
    if sys.stdout is None:
        # The process was started with a closed standard output. Only the exit code can be reported.
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (stays open)
        sys.stdout = nowhere
    # The report shows what would be logged or warned of.
    logging.getLogger("aiocredentials").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", ".* isn't encrypted: ", UserWarning)
    try:
        return run(sys.argv[1:])
    finally:
        # argparse has printed to standard output without flushing it.
        _write("")


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say, print the report to standard output, and return the exit code.

    Raises:
        SystemExit: For `--help` and `--version`, and for wrong arguments.
    """
    options = _parser().parse_args(arguments)
    try:
        # A service couldn't use these arguments either.
        for name in options.names:
            AsyncCredentialsManager(
                name,
                options.region,
                endpoint_url=options.endpoint_url,
                timeout=options.timeout,
                policy=None,
            )
    except ValueError as error:
        # A malformed URL can't be split into its parts, but a password ends at the last @.
        url = options.endpoint_url or ""
        message = str(error).replace(repr(url)[1:-1], repr(url.rpartition("@")[2])[1:-1])
        options.refuse(message)
    try:
        return _run(options)
    except Exception as error:  # noqa: BLE001 (the text of an unforeseen error could show anything)
        place = error.__traceback__
        while place and place.tb_next:
            place = place.tb_next
        where = f" in {place.tb_frame.f_code.co_qualname}, line {place.tb_lineno}" if place else ""
        bug = f"{type(error).__name__}{where}"
        sys.stderr.write(f"The doctor failed: {bug}. Please report this as a bug.\n")
        return UNKNOWN


def _run(options: argparse.Namespace) -> int:
    is_terminal = sys.stdout.isatty()
    may_colour = os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    fancy = is_terminal and may_colour and not options.json
    report = asyncio.run(_diagnose(options, fancy=fancy))
    if options.json:
        text = as_json(report)
    else:
        # The last column stays empty, because some terminals begin a new line once it is filled.
        width = _terminal_width() - 1 if is_terminal else None
        text = as_text(
            report,
            colours=fancy,
            now=datetime.now(UTC),
            width=width,
            encoding=_encoding(),
        )
    _write(f"{text}\n")
    return report.exit_code


def _encoding() -> str:
    """Return the encoding of standard output; a stream of another program's may have none."""
    return sys.stdout.encoding or "utf-8"


def _terminal_width() -> int:
    """Return the terminal's columns; the variable COLUMNS wins."""
    return shutil.get_terminal_size().columns


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with exit code 2. The message may repeat a URL's password, or control characters."""
        super().error(harmless(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="aiocredentials",
        description="Credentials from AWS Secrets Manager for asyncio services.",
    )
    parser.add_argument("--version", action="version", version=version("aiocredentials"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="find out why a secret can't be read; no value is shown",
        description="Find out why a secret can't be read: which AWS identity asks, in which "
        "region, which permissions it has, and which other region has the secret. The value is "
        "fetched but never shown.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("names", nargs="+", metavar="NAME", help="name or ARN of a secret")
    doctor.add_argument(
        "--region",
        metavar="REGION",
        help="region of names; an ARN has its own region",
    )
    doctor.add_argument(
        "--endpoint-url",
        metavar="URL",
        help="endpoint to ask instead of AWS's own",
    )
    doctor.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="limit of each call, including retries (default: 10)",
    )
    where = doctor.add_mutually_exclusive_group()
    where.add_argument(
        "--regions",
        metavar="A,B",
        type=_list,
        help="regions to search for a secret that its own region doesn't have (default: all)",
    )
    where.add_argument("--no-search", action="store_true", help="don't search other regions")
    doctor.add_argument(
        "--keys",
        action="store_true",
        help="show all names of JSON keys, also those that may be secret values themselves",
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(refuse=doctor.error)
    return parser


def _list(text: str) -> list[str]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise argparse.ArgumentTypeError("separate regions by commas, as in eu-west-1,eu-west-2")
    return items


async def _diagnose(options: argparse.Namespace, *, fancy: bool) -> Report:
    step = ["starting"]
    asking = diagnose(
        options.names,
        region_name=options.region,
        endpoint_url=options.endpoint_url,
        timeout=options.timeout,
        regions=options.regions,
        search=not options.no_search,
        show_keys=options.keys,
        tell=lambda text: step.__setitem__(0, text),
    )
    if not fancy:
        return await asking
    spinner = asyncio.create_task(_spin(step))
    try:
        return await asking
    finally:
        spinner.cancel()
        _write(_CLEAR)


async def _spin(step: list[str]) -> None:
    frames = itertools.cycle("|/-\\")
    while True:
        width = _terminal_width()
        line = printable(f"{next(frames)} {step[0]}"[:width], _encoding())
        while columns(line) >= width:
            line = line[:-1]
        _write(f"{_CLEAR}{line}")
        await asyncio.sleep(_FRAME_SECONDS)


def _write(text: str) -> None:
    """Write to standard output at once; its reader may have gone."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python would try to write the text in the buffer once more at its end: let it go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno != errno.EPIPE:
            sys.stderr.write(f"The report can't be written: {error.strerror}.\n")


def _interrupted(*_: object) -> NoReturn:
    """End at once: an orderly end would wait for a thread that resolves a host name."""
    if os.isatty(1):
        os.write(1, _CLEAR.encode())
    os._exit(_INTERRUPTED)
