"""A terminal for tests: a shell that is typed into, and whose screen is read."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from threading import Condition, Thread
from typing import TYPE_CHECKING, Self

from blocks import is_as_promised

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARK = "<end of command>"


class Terminal:
    """A bash in a folder, in a `with` block. At its end, all that the shell has started is killed."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],  # noqa: S607 - whichever bash the reader has
            cwd=folder,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._screen = ""
        self._ended = False
        self._changed = Condition()
        self._reader = Thread(target=self._read)

    def __enter__(self) -> Self:
        """Begin to read."""
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the shell, and its children."""
        with suppress(ProcessLookupError):  # all have ended by themselves
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()

    def type(self, commands: str, promised: str, seconds: float) -> int:
        """Run commands until they have ended and the screen shows what is promised; return the last one's status.

        Raises `AssertionError` with the screen if that hasn't come in so many seconds. Background jobs go on.
        """
        assert self._process.stdin
        with self._changed:
            self._screen = ""
        self._process.stdin.write(f'{commands}echo "{MARK} $?"\n')
        self._process.stdin.flush()
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                before, mark, after = self._screen.partition(MARK)
                status, newline, rest = after.partition("\n")
                if mark and newline and is_as_promised(promised, before + rest):
                    return int(status)
                left = deadline - time.monotonic()
                assert left > 0, f"{commands}shows:\n{self._screen}and not:\n{promised}"
                assert not self._ended, f"{commands}ended the shell:\n{self._screen}"
                self._changed.wait(left)

    def end(self) -> int:
        """End the shell when its jobs have ended; return its exit code."""
        assert self._process.stdin
        self._process.stdin.write("wait\nexit 0\n")
        self._process.stdin.close()
        return self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._changed:
                self._screen += line
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
