"""What the adapters for databases share: whose login it is, which server, and how to close."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiocredentials import DatabaseCredentials
from aiocredentials._rotation.adapters import checked, complete, given, place

HOSTLESS = DatabaseCredentials(username="app", password="p")
FULL = DatabaseCredentials(username="app", password="p", host="db.example", port=6543, dbname="shop")


def test_checked() -> None:
    """Credentials are returned; anything else is refused, and isn't kept in the error."""
    assert checked(FULL) is FULL
    value = {"password": "hunter2-canary"}
    with pytest.raises(TypeError, match=r"decode=DatabaseCredentials\.from_json") as caught:
        checked(value)
    assert caught.tb is not None
    frame = caught.traceback[-1].frame
    assert "hunter2-canary" not in repr(frame.f_locals)


@pytest.mark.parametrize("nothing", [None, "", ()])
def test_what_is_none_is_not_given(nothing: object) -> None:
    """User, password, host, port and database that are None or empty aren't given."""
    names = ("user", "password", "host", "hostaddr", "port", "dbname", "database")
    options = {**dict.fromkeys(names, nothing), "timeout": None, "autocommit": False, "application_name": "x"}
    assert given(options, "it") == {"timeout": None, "autocommit": False, "application_name": "x"}


@pytest.mark.parametrize("name", ["user", "password"])
def test_a_login_is_refused(name: str) -> None:
    """A user or a password is refused, with the place where it was given and without itself."""
    with pytest.raises(ValueError, match=r"come from the secret: leave them out of the URL\.") as caught:
        given({name: "hunter2"}, "the URL")
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
    assert given({"host": host}, "it") == {"host": expected}


@pytest.mark.parametrize("host", ["db.example:5432", "one,two:5432", ["one", "two:5432"], "[::1]:5432", "1:2"])
def test_a_host_with_a_port(host: object) -> None:
    """A host that holds its port is refused with what to do."""
    with pytest.raises(ValueError, match=r"give it without its port, which is port=\."):
        given({"host": host}, "it")


def test_place() -> None:
    """What the caller doesn't say of the server, the secret says, each for itself."""
    where: dict[str, Any] = {"database": "dbname", "variables": ()}
    assert place(FULL, (), **where) == {"host": "db.example", "port": 6543, "dbname": "shop"}
    assert place(FULL, ("host", "dbname"), **where) == {"port": 6543}
    assert place(FULL, (), database="database", variables=())["database"] == "shop"


def test_no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a host it is refused, unless the environment names one."""
    where: dict[str, Any] = {"database": "dbname", "variables": ("PGHOST", "PGSERVICE")}
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match=r"names no host; .* give host="):
        place(HOSTLESS, ("port", "dbname"), **where)
    for named in ("host", "hostaddr", "service", "dsn"):
        assert place(HOSTLESS, (named,), **where) == {}
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    with pytest.raises(ValueError, match="names no host"):
        place(HOSTLESS, (), **where)
    monkeypatch.setenv("PGSERVICE", "mine")
    assert place(HOSTLESS, (), **where) == {}


async def test_complete() -> None:
    """Closing is awaited to its end: a cancellation is passed on afterwards, and so is its error."""
    began, go = asyncio.Event(), asyncio.Event()
    closed: list[bool] = []

    async def close() -> None:
        began.set()
        await go.wait()
        closed.append(True)

    closing = asyncio.create_task(complete(close()))
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
        await complete(failing())
