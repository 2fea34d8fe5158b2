"""What the tests with real servers can ask for."""

from integrations.iam_fixtures import iam_keys, iam_postgres, iam_trust, iam_valkey
from integrations.postgres import place, postgres_server
from integrations.redis_fixtures import cluster_server, redis_admin, redis_program, redis_server, rotating_redis

__all__ = [
    "cluster_server",
    "iam_keys",
    "iam_postgres",
    "iam_trust",
    "iam_valkey",
    "place",
    "postgres_server",
    "redis_admin",
    "redis_program",
    "redis_server",
    "rotating_redis",
]
