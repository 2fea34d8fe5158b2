"""What the tests with real servers can ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from integrations.iam_fixtures import iam_keys, iam_mysql, iam_postgres, iam_trust, iam_valkey
from integrations.mariadb import maria, mariadb_authority, mariadb_server
from integrations.postgres import place, postgres_server
from integrations.redis_fixtures import cluster_server, redis_admin, redis_program, redis_server, rotating_redis

if TYPE_CHECKING:
    from collections.abc import Callable

    from integrations.rotation_load import Record

__all__ = [
    "cluster_server",
    "iam_keys",
    "iam_mysql",
    "iam_postgres",
    "iam_trust",
    "iam_valkey",
    "maria",
    "mariadb_authority",
    "mariadb_server",
    "place",
    "postgres_server",
    "redis_admin",
    "redis_program",
    "redis_server",
    "rotating_redis",
]


@pytest.fixture
def record_rotation(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Record:
    """Return a function that keeps a line of the table of rotations; with `--rotations FILE`, also in that file."""
    file = request.config.getoption("--rotations")

    def record(row: dict[str, Any]) -> None:
        line = json.dumps(row)
        record_property("rotation", line)
        print(line)  # noqa: T201 (`pytest -s` shows the table)
        if file is not None:
            # Each process of pytest-xdist appends its lines, which are written at once.
            with Path(file).open("a", encoding="utf-8") as lines:
                lines.write(f"{line}\n")

    return record
