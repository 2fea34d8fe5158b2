"""The only code that calls Secrets Manager's API: a request becomes a `Secret` or an error."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiocredentials._aws import loading
from aiocredentials._aws.answered_errors import NOT_LOADED, signs_again
from aiocredentials._aws.mapping import map_error, unresolved_host
from aiocredentials._aws.origins import field_of, is_about_credentials
from aiocredentials._aws.regions import (
    hint_if_unlisted,
    is_host_label,
    may_be_a_region,
    wrong_region_error,
)
from aiocredentials._aws.responses import FetchStart, read_description, read_page, read_secret
from aiocredentials._loops import cancelled_inside, is_cancelled, running_loop
from aiocredentials._secret import FRESH_FOR_EVER, Lifetime
from aiocredentials.errors import (
    CredentialsError,
    CredentialSourceError,
    EndpointUnreachableError,
    PoolClosedError,
    for_caller,
    make_error,
    set_what,
    what_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from types_aiobotocore_secretsmanager import SecretsManagerClient

    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._aws.session import ClientSource, Opened
    from aiocredentials._secret import Secret, SecretDescription

R = TypeVar("R")

if TYPE_CHECKING:
    SignedCall = Callable[[], Coroutine[Any, Any, R]]
    Call = Callable[[Opened, FetchStart], Coroutine[Any, Any, R]]

# The name in a request that is about several secrets.
UNNAMED = ""

_ADVICE_AT_A_START = (
    "The import is done once per process: give a longer timeout=, or more CPU, at the start of "
    "the process; later reads need neither."
)


def _fresh_for_ever() -> Lifetime:
    return FRESH_FOR_EVER


def _get_method(
    client: SecretsManagerClient,
    *,
    past_caches: bool,
) -> Any:  # noqa: ANN401 (botocore's)
    """Return the method for GetSecretValue: past the client's own cache, if it has one."""
    # The class decides, because a mock has every attribute.
    if past_caches and hasattr(type(client), "refresh_secret_value"):
        custom: Any = client
        return custom.refresh_secret_value
    return client.get_secret_value


class Limits:
    """Limits of a call that must leave time for another call.

    Args:
        seconds: How long the call may take, opening a client included.
        share: The part of the time that is left for it once a client is open. If a role is
            assumed, it is the part of all the time, opening included.
    """

    __slots__ = ("opened_at", "seconds", "share")

    def __init__(self, seconds: float, share: float) -> None:
        self.seconds = seconds
        self.share = share
        self.opened_at: float | None = None
        """When a client was open, by the loop's clock; None before."""


class _CallState:
    """A call, and how far it has come."""

    __slots__ = ("advice", "is_open", "limits", "request", "seconds", "where")

    def __init__(
        self,
        request: SecretRequest,
        seconds: float,
        where: Region | None = None,
    ) -> None:
        self.request = request
        self.seconds = seconds
        """How long the call may take; errors name it."""
        self.limits: Limits | None = None
        """The limits that don't hold yet, because no client is open."""
        self.where = where
        """The region that is asked; None while it isn't known."""
        self.is_open = False
        """Whether a client was opened."""
        self.advice: str | None = None
        """The client's own advice if the deadline passes; None if it has none."""


