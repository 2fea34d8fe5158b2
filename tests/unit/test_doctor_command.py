"""The doctor's command line. Nothing is asked."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiocredentials import __version__
from aiocredentials.doctor import Report, cli as command
from aiocredentials.doctor.layout import columns
from unit.doctor_fakes import ARN, CONTENTS, NOT_FOUND, FakeProbe, examined, report_on


@pytest.fixture
def diagnosed(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Put a diagnosis without AWS in place of the real one, and return what it was called with."""
    called: dict[str, Any] = {}

    async def diagnose(names: list[str], **options: Any) -> Report:  # noqa: ANN401 - any option
        called.update(names=names, **options)
        options["progress"]("looking")
        await asyncio.sleep(0)  # a turn for the spinner
        return report_on(await examined(FakeProbe(called.get("got", CONTENTS))))

    monkeypatch.setattr(command, "diagnose", diagnose)
    return called


def test_arguments(diagnosed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Each option reaches the diagnosis; without options it has the defaults; the exit code is the report's."""
    assert command.run(["doctor", "a", "b"]) == 0
    assert diagnosed["names"] == ["a", "b"]
    assert (diagnosed["region_name"], diagnosed["endpoint_url"], diagnosed["timeout"]) == (None, None, 10.0)
    assert (diagnosed["regions"], diagnosed["search"], diagnosed["show_keys"]) == (None, True, False)
    command.run(["doctor", "a", "--no-search", "--region", "eu-west-1", "--timeout", "2.5", "--json", "--keys"])
    assert (diagnosed["region_name"], diagnosed["timeout"], diagnosed["search"]) == ("eu-west-1", 2.5, False)
    assert diagnosed["show_keys"]
    command.run(["doctor", "a", "--regions", "eu-west-1, eu-west-2", "--endpoint-url", "https://vpce.example"])
    assert (diagnosed["regions"], diagnosed["endpoint_url"]) == (["eu-west-1", "eu-west-2"], "https://vpce.example")
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["doctor"],
        ["doctor", ""],
        ["doctor", "a", "--region", " "],
        ["doctor", "a", "--endpoint-url", "nowhere"],
        ["doctor", "a", "--timeout", "0"],
        ["doctor", "a", "--timeout", "nan"],
        ["doctor", "a", "--regions", " , "],
        ["doctor", "a", "--regions", "b", "--no-search"],
        ["nurse"],
    ],
)
def test_wrong_arguments(arguments: list[str], diagnosed: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Arguments that can't work are refused with 2 and a sentence, before anything is asked."""
    with pytest.raises(SystemExit) as ended:
        command.run(arguments)
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err
    assert not diagnosed


@pytest.mark.parametrize(
    "arguments",
    [
        ["--endpoint-url", "https://user:CANARY#1@gateway"],
        ["--endpoint-url", "https://user:CAN ARY@gateway"],
        ["--endpoint-url", "https://user:'CANARY\"@gateway:0"],
        ["--endpoint-url", "user:CANARY@gateway"],
        ["--endpint-url", "https://user:CANARY@gateway"],
        ["--timeout", "http://CANARY@gateway"],
        ["--\x1b[2J\u202e"],
    ],
)
@pytest.mark.usefixtures("diagnosed")
def test_wrong_arguments_are_harmless(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An argument is refused without the password in it, and without characters that a terminal obeys."""
    with pytest.raises(SystemExit):
        command.run(["doctor", "a", *arguments])
    error = capsys.readouterr().err.rpartition("error: ")[2].strip()
    assert error.isprintable()
    assert "CAN" not in error
    assert "ARY" not in error


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--external_id=CANARY"], "unrecognized arguments: --external_id"),
        (["--external_id", "CANARY"], "unrecognized arguments: --external_id"),
        (["-external-id=CANARY"], "unrecognized arguments: -e"),
        (["--json", "CANARY"], "unrecognized arguments (not shown)"),
        (["--e=CANARY"], "ambiguous option: --e could match"),
        (["--json=CANARY"], "ignored explicit argument"),
    ],
)
@pytest.mark.usefixtures("diagnosed")
def test_values_of_unknown_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in an option's name doesn't print the value, which may be an external id."""
    with pytest.raises(SystemExit) as ended:
        command.run(["doctor", "a", *arguments])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert "CANARY" not in printed


def test_external_id_of_the_environment(diagnosed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The external id may come from the environment, where `ps` doesn't show it; the option wins."""
    monkeypatch.setenv("AIOCREDENTIALS_EXTERNAL_ID", "theirs")
    role = ["--role-arn", "arn:aws:iam::123456789012:role/reader"]
    for arguments, expected in (([], None), (role, "theirs"), ([*role, "--external-id", "ours"], "ours")):
        command.run(["doctor", "a", *arguments])
        assert diagnosed["external_id"] == expected
    monkeypatch.setenv("AIOCREDENTIALS_EXTERNAL_ID", "")
    command.run(["doctor", "a", *role])
    assert diagnosed["external_id"] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--replica-region", "Frankfurt"], "--replica-region has 'Frankfurt', which isn't the name of a region"),
        (
            ["--external-id", "abc"],
            "--external-id and --role-session-name are about a role: give --role-arn as well.\n",
        ),
        (["--endpoint-url", "role_arn"], "--endpoint-url 'role_arn' isn't a URL"),
    ],
)
@pytest.mark.usefixtures("diagnosed")
def test_words_of_options(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An argument that a pool would refuse is refused by the name of the option; its value stays as it is."""
    with pytest.raises(SystemExit):
        command.run(["doctor", "a", *arguments])
    assert said in capsys.readouterr().err


@pytest.mark.usefixtures("diagnosed")
def test_a_bug(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A bug of the doctor's ends with 3 and the place of the bug, without a traceback and the exception's text."""

    async def diagnose(*_: object, **__: object) -> Report:
        raise LookupError("CANARY")

    monkeypatch.setattr(command, "diagnose", diagnose)
    assert command.run(["doctor", "a"]) == 3
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(
        r"The doctor failed: LookupError in test_a_bug\S*diagnose, line \d+\. Please report this as a bug\.\n",
        shown.err,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--version"], __version__), (["--help"], "doctor"), (["doctor", "--help"], "exit codes:\n  0 ")],
)
def test_help(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` and `--help` answer on standard output, with 0; the exit codes are part of the help."""
    with pytest.raises(SystemExit) as ended:
        command.run(arguments)
    assert ended.value.code == 0
    assert said in capsys.readouterr().out


class Terminal(io.StringIO):
    """A standard output that says it is a terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


@pytest.mark.parametrize(("variables", "is_fancy"), [({}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False)])
@pytest.mark.usefixtures("diagnosed")
def test_terminal(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, is_fancy: bool) -> None:
    """A terminal gets colours and a spinner, unless TERM or NO_COLOR say otherwise."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with contextlib.redirect_stdout(Terminal()) as terminal:
        command.run(["doctor", "a"])
    shown = terminal.getvalue()
    assert ("\r\x1b[K| looking" in shown) == is_fancy
    assert ("\x1b[32mok  \x1b[0m" in shown) == is_fancy
    assert ("\x1b" in shown) == is_fancy


@pytest.mark.parametrize(
    ("variables", "may_colour"),
    [({}, False), ({"WT_SESSION": "1"}, True), ({"TERM": "xterm"}, True), ({"TERM": "dumb", "WT_SESSION": "1"}, False)],
    ids=["the old console", "Windows Terminal", "a shell from elsewhere", "dumb"],
)
def test_colours_on_windows(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, may_colour: bool) -> None:
    """The old console of Windows would print the sequences for colours, so it gets none."""
    for name in ("TERM", "WT_SESSION", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with monkeypatch.context() as patch:
        patch.setattr(command.sys, "platform", "win32")
        assert command._may_colour() == may_colour
        patch.setattr(command.sys, "platform", "linux")
        assert command._may_colour() == (variables.get("TERM") != "dumb")


@pytest.mark.parametrize(("columns_variable", "width"), [(None, 70), ("44", 44), ("0", 70)])
@pytest.mark.parametrize("is_terminal", [True, False])
@pytest.mark.usefixtures("diagnosed")
def test_width(monkeypatch: pytest.MonkeyPatch, columns_variable: str | None, width: int, *, is_terminal: bool) -> None:
    """Lines end before the last column of a terminal, whose width COLUMNS may change; in a pipe none is broken."""
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((70, 24)))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns_variable:
        monkeypatch.setenv("COLUMNS", columns_variable)
    with contextlib.redirect_stdout(Terminal() if is_terminal else io.StringIO()) as output:
        command.run(["doctor", "a"])
    widest = max(map(len, output.getvalue().splitlines()))
    if is_terminal:
        assert width - 8 < widest < width
    else:
        assert any(line.endswith(ARN) for line in output.getvalue().splitlines())


@pytest.mark.parametrize("size", [1, 2, 3, 12, 40])
async def test_the_spinners_width(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """The line that changes never reaches the last column: it would scroll, and leave copies of itself behind."""
    monkeypatch.setenv("COLUMNS", str(size))
    step = command._Step()
    step.set("asking 東京 for größe\u202e" * 90)
    with contextlib.redirect_stdout(Terminal()) as terminal:
        spinner = asyncio.create_task(command._spin(step))
        while "\\" not in terminal.getvalue().replace("\\u202e", ""):
            if size < 2:
                break
            await asyncio.sleep(0)
            monkeypatch.setattr(command, "_FRAME_SECONDS", 0)
        spinner.cancel()
    lines = terminal.getvalue().split("\r\x1b[K")
    assert all(columns(line) < size and line.isprintable() for line in lines)


@pytest.mark.usefixtures("diagnosed")
def test_json_on_a_terminal() -> None:
    """With --json a terminal gets the object and nothing else."""
    with contextlib.redirect_stdout(Terminal()) as terminal:
        command.run(["doctor", "a", "--json"])
    assert json.loads(terminal.getvalue())["version"] == 1


@pytest.fixture
def own_process(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Keep what `main` does to its process from this one."""
    done: dict[str, Any] = {}
    monkeypatch.setattr(signal, "signal", lambda _, handler: done.setdefault("handler", handler))
    monkeypatch.setattr(os, "_exit", lambda code: done.update(exit=code))
    monkeypatch.setattr(os, "write", lambda _, data: done.update(written=data))
    monkeypatch.setattr(sys, "argv", ["aiocredentials", "doctor", "a"])
    return done


@pytest.mark.usefixtures("diagnosed", "own_process")
def test_main(capsys: pytest.CaptureFixture[str]) -> None:
    """The console script prints the report and returns its exit code."""
    assert command.main() == 0
    assert "1 secret checked: 1 ok." in capsys.readouterr().out


@pytest.mark.parametrize("terminal", ["xterm", "dumb", None])
@pytest.mark.usefixtures("diagnosed")
def test_interrupted(own_process: dict[str, Any], monkeypatch: pytest.MonkeyPatch, terminal: str | None) -> None:
    """Ctrl-C ends the process with 130, and leaves no half line on a terminal that can erase it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", terminal or "xterm")
    command.main()
    monkeypatch.setattr(os, "isatty", lambda _: terminal is not None)
    own_process["handler"](signal.SIGINT, None)
    assert own_process["exit"] == 130
    assert own_process.get("written") == (b"\r\x1b[K" if terminal == "xterm" else None)


@pytest.mark.parametrize("is_wrong", [True, False])
@pytest.mark.usefixtures("own_process")
def test_whoever_reads_has_read_enough(
    diagnosed: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_wrong: bool
) -> None:
    """A pipe that its reader has closed ends the command in silence; its exit code is that of the report."""
    diagnosed["got"] = NOT_FOUND if is_wrong else CONTENTS
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        assert command.main() == is_wrong
        # What is written from now on goes nowhere, and is no error at the end of the block.
        pipe.write("more")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("diagnosed", "own_process")
def test_whoever_reads_has_read_enough_on_windows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Windows has another number for a pipe whose reader has left, and it is as quiet there."""

    class Left(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

        def fileno(self) -> int:
            return file.fileno()

    with (tmp_path / "file").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", Left())
        assert command.main() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("diagnosed", "own_process")
def test_closed_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process without standard output the report goes nowhere, and the exit code is the report's."""
    monkeypatch.setattr(sys, "stdout", None)
    assert command.main() == 0
    with sys.stdout as nowhere:
        assert nowhere.name == os.devnull


@pytest.mark.skipif(sys.platform != "linux", reason="a device of Linux")
@pytest.mark.usefixtures("diagnosed", "own_process")
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A report that can't be written is missed in one sentence; the exit code is the report's."""
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert command.main() == 0
    assert capsys.readouterr().err == "The report can't be written: No space left on device.\n"


def test_help_is_cheap() -> None:
    """`python -m aiocredentials --help` imports neither aioboto3 nor aiohttp."""
    program = "import runpy, sys; sys.argv = ['aiocredentials', '--help']\n"
    program += "try: runpy.run_module('aiocredentials', run_name='__main__')\n"
    program += "except SystemExit: print([name for name in ('aioboto3', 'aiohttp') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert answer.stdout.splitlines()[-1] == "[]"


def test_the_entry_point() -> None:
    """`python -m aiocredentials` runs the doctor's command line."""
    assert importlib.import_module("aiocredentials.__main__").main is command.main
