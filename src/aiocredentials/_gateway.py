"""The only code that speaks Secrets Manager's API: a request in, a `Secret` or one of our errors out."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

from aiocredentials._findings import is_of_the_credentials
from aiocredentials._identifiers import identifiers, region_in, same_secret
from aiocredentials._loops import cancelled_inside, is_cancelled, running_loop
from aiocredentials._mapping import from_answer, map_error, unresolved
from aiocredentials._secret import Secret, SecretDescription
from aiocredentials._session import (
    ClientSource,
    Opened,
    Region,
    is_host_label,
    may_be_a_region,
    signs_again,
    unlisted,
    wrong_region,
)
from aiocredentials.errors import (
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    MalformedResponseError,
    PoolClosedError,
    SecretNotFoundError,
    describe,
    for_caller,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from aiocredentials._policy import CachePolicy

R = TypeVar("R")

_FOR_EVER = float("inf")
_UNNAMED = ""  # for a call that is about no single secret


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
    region = region_in(secret_name)
    return None if region is None else Region(region, "the secret's ARN")


class Gateway:
    """Get secrets with the clients of one source, each call inside one deadline."""

    def __init__(self, source: ClientSource, timeout: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._timeout = timeout
        self._clock = clock
        # The regions that have answered: each of them is one, whatever its name looks like.
        self._answered: set[str] = set()

    async def get(self, request: SecretRequest, policy: CachePolicy | None = None) -> Secret:
        """Call GetSecretValue; `policy` says until when the secret calls itself fresh.

        Raises a `CredentialsError`, whatever happens. Needs secretsmanager:GetSecretValue.
        """

        async def call(opened: Opened, started: dict[str, Any]) -> Secret | CredentialsError:
            fresh = _fresh_until(policy, started)
            # The answer never is a local variable: this frame is part of the traceback of what is raised.
            return _read(
                await opened.client.get_secret_value(**request.parameters()),
                request,
                opened.region,
                fresh,
            )

        result = await self._ask(request, call, _FOR_EVER)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def get_many(
        self, requests: Sequence[SecretRequest], policy: CachePolicy | None = None
    ) -> dict[str, Secret | CredentialsError]:
        """Call BatchGetSecretValue for up to 20 names of one region; what went wrong with one stands in its place.

        Raises a `CredentialsError` if the call as a whole fails. Needs secretsmanager:BatchGetSecretValue, and
        secretsmanager:GetSecretValue for each secret.
        """

        async def call(opened: Opened, started: dict[str, Any]) -> dict[str, Secret | CredentialsError]:
            found: dict[str, Secret | CredentialsError] = {}
            page: dict[str, Any] = {"SecretIdList": [request.secret_name for request in requests]}
            tokens: set[str] = set()
            while True:
                token = _read_page(
                    await opened.client.batch_get_secret_value(**page),
                    requests,
                    lambda: _fresh_until(policy, started),
                    found,
                )
                # A token that comes again leads to the same pages again.
                if not token or token in tokens:
                    return found
                tokens.add(token)
                page["NextToken"] = token

        return await self._ask(requests[0]._replace(secret_name=_UNNAMED), call, _FOR_EVER)

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
            failure = self._mapped(cancelled_inside(), request, None, late=False, is_open=False)
        except Exception as error:  # noqa: BLE001 (as in _ask)
            failure = self._mapped(error, request, None, late=deadline.expired(), is_open=False)
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
        is_open = False
        deadline = asyncio.timeout(self._timeout)

        async def attempt() -> R:
            nonlocal where, is_open
            async with self._source.client(request.region, deadline) as opened:
                # A shared client may have been opened for another caller, who had its region from elsewhere.
                where = request.region or opened.region
                is_open = True
                return self._noted(where, await call(opened, started))

        try:
            async with deadline:
                try:
                    return await attempt()
                except Exception as error:
                    if not signs_again(error):
                        raise
                is_open = False
                # Outside of the `except`, so that AWS's first answer isn't the context of the second one.
                return await attempt()
        except asyncio.CancelledError as cancelled:
            # The frames below hold what was read so far, and so do the errors that it came by.
            cancelled.__cause__ = cancelled.__context__ = None
            if is_cancelled():
                raise cancelled.with_traceback(None)  # noqa: B904 (it is the same one)
            failure = self._mapped(cancelled_inside(), request, where, late=False, is_open=is_open)
        except Exception as error:  # noqa: BLE001 (whatever escapes botocore becomes one of our errors)
            failure = self._mapped(error, request, where, late=deadline.expired(), is_open=is_open)
        raise failure

    def _noted(self, where: Region, outcome: R) -> R:
        """Remember that a region has answered. An answer is no local variable of `_ask`."""
        self._answered.add(where.name)
        return outcome

    def _mapped(
        self, error: Exception, request: SecretRequest, where: Region | None, *, late: bool, is_open: bool
    ) -> CredentialsError:
        facts = _facts(request, where)
        if self._source.closed and not isinstance(error, PoolClosedError):
            return describe(PoolClosedError, "The pool was closed during the call.", **facts)
        # What takes its time at opening are the AWS credentials; they are renewed in the midst of calls, too.
        if late and (not is_open or is_of_the_credentials(error)):
            what = f"No AWS credentials could be loaded within {self._timeout:g} s: their source didn't answer."
            return describe(CredentialSourceError, what, **facts)
        if late:
            what = f"No answer from Secrets Manager within {self._timeout:g} s, connecting and retrying included."
            return describe(EndpointUnreachableError, what, **facts)
        mapped = map_error(error, profile=self._source.profile, **facts)
        if where is not None and not isinstance(error, CredentialsError):
            mapped = self._blamed_on_the_region(error, mapped, where)
        # An error from opening doesn't know the secret.
        return for_caller(mapped, **facts)

    def _blamed_on_the_region(self, error: Exception, mapped: CredentialsError, where: Region) -> CredentialsError:
        """Return the error for a region that isn't one, where that is why a call failed; else the one that there is."""
        if not mapped.asked and not is_host_label(where.name):
            return wrong_region(where)
        host = unresolved(error)
        # Another host that doesn't resolve isn't the region's fault: a proxy's, or that of an endpoint_url.
        is_the_regions = host is not None and where.name.lower() in (host or where.endpoint).lower()
        if not is_the_regions or where.name in self._answered:
            return mapped
        if not may_be_a_region(where.name):
            return wrong_region(where, getattr(error, "kwargs", {}).get("endpoint_url"))
        # DNS is down, or the region doesn't exist: a list that is older than the region can't say which.
        vars(mapped)["_what"] = f"{vars(mapped)['_what']} {unlisted(where.name)}".rstrip()
        return mapped


