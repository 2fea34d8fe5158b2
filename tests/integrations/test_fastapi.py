"""The tie to FastAPI and Starlette: the lifespan as servers run it, dependencies, the readiness route."""

import asyncio
import inspect
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import aiohttp
import pytest
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from aiocredentials import (
    AsyncCredentialsManager,
    CredentialsError,
    CredentialsPool,
    DatabaseCredentials,
    PoolClosedError,
    SecretFormatError,
    SecretNotFoundError,
)
from aiocredentials.events import Fetched, SecretEvent, fan_out
from aiocredentials.integrations import fastapi
from aiocredentials.integrations.fastapi import CredentialsState, credentials_lifespan, readiness, secret
from aiocredentials.integrations.opentelemetry import OpenTelemetryListener
from aiocredentials.testing import FakeSecretsManager, MotoServer
from server.stub import Answer, StubSecretsManager
from unit.fake_aws import CANARY, TTL, FakeAWS, pool_of

NAME = "prod/database"
CREDENTIALS = json.dumps({"username": "app", "password": CANARY, "host": "db.example"})
PREFETCH_FAILS = "1 of 1 secrets could not be fetched"


@dataclass(frozen=True)
class Password:
    """What a service makes of the fake's secret."""

    number: int

    @classmethod
    def from_json(cls, text: str) -> "Password":
        """Read it."""
        return cls(json.loads(text)["number"])


database = secret(NAME, Password.from_json)
Database = Annotated[Password, Depends(database)]


class World:
    """An app whose pool asks a fake, and a clock that stands until it is set."""

    def __init__(self) -> None:
        self.aws = FakeAWS(NAME, "prod/redis")
        self.now = 0.0
        self.app = FastAPI(lifespan=self.lifespan)

    @asynccontextmanager
    async def lifespan(self, app: Any) -> AsyncGenerator[CredentialsState]:  # noqa: ANN401 - of either framework
        """Give the app a pool that isn't the lifespan's own."""
        async with pool_of(self.aws, clock=lambda: self.now) as pool, credentials_lifespan(pool=pool)(app) as state:
            yield state


@pytest.fixture
def world() -> World:
    """An app without routes."""
    return World()


# Dependencies


def test_a_route_has_the_secret(world: World) -> None:
    """What `decode` makes arrives in the route, one object for all requests, by one fetch."""
    seen: list[Password] = []

    @world.app.get("/")
    async def route(credentials: Database) -> int:
        seen.append(credentials)
        return credentials.number

    with TestClient(world.app) as client:
        assert [client.get("/").json() for _ in range(3)] == [1, 1, 1]
    assert seen[0] is seen[1] is seen[2]
    assert world.aws.calls == [NAME]


def test_without_decode_it_is_the_json(world: World) -> None:
    """Without `decode`, each request has a dict of its own."""
    seen: list[Any] = []

    @world.app.get("/")
    async def route(fields: Annotated[dict[str, Any], Depends(secret("prod/redis"))]) -> None:
        seen.append(fields)

    with TestClient(world.app) as client:
        client.get("/")
        client.get("/")
    assert seen[0] == seen[1] == {"password": CANARY, "number": 1}
    assert seen[0] is not seen[1]


def test_the_secret_stays_current(world: World) -> None:
    """A request past the ttl has the new version."""

    @world.app.get("/")
    async def route(credentials: Database) -> int:
        return credentials.number

    with TestClient(world.app) as client:
        client.get("/")
        world.aws.rotate(NAME)
        assert client.get("/").json() == 1
        world.now = TTL
        assert client.get("/").json() == 2


def test_a_websocket_has_the_secret(world: World) -> None:
    """A websocket route takes the same dependency."""

    @world.app.websocket("/")
    async def route(socket: WebSocket, credentials: Database) -> None:
        await socket.accept()
        await socket.send_json(credentials.number)
        await socket.close()

    with TestClient(world.app) as client, client.websocket_connect("/") as socket:
        assert socket.receive_json() == 1


