"""`DatabaseCredentials` reads what AWS writes, makes URLs of it, and keeps the password to itself."""

from __future__ import annotations

import copy
import json
import pickle
import pprint
import traceback
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import example, given, strategies as st

from aiocredentials.credentials import DatabaseCredentials
from aiocredentials.errors import SecretFormatError

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "hunter2-canary"
FIELDS = ("username", "password", "engine", "host", "port", "dbname")
HOST = "db.abc123.eu-west-1.rds.amazonaws.com"


def credentials(**more: Any) -> DatabaseCredentials:  # noqa: ANN401 (the fields)
    """Make credentials for PostgreSQL; `more` changes them."""
    fields: dict[str, Any] = {"username": "app", "password": CANARY, "engine": "postgres", "host": HOST}
    fields |= {"port": 5432, "dbname": "shop"}
    return DatabaseCredentials(**fields | more)


def text(**more: object) -> str:
    """Write the JSON of a secret; `more` changes it."""
    return json.dumps({"username": "app", "password": CANARY, "engine": "postgres", "host": HOST, "port": 5432} | more)


def caught(call: Callable[[str], object], argument: str) -> Exception:
    """Return what the call raises; the frames in its traceback are the library's and this one, without the argument."""
    arguments = [argument]
    del argument
    try:
        call(arguments.pop())
    except Exception as error:  # noqa: BLE001 (whatever it is, the tests look at it)
        return error
    raise AssertionError("nothing was raised")


def everything(error: BaseException) -> str:
    """Print all that can be seen of an error: its text, arguments, notes, attributes, frames with their locals."""
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = traceback.TracebackException.from_exception(error, capture_locals=True).format()
    return f"{''.join(shown)} {error!r} {error.args} {vars(error)} {getattr(error, '__notes__', ())}"


EXTRA = {"masterarn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:master-AbCdEf"}
FORMATS = {
    "rds": ({"engine": "postgres", "host": HOST, "dbname": "shop", "port": 5432, "dbInstanceIdentifier": "i"}, 5432),
    "alternating users": ({"engine": "mysql", "host": HOST, "port": 3306, **EXTRA}, 3306),
    "port as a string": ({"engine": "mariadb", "host": HOST, "dbname": "shop", "port": "3306"}, 3306),
    "oracle": ({"engine": "oracle", "host": HOST, "dbname": "ORCL", "port": "1521"}, 1521),
    "documentdb": ({"engine": "mongo", "host": HOST, "port": 27017, "ssl": True, "dbClusterIdentifier": "c"}, 27017),
    "redshift": ({"engine": "redshift", "host": HOST, "dbname": "dev", "port": 5439, "namespaceName": "n"}, 5439),
    "no port": ({"engine": "sqlserver", "host": HOST, "dbname": "master"}, None),
    "managed": ({}, None),
    "empty": ({"engine": "", "host": None, "dbname": "", "port": ""}, None),
}


@pytest.mark.parametrize(("more", "port"), FORMATS.values(), ids=FORMATS)
def test_formats(more: dict[str, Any], port: int | None) -> None:
    """Each format that AWS documents is read; what is missing, null or empty is None, and other keys are ignored."""
    found = DatabaseCredentials.from_json(json.dumps({"username": "app", "password": CANARY} | more))
    assert (found.username, found.password, found.port) == ("app", CANARY, port)
    assert (found.engine, found.host, found.dbname) == tuple(more.get(k) or None for k in ("engine", "host", "dbname"))


@pytest.mark.parametrize("port", [1, 65535, "1", "65535", "05432"], ids=repr)
def test_ports(port: object) -> None:
    """A port is a number or its digits, up to both ends of what TCP has."""
    assert DatabaseCredentials.from_json(text(port=port)).port == int(str(port))


NO_PORT = [0, -1, 65536, True, False, 5432.0, float("nan"), float("inf"), [5432], {}, "0", "65536", "-1", "+1", " 5432"]
NO_PORT += ["5432\n", "5_432", "5432.0", "0x10", "٥٤٣٢", "postgres", "9" * 5000, CANARY]


@pytest.mark.parametrize("port", NO_PORT, ids=lambda port: repr(port)[:12])
def test_no_port(port: object) -> None:
    """What isn't a port is refused by a sentence that names the key: no bool, no fraction, no NaN, no spaces."""
    error = caught(DatabaseCredentials.from_json, text(port=port))
    assert isinstance(error, SecretFormatError)
    assert str(error).startswith("The secret's 'port' isn't a whole number from 1 to 65535.")
    assert CANARY not in everything(error)


