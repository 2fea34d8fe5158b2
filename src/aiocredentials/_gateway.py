"""The only code that speaks Secrets Manager's API: a request in, a `Secret` or one of our errors out."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocredentials._loops import running_loop
from aiocredentials._secret import Secret
from aiocredentials._session import ClientSource, Region, known_regions, wrong_region
from aiocredentials.errors import (
    CredentialsError,
    EndpointUnreachableError,
    MalformedResponseError,
    PoolClosedError,
    describe,
    map_client_errors,
    map_error,
    unresolved,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger("aiocredentials")

_ARN = re.compile(r"arn:[^:]+:secretsmanager:(?P<region>[^:]+):[^:]*:secret:.+")
# AWS adds a hyphen and six random characters to the name (API reference, CreateSecret); a partial ARN leaves them out.
_ARN_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")


class SecretRequest(NamedTuple):
    """Which version of which secret; the region is None where the client's default is meant."""

    secret_name: str
    region: Region | None = None
    version_id: str | None = None
    version_stage: str | None = "AWSCURRENT"

    @property
    def key(self) -> tuple[str, str | None, str | None, str | None]:
        """The cache's key: without where the region came from, which is for people."""
        return (self.secret_name, self.region.name if self.region else None, self.version_id, self.version_stage)

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the call."""
        asked = {"SecretId": self.secret_name, "VersionId": self.version_id, "VersionStage": self.version_stage}
        return {name: value for name, value in asked.items() if value is not None}


def region_of(secret_name: str) -> Region | None:
    """Read the region off an ARN; a name has none."""
    match = _ARN.fullmatch(secret_name)
    return Region(match["region"], "the secret's ARN") if match else None


class Gateway:
    """Get secrets with the clients of one source, each call inside one deadline."""

    def __init__(self, source: ClientSource, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._timeout = timeout
        self._clock = clock

    @map_client_errors(logger)
    async def get(self, request: SecretRequest, *, ttl: float = float("inf")) -> Secret:
        """Call GetSecretValue. Raises a `CredentialsError`, whatever happens. Needs secretsmanager:GetSecretValue."""
        running_loop()
        born, fetched_at = self._clock(), datetime.now(UTC)
        where = request.region
        failure: CredentialsError | None = None
        result: Secret | str = ""
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline, self._source.client(request.region, deadline) as (client, where):
                # The answer never is a local variable: this frame is part of the traceback of what is raised below.
                result = _read(
                    await client.get_secret_value(**request.parameters()),
                    request,
                    {"region": where.name, "fetched_at": fetched_at, "born": born, "ttl": ttl, "clock": self._clock},
                )
        except Exception as error:  # noqa: BLE001 (whatever escapes botocore becomes one of our errors)
            failure = self._mapped(error, request, where, late=deadline.expired())
        if failure is not None:
            raise failure
        if isinstance(result, str):
            raise describe(MalformedResponseError, result, **_facts(request, where))
        return result

    def _mapped(
        self, error: Exception, request: SecretRequest, where: Region | None, *, late: bool
    ) -> CredentialsError:
        facts = _facts(request, where)
        if self._source.closed and not isinstance(error, PoolClosedError):
            return describe(PoolClosedError, "The pool was closed during the call.", **facts)
        if late:
            what = f"No answer from Secrets Manager within {self._timeout:g} s, connecting and retrying included."
            return describe(EndpointUnreachableError, what, **facts)
        mapped = map_error(error, **facts)
        if where is not None and unresolved(error) and where.name not in known_regions():
            endpoint = str(getattr(error, "kwargs", {}).get("endpoint_url", where.endpoint))
            if where.name in endpoint:  # an endpoint_url of the caller's that doesn't resolve isn't the region's fault
                mapped = wrong_region(where, endpoint)
        mapped.secret_name = facts["secret_name"]  # what went wrong at opening doesn't know it
        return mapped


def _facts(request: SecretRequest, where: Region | None) -> dict[str, str | None]:
    return {"secret_name": request.secret_name, **(where.facts() if where else {})}


def _read(answer: Mapping[str, Any], request: SecretRequest, provenance: Mapping[str, Any]) -> Secret | str:
    """Build the secret, or say why this is no answer: returned, not raised, so that no traceback holds the answer."""
    text, binary = answer.get("SecretString"), answer.get("SecretBinary")
    if (text is None) == (binary is None):
        return "The answer has neither or both of SecretString and SecretBinary."
    value = binary if text is None else text
    if not isinstance(value, bytes if text is None else str):
        return "The answer's value is neither text nor bytes."
    name, arn, version_id = answer.get("Name"), answer.get("ARN"), answer.get("VersionId")
    stages: object = answer.get("VersionStages") or []
    if not (isinstance(name, str) and isinstance(arn, str) and _same_secret(request.secret_name, name, arn)):
        return "The answer is about another secret, or doesn't say which."
    if not (version_id and isinstance(version_id, str) and request.version_id in {None, version_id}):
        return "The answer is another version, or doesn't say which."
    labels = tuple(map(str, cast("list[object]", stages))) if isinstance(stages, list) else ()
    if request.version_stage not in {None, *labels}:
        return "The answer doesn't have the staging label that was asked."
    created = answer.get("CreatedDate")
    return Secret(
        value,
        name=name,
        arn=arn,
        version_id=version_id,
        version_stages=labels,
        created_at=created if isinstance(created, datetime) else None,
        **provenance,
    )


def _same_secret(asked: str, name: str, arn: str) -> bool:
    if asked in {name, arn}:
        return True
    partial = asked.startswith("arn:") and arn.startswith(asked)
    return partial and _ARN_SUFFIX.fullmatch(arn[len(asked) :]) is not None
