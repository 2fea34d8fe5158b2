"""The only code that speaks Secrets Manager's API: a request in, a `Secret` or one of our errors out."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from aiocredentials._loops import cancelled_inside, is_cancelled, running_loop
from aiocredentials._secret import Secret, SecretDescription
from aiocredentials._session import (
    ClientSource,
    Opened,
    Region,
    known_regions,
    signs_again,
    wrong_region,
)
from aiocredentials.errors import (
    CredentialsError,
    EndpointUnreachableError,
    MalformedResponseError,
    PoolClosedError,
    describe,
    from_answer,
    map_error,
    unresolved,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

R = TypeVar("R")

_UNNAMED = ""  # for a call that is about no single secret

_ARN = re.compile(r"arn:[^:]+:secretsmanager:(?P<region>[^:]+):[^:]*:secret:.+")
# AWS adds a hyphen and six random characters to the name (API reference, CreateSecret); a partial ARN leaves them out.
_ARN_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")


class SecretRequest(NamedTuple):
    """Which version of which secret; the region is None where the client's default is meant."""

    secret_name: str
    region: Region | None = None
    version_id: str | None = None
    version_stage: str | None = "AWSCURRENT"

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

    async def get(self, request: SecretRequest, *, ttl: float = float("inf")) -> Secret:
        """Call GetSecretValue. Raises a `CredentialsError`, whatever happens. Needs secretsmanager:GetSecretValue."""

        async def call(opened: Opened, started: dict[str, Any]) -> Secret | CredentialsError:
            # The answer never is a local variable: this frame is part of the traceback of what is raised.
            return _read(await opened.client.get_secret_value(**request.parameters()), request, opened.region, started)

        result = await self._ask(request, call, ttl)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def get_many(self, requests: Sequence[SecretRequest], *, ttl: float) -> dict[str, Secret | CredentialsError]:
        """Call BatchGetSecretValue for up to 20 names of one region; what went wrong with one stands in its place.

        Raises a `CredentialsError` if the call as a whole fails. Needs secretsmanager:BatchGetSecretValue, and
        secretsmanager:GetSecretValue for each secret.
        """

        async def call(opened: Opened, started: dict[str, Any]) -> dict[str, Secret | CredentialsError]:
            found: dict[str, Secret | CredentialsError] = {}
            page: dict[str, Any] = {"SecretIdList": [request.secret_name for request in requests]}
            while True:
                token = _read_page(await opened.client.batch_get_secret_value(**page), requests, started, found)
                if not token:
                    return found
                page["NextToken"] = token

        return await self._ask(requests[0]._replace(secret_name=_UNNAMED), call, ttl)

    async def describe(self, request: SecretRequest) -> SecretDescription:
        """Call DescribeSecret. Raises a `CredentialsError`, whatever happens. Needs secretsmanager:DescribeSecret."""

        async def call(opened: Opened, _: dict[str, Any]) -> SecretDescription | CredentialsError:
            return _read_description(
                await opened.client.describe_secret(SecretId=request.secret_name), request, opened.region
            )

        result = await self._ask(request, call, ttl=0)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def region(self, request: SecretRequest) -> Region:
        """Return the region that a request goes to, without a call. Raises a `CredentialsError` if there is none."""
        running_loop()
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                return request.region or await self._source.region()
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            failure = self._mapped(cancelled_inside(), request, None, late=False)
        except Exception as error:  # noqa: BLE001 (as in _ask)
            failure = self._mapped(error, request, None, late=deadline.expired())
        raise failure

    async def _ask(
        self, request: SecretRequest, call: Callable[[Opened, dict[str, Any]], Coroutine[Any, Any, R]], ttl: float
    ) -> R:
        """Lend a client to a call, all inside one deadline, and map whatever goes wrong.

        If AWS doesn't accept the credentials or the signature any more, the call is made once more,
        with a client whose credentials were looked for anew.
        """
        running_loop()
        started = {"born": self._clock(), "fetched_at": datetime.now(UTC), "ttl": ttl, "clock": self._clock}
        where = request.region
        deadline = asyncio.timeout(self._timeout)

        async def attempt() -> R:
            nonlocal where
            async with self._source.client(request.region, deadline) as opened:
                where = opened.region
                return await call(opened, started)

        try:
            async with deadline:
                try:
                    return await attempt()
                except Exception as error:
                    if not signs_again(error):
                        raise
                # Outside of the `except`, so that AWS's first answer isn't the context of the
                # second one.
                return await attempt()
        except asyncio.CancelledError as cancelled:
            # The frames below hold what was read so far, and so do the errors that it came by.
            cancelled.__cause__ = cancelled.__context__ = None
            if is_cancelled():
                raise cancelled.with_traceback(None)  # noqa: B904 (it is the same one)
            failure = self._mapped(cancelled_inside(), request, where, late=False)
        except Exception as error:  # noqa: BLE001 (whatever escapes botocore becomes one of our errors)
            failure = self._mapped(error, request, where, late=deadline.expired())
        raise failure

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
    return {"secret_name": request.secret_name or None, **(where.facts() if where else {})}


