"""What the tests with real servers can ask for."""

from integrations.redis_fixtures import (  # noqa: F401 (fixtures)
    cluster_server,
    redis_admin,
    redis_program,
    redis_server,
    rotating_redis,
)