TEN_KEYS = ", ".join(repr(f"key{number}") for number in range(10))
REFUSED = {
    "not JSON": (CANARY, "The secret isn't JSON."),
    "nothing": ("", "The secret isn't JSON."),
    "cut": (text()[:-1], "The secret isn't JSON."),
    "deep": ("[" * 200_000 + CANARY, "The secret isn't JSON."),
    "long number": (text(port=0).replace(" 0}", " " + "9" * 5000 + "}"), "The secret isn't JSON."),
    "list": (json.dumps([CANARY]), "The secret is JSON, but not an object"),
    "string": (json.dumps(CANARY), "The secret is JSON, but not an object"),
    "null": ("null", "The secret is JSON, but not an object"),
    "no username": (json.dumps({"password": CANARY}), "The secret has no 'username', or an empty one."),
    "no password": (json.dumps({"username": CANARY}), "The secret has no 'password', or an empty one."),
    "neither": (
        json.dumps({"S3cr3tT0ken": CANARY, "apiKey": CANARY, "\x1b": 1}),
        "The secret has no 'username' and no 'password', or an empty one. Its keys: 'apiKey', 2 not shown. Compare",
    ),
    "many keys": (
        json.dumps({f"key{number}": CANARY for number in range(12)}),
        f"The secret has no 'username' and no 'password', or an empty one. Its keys: {TEN_KEYS}, 2 not shown. Compare",
    ),
    "no keys": ("{}", "The secret has no 'username' and no 'password', or an empty one. Its keys: none. Compare"),
    "a URL": (
        f"postgresql://app:{CANARY}@host/shop",
        "The secret is a URL, not JSON: DatabaseCredentials.from_url reads it.",
    ),
    "other case": (
        json.dumps({"username": "a", "Password": CANARY}),
        "The secret has no 'password', or an empty one; it has 'Password', not 'password'.",
    ),
    "empty username": (text(username=""), "The secret has no 'username', or an empty one."),
    "empty password": (text(password="", host=CANARY), "The secret has no 'password', or an empty one."),
    "null password": (text(password=None, host=CANARY), "The secret has no 'password', or an empty one."),
    "number": (text(password=8_675_309, host=CANARY), "The secret's 'password' isn't a string of Unicode text."),
    "username in a list": (text(username=[CANARY]), "The secret's 'username' isn't a string of Unicode text."),
    "host is an object": (text(host={"name": CANARY}), "The secret's 'host' isn't a string of Unicode text."),
    "engine is a bool": (text(engine=False), "The secret's 'engine' isn't a string of Unicode text."),
    "dbname is a number": (text(dbname=7), "The secret's 'dbname' isn't a string of Unicode text."),
    "another username": (
        json.dumps({"User_Name": "a", "password": CANARY}),
        "The secret has no 'username', or an empty one; it has 'User_Name', not 'username'.",
    ),
    "all by other names": (
        json.dumps({"login": CANARY, "pwd": CANARY, "S3cr3tT0ken": 1}),
        "The secret has no 'username' and no 'password', or an empty one; it has 'login', not 'username', and 'pwd',",
    ),
    "a key that is too long": (
        json.dumps({"u" + "_" * 24 + "ser": "a", "password": CANARY}),
        "The secret has no 'username', or an empty one. Its keys: 'password', 1 not shown. Compare",
    ),
    "host and two ports": (
        text(host=f"{HOST}:5433"),
        "The secret's 'host' ends in a port that differs from its 'port'.",
    ),
    "surrogate": (text(password=CANARY + "\udc80"), "The secret's 'password' isn't a string of Unicode text."),
}


@pytest.mark.parametrize(("secret", "says"), REFUSED.values(), ids=REFUSED)
def test_refused(secret: str, says: str) -> None:
    """A secret that isn't a database's is refused by a sentence that names the key; nothing of it is in the error."""
    error = caught(DatabaseCredentials.from_json, secret)
    assert type(error) is SecretFormatError
    assert str(error).startswith(says)
    for shown in (everything(error), everything(copy.copy(error))):
        assert CANARY not in shown
        assert "8675309" not in shown


def test_not_text() -> None:
    """Even an argument that isn't text, such as the parsed object, is refused without being shown."""
    parsed: Any = {"username": "app", "password": CANARY}
    error = caught(DatabaseCredentials.from_json, parsed)
    assert type(error) is SecretFormatError
    assert CANARY not in everything(error)


@pytest.mark.exhaustive
@given(st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps))
def test_any_text(secret: str) -> None:
    """Whatever the text is, what comes out is credentials or `SecretFormatError`."""
    assert type(caught(DatabaseCredentials.from_json, secret)) is SecretFormatError


