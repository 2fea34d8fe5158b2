"""Never run: mypy and pyright read it, and so hold the types of the public door."""

from __future__ import annotations

import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

from aiocredentials import (
    AsyncCredentialsManager,
    CachePolicy,
    CacheStats,
    CredentialsError,
    CredentialsPool,
    DatabaseCredentials,
    RedisCredentials,
    ReplicaStatus,
    Secret,
    SecretDeletedError,
    SecretDescription,
    SecretExpiredError,
    SecretNotFoundError,
    __version__,
    forget_all,
    map_client_errors,
)
from aiocredentials.eventbridge import rotation_queue_watched
from aiocredentials.events import (
    Evicted,
    FailedBack,
    FailedOver,
    Fetched,
    FetchFailed,
    Listener,
    Refreshed,
    RefreshFailed,
    Rotated,
    SecretEvent,
    ServedStale,
)
from aiocredentials.iam import IamCacheCredentials, IamDatabaseCredentials
from aiocredentials.rotation import connect_through_rotation, is_auth_error, rotations_watched
from aiocredentials.testing import MotoServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

assert_type(__version__, str)


@dataclass(frozen=True)
class Database:
    """What a service makes of its secret."""

    user: str

    @classmethod
    def from_json(cls, text: str) -> Database:
        """Read it."""
        return cls(text)


async def per_call() -> None:
    """Without `decode` the JSON is whatever it is; with it, the type is the decoder's."""
    plain = AsyncCredentialsManager("prod/database")
    assert_type(plain, AsyncCredentialsManager[Any])
    assert_type(await plain.get(), Any)
    assert_type(await plain.retrieve_secret_string(), Any)

    decoded = AsyncCredentialsManager("prod/database", "eu-west-1", decode=Database.from_json)
    assert_type(decoded, AsyncCredentialsManager[Database])
    assert_type(await decoded.get(), Database)
    assert_type((await decoded.get()).user, str)
    assert_type(await decoded.retrieve_secret_string(), Any)
    assert_type(await AsyncCredentialsManager("prod/port", decode=int).get(), int)
    assert_type(await AsyncCredentialsManager("prod/text", decode=str).get(), str)
    assert_type(await AsyncCredentialsManager("prod/text", decode=str.upper, binary=False).get(), str)

    assert_type(await decoded.secret(), Secret)
    assert_type(await decoded.secret(version_id="1", version_stage="AWSPREVIOUS"), Secret)
    assert_type(await decoded.refresh(), Secret)
    decoded.invalidate()
    decoded.invalidate(if_version="1")
    assert_type(await decoded.describe(), SecretDescription)
    assert_type(decoded.decoded(await decoded.secret()), Database)
    assert_type(await connect_through_rotation(decoded, login, budget=timedelta(seconds=30), stages=()), list[int])
    assert_type(await connect_through_rotation(decoded, login, is_auth_error=is_auth_error), list[int])
    await connect_through_rotation(decoded, fetch)  # type: ignore[arg-type]
    async with rotations_watched(decoded, renew):
        pass
    async with decoded as entered:
        assert_type(entered, AsyncCredentialsManager[Database])


async def as_a_role(pool: CredentialsPool) -> None:
    """A role changes no type, and an error names it."""
    role = "arn:aws:iam::123456789012:role/reader"
    CredentialsPool(role_arn=role, external_id="1234", role_session_name=None)
    alone = AsyncCredentialsManager("prod/database", role_arn=role, role_session_name="orders")
    assert_type(alone, AsyncCredentialsManager[Any])
    decoded = pool.manager("prod/database", decode=Database.from_json, role_arn=role, external_id="1234")
    assert_type(decoded, AsyncCredentialsManager[Database])
    assert_type(CredentialsError("No.").role_arn, str | None)
    CredentialsPool(role_arn=5)  # type: ignore[arg-type]


def keystore(data: bytes) -> Database:
    """Read bytes."""
    return Database(data.hex())