def _facts(request: SecretRequest, where: Region | None) -> dict[str, str | None]:
    return {"secret_name": request.secret_name or None, **(where.facts() if where else {})}


def _fresh_until(policy: CachePolicy | None, started: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a secret knows of its age: with its own share of the jitter, by which the cache goes as well."""
    if policy is None:
        return started
    share = random.random()  # noqa: S311 (it spreads load, and guards nothing)
    ttl = cast("float", policy.ttl) * (1 - policy.jitter * share)
    return {**started, "ttl": ttl, "share": share}


def _read(
    answer: Mapping[str, Any], request: SecretRequest, region: Region, started: Mapping[str, Any]
) -> Secret | CredentialsError:
    """Build the secret, or the error that says why not: returned, not raised, so that no traceback has the answer."""
    text = answer.get("SecretString")
    binary = answer.get("SecretBinary")
    value = binary if text is None else text
    name = answer.get("Name")
    arn = answer.get("ARN")
    version_id = answer.get("VersionId")
    stages: object = answer.get("VersionStages") or []
    labels = tuple(map(str, cast("list[object]", stages))) if isinstance(stages, list) else ()
    facts = _facts(request, region)
    if (text is None) == (binary is None) or not isinstance(value, bytes if text is None else str):
        wrong = "has neither or both of SecretString and SecretBinary, or of another type"
    elif not (isinstance(name, str) and isinstance(arn, str)):
        wrong = "doesn't say which secret it is about"
    elif not same_secret(request.secret_name, name, arn):
        return _of_another_secret(request, name, arn, facts)
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
    return describe(MalformedResponseError, f"The answer {wrong}.", **facts)


def _of_another_secret(
    request: SecretRequest, name: str, arn: str, facts: Mapping[str, str | None]
) -> CredentialsError:
    """Return the error for an answer about another secret than the one that was asked."""
    if arn.startswith(f"{request.secret_name}-"):
        # AWS took the ARN for a partial one. It may be the full ARN of a secret that was deleted.
        what = (
            f"No secret has this ARN. AWS answered with the secret {name!r}, whose ARN is longer: "
            "to ask for that one, give its name or its full ARN."
        )
        return describe(SecretNotFoundError, what, **facts)
    return describe(MalformedResponseError, "The answer is about another secret.", **facts)


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
    started: Callable[[], Mapping[str, Any]],
    found: dict[str, Secret | CredentialsError],
) -> str | None:
    """Put what a page of a batch says into `found`, by the names that were asked; return the next page's token."""
    for value in answer.get("SecretValues") or ():
        names = identifiers(str(value.get("Name")), str(value.get("ARN")))
        for one in requests:
            if one.secret_name in names:
                found[one.secret_name] = _read(value, one, cast("Region", one.region), started())
    regions = {one.secret_name: one.region for one in requests}
    for error in answer.get("Errors") or ():
        name = str(error.get("SecretId"))
        response = {"Error": {"Code": error.get("ErrorCode") or "", "Message": error.get("Message") or ""}}
        found[name] = from_answer(response, "BatchGetSecretValue", **_facts(SecretRequest(name), regions.get(name)))
    return cast("str | None", answer.get("NextToken"))