HOST_FORMS: dict[str, tuple[str, int | None]] = {
    "db.example": ("db.example", None),
    "db.example:5433": ("db.example", 5433),
    "10.0.0.1:5433": ("10.0.0.1", 5433),
    "::1": ("::1", None),
    "[::1]": ("::1", None),
    "[2001:db8::1]:5433": ("2001:db8::1", 5433),
    "fe80::1%eth0": ("fe80::1%eth0", None),
    "/var/run/postgresql": ("/var/run/postgresql", None),
    "/cloudsql/project:region:instance": ("/cloudsql/project:region:instance", None),
    "a.example,b.example": ("a.example,b.example", None),
}


@pytest.mark.parametrize(("host", "found"), HOST_FORMS.items())
def test_host_forms(host: str, found: tuple[str, int | None]) -> None:
    """A port at the end of the host becomes the port, and an IPv6 address loses its brackets."""
    one = DatabaseCredentials.from_json(text(host=host, port=None))
    assert (one.host, one.port) == found
    again = DatabaseCredentials.from_json(text(host=host, port=found[1] or 5432))
    assert (again.host, again.port) == (found[0], found[1] or 5432)


NO_HOSTS = ["db.example:", ":5432", "db.example:0", "db.example:65536", "db.example:http", "a:5432,b:5432", "[db]"]
NO_HOSTS += ["[db]:5432", "[::1", "[::1]:", "[::1]:0", "::1]", f"postgresql://app:{CANARY}@db.example/shop"]


@pytest.mark.parametrize("host", NO_HOSTS)
def test_no_host(host: str) -> None:
    """A host that no driver could resolve is refused where the secret is read, and isn't shown."""
    error = caught(DatabaseCredentials.from_json, text(host=host))
    assert type(error) is SecretFormatError
    assert str(error).startswith(
        "The secret's 'host' isn't a host: store a name, an IP address or the path of a socket"
    )
    assert CANARY not in everything(error)


ODD = ["app", "", "o'neill", 'say "hi"', "new\nline", "\x1b[2J", "{password}", "%s", "password=", "ünï", "\udc80"]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_repr_masks_the_password(odd: str) -> None:
    """However it is printed, and whatever the other fields hold, it is one line with a mask for the password."""
    one = credentials(username=odd, host=odd, dbname=odd)
    rest = f"engine='postgres', host={odd!r}, port=5432, dbname={odd!r}"
    assert repr(one) == f"DatabaseCredentials(username={odd!r}, password=***, {rest})"
    for shown in (str(one), f"{one}", f"{one!r:>300}", f"{[one]}", pprint.pformat({"a": one}), ascii(one)):
        assert "password=***" in shown
        assert CANARY not in shown
        assert "\n" not in shown
    assert "password=***" in repr(credentials(password=""))


def test_subclass_masks_too() -> None:
    """A subclass reads a secret into itself, shows no password, and is never equal to its parent."""

    class Child(DatabaseCredentials):
        """Has a method more, and room for attributes."""

        def place(self) -> str:
            return f"{self.host}:{self.port}"

    child = Child.from_json(text())
    assert (type(child), child.place()) == (Child, f"{HOST}:5432")
    assert repr(child).endswith(
        f".Child(username='app', password=***, engine='postgres', host={HOST!r}, port=5432, dbname=None)"
    )
    assert vars(child) == {}
    assert child != DatabaseCredentials.from_json(text())


def test_equality() -> None:
    """Equal fields make equal objects with equal hashes; any other field, class or type makes a difference."""
    assert credentials() == credentials()
    assert hash(credentials()) == hash(credentials())
    changes: list[dict[str, Any]] = [{"username": "b"}, {"password": "b"}, {"engine": None}, {"host": "b"}]
    changes += [{"port": 1}, {"dbname": None}]
    for change in changes:
        assert credentials() != credentials(**change)
    assert credentials() != ("app", CANARY, "postgres", HOST, 5432, "shop")


def test_a_failed_comparison_shows_no_password(pytestconfig: pytest.Config) -> None:
    """What pytest prints of two that differ has neither password."""
    if pytestconfig.getoption("assertmode") == "plain":
        pytest.skip("pytest prints nothing of plain assertions")
    one, other = credentials(), credentials(password="correct horse")
    with pytest.raises(AssertionError) as failed:
        assert one == other
    assert "password=***" in str(failed.value)
    assert CANARY not in str(failed.value)
    assert "correct horse" not in str(failed.value)


