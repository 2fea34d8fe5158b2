"""A refused user or password is recognized by facts, and repeated without a value."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from aiocredentials import CredentialsError, Secret, errors, rotation
from aiocredentials._rotation.refusals import is_auth_error, remove_passwords
from aiocredentials._rotation.words import words_of
from leaks.canary import VALUE, leaked

if TYPE_CHECKING:
    from collections.abc import Callable


class Coded(Exception):  # noqa: N818 (an error only by its codes)
    """An error with whatever attributes."""

    def __init__(self, *args: object, **attributes: object) -> None:
        super().__init__(*args)
        self.__dict__.update(attributes)


def redis_error(name: str, message: str = "") -> Exception:
    """Make an error as redis-py has it."""
    return type(name, (Exception,), {"__module__": "redis.exceptions"})(message)  # type: ignore[no-any-return]


def mysql_error(*args: object, package: str = "pymysql") -> Exception:
    """Make an error as drivers for MySQL have it, which is of a class of this package."""
    base = type("MySQLError", (Exception,), {"__module__": f"{package}.err"})
    return type("OperationalError", (base,), {})(*args)  # type: ignore[no-any-return]


def caused(error: Exception, by: Exception) -> Exception:
    """Chain an error."""
    error.__cause__ = by
    return error


def raised_while_handling(error: Exception, context: Exception) -> Exception:
    """Make an error that was raised while another was handled."""
    error.__context__ = context
    return error


# What RDS says of a login without encryption: drivers try one after a refusal.
IN_CLEAR = 'FATAL:  pg_hba.conf rejects connection for host "10.0.0.1", user "app", database "shop", no encryption'

# What MySQL, Redis and libraries that keep an SQLSTATE say.
CODED: list[tuple[BaseException, bool]] = [
    (Coded(sqlstate="28P01"), True),
    (Coded(sqlstate="28000"), True),
    (Coded('role "app_clone" is not permitted to log in', sqlstate="28000"), True),
    (Coded("no pg_hba.conf entry for host", sqlstate="28000"), False),
    (Coded("kein pg_hba.conf-Eintrag für Host", sqlstate="28000"), False),
    (Coded("no certificate", sqlstate="28000", server_source_function="ClientAuthentication"), False),
    (Coded("PAM failed", sqlstate="28000", server_source_function="auth_failed"), True),
    (caused(Coded(sqlstate="28000"), Coded("no pg_hba.conf entry", sqlstate="28000")), False),
    (caused(Coded(IN_CLEAR, sqlstate="28000"), Coded(sqlstate="28000", server_source_function="auth_failed")), True),
    (caused(Coded(sqlstate="28000", server_source_function="auth_failed"), Coded(IN_CLEAR, sqlstate="28000")), True),
    (Coded(sqlstate="3D000"), False),
    (Coded(sqlstate="53300"), False),
    (Coded(sqlstate="08006"), False),
    (Coded("password authentication failed"), False),
    (mysql_error(1045, "Access denied for user"), True),
    (mysql_error(1698, "Access denied for user"), True),
    (mysql_error(1862, "Your password has expired"), True),
    (mysql_error(1820, "You must SET PASSWORD before executing this statement"), True),
    (mysql_error(3118, "Access denied for user. Account is locked."), True),
    (mysql_error(4151, "Access denied, this account is locked"), True),
    (mysql_error(3955, "Access denied for user. Account is blocked for 1 day(s)."), True),
    (mysql_error(4150, "User is blocked because of too many credential errors"), True),
    (mysql_error(1044, "Access denied for user to database"), False),
    (mysql_error(1396, "Operation CREATE USER failed"), False),
    (mysql_error(1130, "Host isn't allowed to connect"), False),
    (mysql_error(1226, "User has exceeded the 'max_user_connections' resource"), False),
    (Coded("1045 (28000)", errno=1045, sqlstate="28000"), True),
    (Coded("1044 (42000)", errno=1044, sqlstate="42000"), False),
    (mysql_error(1049, "Unknown database"), False),
    (mysql_error(True, "not a code"), False),  # noqa: FBT003 (an argument of an exception)
    (OSError(1045, "not MySQL's"), False),
    (KeyError(1820), False),
    (ValueError(3118), False),
    (RuntimeError(4150, "not MySQL's"), False),
    (mysql_error(1045, "Access denied for user", package="asyncmy"), True),
    (mysql_error(1045, "Access denied for user", package="aiomysql"), True),
    (mysql_error(1045, "Access denied for user", package="MySQLdb"), True),
    (mysql_error(1045, "Access denied for user", package="pymysqlx"), False),
    (redis_error("AuthenticationError", "invalid username-password pair or user is disabled."), True),
    (redis_error("ResponseError", "WRONGPASS invalid username-password pair"), True),
    (redis_error("ResponseError", "NOAUTH Authentication required."), True),
    (redis_error("ConnectionError", "Connection refused"), False),
    (type("AuthenticationError", (Exception,), {})(), False),
    (errors.AuthenticationError("AWS refused"), False),
    (errors.AuthenticationError("WRONGPASS"), False),
    (Coded(orig=Coded(sqlstate="28P01")), True),
    (Coded(orig="not an exception"), False),
    (caused(Coded(), Coded(orig=caused(Coded(), Coded(sqlstate="28000")))), True),
    (caused(Coded(), ValueError()), False),
    (raised_while_handling(Coded(), Coded(sqlstate="28P01")), False),
    (ExceptionGroup("several", [ValueError()]), False),
    (asyncio.CancelledError(), False),
]


@pytest.mark.parametrize(("error", "expected"), CODED, ids=range(len(CODED)))
def test_codes(error: BaseException, expected: bool) -> None:  # noqa: FBT001 (of the table)
    """The servers' refusals are known by their codes, and nothing else is one."""
    assert is_auth_error(error) is expected


