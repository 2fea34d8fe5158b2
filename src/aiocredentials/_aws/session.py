"""Who owns an aioboto3 session and its clients, and when they close: per call, or pooled."""

from __future__ import annotations

import logging
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from botocore.exceptions import ClientError

from aiocredentials._aws.loading import load_transport
from aiocredentials._aws.mapping import map_opening_error
from aiocredentials._aws.redact import our_call, wire_logs_redacted, without_password
from aiocredentials._aws.regions import SERVICE, Region, default_region, is_host_label, wrong_region
from aiocredentials._aws.settings import ClientSettings, CustomSession, core_of, is_custom
from aiocredentials._loops import turn
from aiocredentials.errors import (
    InvalidParameterError,
    InvalidRegionError,
)

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    import aioboto3
    from aiobotocore.session import AioSession
    from types_aiobotocore_secretsmanager import SecretsManagerClient

logger = logging.getLogger("aiocredentials")


SIGN_AGAIN = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "TokenRefreshRequired",
        "UnrecognizedClient",
    }
)
"""AWS's codes, without "Exception", for credentials or a signature that it doesn't accept any more.

With credentials that are looked for anew, and a new signature, the same call may succeed. Sources:
the common errors of Secrets Manager, STS and S3, and the AWS SDK for JavaScript, which corrects its
clock for those about time.
"""

# These codes say as well that the key is wrong, which no new signature changes: the text tells them
# apart.
_SIGNATURE_CODES = frozenset({"InvalidSignature", "SignatureDoesNotMatch"})
_SIGNATURE_OF_ANOTHER_TIME = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)


class Opened(NamedTuple):
    """A client that is open, and the region that it asks."""

    client: SecretsManagerClient
    region: Region


class ClientSource(Protocol):
    """Where the gateway gets a client from: a session per call, or a pool's."""

    @property
    def closed(self) -> bool:
        """Whether what fails now fails because of that."""
        ...

    @property
    def profile(self) -> str | None:
        """The AWS profile that is used, for errors to name; None for the default one."""
        ...

    async def region(self) -> Region:
        """Return the default region; it may be that a profile has to be read first."""
        ...

    def client(
        self, region: Region | None, deadline: asyncio.Timeout
    ) -> AbstractAsyncContextManager[Opened]:
        """Lend a client for the region, or for the default one, until the deadline.

        Closing brings the deadline forward. If AWS refuses what the client signs, the next client
        has credentials that were searched for again.
        """
        ...


def signs_again(error: BaseException) -> bool:
    """Return whether AWS calls the credentials or the signature too old, or doesn't know them."""
    if not isinstance(error, ClientError):
        return False
    answer = error.response.get("Error", {})
    code = str(answer.get("Code")).removesuffix("Exception")
    if code in _SIGNATURE_CODES:
        return _SIGNATURE_OF_ANOTHER_TIME.search(str(answer.get("Message"))) is not None
    return code in SIGN_AGAIN


class SessionPerCall:
    """Open an aioboto3 session and a client for each call, and close both: nothing is left behind."""

    closed = False

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings

    @property
    def profile(self) -> str | None:
        """The AWS profile of the settings."""
        return self._settings.profile

    async def region(self) -> Region:
        """Return the default region, as a session finds it."""
        return default_region(self._settings, await open_session(self._settings))

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,  # noqa: ARG002 (the pool's source needs it)
    ) -> AsyncGenerator[Opened]:
        """Lend a client that lives as long as the block."""
        redact = self._settings.redact_wire_logs
        with wire_logs_redacted(redact=redact), our_call(redact=redact):
            session = await open_session(self._settings)
            where = region or default_region(self._settings, session)
            async with AsyncExitStack() as stack:
                opened = await open_client(stack, session, where, self._settings)
                try:
                    yield opened
                except Exception as error:
                    note_refusal(self._settings, error)
                    raise


