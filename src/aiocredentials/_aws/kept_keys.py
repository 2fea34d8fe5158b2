"""The AWS credentials by which tokens are signed: kept, and renewed before they end.

A token is signed for each connection, and some clients ask for the version of the AWS credentials
at each command. botocore's own refreshing doesn't fit that: in the last 15 minutes of temporary
credentials, each question for them loads them, and in the last 10 minutes it fails if that fails.
So they are kept here, and the effect on a caller depends on the time until they end, as for the
credentials of a role (`assuming`):

* More than a quarter of their life, or more than 15 minutes: nothing, because they are current.
* Less: they are renewed in the background, by one renewal at a time, and at most one per `PAUSE`
  seconds. No caller waits for it.
* Less than a sixtieth of their life, or less than a minute; or none: all callers share one load and
  wait for it, each of them inside its own deadline. If it fails, they fail.

Importing this module imports `keys`, and so botocore's signers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from aiocredentials._aws import chain, keys
from aiocredentials._aws.keys import AwsKeys
from aiocredentials._aws.mapping import map_opening_error
from aiocredentials._aws.redact import our_call, wire_logs_redacted
from aiocredentials.errors import one_line, what_of

if TYPE_CHECKING:
    from typing import Protocol

    from aiocredentials._aws.assuming import RoleCredentials
    from aiocredentials._aws.settings import ClientSettings
    from aiocredentials._aws.shared_work import SharedWork

    class Find(Protocol):
        """Returns the AWS credentials that the chain of a session finds."""

        async def __call__(self, *, new_session: bool) -> Any:  # noqa: ANN401 (botocore's)
            """Find them, with a new session if the present one has failed."""


logger = logging.getLogger("aiocredentials")

PAUSE = 60.0
"""Seconds between two renewals for which no caller waits."""

# The shares of the credentials' life at whose beginning a renewal begins, and becomes urgent; and
# the longest such times in seconds. Before the first of these, botocore renews nothing.
_RENEWED = 4
_LONGEST_RENEWED = 900.0
_URGENT = 60
_LONGEST_URGENT = 60.0
# The share of a load's time after which the log names it late.
_LATE = 0.5

# The keys of the work that callers share, together with the object: a load, and a renewal that
# waits for one. Those of other objects may load what was refused meanwhile.
_LOADING = object()
_AHEAD = object()


class KeptState:
    """The present AWS credentials, if any, and the latest renewal. Its repr doesn't show them."""

    __slots__ = ("begin", "present", "tried_at", "warned_of")

    def __init__(self) -> None:
        self.present: AwsKeys | None = None
        # When the present ones were seen first.
        self.begin = 0.0
        self.tried_at = 0.0
        self.warned_of: set[str] = set()
        """The kinds of failure since the last renewal."""


class KeptKeys:
    """The AWS credentials of one chain in one event loop.

    Args:
        find: Returns the AWS credentials that the session's chain finds.
        settings: The settings of the session.
        work: Carries out the work that several callers wait for. Its owner ends it.
        state: The AWS credentials so far. A session that replaces another one has its state, unless
            they were refused.
    """

    def __init__(
        self,
        find: Find,
        settings: ClientSettings,
        work: SharedWork,
        state: KeptState,
    ) -> None:
        self._find = find
        self._settings = settings
        self._work = work
        # botocore's own object. A new one is found after a failure, because a session remembers
        # the content of the configuration files.
        self._credentials: Any = None
        self._has_failed = False
        self._state = state

    async def current(self) -> AwsKeys:
        """Return AWS credentials that are valid now. Raises what the credential chain raises."""
        present = self._state.present
        if present is None:
            return await self._loaded()
        if present.end is None:
            # They never expire, or their end is unknown: only their own object can renew them.
            return await self._load()
        now = keys.now()
        life = present.end - self._state.begin
        left = present.end - now
        if left <= min(life / _URGENT, _LONGEST_URGENT):
            return await self._loaded()
        is_late = left <= min(life / _RENEWED, _LONGEST_RENEWED)
        if is_late and now >= self._state.tried_at + PAUSE:
            self._state.tried_at = now
            self._work.begin((_AHEAD, self), self._renew_ahead)
        return present

    async def _loaded(self) -> AwsKeys:
        """Load AWS credentials, or wait for the load that another caller began."""
        return await self._work.once((_LOADING, self), self._load, detached=True)

    async def _load(self) -> AwsKeys:
        redact = self._settings.redact_wire_logs
        with wire_logs_redacted(redact=redact), our_call(redact=redact):
            try:
                if self._credentials is None:
                    self._credentials = await self._find(new_session=self._has_failed)
                credentials = self._credentials
                # No local variable holds what is frozen, because a traceback may show it.
                loaded = AwsKeys(await credentials.get_frozen_credentials(), None)
            except BaseException:
                self._credentials = None
                self._has_failed = True
                raise
            self._has_failed = False
        loaded.end = chain.end_of(credentials)
        self._keep(loaded)
        return loaded

    def _keep(self, loaded: AwsKeys) -> None:
        # Some sources return the same ones again until shortly before their end.
        is_new = self._state.present is None or loaded.end != self._state.present.end
        self._state.present = loaded
        if not is_new:
            return
        self._state.begin = keys.now()
        if self._state.warned_of:
            logger.info("The AWS credentials that sign tokens were renewed.")
            self._state.warned_of.clear()

    async def _renew_ahead(self) -> None:
        """Renew the credentials while callers use the present ones; log a failure.

        A renewal that is late isn't given up: it has as much time as a whole call.
        """
        patience = (self._work.seconds or _LONGEST_URGENT) * _LATE
        limit = asyncio.timeout(patience)
        try:
            async with limit:
                await self._loaded()
        except Exception as error:  # noqa: BLE001 (a chain may raise anything)
            if limit.expired():
                self._warn("TimeoutError", f"their source didn't answer within {patience:.3g} s.")
                return
            failure = map_opening_error(error, profile=self._settings.profile)
            self._warn(type(failure).__name__, what_of(failure) or str(failure))

    def _warn(self, kind: str, reason: str) -> None:
        """Warn once per kind of failure, until a renewal succeeds."""
        if kind in self._state.warned_of:
            return
        self._state.warned_of.add(kind)
        logger.warning(
            "The AWS credentials that sign tokens can't be renewed yet; the present ones are used "
            "until they expire: %s",
            one_line(reason, 1000),
        )


class RoleKeys:
    """The AWS credentials of a role, which renews them itself."""

    def __init__(self, credentials: RoleCredentials) -> None:
        self._credentials = credentials

    async def current(self) -> AwsKeys:
        """Return AWS credentials that are valid now. Raises a `CredentialsError`."""
        # No local variable holds what is frozen, because a traceback may show it.
        loaded = AwsKeys(await self._credentials.get_frozen_credentials(), None)
        loaded.end = self._credentials.end
        return loaded
