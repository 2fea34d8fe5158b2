"""A FastAPI service that reads its database's credentials from Secrets Manager.

    python -m pip install ".[fastapi]" uvicorn
    python -m uvicorn --app-dir examples fastapi_app:app

It asks for the secret "prod/database", in the region and with the AWS credentials that the environment has. To ask
another server than AWS, set AWS_ENDPOINT_URL_SECRETS_MANAGER to its address.
"""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, TypedDict

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from aiocredentials import AsyncCredentialsManager, CredentialsError, CredentialsPool

logger = logging.getLogger("fastapi_app")


@dataclass(frozen=True, slots=True)
class Database:
    """What the service needs of the secret; its repr leaves the password out."""

    host: str
    username: str
    password: str = field(repr=False)

    @classmethod
    def from_json(cls, text: str) -> "Database":
        """Make it of the JSON that AWS keeps for a database."""
        fields = json.loads(text)
        return cls(host=fields["host"], username=fields["username"], password=fields["password"])


class State(TypedDict):
    """What a request finds in `request.state`."""

    database: AsyncCredentialsManager[Database]


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[State]:
    """Open one pool for the life of the service; it closes when the service stops."""
    async with CredentialsPool() as pool:
        yield {"database": pool.manager("prod/database", decode=Database.from_json)}


async def current(request: Request) -> Database:
    """Return the credentials as they are now: from memory, or by a fetch when those in memory are too old."""
    manager: AsyncCredentialsManager[Database] = request.state.database
    return await manager.get()


app = FastAPI(title="aiocredentials example", lifespan=lifespan)


@app.exception_handler(CredentialsError)
async def unavailable(_: Request, error: CredentialsError) -> JSONResponse:
    """Answer 503: the log says which secret, which region and what to do; the client needn't know."""
    logger.error("%s: %s", type(error).__name__, error)
    headers = {"Retry-After": "5"} if error.transient else None
    return JSONResponse({"detail": "The database's credentials aren't available."}, 503, headers)


@app.get("/database")
async def database(credentials: Annotated[Database, Depends(current)]) -> dict[str, str]:
    """Say where and as whom the service would connect; the password stays inside."""
    return {"host": credentials.host, "username": credentials.username}
