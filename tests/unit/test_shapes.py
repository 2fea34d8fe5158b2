"""Readers read secrets of other shapes: by other keys, in nested objects, and in URLs."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, strategies as st
from sqlalchemy.engine import make_url

from aiocredentials import CredentialsPool, DatabaseCredentials, RedisCredentials, SecretFormatError
from aiocredentials.testing import FakeSecretsManager
from leaks.canary import VALUE, leaked

if TYPE_CHECKING:
    from collections.abc import Callable

PASSWORD = "p@s:s/w?o#r%d 'é"
QUOTED = "p%40s%3As%2Fw%3Fo%23r%25d%20%27%C3%A9"
reader = DatabaseCredentials.reader


def database(**fields: Any) -> DatabaseCredentials:  # noqa: ANN401 (the fields)
    """Make what a reader is expected to find."""
    return DatabaseCredentials(**{"username": "app", "password": PASSWORD} | fields)


def caught(decode: Callable[[Any], object], secret: Any) -> SecretFormatError:  # noqa: ANN401 (whatever a secret is)
    """Return the error of a reader, whose frames hold nothing of the secret."""
    secrets = [secret]
    del secret
    try:
        decode(secrets.pop())
    except SecretFormatError as error:
        return error
    raise AssertionError("nothing was raised")


def everything(error: BaseException) -> str:
    """Print all that can be seen of an error, with the variables of its frames."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return f"{''.join(shown)} {error!r} {vars(error)}"


LOGIN = {"user": "app", "pass": PASSWORD}
BY_KEYS: dict[str, tuple[Callable[[str | bytes], DatabaseCredentials], object, DatabaseCredentials]] = {
    "AWS's keys": (reader(), {"username": "app", "password": PASSWORD, "port": "5432"}, database(port=5432)),
    "other keys": (
        reader(username="user", password="pass", host="hostname", port="tcp", dbname="db", engine="kind"),
        {**LOGIN, "hostname": "h", "tcp": 5433, "db": "shop", "kind": "postgres", "host": "not read"},
        database(host="h", port=5433, dbname="shop", engine="postgres"),
    ),
    "alternatives": (
        reader(username=("user", "username"), password=["pass", "password"], host=("a", "b", "c")),
        {"username": "app", "user": "", "pass": PASSWORD, "password": "not read", "b": None, "c": "h"},
        database(host="h"),
    ),
    "several users flat": (
        reader(username="app_user", password="app_password"),
        {"app_user": "app", "app_password": PASSWORD, "report_user": "r", "report_password": "r", "host": "h"},
        database(host="h"),
    ),
    "several users nested": (
        reader(under="app"),
        {"app": {"username": "app", "password": PASSWORD}, "report": {"username": "r", "password": "r"}},
        database(),
    ),
    "a path, and a key with a dot": (
        reader(under=("my.databases", "app"), username="user.name"),
        {"my.databases": {"app": {"user.name": "app", "password": PASSWORD}}, "my": {"databases": {}}},
        database(),
    ),
    "an object as a string": (
        reader(under="app"),
        {"app": json.dumps({"username": "app", "password": PASSWORD})},
        database(),
    ),
    "fixed values": (
        reader(fixed={"host": "[::1]", "port": "5433", "username": "app", "engine": "mysql"}),
        {"password": PASSWORD, "host": "not read", "username": "not read"},
        database(host="::1", port=5433, engine="mysql"),
    ),
    "a port in the host": (
        reader(username="user", password="pass", host="at"),
        {**LOGIN, "at": "h:7"},
        database(host="h", port=7),
    ),
    "a URL by its key": (
        reader(url="DATABASE_URL"),
        {"DATABASE_URL": f"postgresql+asyncpg://app:{QUOTED}@h:5433/shop", "username": "not read", "host": "not read"},
        database(engine="postgres", host="h", port=5433, dbname="shop"),
    ),
    "a URL without a login": (
        reader(url="jdbcUrl", username="username", password="password"),
        {"jdbcUrl": "jdbc:mysql://h:3307/shop", "username": "app", "password": PASSWORD},
        database(engine="mysql", host="h", port=3307, dbname="shop"),
    ),
    "a nested URL, and a fixed host": (
        reader(url=("url", "uri"), under="app", fixed={"host": "reader"}),
        {"app": {"uri": f"mariadb://app:{QUOTED}@writer/shop"}},
        database(engine="mariadb", host="reader", dbname="shop"),
    ),
    "several hosts, and one by its key": (
        reader(url="url", host="writer", fixed={"port": 5433}),
        {"url": f"postgresql://app:{QUOTED}@h1:1,h2:2/shop", "writer": "h2"},
        database(engine="postgres", host="h2", port=5433, dbname="shop"),
    ),
}