async def pushed(pool: CredentialsPool) -> None:
    """Read a queue of events."""
    watched = rotation_queue_watched(pool, "https://sqs.eu-west-1.amazonaws.com/1/a", spread=timedelta(seconds=1))
    assert_type(watched, AbstractAsyncContextManager[None])
    async with watched:
        pass


async def in_bytes(pool: CredentialsPool) -> None:
    """With `binary=True` the decoder takes bytes, and the type is still the decoder's."""
    alone = AsyncCredentialsManager("prod/keystore", decode=keystore, binary=True)
    assert_type(alone, AsyncCredentialsManager[Database])
    assert_type(await alone.get(), Database)
    assert_type(await AsyncCredentialsManager("prod/keystore", decode=bytes, binary=True).get(), bytes)
    assert_type(pool.manager("prod/keystore", decode=keystore, binary=True), AsyncCredentialsManager[Database])
    assert_type(await pool.manager("prod/keystore", decode=bytes, binary=True).get(), bytes)
    assert_type(await pool.manager("prod/keystore", decode=lambda data: data.hex(), binary=True).get(), str)
    assert_type(pool.manager("prod/keystore", decode=keystore, binary=True).decoded(await alone.secret()), Database)


def credentials(database: DatabaseCredentials, redis: RedisCredentials) -> str:
    """The fields have types, none can be set, and all are given by name."""
    assert_type((database.username, database.password), tuple[str, str])
    assert_type((database.engine, database.host, database.dbname), tuple[str | None, str | None, str | None])
    assert_type(database.port, int | None)
    assert_type((redis.password, redis.username), tuple[str, str | None])
    assert_type(DatabaseCredentials.from_json("{}"), DatabaseCredentials)
    assert_type(RedisCredentials.from_text("{}"), RedisCredentials)
    assert_type(DatabaseCredentials.from_url(b"mysql://app:p@h"), DatabaseCredentials)
    assert_type(RedisCredentials.from_url("redis://:p@h"), RedisCredentials)
    assert_type(DatabaseCredentials.reader(username=("user", "login"), under=["a"])(b"{}"), DatabaseCredentials)
    assert_type(RedisCredentials.reader(url="REDIS_URL", fixed={"username": "app"})("{}"), RedisCredentials)
    DatabaseCredentials.reader(user="user")  # type: ignore[call-arg]
    assert_type(database.as_dsn(host="db.example"), str)
    database.host = "db.example"  # type: ignore[misc]
    redis.password = ""  # type: ignore[misc]
    DatabaseCredentials("app", "password")  # type: ignore[call-arg]
    DatabaseCredentials(username="app")  # type: ignore[call-arg]
    match database:
        case DatabaseCredentials(username=user, port=int(port)):
            return f"{user} {port + 1}"
        case _:
            return database.username


async def pooled() -> None:
    """A pool's managers are typed as those that stand alone."""
    async with CredentialsPool("eu-west-1", timeout=timedelta(seconds=3), policy=CachePolicy(ttl=60)) as pool:
        assert_type(pool, CredentialsPool)
        described = await pool.manager("prod/redis").describe()
        assert_type(described.replicas, tuple[ReplicaStatus, ...])
        assert_type(described.replicas[0].region, str)
        assert_type((described.replicas[0].status, described.replicas[0].message), tuple[str | None, str | None])
        assert_type(pool.manager("prod/redis"), AsyncCredentialsManager[Any])
        assert_type(pool.manager("prod/database", decode=Database.from_json), AsyncCredentialsManager[Database])
        assert_type(await pool.manager("prod/database", decode=Database.from_json).get(), Database)
        shaped = DatabaseCredentials.reader(username="user", fixed={"host": "h", "port": 5432})
        assert_type(await pool.manager("prod/database", decode=shaped).get(), DatabaseCredentials)
        assert_type(await pool.manager("prod/database", decode=shaped, binary=True).get(), DatabaseCredentials)
        assert_type(await pool.manager("x", decode=RedisCredentials.from_text, binary=True).get(), RedisCredentials)
        assert_type(await pool.manager("prod/redis", "eu-west-2", policy=None).get(), Any)
        assert_type(AsyncCredentialsManager("prod/port", pool=pool, decode=int), AsyncCredentialsManager[int])
    await pool.open()
    pool.forget()
    forget_all()
    await pool.aclose()


