"""A FastAPI service that reads the credentials of its database from Secrets Manager.

    python -m pip install ".[fastapi]" uvicorn
    python -m uvicorn --app-dir examples fastapi_app:app

The secret is "prod/database". Its region and the AWS credentials come from the environment. To
fetch it from another server than AWS, set AWS_ENDPOINT_URL_SECRETS_MANAGER to the server's address.
"""

import logging
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from aiocredentials import CredentialsError, DatabaseCredentials
from aiocredentials.integrations.fastapi import credentials_lifespan, readiness, secret

logger = logging.getLogger("fastapi_app")

# Tests replace this dependency by `app.dependency_overrides[database] = lambda: ...`.
database = secret("prod/database", DatabaseCredentials.from_json)

# The lifespan opens one pool when the service starts, and closes it when the service stops.
app = FastAPI(title="aiocredentials example", lifespan=credentials_lifespan())

# For the load balancer: the answer is 200 while the credentials are available, else 503. It holds
# the word "database" and no value.
app.add_api_route("/ready", readiness(database=database))


@app.exception_handler(CredentialsError)
async def answer_unavailable(_: Request, error: CredentialsError) -> JSONResponse:
    """Answer 503. The log gets the secret, the region and the advice; the client needs none."""
    logger.error("%s: %s", type(error).__name__, error)

    headers = {}
    if error.transient:
        headers["Retry-After"] = "5"

    body = {"detail": "The database's credentials aren't available."}
    return JSONResponse(body, status_code=503, headers=headers)


@app.get("/database")
async def show_database(
    credentials: Annotated[DatabaseCredentials, Depends(database)],
) -> dict[str, str | None]:
    """Return where the service would connect, and as which user, but not the password."""
    return {"host": credentials.host, "username": credentials.username}