@pytest.mark.parametrize(("decode", "secret", "expected"), BY_KEYS.values(), ids=BY_KEYS)
def test_by_keys(
    decode: Callable[[str | bytes], DatabaseCredentials], secret: object, expected: DatabaseCredentials
) -> None:
    """Exactly the keys that were given are read, from text and from bytes, and nothing else is guessed."""
    text = json.dumps(secret)
    assert decode(text) == expected
    assert decode(text.encode()) == expected
    assert decode(text.encode("utf-8-sig")) == expected


URLS: dict[str, DatabaseCredentials] = {
    f"postgresql://app:{QUOTED}@db.example:5433/shop": database(
        engine="postgres", host="db.example", port=5433, dbname="shop"
    ),
    f" postgres://app:{QUOTED}@db.example\n": database(engine="postgres", host="db.example"),
    f"POSTGRESQL+ASYNCPG://app:{QUOTED}@h/a%2Fb": database(engine="postgres", host="h", dbname="a/b"),
    f"postgresql://app:{QUOTED}@[2001:db8::1]:5433/": database(engine="postgres", host="2001:db8::1", port=5433),
    f"postgresql://app:{QUOTED}@[fe80::1%25eth0]/": database(engine="postgres", host="fe80::1%eth0"),
    f"postgresql://app:{QUOTED}@%2Frun%2Fpg:5433/shop": database(
        engine="postgres", host="/run/pg", port=5433, dbname="shop"
    ),
    f"postgresql://app:{QUOTED}@/shop": database(engine="postgres", dbname="shop"),
    "mysql+asyncmy://app:p@ss:word+@h": database(password="p@ss:word+", engine="mysql", host="h"),
    f"mssql+aioodbc://app:{QUOTED}@h/master": database(engine="sqlserver", host="h", dbname="master"),
    f"oracle+oracledb://app:{QUOTED}@h:1521/ORCL": database(engine="oracle", host="h", port=1521, dbname="ORCL"),
    f"mongodb://app:{QUOTED}@h:27017": database(engine="mongo", host="h", port=27017),
    f"mongodb+srv://app:{QUOTED}@cluster.example/shop": database(host="cluster.example", dbname="shop"),
    f"db2+ibm_db://app:{QUOTED}@h:50000/shop": database(engine="db2", host="h", port=50000, dbname="shop"),
    "sqlserver://app:a;b@h/shop/": database(password="a;b", engine="sqlserver", host="h", dbname="shop"),
    f"cockroachdb://app:{QUOTED}@h:26257/shop": database(host="h", port=26257, dbname="shop"),
}


@pytest.mark.parametrize(("url", "expected"), URLS.items())
def test_urls(url: str, expected: DatabaseCredentials) -> None:
    """All parts of a URL are decoded, those that are missing stay None, and the scheme names AWS's engine."""
    assert DatabaseCredentials.from_url(url) == expected
    assert DatabaseCredentials.from_url(url.encode()) == expected


@pytest.mark.parametrize("url", [url for url in URLS if "://app:p%" in url and "@/" not in url])
def test_a_url_comes_back(url: str) -> None:
    """What `as_dsn()` makes of a URL that was read is read as the same again."""
    found = DatabaseCredentials.from_url(url)
    scheme = None if found.engine else "mongodb+srv"
    again = DatabaseCredentials.from_url(found.as_dsn(scheme=scheme))
    assert (again.username, again.password, again.host) == (found.username, found.password, found.host)
    assert (again.dbname, again.engine) == (found.dbname, found.engine)


@pytest.mark.exhaustive
@given(
    username=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    password=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    dbname=st.none() | st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    host=st.ip_addresses().map(str) | st.just("db.example") | st.just("/cloudsql/a:b:c") | st.just("fe80::1%eth0"),
    port=st.integers(1, 65535),
    engine=st.sampled_from(["postgres", "mysql", "mariadb", "oracle", "sqlserver", "mongo", "redshift", "db2"]),
)
def test_any_url_comes_back(**fields: Any) -> None:  # noqa: ANN401 (the fields)
    """Whatever user, password and database are, `from_url` reads what `as_dsn()` writes."""
    one = DatabaseCredentials(**fields)
    assert DatabaseCredentials.from_url(one.as_dsn()) == one


