"""IAM authentication tokens in place of passwords: for RDS and Aurora, ElastiCache and MemoryDB.

A token is signed in this process, with the AWS credentials of a pool, for one connection. The
adapters for databases and Redis accept these managers in place of a secret's manager. Import this
module by its name: `from aiocredentials.iam import IamDatabaseCredentials`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from aiocredentials._arguments import check_name
from aiocredentials._iam.arguments import (
    check_cache_name,
    check_host,
    check_port,
    check_username,
    region_for,
)
from aiocredentials._iam.generations import TokenManager, role_of
from aiocredentials._pool import CredentialsPool
from aiocredentials.credentials import DatabaseCredentials, RedisCredentials

if TYPE_CHECKING:
    from typing import TypeAlias

    from aiocredentials._secret import Secret

    CacheService: TypeAlias = Literal["elasticache", "memorydb"]

__all__ = ["IamCacheCredentials", "IamDatabaseCredentials"]

_CLOCK = (
    "Check the clock of this host, because a token is valid for 15 minutes by AWS's clock; "
    "and the region, which is a part of the signature."
)
# The services for caches, and their permissions.
_PERMISSIONS = {"elasticache": "elasticache:Connect", "memorydb": "memorydb:Connect"}


class IamDatabaseCredentials(TokenManager[DatabaseCredentials]):
    """IAM tokens for a database of RDS or Aurora: PostgreSQL, MySQL or MariaDB.

    Pass it to an adapter in place of a manager. Each connection gets its own token, which is made
    when the connection is attempted. A token is valid for 15 minutes, and never for longer than the
    AWS credentials that signed it. Open connections stay open when a token or AWS credentials
    expire.

    A token isn't encrypted itself, so the adapters reject connections without TLS. AWS recommends
    IAM for fewer than 200 new connections per second (Amazon RDS user guide, "IAM database
    authentication").

    If the server refuses a token, the AWS credentials are loaded again. The identity needs
    `rds-db:connect` for this user on the resource of the database, and in the database the user
    needs the role `rds_iam` (PostgreSQL) or the plugin `AWSAuthenticationPlugin` (MySQL).

    A pool with a `CustomSession`, such as `LocalAgent` or a fake, has no AWS credentials. Then the
    token is signed with those of AWS's default chain: environment, profile, container, host.

    Example:
        ```python
        import ssl

        from aiocredentials import CredentialsPool
        from aiocredentials.iam import IamDatabaseCredentials
        from aiocredentials.integrations.asyncpg import create_pool

        HOST = "app.cluster-x.eu-west-1.rds.amazonaws.com"


        async def main() -> None:
            context = ssl.create_default_context(cafile="global-bundle.pem")
            async with CredentialsPool() as secrets:
                database = IamDatabaseCredentials(secrets, host=HOST, port=5432, username="app")
                async with create_pool(database, ssl=context, database="shop") as pool:
                    print(await pool.fetchval("SELECT current_user"))
        ```

    Args:
        pool: The pool whose AWS credentials sign. It must be open when connections are made.
        host: The endpoint of the instance, cluster or proxy, as AWS shows it. The token is signed
            for this name, so no other name of the same server works. If you connect to another
            host, as through a tunnel, pass that one to the adapter as `host=`.
        port: The port of the endpoint.
        username: The user in the database.
        dbname: The database; without it, the adapter's or the driver's own default.
        region_name: The region. Without it, the region in the host name; otherwise the pool's.
        role_arn: The role whose AWS credentials sign, instead of the pool's. The AWS credentials of
            the process assume it, and need sts:AssumeRole.
        external_id: The id that the role's trust policy names.
        role_session_name: The name of the role's session in CloudTrail.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument can't work: `host` is a URL or has a port, for example.
    """

    advice_if_refused = (
        "Check that the AWS identity is allowed rds-db:connect for this user; that the user has "
        "the role rds_iam (PostgreSQL) or the plugin AWSAuthenticationPlugin (MySQL); that host "
        f"and port are the endpoint as AWS shows it. {_CLOCK}"
    )

    def __init__(
        self,
        pool: CredentialsPool,
        *,
        host: str,
        port: int,
        username: str,
        dbname: str | None = None,
        region_name: str | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
    ) -> None:
        _check_pool(pool)
        check_host(host)
        check_port(port)
        check_username(username)
        check_name("dbname", dbname, "give the database's name, or leave it out")
        self._host = host
        self._port = port
        self._username = username
        self._dbname = dbname
        super().__init__(
            pool,
            service="rds-db",
            title=f"IAM token for {username} at {host}:{port}",
            region=region_for(region_name, host),
            role=role_of(pool, role_arn, external_id, role_session_name),
        )

    def decoded(self, secret: Secret) -> DatabaseCredentials:
        """Return credentials with a new token, signed with the AWS credentials of this version.

        Each call signs a new token: use it at once, for one connection.

        Raises:
            TypeError: `secret` isn't a return value of `secret()`.
            AuthenticationError: These AWS credentials can't sign.
        """
        address = f"{self._host}:{self._port}"
        parameters = {"Action": "connect", "DBUser": self._username}
        # No local variable holds the token, because a traceback may show it.
        return DatabaseCredentials(
            username=self._username,
            password=self._token(secret, address, parameters),
            host=self._host,
            port=self._port,
            dbname=self._dbname,
        )


class IamCacheCredentials(TokenManager[RedisCredentials]):
    """IAM tokens for a cache of ElastiCache, or for a cluster of MemoryDB, by redis-py.

    Pass it to `use_credentials` in place of a manager. Each connection gets its own token, which is
    made when the connection is attempted. A token is valid for 15 minutes, and never for longer
    than the AWS credentials that signed it.

    A token isn't encrypted itself, so the client must use TLS (`ssl=True`). The server ends a
    connection 12 hours after its last AUTH. With `reauthenticate=True`, `use_credentials` sends
    AUTH on open connections whenever the AWS credentials were renewed. Temporary credentials are
    renewed more often than every 12 hours.

    If the server refuses a token, the AWS credentials are loaded again. The identity needs
    `elasticache:Connect` or `memorydb:Connect` on both the cache and the user. The form of the
    token is AWS's: Amazon ElastiCache user guide and Amazon MemoryDB developer guide,
    "Authenticating with IAM".

    Example:
        ```python
        from redis.asyncio import Redis

        from aiocredentials import CredentialsPool
        from aiocredentials.iam import IamCacheCredentials
        from aiocredentials.integrations.redis import use_credentials

        HOST = "master.sessions.x.euw1.cache.amazonaws.com"


        async def main() -> None:
            async with CredentialsPool("eu-west-1") as secrets:
                cache = IamCacheCredentials(secrets, cache_name="sessions", username="app")
                async with use_credentials(Redis(host=HOST, ssl=True), cache) as redis:
                    await redis.set("key", "value")
        ```

    Args:
        pool: The pool whose AWS credentials sign. It must be open when connections are made.
        cache_name: The name of the serverless cache, the replication group or MemoryDB's cluster.
            The token is signed for this name, which isn't the host's.
        username: The user. In ElastiCache, its id and its name must be the same.
        service: `"elasticache"`, or `"memorydb"`.
        serverless: Whether it is a serverless cache of ElastiCache.
        region_name: The region; without it, the pool's. The host name of a cache doesn't show it.
        role_arn: The role whose AWS credentials sign, instead of the pool's. The AWS credentials of
            the process assume it, and need sts:AssumeRole.
        external_id: The id that the role's trust policy names.
        role_session_name: The name of the role's session in CloudTrail.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument can't work.
    """

    def __init__(
        self,
        pool: CredentialsPool,
        *,
        cache_name: str,
        username: str,
        service: CacheService = "elasticache",
        serverless: bool = False,
        region_name: str | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
        role_session_name: str | None = None,
    ) -> None:
        _check_pool(pool)
        check_cache_name(cache_name)
        check_username(username)
        _check_service(service, serverless=serverless)
        self._cache_name = cache_name
        self._username = username
        self._serverless = serverless
        self.advice_if_refused = (
            f"Check that the AWS identity is allowed {_PERMISSIONS[service]} on the cache and on "
            "the user; that the user's authentication mode is IAM; that cache_name and serverless= "
            f"are right. {_CLOCK}"
        )
        super().__init__(
            pool,
            service=service,
            title=f"IAM token for {username} at {service} {cache_name}",
            region=region_for(region_name),
            role=role_of(pool, role_arn, external_id, role_session_name),
        )

    def decoded(self, secret: Secret) -> RedisCredentials:
        """Return credentials with a new token, signed with the AWS credentials of this version.

        Each call signs a new token: use it at once, for one connection.

        Raises:
            TypeError: `secret` isn't a return value of `secret()`.
            AuthenticationError: These AWS credentials can't sign.
        """
        parameters = {"Action": "connect", "User": self._username}
        if self._serverless:
            parameters["ResourceType"] = "ServerlessCache"
        # No local variable holds the token, because a traceback may show it.
        return RedisCredentials(
            username=self._username,
            password=self._token(secret, self._cache_name, parameters),
        )


def _check_pool(pool: object) -> None:
    if not isinstance(pool, CredentialsPool):
        kind = type(pool).__name__
        raise TypeError(f"pool is a {kind}: give a CredentialsPool.")


def _check_service(service: object, *, serverless: object) -> None:
    if service not in _PERMISSIONS:
        raise ValueError("service is unknown: give 'elasticache' or 'memorydb'.")
    if not isinstance(serverless, bool):
        raise TypeError(f"serverless is a {type(serverless).__name__}: give True or False.")
    if serverless and service == "memorydb":
        raise ValueError("serverless=True is for ElastiCache: MemoryDB has no serverless caches.")
