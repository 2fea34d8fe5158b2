"""The questions that only the doctor asks: identity, route, and the answer to each single call.

An answer is a set of plain facts or one of our errors, returned and not raised. No value leaves
this module: the caller learns the kind of a secret's value, the number of its keys, and their names
if these are harmless or asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from aiocredentials._aws.gateway import Gateway
from aiocredentials._aws.mapping import map_error, map_opening_error
from aiocredentials._aws.pooled import PooledSession
from aiocredentials._aws.redact import our_call, wire_logs_redacted
from aiocredentials._aws.regions import SERVICE, Region, default_region
from aiocredentials._aws.requests import SecretRequest, region_of
from aiocredentials._aws.session import open_session
from aiocredentials._aws.settings import ClientSettings
from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    CredentialsError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretFormatError,
    SecretNotFoundError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiobotocore.session import AioSession

    from aiocredentials import Secret, SecretDescription

CALLS_AT_ONCE = 8
CONNECT_SECONDS = 3.0
# The limits of a search: for one region, and for all of them together.
REGION_SECONDS = 5.0
SEARCH_SECONDS = 30.0

_SOURCES = "environment variables, a profile (AWS_PROFILE), or the role of the instance, container or function."
CREDENTIALS_ADVICE = f"Correct or renew the AWS credentials of this process: {_SOURCES}"

_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL")
# The partition of a region whose name belongs to none.
_USUAL_PARTITION = "aws"
# The result that an error stands for in a search. A region that the account hasn't enabled rejects
# its credentials.
_SAYS: dict[type[CredentialsError], str] = {
    SecretNotFoundError: "absent",
    SecretDeletedError: "deleted",
    AccessDeniedError: "refused",
    AuthenticationError: "refused",
}
# Secrets Manager's words when KMS denies access; the code is AccessDeniedException then too.
_KMS_DENIES = re.compile(r"access to kms|\bkms:[a-z]", re.IGNORECASE)
# A login in a URL, up to the last @ of the word. No parser can split a URL whose password holds odd
# characters.
_LOGIN_IN_URL = re.compile(r"(?<=://)\S*@")

# The parts of a field's name, between dots, hyphens and underscores.
_FIELD_PART = re.compile(
    r"""
    [a-z]{1,16}\d{0,3}      # password2
    | [A-Z]{1,14}\d{0,3}    # PASSWORD
    | \d{1,3}               # 2
    | (?:[a-z]{2,16})?(?:[A-Z]{1,4}[a-z]{1,15}){0,4}[A-Z]{0,4}  # masterUserARN
    """,
    re.VERBOSE,
)
_HUMP = re.compile(r"[a-z][A-Z]|[A-Z](?=[A-Z][a-z])")
_FIVE_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}", re.IGNORECASE)
_LONGEST_FIELD = 32
_MOST_DIGITS = 3
_LETTERS_PER_HUMP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Our identity in AWS, the source of the credentials, and why something of this is unknown."""

    account: str | None = None
    arn: str | None = None
    method: str | None = None
    profile: str | None = None
    key_ending: str | None = None
    """The last four characters of the access key id; None if no credentials could be loaded."""
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The endpoint and the proxy of a region's requests, without passwords.

    The source is the setting that chose the endpoint; None for AWS's own.
    """

    url: str
    source: str | None
    proxy: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The current version of a secret, without its value."""

    arn: str
    version_id: str
    created_at: datetime | None
    kind: str
    keys: tuple[str, ...] | None
    """The sorted names of a JSON object's keys; None for other values, and if they are hidden."""
    key_count: int | None
    """The number of a JSON object's keys; None for other values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The results of a search for a secret's name in other regions."""

    name: str = ""
    """The name that was searched: for an ARN, the name in it."""
    found: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