@pytest.mark.exhaustive
@given(st.text() | st.binary() | st.text().map(lambda text: f"postgresql://{text}@h") | st.text().map(json.dumps))
def test_any_secret(secret: str | bytes) -> None:
    """Whatever a secret is, a reader ends in credentials or in `SecretFormatError`."""
    for decode in (DatabaseCredentials.from_url, reader(), reader(under="a"), RedisCredentials.from_url):
        with contextlib.suppress(SecretFormatError):
            decode(secret)


# No text of ours has four of these signs in a row.
RAW = st.text(st.sampled_from("@/?#%:;[],=&!\\ \nQX7Zé"), min_size=1, max_size=12)
HOSTS = ["db.example", "10.0.0.1", "[::1]", "a%2Fb", "", "::1", "2001:db8::1", "h1,h2", "a b", "h;x=1", "(host=h)"]


@given(
    username=RAW.filter(lambda text: ":" not in text),
    password=RAW,
    host=st.sampled_from(HOSTS),
    port=st.none() | st.integers(0, 65536),
    dbname=RAW | st.just("shop"),
    ignore_options=st.booleans(),
)
@example(username="app", password="p@X/QQ7Z@Q", host="h", port=5432, dbname="shop", ignore_options=False)
@example(username="app", password="p@X?QQ7Z@Q", host="h", port=5432, dbname="shop", ignore_options=True)
def test_any_raw_url(
    username: str, password: str, host: str, port: int | None, dbname: str, *, ignore_options: bool
) -> None:
    """Of a URL that was written without encoding, all parts are read as they were meant, or none is.

    A text that has escapes means what they stand for. Line ends and spaces around the URL, a slash at its end, and
    options that may be dropped, belong to no part.
    """
    server = host if port is None else f"{host}:{port}"
    url = f"postgresql://{username}:{password}@{server}/{dbname}"
    try:
        found = reader(url=True, ignore_options=ignore_options)(url)
    except SecretFormatError as error:
        shown = str(error)
    else:
        shown = repr(found)
        path = dbname.rstrip()
        if ignore_options:
            path, _, _ = path.partition("?")
        meant = (username, password, host.strip("[]"), path.removesuffix("/"))
        assert (found.username, found.password, found.host or "", found.dbname or "") == tuple(map(unquote, meant))
        assert found.port == port
        shown = shown.replace(repr(found.username), "").replace(repr(found.dbname), "")
    parts = [password[start : start + 4] for start in range(len(password) - 3)]
    assert not [part for part in parts if part in shown]


def test_options_of_a_url() -> None:
    """Options aren't dropped in silence, because one may demand TLS: a URL with options is refused unless allowed."""
    url = f"postgresql://app:{VALUE[:3]}@h/shop?sslmode=require&password={VALUE[8:]}"
    error = caught(DatabaseCredentials.from_url, url)
    assert str(error).startswith(
        "The secret is a URL with options, which aren't read: give them to the driver, and ign"
    )
    assert "sslmode" not in everything(error)
    assert reader(url=True, ignore_options=True)(url).as_dsn().endswith("@h:5432/shop")


