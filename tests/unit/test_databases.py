"""What the adapters for databases share: whose login it is, which server, and how to close."""

from __future__ import annotations

import asyncio

import pytest

from aiocredentials import DatabaseCredentials
from aiocredentials._rotation.adapters import (
    Driver,
    checked_credentials,
    close_completely,
    options_without_login,
    server_options,
)

HOSTLESS = DatabaseCredentials(username="app", password="p")
FULL = DatabaseCredentials(username="app", password="p", host="db.example", port=6543, dbname="shop")


def test_checked() -> None:
    """Credentials are returned; anything else is refused, and isn't kept in the error."""
    assert checked_credentials(FULL) is FULL
    value = {"password": "hunter2-canary"}
    with pytest.raises(TypeError, match=r"decode=DatabaseCredentials\.from_json") as caught:
        checked_credentials(value)
    assert caught.tb is not None
    frame = caught.traceback[-1].frame
    assert "hunter2-canary" not in repr(frame.f_locals)


@pytest.mark.parametrize("nothing", [None, "", ()])
def test_what_is_none_is_not_given(nothing: object) -> None:
    """User, password, host, port and database that are None or empty aren't given."""
    names = ("user", "password", "host", "hostaddr", "port", "dbname", "database")
    options = {**dict.fromkeys(names, nothing), "timeout": None, "autocommit": False, "application_name": "x"}
    assert options_without_login(options, "it") == {"timeout": None, "autocommit": False, "application_name": "x"}


@pytest.mark.parametrize("name", ["user", "password"])
def test_a_login_is_refused(name: str) -> None:
    """A user or a password is refused, with the place where it was given and without itself."""
    with pytest.raises(ValueError, match=r"come from the secret: leave them out of the URL\.") as caught:
        options_without_login({name: "hunter2"}, "the URL")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("db.example", "db.example"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("one,[::1],two", "one,::1,two"),
        ("/cloudsql/project:region:instance", "/cloudsql/project:region:instance"),
        ("@abstract:socket", "@abstract:socket"),
        (["one", "[::1]"], ["one", "::1"]),
        (("one", "/run/a:b"), ["one", "/run/a:b"]),
    ],
)
def test_hosts(host: object, expected: object) -> None:
    """Hosts, lists of hosts, IPv6 addresses, with brackets or not, and paths of sockets are right."""
    assert options_without_login({"host": host}, "it") == {"host": expected}


@pytest.mark.parametrize("host", ["db.example:5432", "one,two:5432", ["one", "two:5432"], "[::1]:5432", "1:2"])
def test_a_host_with_a_port(host: object) -> None:
    """A host that holds its port is refused with what to do."""
    with pytest.raises(ValueError, match=r"give it without its port, which is port=\."):
        options_without_login({"host": host}, "it")


def test_place() -> None:
    """What the caller doesn't say of the server, the secret says, each for itself."""
    driver = Driver("dbname", ())
    assert server_options(FULL, (), driver) == {"host": "db.example", "port": 6543, "dbname": "shop"}
    assert server_options(FULL, ("host", "dbname"), driver) == {"port": 6543}
    assert server_options(FULL, (), Driver("database", ()))["database"] == "shop"


def test_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a host it is refused, unless the environment names one."""
    driver = Driver("dbname", ("PGHOST", "PGSERVICE"))
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"names no host; .* give host="):
        server_options(HOSTLESS, ("port", "dbname"), driver)
    for named in ("host", "hostaddr", "service", "dsn"):
        assert server_options(HOSTLESS, (named,), driver) == {}
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    with pytest.raises(ValueError, match="names no host"):
        server_options(HOSTLESS, (), driver)
    monkeypatch.setenv("PGSERVICE", "mine")
    assert server_options(HOSTLESS, (), driver) == {}


async def test_complete() -> None:
    """Closing is awaited to its end: a cancellation is passed on afterwards, and so is its error."""
    began, go = asyncio.Event(), asyncio.Event()
    closed: list[bool] = []

    async def close() -> None:
        began.set()
        await go.wait()
        closed.append(True)

    closing = asyncio.create_task(close_completely(close()))
    await began.wait()
    closing.cancel()
    await asyncio.sleep(0)
    assert not closing.done()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert closed

    async def failing() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await close_completely(failing())
