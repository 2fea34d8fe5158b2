"""How secrets write down credentials: AWS's JSON for databases, and what people keep for Redis.

The functions here hold what a secret says. So none of them raises anything whose traceback would
have it: each returns what it found, or a sentence on what is wrong.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

_DATABASE_KEYS = ("username", "password", "engine", "host", "port", "dbname")

# What secrets call the password for Redis, in this order.
_REDIS_PASSWORDS = ("password", "token", "auth_token")

# What secrets of other formats call a key, in lower case and without separators → what it is
# called here. Such a key isn't read. A sentence names it where the right one is missing.
_OTHER_NAMES = {
    other: name
    for name, *others in (
        ("username", "user", "username", "login", "userid", "uid", "dbuser", "dbusername"),
        ("password", "pass", "password", "passwd", "pwd", "authtoken", "dbpassword", "dbpass"),
        ("host", "host", "hostname", "server", "servername", "endpoint", "address", "url", "uri"),
        ("host", "dbhost", "dbhostname"),
        ("dbname", "dbname", "database", "databasename", "db", "initialdatabase"),
    )
    for other in others
}
_LONGEST_NAME = 24

_LAST_PORT = 65535
_A_PORT = f"a whole number from 1 to {_LAST_PORT}"
_A_TEXT = "a string of Unicode text"
_PORT = re.compile(r"[0-9]{1,5}")
_HOST_AND_PORT = re.compile(r"(\[[^]]*]|[^:]+):([0-9]{1,5})")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SURROGATE = re.compile("[\ud800-\udfff]")


class Found:
    """What was read from a secret. It has no repr of its own, so no frame shows a value."""

    __slots__ = ("fields", "other_names")

    def __init__(self, fields: dict[str, Any], other_names: str = "") -> None:
        self.fields = fields
        """The arguments for the class of credentials."""
        self.other_names = other_names
        """Which keys look like those that are missing, in words."""


class Format(NamedTuple):
    """How a kind of credentials is read: each function returns a sentence if it can't be."""

    read_text: Callable[[str], Found | str]
    """Of a secret's text."""
    read: Callable[[Mapping[str, object]], Found | str]
    """Of the mapping that JSON is, or of one that means the same."""


# Databases


def read_database_text(text: str) -> Found | str:
    """Read AWS's JSON."""
    try:
        data = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return "The secret isn't JSON."
    if not isinstance(data, dict):
        return "The secret is JSON, but not an object with the keys 'username' and 'password'."
    return read_database(cast("dict[str, object]", data))


def read_database(data: Mapping[str, object]) -> Found | str:
    """Read the keys of AWS's JSON."""
    found = _present(data, _DATABASE_KEYS)
    other_names = _other_names(data, [name for name in _DATABASE_KEYS if name not in found])
    if missing := [name for name in ("username", "password") if name not in found]:
        return _missing(" and no ".join(map(repr, missing)), other_names)

    for name, value in found.items():
        is_port = name == "port"
        found[name] = port_of(value) if is_port else _unicode(value)
        if found[name] is None:
            return f"The secret's {name!r} isn't {_A_PORT if is_port else _A_TEXT}."
    if "host" not in found:
        return Found(found, other_names)

    place = _host_and_port(found["host"])
    if place is None:
        return (
            "The secret's 'host' is no host: keep a name, an IP address or the path of a socket "
            "in it, and the port as 'port'."
        )
    host, port = place
    if port not in {None, found.get("port", port)}:
        return "The secret's 'host' ends in a port that isn't its 'port'."
    found["host"] = host
    found["port"] = port or found.get("port")
    return Found(found, other_names)


def _host_and_port(host: str) -> tuple[str, int | None] | None:
    """Return the host without brackets, and the port at its end; None where it isn't a host.

    The path of a socket may have colons, as Google's Cloud SQL does.
    """
    if host.startswith("/") or is_ipv6(host):
        return host, None

    match = _HOST_AND_PORT.fullmatch(host)
    name = match[1] if match else host
    port = port_of(match[2]) if match else None
    if match and port is None:
        return None
    if name.startswith("[") and name.endswith("]"):
        address = name[1:-1]
        return (address, port) if is_ipv6(address) else None
    return None if ":" in name else (name, port)


def is_ipv6(text: str) -> bool:
    """Whether this is an IPv6 address, without brackets."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def port_of(value: object) -> int | None:
    """Return the port that a number or its digits say; None for anything else."""
    if isinstance(value, str) and _PORT.fullmatch(value):
        value = int(value)
    return value if type(value) is int and 1 <= value <= _LAST_PORT else None


# Redis


def read_redis_text(text: str) -> Found | str:
    """Read a JSON object, or a token."""
    token = (_unicode(text) or "").strip()
    if not token:
        return "The secret is empty, or isn't Unicode text."
    if not token.startswith("{"):
        return _no_token(token) or Found({"password": token})
    try:
        data = json.loads(token)
    except (ValueError, RecursionError):
        return "The secret begins like a JSON object, and isn't one."
    return read_redis(data)


def read_redis(data: Mapping[str, object]) -> Found | str:
    """Read the keys of a JSON object."""
    given = _present(data, ("username", *_REDIS_PASSWORDS))
    key = next((name for name in _REDIS_PASSWORDS if name in given), None)
    if key is None:
        keys = ", no ".join(map(repr, _REDIS_PASSWORDS))
        return _missing(keys, _other_names(data, ["password"]))

    for name in given.keys() & {"username", key}:
        if _unicode(given[name]) is None:
            return f"The secret's {name!r} isn't {_A_TEXT}."
    if _URL.match(given[key]):
        return f"The secret's {key!r} is a URL: keep the password alone in it."
    return Found({"password": given[key], "username": given.get("username")})


def _no_token(text: str) -> str | None:
    """Say why a text that isn't an object isn't a token either; None if it may be one."""
    if _URL.match(text):
        return "The secret is a URL: keep the password, or JSON with 'username' and 'password'."
    if len(text.splitlines()) > 1:
        return "The secret has several lines, and a token has one."
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None

    # A token may be made of digits.
    if type(data) in {int, float}:
        return None
    return "The secret is JSON, but not an object: keep the token without quotes or brackets."


# Both


def _present(data: Mapping[str, object], names: Collection[str]) -> dict[str, Any]:
    """Return what there is by these names: null and the empty string are nothing."""
    given = {name: data.get(name) for name in names}
    return {name: value for name, value in given.items() if value not in (None, "")}


def _missing(keys: str, other_names: str) -> str:
    also = f"; {other_names}" if other_names else ""
    return f"The secret has no {keys}, or an empty one{also}."


def _other_names(data: Mapping[str, object], missing: Collection[str]) -> str:
    """Say which keys look like those that are missing; no other key's name is in that."""
    found = {_meant(key): key for key in data if key not in _DATABASE_KEYS}
    pairs = [f"{found[name]!r}, not {name!r}" for name in missing if name in found]
    return f"it has {', and '.join(pairs)}" if pairs else ""


def _meant(key: object) -> str | None:
    """Return by what name a key is read here, if it is one of those that others use."""
    if not isinstance(key, str) or len(key) > _LONGEST_NAME:
        return None
    return _OTHER_NAMES.get(key.lower().replace("_", "").replace("-", ""))


def _unicode(value: object) -> str | None:
    return value if isinstance(value, str) and not _SURROGATE.search(value) else None


DATABASE = Format(read_database_text, read_database)
REDIS = Format(read_redis_text, read_redis)
