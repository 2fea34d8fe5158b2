"""Recognize that a server refused user or password.

No database library is imported here: an exception is recognized by its attributes, the name of its
class, and its text.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from aiocredentials._exception_chain import walk
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from collections.abc import Iterator

# The English messages of PostgreSQL, then of PgBouncer, then of RDS Proxy (Amazon RDS user guide,
# "Troubleshooting for RDS Proxy"). They are needed where psycopg has no other fact. RDS and Aurora
# check IAM tokens by PAM (AWS re:Post, "PAM authentication failed for user").
_POSTGRES_REFUSALS = (
    "password authentication failed",
    "PAM authentication failed",
    "no password supplied",
    'role ".*" does not exist',
    'role ".*" is not permitted to log in',
    "SASL authentication failed",
    "password that was provided for the role",
    "has no credentials for the role",
    "IAM authentication failed for",
)
_POSTGRES_REFUSAL = re.compile("|".join(_POSTGRES_REFUSALS))
# The file by which PostgreSQL accepts hosts and encryption.
_HOST_RULES = "pg_hba.conf"
# The English messages of PostgreSQL about a user whose login succeeded.
_ERRORS_AFTER_LOGIN = (
    'database "',
    'parameter "',
    "too many",
    "connection slots",
    "connection limit",
)
_AFTER_LOGIN = re.compile("|".join(_ERRORS_AFTER_LOGIN))
# RDS Proxy's messages that another version of the secret may cure, whatever their SQLSTATE, which
# AWS doesn't document; and those that none cures: about encryption, limits and options.
_PROXY_REFUSAL = re.compile(
    "was provided for the role|has no credentials for the role|IAM authentication failed for"
)
_PROXY_ERRORS = (
    "requires TLS",
    "only with SSL",
    "RDS (Proxy )?supports only",
    "user name is missing",
    "Feature not supported",
    "too many competing requests",
    "connections to the proxy exceeded",
    "Rate of connection to proxy exceeded",
    "Timed-out waiting to acquire",
    "Unknown error",
)
_PROXY_ERROR = re.compile("|".join(_PROXY_ERRORS))
# How libpq writes a server's error: the severity in the server's language, a colon, two spaces.
_SERVER_MESSAGE = re.compile(r"\w: {2}(.*)", re.DOTALL)
# Invalid authorization specification (PostgreSQL's documentation, appendix A).
_REFUSAL_CLASS = "28"

# Access denied: with this password; without a password (MySQL's error reference). 1044, access
# denied to a database, isn't here, because no other password helps.
_MYSQL_DENIED = {1045, 1698}
# The password has expired: as a login is refused, and as the first statement after it is. Then the
# account is locked: in MySQL, in MariaDB; and blocked after too many wrong passwords: in MySQL, in
# MariaDB (their error references). Another version of the secret may name another password or user.
_MYSQL_CODES = _MYSQL_DENIED | {1862, 1820, 3118, 4151, 3955, 4150}
_MYSQL_DRIVERS = {"pymysql", "aiomysql", "asyncmy", "MySQLdb"}
_REDIS_REFUSALS = ("WRONGPASS", "NOAUTH")
_REDIS_CLIENTS = {"redis", "valkey", "coredis"}


def is_auth_error(exception: BaseException) -> bool:
    """Return whether a server refused user or password: PostgreSQL, MySQL or Redis, by any client.

    It reads the exception, its causes, and the exceptions that SQLAlchemy keeps as `.orig`:

    * An SQLSTATE of class 28 is a refusal. "No entry in pg_hba.conf" has that class too, but isn't
      a refusal of the password, because no other password helps. If a driver's first attempt is
      refused the password, and its second one, without encryption, has no entry, that is a refusal.
    * psycopg has no SQLSTATE when it can't connect. Such an error is a refusal if libpq reports
      that a password was used and the server answered with an error, in any language, except for
      an error after the login, such as a database that doesn't exist.
    * MySQL's codes 1045 and 1698 are refusals, and those for a password that has expired (1862,
      1820) and an account that is locked (3118, 3955; in MariaDB 4151, 4150). 1044 isn't, because
      it is about a database. The code is the attribute `errno`, or the first argument of an error
      of PyMySQL, aiomysql, asyncmy or mysqlclient.
    * Redis's WRONGPASS and NOAUTH are refusals; redis-py raises them as `AuthenticationError`.
    * RDS Proxy's messages about a password, a role or an IAM token are refusals; those about
      encryption, limits and options aren't.

    A `CredentialsError` is never a refusal, because it is about AWS.
    """
    links = list(_origins(exception))
    is_refusal = any(map(_is_refusal, links))
    if not is_refusal:
        return False
    if any(map(_is_refusal_by_words, links)):
        return True
    is_about_the_host = any(map(_is_about_the_host, links))
    return not is_about_the_host


def _origins(exception: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its causes, and the errors that SQLAlchemy wrapped.

    Unlike the search for AWS's errors (`_aws.origins`), this one doesn't follow contexts: an error
    that was raised while a refusal was handled isn't a refusal.
    """
    return walk(exception, _direct_origins)


