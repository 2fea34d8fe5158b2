"""The command line: `python -m aiocredentials doctor NAME...`."""

from __future__ import annotations

import argparse
import asyncio
import errno
import itertools
import logging
import os
import platform
import re
import shutil
import signal
import sys
import traceback
import warnings
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NoReturn

from aiocredentials import AsyncCredentialsManager, CredentialsPool, __version__
from aiocredentials.doctor.diagnosis import diagnose
from aiocredentials.doctor.layout import fitting, harmless, printable
from aiocredentials.doctor.rendering import as_json, as_text
from aiocredentials.doctor.results import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiocredentials.doctor.results import Report

_EPILOG = """\
environment:
  AIOCREDENTIALS_EXTERNAL_ID
       the external id, in place of --external-id: other users of this host can
       see a command line

exit codes:
  0    every secret can be read
  1    a secret is missing, denied, not decrypted, or scheduled for deletion
  2    the command line is wrong
  3    a secret is unknown: no AWS credentials, no connection, or no usable answer
  130  interrupted (Ctrl-C)
"""
_EXTERNAL_ID = "AIOCREDENTIALS_EXTERNAL_ID"
# How the library's errors name the options.
_OPTIONS = [
    ("replica_regions", "--replica-region"),
    ("role_arn", "--role-arn"),
    ("external_id", "--external-id"),
    ("role_session_name", "--role-session-name"),
    ("endpoint_url", "--endpoint-url"),
    ("region_name", "--region"),
    ("timeout", "--timeout"),
    ("secret_name", "NAME"),
    (", here and not only to the pool", ""),
]
# argparse repeats the whole argument in these messages, with its value.
_AMBIGUOUS = re.compile(r"(ambiguous option: [^\s=]+)=.*(?= could match )", re.DOTALL)
_IGNORED = re.compile(r"(ignored explicit argument) .*", re.DOTALL)
_REACH_AWS = ("aioboto3", "aiobotocore", "botocore")
_INTERRUPTED = 130
# The errors of a write to a pipe that its reader has closed; the second is Windows's.
_READER_LEFT = {errno.EPIPE, errno.EINVAL}
_FRAME_SECONDS = 0.1
# To the start of the line, and erase it.
_CLEAR = "\r\x1b[K"


def main() -> int:
    """Run the command line as the program of this process, and return its exit code."""
    signal.signal(signal.SIGINT, _interrupted)
    if sys.stdout is None:
        # The process was started with a closed standard output. Only the exit code can be reported.
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 (stays open)
        sys.stdout = nowhere

    # The report has the facts that the library would log or warn of.
    logger = logging.getLogger("aiocredentials")
    logger.addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", ".* isn't encrypted: ", UserWarning)

    try:
        return run(sys.argv[1:])
    finally:
        # argparse has printed to standard output without flushing it.
        _write("")


def run(arguments: Sequence[str]) -> int:
    """Run the command, print the report to standard output, and return the exit code.

    Raises:
        SystemExit: For `--help` and `--version`, and for wrong arguments.
    """
    parser = _parser()
    doctor = _add_doctor(parser)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        doctor.error(_unrecognized(unknown))
    if options.role_arn is not None and options.external_id is None:
        options.external_id = os.environ.get(_EXTERNAL_ID) or None
    _check(options, doctor)
    try:
        return _run(options)
    except Exception as error:  # noqa: BLE001 (the text of an unforeseen error could show anything)
        bug = _place_of(error)
        sys.stderr.write(f"The doctor failed: {bug}. Please report this as a bug.\n")
        return UNKNOWN