def note(event: SecretEvent) -> None:
    """Take note of an event: each kind has its own facts besides those of all."""
    assert_type((event.secret_name, event.region_name, event.version_stage), tuple[str, str, str | None])
    match event:
        case Rotated():
            assert_type((event.previous_version_id, event.version_id), tuple[str, str])
        case Fetched() | Refreshed():
            assert_type(event.version_id, str)
        case FetchFailed() | RefreshFailed():
            assert_type(event.error, CredentialsError)
        case ServedStale():
            assert_type((event.version_id, event.age), tuple[str, float])
        case FailedOver():
            assert_type((event.replica_region, event.error), tuple[str, CredentialsError])
        case Evicted() | FailedBack() | _:
            pass


class Notes:
    """A listener may be an object, too."""

    def __call__(self, event: SecretEvent, /) -> None:
        """Take note."""


async def current() -> None:
    """What the cache can do is typed: policies, prefetching, listeners, numbers, changes."""
    policy = CachePolicy(
        ttl=timedelta(minutes=5),
        jitter=0,
        refresh_ahead=None,
        patience=0.5,
        max_stale=timedelta(hours=1),
        negative_ttl=0,
    )
    assert_type(policy.ttl, float | timedelta)
    assert_type(policy.refresh_ahead, float | None)
    listener: Listener = note
    events: list[SecretEvent] = []
    CredentialsPool(listener=events.append)
    CredentialsPool(listener=Notes(), max_secrets=10, policy=None)
    async with CredentialsPool(policy=policy, prefetch=["prod/redis"], listener=listener) as pool:
        await pool.prefetch("prod/database", "prod/redis")
        assert_type(pool.stats(), CacheStats)
        assert_type(pool.stats().hits + pool.stats().misses + pool.stats().stale, int)
        assert_type(pool.stats().fetches + pool.stats().failures + pool.stats().entries, int)
        manager = pool.manager("prod/database", decode=DatabaseCredentials.from_json)
        assert_type(manager, AsyncCredentialsManager[DatabaseCredentials])
        assert_type((await manager.get()).port, int | None)
        async for secret in manager.changes():
            assert_type(secret, Secret)
        await manager.changes().aclose()


def expired(error: SecretExpiredError) -> None:
    """An expired value says why it couldn't be refreshed."""
    assert_type(error.reason, CredentialsError | None)


def sessions(theirs: aioboto3.Session, core: AioSession, config: AioConfig) -> None:
    """A session may be of either library."""
    AsyncCredentialsManager("prod/database", session=theirs, config=config, endpoint_url="http://127.0.0.1:5000")
    AsyncCredentialsManager("prod/database", session=core, timeout=1, policy=None)
    CredentialsPool(session=theirs)
    CredentialsPool("eu-west-1", replica_regions=["eu-central-1"])
    CredentialsPool(replica_regions=("eu-west-1", "eu-central-1"))
    CredentialsPool(session=core, config=config)


def secrets(secret: Secret) -> None:
    """A secret's provenance is typed, and none of it can be changed."""
    assert_type(secret.reveal(), str)
    assert_type(secret.reveal_bytes(), bytes)
    assert_type(secret.json(), Any)
    assert_type((secret.name, secret.arn, secret.region, secret.version_id), tuple[str, str, str, str])
    assert_type(secret.version_stages, tuple[str, ...])
    assert_type(secret.created_at, datetime | None)
    assert_type(secret.fetched_at, datetime)
    assert_type((secret.age, secret.is_stale), tuple[float, bool])
    assert_type(secret.is_binary, bool)


@map_client_errors(logging.getLogger(__name__))
async def fetch(secret_name: str, limit: int = 3) -> list[bytes]:
    """Call botocore."""
    return [secret_name.encode()] * limit


