"""A FastAPI service that reads its database credentials from Secrets Manager.

    python -m pip install ".[fastapi]" uvicorn
    python -m uvicorn --app-dir examples fastapi_app:app

The secret is "prod/database". Its region and the AWS credentials come from the environment. To
read from another server than AWS, set AWS_ENDPOINT_URL_SECRETS_MANAGER to its address.
"""

import logging
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from aiocredentials import CredentialsError, DatabaseCredentials
from aiocredentials.integrations.fastapi import credentials_lifespan, readiness, secret

logger = logging.getLogger("fastapi_app")

# A test replaces this dependency by `app.dependency_overrides[database] = lambda: ...`.
database = secret("prod/database", DatabaseCredentials.from_json)

# The lifespan opens one pool when the service starts, and closes it when the service stops.
app = FastAPI(title="aiocredentials example", lifespan=credentials_lifespan())

# For the load balancer: the status is 200 while the credentials are available, otherwise 503. The
# answer has the word "database", and no value.
app.add_api_route("/ready", readiness(database=database))


@app.exception_handler(CredentialsError)
async def answer_unavailable(_: Request, error: CredentialsError) -> JSONResponse:
    """Answer 503. The log gets the secret, the region and the advice; the client doesn't."""
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
    """Return the host and the user of the database, but not the password."""
    return {"host": credentials.host, "username": credentials.username}