# What is refused, and the beginning of the sentence. Each secret holds the canary, whole.
SAFE = "qX7zKw-canary"
PORT = "The secret is a URL whose port isn't a whole number from 1 to 65535."
HOST_OF_URL = (
    "The secret is a URL whose host isn't valid: write a name, an IPv4 address, an IPv6 address in brackets, or"
)
AFTER_A_SEMICOLON = "The secret is a URL with options after ';', which can't be read: leave out url="
AFTER_THE_HOST = "The secret is a URL with ';', '=' or '&' after its host: percent-encode them"
JDBC = "The secret is a JDBC URL of a kind that can't be read: leave out url=, and give host, port and dbname"
# URLs that were read wrongly, or whose error named something else.
BAD_URLS = {
    f"postgresql://app:p@evil.test/{SAFE}@db.example:5432/shop": "The secret is a URL with an '@' after a '/' or",
    f"postgresql://app:p@ss?{SAFE}@db.example/shop": "The secret is a URL with an '@' after a '/' or '?': percent-enco",
    f"postgresql://app:{SAFE}@h/shop@blue": "The secret is a URL with an '@' after a '/' or '?'",
    f"postgresql://app:{SAFE}@2001:db8::1:5433/shop": "The secret is a URL whose host has several colons: write an IP",
    f"postgresql://app:{SAFE}@::1": "The secret is a URL whose host has several colons",
    f"postgresql://app:{SAFE}@[2001:db8::]1]:5433/shop": HOST_OF_URL,
    f"postgresql://app:{SAFE}@[db.example]/shop": HOST_OF_URL,
    f"postgresql://app:{SAFE}@h%3A5433/shop": HOST_OF_URL,
    f"postgresql://app:{SAFE}@a b/shop": HOST_OF_URL,
    f"postgresql://app:{SAFE}@:5432/shop": HOST_OF_URL,
    f"mysql://address=(host=h)(password={SAFE})/shop": HOST_OF_URL,
    f"postgresql://app:{SAFE}@h:0/shop": PORT,
    f"postgresql://app:{SAFE}@h:port/shop": PORT,
    f"postgresql://app:{SAFE}@h:/shop": PORT,
    f"mysql://app:{SAFE}": PORT,
    f"jdbc:oracle:thin:app/{SAFE}@//h:1521/shop": JDBC,
    f"JDBC:aws-wrapper:postgresql://h/{SAFE}": JDBC,
    f"mssql://h:1433;password={SAFE}@x": AFTER_A_SEMICOLON,
    f"jdbc:other://h:1433;password={SAFE}@x": AFTER_A_SEMICOLON,
    f"jdbc:sqlserver://h/;user=app;password={SAFE}": AFTER_THE_HOST,
    f"jdbc:db2://h:50000/shop:user=app;password={SAFE};": AFTER_THE_HOST,
    f"postgresql://app:p@h/shop&password={SAFE}": AFTER_THE_HOST,
    f"postgresql://app:p@h;{SAFE}": AFTER_THE_HOST,
    f"postgresql://app:p@h/shop\nKEY={SAFE}": "The secret is a URL with a line end or a control character: store",
    f"mysql://app:{SAFE}%zz@h": "The secret is a URL with a '%' that begins no escape such as %40: percent",
    f"mysql://app:p@h/{SAFE}%4": "The secret is a URL with a '%' that begins no escape",
    f"\ufeffDATABASE_URL=mysql://app:{SAFE}@h": "The secret isn't a URL such as scheme://user:password@host:port/database.",
}
BAD: dict[str, tuple[Callable[[Any], object], Any, str]] = {
    "bytes that aren't text": (reader(), b"\xff" + SAFE.encode(), "The secret isn't UTF-8 text."),
    "neither text nor bytes": (reader(), [SAFE], "The secret isn't UTF-8 text."),
    "not JSON": (reader(), SAFE, "The secret isn't a JSON object."),
    "a list": (reader(), json.dumps([SAFE]), "The secret isn't a JSON object."),
    "too deep": (reader(), '{"a":' * 100_000 + SAFE, "The secret isn't a JSON object."),
    "no key": (
        reader(username="user", password="pass"),
        json.dumps({"username": SAFE, "password": SAFE, SAFE + "4711": 1}),
        "The secret has no 'user' and no 'pass', or an empty one. Its keys: 'username', 'password', 1 not shown. Comp",
    ),
    "none of several keys": (
        reader(username=("user", "login")),
        json.dumps({"password": SAFE}),
        "The secret has no 'user' or 'login', or an empty one. Its keys: 'password'. Compare",
    ),
    "no path": (
        reader(under=("a", "b")),
        json.dumps({"a": {"c": SAFE}}),
        "The secret has no 'b' under 'a', or an empty one. Its keys: 'c'. Compare",
    ),
    "a path to a string": (
        reader(under=("a", "b")),
        json.dumps({"a": {"b": SAFE}}),
        "The secret's 'b' under 'a' isn't an",
    ),
    "a path to a list": (reader(under="a"), json.dumps({"a": [SAFE]}), "The secret's 'a' isn't an object."),
    "no key there": (
        reader(under=("a", "b")),
        json.dumps({"a": {"b": {"password": SAFE}}}),
        "The secret has no 'username' under 'a', 'b', or an empty one. Its keys: 'password'. Compare",
    ),
    "not a text": (
        reader(password="pass"),
        json.dumps({"username": "a", "pass": [SAFE]}),
        "The secret's 'pass' isn't a str",
    ),
    "not a port": (
        reader(port="tcp"),
        json.dumps({"username": "a", "password": SAFE, "tcp": SAFE}),
        "The secret's 'tcp' isn't a whole number from 1 to 65535.",
    ),
    "not a host": (
        reader(host="at", port="tcp"),
        json.dumps({"username": "a", "password": SAFE, "at": f"http://{SAFE}"}),
        "The secret's 'at' isn't a host: store a name, an IP address or the path of a socket in it, and the port as",
    ),
    "two ports": (
        reader(host="at", port="tcp"),
        json.dumps({"username": "a", "password": SAFE, "at": "h:1", "tcp": 2}),
        "The secret's 'at' ends in a port that differs from its 'tcp'.",
    ),
    "no URL": (
        DatabaseCredentials.from_url,
        SAFE,
        "The secret isn't a URL such as scheme://user:password@host:port/da",
    ),
    "JSON": (DatabaseCredentials.from_url, json.dumps({"password": SAFE}), "The secret isn't a URL such as"),
    "a # in it": (DatabaseCredentials.from_url, f"mysql://a:{SAFE}#@h", "The secret is a URL with a '#': percent-enc"),
    "no login": (
        DatabaseCredentials.from_url,
        f"mysql://{SAFE}/shop",
        "The secret's URL has no username and no password.",
    ),
    "no password": (DatabaseCredentials.from_url, f"mysql://{SAFE}@h", "The secret's URL has no password."),
    "a / in it": (
        DatabaseCredentials.from_url,
        f"mysql://a:{SAFE}/b@h",
        "The secret is a URL with an '@' after a '/' or '?':",
    ),
    "several hosts": (
        DatabaseCredentials.from_url,
        f"postgresql://a:{SAFE}@h1:5432,h2:5432/db",
        "The secret is a URL with several hosts: name one in fixed={'host': ...}, or by its key as host=.",
    ),
    "several hosts without ports": (
        reader(url="url", username="user"),
        json.dumps({"url": f"mongodb://a:{SAFE}@h1,[::1]/db"}),
        "The secret's 'url' is a URL with several hosts: name one in fixed=",
    ),
    "several hosts, one of which is none": (
        DatabaseCredentials.from_url,
        f"postgresql://a:{SAFE}@h1,h2:x/db",
        PORT,
    ),
    "options after a semicolon": (
        reader(url="url", username="user"),
        json.dumps({"url": "jdbc:sqlserver://h:1433;databaseName=x"}),
        "The secret's 'url' is a URL with options after ';', which can't be read: leave out url=, and give host, port",
    ),
    "a password after a semicolon": (
        DatabaseCredentials.from_url,
        f"sqlserver://h:1433; password={SAFE}@x;encrypt=true",
        "The secret is a URL with options after ';'",
    ),
    "a port that is none": (
        DatabaseCredentials.from_url,
        f"mysql://a:{SAFE}@h:99999",
        PORT,
    ),
    "bad bytes": (
        DatabaseCredentials.from_url,
        f"mysql://a:{SAFE}%ff@h",
        "The secret is a URL with a percent-encoding th",
    ),
    "no key of a URL": (
        reader(url=("url", "uri")),
        json.dumps({"dsn": SAFE}),
        "The secret has no 'url' or 'uri', or an empty one. Its keys: 'dsn'. Compare",
    ),
    "no text by the key of a URL": (
        reader(url="url"),
        json.dumps({"url": [SAFE]}),
        "The secret's 'url' isn't a string of",
    ),
    "no URL by its key": (reader(url="url"), json.dumps({"url": SAFE}), "The secret's 'url' isn't a URL such as"),
    "no user beside the URL": (
        reader(url="url", username="user"),
        json.dumps({"url": f"mysql://:{SAFE}@h"}),
        "The secret has no 'user', or an empty one. Its keys: 'url'. Compare",
    ),
    "a surrogate": (
        reader(url="url"),
        json.dumps({"url": f"mysql://\ud800:{SAFE}@h"}),
        "The secret's 'url' isn't a string",
    ),
    "Redis without a password": (
        RedisCredentials.reader(username="user"),
        json.dumps({"user": SAFE}),
        "The secret has no 'password' or 'token' or 'auth_token', or an empty one. Its keys: 'user'. Compare",
    ),
    "Redis with a number": (
        RedisCredentials.reader(username="u"),
        json.dumps({"token": SAFE, "u": 7}),
        "The secret's 'u' isn",
    ),
    "a URL for a token": (
        RedisCredentials.reader(password="key"),
        json.dumps({"key": f"redis://:{SAFE}@h"}),
        "The secret's 'key' is a URL: store only the password in it.",
    ),
    "Redis's user for a password": (
        RedisCredentials.from_url,
        f"redis://{SAFE}@h",
        "The secret's URL has no password.",
    ),
}