class Probe:
    """Asks AWS with one session, as a pool does: same transport, same region, same credentials.

    Entering raises the error that a service would get whose session can't be opened.

    Args:
        region_name: The region of secrets whose identifier names none.
        endpoint_url: The endpoint to ask instead of AWS's own.
        timeout: The limit of one call, in seconds.
        show_keys: Whether all names of JSON keys are returned, or only those that can't be values.
    """

    region: Region
    """The region of the secrets whose identifier names none."""

    def __init__(
        self,
        region_name: str | None,
        endpoint_url: str | None,
        timeout: float,
        *,
        show_keys: bool = False,
    ) -> None:
        self._settings = ClientSettings(region_name, "--region", None, endpoint_url)
        self._timeout = timeout
        self._show_keys = show_keys
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
        """Return the region that is asked for a secret, and its source."""
        return region_of(secret_name) or self.region

    async def credentials(self) -> Identity:
        """Load the AWS credentials, once for all later calls, and return their source."""
        known = Identity(profile=self._session.profile)
        try:
            with wire_logs_redacted(), our_call():
                async with asyncio.timeout(self._timeout):
                    credentials = await self._session.get_credentials()
                    if credentials is None:
                        problem = (
                            f"No AWS credentials were found. Configure one of these: {_SOURCES}"
                        )
                        return replace(known, problem=problem)
                    known = replace(known, method=str(credentials.method))
                    key = (await credentials.get_frozen_credentials()).access_key or ""
                    return replace(known, key_ending=key[-4:])
        except Exception as error:  # noqa: BLE001 (whatever botocore raises)
            if isinstance(error, TimeoutError):
                reason = (
                    f"No AWS credentials could be loaded: no answer within {self._timeout:g} s."
                )
                return replace(known, problem=f"{reason} {CREDENTIALS_ADVICE}")
            mapped = map_opening_error(error, profile=self._session.profile)
            reason = self._reason(mapped)
        # The library's own errors about credentials are whole sentences. AWS's need a beginning.
        if not isinstance(mapped, AuthenticationError) or mapped.code:
            reason = f"No AWS credentials could be loaded: {reason}"
        advice = (
            advice_for(mapped) if isinstance(mapped, AuthenticationError) else CREDENTIALS_ADVICE
        )
        return replace(known, problem=f"{reason} {advice}")

    async def identity(self, known: Identity) -> Identity:
        """Ask STS for our identity, which needs no permission, and which nothing depends on."""
        from aiocredentials._aws import transport  # noqa: PLC0415 (300 ms, loaded in a thread by now)

        # The stubs know the clients that are installed; this one isn't among them.
        create = cast("Callable[..., Any]", self._session.create_client)
        try:
            # The answer is no secret, but the request has a session token: no log may show it.
            with wire_logs_redacted(), our_call():
                async with (
                    asyncio.timeout(self._timeout),
                    create("sts", region_name=self.region.name) as client,
                ):
                    transport.transport_of(client)
                    answer: dict[str, Any] = await client.get_caller_identity()
        except Exception as error:  # noqa: BLE001 (nothing depends on the identity)
            return replace(known, problem=f"STS: {self._reason(error)}")
        return replace(known, account=answer.get("Account"), arn=answer.get("Arn"))

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s."
        mapped = map_error(error)
        # Errors without an answer are taken for Secrets Manager's, which wasn't asked here.
        reason = told(mapped).removeprefix("Secrets Manager gave no usable answer: ")
        operation = getattr(mapped, "operation_name", None)
        return f"{operation} failed with {reason}" if operation else reason

    async def route(self, region: Region) -> Route | None:
        """Return the route of a region's requests; None if no client can be made.

        The error of a call explains better why.
        """
        from aiocredentials._aws import transport  # noqa: PLC0415 (300 ms, loaded in a thread by now)

        # Nothing is sent, so any keys will do: without credentials there is a route, too.
        keys = dict.fromkeys(("aws_access_key_id", "aws_secret_access_key"), "unused")
        url = self._settings.endpoint_url
        create = cast("Callable[..., Any]", self._session.create_client)
        opening = create(SERVICE, region_name=region.name, endpoint_url=url, **keys)
        try:
            async with asyncio.timeout(self._timeout), opening as client:
                url = str(client.meta.endpoint_url)
                http_session: Any = transport.transport_of(client)
                proxies = http_session._proxy_config  # noqa: SLF001 (as aiobotocore does)
                proxy: str | None = proxies.proxy_url_for(url)
                is_aws = str(urlsplit(url).hostname).startswith(f"{SERVICE}.{region.name.lower()}.")
        except Exception:  # noqa: BLE001 (a region or a setting that botocore rejects)
            return None
        source = None
        if self._settings.endpoint_url:
            source = "--endpoint-url"
        elif not is_aws:
            variables = (name for name in _ENDPOINT_VARIABLES if os.environ.get(name))
            source = next(variables, "a setting or the profile")
        return Route(
            url=without_password(url),
            source=source,
            proxy=without_password(proxy) if proxy else None,
        )

    async def get(self, secret_name: str) -> Contents | CredentialsError:
        """Get the secret, and keep the facts that may be shown."""
        request = SecretRequest(secret_name, self.region_of(secret_name))
        try:
            async with self._calls:
                return _contents(await self._gateway.get(request), show_keys=self._show_keys)
        except CredentialsError as error:
            return copy.copy(error)

    async def describe(self, secret_name: str) -> SecretDescription | CredentialsError:
        """Describe the secret."""
        request = SecretRequest(secret_name, self.region_of(secret_name))
        try:
            async with self._calls:
                return await self._gateway.describe(request)
        except CredentialsError as error:
            return copy.copy(error)

    async def batch(self, secret_name: str) -> CredentialsError | None:
        """Ask for a batch of one; None if the call succeeded, even without the secret."""
        request = SecretRequest(secret_name, self.region_of(secret_name))
        try:
            async with self._calls:
                await self._gateway.get_many([request])
        except CredentialsError as error:
            return copy.copy(error)
        return None

    async def other_regions(self, region: Region) -> list[str]:
        """List the other regions of Secrets Manager in this partition, without a request."""
        try:
            partition = self._session.get_partition_for_region(region.name)
        except Exception:  # noqa: BLE001 (with an endpoint of its own, a region may have any name)
            partition = _USUAL_PARTITION
        # Since this line aiobotocore has it as a coroutine function, and botocore's stubs don't.
        regions = cast("Any", self._session.get_available_regions(SERVICE, partition))
        return sorted(set(cast("list[str]", await regions)) - {region.name})

    async def search(
        self,
        secret_name: str,
        regions: Sequence[str],
        *,
        by_value: bool,
        tell: Callable[[str], None],
    ) -> Elsewhere:
        """Search other regions for the secret's name, by DescribeSecret or by GetSecretValue."""
        name = _name_of(secret_name)
        results = dict.fromkeys(regions, "silent")

        async def look(region: str) -> None:
            async with self._calls:
                request = SecretRequest(name, Region(region, "the search"))
                results[region] = await self._has(request, by_value=by_value)
            asked = sum(result != "silent" for result in results.values())
            tell(f"searching {len(regions)} other regions for {secret_name}, {asked} done")

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SEARCH_SECONDS), asyncio.TaskGroup() as group:
                for region in regions:
                    group.create_task(look(region))
        answers: dict[str, tuple[str, ...]] = {}
        for region, result in results.items():
            answers[result] = (*answers.get(result, ()), region)
        return Elsewhere(name=name, **answers)

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