def test_it_is_public() -> None:
    """The function that users import is this one."""
    assert rotation.is_auth_error is is_auth_error


# What psycopg raises has an SQLSTATE of None. The first word of a server's message is the severity.
WORDS: list[tuple[str, bool]] = [
    ('FATAL:  password authentication failed for user "app"', True),
    ('FATAL:  PAM authentication failed for user "app"', True),
    (f'FATAL:  PAM authentication failed for user "app"\n{IN_CLEAR}', True),
    (f'FATAL:  password authentication failed for user "app"\n{IN_CLEAR}', True),
    (f'{IN_CLEAR}\nFATAL:  password authentication failed for user "app"', True),
    (f"{IN_CLEAR}\nserver closed the connection unexpectedly", False),
    ('FATAL:  role "app" does not exist', True),
    ('FATAL:  role "app" is not permitted to log in', True),
    ("fe_sendauth: no password supplied", True),
    ("FATAL:  SASL authentication failed", True),
    ("FATAL:  The password that was provided for the role app is wrong.", True),
    ("FATAL:  This RDS proxy has no credentials for the role app. Check them.", True),
    ('FATAL:  database "shop" does not exist', False),
    ("server closed the connection unexpectedly", False),
    ("connection timeout expired", False),
]


@pytest.mark.parametrize(("text", "expected"), WORDS)
@pytest.mark.parametrize("facts", [{}, {"pgconn": None}, {"pgconn": SimpleNamespace(used_password=False)}])
def test_words(facts: dict[str, Any], text: str, expected: bool) -> None:  # noqa: FBT001 (of the table)
    """Without another fact, PostgreSQL's English words are enough, and other words are no refusal."""
    assert is_auth_error(Coded(text, sqlstate=None, **facts)) is expected


# Each message of "Troubleshooting for RDS Proxy" in the Amazon RDS user guide.
PROXY: list[tuple[str, bool]] = [
    ("The password that was provided for the role app is wrong.", True),
    ("This RDS proxy has no credentials for the role app. Check the credentials for this role and try again.", True),
    ("The IAM authentication failed for the role app. Check the IAM token for this role and try again.", True),
    ("IAM authentication failed for user app. Check the IAM token for this user and try again.", True),
    ('Request returned an error: password authentication failed for user "app"', True),
    ("IAM authentication is allowed only with SSL connections.", False),
    ("IAM is allowed only with SSL connections.", False),
    ("This RDS Proxy requires TLS connections.", False),
    ("RDS supports only IAM or MD5 authentication.", False),
    ("RDS Proxy supports only IAM, MD5, or SCRAM authentication", False),
    ("A user name is missing from the connection startup packet. Provide a user name for this connection.", False),
    ("Feature not supported: RDS Proxy supports only version 3.0 of the PostgreSQL messaging protocol.", False),
    ("Feature not supported: RDS Proxy currently doesn't support streaming replication mode.", False),
    ("Feature not supported: RDS Proxy currently doesn't support the option app.", False),
    ("The IAM authentication failed because of too many competing requests.", False),
    ("The maximum number of client connections to the proxy exceeded 1000.", False),
    ("Rate of connection to proxy exceeded 1000.", False),
    ("Unknown error.", False),
    ("Timed-out waiting to acquire database connection.", False),
    ('Request returned an error: database "shop" does not exist', False),
]
NO_ENCRYPTION = "This RDS Proxy requires TLS connections."


