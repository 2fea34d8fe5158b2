"""AssumeRole: the credentials of a role, which all clients of one event loop share.

They live for an hour, in general. The effect on a call depends on the time until they expire:

* More than a quarter of their life: nothing, because they are current.
* Less: they are renewed before they end. One call renews them, and waits for STS for at most
  `PATIENCE` seconds, or a quarter of a call's time if that is less. The others use the present
  credentials meanwhile. If STS doesn't answer, this call uses them as well, and another one tries
  again after `PAUSE` seconds, unless STS has answered meanwhile, because a renewal continues when
  no call waits for it.
* Less than a sixtieth (the last minute), or none: all calls share one renewal and wait for it,
  each of them inside its own deadline. If it fails, they fail.

botocore's own refreshing isn't used, because it has two flaws here. If STS is down, all calls in
the last ten minutes of the credentials' life fail. If STS hangs, one call after the other waits for
it in the five minutes before that.

Importing this module imports aiobotocore: `loading` does that in a thread.
"""

# The stubs of aiobotocore know neither the hooks that this module uses nor a client for STS.
# mypy: disable-error-code="override"
# pyright: basic
# ruff: noqa: ANN401

from __future__ import annotations

import asyncio
import copy
import logging
import time
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aiobotocore.credentials import AioCredentials
from botocore.configprovider import ConstantProvider
from botocore.exceptions import NoCredentialsError

