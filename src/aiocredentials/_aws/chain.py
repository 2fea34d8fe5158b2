"""botocore's credential chain, adapted to a service.

It leaves no helper process behind, prompts for no input, and belongs to one event loop.
`aiosession` has the sessions that use it.

Tests hold these promises with the pinned aiobotocore and with the newest one, because this module
depends on private hooks.
"""

# The stubs of aiobotocore don't have those hooks.
# mypy: disable-error-code="attr-defined"
# pyright: basic, reportAttributeAccessIssue=false
# ruff: noqa: ANN401, SLF001

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import signal
from datetime import UTC, datetime
from functools import partial
from getpass import getpass
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

from aiobotocore.credentials import (
    AioAssumeRoleProvider,
    AioContainerProvider,
    AioInstanceMetadataProvider,
    AioProcessProvider,
    AioRefreshableCredentials,
)
from aiobotocore.utils import (
    AioContainerMetadataFetcher,
    AioInstanceMetadataFetcher,
    _RefCountedSession,
)

from aiocredentials._loops import bookkeeping, detached_task, finish
from aiocredentials.errors import AuthenticationError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from aiobotocore.session import AioSession

    MakeSession: TypeAlias = Callable[[Any], Any]

REAP_SECONDS = 1.0
"""How long the end of a killed helper process is waited for: the system needs milliseconds."""

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_METADATA_FETCHERS = (
    AioContainerMetadataFetcher,
    AioInstanceMetadataFetcher,
)
# These fetch with an HTTP session that belongs to one event loop.
_OF_ONE_LOOP = {
    AioContainerProvider.METHOD,
    AioInstanceMetadataProvider.METHOD,
}


def protect(resolver: Any, metadata_session: MakeSession) -> None:
    """Change how a new credential chain uses helper processes, devices and metadata services.

    `metadata_session` makes the HTTP session for a metadata service in place of aiobotocore's own.
    """
    for provider in resolver.providers:
        _replace_metadata_session(provider, metadata_session)
        if isinstance(provider, AioProcessProvider):
            provider._popen = start_helper
        if isinstance(provider, AioAssumeRoleProvider):
            _protect_roles(provider)


def _replace_metadata_session(provider: Any, metadata_session: MakeSession) -> None:
    for name in ("_fetcher", "_role_fetcher"):
        fetcher: Any = getattr(provider, name, None)
        asks_metadata = isinstance(fetcher, _METADATA_FETCHERS)
        if asks_metadata and isinstance(fetcher._session, _RefCountedSession):
            fetcher._session = metadata_session(fetcher._session)


def _protect_roles(provider: Any) -> None:
    if provider._prompter is getpass:
        provider._prompter = refuse_mfa
    # The builder makes the chains of source profiles.
    builder: Any = provider._profile_provider_builder
    make = builder._create_process_provider
    builder._create_process_provider = partial(_process_provider, make)


def _process_provider(
    make: Callable[[str], Any],
    profile_name: str,
) -> Any:
    provider = make(profile_name)
    provider._popen = start_helper
    return provider


def refuse_mfa(prompt: str) -> NoReturn:
    """Raise in place of `getpass`, which would stop the event loop until a user types a code."""
    device = prompt.removeprefix("Enter MFA code for ").strip(": ")
    failure = make_error(
        AuthenticationError,
        f"The AWS profile needs a code of the device {device} (mfa_serial), "
        "which can't be typed into a service: sign in before the start, for example with "
        "`aws sso login`, or choose a profile without mfa_serial.",
    )
    failure.asked = False
    raise failure


async def start_helper(*command: str, **streams: Any) -> _Helper:
    """Start a `credential_process`, with the arguments of `asyncio.create_subprocess_exec`."""
    alone = not _has_terminal()
    starting = detached_task(
        asyncio.create_subprocess_exec(
            *command,
            start_new_session=alone,
            **streams,
        )
    )
    try:
        # If asyncio were cancelled half-way, it would kill the helper without its own children.
        await finish([starting])
    except asyncio.CancelledError:
        if starting.exception() is None:
            await _Helper(starting.result(), alone=alone)._end()
        raise

    return _Helper(starting.result(), alone=alone)


def _has_terminal() -> bool:
    """Return whether there is a terminal, where a helper may ask for a password."""
    # Opening it mustn't make it the terminal of this process.
    flags = os.O_RDWR | getattr(os, "O_NOCTTY", 0)
    try:
        terminal = os.open("/dev/tty", flags)
        os.close(terminal)
    except OSError:
        return False
    return True