def test_equal_dependencies_are_one(world: World) -> None:
    """Dependencies made of equal arguments have equal hashes, share a manager, and are called once a request."""
    again = secret(NAME, Password.from_json)
    assert (again, hash(again)) == (database, hash(database))
    assert again is not database
    others = {
        secret(NAME),
        secret(NAME, Password.from_json, region_name="eu-west-2"),
        secret(NAME, Password.from_json, version_stage="AWSPREVIOUS"),
    }
    assert len(others | {database}) == 4
    calls: list[str] = []
    managers: list[AsyncCredentialsManager[Password]] = []

    def user(credentials: Annotated[Password, Depends(again)]) -> int:
        return credentials.number

    def fake() -> Password:
        calls.append("fake")
        return Password(42)

    @world.app.get("/")
    async def route(credentials: Database, number: Annotated[int, Depends(user)]) -> list[int]:
        return [credentials.number, number]

    @world.app.get("/managers")
    async def route_managers(request: Request) -> None:
        managers.extend([await database.manager(request), await again.manager(request)])

    with TestClient(world.app) as client:
        client.get("/managers")
        assert client.get("/").json() == [1, 1]
        world.app.dependency_overrides[again] = fake
        assert client.get("/").json() == [42, 42]
    assert calls == ["fake"]
    assert managers[0] is managers[1]


def test_override_needs_no_lifespan(world: World) -> None:
    """A test that overrides the dependency by its name needs neither a pool nor AWS."""

    @world.app.get("/")
    async def route(credentials: Database) -> int:
        return credentials.number

    world.app.dependency_overrides[database] = lambda: Password(7)
    assert TestClient(world.app).get("/").json() == 7
    assert world.aws.calls == []


def test_the_manager_is_a_dependency_too(world: World) -> None:
    """A route that must tell of a refused password has the manager, as typed as the secret."""

    @world.app.get("/")
    async def route(
        manager: Annotated[AsyncCredentialsManager[Password], Depends(database.manager)], credentials: Database
    ) -> bool:
        manager.invalidate(if_version="version-1")
        return await manager.get() == credentials

    with TestClient(world.app) as client:
        assert client.get("/").json() is True
    assert world.aws.calls == [NAME, NAME]


def test_region_and_stage_are_asked(world: World) -> None:
    """A dependency's own region and staging label are its manager's."""
    other = secret("prod/redis", region_name="eu-west-2", version_stage="AWSPENDING")

    @world.app.get("/")
    async def route(request: Request) -> list[Any]:
        found = await (await other.manager(request)).secret()
        return [found.region, found.version_stages]

    with TestClient(world.app) as client:
        assert client.get("/").json() == ["eu-west-2", ["AWSPENDING"]]


def test_an_error_is_the_apps_business(world: World) -> None:
    """No error handler is imposed: a `CredentialsError` comes out as it is, or goes to the app's own handler."""
    handlers = dict(FastAPI().exception_handlers)
    world.aws.failures[NAME] = "ResourceNotFoundException"

    @world.app.get("/")
    async def route(credentials: Database) -> int:
        return credentials.number

    with TestClient(world.app) as client:
        assert world.app.exception_handlers == handlers
        with pytest.raises(SecretNotFoundError, match="secret 'prod/database', region 'eu-west-1'"):
            client.get("/")

    @world.app.exception_handler(CredentialsError)
    async def unavailable(_: Request, error: CredentialsError) -> JSONResponse:
        return JSONResponse(type(error).__name__, 503)

    world.app.middleware_stack = None  # it was built for the first request, without the handler
    with TestClient(world.app) as client:
        assert (client.get("/").status_code, client.get("/").json()) == (503, "SecretNotFoundError")


def test_arguments_that_cannot_work_are_refused_at_once() -> None:
    """A dependency that can't work is refused where it is made."""
    with pytest.raises(ValueError, match="secret_name"):
        secret("")
    with pytest.raises(TypeError, match="decode isn't a plain function"):
        secret(NAME, 3)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="region_name"):
        secret(NAME, region_name="")
    with pytest.raises(ValueError, match="version_stage"):
        secret(NAME, version_stage="")


def test_nothing_shows_a_value(world: World) -> None:
    """Neither the dependency nor the state shows what was fetched, and the API's description knows neither."""

    @world.app.get("/")
    async def route(request: Request, credentials: Database) -> str:
        return f"{credentials.number} {request.state._state} {database}"

    with TestClient(world.app) as client:
        assert CANARY not in client.get("/").text + repr(client.app_state)
        assert NAME not in client.get("/openapi.json").text


# The lifespan


def test_without_the_lifespan() -> None:
    """Without the lifespan, or where nobody runs it, the error says what to do."""
    app = FastAPI()

    @app.get("/")
    async def route(credentials: Database) -> int:
        return credentials.number

    for client in (TestClient(app), TestClient(FastAPI(lifespan=credentials_lifespan(), routes=app.routes))):
        with pytest.raises(
            RuntimeError, match=r"give the app lifespan=credentials_lifespan\(\.\.\.\).*with TestClient"
        ):
            client.get("/")


