"""Recognize that a server refused user or password, and repeat what it said without a secret.

No database library is imported here: an exception is known by its attributes, its class's name,
and its text.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocredentials._secret import Secret

# What PostgreSQL says in English, then PgBouncer, then RDS Proxy (Amazon RDS user guide,
# "Troubleshooting for RDS Proxy"). It is needed where psycopg has no other fact.
_POSTGRES_WORDS = re.compile(
    'password authentication failed|no password supplied|role ".*" does not exist'
    '|role ".*" is not permitted to log in'
    "|SASL authentication failed"
    "|password that was provided for the role|has no credentials for the role"
)
# What PostgreSQL says in English to a user who did sign in.
_AFTER_LOGIN = re.compile('(database|parameter) "|too many|connection slots|connection limit')
# How libpq writes a server's error: the severity in the server's language, a colon, two spaces.
_SERVER_MESSAGE = re.compile(r"\w: {2}(.*)", re.DOTALL)

# Access denied: with this password; without a password (MySQL's error reference). 1044, access
# denied to a database, isn't here: no other password mends it.
_MYSQL_CODES = {1045, 1698}
_REDIS_CLIENTS = {"redis", "valkey", "coredis"}

_LONGEST_TEXT = 300
_SHORTEST_VALUE = 8
_PASSWORD_KEYS = {"password", "token", "auth_token"}
_SHOWN_KEYS = {"username", "user", "engine", "host", "hostname", "port", "dbname", "database"}


def is_auth_error(exception: BaseException) -> bool:
    """Return whether a server refused user or password: PostgreSQL, MySQL or Redis, by any client.

    It reads the exception, its causes, and what SQLAlchemy keeps as `.orig`:

    * an SQLSTATE of class 28. No entry in pg_hba.conf is of that class too, but isn't a refusal
      of the password: no other password mends it.
    * psycopg has no SQLSTATE when it can't connect. There it is a refusal if libpq says that a
      password was used and the server answered with an error, in any language, except for what
      comes after the login, such as a database that doesn't exist.
    * MySQL's codes 1045 and 1698; not 1044, which is about a database.
    * Redis's WRONGPASS and NOAUTH, which redis-py raises as `AuthenticationError`.

    A `CredentialsError` isn't one: that is about AWS.
    """
    links = list(_chain(exception))
    return any(map(_is_refusal, links)) and not any(map(_is_about_the_host, links))


def _chain(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it was made from, each once: a chain can be a circle.

    Contexts aren't followed: an error that was raised while a refusal was handled isn't a refusal.
    """
    waiting: list[object] = [exception]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            waiting += [each.__cause__, getattr(each, "orig", None)]
            yield each


def _is_refusal(exception: BaseException) -> bool:
    if isinstance(exception, (CredentialsError, OSError)):
        return False
    if _mysql_code(exception) in _MYSQL_CODES:
        return True
    sqlstate = getattr(exception, "sqlstate", "")
    if isinstance(sqlstate, str) and sqlstate:
        # Invalid authorization specification (PostgreSQL's documentation, appendix A).
        return sqlstate.startswith("28")
    text = str(exception)
    if sqlstate is None:
        return _is_refusal_by_libpq(exception, text)
    return _is_redis_refusal(exception, text)


def _mysql_code(exception: BaseException) -> int | None:
    first = exception.args[0] if exception.args else None
    code = getattr(exception, "errno", first)
    return code if type(code) is int else None


def _is_refusal_by_libpq(exception: BaseException, text: str) -> bool:
    if _POSTGRES_WORDS.search(text):
        return True
    pgconn = getattr(exception, "pgconn", None)
    answer = _SERVER_MESSAGE.search(text)
    if pgconn is None or answer is None or not _used_password(pgconn):
        return False
    # The server asked for a password, and then sent an error. libpq doesn't say whether the login
    # was over by then. Such errors name the database in each language, and not the user.
    message = answer[1]
    user = _names(pgconn, "user", message)
    database = _names(pgconn, "db", message)
    return not _AFTER_LOGIN.search(message) and (user or not database)


def _used_password(pgconn: object) -> bool:
    # A connection that psycopg has finished may raise.
    with contextlib.suppress(Exception):
        return bool(getattr(pgconn, "used_password", False))
    return False


def _names(pgconn: object, attribute: str, message: str) -> bool:
    name = getattr(pgconn, attribute, b"").decode("utf-8", "replace")
    return bool(name) and bool(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message))


def _is_redis_refusal(exception: BaseException, text: str) -> bool:
    for cls in type(exception).__mro__:
        client = cls.__module__.partition(".")[0]
        if cls.__name__ == "AuthenticationError" and client in _REDIS_CLIENTS:
            return True
    return text.startswith(("WRONGPASS", "NOAUTH"))


def _is_about_the_host(exception: BaseException) -> bool:
    """Return whether PostgreSQL's pg_hba.conf refused the host, the encryption or the certificate.

    That has an SQLSTATE of class 28 as well. asyncpg keeps the name of the server's function, which
    is the same in each language. The name of the file is never translated.
    """
    function = getattr(exception, "server_source_function", None)
    about_the_host = function == "ClientAuthentication" or "pg_hba.conf" in str(exception)
    return about_the_host and not isinstance(exception, CredentialsError)


def remove_passwords(exception: BaseException) -> None:
    """Remove the password that psycopg keeps in its error's `pgconn`, whose repr shows it."""
    for link in _chain(exception):
        pgconn: Any = getattr(link, "pgconn", None)
        # A connection that is open belongs to somebody; its status is 0.
        if pgconn is not None and getattr(pgconn, "status", None):
            # Each of these fails for one of the two classes that a `pgconn` may be of.
            with contextlib.suppress(Exception):
                pgconn.finish()
            with contextlib.suppress(Exception):
                pgconn.password = b""
                pgconn.info = []


def words_of(exception: BaseException, secret: Secret) -> str:
    """Return what a server said, as one line for the log, without any value of the secret."""
    text = str(exception)
    for value in sorted(_values(secret), key=len, reverse=True):
        quoted = quote(value, safe="", errors="surrogatepass")
        for spelling in (value, quoted, repr(value)[1:-1], ascii(value)[1:-1]):
            pattern = re.escape(spelling)
            if len(value) < _SHORTEST_VALUE:
                # A short value may be a part of any word, and a hole in a word would show it.
                pattern = rf"(?<!\w){pattern}(?!\w)"
            text = re.sub(pattern, "***", text)
    return f"{type(exception).__name__}: {one_line(text)}".removesuffix(": ")


def one_line(text: str) -> str:
    """Return a text without control characters and line ends, cut where it is very long."""
    line = " ".join(text.split())
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
    if len(line) > _LONGEST_TEXT:
        line = f"{line[:_LONGEST_TEXT]}..."
    return line


def _values(secret: Secret) -> set[str]:
    """Return the strings in a secret that may be a password."""
    try:
        text = secret.reveal()
    except CredentialsError:
        # The secret is binary.
        text = secret.reveal_bytes().decode("latin-1")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        found = text.strip()

    values: set[str] = set()
    waiting: list[tuple[str, object]] = [("password", found)]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting += cast("dict[str, object]", value).items()
        elif isinstance(value, list):
            waiting += [(key, each) for each in cast("list[object]", value)]
        elif _is_hidden(key, str(value)):
            values.add(str(value))
    return values


def _is_hidden(key: str, value: str) -> bool:
    """Return whether a string may be a password, by the key that it is nearest to."""
    if key in _PASSWORD_KEYS:
        return bool(value)
    return key not in _SHOWN_KEYS and len(value) >= _SHORTEST_VALUE
