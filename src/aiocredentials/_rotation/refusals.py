"""Recognize that a server refused user or password, and log the server's words without a secret.

No database library is imported here: an exception is recognized by its attributes, the name of its
class, and its text.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from aiocredentials._exceptions import walk
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocredentials._secret import Secret

# The English messages of PostgreSQL, then of PgBouncer, then of RDS Proxy (Amazon RDS user guide,
# "Troubleshooting for RDS Proxy"). They are needed where psycopg has no other fact.
_POSTGRES_REFUSALS = (
    "password authentication failed",
    "no password supplied",
    'role ".*" does not exist',
    'role ".*" is not permitted to log in',
    "SASL authentication failed",
    "password that was provided for the role",
    "has no credentials for the role",
)
_POSTGRES_REFUSAL = re.compile("|".join(_POSTGRES_REFUSALS))
# The English messages of PostgreSQL about a user whose login succeeded.
_AFTER_LOGIN = re.compile('(database|parameter) "|too many|connection slots|connection limit')
# How libpq writes a server's error: the severity in the server's language, a colon, two spaces.
_SERVER_MESSAGE = re.compile(r"\w: {2}(.*)", re.DOTALL)
# Invalid authorization specification (PostgreSQL's documentation, appendix A).
_REFUSAL_CLASS = "28"

# Access denied: with this password; without a password (MySQL's error reference). 1044, access
# denied to a database, isn't here, because no other password helps.
_MYSQL_CODES = {1045, 1698}
_REDIS_REFUSALS = ("WRONGPASS", "NOAUTH")
_REDIS_CLIENTS = {"redis", "valkey", "coredis"}

_LONGEST_TEXT = 300
_SHORTEST_VALUE = 8
_PASSWORD_KEYS = {"password", "token", "auth_token"}
_SHOWN_KEYS = {"username", "user", "engine", "host", "hostname", "port", "dbname", "database"}


def is_auth_error(exception: BaseException) -> bool:
    """Return whether a server refused user or password: PostgreSQL, MySQL or Redis, by any client.

    It reads the exception, its causes, and the exceptions that SQLAlchemy keeps as `.orig`:

    * An SQLSTATE of class 28 is a refusal. "No entry in pg_hba.conf" has that class too, but isn't
      a refusal of the password, because no other password helps.
    * psycopg has no SQLSTATE when it can't connect. Such an error is a refusal if libpq reports
      that a password was used and the server answered with an error, in any language, except for
      an error after the login, such as a database that doesn't exist.
    * MySQL's codes 1045 and 1698 are refusals; 1044 isn't, because it is about a database.
    * Redis's WRONGPASS and NOAUTH are refusals; redis-py raises them as `AuthenticationError`.

    A `CredentialsError` is never a refusal, because it is about AWS.
    """
    links = list(_origins(exception))
    if not any(map(_is_refusal, links)):
        return False
    return not any(map(_is_about_the_host, links))


def _origins(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its causes, and the errors that SQLAlchemy wrapped.

    Unlike the search for AWS's errors (`_aws.findings`), this one doesn't follow contexts: an error
    that was raised while a refusal was handled isn't a refusal.
    """
    return walk(exception, lambda link: (link.__cause__, getattr(link, "orig", None)))


def _is_refusal(exception: BaseException) -> bool:
    if isinstance(exception, (CredentialsError, OSError)):
        return False
    if _mysql_code(exception) in _MYSQL_CODES:
        return True

    sqlstate = getattr(exception, "sqlstate", "")
    if isinstance(sqlstate, str) and sqlstate:
        return sqlstate.startswith(_REFUSAL_CLASS)
    text = str(exception)
    # psycopg has the attribute, and it is None where libpq couldn't connect.
    if sqlstate is None:
        return _is_refusal_by_libpq(exception, text)
    return _is_redis_refusal(exception, text)


def _mysql_code(exception: BaseException) -> int | None:
    first = next(iter(exception.args), None)
    code = getattr(exception, "errno", first)
    return code if type(code) is int else None


def _is_refusal_by_libpq(exception: BaseException, text: str) -> bool:
    if _POSTGRES_REFUSAL.search(text):
        return True
    pgconn = getattr(exception, "pgconn", None)
    answer = _SERVER_MESSAGE.search(text)
    if pgconn is None or answer is None or not _used_password(pgconn):
        return False

    # The server asked for a password, and then sent an error. libpq doesn't report whether the
    # login was over by then. An error after the login names the database in each language, and not
    # the user.
    message = answer[1]
    if _AFTER_LOGIN.search(message):
        return False
    names_user = _has_name(message, pgconn, "user")
    names_database = _has_name(message, pgconn, "db")
    return names_user or not names_database