def test_mounted_apps_and_routers(world: World) -> None:
    """A mounted app reads from the outer app's pool; a lifespan of its own wouldn't run, whatever it says."""
    inner = FastAPI(lifespan=credentials_lifespan())
    router = APIRouter()
    inner.mount("/deep", deep := FastAPI())
    world.app.mount("/inner", inner)

    @inner.get("/")
    @deep.get("/")
    @router.get("/router")
    async def route(credentials: Database) -> int:
        return credentials.number

    world.app.include_router(router)
    with TestClient(world.app) as client:
        assert [client.get(path).json() for path in ("/inner/", "/inner/deep/", "/router")] == [1, 1, 1]
    assert world.aws.calls == [NAME]
    outer = FastAPI()
    outer.mount("/inner", inner)
    with TestClient(outer) as client, pytest.raises(RuntimeError, match="of a mounted app"):
        client.get("/inner/")


def test_a_routers_lifespan(world: World) -> None:
    """A router brings its pool along: its lifespan becomes a part of the app's."""
    router = APIRouter(lifespan=world.lifespan)

    @router.get("/")
    async def route(credentials: Database) -> int:
        return credentials.number

    app = FastAPI()
    app.include_router(router)
    with TestClient(app) as client:
        assert client.get("/").json() == 1


def test_starlette_needs_no_depends(world: World) -> None:
    """In a Starlette endpoint, the dependency is called with the request."""

    async def route(request: Request) -> JSONResponse:
        return JSONResponse((await database(request)).number)

    app = Starlette(routes=[Route("/", route), Route("/ready", readiness(database=database))], lifespan=world.lifespan)
    with TestClient(app) as client:
        assert (client.get("/").json(), client.get("/ready").status_code) == (1, 200)


def test_composes_with_the_apps_own_lifespan() -> None:
    """The app's own lifespan runs inside of the pool's life, and what it yields is in the state too."""
    told: list[str] = []

    @asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        told.append(f"start {app.title}")
        yield {"greeting": "hello"}
        told.append("end")

    app = FastAPI(title="mine", lifespan=credentials_lifespan(region_name="eu-west-1", lifespan=own))

    @app.get("/")
    async def route(request: Request) -> list[str]:
        return [request.state.greeting, repr(request.state.credentials_pool)]

    with TestClient(app) as client:
        greeting, pool = client.get("/").json()
    assert (greeting, told) == ("hello", ["start mine", "end"])
    assert pool == "<CredentialsPool open>"


async def test_own_lifespan_ends_before_the_pool_closes(
    moto: MotoServer, create_secret: Callable[..., dict[str, Any]]
) -> None:
    """The pool is open as long as the app's own lifespan needs it, and refuses calls when that has ended."""
    create_secret(NAME, CREDENTIALS)
    used: list[str] = []
    manager: AsyncCredentialsManager[DatabaseCredentials] | None = None

    @asynccontextmanager
    async def own(_: object) -> AsyncIterator[None]:
        yield
        assert manager is not None
        used.append((await manager.get()).username)

    async with credentials_lifespan(endpoint_url=moto.url, lifespan=own)(FastAPI()) as state:
        manager = state["credentials_pool"].manager(NAME, decode=DatabaseCredentials.from_json)
    assert used == ["app"]
    with pytest.raises(PoolClosedError):
        await manager.get()


@asynccontextmanager
async def taking_our_name(_: object) -> AsyncGenerator[dict[str, Any]]:
    """Yield a name that is ours."""
    yield {"credentials_pool": None}


@asynccontextmanager
async def failing(_: object) -> AsyncGenerator[None]:
    """Fail at startup."""
    raise OSError("no database")
    yield


