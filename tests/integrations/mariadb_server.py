"""A MariaDB on this machine, made of the program that the system's package brings."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

HOST = "127.0.0.1"
ADMIN, ADMIN_PASSWORD = "admin", "admin's password"

SECONDS = 20.0  # until a server that hasn't started is given up
# A port that is free now may be taken a moment later.
ATTEMPTS = 3

# For a user who isn't root, these may be missing in PATH.
FOLDERS = ["/usr/sbin", "/usr/libexec", "/usr/local/sbin", "/opt/homebrew/bin"]
# Each would make tables that no test reads.
SYSTEM_TABLES = ["mysql_system_tables.sql", "mysql_system_tables_data.sql"]
QUICK = [
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=8M",
    "--innodb-use-native-aio=0",
    "--innodb-fast-shutdown=2",
]
# `init_connect` notes each login that was accepted, and the error log each one that was refused: no log of the server
# has both with the time.
SETUP = f"""
DELETE FROM mysql.global_priv WHERE User = '';
FLUSH PRIVILEGES;
CREATE USER {ADMIN}@'%' IDENTIFIED BY "{ADMIN_PASSWORD}";
GRANT ALL ON *.* TO {ADMIN}@'%' WITH GRANT OPTION;
CREATE DATABASE app;
CREATE DATABASE observed;
CREATE TABLE observed.logins (at DOUBLE, user VARCHAR(80)) ENGINE=MEMORY;
"""  # noqa: S608 (our own names)
NOTE_LOGIN = "INSERT INTO observed.logins VALUES (UNIX_TIMESTAMP(SYSDATE(6)), SUBSTRING_INDEX(USER(), '@', 1))"

# The script stops the server when its standard input is closed. So no server outlives the program that started it, even
# if that program is killed.
SCRIPT = """
log=$1
shift
"$@" 2> "$log" &
server=$!
read -r line
kill -9 "$server"
wait "$server"
"""


class LocalMariaDB:
    """A server on a free loopback port, for the length of a `with` block; root may run it, and others too."""

    host = HOST
    port: int
    socket: Path
    log: Path

    def __init__(self, *options: str) -> None:
        self._options = options
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        """Make the system's tables, and start the server."""
        program = _program()
        assert program is not None
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mariadb-")))
            common = [program, "--no-defaults", f"--datadir={folder / 'data'}", *QUICK]
            if os.geteuid() == 0:
                common.append("--user=root")
            _make_tables(program, folder, common)
            (folder / "setup.sql").write_text(SETUP)
            self.log = folder / "log"
            self.socket = folder / "socket"
            for _ in range(ATTEMPTS):
                self.port = _free_port()
                command = [
                    *common,
                    f"--port={self.port}",
                    f"--bind-address={HOST}",
                    f"--socket={self.socket}",
                    f"--pid-file={folder / 'pid'}",
                    f"--init-file={folder / 'setup.sql'}",
                    f"--init-connect={NOTE_LOGIN}",
                    "--skip-name-resolve",
                    "--max-connections=400",
                    "--log-warnings=2",
                    *self._options,
                ]
                process = stack.enter_context(
                    subprocess.Popen(
                        ["/bin/sh", "-c", SCRIPT, "sh", str(self.log), *command],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,  # Ctrl-C is for the parent only
                    )
                )
                if self._is_ready(process):
                    self._resources = stack.pop_all()
                    return self
            raise RuntimeError(f"MariaDB didn't start: {self.log.read_text()}")

    def __exit__(self, *_: object) -> None:
        """Stop the server, and remove all its files."""
        self._resources.close()

    def _is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            said = self.log.read_text() if self.log.exists() else ""
            if "ready for connections" in said:
                return True
            if "Aborting" in said or process.poll() is not None:
                return False
            time.sleep(0.01)
        return False


def why_not() -> str | None:
    """Return the reason why no server can run here; None if one can."""
    if os.name != "posix":
        return "MariaDB is started by a POSIX shell"
    program = _program()
    if program is None:
        return "mariadbd isn't on this machine: on Debian and Ubuntu it is in mariadb-server-core"
    if _sql_folder(program) is None:
        return "the SQL files that come with mariadbd aren't on this machine"
    return None


def _program() -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS])
    return shutil.which("mariadbd", path=path)


def _sql_folder(program: str) -> Path | None:
    prefix = Path(program).resolve().parents[1]
    folders = [prefix / "share" / name for name in ("mysql", "mariadb")]
    return next((folder for folder in folders if (folder / SYSTEM_TABLES[0]).exists()), None)


def _make_tables(program: str, folder: Path, common: list[str]) -> None:
    """Do what mariadb-install-db does, in a fifth of its time: without help texts and the sys schema."""
    (folder / "data" / "mysql").mkdir(parents=True)
    sql_folder = _sql_folder(program)
    assert sql_folder is not None
    statements = "".join((sql_folder / name).read_text() for name in SYSTEM_TABLES)
    run = subprocess.run(
        [*common, "--bootstrap", "--log-warnings=0", "--enforce-storage-engine="],
        input=f"USE mysql;\n{statements}",
        check=False,
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        raise RuntimeError(f"MariaDB's tables can't be made: {run.stdout}{run.stderr}")


def _free_port() -> int:
    with closing(socket.socket()) as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
