"""The questions that only `doctor` asks: who we are for AWS, which way a request goes, what each single call answers.

An answer is plain facts or one of our errors, returned and not raised. The value of a secret ends here: what leaves
this module of it is its kind and the names of its keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from aiocredentials._gateway import Gateway, SecretRequest, region_of
from aiocredentials._pooled import PooledSession
from aiocredentials._redact import our_call, wire_logs_redacted
from aiocredentials._session import SERVICE, ClientSettings, Region, default_region, open_session
from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    CredentialsError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretFormatError,
    SecretNotFoundError,
    map_error,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from aiobotocore.session import AioSession

    from aiocredentials._secret import Secret, SecretDescription

CALLS_AT_ONCE = 8
CONNECT_SECONDS = 3.0
REGION_SECONDS = 5.0  # what one region may take that is only asked whether it has a secret
SEARCH_SECONDS = 30.0  # and all of them

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
# Of botocore's errors, two whose text is fit to be shown, and says what to do.
_PLAIN = frozenset({"SSOTokenLoadError", "UnauthorizedSSOTokenError"})
# What a region says by an error. One that the account hasn't enabled doesn't know the credentials.
_SAYS: dict[type[CredentialsError], str] = {
    SecretNotFoundError: "absent",
    SecretDeletedError: "deleted",
    AccessDeniedError: "refused",
    AuthenticationError: "refused",
}
# What Secrets Manager says, with the code AccessDeniedException, where it is KMS that refuses.
_KMS_DENIES = re.compile(r"access to kms|\bkms:[a-z]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we are for AWS, and where the credentials came from; `problem` says why something here isn't known."""

    account: str | None = None
    arn: str | None = None
    method: str | None = None
    profile: str | None = None
    key_ending: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where the requests for a region go, and through what; the source says who chose a URL that isn't AWS's own."""

    url: str
    source: str | None
    proxy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the current version of a secret is, without the value; the keys are those of a JSON object, sorted."""

    arn: str
    version_id: str
    created_at: datetime | None
    kind: str
    keys: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Which other regions have a secret of the name, and which didn't say."""

    found: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


class Probe:
    """Ask AWS with one session, as a pool does: same transport, same region, same credentials.

    `timeout` is for one call, in seconds. Entering raises what a service would get that can't open a session.
    """

    region: Region
    """The region of the secrets that don't name their own."""

    def __init__(self, region_name: str | None, endpoint_url: str | None, timeout: float) -> None:
        self._settings = ClientSettings(region_name, "--region", None, endpoint_url)
        self._timeout = timeout
        self._calls = asyncio.Semaphore(CALLS_AT_ONCE)

    async def __aenter__(self) -> Self:
        session = await open_session(self._settings)
        self.region = default_region(self._settings, session)
        # aioboto3 has no public way to the aiobotocore session inside.
        self._session = cast("AioSession", getattr(session, "_session", session))
        self._source = PooledSession(replace(self._settings, session=self._session))
        self._source.open()
        self._gateway = Gateway(self._source, self._timeout)
        self._brief = Gateway(self._source, min(self._timeout, REGION_SECONDS))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._source.aclose()

    def region_of(self, secret_name: str) -> Region:
        """Return the region that is asked for a secret, and where that came from."""
        return region_of(secret_name) or self.region

    async def credentials(self) -> Identity:
        """Resolve the AWS credentials, once for all that follows, and say where they came from."""
        known = Identity(profile=self._session.profile)
        try:
            with wire_logs_redacted(), our_call():
                async with asyncio.timeout(self._timeout):
                    credentials = await self._session.get_credentials()
                    if credentials is None:
                        return replace(known, problem="No AWS credentials were found.")
                    known = replace(known, method=str(credentials.method))
                    key = (await credentials.get_frozen_credentials()).access_key or ""
                    return replace(known, key_ending=key[-4:])
        except Exception as error:  # noqa: BLE001 (whatever botocore raises)
            return replace(known, problem=self._why(error, "AWS credentials can't be had: "))

    async def identity(self, known: Identity) -> Identity:
        """Ask STS who we are, which needs no permission. Where STS can't be reached, all else goes on."""
        from aiocredentials import _transport  # noqa: PLC0415 (300 ms, and loaded in a thread by now)

        # The stubs know the clients that are installed; this one isn't among them.
        create = cast("Callable[..., Any]", self._session.create_client)
        try:
            # The answer is no secret, but the request has a session token: for the log it is one of ours.
            with wire_logs_redacted(), our_call():
                async with asyncio.timeout(self._timeout), create("sts", region_name=self.region.name) as client:
                    _transport.transport_of(client)
                    answer: dict[str, Any] = await client.get_caller_identity()
        except Exception as error:  # noqa: BLE001 (who we are is worth knowing, not needed)
            return replace(known, problem=self._why(error, "STS: "))
        return replace(known, account=answer.get("Account"), arn=answer.get("Arn"))

    def _why(self, error: Exception, who: str) -> str:
        if isinstance(error, TimeoutError):
            return f"{who}no answer within {self._timeout:g} s"
        if type(error).__name__ in _PLAIN:
            return f"{who}{error}"
        said = told(map_error(error))  # which takes whatever gave no answer for Secrets Manager
        return f"{who}{said.removeprefix(who).removeprefix('Secrets Manager gave no usable answer: ')}"

    async def route(self, region: Region) -> Route | None:
        """Return where requests for the region go; None where no client can be made, which each call says better."""
        from aiocredentials import _transport  # noqa: PLC0415 (as above)

        try:
            async with asyncio.timeout(self._timeout) as deadline, self._source.client(region, deadline) as opened:
                url = str(opened.client.meta.endpoint_url)
                transport: Any = _transport.transport_of(opened.client)
                proxy: str | None = transport._proxy_config.proxy_url_for(url)  # noqa: SLF001 (as aiobotocore does)
        except (CredentialsError, TimeoutError):
            return None
        source = None
        if self._settings.endpoint_url:
            source = "--endpoint-url"
        elif not str(urlsplit(url).hostname).startswith(f"{SERVICE}.{region.name}."):
            source = next((name for name in _ENDPOINT_VARIABLES if os.environ.get(name)), "a setting or the profile")
        return Route(url=url, source=source, proxy=proxy and without_password(proxy))

    async def get(self, secret_name: str) -> Contents | CredentialsError:
        """Get the secret, and keep what may be shown."""
        request = SecretRequest(secret_name, self.region_of(secret_name))
        try:
            async with self._calls:
                return _contents(await self._gateway.get(request))
        except CredentialsError as error:
            return copy.copy(error)

    async def describe(self, secret_name: str) -> SecretDescription | CredentialsError:
        """Describe the secret."""
        try:
            async with self._calls:
                return await self._gateway.describe(SecretRequest(secret_name, self.region_of(secret_name)))
        except CredentialsError as error:
            return copy.copy(error)

    async def batch(self, secret_name: str) -> CredentialsError | None:
        """Ask for a batch of one; None if the call as a whole was answered, whatever it says of the secret."""
        try:
            async with self._calls:
                await self._gateway.get_many([SecretRequest(secret_name, self.region_of(secret_name))], ttl=0)
        except CredentialsError as error:
            return copy.copy(error)
        return None

    async def other_regions(self, region: Region) -> list[str]:
        """List the regions that Secrets Manager has in the partition of this one, without it; nobody is asked."""
        partition = self._session.get_partition_for_region(region.name)
        # From here on aiobotocore has it as a coroutine function, and botocore's stubs don't.
        regions = cast("Any", self._session.get_available_regions(SERVICE, partition))
        return sorted(set(cast("list[str]", await regions)) - {region.name})

    async def search(
        self, secret_name: str, regions: Sequence[str], *, by_value: bool, tell: Callable[[str], None]
    ) -> Elsewhere:
        """Ask other regions whether they have the secret: by DescribeSecret, or, where that is denied, by a get."""
        says = dict.fromkeys(regions, "silent")

        async def look(region: str) -> None:
            async with self._calls:
                says[region] = await self._has(
                    SecretRequest(_name_of(secret_name), Region(region, "the search")), by_value=by_value
                )
            asked = sum(answer != "silent" for answer in says.values())
            tell(f"looking for {secret_name} in {len(regions)} other regions, {asked} done")

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEARCH_SECONDS), asyncio.TaskGroup() as group:
                for region in regions:
                    group.create_task(look(region))
        answers = {word: tuple(region for region in regions if says[region] == word) for word in set(says.values())}
        return Elsewhere(**answers)

    async def _has(self, request: SecretRequest, *, by_value: bool) -> str:
        try:
            if by_value:
                await self._brief.get(request)
            elif (await self._brief.describe(request)).deleted_at:
                return "deleted"
        except CredentialsError as error:
            if kms_denies(error):
                return "found"
            return next((word for cls, word in _SAYS.items() if isinstance(error, cls)), "silent")
        return "found"