def test_immutable() -> None:
    """No field can be set or deleted, no attribute added, and no slot changed."""
    one = credentials()
    for name in (*FIELDS, "other", "_values"):
        with pytest.raises(AttributeError, match="DatabaseCredentials can't be changed: make another one"):
            setattr(one, name, None)
        with pytest.raises(AttributeError, match="DatabaseCredentials can't be changed"):
            delattr(one, name)
    assert not hasattr(one, "__dict__")
    assert one == credentials()


def test_attributes() -> None:
    """Its attributes are listed without the password, for everything that dumps attributes by that list."""
    assert set(FIELDS) - set(dir(credentials())) == {"password"}
    assert "_values" not in dir(credentials())


def test_match_by_keyword() -> None:
    """A `match` statement takes the fields by their names."""
    match credentials():
        case DatabaseCredentials(username="app", port=int(port), host=str(host)):
            assert (port, host) == (5432, HOST)
        case _:
            raise AssertionError("it doesn't match")


def test_keyword_only() -> None:
    """User and password can't be swapped by accident: fields are given by name."""
    make: Any = DatabaseCredentials
    with pytest.raises(TypeError, match="positional"):
        make("app", CANARY)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle(protocol: int) -> None:
    """It can't be pickled by any protocol, alone or in something else, and the refusal shows nothing."""
    for thing in (credentials(), [credentials()]):
        with pytest.raises(TypeError, match="DatabaseCredentials can't be pickled") as refused:
            pickle.dumps(thing, protocol)
        assert CANARY not in str(refused.value)


def test_copies_are_the_same_object() -> None:
    """A copy and a deep copy are the object itself, which can't change."""
    one = credentials()
    assert copy.copy(one) is one
    assert copy.deepcopy([one])[0] is one


SCHEMES = {
    "postgres": "postgresql://app:p@h:5432",
    "aurora-postgresql": "postgresql://app:p@h:5432",
    "redshift": "redshift://app:p@h:5439",
    "mysql": "mysql://app:p@h:3306",
    "aurora-mysql": "mysql://app:p@h:3306",
    "mariadb": "mariadb://app:p@h:3306",
    "mongo": "mongodb://app:p@h:27017",
    "oracle": "oracle://app:p@h:1521",
    "sqlserver": "mssql://app:p@h:1433",
    "db2": "db2://app:p@h:50000",
}


@pytest.mark.parametrize(("engine", "dsn"), SCHEMES.items())
def test_dsn_of_engine(engine: str, dsn: str) -> None:
    """Each engine has its scheme and its usual port; the secret's own port goes first, and so does a scheme."""
    one = DatabaseCredentials(username="app", password="p", engine=engine, host="h")
    assert one.as_dsn() == dsn
    other = DatabaseCredentials(username="app", password="p", engine=engine, host="h", port=7)
    assert other.as_dsn().endswith("@h:7")
    assert one.as_dsn(scheme="a+b_c") == "a+b_c" + dsn[dsn.index(":") :]


def test_dsn_overrides() -> None:
    """What is given goes before what the secret says; an empty dbname leaves it out."""
    one = credentials(password="p")
    assert one.as_dsn() == f"postgresql://app:p@{HOST}:5432/shop"
    assert one.as_dsn(host="h", port=1, dbname="d", scheme="x") == "x://app:p@h:1/d"
    assert one.as_dsn(dbname="") == f"postgresql://app:p@{HOST}:5432"


def test_dsn_of_a_managed_secret() -> None:
    """A secret with username and password only makes a URL with what is given; no port means the driver's own."""
    one = DatabaseCredentials.from_json('{"username": "admin", "password": "p"}')
    assert one.as_dsn(scheme="postgresql", host="h") == "postgresql://admin:p@h"
    assert one.as_dsn(scheme="postgresql", host="h", port=5433, dbname="d") == "postgresql://admin:p@h:5433/d"


NO_HOST = {
    "nothing": ({}, "The secret names no host; secrets that RDS manages for master users never do: give host=."),
    "other keys": (
        {"masterarn": CANARY, CANARY: CANARY},
        "The secret names no host; secrets that RDS manages for master users never do: give host=.",
    ),
    "another name": ({"Host-Name": HOST}, "The secret names no host; it has 'Host-Name', not 'host': give host=."),
    "two other names": (
        {"endpoint": HOST, "database": "shop", "host": ""},
        "The secret names no host; it has 'endpoint', not 'host', and 'database', not 'dbname': give host=.",
    ),
}


