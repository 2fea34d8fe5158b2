"""A FastAPI service that reads its database's credentials from Secrets Manager.

    python -m pip install ".[fastapi]" uvicorn
    python -m uvicorn --app-dir examples fastapi_app:app

It asks for the secret "prod/database", in the region and with the AWS credentials that the environment has. To ask
another server than AWS, set AWS_ENDPOINT_URL_SECRETS_MANAGER to its address.
"""

import logging
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from aiocredentials import CredentialsError, DatabaseCredentials
from aiocredentials.integrations.fastapi import credentials_lifespan, readiness, secret

logger = logging.getLogger("fastapi_app")

# Named, so that a test replaces it: app.dependency_overrides[database] = lambda: DatabaseCredentials(...)
database = secret("prod/database", DatabaseCredentials.from_json)

# One pool for the life of the service: it opens when the service starts, and closes when it stops.
app = FastAPI(title="aiocredentials example", lifespan=credentials_lifespan())

# For the load balancer: 200 while there are credentials, else 503. It shows the word "database", and no value.
app.add_api_route("/ready", readiness(database=database))


@app.exception_handler(CredentialsError)
async def unavailable(_: Request, error: CredentialsError) -> JSONResponse:
    """Answer 503: the log says which secret, which region and what to do; the client needn't know."""
    logger.error("%s: %s", type(error).__name__, error)
    headers = {"Retry-After": "5"} if error.transient else None
    return JSONResponse({"detail": "The database's credentials aren't available."}, 503, headers)


@app.get("/database")
async def where(
    credentials: Annotated[DatabaseCredentials, Depends(database)],
) -> dict[str, str | None]:
    """Say where and as whom the service would connect; the password stays inside."""
    return {"host": credentials.host, "username": credentials.username}