@pytest.mark.parametrize(("decode", "secret", "says"), BAD.values(), ids=BAD)
def test_refused(decode: Callable[[Any], object], secret: Any, says: str) -> None:  # noqa: ANN401 (whatever it is)
    """The error says which key was expected and which ones are there; nothing else of the secret is in it."""
    error = caught(decode, secret)
    assert str(error).startswith(says)
    del secret
    for shown in (everything(error), everything(copy.copy(error))):
        assert SAFE not in shown


@pytest.mark.parametrize(("url", "says"), BAD_URLS.items(), ids=range(len(BAD_URLS)))
def test_refused_urls(url: str, says: str) -> None:
    """A URL whose parts can't be told apart is refused, and the error names the part that is at fault."""
    for decode in (reader(url=True), reader(url=True, ignore_options=True)):
        error = caught(decode, url)
        assert str(error).startswith(says)
        assert SAFE not in str(error)


REDIS: dict[str, tuple[Callable[[str | bytes], RedisCredentials], str, RedisCredentials]] = {
    "a URL": (
        RedisCredentials.from_url,
        f"rediss://app:{QUOTED}@h:6379/0?ssl_cert_reqs=none",
        RedisCredentials(username="app", password=PASSWORD),
    ),
    "a URL without a user": (RedisCredentials.from_url, f"valkey://:{QUOTED}@h", RedisCredentials(password=PASSWORD)),
    "a URL by its key": (
        RedisCredentials.reader(url="REDIS_URL"),
        json.dumps({"REDIS_URL": f"redis://app:{QUOTED}@h"}),
        RedisCredentials(username="app", password=PASSWORD),
    ),
    "a URL with several hosts": (
        RedisCredentials.from_url,
        f"redis+sentinel://app:{QUOTED}@h1:26379,h2:26379/main/0",
        RedisCredentials(username="app", password=PASSWORD),
    ),
    "other keys": (
        RedisCredentials.reader(username="user", password="pass", under="cache"),
        json.dumps({"cache": {"user": "app", "pass": PASSWORD}}),
        RedisCredentials(username="app", password=PASSWORD),
    ),
    "usual keys": (
        RedisCredentials.reader(),
        json.dumps({"auth_token": PASSWORD}),
        RedisCredentials(password=PASSWORD),
    ),
    "a fixed user": (
        RedisCredentials.reader(fixed={"username": "app"}),
        json.dumps({"token": PASSWORD}),
        RedisCredentials(username="app", password=PASSWORD),
    ),
}


