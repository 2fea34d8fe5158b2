"""The command line: `python -m aiocredentials doctor NAME...`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
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
from aiocredentials._doctor_report import as_json, as_text, printable
from aiocredentials.doctor import diagnose

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from aiocredentials.doctor import Report

_EXIT_CODES = """\
exit codes:
  0    each secret can be had
  1    one can't: not there, denied, not decrypted, scheduled for deletion
  2    the command was called wrongly
  3    of one it isn't known: no AWS credentials, AWS not reached, or no answer from it
  130  interrupted (Ctrl-C)
"""
_INTERRUPTED = 130
_FRAME_SECONDS = 0.1
_CLEAR = "\r\x1b[K"  # to the start of the line, and nothing on it


def main() -> int:
    """Run the command line in a process of its own, and return its exit code."""
    signal.signal(signal.SIGINT, _interrupted)
    # What would be logged or warned of stands in the report.
    logging.getLogger("aiocredentials").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", ".* isn't encrypted: ", UserWarning)
    try:
        return run(sys.argv[1:])
    finally:
        with _pipe_may_end():
            sys.stdout.flush()  # what argparse has printed


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments say; print the answer to standard output, and return the exit code.

    Raises `SystemExit` where there is nothing to find out: for `--help`, `--version`, and arguments that are wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        for name in options.names:  # what a service couldn't be written with, either
            AsyncCredentialsManager(
                name, options.region, endpoint_url=options.endpoint_url, timeout=options.timeout, policy=None
            )
    except ValueError as error:
        options.refuse(str(error))
    fancy = not options.json and _is_fancy()
    report = asyncio.run(_diagnose(options, fancy=fancy))
    text = as_json(report) if options.json else as_text(report, colours=fancy, now=datetime.now(UTC))
    encoding = sys.stdout.encoding or "utf-8"  # which may lack a letter of a key's name
    with _pipe_may_end():
        _write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    return report.exit_code


@contextlib.contextmanager
def _pipe_may_end() -> Generator[None]:
    """Be silent if whoever reads has read enough, as `head` has."""
    try:
        yield
    except BrokenPipeError:
        # Else Python would complain of it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="aiocredentials", description="Credentials from AWS Secrets Manager for asyncio services."
    )
    parser.add_argument("--version", action="version", version=version("aiocredentials"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    doctor = commands.add_parser(
        "doctor",
        help="find out why a secret can't be had; no value is shown",
        description="Find out why a secret can't be had: who asks, in which region, what AWS allows, and which other "
        "region has it. A value is fetched and never shown; the names of a JSON object's keys are.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    doctor.add_argument("names", nargs="+", metavar="NAME", help="a secret's name or ARN")
    doctor.add_argument("--region", metavar="REGION", help="for secrets that don't name their own, as an ARN does")
    doctor.add_argument("--endpoint-url", metavar="URL", help="ask there, and not AWS's own endpoint")
    doctor.add_argument(
        "--timeout", metavar="SECONDS", type=float, default=10.0, help="for one call, retries included (10)"
    )
    where = doctor.add_mutually_exclusive_group()
    where.add_argument(
        "--regions", metavar="A,B", type=_list, help="where to look for a secret that isn't in its region (everywhere)"
    )
    where.add_argument("--no-search", action="store_true", help="don't look in other regions")
    doctor.set_defaults(refuse=doctor.error)
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _list(text: str) -> list[str]:
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise argparse.ArgumentTypeError("give regions with commas between them, such as eu-west-1,eu-west-2")
    return items


def _is_fancy() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")


async def _diagnose(options: argparse.Namespace, *, fancy: bool) -> Report:
    doing: list[str] = ["starting"]
    asking = diagnose(
        options.names,
        region_name=options.region,
        endpoint_url=options.endpoint_url,
        timeout=options.timeout,
        regions=options.regions,
        search=not options.no_search,
        tell=lambda text: doing.__setitem__(0, text),
    )
    if not fancy:
        return await asking
    spinner = asyncio.create_task(_spin(doing))
    try:
        return await asking
    finally:
        spinner.cancel()
        _write(_CLEAR)


async def _spin(doing: list[str]) -> None:
    frames = itertools.cycle("|/-\\")
    while True:
        width = shutil.get_terminal_size().columns - 3
        _write(f"{_CLEAR}{next(frames)} {printable(doing[0])[:width]}")
        await asyncio.sleep(_FRAME_SECONDS)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _interrupted(*_: object) -> NoReturn:
    """End at once: a thread that waits for DNS would hold up an orderly end. There is nothing to save."""
    if os.isatty(1):
        os.write(1, _CLEAR.encode())
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
