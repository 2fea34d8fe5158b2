"""Opens sessions and clients, and lends them to one call.

`pooled` lends clients that stay open. Both are a `ClientSource`, which the gateway gets its clients
from. The settings are in `settings`, the default region is found in `regions`.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from aiocredentials._aws import loading
from aiocredentials._aws.answered_errors import signs_again
from aiocredentials._aws.loading import load_roles, load_transport
from aiocredentials._aws.mapping import map_opening_error
from aiocredentials._aws.redact import our_call, wire_logs_redacted, without_password
from aiocredentials._aws.regions import (
    SERVICE,
    Region,
    default_region,
    is_host_label,
    wrong_region_error,
)
from aiocredentials._aws.settings import ClientSettings, core_of, is_custom
from aiocredentials._aws.shared_work import SharedWork
from aiocredentials._loops import PerLoop, bookkeeping, call_for_each_loop, turn
from aiocredentials.errors import (
    CredentialsError,
    InvalidParameterError,
    InvalidRegionError,
    for_caller,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession
    from types_aiobotocore_secretsmanager import SecretsManagerClient

    from aiocredentials._aws.assuming import AssumedRole
    from aiocredentials._aws.roles import Role
    from aiocredentials._aws.settings import AnySession


class Opened(NamedTuple):
    """A client that is open, and the region that it asks."""

    client: SecretsManagerClient
    region: Region


class ClientSource(Protocol):
    """Lends the gateway its clients: from a session per call, or from a pool."""

    @property
    def closed(self) -> bool:
        """Whether it is closed, which is then the reason why a call fails."""
        ...

    @property
    def profile(self) -> str | None:
        """The AWS profile in use, for errors to name; None for the default one."""
        ...

    async def region(self) -> Region:
        """Return the default region; a profile may have to be read first."""
        ...

    def client(
        self, region: Region | None, deadline: asyncio.Timeout, role: Role | None
    ) -> AbstractAsyncContextManager[Opened]:
        """Lend a client for the region, or for the default one, until the deadline.

        Its requests are signed as the role, if there is one.

        Closing shortens the deadline. If AWS refuses the credentials or the signature, the next
        client has credentials that are loaded again.
        """
        ...

    def forget(self) -> None:
        """Drop the clients that no call uses, and let AWS credentials be loaded again."""
        ...


class SessionPerCall:
    """Opens an aioboto3 session and a client for each call, and closes both after it.

    Only the credentials of roles are kept between calls, for each event loop.
    """

    closed = False

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        # Few managers have a role, so it is made at the first use of one.
        self._roles: PerLoop[dict[Role, AssumedRole]] | None = None

    @property
    def profile(self) -> str | None:
        """The AWS profile of the settings."""
        return self._settings.profile

    def forget(self) -> None:
        """Let AWS credentials be loaded and roles assumed again; each call has its own client."""
        with bookkeeping:
            kept = self._roles
            self._roles = None
        if kept is not None:
            call_for_each_loop(kept.living(), _drop_all)
        forget_credentials(self._settings)

    async def region(self) -> Region:
        """Return the default region, as a session finds it."""
        session = await open_session(self._settings)
        return default_region(self._settings, session)

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,
        role: Role | None = None,
    ) -> AsyncGenerator[Opened]:
        """Lend a client that is open as long as the block lasts."""
        redact = self._settings.redact_wire_logs
        with wire_logs_redacted(redact=redact), our_call(redact=redact):
            session = await open_session(self._settings)
            where = region or default_region(self._settings, session)
            assumed: AssumedRole | None = None
            if role is not None:
                assumed = await self._assumed(role)
                session = await self._signing_as(assumed, session, where, seconds_left(deadline))
            async with AsyncExitStack() as stack:
                opened = await open_client(stack, session, where, self._settings)
                try:
                    yield opened
                except Exception as error:
                    self._note_refusal(error, assumed)
                    raise

    async def _assumed(self, role: Role) -> AssumedRole:
        """Return the role of this event loop, which keeps its credentials between calls."""
        with bookkeeping:
            if self._roles is None:
                self._roles = PerLoop(dict)
            roles = self._roles.get()
        assumed = roles.get(role)
        if assumed is None:
            made = await new_role(role, self._settings, SharedWork())
            # Another caller may have made one meanwhile.
            assumed = roles.setdefault(role, made)
        return assumed

    async def _signing_as(
        self,
        assumed: AssumedRole,
        session: AnySession,
        region: Region,
        seconds: float | None,
    ) -> AnySession:
        """Return a copy of the session that signs as the role. Raises a `CredentialsError`."""
        try:
            return await assumed.signing(session, region, seconds)
        except CredentialsError as error:
            self._note_refusal(error, assumed)
            failure = for_caller(error, **region.facts())
        raise failure

    def _note_refusal(self, error: Exception, assumed: AssumedRole | None) -> None:
        note_refusal(self._settings, error)
        # Another thread may forget all roles.
        kept = self._roles
        if assumed is None or kept is None or not signs_again(error):
            return
        roles = kept.get()
        # Of many calls that fail together, the first one lets the next call assume the role again.
        if roles.get(assumed.role) is assumed:
            del roles[assumed.role]
            assumed.drop()


def _drop_all(_: object, roles: dict[Role, AssumedRole]) -> None:
    """Drop the roles of one event loop."""
    for assumed in roles.values():
        assumed.drop()


async def new_role(
    role: Role,
    settings: ClientSettings,
    work: SharedWork,
) -> AssumedRole:
    """Return a role that is assumed at its first use, by the credentials of these settings.

    `work` does what its callers share.
    """
    await load_roles()
    # It was imported in a thread.
    from aiocredentials._aws.assuming import AssumedRole  # noqa: PLC0415

    return AssumedRole(role, settings, partial(open_session, settings), work)


def seconds_left(deadline: asyncio.Timeout) -> float | None:
    """Return how long a call may still take; None without a limit."""
    when = deadline.when()
    if when is None:
        return None
    loop = asyncio.get_running_loop()
    return when - loop.time()


def note_refusal(settings: ClientSettings, error: Exception) -> None:
    """Let later copies of a caller's session load credentials again, if AWS refused these."""
    if signs_again(error):
        refuse_credentials(settings)


