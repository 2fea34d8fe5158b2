"""Whether connections are encrypted: an IAM token is sent as plain text.

A manager that has the attribute `needs_encryption` demands it. Each function returns nothing if the
driver can't send a password before the connection is encrypted, whatever the server answers.
Otherwise it raises a `ValueError` that says which option to give.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    Options: TypeAlias = Mapping[str, Any]

_WHY = (
    "An IAM token is a password that is sent as plain text, so the connection must be encrypted: "
)
_ON_SOCKETS = (
    "leave the Unix-domain socket out of the options, because drivers never encrypt those, "
    "and give the host name of the server. An empty host in a list may be a socket, too."
)
_BUNDLE = "global-bundle.pem (AWS's certificates)"
_BY_CONTEXT = f"give ssl=ssl.create_default_context(cafile=...) with {_BUNDLE}"
_BY_MODE = f"give sslmode='verify-full' and sslrootcert= with {_BUNDLE}"
_ON_PREFER = "By default the driver continues without encryption if the server offers none."
# PostgreSQL's documentation, "SSL Support": the other modes allow connections without encryption.
_ENCRYPTED_MODES = {"require", "verify-ca", "verify-full"}


def needs_encryption(manager: object) -> bool:
    """Return whether the passwords of a manager must cross the network only encrypted."""
    return bool(getattr(manager, "needs_encryption", False))


def check_encryption(manager: object, driver: str, options: Options) -> None:
    """Reject options of a driver with which a password may be sent as plain text.

    Args:
        manager: The manager that has the passwords.
        driver: `asyncpg`, `psycopg`, or a driver for MySQL.
        options: All options of the driver; asyncpg's URL is `dsn`.

    Raises:
        ValueError: The manager needs encryption, and the options don't ensure it.
    """
    if not needs_encryption(manager):
        return
    if any(map(_has_socket, _lists_of_hosts(options))):
        raise ValueError(_WHY + _ON_SOCKETS)
    if driver == "asyncpg":
        is_encrypted = _asyncpg_encrypts(options)
        advice = f"{_BY_CONTEXT}, or sslmode=verify-full in the URL. {_ON_PREFER}"
    elif driver == "psycopg":
        is_encrypted = _libpq_encrypts(options)
        advice = f"{_BY_MODE}. {_ON_PREFER}"
    else:
        is_encrypted = _mysql_encrypts(options)
        advice = f"{_BY_CONTEXT}, and leave out read_default_file, which may name a socket."
    if not is_encrypted:
        raise ValueError(_WHY + advice)


def _asyncpg_encrypts(options: Options) -> bool:
    chosen = options.get("ssl")
    if chosen is None:
        chosen = _in_dsn(options, "sslmode")
    if chosen is None:
        service = options.get("service") or _in_dsn(options, "service")
        chosen = _mode_of_the_environment(service)
    if chosen is True or isinstance(chosen, ssl.SSLContext):
        return True
    # asyncpg's own class of modes has names, and accepts both signs between the words.
    mode = getattr(chosen, "name", chosen)
    return str(mode).replace("_", "-") in _ENCRYPTED_MODES


def _libpq_encrypts(options: Options) -> bool:
    mode = options.get("sslmode")
    if not mode:
        mode = _mode_of_the_environment(options.get("service"))
    return mode in _ENCRYPTED_MODES


def _mysql_encrypts(options: Options) -> bool:
    if options.get("read_default_file"):
        return False
    return isinstance(options.get("ssl"), ssl.SSLContext)


def _mode_of_the_environment(service: str | None) -> str | None:
    """Return the mode in PGSSLMODE.

    Return None if a service's file, which isn't read here, may overrule it.
    """
    if service or os.environ.get("PGSERVICE"):
        return None
    return os.environ.get("PGSSLMODE")


def _in_dsn(options: Options, name: str) -> str | None:
    """Return the last value of an option in asyncpg's URL."""
    query = urlsplit(options.get("dsn") or "").query
    values = parse_qs(query).get(name)
    if values is None:
        return None
    return values[-1]


def _lists_of_hosts(options: Options) -> Iterator[list[str]]:
    """Yield the lists of hosts, and of the paths of sockets, that options name."""
    given: object = options.get("host")
    if isinstance(given, (list, tuple)):
        yield list(map(str, cast("Sequence[object]", given)))

    netloc = urlsplit(options.get("dsn") or "").netloc
    addresses = unquote(netloc.rpartition("@")[2])
    # In an address, a colon that has no host before it begins the port.
    without_ports = re.sub(r"(^|,):\d*", r"\1", addresses)
    for text in (
        options.get("unix_socket"),
        options.get("host"),
        without_ports,
        _in_dsn(options, "host"),
    ):
        if text and isinstance(text, str):
            yield text.split(",")


def _has_socket(hosts: list[str]) -> bool:
    """Return whether a list of hosts has the path of a socket.

    An empty host in a list is libpq's folder of sockets. A single one counts as left out.
    """
    return "" in hosts or any(host.startswith(("/", "@")) for host in hosts)


def check_redis_encryption(manager: object, *, is_encrypted: bool) -> None:
    """Reject a client of Redis whose connections aren't encrypted.

    Raises:
        ValueError: The manager needs encryption.
    """
    if needs_encryption(manager) and not is_encrypted:
        raise ValueError(
            f"{_WHY}give the client ssl=True, or a URL that begins with rediss://. "
            "A Unix-domain socket can't be used."
        )
