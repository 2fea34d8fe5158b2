"""Never run: mypy and pyright read it, and so hold the types of the tie to FastAPI and Starlette."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, assert_type

from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from aiocredentials import AsyncCredentialsManager, CachePolicy, CredentialsPool, DatabaseCredentials
from aiocredentials.integrations.fastapi import (
    CredentialsState,
    SecretDependency,
    credentials_lifespan,
    readiness,
    secret,
)

database = secret("prod/database", DatabaseCredentials.from_json)
assert_type(database, SecretDependency[DatabaseCredentials])
assert_type(secret("prod/redis"), SecretDependency[Any])
assert_type(secret("prod/port", int, region_name="eu-west-1", version_stage="AWSPENDING"), SecretDependency[int])
assert_type(secret("prod/keystore", bytes.hex, binary=True), SecretDependency[str])
named: SecretDependency[DatabaseCredentials] = secret("prod/database", DatabaseCredentials.from_json)


class State(CredentialsState):
    """What the lifespan of an app yields that has more than a pool."""

    port: int


@asynccontextmanager
async def own(app: FastAPI) -> AsyncGenerator[Mapping[str, Any]]:
    """Be a lifespan with a state."""
    yield {"title": app.title}


@asynccontextmanager
async def without_state(_: FastAPI) -> AsyncGenerator[None]:
    """Be a lifespan without one."""
    yield


@asynccontextmanager
async def around(app: FastAPI) -> AsyncGenerator[State]:
    """Open the pool inside of an own lifespan."""
    async with credentials_lifespan(region_name="eu-west-1")(app) as state:
        assert_type(state["credentials_pool"], CredentialsPool)
        port = await state["credentials_pool"].manager("prod/port", decode=int).get()
        yield {**state, "port": port}


assert_type(credentials_lifespan(), Callable[[Any], AbstractAsyncContextManager[CredentialsState]])
app = FastAPI(
    lifespan=credentials_lifespan(
        region_name="eu-west-1",
        timeout=timedelta(seconds=3),
        policy=CachePolicy(ttl=60),
        prefetch=["prod/database"],
        listener=print,
        role_arn="arn:aws:iam::123456789012:role/reader",
        external_id="1234",
        role_session_name="orders",
        lifespan=own,
    )
)
FastAPI(lifespan=credentials_lifespan(lifespan=without_state))
FastAPI(lifespan=around)
APIRouter(lifespan=credentials_lifespan(pool=CredentialsPool()))
FastAPI(lifespan=credentials_lifespan(rotation_queue="https://queues.example/1/rotations", rotation_spread=20))
FastAPI(lifespan=credentials_lifespan(rotation_queue=None, rotation_spread=timedelta(seconds=20)))


@app.get("/users")
async def users(
    credentials: Annotated[DatabaseCredentials, Depends(secret("prod/database", DatabaseCredentials.from_json))],
    manager: Annotated[AsyncCredentialsManager[DatabaseCredentials], Depends(database.manager)],
) -> dict[str, str]:
    """Have a secret by annotation."""
    manager.invalidate()
    return {"user": credentials.username}


@app.websocket("/feed")
async def feed(socket: WebSocket, credentials: Annotated[DatabaseCredentials, Depends(database)]) -> None:
    """Have a secret in a websocket route."""
    await socket.send_text(credentials.username)


async def call(connection: HTTPConnection) -> None:
    """The type of what `decode` makes is the type of the dependency's result."""
    assert_type(await database(connection), DatabaseCredentials)
    assert_type(await secret("prod/redis")(connection), Any)
    assert_type(await database.manager(connection), AsyncCredentialsManager[DatabaseCredentials])


ready = readiness(database=database, redis="prod/redis")
assert_type(ready, Callable[[Request], Coroutine[Any, Any, JSONResponse]])
app.add_api_route("/ready", ready)
Starlette(routes=[Route("/ready", ready)], lifespan=credentials_lifespan())


def misuse() -> None:
    """What would be refused, type checkers refuse before."""
    secret(1)  # type: ignore[call-overload]
    secret("x", "not a function")  # type: ignore[call-overload]
    secret("x", bytes.hex)  # type: ignore[arg-type]
    secret("x", str.upper, binary=True)  # type: ignore[call-overload]
    secret("x", binary=True)  # type: ignore[call-overload]
    database.secret_name = "x"  # type: ignore[misc]
    readiness("prod/database")  # type: ignore[call-arg]
    credentials_lifespan(ttl=60)  # type: ignore[call-arg]
    credentials_lifespan(rotation_spread="20")  # type: ignore[arg-type]
