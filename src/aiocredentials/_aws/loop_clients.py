"""The clients of a pool in one event loop: for new calls, and replaced ones for older calls.

`LoopClients` has those of all roles, `RoleClients` those of one role, or those without a role.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from aiocredentials._aws.clients import Clients
from aiocredentials._aws.settings import is_custom
from aiocredentials._loops import call_in, detached_task

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from typing import Any

    from aiocredentials._aws.roles import Role
    from aiocredentials._aws.settings import ClientSettings
    from aiocredentials._aws.transport import TrustedSession
    from aiocredentials._loops import Loop

# A part of the key of clients that take the place of a caller's `CustomSession`.
_DEFAULT_CHAIN = object()


class LoopClients:
    """The clients of all roles. Other threads may look at them."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        without_role = RoleClients(settings, None)
        self._by_role: dict[object, RoleClients] = {None: without_role}

    def of(self, role: Role | None) -> RoleClients:
        """Return the clients of a role, or those without a role."""
        clients = self._by_role.get(role)
        if clients is None:
            clients = RoleClients(self._settings, role)
            self._by_role[role] = clients
        return clients

    def signing(self, role: Role | None) -> RoleClients:
        """Return those whose AWS credentials sign for servers other than Secrets Manager.

        A `CustomSession` has no AWS credentials, so AWS's default chain takes its place.
        """
        if not is_custom(self._settings.session):
            return self.of(role)
        key = (_DEFAULT_CHAIN, role)
        clients = self._by_role.get(key)
        if clients is None:
            settings = replace(self._settings, session=None, endpoint_url=None)
            clients = RoleClients(settings, role)
            self._by_role[key] = clients
        return clients

    def refuse(self, role: Role | None, access_key_id: str | None) -> None:
        """Drop AWS credentials that a server refused: see `RoleClients.refuse`."""
        self.signing(role).refuse(access_key_id)

    def signs_with(self, role: Role | None, access_key_id: str) -> bool:
        """Return whether the latest signatures were made with an access key. For any thread."""
        key: object = role
        if is_custom(self._settings.session):
            key = (_DEFAULT_CHAIN, role)
        clients = self._by_role.get(key)
        return clients is not None and clients.current.access_key_id == access_key_id

    @property
    def is_in_use(self) -> bool:
        """Whether there is anything to close, or a call to end."""
        return any(clients.is_in_use for clients in self._all())

    def regions(self) -> list[str | None]:
        """Return the regions that have a client."""
        regions: list[str | None] = []
        for clients in self._all():
            # A tuple is made at once, while the loops of other threads continue.
            regions += tuple(clients.current.by_region)
        return regions

    def forget(self, loop: Loop) -> None:
        """Drop the clients that no call uses, with their AWS credentials."""
        for clients in self._all():
            clients.forget(loop)

    async def aclose(self, seconds: float) -> None:
        """Close all clients; `seconds` limits how long that takes."""
        closing = [clients.aclose(seconds) for clients in self._all()]
        await asyncio.gather(*closing)

    def abandon(self) -> None:
        """Close the sockets when the loop is closed already."""
        for clients in self._all():
            clients.abandon()

    def _all(self) -> tuple[RoleClients, ...]:
        # A tuple is made at once: the event loops of other threads may add roles meanwhile.
        return tuple(self._by_role.values())


class RoleClients:
    """The clients for new calls, and replaced clients that older calls still use."""

    def __init__(self, settings: ClientSettings, role: Role | None) -> None:
        self._settings = settings
        self._role = role
        self.current = Clients(settings, role)
        self._replaced: set[Clients] = set()
        self._closing: set[asyncio.Task[None]] = set()
        # The transports of clients that were forgotten, and whose sockets are still open.
        self._detached: set[TrustedSession] = set()

    @property
    def is_in_use(self) -> bool:
        """Whether there is anything to close, or a call to end."""
        if self._replaced or self._detached:
            return True
        return self.current.is_in_use

    @contextmanager
    def lent(self, deadline: asyncio.Timeout) -> Generator[Clients]:
        """Lend the clients to a call; the last call that uses replaced ones closes them."""
        clients = self.current
        clients.begin_use(deadline)
        try:
            yield clients
        finally:
            clients.end_use(deadline)
            is_replaced = clients is not self.current
            if is_replaced and not clients.has_users:
                self._close(clients)

    def renew(self, failed: Clients, *, are_refused: bool = True) -> None:
        """Give later calls new clients, which search for AWS credentials again.

        Of many calls that fail together, the first one does this for all. Unless their AWS
        credentials `are_refused`, these still sign tokens until they expire.
        """
        if failed is not self.current:
            return
        self._replaced.add(failed)
        self.current = Clients(self._settings, self._role)
        if not are_refused:
            self.current.sign_as(failed)

    def refuse(self, access_key_id: str | None) -> None:
        """Drop AWS credentials that a server refused. The next caller loads them again.

        Of many connections that are refused together, the first one does this for all: the others
        name an access key that is no longer the present one. None means any access key.
        """
        if access_key_id in {None, self.current.access_key_id}:
            self.current.drop_keys()

    def forget(self, loop: Loop) -> None:
        """Drop the clients that no call uses, with their AWS credentials.

        It doesn't need the loop to run. Sockets are closed when the loop runs next.
        """
        self.renew(self.current)
        for clients in tuple(self._replaced):
            transports = clients.detached()
            if transports is not None:
                self._replaced.discard(clients)
                self._detached.update(transports)
        call_in(loop, self._close_unused)

    def _close_unused(self) -> None:
        """Close what `forget` has left open."""
        # A copy, because an eager task changes the set at once.
        for clients in tuple(self._replaced):
            if not clients.has_users:
                self._close(clients)
        if self._detached:
            self._begin(self._close_detached())

    async def _close_detached(self) -> None:
        for transport in tuple(self._detached):
            await transport.close()
            self._detached.discard(transport)

    def _close(self, replaced: Clients) -> None:
        """Close replaced clients that no call uses any more. `aclose` does it if it comes first."""

        async def close() -> None:
            await replaced.aclose()
            self._replaced.discard(replaced)

        self._begin(close())

    def _begin(self, closing: Coroutine[Any, Any, None]) -> None:
        task = detached_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def aclose(self, seconds: float) -> None:
        """Close all clients; `seconds` limits how long that takes."""
        every = self._all()
        closing = [clients.aclose(seconds) for clients in every]
        await asyncio.gather(*closing, *self._closing, self._close_detached())
        self._replaced.clear()

    def abandon(self) -> None:
        """Close the sockets when the loop is closed already."""
        for clients in self._all():
            clients.abandon()
        while self._detached:
            self._detached.pop().abandon()

    def _all(self) -> list[Clients]:
        return [self.current, *self._replaced]
