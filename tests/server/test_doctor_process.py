"""The doctor in a process of its own: streams, terminals, signals, and no secret in any output."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.doctor import diagnose
from leaks.canary import VALUE, LogKeeper, leaked
from server.doctor_servers import aws, environment, sts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.stub import StubSecretsManager


__all__ = ["aws", "environment", "sts"]  # fixtures


def command(*arguments: str) -> list[str]:
    """The command line of the doctor."""
    return [sys.executable, "-m", "aiocredentials", "doctor", *arguments]


def in_a_terminal(*arguments: str, size: int = 80, exit_code: int = 0, **variables: str) -> str:
    """Run the doctor in a terminal with so many columns, and return all that it shows."""
    import fcntl  # noqa: PLC0415 - not on every system
    import pty  # noqa: PLC0415 - as above
    import termios  # noqa: PLC0415 - as above

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, size, 0, 0))
    inherited = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "COLUMNS"}}
    environment = {**inherited, "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **variables}
    with subprocess.Popen(command(*arguments), stdout=theirs, stderr=subprocess.PIPE, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal ends on Linux
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert process.stderr
        assert process.stderr.read() == b""
    assert process.returncode == exit_code
    return shown.decode()


LOUD = """
import logging, runpy, sys
logging.basicConfig(level=logging.DEBUG)
sys.argv[0] = "aiocredentials"
runpy.run_module("aiocredentials", run_name="__main__")
"""


@pytest.mark.usefixtures("aws")
def test_nothing_leaks(create_secret: Callable[..., Any]) -> None:
    """No value, no secret key and no token is in the output, or in botocore's debug log, in development mode."""
    create_secret("prod/db", json.dumps({"password": VALUE}), "eu-west-1")
    create_secret("prod/text", VALUE, "eu-west-1")
    names = ["prod/db", "prod/text", "prod/none"]
    run = [sys.executable, "-X", "dev", "-c", LOUD, "doctor", *names, "--regions", "eu-west-2"]
    done = subprocess.run(run, capture_output=True, text=True, timeout=25, check=False)
    assert done.returncode == 1
    assert "botocore" in done.stderr
    assert "password" in done.stdout
    assert leaked(done.stdout) is None
    assert leaked(done.stderr) is None
    assert "Warning" not in done.stderr


@pytest.mark.usefixtures("sts")
async def test_nothing_is_logged(stub: StubSecretsManager) -> None:
    """The value that is fetched, and the token that is sent to STS, are in no record of any logger."""
    stub.secrets["prod/db"] = VALUE
    with LogKeeper() as kept:
        report = await diagnose(["prod/db"], endpoint_url=stub.url)
    assert report.exit_code == 0
    assert any("GetCallerIdentity" in text for _, text in kept.texts)
    assert all(leaked(text) is None for _, text in kept.texts)


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
@pytest.mark.usefixtures("aws")
def test_a_terminal(create_secret: Callable[..., Any]) -> None:
    """A real terminal gets colours and a spinner, which is gone when the report comes."""
    create_secret("prod/db", VALUE, "eu-west-1")
    spinner, _, report = in_a_terminal("prod/db").rpartition("\x1b[K")
    assert "\r\x1b[K| " in spinner
    assert "\x1b[32mok" in report
    assert "1 secret checked: 1 ok." in report


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
@pytest.mark.usefixtures("aws")
def test_a_narrow_terminal(create_secret: Callable[..., Any]) -> None:
    """Each line fits into a terminal of 20 columns, also if it has no Unicode and letters are escaped."""
    create_secret("prod/db", json.dumps({"password": VALUE}), "eu-west-1")
    arguments = ["prod/db", "prod/größe", "--regions", "eu-west-2"]
    shown = in_a_terminal(*arguments, size=20, exit_code=1, PYTHONIOENCODING="ascii")
    report = re.sub("\x1b\\[[0-9;]*m", "", shown.rpartition("\x1b[K")[2])
    assert max(map(len, report.splitlines())) == 19
    assert "gr\\xf6\\xdfe" in report
    assert leaked(shown) is None


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_interrupted(stub: StubSecretsManager) -> None:
    """Ctrl-C ends it at once with 130, in the middle of a call, and without a traceback."""
    stub.hang(times=9)
    pipe = asyncio.subprocess.PIPE
    arguments = command("prod/db", "--endpoint-url", stub.url)
    process = await asyncio.create_subprocess_exec(*arguments, stdout=pipe, stderr=pipe)
    await stub.arrival()
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


def test_a_pipe_that_ends() -> None:
    """A reader that leaves early, such as head, causes no error message."""
    with subprocess.Popen(command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")
def test_closed_streams() -> None:
    """In a process without standard input, output and error only the exit code is left, and it is the right one."""
    line = f"{shlex.join(command('prod/db', '--endpoint-url', 'http://127.0.0.1:1'))} <&- >&- 2>&-"
    done = subprocess.run(line, shell=True, check=False, timeout=25)  # noqa: S602 - it closes the streams
    assert done.returncode == 3


def test_a_process_that_hangs(stub: StubSecretsManager, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A credential_process that never answers holds the doctor up as long as one call, and is reported."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        environment.delenv(name)
    program = f'"{sys.executable}" -c "import time; time.sleep(5)"'
    (tmp_path / "config").write_text(f"[default]\ncredential_process = {program}\n", encoding="utf-8")
    environment.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    arguments = command("prod/db", "--endpoint-url", stub.url, "--timeout", "0.3")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=25)
    assert done.returncode == 3
    assert "No AWS credentials could be loaded: no answer within 0.3 s." in done.stdout
    assert "AWS was never asked for this secret" in done.stdout
