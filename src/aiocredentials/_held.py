"""The cached values of a secret that an event concerns.

A key of the cache is a located `SecretRequest`. One value may have several keys, which differ in
the identifier of its secret; it is renewed by one of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from aiocredentials._cache.renewal import renewed
from aiocredentials._secret import Lifetime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiocredentials._aws.requests import SecretRequest
    from aiocredentials._secret import Secret
    from aiocredentials._store import SecretStore


class Held(NamedTuple):
    """A value in the cache, and the key that it was found by."""

    key: SecretRequest
    secret: Secret

    @property
    def renewal_key(self) -> SecretRequest:
        """The key by which the value is fetched again.

        Its full ARN means the same secret in every account. A name means a secret of the caller's
        own account only.
        """
        return self.key.by_name(self.secret.arn)


def keys_of(
    store: SecretStore,
    identifier: str,
    region_name: str,
) -> list[SecretRequest]:
    """Return the keys with this identifier in a region, also those without a value."""
    related = cast("list[SecretRequest]", store.cache.related(identifier))
    return [key for key in related if key.region_name == region_name]


def is_being_fetched(
    store: SecretStore,
    concerned: Callable[[SecretRequest], bool],
    before: float,
) -> bool:
    """Return whether a fetch is under way, in any loop, of a key that has no value yet.

    Args:
        store: The store of the pool.
        concerned: Returns whether a key counts.
        before: The time, by the cache's clock, after which fetches don't count.
    """
    for flight in store.cache.flights.under_way():
        keys = cast("tuple[SecretRequest, ...]", flight.keys)
        is_early = flight.started <= before
        has_value = any(held_version(store, key) is not None for key in keys)
        if is_early and not has_value and any(map(concerned, keys)):
            return True
    return False


def held_under(store: SecretStore, keys: list[SecretRequest]) -> Iterator[Held]:
    """Yield the values of these keys."""
    for key in keys:
        secret = held_version(store, key)
        if secret is not None:
            yield Held(key, secret)


def held_version(store: SecretStore, key: SecretRequest) -> Secret | None:
    """Return the value of a key; None if it has none."""
    entry = store.cache.entry(key)
    return None if entry is None else entry.value


def lifetime_of(secret: Secret) -> Lifetime:
    """Return how long a value was fresh when it was fetched, under whichever policy."""
    return Lifetime(secret._ttl, secret._jitter_share)  # noqa: SLF001 (ours to read)


async def renew(
    store: SecretStore,
    key: SecretRequest,
    lifetime: Lifetime,
) -> Exception | None:
    """Fetch again what is cached under a key, and return the error if that fails.

    If the fetch fails, the cached value is still served, as long as it would be without this call.
    Needs secretsmanager:GetSecretValue.

    Args:
        store: The store of the pool.
        key: The key.
        lifetime: How long the new value is fresh: as long as the old one was.

    Raises:
        PoolClosedError: The pool is closed.
    """

    def same_lifetime() -> Lifetime:
        return lifetime

    fetch = partial(store.gateway.get, key, same_lifetime)
    return await renewed(store.cache.flights, key, fetch)
