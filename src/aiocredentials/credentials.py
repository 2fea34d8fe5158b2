"""Credentials with types: `DatabaseCredentials` and `RedisCredentials`.

The format for databases is AWS's: "JSON structure of AWS Secrets Manager secrets", in the Secrets
Manager user guide.
"""

from __future__ import annotations

import re
from functools import partial
from typing import NamedTuple, Self, TypedDict
from urllib.parse import quote

from aiocredentials._formats import DATABASE, REDIS, is_ipv6, port_of
from aiocredentials._masked_credentials import MaskedCredentials


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
}

# SQLAlchemy's schemes have underscores, which RFC 3986 doesn't allow.
_SCHEME = r"[A-Za-z][A-Za-z0-9+._-]*"

# A UnicodeEncodeError would hold the text. A secret that was read has no surrogates, but an object
# that was made by hand may have some.
_quoted = partial(quote, safe="", errors="surrogatepass")


class _DatabaseFields(TypedDict):
    username: str
    password: str
    engine: str | None
    host: str | None
    port: int | None
    dbname: str | None


class _RedisFields(TypedDict):
    password: str
    username: str | None


class DatabaseCredentials(MaskedCredentials[_DatabaseFields]):
    """The credentials in a database secret.

    Pass `DatabaseCredentials.from_json` to a manager, as `decode=`. Only the attribute `password`
    and the method `as_dsn()` return the password. The repr masks it, and serializers either refuse
    the object or write its repr. The object can't be changed or pickled, and a copy is the same
    object. Other keys of the secret, such as `masterarn`, are for rotation and are dropped.

    It can be a field of a pydantic model, which accepts an object, the JSON of a secret, or a
    mapping with its keys.
    """

    __slots__ = ()

    _format = DATABASE

    def __init__(
        self,
        *,
        username: str,
        password: str,
        engine: str | None = None,
        host: str | None = None,
        port: int | None = None,
        dbname: str | None = None,
    ) -> None:
        self._set_fields(
            {
                "username": username,
                "password": password,
                "engine": engine,
                "host": host,
                "port": port,
                "dbname": dbname,
            },
        )

    @property
    def username(self) -> str:
        """The user to sign in as."""
        return self._values()["username"]

    @property
    def password(self) -> str:
        """The user's password."""
        return self._values()["password"]

    @property
    def engine(self) -> str | None:
        """The kind of database, by AWS's name for it, such as "postgres"."""
        return self._values()["engine"]

    @property
    def host(self) -> str | None:
        """The server's name or address; an IPv6 address has no brackets."""
        return self._values()["host"]

    @property
    def port(self) -> int | None:
        """The server's port, from 1 to 65535."""
        return self._values()["port"]

    @property
    def dbname(self) -> str | None:
        """The name of the database on that server."""
        return self._values()["dbname"]

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a secret's text.

        `username` and `password` must be there, and not empty; a secret that RDS manages for a
        master user has no other keys. The others may be missing, null or empty: then they are None.
        `port` is a whole number or a string of its digits, from 1 to 65535. A port at the end of
        `host`, as in "db.example:5432", is read as `port`, and an IPv6 address loses its brackets.

        Raises:
            SecretFormatError: A key is missing or wrong. The error names the key and shows no
                value. If `username` or `password` is missing, it names a similar key, such as
                `user`. `as_dsn()` does so for `host`.
        """
        reading = cls._format.read_text(text)
        # This frame is in the traceback of the error that may be raised below.
        del text
        return cls._made_from(reading)

    def as_dsn(
        self,
        *,
        scheme: str | None = None,
        host: str | None = None,
        port: int | None = None,
        dbname: str | None = None,
    ) -> str:
        """Return a URL such as `postgresql://user:password@host:5432/dbname`.

        It holds the password, so don't log it. All parts are percent-encoded, an IPv6 host is put
        in brackets, and options can be added at the end: `+ "?sslmode=verify-full"`.

        Args:
            scheme: The part before `://`. Without it, the secret's engine decides: postgresql for
                postgres, mongodb for mongo, mssql for sqlserver, and the engine's own name for
                mysql, mariadb, oracle and redshift; Aurora's are postgresql and mysql.
            host: Used instead of the secret's host.
            port: Used instead of the secret's port. If neither is there, it is the usual port of
                the engine.
            dbname: Used instead of the secret's database; "" for none.

        Raises:
            ValueError: The scheme or the host is missing, or scheme, host or port can't be part of
                a URL.
        """
        url_scheme = self._scheme_for_url(scheme)
        server = self._host_for_url(host)
        server += self._port_for_url(port)
        path = self.dbname if dbname is None else dbname
        if path:
            server = f"{server}/{_quoted(path)}"
        return f"{url_scheme}://{_quoted(self.username)}:{_quoted(self.password)}@{server}"

    def _scheme_for_url(self, scheme: str | None) -> str:
        engine = _ENGINES.get(self.engine or "")
        if scheme is None and engine is not None:
            scheme = engine.scheme
        if scheme is None:
            engines = ", ".join(_ENGINES)
            raise ValueError(
                f"The secret's engine isn't one of {engines}: give scheme='postgresql' or so."
            )
        if not re.fullmatch(_SCHEME, scheme):
            raise ValueError(
                "scheme isn't that of a URL: give it without '://', such as 'postgresql+asyncpg'."
            )
        return scheme

    def _host_for_url(self, host: str | None) -> str:
        host = self.host if host is None else host
        if not host:
            raise ValueError(self._no_host_message)
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

    def _port_for_url(self, port: int | None) -> str:
        """Return the port and the colon before it; the empty string if there is no port."""
        engine = _ENGINES.get(self.engine or "")
        if port is None:
            port = self.port
        if port is None and engine is not None:
            port = engine.port
        if port is None:
            return ""
        if port_of(port) is None:
            raise ValueError(
                "port isn't a whole number from 1 to 65535: give a correct one as port=."
            )
        return f":{port}"

    @property
    def _no_host_message(self) -> str:
        """The message of the error if neither the secret nor the caller names a host."""
        reason = self._other_names or "those that RDS manages for master users never do"
        return f"The secret names no host; {reason}: give host=."


class RedisCredentials(MaskedCredentials[_RedisFields]):
    """The credentials in a secret for Redis or Valkey.

    Pass `RedisCredentials.from_text` to a manager, as `decode=`. Only the attribute `password`
    returns the password. The repr masks it, and serializers either refuse the object or write its
    repr. The object can't be changed or pickled, and a copy is the same object. Without a username,
    the server checks the password of the user `default`.

    It can be a field of a pydantic model, which accepts an object, the text of a secret, or a
    mapping with its keys.
    """

    __slots__ = ()

    _format = REDIS

    def __init__(self, *, password: str, username: str | None = None) -> None:
        self._set_fields({"password": password, "username": username})

    @property
    def password(self) -> str:
        """The user's password, or the token."""
        return self._values()["password"]

    @property
    def username(self) -> str | None:
        """The user to sign in as; None for the user `default`."""
        return self._values()["username"]

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a secret's text: a JSON object, or only the token.

        An object has the password as `password`, `token` or `auth_token`; if it has several, the
        first of these is used. Its `username` may be missing, null or empty. Other keys, such as
        ElastiCache's `user_arn`, are dropped. Text that doesn't begin with `{` is the token itself,
        without the spaces and line ends around it.

        Raises:
            SecretFormatError: A key is missing or wrong, or the text can't be a token: a URL,
                several lines, and JSON other than an object or a number. The error names the key
                and shows no value.
        """
        reading = cls._format.read_text(text)
        # This frame is in the traceback of the error that may be raised below.
        del text
        return cls._made_from(reading)