def note_refusal(settings: ClientSettings, error: Exception) -> None:
    """Have later copies of a caller's session search again, if AWS refused its credentials."""
    if settings.session is not None and not is_custom(settings.session) and signs_again(error):
        from aiocredentials._aws import chain  # noqa: PLC0415 (loaded with the transport)

        chain.refuse(core_of(settings.session))


async def open_session(settings: ClientSettings) -> aioboto3.Session | AioSession | CustomSession:
    """Make an aioboto3 session; or a copy of the caller's own, so that theirs stays as it is."""
    if is_custom(settings.session):
        return settings.session
    try:
        await load_transport()
        import aioboto3  # noqa: PLC0415 (loaded in a thread by now)

        # Loaded in a thread by now.
        from aiocredentials._aws.aiosession import TrustedAioSession, copy_of  # noqa: PLC0415
        from aiocredentials._aws.transport import TrustedConfig  # noqa: PLC0415

        await turn()
        # Said explicitly: botocore's defaults (60 s each, 10 connections) change between versions.
        config = TrustedConfig(
            connect_timeout=3,
            read_timeout=5,
            max_pool_connections=50,
        )
        if settings.session:
            core: AioSession = copy_of(core_of(settings.session))
        else:
            core = TrustedAioSession()
        for theirs in (core.get_default_client_config(), settings.config):
            config = config.merge(theirs) if theirs else config
        # The default config, and none to the client: it is this one that botocore merges everywhere.
        core.set_default_client_config(config)
        return core if settings.session else aioboto3.Session(botocore_session=core)
    except Exception as error:  # noqa: BLE001 (whatever a broken configuration raises gets a sentence)
        failure = map_opening_error(error, profile=settings.profile)
    raise failure


def _new_client(
    session: aioboto3.Session | AioSession | CustomSession, region: Region, endpoint_url: str | None
) -> AbstractAsyncContextManager[SecretsManagerClient]:
    if is_custom(session):
        return session.secretsmanager_client(region.name)
    # A session of the caller's is used as it is: an aioboto3 session around it would add handlers to it each time.
    create: Any = getattr(session, "client", None) or cast("AioSession", session).create_client
    return cast(
        "AbstractAsyncContextManager[SecretsManagerClient]",
        create(SERVICE, region_name=region.name, endpoint_url=endpoint_url),
    )


def _check_transport(session: object, client: SecretsManagerClient) -> str | None:
    """Return the endpoint if it is a plain one elsewhere. Raises `TypeError` for a transport that can't be trusted."""
    if is_custom(session):
        return None
    from aiocredentials._aws import transport  # noqa: PLC0415 (as above)

    transport.transport_of(client)
    endpoint = str(client.meta.endpoint_url)
    return (
        endpoint if endpoint.startswith("http:") and not transport.is_loopback(endpoint) else None
    )


async def open_client(
    stack: AsyncExitStack,
    session: aioboto3.Session | AioSession | CustomSession,
    region: Region,
    settings: ClientSettings,
) -> Opened:
    """Open a client, to be closed with the stack."""
    opening = AsyncExitStack()
    try:
        # For a pool this runs in a task of its own. STS, SSO and metadata services answer with credentials here.
        with our_call(redact=settings.redact_wire_logs):
            made = _new_client(session, region, settings.endpoint_url)
            client = await opening.enter_async_context(made)
        in_clear = _check_transport(session, client)
    except Exception as error:  # noqa: BLE001 (all that botocore may raise at opening is mapped)
        failure = map_opening_error(error, profile=settings.profile, **region.facts())
    else:
        stack.push_async_exit(opening)
        if in_clear:
            shown = without_password(in_clear)
            risk = "isn't encrypted: secrets cross the network in clear. Use https."
            settings.chosen_at.warn(f"{shown} {risk}")
        return Opened(client, region)
    # A client that was entered, and then failed its check, is closed here.
    await opening.aclose()
    # A line end after the region passes botocore's check, and makes the endpoint's URL malformed.
    is_malformed = isinstance(failure, InvalidParameterError) and not is_host_label(region.name)
    if is_malformed or isinstance(failure, InvalidRegionError):
        failure = wrong_region(region, settings.endpoint_url)
    raise failure
