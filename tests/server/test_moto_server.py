"""The server that the other tests stand on."""

from __future__ import annotations

import http.client
import io
import json
import os
import runpy
import socket
import subprocess
import sys
import threading
import types
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from aiocredentials.testing import MotoServer, _moto

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIEnvironment

# moto routes by the service in the signature's scope.
GET = {
    "X-Amz-Target": "secretsmanager.GetSecretValue",
    "Content-Type": "application/x-amz-json-1.1",
    "Authorization": "AWS4-HMAC-SHA256 Credential=testing/20260101/us-east-1/secretsmanager/aws4_request",
}


def port_of(server: MotoServer) -> int:
    """The port that it listens on."""
    return int(server.url.rpartition(":")[2])


def is_gone(connection: socket.socket) -> bool:
    """Wait for the other end to close, which a process does when it ends, whatever ended it."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def fake_moto(monkeypatch: pytest.MonkeyPatch, application: Callable[..., Any]) -> None:
    """Put an application in moto's place, since importing the real one changes botocore for the whole process."""
    package, server = types.ModuleType("moto"), types.ModuleType("moto.server")
    vars(server).update(create_backend_app=None, DomainDispatcherApplication=lambda _: application)
    monkeypatch.setitem(sys.modules, "moto", package)
    monkeypatch.setitem(sys.modules, "moto.server", server)


async def test_answers(moto: MotoServer, create_secret: Callable[..., Any]) -> None:
    """A secret that was created is there for an aiobotocore client, which moto's mocks can't offer."""
    create_secret("prod/text", "value")
    create_secret("prod/bytes", b"\xff\x00")
    async with get_session().create_client("secretsmanager", "us-east-1", endpoint_url=moto.url) as client:
        text = await client.get_secret_value(SecretId="prod/text")
        data = await client.get_secret_value(SecretId="prod/bytes")
    assert (text["SecretString"], data["SecretBinary"]) == ("value", b"\xff\x00")


async def test_reset_forgets(moto: MotoServer, create_secret: Callable[..., Any]) -> None:
    """After a reset no region has a secret."""
    for region in ("us-east-1", "eu-west-1"):
        create_secret("prod/text", "value", region)
    moto.reset()
    for region in ("us-east-1", "eu-west-1"):
        async with get_session().create_client("secretsmanager", region, endpoint_url=moto.url) as client:
            with pytest.raises(ClientError, match="ResourceNotFoundException"):
                await client.get_secret_value(SecretId="prod/text")


def test_regions_are_apart(create_secret: Callable[..., Any], secrets_client: Callable[..., Any]) -> None:
    """A secret of one region isn't in another, and a region that botocore doesn't know is served too."""
    create_secret("prod/text", "value", "us-east-9")
    assert secrets_client("us-east-9").get_secret_value(SecretId="prod/text")["SecretString"] == "value"
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        secrets_client("eu-west-1").get_secret_value(SecretId="prod/text")


async def test_the_environment_is_enough(moto_environment: MotoServer, create_secret: Callable[..., Any]) -> None:
    """With `environment()` set a client needs neither an endpoint nor credentials."""
    assert moto_environment.environment()["AWS_ENDPOINT_URL_SECRETS_MANAGER"] == moto_environment.url
    create_secret("prod/text", "value")
    async with get_session().create_client("secretsmanager", "us-east-1") as client:
        assert (await client.get_secret_value(SecretId="prod/text"))["SecretString"] == "value"


def test_proxies_are_passed_by(moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment doesn't catch a reset, and `environment()` keeps exemptions that were there."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    moto.reset()
    assert moto.environment()["no_proxy"] == "127.0.0.1"
    monkeypatch.setenv("NO_PROXY", "internal.example")
    assert moto.environment()["NO_PROXY"] == "internal.example,127.0.0.1"


def test_start_and_stop_are_idempotent() -> None:
    """A second start or stop does nothing, and a server that was stopped can be started again."""
    server = MotoServer(start_timeout=timedelta(seconds=30))
    server.stop()
    assert server.start() is server
    url = server.url
    assert server.start().url == url
    server.stop()
    server.stop()
    with server:
        server.reset()


def test_stop_ends_the_child() -> None:
    """After stop nothing listens, and every use says what to do."""
    with MotoServer() as server:
        port = port_of(server)
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    with connection:
        assert is_gone(connection)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    for use in (lambda: server.url, server.reset, server.environment):
        with pytest.raises(RuntimeError, match=r"isn't running.*call start\(\)"):
            use()


def test_the_child_dies_with_its_parent() -> None:
    """A parent that is killed, and so can't clean up, leaves no server behind; it starts where warnings are errors."""
    program = (
        "import runpy, sys\n"
        f"server = runpy.run_path({_moto.__file__!r})['MotoServer']().start()\n"
        "foreign = {'moto', 'pytest', 'aioboto3', 'botocore'} & set(sys.modules)\n"
        "print(server.url.rpartition(':')[2], *foreign, flush=True)\n"
        "sys.stdin.read()\n"
    )
    # PYTHONWARNINGS, unlike -W, would reach the child too.
    environment = os.environ | {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        port, *foreign = parent.stdout.readline().split()
        with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as connection:
            parent.kill()
            assert is_gone(connection)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)), timeout=10).close()
    assert not foreign, "importing the module imported these too"


