"""What secrets say, with types: `DatabaseCredentials` for RDS and its like, `RedisCredentials` for Redis and Valkey.

The format for databases is AWS's: "JSON structure of AWS Secrets Manager secrets", in the Secrets Manager user guide.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields
from functools import partial
from ipaddress import IPv6Address
from typing import Any, NoReturn, Self, cast
from urllib.parse import quote

from aiocredentials.errors import SecretFormatError, describe

# Engine → scheme, and the port that AWS's page gives where the secret has none. The names with "aurora" aren't on that
# page: the RDS API calls the engines so, and AWS's own rotation functions take them.
_ENGINES = {
    "postgres": ("postgresql", 5432), "aurora-postgresql": ("postgresql", 5432), "redshift": ("redshift", 5439),
    "mysql": ("mysql", 3306), "aurora-mysql": ("mysql", 3306), "mariadb": ("mariadb", 3306),
    "mongo": ("mongodb", 27017), "oracle": ("oracle", 1521), "sqlserver": ("mssql", 1433),
}  # fmt: skip
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]*")  # SQLAlchemy's have underscores, which RFC 3986 doesn't allow
_PASSWORDS = ("password", "token", "auth_token")  # what secrets call the password for Redis, in this order
# A UnicodeEncodeError would hold the text. A secret that was read has no surrogates; an object made by hand may.
_quoted = partial(quote, safe="", errors="surrogatepass")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class _Masked:
    """What all credentials here have in common: a mask for what isn't shown, no pickle, and no copy."""

    def __repr__(self) -> str:
        shown = (f"{one.name}={getattr(self, one.name)!r}" if one.repr else f"{one.name}=***" for one in fields(self))
        return f"{type(self).__qualname__}({', '.join(shown)})"

    # Not the one that dataclass makes: for that, pytest explains a failed assert by printing the fields that differ.
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, one.name) == getattr(other, one.name) for one in fields(self))

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, one.name) for one in fields(self)))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can't be pickled, so that a password is never written anywhere.")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class DatabaseCredentials(_Masked):
    """What a database secret says. Give `DatabaseCredentials.from_json` to a manager, as `decode=`.

    Its repr masks the password; `as_dsn()` and `dataclasses.asdict` give it away. It can't be pickled, and a copy is
    the same object. Other keys of the secret, such as `masterarn`, are for rotation and aren't kept.
    """

    username: str
    password: str = field(repr=False)
    engine: str | None = None
    host: str | None = None
    port: int | None = None
    dbname: str | None = None

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a secret's text.

        `username` and `password` must be there, and not empty; a secret that RDS manages for a master user has nothing
        else. The others may be missing, null or empty: then they are None. `port` is a whole number or a string of its
        digits, from 1 to 65535. Raises `SecretFormatError`, which names the key that is wrong and shows no value.
        """
        found = _read(text)
        del text  # this frame is in the traceback of what is raised below
        if isinstance(found, str):
            raise describe(SecretFormatError, found)
        return cls(**found)

    def as_dsn(
        self, *, scheme: str | None = None, host: str | None = None, port: int | None = None, dbname: str | None = None
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
            raise ValueError(f"The secret's engine isn't one of {', '.join(_ENGINES)}: give scheme='postgresql' or so.")
        if not _SCHEME.fullmatch(scheme):
            raise ValueError("scheme isn't that of a URL: give it without '://', such as 'postgresql+asyncpg'.")
        if not host:
            raise ValueError("The secret names no host; those that RDS manages for master users never do: give host=.")
        if (place := _place(host)) is None:
            raise ValueError("host has a colon and isn't an IPv6 address: give it without its port, which is port=.")
        if port is not None and _port(port) is None:
            raise ValueError("port isn't a whole number from 1 to 65535: give a correct one as port=.")
        place += ("" if port is None else f":{port}") + (f"/{_quoted(dbname)}" if dbname else "")
        return f"{scheme}://{_quoted(self.username)}:{_quoted(self.password)}@{place}"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class RedisCredentials(_Masked):
    """What a secret for Redis or Valkey says. Give `RedisCredentials.from_text` to a manager, as `decode=`.

    Its repr masks the password, which `dataclasses.asdict` gives away. It can't be pickled, and a copy is the same
    object. Without a username, the server takes the password for the user `default`.
    """

    password: str = field(repr=False)
    username: str | None = None

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read a secret's text: a JSON object, or nothing but the token.

        An object has the password as `password`, `token` or `auth_token`; where there are several, the first of these.
        Its `username` may be missing, null or empty. Other keys, such as ElastiCache's `user_arn`, aren't kept. Text
        that doesn't begin with `{` is the token itself; spaces and line ends around it don't belong to it. Raises
        `SecretFormatError`, which names the key that is wrong and shows no value.
        """
        found = _read_redis(text)
        del text  # this frame is in the traceback of what is raised below
        if isinstance(found, str):
            raise describe(SecretFormatError, found)
        return cls(**found)


def _read(text: str) -> dict[str, Any] | str:
    """Return the fields, or a sentence on what is wrong: this frame holds the text, so nothing is raised from here."""
    try:
        data = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return "The secret isn't JSON."
    if not isinstance(data, dict):
        return "The secret is JSON, but not an object with the keys 'username' and 'password'."
    given = cast("dict[str, Any]", data)
    found = {one.name: given[one.name] for one in fields(DatabaseCredentials) if given.get(one.name) not in (None, "")}
    if missing := [key for key in ("username", "password") if key not in found]:
        return f"The secret has no {' and no '.join(map(repr, missing))}, or an empty one."
    for key, value in found.items():
        found[key] = _port(value) if key == "port" else _unicode(value)
        if found[key] is None:
            what = "a whole number from 1 to 65535" if key == "port" else "a string of Unicode text"
            return f"The secret's {key!r} isn't {what}."
    return found


def _read_redis(text: str) -> dict[str, str] | str:
    """Return the fields, or a sentence on what is wrong, as `_read` does."""
    token = (_unicode(text) or "").strip()
    if not token:
        return "The secret is empty, or isn't Unicode text."
    if not token.startswith("{"):
        return {"password": token}
    try:
        data = json.loads(token)
    except (ValueError, RecursionError):
        return "The secret begins like a JSON object, and isn't one."
    given = {key: data[key] for key in ("username", *_PASSWORDS) if data.get(key) not in (None, "")}
    key = next((each for each in _PASSWORDS if each in given), None)
    if key is None:
        return f"The secret has no {', no '.join(map(repr, _PASSWORDS))}, or an empty one."
    found = {field: given[name] for field, name in (("username", "username"), ("password", key)) if name in given}
    for name, value in (("username", found.get("username", "")), (key, found["password"])):
        if _unicode(value) is None:
            return f"The secret's {name!r} isn't a string of Unicode text."
    return found


def _port(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch("[0-9]{1,5}", value):
        value = int(value)
    return value if type(value) is int and 1 <= value <= 65535 else None  # noqa: PLR2004 (the last TCP port)


def _unicode(value: object) -> str | None:
    return value if isinstance(value, str) and not re.search("[\ud800-\udfff]", value) else None


def _place(host: str) -> str | None:
    bare = host.removeprefix("[").removesuffix("]")
    if ":" not in bare:
        return _quoted(bare)
    try:
        IPv6Address(bare)
    except ValueError:
        return None
    return f"[{quote(bare, safe=':')}]"  # what can be quoted here is the % of a zone, as RFC 6874 wants it