from aiocredentials._aws import chain, transport
from aiocredentials._aws.answered_errors import NOT_LOADED
from aiocredentials._aws.mapping import map_opening_error
from aiocredentials._aws.redact import our_call, wire_logs_redacted
from aiocredentials._aws.regions import is_host_label, wrong_region_error
from aiocredentials._aws.role_errors import error_of_sts
from aiocredentials._aws.settings import core_of
from aiocredentials.errors import (
    CredentialsError,
    CredentialSourceError,
    make_error,
    one_line,
    what_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from typing import TypeAlias

    from aiobotocore.session import AioSession

    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.roles import Role
    from aiocredentials._aws.settings import AnySession, ClientSettings
    from aiocredentials._aws.shared_work import SharedWork

    OpenSession: TypeAlias = Callable[[], Coroutine[Any, Any, AnySession]]

logger = logging.getLogger("aiocredentials")

PATIENCE = 2.0
"""Seconds that a call waits at most for a renewal that isn't urgent, or for the STS of another
region."""
PATIENT_SHARE = 0.25
"""The share of a call's time that it waits at most, so the call itself still succeeds."""
PAUSE = 60.0
"""Seconds between two renewals that aren't urgent, if the first one fails."""

# The shares of the credentials' life at whose beginning a renewal begins, and becomes urgent: the
# last 15 minutes and the last minute of an hour.
_RENEWED = 4
_URGENT = 60

# The key of the work that all callers share, together with the region.
_ASSUMING = object()

_CLOCK_ADVICE = "Check the clock of this host, and the endpoint in AWS_ENDPOINT_URL_STS."


def now() -> float:
    """Return the time in seconds since 1970, as STS counts it for the end of credentials."""
    return time.time()


class _Assumed:
    """Credentials of a role, and until when they are used. Its repr doesn't show them."""

    __slots__ = ("end", "frozen", "identity", "renewed_from", "urgent_from")

    def __init__(
        self,
        keys: Sequence[str],
        identity: str | None,
        begin: float,
        end: float,
    ) -> None:
        self.frozen = AioCredentials(*keys)
        self.identity = identity
        self.end = end
        life = end - begin
        self.renewed_from = end - life / _RENEWED
        self.urgent_from = end - life / _URGENT


class AssumedRole:
    """A role in one event loop: assumed at the first use, and renewed as long as it is used.

    Args:
        role: The role.
        settings: The settings of the session whose credentials assume the role.
        open_session: Opens that session.
        work: Carries out the work that several callers wait for. Its owner ends it.
    """

    def __init__(
        self,
        role: Role,
        settings: ClientSettings,
        open_session: OpenSession,
        work: SharedWork,
    ) -> None:
        self.identity: str | None = None
        """The ARN of the identity that the role became; None before, or if STS doesn't name it."""
        self.role = role
        self._settings = settings
        self._open_session = open_session
        self._work = work
        # How many callers wait for the work, by the region whose STS is asked.
        self._callers: dict[Region, int] = {}
        # The regions whose STS is still asked although no caller waits.
        self._renewed_alone: set[Region] = set()
        self._is_dropped = False
        self._longest_call = 0.0
        # The session whose credentials assume the role. A new one is opened after a failure,
        # because a session remembers the content of the configuration files.
        self._base: AioSession | None = None
        self._assumed: _Assumed | None = None
        self._renewed_at = 0.0
        # The kinds of failure since the last renewal.
        self._warned_of: set[str] = set()

    async def signing(
        self,
        session: AnySession,
        region: Region,
        seconds: float | None,
    ) -> AioSession:
        """Return a copy of a session whose clients are signed with the role's credentials.

        Args:
            session: An open session.
            region: The region that its clients ask, and whose STS they ask.
            seconds: How long assuming the role may take: as long as a whole call.

        Raises:
            CredentialsError: The role can't be assumed.
        """
        # The time that a later call has isn't known when it is signed, but all have the same limit.
        # An opening may begin late in its call, and so have little time.
        self._longest_call = max(self._longest_call, seconds or 0.0)
        credentials = RoleCredentials(self, region)
        await credentials.get_frozen_credentials()
        mine = copy.copy(core_of(session))
        vars(mine)["_credentials"] = credentials
        return mine

    @property
    def end(self) -> float | None:
        """When the present credentials end, in seconds since 1970; None before the first."""
        assumed = self._assumed
        if assumed is None:
            return None
        return assumed.end

    async def frozen(self, region: Region) -> Any:
        """Return credentials that are valid now. Raises a `CredentialsError`."""
        assumed = self._assumed
        if assumed is None or now() >= assumed.urgent_from:
            assumed = await self._renewed(region)
        elif now() >= assumed.renewed_from and now() >= self._renewed_at + PAUSE:
            # It is set first, so other callers don't wait as well.
            self._renewed_at = now()
            assumed = await self._renewed_if_quick(region, assumed)
        return await assumed.frozen.get_frozen_credentials()

    async def _renewed_if_quick(self, region: Region, present: _Assumed) -> _Assumed:
        """Return new credentials, or the present ones if these can't be renewed soon."""
        patience = self._patience()
        try:
            async with asyncio.timeout(patience):
                renewed = await self._renewed(region)
        except TimeoutError:
            self._warn("TimeoutError", f"STS didn't answer within {patience:.3g} s.")
            return present
        except CredentialsError as error:
            self._warn(type(error).__name__, what_of(error) or str(error))
            return present
        return renewed

    def _patience(self) -> float:
        """Return how long a call waits for a renewal that it may not need, in seconds."""
        return min(PATIENCE, PATIENT_SHARE * self._longest_call)

    def _warn(self, kind: str, reason: str) -> None:
        """Warn once per kind of failure, until a renewal succeeds."""
        if kind in self._warned_of:
            return
        self._warned_of.add(kind)
        logger.warning(
            "The credentials of the role %s can't be renewed yet; the present ones are used until "
            "they expire: %s",
            self.role.role_arn,
            one_line(reason, 1000),
        )

    async def _renewed(self, region: Region) -> _Assumed:
        """Assume the role, or wait for another caller that does, perhaps in another region.

        If the STS of that region fails or hangs, this caller asks its own one. That holds for a
        permanent error, too: the region may not exist, or STS may not be activated there.
        """
        elsewhere = next((other for other in self._callers if other != region), None)
        if elsewhere is not None and region not in self._callers:
            try:
                async with asyncio.timeout(self._patience()):
                    return await self._renewed_in(elsewhere)
            except (TimeoutError, CredentialsError):
                pass
        return await self._renewed_in(region)

    async def _renewed_in(self, region: Region) -> _Assumed:
        """Assume the role in a region, or wait for the same work that another caller began.

        A renewal continues when its last caller leaves, for as long as a whole call may take.
        Otherwise an STS that is slower than `PATIENCE` would never renew anything. A first
        assumption ends with its last caller.
        """
        self._callers[region] = self._callers.get(region, 0) + 1
        self._work.seconds = self._longest_call or None
        key = (_ASSUMING, region)
        try:
            assume = partial(self._assume, region)
            return await self._work.once(key, assume, detached=True)
        except CredentialsError as error:
            # All callers get the same object.
            failure = copy.copy(error)
        finally:
            self._callers[region] -= 1
            if not self._callers[region]:
                del self._callers[region]
                self._end_unless_needed(region)
        raise failure

    def _end_unless_needed(self, region: Region) -> None:
        """End the work that no caller waits for, except a renewal."""
        if self._assumed is None or self._is_dropped:
            self._work.give_up((_ASSUMING, region))
        else:
            self._renewed_alone.add(region)

    def drop(self) -> None:
        """End the renewals that no caller waits for, because later calls don't use this role."""
        self._is_dropped = True
        for region in self._renewed_alone.difference(self._callers):
            self._end_unless_needed(region)

    async def _assume(self, region: Region) -> _Assumed:
        """Assume the role, and keep its credentials."""
        if not is_host_label(region.name):
            raise wrong_region_error(region)
        redact = self._settings.redact_wire_logs
        with wire_logs_redacted(redact=redact), our_call(redact=redact):
            try:
                base = await self._opened_base()
                assumed = await self._asked(base, region)
            except BaseException:
                self._base = None
                raise
        self._assumed = assumed
        self.identity = assumed.identity
        if self._warned_of:
            logger.info("The credentials of the role %s were renewed.", self.role.role_arn)
            self._warned_of.clear()
        return assumed

    async def _opened_base(self) -> AioSession:
        """Return the session that asks STS, after it has loaded its credentials."""
        try:
            # Another region that fails meanwhile resets the attribute.
            base = self._base
            if base is None:
                base = core_of(await self._open_session())
                # Otherwise botocore may ask the global STS, which is in one region.
                store: Any = base.get_component("config_store")
                regional = ConstantProvider("regional")
                store.set_config_provider("sts_regional_endpoints", regional)
                self._base = base
            found = await chain.resolve(base.get_credentials, base)
            if found is not None:
                return base
            nothing = NoCredentialsError()
            failure = self._mapped(nothing)
        except Exception as error:  # noqa: BLE001 (a chain may raise anything)
            failure = self._mapped(error)
        raise failure

    async def _asked(self, base: AioSession, region: Region) -> _Assumed:
        """Ask the region's own STS, which is regional also where botocore's default isn't."""
        asked_at = now()
        try:
            async with _new_client(base, region) as client:
                transport.transport_of(client)
                parameters = self.role.parameters()
                answer = _read(await client.assume_role(**parameters), asked_at)
        except Exception as error:  # noqa: BLE001 (botocore may raise anything)
            failure = error_of_sts(
                error,
                region,
                profile=self._settings.profile,
                role_arn=self.role.role_arn,
                reader=__name__,
            )
        else:
            if isinstance(answer, _Assumed):
                return answer
            failure = make_error(
                CredentialSourceError,
                f"{NOT_LOADED}: {answer}.",
                advice=_CLOCK_ADVICE,
                role_arn=self.role.role_arn,
            )
        raise failure

    def _mapped(self, error: Exception) -> CredentialsError:
        return map_opening_error(
            error,
            profile=self._settings.profile,
            role_arn=self.role.role_arn,
        )


class RoleCredentials(AioCredentials):
    """The credentials that sign the requests of one region's client: the role's present ones.

    Botocore asks for them by this one method, each time that it signs a request.
    """

    def __init__(self, role: AssumedRole, region: Region) -> None:
        super().__init__("", "", method="assume-role")
        self._role = role
        self._region = region

    @property
    def end(self) -> float | None:
        """When the present credentials end, in seconds since 1970."""
        return self._role.end

    async def get_frozen_credentials(self) -> Any:
        """Return the access key, the secret key and the token."""
        return await self._role.frozen(self._region)


def _new_client(base: AioSession, region: Region) -> Any:
    create: Any = base.create_client
    return create("sts", region_name=region.name)


def _read(answer: Mapping[str, Any], asked_at: float) -> _Assumed | str:
    """Read STS's answer. Return what is wrong with it if there are no credentials in it."""
    credentials: Mapping[str, Any] = answer.get("Credentials") or {}
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    keys = [str(credentials.get(name) or "") for name in names]
    end = credentials.get("Expiration")
    if not all(keys) or not isinstance(end, datetime):
        return "STS's answer contains no credentials"
    if end.timestamp() <= asked_at:
        return "STS returned credentials that have expired already"
    user: Mapping[str, Any] = answer.get("AssumedRoleUser") or {}
    return _Assumed(keys, user.get("Arn"), asked_at, end.timestamp())
