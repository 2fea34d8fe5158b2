"""What secrets say, with types: `DatabaseCredentials` and `RedisCredentials`.

The format for databases is AWS's: "JSON structure of AWS Secrets Manager secrets", in the Secrets
Manager user guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypedDict, TypeVar, cast
from urllib.parse import quote

from aiocredentials._formats import DATABASE, REDIS, Format, Found, is_ipv6, port_of
from aiocredentials._pydantic_errors import OUR_TYPE
from aiocredentials.errors import SecretFormatError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable

# Engine → scheme, and the port that AWS's page gives where the secret has none. The names with "aurora" aren't on that
# page: the RDS API calls the engines so, and AWS's own rotation functions take them.
_ENGINES = {
    "postgres": ("postgresql", 5432), "aurora-postgresql": ("postgresql", 5432), "redshift": ("redshift", 5439),
    "mysql": ("mysql", 3306), "aurora-mysql": ("mysql", 3306), "mariadb": ("mariadb", 3306),
    "mongo": ("mongodb", 27017), "oracle": ("oracle", 1521), "sqlserver": ("mssql", 1433),
}  # fmt: skip

# SQLAlchemy's schemes have underscores, which RFC 3986 doesn't allow.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*")
_MASK = "password=***"

# A UnicodeEncodeError would hold the text. A secret that was read has no surrogates; an object made by hand may.
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


F = TypeVar("F", bound="_DatabaseFields | _RedisFields")


class _Credentials(Generic[F]):
    """What all credentials here share: fields that can't be changed, and a mask for the password.

    It is no dataclass, because serializers write each field of every dataclass that they meet.
    """

    __slots__ = ("_other_names", "_values")

    _format: ClassVar[Format]
    _values: Callable[[], F]
    _other_names: str

    def _keep(self, values: F) -> None:
        # A function holds the values: what dumps the slots of an object can print none of them.
        object.__setattr__(self, "_values", lambda: values)
        object.__setattr__(self, "_other_names", "")

    @classmethod
    def _made(cls, found: Found | str) -> Self:
        """Make the object. Raises `SecretFormatError` if what was found is a sentence."""
        if isinstance(found, str):
            raise make_error(SecretFormatError, found)
        made = cls(**found.fields)
        object.__setattr__(made, "_other_names", found.other_names)
        return made

    def __repr__(self) -> str:
        shown = {name: f"{name}={value!r}" for name, value in self._values().items()}
        shown["password"] = _MASK
        return f"{type(self).__qualname__}({', '.join(shown.values())})"

    def __dir__(self) -> list[str]:
        """Leave the password out: what dumps all attributes finds their names here."""
        return [name for name in super().__dir__() if name not in {"password", "_values"}]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(tuple(self._values().values()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} can't be changed: make another one.")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can't be pickled, because it has a password.")

    # For pydantic, which alone calls these, and whose core is there then.

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> dict[str, Any]:
        """Let it be a field: made of an object of this class, a secret's text, or its mapping.

        A dump for Python has the object itself, and one for JSON has its repr.
        """
        from pydantic_core import core_schema  # noqa: PLC0415 (not everybody has it)

        text = core_schema.str_schema()
        dump = core_schema.plain_serializer_function_ser_schema(
            cls._masked,
            return_schema=text,
            when_used="json",
        )
        schema = core_schema.no_info_plain_validator_function(cls._validated, serialization=dump)
        return {**schema}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, object]:
        if getattr(handler, "mode", None) == "serialization":
            return {"title": cls.__name__, "type": "string"}
        return {"title": cls.__name__, "type": ["object", "string"], "writeOnly": True}

    @classmethod
    def _validated(cls, given: object) -> Self:
        if isinstance(given, cls):
            return given
        found: Found | str
        if isinstance(given, str) and _MASK in given:
            found = "This is a dump, which has a mask in place of the password."
        elif isinstance(given, str):
            found = cls._format.read_text(given)
        elif isinstance(given, Mapping):
            found = cls._format.read(cast("Mapping[str, object]", given))
        else:
            found = f"This is neither {cls.__name__} nor the text or the mapping of a secret."
        if not isinstance(found, str):
            return cls._made(found)

        from pydantic_core import PydanticCustomError, ValidationError  # noqa: PLC0415 (as above)

        # Pydantic wants a literal: the sentence has no placeholders that an input could fill.
        sentence: Any = found
        kind = PydanticCustomError(OUR_TYPE, sentence)
        # An error of this class says itself what its input was: a mask.
        raise ValidationError.from_exception_data(cls.__name__, [{"type": kind, "input": "***"}])

    @classmethod
    def _masked(cls, field: object) -> str:
        # Only `model_construct` puts anything else into a field.
        return repr(field) if isinstance(field, cls) else "***"


class DatabaseCredentials(_Credentials[_DatabaseFields]):
    """What a database secret says. Give `DatabaseCredentials.from_json` to a manager, as `decode=`.

    Its repr masks the password, and so does all that is written of it: serializers refuse it, or
    write its repr. The attribute `password` and `as_dsn()` are what gives the password away. It
    can't be changed or pickled, and a copy is the same object. Other keys of the secret, such as
    `masterarn`, are for rotation and aren't kept.

    It can be a field of a pydantic model, which takes an object, the JSON of a secret, or a mapping
    with its keys.
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
        self._keep(
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
        """The database's kind, by AWS's name for it, such as "postgres"."""
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
        master user has nothing else. The others may be missing, null or empty: then they are None.
        `port` is a whole number or a string of its digits, from 1 to 65535. A port at the end of
        `host`, as in "db.example:5432", is read as `port`, and an IPv6 address loses its brackets.

        Raises:
            SecretFormatError: It names the key that is wrong and shows no value. Where `username`
                or `password` is missing, it names a key that looks like it, such as `user`.
                `as_dsn()` does so for `host`.
        """
        found = cls._format.read_text(text)
        # This frame is in the traceback of what may be raised below.
        del text
        return cls._made(found)

    def as_dsn(
        self,
        *,
        scheme: str | None = None,
        host: str | None = None,
        port: int | None = None,
        dbname: str | None = None,
    ) -> str:
        """Return a URL such as `postgresql://user:password@host:5432/dbname`. It holds the password: don't log it.

        What is given here goes before what the secret says. All parts are percent-encoded, an IPv6 host is put in
        brackets, and options can be added at the end: `+ "?sslmode=verify-full"`. Without `scheme` the engine chooses:
        postgresql for postgres, mongodb for mongo, mssql for sqlserver, the engine's own name for mysql, mariadb,
        oracle and redshift; Aurora's are postgresql and mysql. A port that is missing is the engine's usual one. Raises
        `ValueError` for a scheme or host that is missing, and for a scheme, host or port that can't be part of a URL.
        """
        usual_scheme, usual_port = _ENGINES.get(self.engine or "", (None, None))
        scheme = usual_scheme if scheme is None else scheme
        host = self.host if host is None else host
        port = next((each for each in (port, self.port, usual_port) if each is not None), None)
        dbname = self.dbname if dbname is None else dbname
        if scheme is None:
            raise ValueError(
                f"The secret's engine isn't one of {', '.join(_ENGINES)}: give scheme='postgresql' or so."
            )
        if not _SCHEME.fullmatch(scheme):
            raise ValueError(
                "scheme isn't that of a URL: give it without '://', such as 'postgresql+asyncpg'."
            )
        if not host:
            raise ValueError(self._no_host_message)
        if (place := _place(host)) is None:
            raise ValueError(
                "host has a colon and isn't an IPv6 address: give it without its port, which is port=."
            )
        if port is not None and port_of(port) is None:
            raise ValueError(
                "port isn't a whole number from 1 to 65535: give a correct one as port=."
            )
        place += ("" if port is None else f":{port}") + (f"/{_quoted(dbname)}" if dbname else "")
        return f"{scheme}://{_quoted(self.username)}:{_quoted(self.password)}@{place}"

    @property
    def _no_host_message(self) -> str:
        """What is wrong where a host is needed and neither the secret nor the caller names one."""
        reason = self._other_names or "those that RDS manages for master users never do"
        return f"The secret names no host; {reason}: give host=."


class RedisCredentials(_Credentials[_RedisFields]):
    """What a secret for Redis or Valkey says.

    Give `RedisCredentials.from_text` to a manager, as `decode=`. Its repr masks the password, and
    so does all that is written of it: serializers refuse it, or write its repr. The attribute
    `password` is what gives the password away. It can't be changed or pickled, and a copy is the
    same object. Without a username, the server takes the password for the user `default`.

    It can be a field of a pydantic model, which takes an object, the text of a secret, or a mapping
    with its keys.
    """

    __slots__ = ()

    _format = REDIS

    def __init__(self, *, password: str, username: str | None = None) -> None:
        self._keep({"password": password, "username": username})

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
        """Read a secret's text: a JSON object, or nothing but the token.

        An object has the password as `password`, `token` or `auth_token`; where there are several,
        the first of these. Its `username` may be missing, null or empty. Other keys, such as
        ElastiCache's `user_arn`, aren't kept. Text that doesn't begin with `{` is the token itself;
        spaces and line ends around it don't belong to it.

        Raises:
            SecretFormatError: It names the key that is wrong and shows no value. A text that can't
                be a token is refused, too: a URL, several lines, and JSON other than an object or a
                number.
        """
        found = cls._format.read_text(text)
        # This frame is in the traceback of what may be raised below.
        del text
        return cls._made(found)


def _place(host: str) -> str | None:
    bare = host.removeprefix("[").removesuffix("]")
    if ":" not in bare or host.startswith("/"):
        return _quoted(bare)
    # What can be quoted in an address is the % of a zone, as RFC 6874 wants it.
    return f"[{quote(bare, safe=':')}]" if is_ipv6(bare) else None