def _check(options: argparse.Namespace, doctor: argparse.ArgumentParser) -> None:
    """Reject arguments that a service couldn't use either."""
    try:
        for name in options.names:
            AsyncCredentialsManager(
                name,
                options.region,
                endpoint_url=options.endpoint_url,
                timeout=options.timeout,
                policy=None,
                role_arn=options.role_arn,
                external_id=options.external_id,
                role_session_name=options.role_session_name,
            )
        CredentialsPool(
            options.region,
            endpoint_url=options.endpoint_url,
            replica_regions=options.replica_regions,
        )
    except ValueError as error:
        message = str(error)
        # The message repeats the URL with escaped characters. A malformed URL can't be split into
        # its parts, but a password ends at the last @.
        url = options.endpoint_url or ""
        after_login = url.rpartition("@")[2]
        message = message.replace(_repr_text(url), _repr_text(after_login))
        doctor.error(_in_words_of_options(message))


def _in_words_of_options(message: str) -> str:
    """Replace the names of arguments, up to the first quote: values come after it."""
    head, quote, tail = message.partition("'")
    for argument, option in _OPTIONS:
        head = head.replace(argument, option)
    return head + quote + tail


def _unrecognized(arguments: list[str]) -> str:
    """Name the unknown options. Their values aren't repeated, because one may be an external id."""
    names = [one.partition("=")[0] for one in arguments if one.startswith("--")]
    # A short option may be followed by its value without a space.
    names += [one[:2] for one in arguments if re.match("-[^-]", one)]
    if names:
        return f"unrecognized arguments: {' '.join(names)}"
    return "unrecognized arguments (not shown): pass the names of secrets one after the other"


def _repr_text(text: str) -> str:
    """Return a text as `repr` shows it, without the quotes."""
    return repr(text)[1:-1]


def _place_of(error: Exception) -> str:
    """Return the type of an error and the function and line that raised it."""
    kind = type(error).__name__
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    return f"{kind} in {frame.f_code.co_qualname}, line {line}"


def _run(options: argparse.Namespace) -> int:
    is_terminal = sys.stdout.isatty()
    is_fancy = is_terminal and _may_colour() and not options.json
    diagnosis = _diagnose(options, fancy=is_fancy)
    report = asyncio.run(diagnosis)
    if options.json:
        text = as_json(report)
    else:
        # The last column stays empty, because some terminals begin a new line once it is filled.
        width = _terminal_width() - 1 if is_terminal else None
        text = as_text(
            report,
            colours=is_fancy,
            now=datetime.now(UTC),
            width=width,
            encoding=_encoding(),
        )
    _write(f"{text}\n")
    return report.exit_code


def _may_colour() -> bool:
    """Return whether a terminal obeys the sequences for colours, and the user wants them."""
    if os.environ.get("NO_COLOR"):
        return False
    terminal = os.environ.get("TERM")
    if terminal is None and sys.platform == "win32":
        # The older console of Windows prints the sequences. Windows Terminal sets this variable.
        return "WT_SESSION" in os.environ
    return terminal != "dumb"


def _encoding() -> str:
    """Return the encoding of standard output; a stream of another program's may have none."""
    return sys.stdout.encoding or "utf-8"