@pytest.mark.parametrize(("text", "expected"), PROXY)
def test_rds_proxy(text: str, expected: bool) -> None:  # noqa: FBT001 (of the table)
    """RDS Proxy's messages are told apart by their words: with libpq, and with the SQLSTATE of a refusal."""
    pgconn = SimpleNamespace(used_password=True, user=b"app", db=b"shop")
    line = f'connection to server at "proxy.example", port 5432 failed: FATAL:  {text}'
    assert is_auth_error(Coded(line, sqlstate=None, pgconn=pgconn)) is expected
    assert is_auth_error(Coded(line, sqlstate=None)) is expected
    if "returned" not in text:
        assert is_auth_error(Coded(text, sqlstate="28000")) is expected
        assert is_auth_error(Coded(text, sqlstate="XX000")) is expected
    # Both try again without encryption, which the proxy may refuse as well.
    assert is_auth_error(Coded(f"{line}\nFATAL:  {NO_ENCRYPTION}", sqlstate=None, pgconn=pgconn)) is expected
    refused = Coded(text, sqlstate="28P01")
    if expected:
        assert is_auth_error(caused(Coded(NO_ENCRYPTION, sqlstate="28000"), refused))


# The codes of the same page, and MySQL's for a proxy's own refusal.
PROXY_CODES = [(1045, True), (1040, False), (1105, False), (1231, False), (2026, False), (3159, False), (9501, False)]


@pytest.mark.parametrize(("code", "expected"), PROXY_CODES)
def test_rds_proxy_for_mysql(code: int, expected: bool) -> None:  # noqa: FBT001 (of the table)
    """Of RDS Proxy's codes for MySQL only "access denied" is a refusal; limits, TLS and time-outs aren't."""
    assert is_auth_error(mysql_error(code, "the proxy's words")) is expected


# What servers say once they have asked for a password, of a user "app" and a database "shop".
ANSWERS: list[tuple[str, bool]] = [
    ("FATAL:  PAM-Authentifizierung für Benutzer »app« fehlgeschlagen", True),
    ('FATAL:  LDAP authentication failed for user "app"', True),
    ("FATAL:  Passwort-Authentifizierung für Benutzer »app« fehlgeschlagen", True),
    ('FATAL:  ユーザー"app"のパスワード認証に失敗しました', True),
    ("ВАЖНО:  пользователь «app» не прошёл проверку подлинности", True),
    ("FATAL:  Ihr Zugang ist gesperrt", True),
    ('FATAL:  database "shop" does not exist', False),
    ("FATAL:  Datenbank »shop« existiert nicht", False),
    ("FATAL:  Datenbank »app« existiert nicht", True),
    ('FATAL:  permission denied for database "app"', False),
    ('FATAL:  too many connections for role "app"', False),
    ("FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute", False),
    ('FATAL:  unrecognized configuration parameter "app"', False),
    ("server closed the connection unexpectedly", False),
    ("timeout expired", False),
]


@pytest.mark.parametrize(("text", "expected"), ANSWERS)
def test_what_libpq_knows(text: str, expected: bool) -> None:  # noqa: FBT001 (of the table)
    """If a password was used and the server answered, it is a refusal, except for after the login."""
    pgconn = SimpleNamespace(used_password=True, user=b"app", db=b"shop")
    text = f'connection failed: connection to server at "shop", port 5432 failed: {text}'
    assert is_auth_error(Coded(text, sqlstate=None, pgconn=pgconn)) is expected
    pgconn.used_password = False
    assert not is_auth_error(Coded(text, sqlstate=None, pgconn=pgconn))


def test_a_connection_that_raises() -> None:
    """What psycopg doesn't say any more of a connection is no fact, and no error."""

    class Finished:
        @property
        def used_password(self) -> bool:
            raise LookupError

    assert not is_auth_error(Coded("FATAL:  nein", sqlstate=None, pgconn=Finished()))


def test_a_chain_that_is_a_circle() -> None:
    """Causes that go round end the search for codes, and don't hide one."""
    first, second = Coded(), Coded()
    first.__cause__, second.__cause__ = second, first
    assert not is_auth_error(first)
    second.__dict__["orig"] = Coded(sqlstate="28P01", orig=first)
    assert is_auth_error(first)


# What an error keeps


class Finished(SimpleNamespace):
    """A finished connection, as psycopg hangs it on an error: an object whose repr shows all."""

    def finish(self) -> None:
        """Do nothing."""


def test_no_password_stays_in_an_error() -> None:
    """The password that psycopg keeps in its error is removed, also below SQLAlchemy's error."""
    info = [SimpleNamespace(keyword=b"password", val=VALUE.encode())]
    pgconn = Finished(status=1, password=VALUE.encode(), info=info, used_password=True)
    inner = Coded("FATAL:  no", sqlstate=None, pgconn=pgconn)
    outer = Coded(orig=inner)
    assert leaked(repr(vars(inner))) is not None
    remove_passwords(outer)
    assert leaked(repr(vars(inner))) is None
    assert pgconn.used_password


