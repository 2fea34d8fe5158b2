"""The examples are run as they are: the script as a process, the app through its lifespan and by a server."""

from __future__ import annotations

import http.client
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.testclient import TestClient

from aiocredentials import DatabaseCredentials, PoolClosedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("moto_environment")

EXAMPLES = Path(__file__).parent.parent / "examples"
DATABASE = {"host": "db.example", "username": "app", "password": "mock_password"}

# Runs the script that it is given, and complains of each address that isn't loopback's.
GUARD = """
import runpy, sys

def audit(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        host = arguments[1][0] if event == "socket.connect" else arguments[0]
        if host != "127.0.0.1":
            print(event, host, file=sys.stderr)

sys.addaudithook(audit)
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture(scope="module")
def quickstart() -> str:
    """What the quickstart prints to somebody whose environment is full of settings of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "a-profile-that-is-not-there")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", GUARD, EXAMPLES / "quickstart.py"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ('AsyncCredentialsManager("mock_secret").retrieve_secret_string()', "{'mock_secret_key': 'mock_secret_value'}"),
        ("manager.retrieve_secret_string()  # opens the client", "{'mock_secret_key': 'mock_secret_value'}"),
        ("manager.retrieve_secret_string()  # from memory", "{'mock_secret_key': 'mock_secret_value'}"),
        ("manager.refresh()  # fetches; a Secret doesn't show its value", "<Secret 'mock_secret' "),
        ("100 x manager.secret(), after manager.invalidate()", "100 answers from 1 fetch"),
        ('pool.manager("mock_secrt").get()', "SecretNotFoundError: "),
        ('pool.manager("mock_secret", "eu-west-1").get()', "SecretNotFoundError: "),
        ('pool.manager("mock_secret", "us_east_1").get()', "InvalidRegionError: AWS has no region 'us_east_1' "),
    ],
)
def test_quickstart_shows_call_time_and_outcome(quickstart: str, call: str, outcome: str) -> None:
    """The quickstart prints each call with its milliseconds, and below it what came of it."""
    assert re.search(rf"^ *\d+\.\d\d ms  {re.escape(call)}\n +{re.escape(outcome)}", quickstart, re.MULTILINE)


def test_quickstart_shows_what_an_error_says(quickstart: str) -> None:
    """The errors in the quickstart name the secret, the region and where it came from, and say what to do."""
    text = " ".join(quickstart.split())
    assert "Secrets Manager can't find the specified secret. Asked: secret 'mock_secrt', region 'us-east-1'" in text
    assert "secret 'mock_secret', region 'eu-west-1' (from the region_name argument)" in text
    assert "a wrong region is the usual reason." in text
    assert "did you mean 'us-east-1'?" in text


@pytest.fixture
def example() -> ModuleType:
    """The module of the FastAPI example, new for each test."""
    spec = importlib.util.spec_from_file_location("fastapi_app", EXAMPLES / "fastapi_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fastapi_app_answers_without_the_password(
    example: ModuleType, create_secret: Callable[..., dict[str, Any]]
) -> None:
    """The route tells host and user name, and the password is in no part of the answer."""
    create_secret("prod/database", json.dumps(DATABASE))
    with TestClient(example.app) as client:
        answer = client.get("/database")
    assert (answer.status_code, answer.json()) == (200, {"host": "db.example", "username": "app"})
    assert DATABASE["password"] not in f"{answer.text} {answer.headers}"


def test_fastapi_app_logs_and_hides_what_went_wrong(example: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    """Without the secret, the client gets a plain 503, and the log has the sentence that says what to do."""
    with TestClient(example.app) as client:
        answer = client.get("/database")
    assert answer.status_code == 503
    assert answer.json() == {"detail": "The database's credentials aren't available."}
    assert "retry-after" not in answer.headers
    assert "SecretNotFoundError" in caplog.text
    assert "secret 'prod/database', region 'us-east-1'" in caplog.text


def test_fastapi_app_asks_to_come_back_after_a_transient_error(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When Secrets Manager can't be reached, the 503 says when to try again."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    with TestClient(example.app) as client:
        answer = client.get("/database")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def test_fastapi_app_says_whether_it_is_ready(
    example: ModuleType, create_secret: Callable[..., dict[str, Any]]
) -> None:
    """The readiness route says 503 until the secret is there, and shows nothing of it."""
    with TestClient(example.app) as client:
        assert client.get("/ready").status_code == 503
    create_secret("prod/database", json.dumps(DATABASE))
    with TestClient(example.app) as client:
        answer = client.get("/ready")
    assert (answer.status_code, answer.json()["secrets"]["database"]["state"]) == (200, "fresh")
    assert DATABASE["password"] not in answer.text


def test_fastapi_app_can_be_tested_without_aws(example: ModuleType) -> None:
    """The dependency has a name, so that a test puts credentials of its own in its place."""
    fake = DatabaseCredentials(host="fake.example", username="tester", password="mock_password")
    example.app.dependency_overrides[example.database] = lambda: fake
    answer = TestClient(example.app).get("/database")
    assert answer.json() == {"host": "fake.example", "username": "tester"}


async def test_fastapi_app_closes_its_pool(example: ModuleType, create_secret: Callable[..., dict[str, Any]]) -> None:
    """The pool lives as long as the app's lifespan, and refuses calls after it."""
    create_secret("prod/database", json.dumps(DATABASE))
    async with example.app.router.lifespan_context(example.app) as state:
        manager = state["credentials_pool"].manager("prod/database", decode=DatabaseCredentials.from_json)
        credentials = await manager.get()
    assert credentials.username == "app"
    assert DATABASE["password"] not in repr(credentials)
    with pytest.raises(PoolClosedError):
        await manager.get()


def test_fastapi_app_runs_under_uvicorn(create_secret: Callable[..., dict[str, Any]]) -> None:
    """The command in the example's docstring serves it, and ends it in order."""
    create_secret("prod/database", json.dumps(DATABASE))
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(EXAMPLES), "fastapi_app:app"]
    assert " ".join(command[1:]).replace(str(EXAMPLES), "examples") in (EXAMPLES / "fastapi_app.py").read_text()
    with subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            log = ""
            while (running := re.search(r"running on http://127\.0\.0\.1:(\d+)", log)) is None:
                line = server.stderr.readline()
                assert line, f"uvicorn has ended: {log}"
                log += line
            connection = http.client.HTTPConnection("127.0.0.1", int(running[1]))
            connection.request("GET", "/database")
            answer = json.load(connection.getresponse())
            connection.close()
        finally:
            server.terminate()
        assert answer == {"host": "db.example", "username": "app"}
        assert "Application shutdown complete" in server.stderr.read()
