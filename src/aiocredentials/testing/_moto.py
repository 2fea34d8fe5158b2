"""A Secrets Manager on this machine: moto's server in a child process.

Importing this module imports neither moto nor a test framework. This file is also the program of the child process,
run by its path: so the child starts without the rest of the package, and nothing here imports from it.
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
from typing import TYPE_CHECKING, Any, Self, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from _typeshed import OptExcInfo

_HOST = "127.0.0.1"
_ANY_KEY = "testing"  # moto checks no signature


class MotoServer:
    """Secrets Manager on this machine: moto's server in a child process.

    A process of its own, because the answers of moto's in-process mock (`mock_aws`) can't be awaited: under that mock
    each call fails with an `InvalidParameterError` that names it. Use the server in a `with` block, or call `start()`
    and `stop()`. It listens on a free port of the loopback interface, and ends when this process ends, however that
    happens.

    `start_timeout` is how long the child may take to report its port, in seconds or as a `timedelta`.
    """

    def __init__(self, *, start_timeout: float | timedelta = 30.0) -> None:
        self._timeout = (
            start_timeout.total_seconds() if isinstance(start_timeout, timedelta) else start_timeout
        )
        self._port: int | None = None
        self._resources = contextlib.ExitStack()

    def start(self) -> Self:
        """Start the server and return when it listens; does nothing if it runs already.

        Raises `ModuleNotFoundError` if moto's server isn't installed, and `RuntimeError`, with what the child wrote to
        its standard error, if the child ends or stays silent.
        """
        if self._port is not None:
            return self
        # Flask is what the plain "moto" package, without its "server" extra, lacks.
        if missing := [
            name
            for name in ("moto", "flask", "flask_cors")
            if importlib.util.find_spec(name) is None
        ]:
            message = (
                f"MotoServer needs {', '.join(missing)}: run pip install 'aiocredentials[testing]'"
            )
            raise ModuleNotFoundError(message, name=missing[0])
        with contextlib.ExitStack() as stack:
            # A file, not a pipe: nobody reads it while the server runs, and a pipe that is full would block the child.
            errors = stack.enter_context(tempfile.TemporaryFile())
            process = stack.enter_context(
                subprocess.Popen(  # noqa: S603 - our own file, and no shell
                    # -P keeps this file's folder, with its module names, off the child's import path.
                    [sys.executable, "-P", "-W", "ignore", __file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=_child_environment(),
                    start_new_session=True,  # Ctrl-C is for the parent, which may still need the server to clean up
                )
            )
            stack.callback(
                process.kill
            )  # runs before Popen's own exit, which waits; the child has nothing to save
            line = _first_line(process, self._timeout)
            if not line:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip() or "empty"
                raise RuntimeError(
                    f"moto's server didn't report its port within {self._timeout:g} s "
                    f"(exit code {process.returncode}); its standard error: {said}"
                )
            self._port = int(json.loads(line)["port"])
            self._resources = stack.pop_all()
        return self

    def stop(self) -> None:
        """End the server and wait until it is gone; does nothing if it isn't running."""
        self._port = None
        self._resources.close()

    def __enter__(self) -> Self:
        """Start the server; raises what `start()` raises."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    @property
    def url(self) -> str:
        """The endpoint, as in `http://127.0.0.1:49152`; raises `RuntimeError` if the server isn't running."""
        return f"http://{_HOST}:{self._running_port()}"

    def reset(self) -> None:
        """Forget every secret, in every region.

        Raises `RuntimeError` if the server isn't running or refuses, and `OSError` if it can't be reached.
        """
        # http.client knows no proxies: HTTP_PROXY in the environment would catch a request by urllib.
        connection = http.client.HTTPConnection(_HOST, self._running_port(), timeout=30)
        with contextlib.closing(connection):
            connection.request("POST", "/moto-api/reset")
            status = connection.getresponse().status
        if status != http.HTTPStatus.OK:
            raise RuntimeError(f"moto's server answered a reset with status {status}")

    def environment(self) -> dict[str, str]:
        """Environment variables that send any AWS SDK here: dummy credentials, the endpoint, no proxy on the way.

        The endpoint holds for every region. Raises `RuntimeError` if the server isn't running.
        """
        exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        no_proxy = f"{exempt},{_HOST}" if exempt else _HOST
        return {
            "AWS_ACCESS_KEY_ID": _ANY_KEY,
            "AWS_SECRET_ACCESS_KEY": _ANY_KEY,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.url,
            # The doctor asks STS: with these keys it must not be AWS's own.
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


def _child_environment() -> dict[str, str]:
    # The child needs nothing of the user's account; and moto answers 500 for regions that botocore doesn't know.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return environment | {"MOTO_ALLOW_NONEXISTENT_REGION": "true"}


def _first_line(process: subprocess.Popen[bytes], timeout: float) -> bytes:
    """Read the child's first line; it is empty, and the child has ended, when none came in time or none will."""
    assert process.stdout is not None  # it is a pipe  # noqa: S101
    timer = threading.Timer(
        timeout, process.kill
    )  # a read from a pipe has no time limit that works on every system
    timer.start()
    try:
        line = process.stdout.readline()
        if not line:
            process.wait()
        return line
    finally:
        timer.cancel()


def _serve(stdin: TextIO, stdout: TextIO) -> None:
    """Be the child: serve on a free port, report it as one line of JSON, and stop at the end of standard input."""
    # Whatever moto prints goes where nobody waits: the pipe is for the port alone.
    with contextlib.redirect_stdout(sys.stderr):
        # Imported by name, since type checkers may run where moto isn't installed.
        moto_server: Any = importlib.import_module("moto.server")
        serving: Any = importlib.import_module("werkzeug.serving")
        moto = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)

        def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            # werkzeug writes these two and so does moto; aiohttp in development mode refuses an answer with both.
            def start(
                status: str, headers: list[tuple[str, str]], error: OptExcInfo | None = None
            ) -> object:
                once = [
                    (name, value)
                    for name, value in headers
                    if name.lower() not in {"server", "date"}
                ]
                return start_response(status, once, error)

            answer: Iterable[bytes] = moto(environ, start)
            return answer

        logging.getLogger("werkzeug").setLevel(
            logging.ERROR
        )  # else it writes a line for each request
        server = serving.make_server(_HOST, 0, application, threaded=True)
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True
        )
        thread.start()
        print(json.dumps({"port": server.port}), file=stdout, flush=True)
        stdin.read()  # returns when the parent closes its end, or is gone
        server.shutdown()
        thread.join()


if __name__ == "__main__":
    _serve(sys.stdin, sys.stdout)
