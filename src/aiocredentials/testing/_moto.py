"""Secrets Manager on this machine: moto's server in a child process.

An import of this module imports neither moto nor a test framework. This file is also the program of
the child process. The child runs it by its path and starts without the rest of the package, so this
file imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
from datetime import timedelta
from typing import IO, TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeAlias
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from _typeshed import OptExcInfo

    Header: TypeAlias = tuple[str, str]

_HOST = "127.0.0.1"
# moto checks no signature.
_ANY_KEY = "testing"
# Flask is missing if "moto" is installed without its extra "server".
_NEEDED = ("moto", "flask", "flask_cors")
_BY_WERKZEUG = {"server", "date"}


class MotoServer:
    """Secrets Manager on this machine: moto's server in a child process.

    Use it in a `with` block, or call `start()` and `stop()`. It listens on a free port of the
    loopback interface. It ends with this process, however this process ends.

    It runs in its own process, because the answers of moto's in-process mock (`mock_aws`)
    can't be awaited. Under that mock, each call fails with an `InvalidParameterError` that names
    the mock.

    Example:
        ```python
        import os

        from aiocredentials.testing import MotoServer, SecretsEndpoint

        with MotoServer() as server:
            os.environ.update(server.environment())
            endpoint = SecretsEndpoint(server.url)
            endpoint.set("prod/database", {"username": "app", "password": "made up"})
        ```

    Args:
        start_timeout: How long the child process may take to report its port, in seconds or as a
            `timedelta`.
    """

    def __init__(self, *, start_timeout: float | timedelta = 30.0) -> None:
        if isinstance(start_timeout, timedelta):
            start_timeout = start_timeout.total_seconds()
        self._timeout = start_timeout
        self._port: int | None = None
        self._resources = contextlib.ExitStack()

    def start(self) -> Self:
        """Start the server, and return when it listens. It has no effect on a running server.

        Raises:
            ModuleNotFoundError: moto's server isn't installed.
            RuntimeError: The child process ended, or didn't report its port in time. The message
                has the child's standard error.
        """
        if self._port is not None:
            return self

        _check_installed()
        with contextlib.ExitStack() as stack:
            # The child writes its errors to a file. A pipe would block the child once it is full,
            # because it isn't read while the server runs.
            errors = stack.enter_context(tempfile.TemporaryFile())
            process = stack.enter_context(_child(errors))
            # This runs before the exit of Popen, which waits. The child has nothing to save.
            stack.callback(process.kill)

            line = _first_line(process, self._timeout)
            if not line:
                raise self._not_started(process, errors)

            report = json.loads(line)
            self._port = int(report["port"])
            self._resources = stack.pop_all()
        return self

    def stop(self) -> None:
        """End the server, and wait until it has ended. It has no effect on a stopped server."""
        self._port = None
        self._resources.close()

    def __enter__(self) -> Self:
        """Start the server. Raises the errors of `start()`."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def url(self) -> str:
        """The URL of the endpoint, such as `http://127.0.0.1:49152`.

        Raises `RuntimeError` if the server isn't running.
        """
        port = self._running_port()
        return f"http://{_HOST}:{port}"

    def reset(self) -> None:
        """Delete all secrets in all regions.

        Raises:
            RuntimeError: The server isn't running, or it refused.
            OSError: The server can't be reached.
        """
        port = self._running_port()
        # http.client ignores proxies. urllib would send the request to HTTP_PROXY.
        connection = http.client.HTTPConnection(_HOST, port, timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/moto-api/reset")
            status = connection.getresponse().status

        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"moto's server answered a reset with status {status}")

    def environment(self) -> dict[str, str]:
        """Return environment variables that send any AWS SDK to this server, in all regions.

        They hold made-up AWS credentials and the endpoint, and exempt it from proxies. Raises
        `RuntimeError` if the server isn't running.
        """
        no_proxy = _HOST
        exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        if exempt:
            no_proxy = f"{exempt},{_HOST}"

        return {
            "AWS_ACCESS_KEY_ID": _ANY_KEY,
            "AWS_SECRET_ACCESS_KEY": _ANY_KEY,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.url,
            # The doctor asks STS. It must not ask AWS's own STS with these keys.
            "AWS_ENDPOINT_URL_STS": self.url,
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def _running_port(self) -> int:
        if self._port is None:
            raise RuntimeError(
                "This MotoServer isn't running: use it in a `with` block, or call start() first"
            )
        return self._port

    def _not_started(
        self,
        process: subprocess.Popen[bytes],
        errors: IO[bytes],
    ) -> RuntimeError:
        errors.seek(0)
        text = errors.read().decode(errors="replace")
        text = text.strip() or "empty"
        return RuntimeError(
            f"moto's server didn't report its port within {self._timeout:g} s "
            f"(exit code {process.returncode}); its standard error: {text}"
        )


def _check_installed() -> None:
    missing = [name for name in _NEEDED if not importlib.util.find_spec(name)]
    if missing:
        names = ", ".join(missing)
        message = f"MotoServer needs {names}: install aiocredentials with the extra 'testing'"
        raise ModuleNotFoundError(message, name=missing[0])


def _child(errors: IO[bytes]) -> subprocess.Popen[bytes]:
    # -P keeps the folder of this file, and so its module names, off the child's import path.
    command = [sys.executable, "-P", "-W", "ignore", __file__]
    return subprocess.Popen(  # noqa: S603 (our own file, and no shell)
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_child_environment(),
        # Ctrl-C is for the parent, which may still need the server to clean up. Windows ignores
        # the first argument, and other systems don't have the flag.
        start_new_session=True,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _child_environment() -> dict[str, str]:
    # The child needs nothing of the user's account.
    inherited = os.environ.items()
    environment = {name: value for name, value in inherited if not name.startswith("AWS_")}
    # Without this, moto answers 500 for regions that botocore doesn't know.
    environment["MOTO_ALLOW_NONEXISTENT_REGION"] = "true"
    return environment


def _first_line(process: subprocess.Popen[bytes], timeout: float) -> bytes:
    """Return the first line that the child writes.

    If it writes no line within the time limit, return an empty line after the child has ended.
    """
    # The child was started with a pipe.
    assert process.stdout is not None  # noqa: S101 (for type checkers)

    # A read from a pipe has no time limit that works on every system.
    timer = threading.Timer(timeout, process.kill)
    timer.start()
    try:
        line = process.stdout.readline()
        if not line:
            process.wait()
        return line
    finally:
        timer.cancel()


def _serve(stdin: TextIO, stdout: TextIO) -> None:
    """Run the child: serve on a free port, report it as JSON, and stop when standard input ends."""
    # The standard output is for the port alone. Everything that moto prints goes to the errors.
    with contextlib.redirect_stdout(sys.stderr):
        # Imports by name, because type checkers may run where moto isn't installed.
        moto_server: Any = importlib.import_module("moto.server")
        serving: Any = importlib.import_module("werkzeug.serving")

        moto = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
        application = _without_double_headers(moto)

        # Without this, werkzeug writes a line per request.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        server = serving.make_server(_HOST, 0, application, threaded=True)

        thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": 0.1},
            daemon=True,
        )
        thread.start()
        report = json.dumps({"port": server.port})
        print(report, file=stdout, flush=True)

        # This returns when the parent closes its end of the pipe, or has ended.
        stdin.read()
        server.shutdown()
        thread.join()


def _without_double_headers(moto: WSGIApplication) -> WSGIApplication:
    """Return moto's application without the headers that werkzeug writes as well.

    aiohttp in its development mode rejects an answer that has them twice.
    """

    def application(
        environ: WSGIEnvironment,
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        def start(
            status: str,
            headers: list[Header],
            error: OptExcInfo | None = None,
        ) -> Callable[[bytes], object]:
            kept = [header for header in headers if not _is_by_werkzeug(header)]
            return start_response(status, kept, error)

        return moto(environ, start)

    return application


def _is_by_werkzeug(header: Header) -> bool:
    name, _ = header
    return name.lower() in _BY_WERKZEUG


if __name__ == "__main__":
    _serve(sys.stdin, sys.stdout)
