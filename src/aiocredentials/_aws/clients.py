"""A session and the clients made of it, one per region, for one event loop of a pool.

They heal as a whole: when AWS refuses the credentials, or there are none, all of them are replaced
by new ones. `loop_clients` does that, and `would_fail_again` decides when.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from botocore.exceptions import NoCredentialsError

from aiocredentials._aws.answered_errors import signs_again
from aiocredentials._aws.redact import wire_logs_redacted
from aiocredentials._aws.regions import Region, default_region
from aiocredentials._aws.session import Opened, new_role, open_client, open_session
from aiocredentials._aws.settings import ClientSettings, core_of, is_custom
from aiocredentials._aws.shared_work import SharedWork
from aiocredentials._loops import loading, turn
from aiocredentials.errors import CredentialsError, for_caller

if TYPE_CHECKING:
    from aiobotocore.session import AioSession

    from aiocredentials._aws.assuming import AssumedRole
    from aiocredentials._aws.kept_keys import KeptKeys, KeptState, RoleKeys
    from aiocredentials._aws.keys import AwsKeys
    from aiocredentials._aws.roles import Role
    from aiocredentials._aws.settings import AnySession
    from aiocredentials._aws.shared_work import Work
    from aiocredentials._aws.transport import TrustedSession

logger = logging.getLogger("aiocredentials")

CLOSE_SECONDS = 3.0
"""How long closing waits for an event loop.

