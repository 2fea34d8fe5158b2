"""What a manager holds: its store, its reader, and the object that `decode` has made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

from aiocredentials._aws.session import SessionPerCall
from aiocredentials._decode import Decoded, Decoder
from aiocredentials._store import NoReader, PooledStore, SecretStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._aws.settings import ClientSettings
    from aiocredentials._cache import Lease, Reader
    from aiocredentials._cache.policy import CachePolicy
    from aiocredentials._secret import Secret
    from aiocredentials._store import UncachedReader

T = TypeVar("T")


class ManagerState(Generic[T]):
    """The state of a manager. `AsyncCredentialsManager` adds what users call."""

    _request: SecretRequest
    _settings: ClientSettings
    _timeout: float
    _policy: CachePolicy | None
    _own_store: PooledStore | None

    def _store_per_call(self) -> SecretStore:
        return SecretStore(SessionPerCall(self._settings), self._timeout, pooled=False)

    def _read_from(self, store: SecretStore, unread: NoReader | None = None) -> None:
        """Use this store from now on, and forget what was read from another one."""
        self._store = store
        self._reader: Reader[Secret] | UncachedReader | NoReader = unread or store.unread()
        self._decoded: Decoded[T] | None = None
        self._hit: tuple[Lease[Secret], Callable[[], float], Decoded[T]] | None = None

    async def _own_reader(self) -> Reader[Secret] | UncachedReader:
        """Return the reader of the manager's own staging label, and keep it."""
        known = self._reader
        if not isinstance(known, NoReader):
            return known
        store = self._store
        reader = await store.reader(self._request, self._policy, known)
        if store is self._store:
            # Otherwise the manager's own block was entered or left meanwhile.
            self._reader = reader
            store.add_reading(self)
        return reader

    def _decoded_once(self, decode: Decoder[T], secret: Secret) -> T:
        """Return the object that `decode` makes of a version, and keep it for the next hits."""
        version = (secret.arn, secret.version_id)
        decoded = self._decoded
        if decoded is None or decoded.version != version:
            decoded = Decoded(version, decode(secret))
            self._decoded = decoded
        # Read once, because another thread may give the reader the lease of another version.
        lease = self._reader.lease
        if lease is not None and lease.value is secret:
            self._hit = (lease, self._store.cache.clock, decoded)
        return decoded.value

    def __del__(self) -> None:
        """Warn if the manager was entered and forgotten, because its sockets stay open."""
        # There is no such attribute if the constructor refused its arguments.
        store = getattr(self, "_own_store", None)
        if store is not None:
            store.warn_if_open(self, "was entered and never left: use `async with`.")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "A manager can't be pickled, because it may hold a secret's value: "
            "make one in each process, from the secret's name."
        )