def _contents(secret: Secret, *, show_keys: bool) -> Contents:
    try:
        value: object = secret.json()
    except SecretFormatError:
        value = None
    names = sorted(cast("dict[str, object]", value)) if isinstance(value, dict) else None
    is_binary = isinstance(secret._value, bytes)  # noqa: SLF001 (no public way says which)
    kind = "binary" if is_binary else "plain text"
    may_show = names is not None and (show_keys or all(map(is_field_name, names)))
    return Contents(
        arn=secret.arn,
        version_id=secret.version_id,
        created_at=secret.created_at,
        kind=kind if names is None else "JSON object",
        keys=tuple(names) if names is not None and may_show else None,
        key_count=None if names is None else len(names),
    )


def is_field_name(key: str) -> bool:
    """Whether a JSON key looks like the name of a field, such as `password`, and not like a token.

    It is a guess that would rather hide a name than show a token: words of letters, at most three
    digits, and these at the end of a word; no changes of case except those of `camelCase`; and no
    five consonants in a row.
    """
    if len(key) > _LONGEST_FIELD or sum(map(str.isdigit, key)) > _MOST_DIGITS:
        return False
    if _FIVE_CONSONANTS.search(key) or len(_HUMP.findall(key)) * _LETTERS_PER_HUMP > len(key):
        return False
    first, *others = re.split(r"[_.-]", key.lstrip("_"))
    if not first or first.isdigit():
        return False
    return all(part and _FIELD_PART.fullmatch(part) for part in (first, *others))


def _name_of(secret_name: str) -> str:
    """Return the name in an ARN, whose last six characters differ between regions; or the name."""
    if region_of(secret_name) is None:
        return secret_name
    return re.sub(r"-[A-Za-z0-9]{6}$", "", secret_name.split(":", 6)[6])


def kms_denies(error: CredentialsError) -> bool:
    """Whether an error means that the identity may have the secret, and KMS doesn't decrypt it."""
    return isinstance(error, SecretDecryptionError) or (
        isinstance(error, AccessDeniedError) and _KMS_DENIES.search(_message(error)) is not None
    )


def _message(error: CredentialsError) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Message", ""))


def told(error: CredentialsError) -> str:
    """Return what happened; what was asked, and what to do, have other places in a report."""
    if error.code and (message := _message(error)):
        return without_password(f"{error.code}: {message.rstrip('.')}.")
    what: str = vars(error).get("_what") or str(error).removesuffix(error.advice).strip()
    return without_password(what)


def advice_for(error: CredentialsError) -> str:
    """Return what to do about an error."""
    # The library's own advice on credentials is to run the doctor, where it knows no better.
    points_here = isinstance(error, AuthenticationError) and "aiocredentials doctor" in error.advice
    return CREDENTIALS_ADVICE if points_here else error.advice


def without_password(url: str) -> str:
    """Return a URL, or a text that holds URLs, without the user names and passwords in them."""
    return _LOGIN_IN_URL.sub("", url)


def utc(time: datetime) -> datetime:
    """Return a time in UTC. An emulator's time may have no zone, or lie at the end of time."""
    if time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return time.replace(tzinfo=UTC)


async def why_unreachable(route: Route, error: CredentialsError) -> str | None:
    """Return the step that fails: `dns`, `refused`, `timeout`, `tls`, `proxy` or `no answer`.

    The steps are taken once more, one by one, because the error of a retried request is that of its
    last attempt only. None for a URL that can't be split into its parts.
    """
    reason = told(error)
    if "TLS" in reason or "CA bundle" in reason:
        return "tls"
    try:
        parts = urlsplit(route.proxy or route.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return None
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            addresses = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port)
    # A TimeoutError is an OSError too; a UnicodeError is raised for a name that DNS can't express.
    except (OSError, UnicodeError):
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
        return "proxy" if "Proxy" in reason else "no answer"
    return "proxy" if route.proxy else step
