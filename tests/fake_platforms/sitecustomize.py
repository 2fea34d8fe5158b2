"""Take away what another system lacks: a fake platform, for each Python whose PYTHONPATH begins with this folder.

FAKE_PLATFORM is "windows" or "macos". Python imports a module of this name before anything else, so the package finds
the fake system, and so do child processes. The standard library was written for this system and keeps it: it is
imported first, and sees the real `sys.platform`.

`FAKE_PLATFORM=windows PYTHONPATH=tests/fake_platforms pytest tests/unit tests/server` runs the tests on one.
"""

from __future__ import annotations

import asyncio
import asyncio.base_subprocess
import builtins
import concurrent.futures.thread
import importlib.resources
import logging
import multiprocessing.util
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any, NoReturn

# They are imported only because they look for `os.fork` and its kin when they are imported.
READY = (concurrent.futures.thread, importlib.resources, logging, multiprocessing.util, pathlib, random, shutil)
READY += (tempfile, threading)

LACKING = {
    "windows": {
        os: "fork forkpty register_at_fork killpg setsid getsid getpgid getpgrp setpgid mkfifo O_NOCTTY",
        signal: "SIGKILL SIGALRM SIGHUP SIGUSR1 SIGUSR2 alarm setitimer",
        time: "CLOCK_BOOTTIME CLOCK_MONOTONIC CLOCK_MONOTONIC_RAW clock_gettime clock_gettime_ns clock_getres",
    },
    "macos": {
        os: "pidfd_open",
        time: "CLOCK_BOOTTIME",
    },
}
NAMES = {"windows": "win32", "macos": "darwin"}
NO_FOLDERS = {"windows": ("/proc/", "/dev/"), "macos": ("/proc/",)}
OURS = ("aiocredentials", "tests", "unit", "server", "conftest", "__main__")
TICK = 1 / 64
KILL = signal.SIGKILL


class FakeSys:
    """The module `sys`, with the name of another platform."""

    __slots__ = ("platform",)

    def __init__(self, platform: str) -> None:
        object.__setattr__(self, "platform", platform)

    @property
    def __dict__(self) -> dict[str, Any]:  # pytest's monkeypatch looks into it
        return vars(sys)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (whatever it is)
        return getattr(sys, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "platform":
            object.__setattr__(self, name, value)
        else:
            setattr(sys, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(sys, name)


def rename_for_us(platform: str) -> None:
    """Let our own modules see another `sys.platform`."""
    fake_sys = FakeSys(platform)
    importing = builtins.__import__

    def fake_import(name: str, globals: Any = None, *more: Any, **options: Any) -> Any:  # noqa: A002, ANN401 (Python's)
        module = (globals or {}).get("__name__", "")
        if name == "sys" and module.partition(".")[0] in OURS:
            return fake_sys
        return importing(name, globals, *more, **options)

    builtins.__import__ = fake_import


def deny(folders: tuple[str, ...]) -> None:
    """Let no file below these folders be opened, except for the null device."""

    def denying(event: str, arguments: tuple[Any, ...]) -> None:
        if event in {"open", "os.listdir"} and isinstance(arguments[0], str):
            path = arguments[0]
            if path.startswith(folders) and path != os.devnull:
                raise FileNotFoundError(2, "No such file or directory", path)

    sys.addaudithook(denying)


def start_processes_as_windows_does() -> None:
    """Ignore `start_new_session`, accept `creationflags`, and end a process in spite of the missing SIGKILL."""
    starting = subprocess.Popen.__init__
    subprocess.CREATE_NEW_PROCESS_GROUP = 0x200

    def start(self: Any, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 (of any process)
        if options.pop("preexec_fn", None) is not None:
            raise ValueError("preexec_fn is not supported on Windows platforms")
        options.pop("start_new_session", None)
        if options.pop("creationflags", 0) & subprocess.CREATE_NEW_PROCESS_GROUP:
            options["process_group"] = 0
        starting(self, *arguments, **options)

    subprocess.Popen.__init__ = start
    subprocess.Popen.kill = lambda self: self.send_signal(KILL)
    # Since Python 3.14, asyncio looks for SIGKILL by itself here, and on Windows calls `Popen.kill`.
    asyncio.base_subprocess.BaseSubprocessTransport.kill = lambda self: self._proc.kill()


def count_time_as_windows_does() -> None:
    """Let the clocks tick 64 times a second, as they do before Python 3.13."""
    exact, exact_info = time.monotonic, time.get_clock_info

    def coarse() -> float:
        return exact() // TICK * TICK

    def info(name: str) -> Any:  # noqa: ANN401 (the type has no name)
        found = exact_info(name)
        if name == "monotonic":
            found.resolution = TICK
        return found

    time.monotonic, time.get_clock_info = coarse, info


def add_no_signal_handler(*_: object) -> NoReturn:
    """Refuse to, as the loops of Windows do."""
    raise NotImplementedError


def fake(system: str) -> None:
    """Turn this process into one on another system."""
    for module, names in LACKING[system].items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    if system == "windows":
        start_processes_as_windows_does()
        count_time_as_windows_does()
        asyncio.SelectorEventLoop.add_signal_handler = add_no_signal_handler
        if "PYTHONIOENCODING" not in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.reconfigure(encoding="cp1252")
    rename_for_us(NAMES[system])
    deny(NO_FOLDERS[system])


if "FAKE_PLATFORM" in os.environ:
    fake(os.environ["FAKE_PLATFORM"])
