"""Lends clients that stay open: a pool's session, which is opened once and closed for good.

In each running loop it has one aiobotocore session and one client per region. `loop_clients` keeps
the clients of one loop, and `clients` opens them. `session` has the other `ClientSource`: a session
per call.
"""

from __future__ import annotations

import logging
import weakref
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

from aiocredentials._aws.answered_errors import signs_again
from aiocredentials._aws.clients import CLOSE_SECONDS
from aiocredentials._aws.loop_clients import LoopClients
from aiocredentials._aws.mapping import map_opening_error
from aiocredentials._aws.redact import our_call
from aiocredentials._aws.regions import Region, default_region
from aiocredentials._aws.session import (
    Opened,
    forget_credentials,
    note_refusal,
    refuse_credentials,
    seconds_left,
)
from aiocredentials._loops import (
    PerLoop,
    bookkeeping,
    call_for_each_loop,
    close_in_each_loop,
)
from aiocredentials.errors import PoolClosedError, make_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from aiocredentials._aws.keys import AwsKeys
    from aiocredentials._aws.roles import Role
    from aiocredentials._aws.settings import ClientSettings

logger = logging.getLogger("aiocredentials")


class PooledSession:
    """One session and one client per region, for all calls of a running loop until `aclose`.

    Each role has its own session and its own clients.
    """

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._loops = PerLoop(
            make=partial(LoopClients, settings),
            abandon=LoopClients.abandon,
        )
        self._state: Literal["new", "open", "closed"] = "new"
        # A pool may be forgotten, or live until the process ends, after the loops that used it.
        weakref.finalize(self, self._loops.abandon_dead)

    def open(self) -> None:
        """Allow calls, which open sessions and clients. Raises `PoolClosedError` after close."""
        with bookkeeping:
            if self._state != "closed":
                self._state = "open"
                return
        what = "The pool was closed, and closing is final: make a new one."
        raise make_error(PoolClosedError, what)

    @property
    def settings(self) -> ClientSettings:
        """The settings of its sessions and clients."""
        return self._settings

    @property
    def closed(self) -> bool:
        """Whether the pool is closed."""
        return self._state == "closed"

    @property
    def profile(self) -> str | None:
        """The AWS profile of the settings."""
        return self._settings.profile

    def check_open(self) -> None:
        """Raise `PoolClosedError` if the pool isn't open."""
        if self._state == "new":
            what = "The pool isn't open yet: use `async with pool:` first."
            raise make_error(PoolClosedError, what)
        if self._state == "closed":
            raise make_error(PoolClosedError, "The pool is closed: make a new one.")

    async def region(self) -> Region:
        """Return the default region of the pool."""
        self.check_open()
        state = self._loops.get()
        session = await state.of(None).current.session()
        return default_region(self._settings, session)

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,
        role: Role | None = None,
    ) -> AsyncGenerator[Opened]:
        """Lend the shared client of the region and the role."""
        self.check_open()
        state = self._loops.get().of(role)
        redact = self._settings.redact_wire_logs
        with state.lent(deadline) as clients, our_call(redact=redact):
            # Once more: another thread that closed the pool meanwhile may not have seen this loop.
            self.check_open()
            try:
                seconds = seconds_left(deadline)
                yield await clients.opened(region, seconds)
            except Exception as error:
                note_refusal(self._settings, error)
                if clients.would_fail_again(error):
                    state.renew(clients, are_refused=signs_again(error))
                raise

    async def keys(
        self,
        region: Region,
        deadline: asyncio.Timeout,
        role: Role | None,
    ) -> AwsKeys:
        """Return the AWS credentials of this moment, or those of the role.

        A `CustomSession` has none, so AWS's default chain takes its place. Raises a
        `CredentialsError`.
        """
        self.check_open()
        state = self._loops.get().signing(role)
        redact = self._settings.redact_wire_logs
        with state.lent(deadline) as clients, our_call(redact=redact):
            # Once more, as in `client`.
            self.check_open()
            try:
                seconds = seconds_left(deadline)
                return await clients.keys(region, seconds)
            except Exception as error:  # noqa: BLE001 (a chain may raise anything)
                note_refusal(self._settings, error)
                if clients.would_fail_again(error):
                    state.renew(clients, are_refused=signs_again(error))
                failure = map_opening_error(error, profile=self.profile, **region.facts())
        raise failure

    def refuse_keys(self, role: Role | None, access_key_id: str | None) -> None:
        """Drop AWS credentials that a server refused, in all loops that still have them.

        The next caller loads them again. It makes no call.

        Args:
            role: The role that they are of; None without a role.
            access_key_id: The access key that was refused; None for any.
        """
        refuse_credentials(self._settings)
        call_for_each_loop(
            self._loops.living(),
            lambda _, state: state.refuse(role, access_key_id),
        )

    def signs_with(self, role: Role | None, access_key_id: str) -> bool:
        """Return whether an event loop still signs with an access key of a role."""
        living = self._loops.living()
        return any(state.signs_with(role, access_key_id) for _, state in living)

    def forget(self) -> None:
        """Drop the clients of all loops with their AWS credentials. It needs no loop.

        A call that uses one keeps it until it ends.
        """
        self._loops.abandon_dead()
        living = self._loops.living()
        call_for_each_loop(living, lambda loop, state: state.forget(loop))
        forget_credentials(self._settings)

    async def aclose(self) -> None:
        """Close the clients of all loops; calling it again does nothing.

        A cancelled caller waits for the end, too. If a loop doesn't close its clients in time,
        because it is blocked or stopped, they are left open, and the log has a warning.
        """
        with bookkeeping:
            self._state = "closed"
        close = partial(LoopClients.aclose, seconds=CLOSE_SECONDS)
        living = self._loops.living()
        in_use = [(loop, state) for loop, state in living if state.is_in_use]
        late = await close_in_each_loop(in_use, close, CLOSE_SECONDS)
        self._loops.abandon_dead()
        if late:
            logger.warning(
                "The pool is closed, but %d event loop(s) didn't close their clients within %g s: "
                "they are blocked or stopped, or a call in them ignores its cancellation. "
                "Close a pool before its loops end.",
                late,
                CLOSE_SECONDS,
            )

    @property
    def holds_clients(self) -> bool:
        """Whether there is something that only `aclose` closes."""
        living = self._loops.living()
        return any(state.regions() for _, state in living)

    def __repr__(self) -> str:
        """Name the state, and the regions that have a client."""
        regions: set[str | None] = set()
        for _, state in self._loops.living():
            regions.update(state.regions())
        names = sorted(name for name in regions if name)
        return " ".join([self._state, *names])