class _Helper:
    """A `credential_process` that is killed when no caller waits for it any more.

    Without a terminal it has its own process group, so its children are killed with it. Windows has
    no such groups, so its children continue there.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        *,
        alone: bool,
    ) -> None:
        self._process = process
        self._alone = alone

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def communicate(self) -> tuple[bytes, bytes]:
        try:
            return await self._process.communicate()
        except BaseException:
            await self._end()
            raise

    async def _end(self) -> None:
        if self._process.returncode is None:
            # On macOS, a group whose last process has just ended raises a PermissionError.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                self._kill()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REAP_SECONDS):
                    await self._process.wait()
        finally:
            # A child of the helper may have its streams, and hold them open.
            self._process._transport.close()

    def _kill(self) -> None:
        process = self._process
        if self._alone and hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


async def resolve(
    get_credentials: Callable[[], Any],
    core: AioSession,
) -> Any:
    """Resolve the credentials of a session, however often that was tried before.

    aiobotocore before 3 mistakes a second try with a source profile for an endless loop.
    """
    if core._credentials is None:
        for provider in _providers(core):
            if isinstance(provider, AioAssumeRoleProvider):
                provider._visited_profiles = [provider._profile_name]
    return await get_credentials()


def _providers(core: AioSession) -> list[Any]:
    """Return the providers of a session's chain; a caller's own chain may have none."""
    resolver = core.get_component("credential_provider")
    return list(getattr(resolver, "providers", ()))


def when_refresh_fails(
    credentials: Any,
    note: Callable[[], None],
) -> None:
    """Call `note` whenever expiring credentials can't be renewed.

    Some can never be renewed again, such as those of a profile that has changed on disk. In that
    case, a new session helps.
    """
    if not isinstance(credentials, AioRefreshableCredentials):
        return
    if "get_frozen_credentials" in vars(credentials):
        return
    get_frozen = credentials.get_frozen_credentials

    async def noting() -> Any:
        try:
            return await get_frozen()
        except Exception:
            note()
            raise

    vars(credentials)["get_frozen_credentials"] = noting


def end_of(credentials: Any) -> float | None:
    """Return when credentials expire, in seconds since 1970; None if never, or if unknown."""
    if not isinstance(credentials, AioRefreshableCredentials):
        return None
    end = getattr(credentials, "_expiry_time", None)
    if end is None:
        return None
    return float(end.timestamp())


def copied(core: AioSession, metadata_session: MakeSession) -> AioSession:
    """Return a copy of a caller's session for one event loop; the caller's session doesn't change.

    The copy has the caller's settings and components. The credential chain is the copy's own,
    except for the caller's custom providers.
    """
    components = core._components
    own_components = copy.copy(components)
    own_components._components = dict(components._components)
    own_components._deferred = dict(components._deferred)

    mine = copy.copy(core)
    mine._components = own_components
    config_store = core.get_component("config_store")
    mine.register_component("config_store", copy.copy(config_store))

    callers_chain = components._components.get("credential_provider")
    make = partial(_own_chain, mine, callers_chain, metadata_session)
    # It isn't made before it is needed, because a missing profile is an error only then.
    own_components.lazy_register_component("credential_provider", make)
    mine._credentials = _own_credentials(mine, core._credentials)
    return mine


def _own_chain(
    mine: AioSession,
    callers_chain: Any,
    metadata_session: MakeSession,
) -> Any:
    """Make the chain of a copy of a session; it has the providers that the caller added, too."""
    own_chain = mine._create_credential_resolver()
    protect(own_chain, metadata_session)
    if callers_chain is None:
        return own_chain
    if not hasattr(callers_chain, "providers"):
        return callers_chain

    own_by_class = {type(provider): provider for provider in own_chain.providers}
    own_chain.providers = []
    for provider in callers_chain.providers:
        own_provider = own_by_class.get(type(provider), provider)
        own_chain.providers.append(own_provider)
        if isinstance(provider, AioAssumeRoleProvider):
            _adopt(own_provider, provider)
    return own_chain


def _adopt(own_provider: Any, callers_provider: Any) -> None:
    """Let a provider of roles ask for codes, and keep credentials, as the caller's one does."""
    if callers_provider._prompter is not getpass:
        own_provider._prompter = callers_provider._prompter
    if type(callers_provider.cache) is not dict:
        own_provider.cache = callers_provider.cache


_refused: WeakSet[Any] = WeakSet()


def refuse(core: AioSession) -> None:
    """Note that AWS refused the credentials of a caller's session: later copies search again."""
    # A caller's own object may be one that can't be referred to weakly.
    with bookkeeping, contextlib.suppress(TypeError):
        _refused.add(core._credentials)


def _own_credentials(mine: AioSession, callers_credentials: Any) -> Any:
    """Return the first credentials of a copy of a caller's session; None makes its chain search."""
    with bookkeeping:
        is_refused = callers_credentials is not None and callers_credentials in _refused
    searched_anew: set[str] = _OF_ONE_LOOP
    if is_refused:
        _forget_files(mine)
        searched_anew = {provider.METHOD for provider in _providers(mine)}

    method = getattr(callers_credentials, "method", None)
    if method in searched_anew and _found_by_chain(callers_credentials):
        return None
    if not isinstance(callers_credentials, AioRefreshableCredentials):
        return callers_credentials
    return _refreshable_copy(callers_credentials, expired=is_refused)


def _forget_files(mine: AioSession) -> None:
    """Let a copy of a session read the files again, because these may have changed on disk."""
    mine._config = None
    mine._profile_map = None


def _refreshable_copy(credentials: Any, *, expired: bool) -> Any:
    """Copy credentials for one event loop; if they are `expired`, their first use renews them."""
    # The lock that makes several tasks wait for one renewal belongs to one event loop.
    own_credentials = copy.copy(credentials)
    own_credentials._refresh_lock = asyncio.Lock()
    if expired:
        own_credentials._expiry_time = _LONG_AGO
    return own_credentials


def _found_by_chain(credentials: Any) -> bool:
    """Return whether a chain finds such credentials again.

    Other credentials are renewed by the caller's function.
    """
    if not isinstance(credentials, AioRefreshableCredentials):
        return True
    renew = credentials._refresh_using
    module = str(getattr(renew, "__module__", ""))
    package = module.partition(".")[0]
    return package in {"aiobotocore", "botocore"}