@pytest.mark.parametrize("name", NO_HOST)
def test_no_host_in_the_secret(name: str) -> None:
    """Where the secret calls its host by another name, the error says so; the secret is read all the same."""
    keys, says = NO_HOST[name]
    one = DatabaseCredentials.from_json(json.dumps({"username": "app", "password": CANARY, "engine": "mysql"} | keys))
    assert one._no_host_message == says
    with pytest.raises(ValueError, match="names no host") as refused:
        one.as_dsn()
    assert str(refused.value) == says
    assert one.as_dsn(host="h") == f"mysql://app:{CANARY}@h:3306"
    assert one == DatabaseCredentials(username="app", password=CANARY, engine="mysql")


HOSTS = {
    "/cloudsql/a:b:c": "%2Fcloudsql%2Fa%3Ab%3Ac",
    "db.example.com": "db.example.com",
    "10.0.0.1": "10.0.0.1",
    "::1": "[::1]",
    "[2001:db8::1]": "[2001:db8::1]",
    "fe80::1%eth0": "[fe80::1%25eth0]",
    "/var/run/postgresql": "%2Fvar%2Frun%2Fpostgresql",
    "evil@h/d?x#y": "evil%40h%2Fd%3Fx%23y",
}


@pytest.mark.parametrize(("host", "part"), HOSTS.items())
def test_dsn_hosts(host: str, part: str) -> None:
    """An IPv6 address is put in brackets once, and nothing in a host can end the host."""
    assert credentials(password="p", host=host).as_dsn() == f"postgresql://app:p@{part}:5432/shop"


NO_DSN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no engine": ({"engine": None}, {}, "engine isn't one of postgres, .*: give a scheme"),
    "unknown engine": ({"engine": "dbase"}, {}, "engine isn't one of postgres, .*: give a scheme"),
    "scheme with slashes": ({}, {"scheme": "postgresql://"}, "scheme isn't that of a URL: give it without '://'"),
    "InfluxDB": ({"engine": "timestream-influxdb"}, {}, "^InfluxDB has no URL with a login: give its client user and"),
    "empty scheme": ({}, {"scheme": ""}, "scheme isn't that of a URL"),
    "no host": ({"host": None}, {}, "names no host.*: give host="),
    "empty host": ({}, {"host": ""}, "names no host.*: give host="),
    "host with its port": ({"host": f"{HOST}:5432"}, {}, "host has a colon .*: give it without its port"),
    "two hosts": ({}, {"host": "a:1,b:2"}, "host has a colon"),
    "port 0": ({"port": 0}, {}, "port isn't a whole number from 1 to 65535: give a correct one as port="),
    "port too high": ({}, {"port": 65536}, "port isn't a whole number"),
    "port a bool": ({}, {"port": True}, "port isn't a whole number"),
}


@pytest.mark.parametrize(("fields", "arguments", "says"), NO_DSN.values(), ids=NO_DSN)
def test_no_dsn(fields: dict[str, Any], arguments: dict[str, Any], says: str) -> None:
    """What keeps a URL from being made is named, with the argument that helps; the password is nowhere in the error."""
    with pytest.raises(ValueError, match=says) as refused:
        credentials(**fields).as_dsn(**arguments)
    assert CANARY not in everything(refused.value)


@pytest.mark.exhaustive
@given(
    username=st.text(st.characters(), min_size=1),
    password=st.text(st.characters(), min_size=1),
    dbname=st.text(st.characters()),
    host=st.ip_addresses().map(str) | st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z]{2,5})?", fullmatch=True),
    port=st.none() | st.integers(1, 65535),
)
@example(username="a:b@c", password="/?#[]@!$&'()*+,;= %2F\\\t\r\n", dbname="a/b?c#d", host="::1", port=None)
@example(username="\N{PILE OF POO}", password="\udc80", dbname="..", host="h", port=1)
def test_dsn_round_trip(username: str, password: str, dbname: str, host: str, port: int | None) -> None:
    """Whatever text user, password and database are, a parser of URLs gets exactly them back."""
    one = DatabaseCredentials(username=username, password=password, engine="mysql", host=host, port=port, dbname=dbname)
    dsn = one.as_dsn()
    parts = urlsplit(dsn)
    found = (parts.username, parts.password, parts.path.removeprefix("/"))
    assert tuple(unquote(part or "", errors="surrogatepass") for part in found) == (username, password, dbname)
    assert (parts.scheme, parts.hostname, parts.port) == ("mysql", host, port or 3306)
    assert (parts.query, parts.fragment) == ("", "")
    assert dsn.isascii()
    assert dsn.isprintable()