def test_a_connection_that_never_began() -> None:
    """Where psycopg keeps libpq's own object, which can't be changed, that is finished."""

    class Broken:
        status = 1
        is_finished = False

        @property
        def password(self) -> bytes:
            if self.is_finished:
                raise LookupError
            return VALUE.encode()

        def finish(self) -> None:
            self.is_finished = True

    pgconn = Broken()
    remove_passwords(Coded(pgconn=pgconn))
    with pytest.raises(LookupError):
        repr(pgconn.password)


def test_an_open_connection_stays() -> None:
    """A connection that is open is its owner's: it isn't touched."""
    pgconn = Finished(status=0, password=b"p")
    remove_passwords(Coded(pgconn=pgconn))
    assert pgconn.password == b"p"
    remove_passwords(Coded(pgconn=object()))


# What is repeated of a refusal


def secret_of(value: str | bytes) -> Secret:
    """Make a version."""
    return Secret(
        value,
        name="prod/db",
        arn="arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf",
        region="eu-west-1",
        version_id="v1",
        version_stages=("AWSCURRENT",),
        created_at=None,
        fetched_at=datetime.now(UTC),
        born=0.0,
    )


def test_the_servers_words() -> None:
    """The server's words stay readable: user, host and database of the secret are shown."""
    fields = {"username": "app", "password": VALUE, "host": "db.example", "dbname": "shop", "env": "app"}
    words = words_of(LookupError('user "app", host "db.example", database "shop"'), secret_of(json.dumps(fields)))
    assert words == 'LookupError: user "app", host "db.example", database "shop"'
    assert words_of(LookupError(), secret_of("{}")) == "LookupError"


@pytest.mark.parametrize("spelled", [str, repr, ascii, lambda text: quote(text, safe="")], ids=range(4))
@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"username": "app", "password": VALUE}),
        json.dumps({"app": {"users": [{"name": "app", "pw": VALUE}]}}),
        VALUE,
        VALUE.encode(),
        f"\n{VALUE} \n",
    ],
    ids=range(5),
)
def test_no_value_is_repeated(text: str | bytes, spelled: Callable[[str], str]) -> None:
    """A password in a driver's error doesn't come into the log, however it is spelled."""
    words = words_of(LookupError(f"refused: {spelled(VALUE)} is wrong"), secret_of(text))
    assert leaked(words) is None
    assert "***" in words


@pytest.mark.parametrize("password", ["x", 12345, "\ud800secret"])
def test_odd_passwords(password: object) -> None:
    """A short password, a number and text that isn't Unicode are removed as well."""
    secret = secret_of(json.dumps({"password": password}))
    assert words_of(LookupError(f"<{password}>"), secret) == "LookupError: <***>"


def test_a_short_password_is_no_hole_in_a_word() -> None:
    """A short password is removed where it stands alone; words that have it in them stay readable."""
    words = words_of(LookupError("password p failed: (p)"), secret_of(json.dumps({"password": "p"})))
    assert words == "LookupError: password *** failed: (***)"


def test_a_binary_secret() -> None:
    """A secret that isn't text hides itself, and nothing else."""
    secret = secret_of(b"\xff\x00secret")
    assert words_of(LookupError("refused \xff\x00secret"), secret) == "LookupError: refused ***"


def test_a_secret_that_is_too_deep() -> None:
    """JSON that is too deep for Python is a token; JSON that is nearly so is no error."""
    for text in ("[" * 100_000, '{"a":' * 900 + '"12345678"' + "}" * 900):
        assert words_of(LookupError("refused 12345678"), secret_of(text)).startswith("LookupError: refused")


def test_one_line() -> None:
    """Foreign text comes into the log as one line, without control characters, and is cut."""
    words = words_of(LookupError("first\nsecond\tthird \x1b[31m\u202e für" + "!" * 10_000), secret_of("{}"))
    assert words.startswith(r"LookupError: first second third \x1b[31m\u202e für!!!")
    assert words.isprintable()
    assert len(words) < 350
    assert words.endswith("...")


def test_long_words() -> None:
    """Words of any length take no time: one that is twice as long doesn't take four times as long."""
    # With the square of their length, these would take a minute and more, which is past the test's limit.
    words = words_of(LookupError("a" * 200_000), secret_of("{}"))
    assert words.startswith("LookupError: aaaa")
    assert "***" in words_of(LookupError("x-amz-" * 30_000), secret_of("{}"))


def test_ours_is_no_refusal() -> None:
    """An error of this library is about AWS, also if its text is a server's."""
    assert not is_auth_error(CredentialsError("no pg_hba.conf entry"))