def _direct_origins(exception: BaseException) -> Iterator[object]:
    yield exception.__cause__
    # SQLAlchemy keeps the driver's error here.
    yield getattr(exception, "orig", None)


def _is_refusal(exception: BaseException) -> bool:
    if isinstance(exception, (CredentialsError, OSError)):
        return False
    if _mysql_code(exception) in _MYSQL_CODES:
        return True

    text = str(exception)
    sqlstate = getattr(exception, "sqlstate", "")
    if isinstance(sqlstate, str) and sqlstate:
        return _is_refusal_by_sqlstate(sqlstate, text)
    # psycopg has the attribute, and it is None where libpq couldn't connect.
    if sqlstate is None:
        return _is_refusal_by_libpq(exception, text)
    return _is_redis_refusal(exception, text)


def _mysql_code(exception: BaseException) -> int | None:
    code = getattr(exception, "errno", None)
    if code is None and _packages(exception) & _MYSQL_DRIVERS:
        # A number may be the first argument of any other error, such as a KeyError.
        code = next(iter(exception.args), None)
    if type(code) is not int:
        return None
    return code


def _packages(exception: BaseException) -> set[str]:
    """Return the packages in which the exception's classes are defined."""
    return {cls.__module__.partition(".")[0] for cls in type(exception).__mro__}


def _is_refusal_by_sqlstate(sqlstate: str, text: str) -> bool:
    if _PROXY_REFUSAL.search(text):
        return True
    return sqlstate.startswith(_REFUSAL_CLASS) and not _PROXY_ERROR.search(text)


def _is_refusal_by_libpq(exception: BaseException, text: str) -> bool:
    # After a refusal, libpq tries again without encryption, and its text has the errors of both.
    if _POSTGRES_REFUSAL.search(text):
        return True
    if _PROXY_ERROR.search(text):
        return False
    pgconn = getattr(exception, "pgconn", None)
    answer = _SERVER_MESSAGE.search(text)
    if pgconn is None or answer is None:
        return False
    if not _used_password(pgconn):
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
    try:
        is_used = getattr(pgconn, "used_password", False)
    # A connection that psycopg has finished may raise any error.
    except Exception:  # noqa: BLE001
        return False
    return bool(is_used)


def _has_name(message: str, pgconn: object, attribute: str) -> bool:
    """Return whether a message has the name that is an attribute of libpq's connection."""
    encoded: bytes = getattr(pgconn, attribute, b"")
    name = encoded.decode("utf-8", "replace")
    word = as_word(re.escape(name))
    return bool(name) and bool(re.search(word, message))


def as_word(pattern: str) -> str:
    """Return a pattern that matches only where no letter or digit is next to the match."""
    return rf"(?<!\w){pattern}(?!\w)"


def _is_redis_refusal(exception: BaseException, text: str) -> bool:
    if text.startswith(_REDIS_REFUSALS):
        return True
    classes = type(exception).__mro__
    return any(map(_is_of_a_redis_client, classes))


def _is_of_a_redis_client(cls: type) -> bool:
    """Return whether a class is a Redis client's error for a login that failed."""
    client = cls.__module__.partition(".")[0]
    if client not in _REDIS_CLIENTS:
        return False
    return cls.__name__ == "AuthenticationError"


def _is_refusal_by_words(exception: BaseException) -> bool:
    """Return whether PostgreSQL refused the password in at least one of several attempts.

    After a refusal, drivers by default try again without encryption. RDS by default refuses that by
    pg_hba.conf, so the last error isn't the one that matters. libpq writes one line per attempt.
    """
    function = getattr(exception, "server_source_function", None)
    if function == "auth_failed":
        return True
    lines = str(exception).splitlines()
    attempts = [line for line in lines if _HOST_RULES not in line]
    return any(map(_POSTGRES_REFUSAL.search, attempts))


def _is_about_the_host(exception: BaseException) -> bool:
    """Return whether PostgreSQL's pg_hba.conf refused the host, the encryption or the certificate.

    That error has an SQLSTATE of class 28 too. asyncpg keeps the name of the server's function,
    which is the same in each language. The name of the file is never translated.
    """
    function = getattr(exception, "server_source_function", None)
    about_the_host = function == "ClientAuthentication" or _HOST_RULES in str(exception)
    return about_the_host and not isinstance(exception, CredentialsError)


def remove_passwords(exception: BaseException) -> None:
    """Remove the password that psycopg keeps in its error's `pgconn`, whose repr shows it."""
    for link in _origins(exception):
        pgconn: Any = getattr(link, "pgconn", None)
        status = getattr(pgconn, "status", None)
        # An open connection, whose status is 0, is still in use, and isn't touched.
        if not status:
            continue
        # Each of these fails for one of the two classes that a `pgconn` may have.
        with contextlib.suppress(Exception):
            pgconn.finish()
        with contextlib.suppress(Exception):
            pgconn.password = b""
            pgconn.info = []