@pytest.mark.parametrize(("decode", "secret", "expected"), REDIS.values(), ids=REDIS)
def test_redis(decode: Callable[[str | bytes], RedisCredentials], secret: str, expected: RedisCredentials) -> None:
    """Readers for Redis find user and password, and nothing else, because the client has its own server."""
    assert decode(secret) == expected
    assert decode(secret.encode()) == expected


def test_bytes() -> None:
    """The readers of the usual formats take bytes too, as `binary=True` gives them."""
    text = json.dumps({"username": "app", "password": PASSWORD}, ensure_ascii=False)
    assert DatabaseCredentials.from_json(text.encode()) == database()
    assert RedisCredentials.from_text(text.encode()) == RedisCredentials(username="app", password=PASSWORD)
    assert RedisCredentials.from_text(b"token\r\n") == RedisCredentials(password="token")
    for decode in (DatabaseCredentials.from_json, RedisCredentials.from_text):
        assert SAFE not in everything(caught(decode, b"\xff" + SAFE.encode()))


@pytest.mark.parametrize("encode", [str, str.encode])
def test_a_byte_order_mark(encode: Callable[[str], str | bytes]) -> None:
    """A byte order mark, as editors on Windows write one, is no part of a text, nor of bytes."""
    text = json.dumps({"username": "app", "password": PASSWORD})
    redis = RedisCredentials(password="token")
    assert DatabaseCredentials.from_json(encode(f"\ufeff{text}")) == database()
    assert reader()(encode(f"\ufeff{text}")) == database()
    assert DatabaseCredentials.from_url(encode(f"\ufeffmysql://app:{QUOTED}@h")) == database(engine="mysql", host="h")
    assert RedisCredentials.from_text(encode("\ufefftoken")) == redis
    assert RedisCredentials.from_url(encode("\ufeffredis://:token@h")) == redis