A third of it is for the calls that closing has ended, a third for openings that it has cancelled,
and the rest for closing the clients.
"""

# The key of the search for AWS credentials; openings have the name of their region.
_CREDENTIALS = object()


class Clients:
    """A session and the clients made of it, which are dropped together when AWS refuses them."""

    def __init__(self, settings: ClientSettings, role: Role | None = None) -> None:
        self.by_region: dict[str | None, Opened] = {}
        """The open clients by region; the client of the default region is there twice."""
        self._settings = settings
        self._role = role
        self._assumed: AssumedRole | None = None
        # The deadlines of the calls that use a client.
        self._users: set[asyncio.Timeout] = set()
        self._call_has_ended = asyncio.Event()
        self._session: AnySession | None = None
        self._session_lock = asyncio.Lock()
        # Openings, and the search for credentials.
        self._shared = SharedWork()
        self._searching = 0
        self._is_spoiled = False
        self._was_opened = False
        # The AWS credentials that sign tokens for servers that aren't AWS's own API: under None
        # without a role, and with a role by the region whose STS assumes it.
        self._signing: dict[str | None, KeptKeys | RoleKeys] = {}
        self._kept_state: KeptState | None = None
        self.access_key_id = ""
        """The access key that signed last; empty if only clients have signed."""
        self._stack = AsyncExitStack()
        self._redaction = wire_logs_redacted(redact=settings.redact_wire_logs)

    @property
    def is_in_use(self) -> bool:
        """Whether there is anything to close, or a call to end."""
        return self._was_opened or self.has_users

    @property
    def has_users(self) -> bool:
        """Whether a call uses a client."""
        return bool(self._users)

    def begin_use(self, deadline: asyncio.Timeout) -> None:
        """Note that a call uses a client, because closing shortens the call's deadline."""
        self._users.add(deadline)

    def end_use(self, deadline: asyncio.Timeout) -> None:
        """Note that a call has ended."""
        self._users.discard(deadline)
        self._call_has_ended.set()

    def would_fail_again(self, error: Exception) -> bool:
        """Return whether the next call with these clients would fail as this one has.

        Either they have no credentials, or these can't be renewed, or AWS refuses them; or no
        client could be opened, and the session remembers the content of the configuration files.
        """
        if isinstance(error, NoCredentialsError) or signs_again(error):
            return True
        if self._is_spoiled:
            return True
        return not self.by_region and not self._shared.is_under_way

    # Opening

    async def session(self) -> AnySession:
        """Return the session. Making it needs no network, and so no separate task."""
        async with self._session_lock:
            if self._session is None:
                self._session = await self._new_session()
        return self._session

    async def _new_session(self) -> AnySession:
        session = await open_session(self._settings)
        # The credentials of a role are loaded by the role's own session.
        if is_custom(session) or self._role is not None:
            return session
        core = core_of(session)
        find = core.get_credentials
        vars(core)["get_credentials"] = partial(self._credentials, find, core)
        return session

    async def opened(
        self,
        region: Region | None,
        seconds: float | None,
    ) -> Opened:
        """Return the client of a region, and open it if it isn't open.

        A caller that is cancelled meanwhile leaves the opening to the others.

        Args:
            region: None is the default region.
            seconds: How long opening may take: as long as a whole call.

        Raises:
            CredentialsError: The session or the client can't be opened.
        """
        key = None
        if region is not None:
            key = region.name
        found = self.by_region.get(key)
        if found is None:
            return await self._opened_once(key, region, seconds)
        if region is None:
            return found
        # The errors of each caller name where its own region was configured.
        return Opened(found.client, region)

    async def _opened_once(
        self,
        key: str | None,
        region: Region | None,
        seconds: float | None,
    ) -> Opened:
        self._begin(seconds)
        opening = partial(self._open, region)
        try:
            # In an empty context: the client belongs to no caller's trace or request.
            return await self._shared.once(key, opening, detached=True)
        except CredentialsError as error:
            facts = {} if region is None else region.facts()
            failure = for_caller(error, **facts)
        raise failure

    def _begin(self, seconds: float | None) -> None:
        """Prepare an opening, or a load of AWS credentials."""
        self._shared.seconds = seconds
        self._was_opened = True
        # Each of them enters this block; only the first one changes anything. `_forget` ends it.
        self._redaction.__enter__()

    async def _open(self, region: Region | None) -> Opened:
        session = await self.session()
        try:
            if region is None:
                return await self._open_default(session)
            return await self._open_region(session, region)
        except asyncio.CancelledError:
            # The opening took too long, or the pool is closed. This session remembers the content
            # of the configuration files; the next one reads them again.
            if self._session is session:
                self._session = None
            raise

    async def _open_default(self, session: AnySession) -> Opened:
        """Find the default region, and share its client with callers that name this region."""
        where = default_region(self._settings, session)
        opened = await self.opened(where, self._shared.seconds)
        self.by_region[None] = opened
        return opened

    async def _open_region(self, session: AnySession, region: Region) -> Opened:
        if self._role is not None:
            session = await self._signing_as(self._role, session, region)
        opened = await open_client(
            self._stack,
            session,
            region,
            self._settings,
        )
        if not is_custom(session):
            from aiocredentials._aws import signing  # noqa: PLC0415 (imported by `loading`)

            signing.keep_signing_key(opened.client)
        self.by_region[region.name] = opened
        return opened

    async def _signing_as(self, role: Role, session: AnySession, region: Region) -> AnySession:
        """Return a copy of the session that signs as the role, which all regions share."""
        assumed = self._assumed or await new_role(role, self._settings, self._shared)
        # The opening of another region may have kept one meanwhile.
        self._assumed = self._assumed or assumed
        return await self._assumed.signing(session, region, self._shared.seconds)

    async def keys(self, region: Region, seconds: float | None) -> AwsKeys:
        """Return the AWS credentials of this moment; those that expire renew themselves.

        Args:
            region: The region whose STS assumes a role.
            seconds: How long loading may take: as long as a whole call.

        Raises:
            Exception: The error of the credential chain, or a `CredentialsError`.
        """
        self._begin(seconds)
        key = None
        if self._role is not None:
            key = region.name
        signing = self._signing.get(key)
        if signing is None:
            try:
                new = await self._new_signing(region)
            except BaseException:
                # The next session of the role reads the configuration files again.
                self._session = None
                raise
            # Another caller may have made it meanwhile.
            signing = self._signing.setdefault(key, new)
        made = await signing.current()
        # They may have been dropped meanwhile.
        if self._signing.get(key) is signing:
            self.access_key_id = made.access_key_id
        return made

    def drop_keys(self) -> None:
        """Have the next caller of `keys` load AWS credentials; open clients keep theirs.

        If AWS refuses those as well, a call of such a client replaces all.
        """
        self.access_key_id = ""
        self._signing.clear()
        self._kept_state = None
        # This session remembers its AWS credentials, and the content of the configuration files.
        self._session = None
        self._assumed = None

    def sign_as(self, failed: Clients) -> None:
        """Keep the AWS credentials of the clients that these replace, until they expire."""
        self._kept_state = failed._kept_state
        self.access_key_id = failed.access_key_id

    async def _new_signing(self, region: Region) -> KeptKeys | RoleKeys:
        session = await self.session()
        credentials: Any = None
        if self._role is not None:
            session = await self._signing_as(self._role, session, region)
            credentials = await core_of(session).get_credentials()
        # The modules that it imports were imported together with the transport. A fork waits for
        # the lock.
        with loading:
            importlib.import_module("aiocredentials._aws.kept_keys")
        from aiocredentials._aws import kept_keys  # noqa: PLC0415 (imported by now)

        if self._role is not None:
            return kept_keys.RoleKeys(credentials)
        state = self._kept_state or kept_keys.KeptState()
        self._kept_state = state
        return kept_keys.KeptKeys(self._find, self._settings, self._shared, state)

    async def _find(self, *, new_session: bool) -> Any:  # noqa: ANN401 (botocore's)
        """Return the AWS credentials that the chain of the session, or of a new one, finds."""
        if new_session:
            # The next session reads the configuration files again.
            self._session = None
        session = await self.session()
        credentials: Any = await core_of(session).get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials

    async def _credentials(
        self,
        find: Work[object],
        core: AioSession,
    ) -> object:
        """Search for AWS credentials once, for all clients that need them at the same time.

        It takes the place of the session's own method, which is `find`.
        """
        # It was imported together with the transport, before there was a session.
        from aiocredentials._aws import chain  # noqa: PLC0415

        self._searching += 1
        try:
            search = partial(chain.resolve, find, core)
            # In the context of the opening, which decides what may be logged.
            credentials = await self._shared.once(_CREDENTIALS, search)
        finally:
            self._searching -= 1
            if not self._searching:
                # All openings that needed the search have ended or were given up.
                self._shared.give_up(_CREDENTIALS)
        chain.when_refresh_fails(credentials, self._spoil)
        # All openings that waited for the search continue now. Each of them blocks the loop for
        # several milliseconds, so each waits for its own turn.
        await turn()
        return credentials

    def _spoil(self) -> None:
        self._is_spoiled = True

    # Closing

    async def aclose(self, seconds: float = CLOSE_SECONDS) -> None:
        """End the calls and the openings in flight, then close the clients."""
        await self._end_calls(seconds / 3)
        await self._shared.give_up_all(seconds / 3)
        try:
            await self._stack.aclose()
        except Exception as error:  # noqa: BLE001 (a caller's session may raise anything)
            # There is no remedy, and the other clients and loops must be closed too.
            kind = type(error).__name__
            logger.warning("A client raised %s when it was closed.", kind)
        finally:
            self._forget()

    async def _end_calls(self, seconds: float) -> None:
        for deadline in self._users:
            if not deadline.expired():
                deadline.reschedule(0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._users:
                    self._call_has_ended.clear()
                    await self._call_has_ended.wait()

    def detached(self) -> list[TrustedSession] | None:
        """Drop the session and its clients with their AWS credentials; return their transports.

        No call uses the transports any more, and the caller closes them. It returns None, and drops
        nothing, if a call or an opening is under way, or if the caller's own session made the
        clients: then only `aclose` can end them.
        """
        is_in_use = self.has_users or self._shared.is_under_way
        if is_in_use or is_custom(self._settings.session):
            return None

        transports: list[TrustedSession] = []
        if self.by_region:
            from aiocredentials._aws import transport  # noqa: PLC0415 (it made the clients)

            opened = self.by_region.values()
            transports = [transport.transport_of(each.client) for each in opened]
        self._stack = AsyncExitStack()
        self._forget()
        return transports

    def abandon(self) -> None:
        """Close the sockets, without the loop, which is closed already."""
        for opened in self.by_region.values():
            if is_custom(self._settings.session):
                # Our own custom clients have sockets.
                abandon = getattr(type(opened.client), "abandon", None)
                if abandon is not None:
                    abandon(opened.client)
            else:
                from aiocredentials._aws import transport  # noqa: PLC0415 (it made the client)

                transport.abandon(opened.client)
        self._forget()

    def _forget(self) -> None:
        self.by_region.clear()
        self.drop_keys()
        self._was_opened = False
        self._redaction.__exit__()
