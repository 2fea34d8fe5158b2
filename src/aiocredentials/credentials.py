"""Credentials with types: `DatabaseCredentials` and `RedisCredentials`.

The format for databases is AWS's: "JSON structure of AWS Secrets Manager secrets", in the Secrets
Manager user guide.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Self, TypedDict

from aiocredentials._formats import DATABASE, REDIS
from aiocredentials._loops import loading
from aiocredentials._masked_credentials import MaskedCredentials

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    Keys: TypeAlias = str | Sequence[str]


_NOTHING_FIXED: Mapping[str, Any] = types.MappingProxyType({})


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

    Pass `DatabaseCredentials.from_json` to a manager, as `decode=`; for secrets of other shapes,
    `from_url` or the result of `reader()`. Only the attribute `password` and the method `as_dsn()`
    return the password. The repr masks it, and serializers either refuse the object or write its
    repr. The object can't be changed or pickled, and a copy is the same object. Other keys of the
    secret, such as `masterarn`, are for rotation and are dropped.

    It can be a field of a pydantic model, which accepts an object, the JSON of a secret, or a
    mapping with its keys.

    Example:
        ```python
        import asyncio

        from aiocredentials import CredentialsPool, DatabaseCredentials

        async def main() -> None:
            async with CredentialsPool("eu-west-1") as pool:
                database = pool.manager("prod/database", decode=DatabaseCredentials.from_json)
                credentials = await database.get()
                print(credentials.username, credentials.host, credentials.port)

        asyncio.run(main())
        ```
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
        """AWS's name of the kind of database, such as "postgres"."""
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
    def from_json(cls, text: str | bytes) -> Self:
        """Read a secret's text, or its bytes with `binary=True`, in AWS's format.

        The format is described in the Secrets Manager user guide, "JSON structure of AWS Secrets
        Manager secrets". `username` and `password` must be there, and not empty; a secret that RDS
        manages for a master user has no other keys. The others may be missing, null or empty: then
        they are None. `port` is a whole number or a string of its digits, from 1 to 65535. A port
        at the end of `host`, as in "db.example:5432", is read as `port`, and an IPv6 address loses
        its brackets.

        Raises:
            SecretFormatError: A key is missing or wrong. The error names the key and shows no
                value. If `username` or `password` is missing, it names the keys that are there,
                except keys that may be tokens.
        """
        reading = cls._format.read_text(text)
        # This frame is in the traceback of the error that may be raised below.
        del text
        return cls._made_from(reading)

    @classmethod
    def from_url(cls, text: str | bytes) -> Self:
        """Read a secret whose whole text is a URL, such as `postgresql://app:p%40ss@host:5432/db`.

        All parts are percent-decoded. In the password, '@' and ':' need no encoding. The scheme
        names the engine; a driver in it, as in `postgresql+asyncpg`, is dropped, and so is `jdbc:`
        before it. User and password must be there; host, port and database may be missing.
        Options aren't read, and a URL that has some is rejected, because `sslmode=require` must not
        get lost: give them to the driver, and read the secret with
        `reader(url=True, ignore_options=True)`. A URL with several hosts is rejected unless a
        reader names one: `reader(url=True, fixed={"host": "db.example"})`.

        Raises:
            SecretFormatError: The text isn't such a URL, or it is ambiguous because a character
                isn't percent-encoded. The error names the character, and shows no part of the URL.
        """
        decode = cls.reader(url=True)
        secrets = [text]
        # This frame is in the traceback of the error that may be raised below.
        del text
        return decode(secrets.pop())

    @classmethod
    def reader(
        cls,
        *,
        username: Keys | None = None,
        password: Keys | None = None,
        engine: Keys | None = None,
        host: Keys | None = None,
        port: Keys | None = None,
        dbname: Keys | None = None,
        url: Keys | bool = False,
        under: Keys = (),
        fixed: Mapping[str, str | int] = _NOTHING_FIXED,
        ignore_options: bool = False,
    ) -> Callable[[str | bytes], Self]:
        """Return a function that reads secrets of another shape. Pass it as `decode=`.

        Keys are matched exactly. A field whose key isn't given has AWS's key, as in `from_json`;
        with `url=`, it is a part of the URL. Readers with the same arguments are equal, their repr
        shows only keys, and they can be pickled. In `Annotated[DatabaseCredentials, reader]`, as
        the type of a field of a pydantic model, a reader reads the values of that field.

        Example:
            ```python
            from aiocredentials import DatabaseCredentials

            decode = DatabaseCredentials.reader(username="user", host=("hostname", "server"))
            ```

        Args:
            username: The key for the user. This argument and the next five may also be tuples of
                keys: the first key that is neither missing nor null nor empty is used.
            password: The key for the password.
            engine: The key for the engine, whose value is AWS's name of it.
            host: The key for the host.
            port: The key for the port.
            dbname: The key for the name of the database.
            url: The key of a URL, a tuple of keys, or True if the whole secret is a URL. The URL is
                read as by `from_url`. Keys that are given have priority over its parts.
            under: The path to the object that has the keys: one key, or a tuple of keys from the
                outside to the inside. An object may also be a string of JSON.
            fixed: Values for fields that the secret doesn't have, such as `{"host": "db.example"}`.
                They have priority over a URL. A password isn't accepted.
            ignore_options: Whether the URL may have options, which are dropped. It needs `url=`.

        Raises:
            ValueError: The arguments contradict each other, or a fixed value isn't valid.
            TypeError: A key isn't a string, or `fixed` isn't a mapping.
        """
        keys = {
            "username": username,
            "password": password,
            "engine": engine,
            "host": host,
            "port": port,
            "dbname": dbname,
        }
        with loading:
            from aiocredentials import _shapes  # noqa: PLC0415 (few programs need it)

        return _shapes.reader_of(
            cls,
            _shapes.DATABASE,
            keys,
            url=url,
            under=under,
            fixed=fixed,
            ignore_options=ignore_options,
        )

    def as_dsn(
        self,
        *,
        scheme: str | None = None,
        host: str | None = None,
        port: int | None = None,
        dbname: str | None = None,
    ) -> str:
        """Return a URL such as `postgresql://user:password@host:5432/dbname`.

        It contains the password, so don't log it. All parts are percent-encoded, an IPv6 host gets
        brackets, and you can add options at the end: `+ "?sslmode=verify-full"`.

        Args:
            scheme: The part before `://`. Without it, the secret's engine decides: postgresql for
                postgres, mongodb for mongo, mssql for sqlserver, and the engine's own name for
                mysql, mariadb, oracle, redshift and db2; Aurora's are postgresql and mysql.
                InfluxDB has no URL with a login.
            host: Used instead of the secret's host.
            port: Used instead of the secret's port. Without either, it is the usual port of the
                engine.
            dbname: Used instead of the secret's database; "" for none.

        Raises:
            ValueError: The scheme or the host is missing, or scheme, host or port isn't valid in a
                URL. If the host is missing, the error names the keys that look like one.
        """
        with loading:
            from aiocredentials import _urls  # noqa: PLC0415 (few programs need it)

        return _urls.url_of(self, scheme=scheme, host=host, port=port, dbname=dbname)

    @property
    def _no_host_message(self) -> str:
        """The message of the error if neither the secret nor the caller names a host."""
        return self._no_host_unless("give host=")

    def _no_host_unless(self, advice: str) -> str:
        """Return that message, with the advice for the caller."""
        reason = self._other_names or "secrets that RDS manages for master users never do"
        return f"The secret names no host; {reason}: {advice}."


