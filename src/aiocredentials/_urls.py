"""Make URLs of database credentials: `DatabaseCredentials.as_dsn()`."""

from __future__ import annotations

import re
from functools import partial
from typing import NamedTuple, Protocol
from urllib.parse import quote

from aiocredentials._formats import is_ipv6, port_of


class _Engine(NamedTuple):
    """How URLs name the server of an engine, and the port that AWS documents for it."""

    scheme: str
    port: int


_POSTGRESQL = _Engine("postgresql", 5432)
_MYSQL = _Engine("mysql", 3306)
# AWS's page doesn't have the names with "aurora". The RDS API calls the engines so, and AWS's own
# rotation functions accept them.
_ENGINES = {
    "postgres": _POSTGRESQL,
    "aurora-postgresql": _POSTGRESQL,
    "redshift": _Engine("redshift", 5439),
    "mysql": _MYSQL,
    "aurora-mysql": _MYSQL,
    "mariadb": _Engine("mariadb", 3306),
    "mongo": _Engine("mongodb", 27017),
    "oracle": _Engine("oracle", 1521),
    "sqlserver": _Engine("mssql", 1433),
    # The port is that of AWS's rotation function. The page has MySQL's, by mistake.
    "db2": _Engine("db2", 50000),
}
_INFLUXDB = "timestream-influxdb"

# SQLAlchemy's schemes have underscores, which RFC 3986 doesn't allow.
_SCHEME = r"[A-Za-z][A-Za-z0-9+._-]*"

# A UnicodeEncodeError would hold the text. A secret that was read has no surrogates, but an object
# that was made by hand may have some.
_quoted = partial(quote, safe="", errors="surrogatepass")


class Login(Protocol):
    """Database credentials. Their repr masks the password, so tracebacks may show them."""

    @property
    def username(self) -> str: ...

    @property
    def password(self) -> str: ...

    @property
    def engine(self) -> str | None: ...

    @property
    def host(self) -> str | None: ...

    @property
    def port(self) -> int | None: ...

    @property
    def dbname(self) -> str | None: ...

    @property
    def _no_host_message(self) -> str: ...


def url_of(
    login: Login,
    *,
    scheme: str | None,
    host: str | None,
    port: int | None,
    dbname: str | None,
) -> str:
    """Return a URL with the password. What is given has priority over what the secret has.

    Raises:
        ValueError: A part is missing, or can't be part of a URL.
    """
    url_scheme = _scheme(login, scheme)
    server = _host(login, host)
    server += _port(login, port)
    path = login.dbname if dbname is None else dbname
    if path:
        server = f"{server}/{_quoted(path)}"
    return f"{url_scheme}://{_quoted(login.username)}:{_quoted(login.password)}@{server}"


def _scheme(login: Login, scheme: str | None) -> str:
    engine = _ENGINES.get(login.engine or "")
    if scheme is None and engine is not None:
        scheme = engine.scheme
    if scheme is None and login.engine == _INFLUXDB:
        raise ValueError("InfluxDB has no URL with a login: give its client user and password.")
    if scheme is None:
        engines = ", ".join(_ENGINES)
        raise ValueError(
            f"The secret's engine isn't one of {engines}: give a scheme, such as 'postgresql'."
        )
    if not re.fullmatch(_SCHEME, scheme):
        raise ValueError(
            "scheme isn't that of a URL: give it without '://', such as 'postgresql+asyncpg'."
        )
    return scheme


def _host(login: Login, host: str | None) -> str:
    host = login.host if host is None else host
    if not host:
        raise ValueError(login._no_host_message)  # noqa: SLF001 (the adapters share it)
    bare = host.removeprefix("[").removesuffix("]")
    is_socket = host.startswith("/")
    if is_socket or ":" not in bare:
        return _quoted(bare)
    if is_ipv6(bare):
        # The % before the zone of an address is quoted, as RFC 6874 demands.
        return f"[{quote(bare, safe=':')}]"
    raise ValueError(
        "host has a colon and isn't an IPv6 address: give it without its port, which is port=."
    )


def _port(login: Login, port: int | None) -> str:
    """Return the port and the colon before it; the empty string if there is no port."""
    engine = _ENGINES.get(login.engine or "")
    if port is None:
        port = login.port
    if port is None and engine is not None:
        port = engine.port
    if port is None:
        return ""
    if port_of(port) is None:
        raise ValueError("port isn't a whole number from 1 to 65535: give a correct one as port=.")
    return f":{port}"
