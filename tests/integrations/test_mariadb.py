"""MySQL's protocol without an adapter: a real MariaDB, through `connect_through_rotation` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials.rotation import connect_through_rotation, is_auth_error
from integrations.mariadb_drivers import driver, fetch, name

if TYPE_CHECKING:
    from types import ModuleType

    from aiocredentials import DatabaseCredentials
    from integrations.mariadb import MariaPlace

__all__ = ["driver", "name"]  # fixtures


async def test_a_rotation(maria: MariaPlace, driver: ModuleType) -> None:
    """A password that changes is bridged by what is pending; one that stays wrong ends in MySQL's own error."""
    await maria.app("first")

    async def connect(credentials: DatabaseCredentials) -> Any:  # noqa: ANN401
        where = {"host": credentials.host, "port": credentials.port}
        return await driver.connect(**where, user=credentials.username, password=credentials.password)

    async def user() -> str:
        connection = await connect_through_rotation(manager, connect)
        (found,) = await fetch(connection, "SELECT CURRENT_USER()")
        await connection.ensure_closed()
        return found

    async with maria.manager() as manager:
        assert await user() == "app@%"
        await maria.set_password("app", "second")
        maria.secrets.pend("db", maria.fields("app", "second"))
        assert await user() == "app@%"
        await maria.set_password("app", "third")
        with pytest.raises(Exception, match="Access denied") as caught:
            await connect_through_rotation(manager, connect, budget=0.2)
    assert is_auth_error(caught.value)
