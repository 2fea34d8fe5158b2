"""Never run: mypy and pyright read it, and so hold the types of `load_settings` and of the OpenTelemetry listener."""

from __future__ import annotations

from typing import assert_type

from opentelemetry.metrics import get_meter_provider
from opentelemetry.trace import get_tracer_provider
from pydantic import SecretStr  # noqa: TC002 (a model's annotations are needed when it is made)
from pydantic_settings import BaseSettings

from aiocredentials import CredentialsPool, DatabaseCredentials, RedisCredentials
from aiocredentials.events import Fetched, FetchFailed, Listener, Refreshed, RefreshFailed, SecretEvent, fan_out
from aiocredentials.integrations.opentelemetry import OpenTelemetryListener
from aiocredentials.integrations.pydantic_settings import SecretSource, load_settings


class Settings(BaseSettings):
    """What a service has."""

    database: DatabaseCredentials
    redis: RedisCredentials | None = None
    redis_password: SecretStr


async def settings(pool: CredentialsPool) -> None:
    """The settings have the type of their class; a source is a name, a name and a key, or a manager of any type."""
    secrets: dict[str, SecretSource] = {
        "database": pool.manager("prod/database", decode=DatabaseCredentials.from_json),
        "redis_password": ("prod/redis", "password"),
    }
    assert_type(await load_settings(Settings, pool, secrets), Settings)
    assert_type(await load_settings(Settings, pool, {"redis_password": "prod/redis"}), Settings)
    manager = pool.manager("prod/database", decode=DatabaseCredentials.from_json)
    await load_settings(Settings, pool, {"database": manager, "redis_password": ("prod/redis", "password")})
    keystore = pool.manager("prod/keystore", decode=bytes.hex, binary=True)
    assert_type((await load_settings(Settings, pool, {"redis_password": keystore})).database, DatabaseCredentials)
    await load_settings(Settings, pool, {}, environment="loses", init={"_env_file": None})
    await load_settings(Settings, pool, {"database": b"prod/database"})  # type: ignore[dict-item]
    await load_settings(Settings, pool, {}, environment="never")  # type: ignore[arg-type]
    await load_settings(dict, pool, {})  # type: ignore[type-var]


def telemetry() -> None:
    """A listener is one, by itself and among others; OpenTelemetry's providers fit."""
    listener: Listener = OpenTelemetryListener()
    several: Listener = fan_out(listener, print)
    OpenTelemetryListener(tracer_provider=get_tracer_provider(), meter_provider=get_meter_provider(), secret_names=True)
    assert_type(OpenTelemetryListener().observe(CredentialsPool(listener=several)), CredentialsPool)


def durations(event: SecretEvent) -> None:
    """What is fetched, or isn't, has a duration."""
    if isinstance(event, (Fetched, Refreshed, FetchFailed, RefreshFailed)):
        assert_type(event.duration, float)