def test_many_requests(moto: MotoServer) -> None:
    """Its log can't block it: what these requests would write to a request log is more than a pipe holds."""
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port_of(moto), timeout=10)
        connection.request("POST", f"/?{'x' * 1000}", body='{"SecretId": "missing"}', headers=GET)
        assert connection.getresponse().status == HTTPStatus.NOT_FOUND
        connection.close()


def test_headers_are_sent_once(moto: MotoServer) -> None:
    """No answer has a header twice: aiohttp refuses a second `Server` in Python's development mode."""
    for path, body in (("/", '{"SecretId": "missing"}'), ("/moto-api/reset", "")):
        connection = http.client.HTTPConnection("127.0.0.1", port_of(moto), timeout=10)
        connection.request("POST", path, body=body, headers=GET if body else {})
        names = [name.lower() for name, _ in connection.getresponse().getheaders()]
        connection.close()
        assert sorted(set(names)) == sorted(names)
        assert "server" in names


@pytest.mark.parametrize("module", ["moto", "flask", "flask_cors"])
def test_without_moto(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """Where moto, or its server's half, isn't installed, the error says what to install."""
    monkeypatch.setitem(sys.modules, module, None)
    sentence = f"MotoServer needs {module}: install aiocredentials with the extra 'testing'"
    with pytest.raises(ModuleNotFoundError, match=sentence), MotoServer():
        pass


def test_a_child_that_dies_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child that ends at its start leaves its last words in the error, and the server isn't running."""
    (tmp_path / "moto.py").write_text("raise SystemExit('moto is out of order')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = MotoServer()
    with pytest.raises(RuntimeError, match=r"exit code 1\).*moto is out of order"):
        server.start()
    with pytest.raises(RuntimeError, match="isn't running"):
        server.reset()


def test_a_silent_child_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child that never reports its port is given up after `start_timeout`, and ended."""
    (tmp_path / "moto.py").write_text("import threading; threading.Event().wait()", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"within 0\.1 s.*standard error: empty"):
        MotoServer(start_timeout=0.1).start()


def test_the_program_of_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child reports its port alone, whatever is printed, and ends at the end of its standard input."""
    removed = ("Server", "moto"), ("Date", "yesterday")

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        print("noise")  # noqa: T201 - that is what is tested
        start_response("200 OK", [*removed, ("Content-Length", "2")])
        return [b"ok"]

    fake_moto(monkeypatch, application)
    read, write = os.pipe()
    report_read, report_write = os.pipe()
    errors = io.StringIO()
    with (
        os.fdopen(read) as stdin,
        os.fdopen(write, "w") as hold,
        os.fdopen(report_read) as report,
        os.fdopen(report_write, "w") as stdout,
    ):
        for name, stream in {"stdin": stdin, "stdout": stdout, "stderr": errors}.items():
            monkeypatch.setattr(sys, name, stream)
        child = threading.Thread(target=runpy.run_path, args=(_moto.__file__,), kwargs={"run_name": "__main__"})
        child.start()
        connection = http.client.HTTPConnection("127.0.0.1", json.loads(report.readline())["port"], timeout=10)
        connection.request("GET", "/")
        response = connection.getresponse()
        assert (response.read(), response.headers.get_all("Server")) == (b"ok", [response.headers["Server"]])
        assert not set(removed) & set(response.getheaders())
        connection.close()
        hold.close()
        child.join(10)
        assert not child.is_alive()
        stdout.close()
        assert report.read() == ""
    assert errors.getvalue() == "noise\n"


def test_a_failed_reset_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset that the server refuses is an error, not a test that starts with another's secrets."""
    refusal = types.SimpleNamespace(status=HTTPStatus.INTERNAL_SERVER_ERROR)
    monkeypatch.setattr(http.client.HTTPConnection, "request", lambda *_: None)
    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", lambda _: refusal)
    with MotoServer() as server, pytest.raises(RuntimeError, match="status 500"):
        server.reset()