async def login(credentials: Database) -> list[int]:
    """Connect."""
    return [len(repr(credentials))]


async def renew(secret: Secret) -> None:
    """Act on a rotation."""
    assert_type(secret.version_id, str)


class Service:
    """Has a decorated method."""

    @map_client_errors(logging.getLogger(__name__))
    async def fetch(self, secret_name: str) -> Database:
        """Call botocore."""
        return Database(secret_name)


async def decorated() -> None:
    """A decorated function has the signature that it had."""
    assert_type(await fetch("prod/database", limit=1), list[bytes])
    assert_type(await Service().fetch("prod/database"), Database)
    same: Callable[[str, int], Coroutine[Any, Any, list[bytes]]] = fetch
    assert_type(await same("prod/database", 1), list[bytes])
    await fetch(1)  # type: ignore[arg-type]


async def errors() -> None:
    """An error's facts are typed, on the root and on each class."""
    try:
        await fetch("prod/database")
    except SecretNotFoundError as error:
        assert_type(error.secret_name, str | None)
    except CredentialsError as error:
        assert_type((error.region_name, error.region_source), tuple[str | None, str | None])
        assert_type((error.code, error.request_id), tuple[str | None, str | None])
        assert_type(error.transient, bool)
    root: type[CredentialsError] = SecretDeletedError
    assert_type(root.transient, bool)


async def print_all(event: SecretEvent) -> None:
    """Wait, as a listener must not."""
    assert_type(event, SecretEvent)


async def tokens(pool: CredentialsPool) -> None:
    """IAM tokens are what the adapters, and `connect_through_rotation`, take for managers."""

    async def login(credentials: DatabaseCredentials) -> int:
        return len(credentials.password)

    database = IamDatabaseCredentials(pool, host="db.example", port=5432, username="app")
    assert_type(await database.get(), DatabaseCredentials)
    assert_type(await database.secret(version_stage="AWSPENDING"), Secret)
    assert_type(await connect_through_rotation(database, login), int)
    cache = IamCacheCredentials(pool, cache_name="sessions", username="app", service="memorydb")
    assert_type(cache.decoded(await cache.secret()), RedisCredentials)
    await connect_through_rotation(cache, login)  # type: ignore[arg-type]
    IamCacheCredentials(pool, cache_name="sessions", username="app", service="rds-db")  # type: ignore[arg-type]


def misuse(pool: CredentialsPool) -> None:
    """What the constructor would refuse, type checkers refuse before."""
    AsyncCredentialsManager()  # type: ignore[call-overload]
    AsyncCredentialsManager("x", region_name=1)  # type: ignore[call-overload]
    pool.manager("x", timeout=1)  # type: ignore[call-overload]
    pool.manager("x", decode=keystore)  # type: ignore[arg-type]
    pool.manager("x", decode=Database.from_json, binary=True)  # type: ignore[call-overload]
    pool.manager("x", binary=True)  # type: ignore[call-overload]
    AsyncCredentialsManager("x", decode=keystore)  # type: ignore[arg-type]
    AsyncCredentialsManager("x", decode=Database.from_json, binary=True)  # type: ignore[call-overload]
    AsyncCredentialsManager("x", binary=True)  # type: ignore[call-overload]
    CachePolicy(60)  # type: ignore[call-arg]
    CachePolicy().ttl = 1  # type: ignore[misc]
    CachePolicy(tll=1)  # type: ignore[call-arg]
    pool.manager("x", policy=60)  # type: ignore[call-overload]
    pool.stats().hits = 0  # type: ignore[misc]
    CredentialsPool(listener=print_all)  # type: ignore[arg-type]
    CredentialsPool(replica_regions="eu-central-1")  # type: ignore[arg-type]


def moto() -> None:
    """The server for tests."""
    with MotoServer(start_timeout=timedelta(seconds=1)) as server:
        assert_type(server, MotoServer)
        assert_type(server.url, str)
        assert_type(server.environment(), dict[str, str])