def refuse_credentials(settings: ClientSettings) -> None:
    """Let later copies of a caller's session load credentials again."""
    session = settings.session
    if session is None or is_custom(session) or not loading.is_loaded():
        return
    # It was imported together with the transport.
    from aiocredentials._aws import chain  # noqa: PLC0415

    chain.refuse(core_of(session))


def forget_credentials(settings: ClientSettings) -> None:
    """Drop the TLS contexts that have a private key, and load a session's credentials again.

    The caller's own session keeps its credentials; later copies of it search for their own.
    """
    if not loading.is_loaded():
        # Nothing was opened yet.
        return
    # It was imported together with the transport.
    from aiocredentials._aws import tls  # noqa: PLC0415

    tls.forget_private_keys()
    refuse_credentials(settings)


# Opening a session


async def open_session(settings: ClientSettings) -> AnySession:
    """Open an aioboto3 session, or make a copy of the caller's own session, which isn't changed.

    A `CustomSession` is returned itself. Raises a `CredentialsError`.
    """
    if is_custom(settings.session):
        return settings.session
    try:
        await load_transport()
        # It was imported, and with it aioboto3, in a thread.
        from aiocredentials._aws import aiosession  # noqa: PLC0415

        await turn()
        if settings.session:
            callers_core = core_of(settings.session)
            core: AioSession = aiosession.copy_of(callers_core)
        else:
            core = aiosession.TrustedAioSession()
        # It becomes the default config, because botocore merges that one into each client's.
        core.set_default_client_config(_config_for(core, settings))
        if settings.session:
            return core
        return aiosession.SlimSession(botocore_session=core)
    except Exception as error:  # noqa: BLE001 (a broken configuration may raise anything)
        failure = map_opening_error(error, profile=settings.profile)
    raise failure


def _config_for(core: AioSession, settings: ClientSettings) -> AioConfig:
    """Return our config, overruled by the session's own one, and that by the caller's."""
    from aiocredentials._aws.transport import TrustedConfig  # noqa: PLC0415 (imported by now)

    # These are explicit, because botocore's (60 s each, 10 connections) change between versions.
    config = TrustedConfig(
        connect_timeout=3,
        read_timeout=5,
        max_pool_connections=50,
    )
    for overruling in (core.get_default_client_config(), settings.config):
        if overruling:
            config = config.merge(overruling)
    return config


# Opening a client


async def open_client(
    stack: AsyncExitStack,
    session: AnySession,
    region: Region,
    settings: ClientSettings,
) -> Opened:
    """Open a client of a session.

    Args:
        stack: Closes the client when it is closed.
        session: As `open_session` returned it.
        region: The region that the client asks.
        settings: The settings of the session.

    Raises:
        CredentialsError: The client can't be opened, or its connections can't be trusted.
    """
    opening = AsyncExitStack()
    try:
        # A pool runs this in a separate task, where STS, SSO and metadata services answer with
        # credentials.
        with our_call(redact=settings.redact_wire_logs):
            made = _new_client(session, region, settings.endpoint_url)
            client = await opening.enter_async_context(made)
        unencrypted = _unencrypted_endpoint(session, client)
    except Exception as error:  # noqa: BLE001 (botocore may raise anything at opening)
        failure = map_opening_error(error, profile=settings.profile, **region.facts())
    else:
        stack.push_async_exit(opening)
        if unencrypted is not None:
            safe_url = without_password(unencrypted)
            settings.chosen_at.warn(
                f"{safe_url} isn't encrypted: secrets are sent as plain text. Use https."
            )
        return Opened(client, region)

    # A client that was entered, and then failed its check, is closed here.
    await opening.aclose()
    if _is_about_the_region(failure, region):
        failure = wrong_region_error(region, settings.endpoint_url)
    raise failure


def _new_client(
    session: AnySession,
    region: Region,
    endpoint_url: str | None,
) -> AbstractAsyncContextManager[SecretsManagerClient]:
    if is_custom(session):
        return session.secretsmanager_client(region.name)
    # A caller's aiobotocore session gets no aioboto3 session around it, because each of those adds
    # handlers to it.
    create: Any = getattr(session, "client", None)
    if create is None:
        create = cast("AioSession", session).create_client
    made = create(SERVICE, region_name=region.name, endpoint_url=endpoint_url)
    return cast("AbstractAsyncContextManager[SecretsManagerClient]", made)


def _unencrypted_endpoint(
    session: object,
    client: SecretsManagerClient,
) -> str | None:
    """Return the client's endpoint if it is on another machine and isn't encrypted.

    Raises `TypeError` if the client's transport can't be trusted.
    """
    if is_custom(session):
        return None
    from aiocredentials._aws import transport  # noqa: PLC0415 (imported by now)

    transport.transport_of(client)
    endpoint = str(client.meta.endpoint_url)
    if not endpoint.startswith("http:") or transport.is_loopback(endpoint):
        return None
    return endpoint


def _is_about_the_region(failure: CredentialsError, region: Region) -> bool:
    if isinstance(failure, InvalidRegionError):
        return True
    # A line end after the region passes botocore's check, and makes the endpoint's URL malformed.
    return isinstance(failure, InvalidParameterError) and not is_host_label(region.name)