@pytest.mark.parametrize(
    ("own", "error"),
    [
        (taking_our_name, "yields credentials_pool, which credentials_lifespan uses: choose another name"),
        (failing, "no database"),
    ],
)
async def test_a_start_that_fails_closes_the_pool(
    own: Callable[[Any], AbstractAsyncContextManager[Any]], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the app can't start, the pool that was opened for it is closed."""
    pools: list[CredentialsPool] = []

    class Noted(CredentialsPool):
        async def open(self) -> None:
            pools.append(self)
            await super().open()

    monkeypatch.setattr(fastapi, "CredentialsPool", Noted)
    app = FastAPI(lifespan=credentials_lifespan(lifespan=own))
    with pytest.raises((RuntimeError, OSError), match=error):
        await start(app)
    (pool,) = pools
    with pytest.raises(PoolClosedError):
        await pool.manager(NAME).get()


async def start(app: FastAPI) -> None:
    """Start an app as a server does, and stop it."""
    async with app.router.lifespan_context(app):  # in TestClient, a start that fails leaks on the lowest Starlette
        pass


async def test_prefetch(moto: MotoServer, create_secret: Callable[..., dict[str, Any]]) -> None:
    """What is prefetched is there with the first request; the app doesn't start without it."""
    create_secret(NAME, CREDENTIALS)
    app = FastAPI(lifespan=credentials_lifespan(endpoint_url=moto.url, prefetch=iter([NAME])))
    for _ in range(2):  # an iterator serves each start of the app
        async with app.router.lifespan_context(app) as state:
            assert state is not None
            assert state["credentials_pool"].stats().entries == 1
    moto.reset()
    with pytest.RaisesGroup(SecretNotFoundError, match=PREFETCH_FAILS):
        await start(app)


def test_each_start_has_its_own_pool() -> None:
    """An app that is started again, by another test and in another loop, has another pool; the old one is closed."""
    app = FastAPI(lifespan=credentials_lifespan())
    pools: list[CredentialsPool] = []
    for _ in range(2):
        with TestClient(app) as client:
            pools.append(client.app_state["credentials_pool"])
    assert pools[0] is not pools[1]
    for pool in pools:
        with pytest.raises(PoolClosedError):
            asyncio.run(pool.manager(NAME).get())


async def test_a_pool_of_ones_own_stays_open() -> None:
    """A pool that is given is used, and neither opened nor closed."""
    async with pool_of(FakeAWS(NAME)) as pool:
        async with credentials_lifespan(pool=pool)(FastAPI()) as state:
            assert state["credentials_pool"] is pool
        assert (await pool.manager(NAME).get())["number"] == 1
    with pytest.raises(ValueError, match="pool= has its own settings: give region_name, timeout to the pool"):
        credentials_lifespan(pool=pool, region_name="eu-west-1", timeout=1)


def test_settings_that_cannot_work_are_refused_at_once() -> None:
    """What the pool would refuse is refused where it is written, not when the app starts."""
    with pytest.raises(ValueError, match="timeout"):
        credentials_lifespan(timeout=-1)
    with pytest.raises(TypeError, match="prefetch is a string"):
        credentials_lifespan(prefetch=NAME)
    with pytest.raises(TypeError, match="tll"):
        credentials_lifespan(tll=60)  # type: ignore[call-arg]

    async def own(_: object) -> AsyncIterator[None]:
        yield

    with pytest.raises(TypeError, match="put @asynccontextmanager on it"):
        credentials_lifespan(lifespan=own)  # type: ignore[arg-type]


def test_a_listener_hears_of_the_pool() -> None:
    """A listener among the settings gets the events of the app's pool, and learns when that opens and closes."""
    fake, reader = FakeSecretsManager({NAME: CREDENTIALS}), InMemoryMetricReader()
    telemetry = OpenTelemetryListener(meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    heard: list[SecretEvent] = []
    app = FastAPI(lifespan=credentials_lifespan(session=fake, listener=fan_out(telemetry, heard.append)))
    app.add_api_route("/ready", readiness(database=NAME))

    def requests() -> list[int]:
        data: Any = reader.get_metrics_data()
        metrics = [one for scope in data.resource_metrics[0].scope_metrics for one in scope.metrics]
        (counted,) = [one for one in metrics if one.name == "aiocredentials.requests"]
        return [point.value for point in counted.data.data_points]

    for start in (1, 2):
        with TestClient(app) as client:
            for _ in range(3):
                client.get("/ready")
        assert requests() == [2 * start, 0, start]
    assert [type(event) for event in heard] == [Fetched, Fetched]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_workers_that_are_forked() -> None:
    """An app that was made, and even ran, before its workers were forked has a pool of its own in each of them."""
    program = f"""
import os
from fastapi import FastAPI
from fastapi.testclient import TestClient
from aiocredentials.integrations.fastapi import credentials_lifespan, readiness
from aiocredentials.testing import FakeSecretsManager

fake = FakeSecretsManager({{"{NAME}": "value"}})
app = FastAPI(lifespan=credentials_lifespan(session=fake, prefetch=["{NAME}"]))
app.add_api_route("/ready", readiness(database="{NAME}"))

def run():
    with TestClient(app) as client:
        print(client.get("/ready").status_code, len(fake.calls), flush=True)

run()
for _ in range(2):
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
run()
"""
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=25)
    assert answer.stdout.split("\n") == ["200 1", "200 2", "200 2", "200 2", ""]


def test_settings_are_the_pools() -> None:
    """The lifespan takes what the pool takes."""
    assert list(fastapi.PoolSettings.__annotations__) == list(inspect.signature(CredentialsPool).parameters)


def test_public_names_have_docstrings() -> None:
    """Each public name says what it is."""
    assert fastapi.__all__ == sorted(fastapi.__all__)
    assert all(inspect.getdoc(getattr(fastapi, name)) for name in fastapi.__all__)


# Readiness


@pytest.fixture
def probed(world: World) -> Iterator[TestClient]:
    """A client of an app with a readiness route."""
    world.app.add_api_route("/ready", readiness(database=database, cache="prod/redis"))
    with TestClient(world.app) as client:
        yield client


def test_ready(world: World, probed: TestClient) -> None:
    """With a value of each secret the answer is 200; looking again costs no fetch; no proxy keeps the answer."""
    assert probed.get("/ready").status_code == 200
    world.now = 2.5
    answer = probed.get("/ready")
    assert answer.json() == {
        "ready": True,
        "secrets": {"database": {"state": "fresh", "age": 2.5}, "cache": {"state": "fresh", "age": 2.5}},
    }
    assert answer.headers["cache-control"] == "no-store"
    assert sorted(world.aws.calls) == [NAME, "prod/redis"]


def test_stale_is_ready(world: World, probed: TestClient) -> None:
    """During an outage a stale value is said to be stale, and the service stays ready."""
    probed.get("/ready")
    world.aws.failures["prod/redis"] = "ThrottlingException"
    world.now = TTL + 1
    answer = probed.get("/ready")
    assert answer.status_code == 200
    assert answer.json()["secrets"] == {
        "database": {"state": "fresh", "age": 0.0},
        "cache": {"state": "stale", "age": TTL + 1},
    }


def test_missing_is_not_ready(world: World, probed: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Without a value the answer is 503. A probe in between asks nobody; the log says why, once for each reason."""
    caplog.set_level(logging.WARNING)
    world.aws.failures["prod/redis"] = "ResourceNotFoundException"
    answers = [probed.get("/ready") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert answers[0].json() == {
        "ready": False,
        "secrets": {"database": {"state": "fresh", "age": 0.0}, "cache": {"state": "missing", "age": None}},
    }
    assert world.aws.calls.count("prod/redis") == 1  # the failure is remembered
    (record,) = caplog.records
    assert re.match(
        r"Not ready: no usable value for cache. SecretNotFoundError: .* Asked: secret 'prod/redis'", record.getMessage()
    )
    world.now = 10.0
    world.aws.failures["prod/redis"] = "AccessDeniedException"
    assert probed.get("/ready").status_code == 503
    assert "AccessDeniedError" in caplog.records[1].getMessage()
    world.now = 20.0
    world.aws.failures.clear()
    assert probed.get("/ready").status_code == 200
    assert len(caplog.records) == 2


def test_reasons_in_turn(world: World, probed: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Reasons that alternate, as in an outage, are logged once each until there is a value."""
    caplog.set_level(logging.WARNING)
    for code in ["ThrottlingException", "InternalServiceError"] * 3:
        world.aws.failures["prod/redis"] = code
        assert probed.get("/ready").status_code == 503
    assert len(caplog.records) == 2


def test_probes_learn_little(world: World, probed: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever probes sees no value, no name in AWS, no version and no reason; the log has no value either."""
    texts = [probed.get("/ready").text]
    world.now = 10 * TTL
    world.aws.failures["GetSecretValue"] = "AccessDeniedException"
    texts.append(probed.get("/ready").text)
    for word in (CANARY, "prod", "version", "arn", "Denied", "eu-west-1"):
        assert word not in "".join(texts)
    assert CANARY not in caplog.text


def test_probing_reads_as_routes_do(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A value that no route could use is missing, and the probe shows no reason; the log has it, without the value."""
    refused = secret(NAME, int)
    world.app.add_api_route("/ready", readiness(database=refused, text=NAME))

    @world.app.get("/")
    async def route(number: Annotated[int, Depends(refused)]) -> int:
        return number

    with TestClient(world.app) as client:
        for _ in range(2):
            answer = client.get("/ready")
            assert (answer.status_code, answer.json()["secrets"]) == (
                503,
                {"database": {"state": "missing", "age": None}, "text": {"state": "fresh", "age": 0.0}},
            )
        with pytest.raises(SecretFormatError):
            client.get("/")
    (record,) = caplog.records
    assert "no usable value for database. SecretFormatError" in record.getMessage()
    assert CANARY not in caplog.text


def test_probing_decodes_once_per_version(world: World) -> None:
    """Probes decode each version once, and find out when a rotation brings one that the app can't use."""
    seen: list[int] = []

    def decode(text: str) -> int:
        number = json.loads(text)["number"]
        seen.append(number)
        if number == 2:
            raise ValueError(text)
        return int(number)

    world.app.add_api_route("/ready", readiness(database=secret(NAME, decode)))
    with TestClient(world.app) as client:
        assert [client.get("/ready").status_code for _ in range(3)] == [200] * 3
        world.aws.rotate(NAME)
        world.now = TTL
        assert [client.get("/ready").status_code for _ in range(2)] == [503] * 2
        world.aws.rotate(NAME)
        world.now = 2 * TTL
        assert client.get("/ready").json()["secrets"] == {"database": {"state": "fresh", "age": 0.0}}
    assert seen == [1, 2, 2, 3]


def test_without_decode_probes_parse_the_json() -> None:
    """A dependency without `decode` gives routes the parsed JSON: text that isn't JSON is missing for them."""
    fake = FakeSecretsManager({NAME: "plain text"})
    app = FastAPI(lifespan=credentials_lifespan(session=fake))
    app.add_api_route("/ready", readiness(database=secret(NAME), text=secret(NAME, str), name=NAME))
    with TestClient(app) as client:
        secrets = client.get("/ready").json()["secrets"]
    assert {label: one["state"] for label, one in secrets.items()} == {
        "database": "missing",
        "text": "fresh",
        "name": "fresh",
    }


def test_a_closed_pool_is_not_ready() -> None:
    """A probe that comes when the pool has been closed is told that the secrets are missing."""
    app = FastAPI(lifespan=credentials_lifespan(pool=CredentialsPool()))
    app.add_api_route("/ready", readiness(database=NAME))
    with TestClient(app) as client:
        assert client.get("/ready").json()["secrets"] == {"database": {"state": "missing", "age": None}}


def test_readiness_needs_the_lifespan_and_a_secret() -> None:
    """Readiness without a pool is a mistake in the program, not a missing secret; so is readiness of nothing."""
    app = FastAPI()
    app.add_api_route("/ready", readiness(database=NAME))
    with TestClient(app) as client, pytest.raises(RuntimeError, match="credentials_lifespan"):
        client.get("/ready")
    with pytest.raises(TypeError, match="name each"):
        readiness()
    with pytest.raises(ValueError, match="secret_name"):
        readiness(database="")


# A server


async def test_over_a_socket(stub: StubSecretsManager) -> None:
    """Behind a real server, fifty requests at once cost one call to AWS, and shutting down closes the pool."""
    stub.secrets[NAME] = CREDENTIALS
    gate = asyncio.Event()
    stub.handler = lambda _: Answer(gate=gate)
    arrived = asyncio.Semaphore(0)
    app = FastAPI(lifespan=credentials_lifespan(endpoint_url=stub.url))
    app.add_api_route("/ready", readiness(database=NAME))

    async def note() -> None:
        arrived.release()

    @app.get("/", dependencies=[Depends(note)])
    async def route(
        credentials: Annotated[DatabaseCredentials, Depends(secret(NAME, DatabaseCredentials.from_json))],
    ) -> str:
        return credentials.username

    async with serve(app) as (url, server), aiohttp.ClientSession(url) as session:

        async def ask(path: str) -> tuple[int, Any]:
            async with session.get(path) as answer:
                return answer.status, await answer.json()

        asking = [asyncio.create_task(ask("/")) for _ in range(50)]
        for _ in asking:
            await arrived.acquire()
        gate.set()
        assert await asyncio.gather(*asking) == [(200, "app")] * 50
        status, ready = await ask("/ready")
        assert (status, ready["secrets"]["database"]["state"]) == (200, "fresh")
        assert [request.target for request in stub.requests] == ["GetSecretValue"]
        pool: CredentialsPool = server.lifespan.state["credentials_pool"]
    with pytest.raises(PoolClosedError):
        await pool.manager(NAME).get()


@asynccontextmanager
async def serve(app: FastAPI) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """Run an app under uvicorn, in this loop: what `uvicorn.run` does, without its signals and its waiting."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}", server
    finally:
        await server.shutdown()