def _bring_forward(deadline: asyncio.Timeout, state: _CallState, limits: Limits) -> None:
    """Limit a call to its share of the time, now that its client is open.

    Opening may take all of the time, because it needs AWS credentials, which don't depend on a
    region.
    """
    # If the call is made a second time, this isn't done again.
    state.limits = None
    end = cast("float", deadline.when())
    now = asyncio.get_running_loop().time()
    if end > now:
        # Otherwise the pool is being closed, which has shortened the deadline already.
        left = (end - now) * limits.share
        state.seconds = round(left, 2)
        deadline.reschedule(now + left)


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

    @property
    def timeout(self) -> float:
        """The deadline of each call, in seconds."""
        return self._timeout

    def forget(self) -> None:
        """Forget which regions have answered."""
        self._answered.clear()

    async def get(
        self,
        request: SecretRequest,
        lifetime: Callable[[], Lifetime] = _fresh_for_ever,
        *,
        past_caches: bool = False,
        limits: Limits | None = None,
    ) -> Secret:
        """Call GetSecretValue; `lifetime` returns how long the secret is fresh.

        `past_caches` asks past the cache of a client that has one: see `CustomSession`.

        Every failure is a `CredentialsError`. Needs secretsmanager:GetSecretValue.
        """

        async def call(opened: Opened, start: FetchStart) -> Secret | CredentialsError:
            parameters = request.parameters()
            # The answer is never a local variable, because this frame is part of the traceback of
            # an error.
            return read_secret(
                await _get_method(opened.client, past_caches=past_caches)(**parameters),
                request,
                opened.region,
                start,
                lifetime(),
            )

        result = await self._ask(request, call, limits)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def get_many(
        self,
        requests: Sequence[SecretRequest],
        lifetime: Callable[[], Lifetime] = _fresh_for_ever,
        *,
        limits: Limits | None = None,
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
            asked = [request.secret_name for request in requests]
            page: dict[str, Any] = {"SecretIdList": asked}
            tokens: set[str] = set()
            while True:
                token = read_page(
                    await opened.client.batch_get_secret_value(**page),
                    requests,
                    start,
                    lifetime,
                    found,
                )
                # A token that is returned twice leads to the same pages again.
                if not token or token in tokens:
                    return found
                tokens.add(token)
                page["NextToken"] = token

        whole_batch = requests[0]._replace(secret_name=UNNAMED)
        return await self._ask(whole_batch, call, limits)

    async def describe(
        self,
        request: SecretRequest,
        *,
        limits: Limits | None = None,
    ) -> SecretDescription:
        """Call DescribeSecret.

        Every failure is a `CredentialsError`. Needs secretsmanager:DescribeSecret.
        """

        async def call(opened: Opened, _: FetchStart) -> SecretDescription | CredentialsError:
            return read_description(
                await opened.client.describe_secret(SecretId=request.secret_name),
                request,
                opened.region,
            )

        result = await self._ask(request, call, limits)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def region(self, request: SecretRequest) -> Region:
        """Return the region that a request goes to, without a call.

        Raises a `CredentialsError` if the configuration can't be read.
        """
        running_loop()
        deadline = asyncio.timeout(self._timeout)
        state = _CallState(request, self._timeout)
        try:
            async with deadline:
                return request.region or await self._source.region()
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            failure = self._mapped(cancelled_inside(), state, late=False)
        except Exception as error:  # noqa: BLE001 (whatever is raised becomes one of our errors)
            late = deadline.expired()
            failure = self._mapped(error, state, late=late)
        raise failure

    async def _ask(self, request: SecretRequest, call: Call[R], limits: Limits | None) -> R:
        """Make a call inside one deadline, and raise one of our errors if it fails."""
        running_loop()
        seconds = self._timeout if limits is None else limits.seconds
        if limits is not None and request.role is not None:
            # Opening asks the region's own STS, so it must leave time for another region, too.
            seconds *= limits.share
        start = FetchStart(
            born=self._clock(),
            fetched_at=datetime.now(UTC),
            clock=self._clock,
        )
        deadline = asyncio.timeout(seconds)
        state = _CallState(request, round(seconds, 2), request.region)
        if request.role is None:
            state.limits = limits

        async def signed_call() -> R:
            client = self._source.client(request.region, deadline, request.role)
            async with client as opened:
                # If another caller opened a shared client, its region may have another source.
                where = request.region or opened.region
                state.where = where
                state.is_open = True
                state.advice = getattr(type(opened.client), "advice_if_late", None)
                if limits is not None:
                    limits.opened_at = asyncio.get_running_loop().time()
                if state.limits is not None:
                    _bring_forward(deadline, state, state.limits)
                return self._noted(where, await call(opened, start))

        try:
            async with deadline:
                return await self._repeated(signed_call, state)
        except asyncio.CancelledError as cancelled:
            # The frames of its traceback hold the answer as far as it was read. So do the errors
            # that it was raised from.
            cancelled.__cause__ = None
            cancelled.__context__ = None
            if is_cancelled():
                raise cancelled.with_traceback(None)  # noqa: B904 (it is the same one)
            failure = self._mapped(cancelled_inside(), state, late=False)
        except Exception as error:  # noqa: BLE001 (whatever is raised becomes one of our errors)
            late = deadline.expired()
            failure = self._mapped(error, state, late=late)
        raise failure

    async def _repeated(self, signed_call: SignedCall[R], state: _CallState) -> R:
        """Make a call, and once more if AWS doesn't accept the credentials or the signature.

        The second attempt has a client whose credentials were searched for again.
        """
        try:
            return await signed_call()
        except Exception as error:
            if not signs_again(error):
                raise
        state.is_open = False
        # Outside of the `except`, so AWS's first answer isn't the context of the second.
        return await signed_call()

    def _noted(self, where: Region, outcome: R) -> R:
        """Note that a region has answered.

        The outcome passes through here, because it must not be a local variable of `_ask`.
        """
        self._answered.add(where.name)
        return outcome

    def _mapped(self, error: Exception, state: _CallState, *, late: bool) -> CredentialsError:
        """Return the error for a caller; `late` says whether the deadline has passed."""
        facts = state.request.facts(state.where)
        if self._source.closed and not isinstance(error, PoolClosedError):
            what = "The pool was closed during the call."
            return make_error(PoolClosedError, what, **facts)

        if late:
            return self._too_late(error, state)
        profile = self._source.profile
        mapped = map_error(error, profile=profile, **facts)
        where = state.where
        if where is not None and not isinstance(error, CredentialsError):
            mapped = self._blamed_on_the_region(error, mapped, where)
        # An error from opening doesn't name the secret yet.
        return for_caller(mapped, **facts)

    def _too_late(self, error: Exception, state: _CallState) -> CredentialsError:
        """Return the error for a call that the deadline ended."""
        facts = state.request.facts(state.where)
        if not state.is_open and loading.is_loading():
            what = (
                f"{NOT_LOADED} within {state.seconds:g} s: "
                "this process was still importing the libraries that reach AWS."
            )
            return make_error(CredentialSourceError, what, advice=_ADVICE_AT_A_START, **facts)
        # Opening takes long if the source of the AWS credentials is slow. They are also renewed
        # during calls.
        if not state.is_open or is_about_credentials(error):
            what = f"{NOT_LOADED} within {state.seconds:g} s: their source didn't answer."
            return make_error(CredentialSourceError, what, **facts)
        what = (
            f"No answer from Secrets Manager within {state.seconds:g} s, "
            "connecting and retrying included."
        )
        return make_error(EndpointUnreachableError, what, advice=state.advice, **facts)

    def _blamed_on_the_region(
        self,
        error: Exception,
        mapped: CredentialsError,
        where: Region,
    ) -> CredentialsError:
        """Return an error about the region if the region doesn't exist; otherwise `mapped`."""
        if not mapped.asked and not is_host_label(where.name):
            return wrong_region_error(where)
        host = unresolved_host(error)
        if host is None or where.name in self._answered:
            return mapped

        # The host may be that of a proxy or of an endpoint_url: without the region's name in it,
        # the error isn't about the region.
        region = where.name.lower()
        asked = host or where.endpoint
        if region not in asked.lower():
            return mapped
        if not may_be_a_region(where.name):
            endpoint_url = field_of(error, "endpoint_url") or ""
            return wrong_region_error(where, str(endpoint_url))

        # Either DNS is down or the region doesn't exist. botocore's list of regions may be older
        # than the region, so it can't decide.
        hint = hint_if_unlisted(where.name)
        if hint:
            set_what(mapped, f"{what_of(mapped)} {hint}")
        return mapped