def _read(
    answer: Mapping[str, Any], request: SecretRequest, region: Region, started: Mapping[str, Any]
) -> Secret | CredentialsError:
    """Build the secret, or the error that says why not: returned, not raised, so that no traceback has the answer."""
    text, binary = answer.get("SecretString"), answer.get("SecretBinary")
    value = binary if text is None else text
    name, arn, version_id = answer.get("Name"), answer.get("ARN"), answer.get("VersionId")
    stages: object = answer.get("VersionStages") or []
    labels = tuple(map(str, cast("list[object]", stages))) if isinstance(stages, list) else ()
    if (text is None) == (binary is None) or not isinstance(value, bytes if text is None else str):
        wrong = "has neither or both of SecretString and SecretBinary, or of another type"
    elif not (isinstance(name, str) and isinstance(arn, str) and same_secret(request.secret_name, name, arn)):
        wrong = "is about another secret, or doesn't say which"
    elif not (version_id and isinstance(version_id, str) and request.version_id in {None, version_id}):
        wrong = "is another version, or doesn't say which"
    elif request.version_stage not in {None, *labels}:
        wrong = "doesn't have the staging label that was asked"
    else:
        return Secret(
            value,
            name=name,
            arn=arn,
            region=region.name,
            version_id=version_id,
            version_stages=labels,
            created_at=_only(datetime, answer.get("CreatedDate")),
            **started,
        )
    return describe(MalformedResponseError, f"The answer {wrong}.", **_facts(request, region))


def _read_description(
    answer: Mapping[str, Any], request: SecretRequest, region: Region
) -> SecretDescription | CredentialsError:
    """Build the description, or the error that says why not: returned, not raised, as in `_read`."""
    name, arn = answer.get("Name"), answer.get("ARN")
    versions: object = answer.get("VersionIdsToStages") or {}
    if not (isinstance(name, str) and isinstance(arn, str) and same_secret(request.secret_name, name, arn)):
        wrong = "is about another secret, or doesn't say which"
    elif not isinstance(versions, dict):
        wrong = "doesn't list the versions"
    else:
        return SecretDescription(
            name=name,
            arn=arn,
            region=region.name,
            versions={each: tuple(labels) for each, labels in cast("dict[str, list[str]]", versions).items()},
            kms_key_id=_only(str, answer.get("KmsKeyId")),
            created_at=_only(datetime, answer.get("CreatedDate")),
            changed_at=_only(datetime, answer.get("LastChangedDate")),
            deleted_at=_only(datetime, answer.get("DeletedDate")),
            rotation_enabled=answer.get("RotationEnabled") is True,
            rotated_at=_only(datetime, answer.get("LastRotatedDate")),
            next_rotation_at=_only(datetime, answer.get("NextRotationDate")),
            primary_region=_only(str, answer.get("PrimaryRegion")),
        )
    return describe(MalformedResponseError, f"The answer {wrong}.", **_facts(request, region))


def _only(kind: type[R], value: object) -> R | None:
    return value if isinstance(value, kind) else None


def _read_page(
    answer: Mapping[str, Any],
    requests: Sequence[SecretRequest],
    started: Mapping[str, Any],
    found: dict[str, Secret | CredentialsError],
) -> str | None:
    """Put what a page of a batch says into `found`, by the names that were asked; return the next page's token."""
    for value in answer.get("SecretValues") or ():
        for one in requests:
            if same_secret(one.secret_name, str(value.get("Name")), str(value.get("ARN"))):
                found[one.secret_name] = _read(value, one, cast("Region", one.region), started)
    regions = {one.secret_name: one.region for one in requests}
    for error in answer.get("Errors") or ():
        name = str(error.get("SecretId"))
        response = {"Error": {"Code": error.get("ErrorCode") or "", "Message": error.get("Message") or ""}}
        found[name] = from_answer(response, "BatchGetSecretValue", **_facts(SecretRequest(name), regions.get(name)))
    return cast("str | None", answer.get("NextToken"))


def same_secret(asked: str, name: str, arn: str) -> bool:
    """Whether a name, a full or a partial ARN that was asked means the secret with this name and ARN."""
    if asked in {name, arn}:
        return True
    partial = asked.startswith("arn:") and arn.startswith(asked)
    return partial and _ARN_SUFFIX.fullmatch(arn[len(asked) :]) is not None