def _terminal_width() -> int:
    """Return the terminal's columns; the variable COLUMNS wins."""
    return shutil.get_terminal_size().columns


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """End with exit code 2, without a password, an external id or control characters."""
        message = _AMBIGUOUS.sub(r"\1", message)
        message = _IGNORED.sub(r"\1", message)
        super().error(harmless(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="aiocredentials",
        description="Credentials from AWS Secrets Manager for asyncio services.",
        # It keeps the versions on one line, also in a narrow terminal.
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version",
        action="version",
        version=_versions(),
        help="print the versions that a bug report needs",
    )
    return parser


def _versions() -> str:
    """Return our version, and those of Python, the system and the packages that reach AWS."""
    python = platform.python_version()
    packages = ", ".join(f"{name} {_version_of(name)}" for name in _REACH_AWS)
    return f"aiocredentials {__version__} on Python {python} ({sys.platform}), {packages}"


def _version_of(package: str) -> str:
    """Return the version of a package; some deployments drop the metadata of their packages."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _add_doctor(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add the command `doctor`, and return its own parser."""
    commands = parser.add_subparsers(
        title="commands",
        metavar="COMMAND",
        required=True,
    )
    doctor = commands.add_parser(
        "doctor",
        help="report why a secret can't be read; no value is shown",
        description="Report why a secret can't be read: the AWS identity, the region, the\n"
        "permissions, and the other regions that have the secret. The value is fetched\n"
        "but never shown.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_arguments(doctor)
    return doctor


def _add_arguments(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="name or ARN of a secret",
    )
    doctor.add_argument(
        "--region",
        metavar="REGION",
        help="region of the secrets that are passed by name; an ARN contains its region",
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
    doctor.add_argument(
        "--role-arn",
        metavar="ARN",
        help="role that the secrets are read through",
    )
    doctor.add_argument(
        "--external-id",
        metavar="ID",
        help="external id that the role's trust policy names; it is never shown "
        f"(default: {_EXTERNAL_ID} in the environment)",
    )
    doctor.add_argument(
        "--role-session-name",
        metavar="NAME",
        help="name of the role's session in CloudTrail",
    )
    where = doctor.add_mutually_exclusive_group()
    where.add_argument(
        "--regions",
        metavar="A,B",
        type=_list,
        help="regions to search for a secret that its own region doesn't have (default: all)",
    )
    where.add_argument(
        "--no-search",
        action="store_true",
        help="don't search other regions",
    )
    doctor.add_argument(
        "--replica-region",
        dest="replica_regions",
        metavar="REGION",
        action="append",
        default=[],
        help="region that is asked for replicas of the secrets; may be repeated",
    )
    doctor.add_argument(
        "--keys",
        action="store_true",
        help="show the names of all JSON keys, including names that may be secrets themselves",
    )
    doctor.add_argument(
        "--json",
        action="store_true",
        help="print the report as one JSON object",
    )


def _list(text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    items = list(filter(None, parts))
    if not items:
        raise argparse.ArgumentTypeError("separate regions by commas, as in eu-west-1,eu-west-2")
    return items


async def _diagnose(options: argparse.Namespace, *, fancy: bool) -> Report:
    """Diagnose; on a terminal with colours, show a spinner with the present step."""
    step = _Step()
    diagnosis = diagnose(
        options.names,
        region_name=options.region,
        endpoint_url=options.endpoint_url,
        timeout=options.timeout,
        regions=options.regions,
        search=not options.no_search,
        show_keys=options.keys,
        role_arn=options.role_arn,
        external_id=options.external_id,
        role_session_name=options.role_session_name,
        replica_regions=options.replica_regions,
        progress=step.set,
    )
    if not fancy:
        return await diagnosis

    spinner = asyncio.create_task(_spin(step))
    try:
        return await diagnosis
    finally:
        spinner.cancel()
        _write(_CLEAR)


class _Step:
    """The present step of the diagnosis, which the spinner shows."""

    def __init__(self) -> None:
        self.text = "starting"

    def set(self, text: str) -> None:
        self.text = text


async def _spin(step: _Step) -> None:
    frames = itertools.cycle("|/-\\")
    while True:
        width = _terminal_width()
        frame = next(frames)
        line = f"{frame} {step.text}"
        line = printable(line[:width], _encoding())
        _write(f"{_CLEAR}{fitting(line, width)}")
        await asyncio.sleep(_FRAME_SECONDS)


def _write(text: str) -> None:
    """Write to standard output at once; its reader may have closed it."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python would try to write the buffered text once more when the process ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        if error.errno not in _READER_LEFT:
            sys.stderr.write(f"The report can't be written: {error.strerror}.\n")


def _interrupted(*_: object) -> NoReturn:
    """End at once: an orderly end would wait for a thread that resolves a host name."""
    if os.isatty(1) and _may_colour():
        os.write(1, _CLEAR.encode())
    os._exit(_INTERRUPTED)