def test_no_host_in_the_secret() -> None:
    """If the secret has no host, an error says later which key had none."""
    for decode, secret, says in (
        (
            reader(host="at"),
            {"username": "a", "password": "p"},
            "The secret names no host; it has no 'at': give host=.",
        ),
        (reader(url="u"), {"u": "mysql://a:p@/"}, "The secret names no host; its URL has none: give host=."),
    ):
        with pytest.raises(ValueError, match="names no host") as raised:
            decode(json.dumps(secret)).as_dsn(scheme="mysql")
        assert str(raised.value) == says


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"username": ""}, TypeError, r"^username= is neither a key of the secret's JSON nor a tuple of keys\.$"),
    ({"username": ()}, TypeError, "^username= is neither a key"),
    ({"host": ("a", "")}, TypeError, "^host= is neither a key"),
    ({"host": 5}, TypeError, "^host= is neither a key"),
    ({"under": [5]}, TypeError, "^under= is neither a key"),
    ({"url": ""}, TypeError, "^url= is neither a key"),
    ({"url": True, "username": "a"}, ValueError, "^url=True reads the whole secret as a URL: leave out the keys and"),
    ({"url": True, "under": "a"}, ValueError, "^url=True reads the whole secret"),
    (
        {"fixed": {"password": SAFE}},
        ValueError,
        r"^fixed= has a field that isn't one of username, engine, host, port, d",
    ),
    ({"fixed": {SAFE: SAFE}}, ValueError, r"^fixed= has a field that isn't one of"),
    ({"fixed": [("host", SAFE)]}, TypeError, r"^fixed= isn't a mapping, such as \{'host': 'db\.example'\}\.$"),
    (
        {"fixed": {"host": SAFE}, "host": "at"},
        ValueError,
        r"^'host' is given twice, by a key and in fixed=: leave one of them out\.$",
    ),
    (
        {"fixed": {"host": f"{SAFE}:5432"}},
        ValueError,
        r"^The host in fixed= isn't just a host: give its port as 'port'",
    ),
    ({"fixed": {"host": f"http://{SAFE}"}}, ValueError, r"^The host in fixed= isn't just a host"),
    ({"fixed": {"port": SAFE}}, ValueError, r"^The port in fixed= isn't a whole number from 1 to 65535\.$"),
    ({"fixed": {"dbname": ""}}, ValueError, r"^'dbname' in fixed= isn't a string, or is empty\.$"),
    ({"fixed": {"username": 5}}, ValueError, r"^'username' in fixed= isn't a string"),
    (
        {"ignore_options": True},
        ValueError,
        r"^ignore_options=True concerns the options of a URL: give url= too\.$",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "says"), WRONG, ids=range(len(WRONG)))
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], says: str) -> None:
    """Arguments that can't work are refused when the reader is made, and a fixed value isn't repeated."""
    with pytest.raises(error, match=says) as raised:
        reader(**arguments)
    assert SAFE not in str(raised.value)


def test_readers_are_values() -> None:
    """Readers with the same arguments are equal, have one hash, come through pickle, and show no fixed value."""
    arguments: dict[str, Any] = {"username": "user", "host": ("a", "b"), "under": ("x", "y"), "fixed": {"port": 5}}
    one, other = reader(**arguments), reader(**arguments | {"host": ["a", "b"], "fixed": {"port": "5"}})
    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 (our own)
    assert one != reader(**arguments | {"under": "x"})
    assert one != RedisCredentials.reader(username="user", under=("x", "y"))
    assert (
        repr(one)
        == "DatabaseCredentials.reader(username='user', host=('a', 'b'), under=('x', 'y'), fixed={'port': ...})"
    )
    assert repr(reader(url=True, ignore_options=True)) == "DatabaseCredentials.reader(url=True, ignore_options=True)"
    assert repr(RedisCredentials.reader()) == "RedisCredentials.reader()"
    assert repr(reader(url="u", username="username")) == "DatabaseCredentials.reader(url='u')"


def test_a_subclass_reads_into_itself() -> None:
    """The readers of a subclass make objects of the subclass."""

    class Child(DatabaseCredentials):
        """One more class."""

    assert type(Child.reader()('{"username": "a", "password": "p"}')) is Child
    assert type(Child.from_url("mysql://a:p@h")) is Child
    assert Child.reader() != reader()