class RedisCredentials(MaskedCredentials[_RedisFields]):
    """The credentials in a secret for Redis or Valkey.

    Pass `RedisCredentials.from_text` to a manager, as `decode=`; for secrets of other shapes,
    `from_url` or the result of `reader()`. Only the attribute `password` returns the password. The
    repr masks it, and serializers either refuse the object or write its repr. The object can't be
    changed or pickled, and a copy is the same object. Without a username, the server checks the
    password of the user `default`.

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
    def from_text(cls, text: str | bytes) -> Self:
        """Read a secret's text, or its bytes with `binary=True`: a JSON object, or only the token.

        An object has the password as `password`, `token` or `auth_token`; if it has several, the
        first of these is used. Its `username` may be missing, null or empty. Other keys, such as
        ElastiCache's `user_arn`, are dropped. Text that doesn't begin with `{` is the token itself,
        without the spaces and line ends around it.

        Raises:
            SecretFormatError: A key is missing or wrong, or the text can't be a token because it is
                a URL, has several lines, or is JSON other than an object or a number. The error
                names the key and shows no value.
        """
        reading = cls._format.read_text(text)
        # This frame is in the traceback of the error that may be raised below.
        del text
        return cls._made_from(reading)

    @classmethod
    def from_url(cls, text: str | bytes) -> Self:
        """Read a secret whose whole text is a URL, such as `rediss://app:p%40ss@host:6379/0`.

        User and password are percent-decoded; the user may be missing. The rest of the URL isn't
        read, because the client that you make has its own server, database and TLS.

        Raises:
            SecretFormatError: The text isn't such a URL. The error shows no part of it.
        """
        decode = cls.reader(url=True)
        secrets = [text]
        # This frame is in the traceback of the error that may be raised below.
        del text
        return decode(secrets.pop())

    @classmethod
    def reader(
        cls,
        *,
        username: Keys | None = None,
        password: Keys | None = None,
        url: Keys | bool = False,
        under: Keys = (),
        fixed: Mapping[str, str] = _NOTHING_FIXED,
    ) -> Callable[[str | bytes], Self]:
        """Return a function that reads secrets of another shape. Pass it as `decode=`.

        Keys are matched exactly. Readers with the same arguments are equal, their repr shows only
        keys, and they can be pickled. In `Annotated[RedisCredentials, reader]`, as the type of a
        field of a pydantic model, a reader reads the values of that field.

        Args:
            username: The key for the user, or a tuple of keys; the default is `username`.
            password: The key for the password, or a tuple of keys; by default the first of
                `password`, `token` and `auth_token`.
            url: The key of a URL, a tuple of keys, or True if the whole secret is a URL. The URL is
                read as by `from_url`. Keys that are given have priority over its parts.
            under: The path to the object that has the keys: one key, or a tuple of keys from the
                outside to the inside. An object may also be a string of JSON.
            fixed: The user, if the secret doesn't have it: `{"username": "app"}`.

        Raises:
            ValueError: The arguments contradict each other, or a fixed value isn't valid.
            TypeError: A key isn't a string, or `fixed` isn't a mapping.
        """
        with loading:
            from aiocredentials import _shapes  # noqa: PLC0415 (few programs need it)

        return _shapes.reader_of(
            cls,
            _shapes.REDIS,
            {"username": username, "password": password},
            url=url,
            under=under,
            fixed=fixed,
        )