def _used_password(pgconn: object) -> bool:
    # A connection that psycopg has finished may raise.
    with contextlib.suppress(Exception):
        return bool(getattr(pgconn, "used_password", False))
    return False


def _has_name(message: str, pgconn: object, attribute: str) -> bool:
    """Return whether a message has the name that is an attribute of libpq's connection."""
    encoded: bytes = getattr(pgconn, attribute, b"")
    name = encoded.decode("utf-8", "replace")
    if not name:
        return False
    return re.search(_as_word(re.escape(name)), message) is not None


def _as_word(pattern: str) -> str:
    """Return a pattern that matches only where no letter or digit is next to the match."""
    return rf"(?<!\w){pattern}(?!\w)"


def _is_redis_refusal(exception: BaseException, text: str) -> bool:
    for cls in type(exception).__mro__:
        client = cls.__module__.partition(".")[0]
        if cls.__name__ == "AuthenticationError" and client in _REDIS_CLIENTS:
            return True
    return text.startswith(_REDIS_REFUSALS)


def _is_about_the_host(exception: BaseException) -> bool:
    """Return whether PostgreSQL's pg_hba.conf refused the host, the encryption or the certificate.

    That error has an SQLSTATE of class 28 too. asyncpg keeps the name of the server's function,
    which is the same in each language. The name of the file is never translated.
    """
    if isinstance(exception, CredentialsError):
        return False
    function = getattr(exception, "server_source_function", None)
    return function == "ClientAuthentication" or "pg_hba.conf" in str(exception)


def remove_passwords(exception: BaseException) -> None:
    """Remove the password that psycopg keeps in its error's `pgconn`, whose repr shows it."""
    for link in _origins(exception):
        pgconn: Any = getattr(link, "pgconn", None)
        # An open connection, whose status is 0, is still in use, and isn't touched.
        if pgconn is not None and getattr(pgconn, "status", None):
            # Each of these fails for one of the two classes that a `pgconn` may have.
            with contextlib.suppress(Exception):
                pgconn.finish()
            with contextlib.suppress(Exception):
                pgconn.password = b""
                pgconn.info = []


def words_of(exception: BaseException, secret: Secret) -> str:
    """Return a server's words, as one line for the log, without any value of the secret."""
    text = str(exception)
    for value in sorted(_values(secret), key=len, reverse=True):
        for spelling in _spellings(value):
            pattern = re.escape(spelling)
            if len(value) < _SHORTEST_VALUE:
                # A short value may be part of any word, and a gap in a word would show the value.
                pattern = _as_word(pattern)
            text = re.sub(pattern, "***", text)

    name = type(exception).__name__
    line = f"{name}: {log_line(text)}"
    return line.removesuffix(": ")


def log_line(text: str) -> str:
    """Return a text fit for the log: without control characters and line ends, and not too long.

    Several lines are joined by spaces, and the place of a cut is marked. `errors` has a function
    with other rules, for the parts of a message.
    """
    line = " ".join(text.split())
    line = "".join(map(_printable, line))
    if len(line) > _LONGEST_TEXT:
        line = f"{line[:_LONGEST_TEXT]}..."
    return line


def _printable(character: str) -> str:
    if character.isprintable():
        return character
    return ascii(character)[1:-1]


def _spellings(value: str) -> list[str]:
    """Return a value as messages may have it: plain, in a URL, in a repr and in ASCII."""
    in_url = quote(value, safe="", errors="surrogatepass")
    in_repr = repr(value)[1:-1]
    in_ascii = ascii(value)[1:-1]
    return [value, in_url, in_repr, in_ascii]


def _values(secret: Secret) -> set[str]:
    """Return the strings in a secret that may be a password."""
    values: set[str] = set()
    waiting: list[tuple[str, object]] = [("password", _content(secret))]
    while waiting:
        key, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(cast("dict[str, object]", value).items())
        elif isinstance(value, list):
            waiting.extend((key, each) for each in cast("list[object]", value))
        elif _is_hidden(key, str(value)):
            values.add(str(value))
    return values


def _content(secret: Secret) -> object:
    """Return the JSON object in a secret, or else its text."""
    try:
        text = secret.reveal()
    except CredentialsError:
        # The secret is binary.
        text = secret.reveal_bytes().decode("latin-1")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    return content if isinstance(content, dict) else text.strip()


def _is_hidden(key: str, value: str) -> bool:
    """Return whether a string may be a password, by the nearest key above it."""
    if key in _PASSWORD_KEYS:
        return bool(value)
    return key not in _SHOWN_KEYS and len(value) >= _SHORTEST_VALUE
