"""The only code that calls Secrets Manager's API: a request becomes a `Secret` or an error."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from aiocredentials._aws.findings import is_of_the_credentials
from aiocredentials._aws.mapping import map_error, unresolved
from aiocredentials._aws.regions import is_host_label, may_be_a_region, unlisted, wrong_region
from aiocredentials._aws.responses import FetchStart, read_description, read_page, read_secret
from aiocredentials._aws.signing import signs_again
from aiocredentials._loops import cancelled_inside, is_cancelled, running_loop
from aiocredentials._secret import FRESH_FOR_EVER, Lifetime
from aiocredentials.errors import (
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    PoolClosedError,
    for_caller,
    make_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._aws.session import ClientSource, Opened
    from aiocredentials._secret import Secret, SecretDescription

R = TypeVar("R")

# The name in a request that is about several secrets.
_UNNAMED = ""


def _fresh_for_ever() -> Lifetime:
    return FRESH_FOR_EVER


class Gateway:
    """Calls Secrets Manager with the clients of one source, each call inside one deadline."""

    def __init__(
        self,
        source: ClientSource,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._timeout = timeout
        self._clock = clock
        # Regions that have answered. Each of them exists, whatever its name looks like.
        self._answered: set[str] = set()

    async def get(
        self,
        request: SecretRequest,
        lifetime: Callable[[], Lifetime] = _fresh_for_ever,
    ) -> Secret:
        """Call GetSecretValue; `lifetime` returns how long the secret is fresh.

        Raises a `CredentialsError`, whatever happens. Needs secretsmanager:GetSecretValue.
        """

        async def call(opened: Opened, start: FetchStart) -> Secret | CredentialsError:
            # The answer is never a local variable, because this frame is part of the traceback of
            # what is raised.
            return read_secret(
                await opened.client.get_secret_value(**request.parameters()),
                request,
                opened.region,
                start,
                lifetime(),
            )

        result = await self._ask(request, call)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def get_many(
        self,
        requests: Sequence[SecretRequest],
        lifetime: Callable[[], Lifetime] = _fresh_for_ever,
    ) -> dict[str, Secret | CredentialsError]:
        """Call BatchGetSecretValue for up to 20 requests of one region.

        Returns the secret, or the error, of each identifier that AWS answered. Raises a
        `CredentialsError` if the call as a whole fails. Needs secretsmanager:BatchGetSecretValue,
        and secretsmanager:GetSecretValue for each secret.
        """

        async def call(
            opened: Opened,
            start: FetchStart,
        ) -> dict[str, Secret | CredentialsError]:
            found: dict[str, Secret | CredentialsError] = {}
            page: dict[str, Any] = {"SecretIdList": [request.secret_name for request in requests]}
            tokens: set[str] = set()
            while True:
                token = read_page(
                    await opened.client.batch_get_secret_value(**page),
                    requests,
                    start,
                    lifetime,
                    found,
                )
                # A token that comes again leads to the same pages again.
                if not token or token in tokens:
                    return found
                tokens.add(token)
                page["NextToken"] = token

        return await self._ask(requests[0]._replace(secret_name=_UNNAMED), call)

    async def describe(self, request: SecretRequest) -> SecretDescription:
        """Call DescribeSecret.

        Raises a `CredentialsError`, whatever happens. Needs secretsmanager:DescribeSecret.
        """

        async def call(opened: Opened, _: FetchStart) -> SecretDescription | CredentialsError:
            return read_description(
                await opened.client.describe_secret(SecretId=request.secret_name),
                request,
                opened.region,
            )

        result = await self._ask(request, call)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def region(self, request: SecretRequest) -> Region:
        """Return the region that a request goes to, without a call.

        Raises a `CredentialsError` if the configuration can't be read.
        """
        running_loop()
        deadline = asyncio.timeout(self._timeout)
        try:
            async with deadline:
                return request.region or await self._source.region()
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            failure = self._mapped(cancelled_inside(), request, None, late=False, is_open=False)
        except Exception as error:  # noqa: BLE001 (whatever is raised becomes one of our errors)
            failure = self._mapped(error, request, None, late=deadline.expired(), is_open=False)
        raise failure

    async def _ask(
        self,
        request: SecretRequest,
        call: Callable[[Opened, FetchStart], Coroutine[Any, Any, R]],
    ) -> R:
        """Lend a client to a call, inside one deadline, and map whatever goes wrong.

        If AWS doesn't accept the credentials or the signature any more, the call is made once more,
        with a client whose credentials were searched for again.
        """
        running_loop()
        start = FetchStart(self._clock(), datetime.now(UTC), self._clock)
        where = request.region
        is_open = False
        deadline = asyncio.timeout(self._timeout)

        async def attempt() -> R:
            nonlocal where, is_open
            async with self._source.client(request.region, deadline) as opened:
                # Another caller may have opened a shared client, and configured its region
                # elsewhere.
                where = request.region or opened.region
                is_open = True
                return self._noted(where, await call(opened, start))

        try:
            async with deadline:
                try:
                    return await attempt()
                except Exception as error:
                    if not signs_again(error):
                        raise
                is_open = False
                # Outside of the `except`, so AWS's first answer isn't the context of the second.
                return await attempt()
        except asyncio.CancelledError as cancelled:
            # The frames below hold what was read so far, and so do the errors it was raised from.
            cancelled.__cause__ = None
            cancelled.__context__ = None
            if is_cancelled():
                raise cancelled.with_traceback(None)  # noqa: B904 (it is the same one)
            failure = self._mapped(cancelled_inside(), request, where, late=False, is_open=is_open)
        except Exception as error:  # noqa: BLE001 (whatever is raised becomes one of our errors)
            failure = self._mapped(error, request, where, late=deadline.expired(), is_open=is_open)
        raise failure

    def _noted(self, where: Region, outcome: R) -> R:
        """Note that a region has answered.

        The outcome passes through here, because it must not be a local variable of `_ask`.
        """
        self._answered.add(where.name)
        return outcome

    def _mapped(
        self,
        error: Exception,
        request: SecretRequest,
        where: Region | None,
        *,
        late: bool,
        is_open: bool,
    ) -> CredentialsError:
        """Return the error for a caller.

        Args:
            error: What was raised.
            request: What was asked.
            where: The region that was asked, if it is known.
            late: Whether the deadline has passed.
            is_open: Whether a client had been opened.
        """
        facts = request.facts(where)
        if self._source.closed and not isinstance(error, PoolClosedError):
            return make_error(PoolClosedError, "The pool was closed during the call.", **facts)
        # Opening takes long where the AWS credentials are slow. They are also renewed during calls.
        if late and (not is_open or is_of_the_credentials(error)):
            what = (
                f"No AWS credentials could be loaded within {self._timeout:g} s: "
                "their source didn't answer."
            )
            return make_error(CredentialSourceError, what, **facts)
        if late:
            what = (
                f"No answer from Secrets Manager within {self._timeout:g} s, "
                "connecting and retrying included."
            )
            return make_error(EndpointUnreachableError, what, **facts)
        mapped = map_error(error, profile=self._source.profile, **facts)
        if where is not None and not isinstance(error, CredentialsError):
            mapped = self._blamed_on_the_region(error, mapped, where)
        # An error from opening doesn't name the secret yet.
        return for_caller(mapped, **facts)

    def _blamed_on_the_region(
        self,
        error: Exception,
        mapped: CredentialsError,
        where: Region,
    ) -> CredentialsError:
        """Return an error about the region if the region doesn't exist; otherwise `mapped`."""
        if not mapped.asked and not is_host_label(where.name):
            return wrong_region(where)
        host = unresolved(error)
        if host is None or where.name in self._answered:
            return mapped
        # The host may also be that of a proxy or of an endpoint_url: then it isn't about the region.
        if where.name.lower() not in (host or where.endpoint).lower():
            return mapped
        if not may_be_a_region(where.name):
            return wrong_region(where, getattr(error, "kwargs", {}).get("endpoint_url"))
        # Either DNS is down or the region doesn't exist. botocore's list of regions may be older
        # than the region, so it can't decide.
        vars(mapped)["_what"] = f"{vars(mapped)['_what']} {unlisted(where.name)}".rstrip()
        return mapped