def _contents(secret: Secret) -> Contents:
    try:
        value: object = secret.json()
    except SecretFormatError:
        value = None
    keys = tuple(sorted(cast("dict[str, object]", value))) if isinstance(value, dict) else None
    kind = "binary" if isinstance(secret._value, bytes) else "plain text"  # noqa: SLF001 (no public way says which)
    return Contents(
        arn=secret.arn,
        version_id=secret.version_id,
        created_at=secret.created_at,
        kind=kind if keys is None else "JSON object",
        keys=keys,
    )


def _name_of(secret_name: str) -> str:
    """Return the name in an ARN: the six characters at its end differ from region to region, unless it is a replica."""
    return re.sub(r"-[A-Za-z0-9]{6}$", "", secret_name.split(":", 6)[6]) if region_of(secret_name) else secret_name


def kms_denies(error: CredentialsError) -> bool:
    """Whether an error means that the identity may have the secret, and KMS doesn't decrypt it."""
    return isinstance(error, SecretDecryptionError) or (
        isinstance(error, AccessDeniedError) and _KMS_DENIES.search(_message(error)) is not None
    )


def _message(error: CredentialsError) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Message", ""))


def told(error: CredentialsError) -> str:
    """Say what happened, without what was asked and what to do: a report has these in places of their own."""
    if error.code and (message := _message(error)):
        return f"{error.code}: {message}"
    return str(error).partition(" Asked: ")[0].removesuffix(error.advice).strip()


def without_password(url: str) -> str:
    """Return a URL without what may be a user and a password in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


async def why_unreachable(route: Route, error: CredentialsError) -> str:
    """Say at which step the way to AWS ends: `dns`, `refused`, `timeout`, `tls`, `proxy`, or `no answer`.

    The steps are taken once more, one by one, since a retried request tells of its last failure only.
    """
    said = told(error)
    if "TLS" in said or "CA bundle" in said:
        return "tls"
    parts = urlsplit(route.proxy or route.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            addresses = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port)
    except OSError:  # which a TimeoutError is too
        return "proxy" if route.proxy else "dns"
    del addresses
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except TimeoutError:
        step = "timeout"
    except OSError:
        step = "refused"
    else:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return "proxy" if "Proxy" in said else "no answer"
    return "proxy" if route.proxy else step