async def test_managers() -> None:
    """A manager takes a reader, for text and for bytes; its error names the secret."""
    secret = {"user": "app", "pass": PASSWORD}
    fake = FakeSecretsManager({"text": secret, "bytes": json.dumps(secret).encode(), "other": {"login": VALUE}})
    decode = reader(username="user", password="pass")
    async with CredentialsPool(session=fake) as pool:
        assert await pool.manager("text", decode=decode).get() == database()
        assert await pool.manager("bytes", decode=decode, binary=True).get() == database()
        with pytest.raises(SecretFormatError, match=r"has no 'user' and no 'pass', .* Its keys: 'login'\.") as raised:
            await pool.manager("other", decode=decode).get()
    assert raised.value.secret_name == "other"
    assert leaked(everything(raised.value)) is None


# AWS's page "JSON structure of AWS Secrets Manager secrets", and the page that it names for InfluxDB.
HOST = "db.abc123.eu-west-1.rds.amazonaws.com"
MASTER = {"masterarn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:master-AbCdEf"}
RDS = {**MASTER, "dbInstanceIdentifier": "shop-1", "dbClusterIdentifier": "shop"}
AWS: dict[str, tuple[dict[str, Any], str, str, int]] = {
    "Db2": ({"engine": "db2", "dbname": "shop", **RDS}, "db2", "shop", 50000),
    "MariaDB": ({"engine": "mariadb", "dbname": "shop", "port": 3307, **RDS}, "mariadb", "shop", 3307),
    "MySQL": ({"engine": "mysql", "dbname": "shop", "port": "3307", **RDS}, "mysql", "shop", 3307),
    "Oracle": ({"engine": "oracle", "dbname": "ORCL", **RDS}, "oracle", "ORCL", 1521),
    "PostgreSQL": ({"engine": "postgres", "dbname": "shop", "port": 5433, **RDS}, "postgresql", "shop", 5433),
    "SQL Server": ({"engine": "sqlserver", "dbname": "master", **RDS}, "mssql", "master", 1433),
    "Redshift": (
        {"engine": "redshift", "dbname": "dev", "dbClusterIdentifier": "c", **MASTER},
        "redshift",
        "dev",
        5439,
    ),
    "Redshift Serverless": ({"engine": "redshift", "dbname": "dev", "namespaceName": "n"}, "redshift", "dev", 5439),
    "DocumentDB": ({"engine": "mongo", "dbname": "shop", "ssl": True, **RDS}, "mongodb", "shop", 27017),
}


@pytest.mark.parametrize(("keys", "scheme", "dbname", "port"), AWS.values(), ids=AWS)
def test_engines_of_aws(keys: dict[str, Any], scheme: str, dbname: str, port: int) -> None:
    """Each format of AWS's page that has a host becomes a URL that SQLAlchemy parses back."""
    secret = json.dumps({"username": "app", "password": PASSWORD, "host": HOST, **keys})
    url = make_url(DatabaseCredentials.from_json(secret).as_dsn())
    assert (url.drivername, url.username, url.password) == (scheme, "app", PASSWORD)
    assert (url.host, url.port, url.database) == (HOST, port, dbname)


def test_formats_of_aws_without_a_url() -> None:
    """The page's other formats are read as far as they have user and password; what can't be a URL says why."""
    login = {"username": "app", "password": PASSWORD}
    influx = DatabaseCredentials.from_json(json.dumps({**login, "engine": "timestream-influxdb", "dbIdentifier": "i"}))
    with pytest.raises(ValueError, match=r"^InfluxDB has no URL with a login: give its client user and password\.$"):
        influx.as_dsn()
    elasticache = json.dumps({**login, "user_arn": "arn:aws:elasticache:eu-west-1:123456789012:user:app"})
    assert RedisCredentials.from_text(elasticache) == RedisCredentials(**login)
    with pytest.raises(ValueError, match="engine isn't one of"):
        DatabaseCredentials.from_json(elasticache).as_dsn()
    directory = {"awsSeamlessDomainUsername": "app", "awsSeamlessDomainPassword": PASSWORD}
    decode = reader(username="awsSeamlessDomainUsername", password="awsSeamlessDomainPassword")
    assert decode(json.dumps(directory)) == database()
    error = caught(DatabaseCredentials.from_json, json.dumps(directory))
    assert "Its keys: 'awsSeamlessDomainUsername', 'awsSeamlessDomainPassword'." in str(error)
