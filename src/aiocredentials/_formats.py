"""Read credentials as secrets write them: AWS's JSON for databases, and several formats for Redis.

Secrets of other shapes are read by `_shapes`. The functions here hold the value of a secret. So
none of them raises an error, because its traceback would have the value: each returns the fields
that it found, or a sentence about the mistake.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aiocredentials._loops import loading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import TypeAlias

    Data: TypeAlias = Mapping[str, object]
    Fields: TypeAlias = dict[str, Any]
    HostAndPort: TypeAlias = tuple[str, int | None]
    # A sentence explains why nothing was found.
    Reading: TypeAlias = "Found | str"

_LOGIN_KEYS = ("username", "password")
_DATABASE_KEYS = (*_LOGIN_KEYS, "engine", "host", "port", "dbname")

# The keys for the password of Redis, the preferred one first.
REDIS_PASSWORDS = ("password", "token", "auth_token")
_REDIS_KEYS = ("username", *REDIS_PASSWORDS)

# The keys that secrets of other formats have instead of our keys, in lower case and without
# separators. Such a key is not read, but the error names it if our key is missing.
_OTHER_KEYS = {
    "username": ["user", "username", "login", "userid", "uid", "dbuser", "dbusername"],
    "password": ["pass", "password", "passwd", "pwd", "authtoken", "dbpassword", "dbpass"],
    "host": [
        "host",
        "hostname",
        "server",
        "servername",
        "endpoint",
        "address",
        "url",
        "uri",
        "dbhost",
        "dbhostname",
    ],
    "dbname": ["dbname", "database", "databasename", "db", "initialdatabase"],
}
_OUR_KEYS = {other: ours for ours, others in _OTHER_KEYS.items() for other in others}
_LONGEST_KEY = 24

# How many keys of a secret an error names.
_MOST_KEYS_SHOWN = 10

_LAST_PORT = 65535
_A_PORT = f"a whole number from 1 to {_LAST_PORT}"
_A_TEXT = "a string of Unicode text"
# `re` compiles and keeps the patterns at their first use.
_PORT = r"[0-9]{1,5}"
_HOST_AND_PORT = r"(\[[^]]*]|[^:]+):([0-9]{1,5})"
_URL = r"[A-Za-z][A-Za-z0-9+.-]*://"
_SURROGATE = "[\ud800-\udfff]"


class Found:
    """The fields that were read from a secret.

    It has the repr of every object, so a frame that holds it shows no value.
    """

    __slots__ = ("fields", "other_names")

    def __init__(self, fields: Fields, other_names: str = "") -> None:
        self.fields = fields
        """The arguments for the class of credentials."""
        self.other_names = other_names
        """Which keys look like those that are missing, as part of a sentence."""


class Format(NamedTuple):
    """Two functions that read one kind of credentials; each returns a sentence if it can't."""

    read_text: Callable[[str | bytes], Reading]
    """Reads the text of a secret, or its bytes."""
    read: Callable[[Data], Reading]
    """Reads the mapping in a secret's JSON, or another mapping with the same keys."""


# Databases


def read_database_text(text: str | bytes) -> Reading:
    """Read AWS's JSON."""
    unicode_text = text_of(text) or ""
    try:
        data = json.loads(unicode_text)
    except (ValueError, RecursionError):
        if is_url(unicode_text):
            return "The secret is a URL, not JSON: DatabaseCredentials.from_url reads it."
        return "The secret isn't JSON."
    if not isinstance(data, dict):
        return "The secret is JSON, but not an object with the keys 'username' and 'password'."
    return read_database(cast("dict[str, object]", data))


def read_database(data: Data) -> Reading:
    """Read the keys of AWS's JSON."""
    fields = filled(data, _DATABASE_KEYS)
    absent = [key for key in _DATABASE_KEYS if key not in fields]
    other_names = _other_names(data, absent)

    missing = [key for key in _LOGIN_KEYS if key not in fields]
    if missing:
        keys = " and no ".join(map(repr, missing))
        return missing_keys(keys, data, other_names)

    wrong = wrong_in_database(fields, {})
    return wrong or Found(fields, other_names)


def wrong_in_database(fields: Fields, keys: Mapping[str, str]) -> str | None:
    """Check the values of all fields, and convert the port; return a sentence about a mistake.

    Args:
        fields: The values as the secret has them, by field. Host and port are changed.
        keys: The secret's key for each field whose key isn't the name of the field.
    """
    for field, value in fields.items():
        if field == "port":
            expected = _A_PORT
            fields[field] = port_of(value)
        else:
            expected = _A_TEXT
            fields[field] = unicode_of(value)
        if fields[field] is None:
            key = keys.get(field, field)
            return f"The secret's {key!r} isn't {expected}."
    return _separate_port(fields, keys)


def _separate_port(fields: Fields, keys: Mapping[str, str]) -> str | None:
    """Move a port at the end of the host to its own field; return a sentence if it can't."""
    if "host" not in fields:
        return None
    host_key = keys.get("host", "host")
    port_key = keys.get("port", "port")
    address = host_and_port(fields["host"])
    if address is None:
        return (
            f"The secret's {host_key!r} isn't a host: store a name, an IP address or the path of a "
            f"socket in it, and the port as {port_key!r}."
        )
    host, port = address
    fields["host"] = host
    if port is None:
        return None
    if port != fields.setdefault("port", port):
        return f"The secret's {host_key!r} ends in a port that differs from its {port_key!r}."
    return None


def host_and_port(text: str) -> HostAndPort | None:
    """Return the host without brackets, and the port at its end; None if the text isn't a host.

    The path of a socket may have colons, as those of Google's Cloud SQL do.
    """
    is_path = text.startswith("/")
    if is_path or is_ipv6(text):
        return text, None

    host = text
    port = None
    match = re.fullmatch(_HOST_AND_PORT, text)
    if match:
        host = match[1]
        port = port_of(match[2])
        if port is None:
            return None

    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not is_ipv6(host):
            return None
    elif ":" in host:
        return None
    return host, port


def is_ipv6(text: str) -> bool:
    """Return whether a text is an IPv6 address, without brackets."""
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def port_of(value: object) -> int | None:
    """Return the port that is a number or a string of its digits; None for any other object."""
    if isinstance(value, str) and re.fullmatch(_PORT, value):
        value = int(value)
    if type(value) is not int:
        return None
    is_port = 1 <= value <= _LAST_PORT
    return value if is_port else None


# Redis


def read_redis_text(text: str | bytes) -> Reading:
    """Read a JSON object, or a token."""
    unicode_text = unicode_of(text_of(text)) or ""
    token = unicode_text.strip()
    if not token:
        return "The secret is empty, or isn't Unicode text."
    if not token.startswith("{"):
        wrong = _wrong_in_token(token)
        return wrong or Found({"password": token})
    try:
        data = json.loads(token)
    except (ValueError, RecursionError):
        return "The secret begins like a JSON object, but isn't valid JSON."
    return read_redis(data)


def read_redis(data: Data) -> Reading:
    """Read the keys of a JSON object."""
    fields = filled(data, _REDIS_KEYS)
    password_keys = [key for key in REDIS_PASSWORDS if key in fields]
    if not password_keys:
        keys = ", no ".join(map(repr, REDIS_PASSWORDS))
        other_names = _other_names(data, ["password"])
        return missing_keys(keys, data, other_names)

    password_key = password_keys[0]
    found = {
        "password": fields[password_key],
        "username": fields.get("username"),
    }
    wrong = wrong_in_redis(found, {"password": password_key})
    return wrong or Found(found)


def wrong_in_redis(fields: Fields, keys: Mapping[str, str]) -> str | None:
    """Return a sentence about a mistake in the values; the arguments are as for databases."""
    for field, value in fields.items():
        key = keys.get(field, field)
        if value is None:
            continue
        if unicode_of(value) is None:
            return f"The secret's {key!r} isn't {_A_TEXT}."
        if field == "password" and is_url(value):
            return f"The secret's {key!r} is a URL: store only the password in it."
    return None


def _wrong_in_token(text: str) -> str | None:
    """Return why a text that isn't an object isn't a token either; None if it may be a token."""
    if is_url(text):
        return "The secret is a URL: RedisCredentials.from_url reads the user and the password."
    lines = text.splitlines()
    if len(lines) > 1:
        return "The secret has several lines, but a token has only one."
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None

    # A token may be made of digits.
    is_number = type(data) in {int, float}
    if is_number:
        return None
    return "The secret is JSON, but not an object: store the token without quotes or brackets."


# Both


def text_of(secret: object) -> str | None:
    """Return a secret's text; None if it has bytes that aren't UTF-8, or is neither."""
    if isinstance(secret, bytes):
        try:
            secret = secret.decode()
        except UnicodeDecodeError:
            return None
    if not isinstance(secret, str):
        return None
    # Editors on Windows begin a file with a byte order mark.
    return secret.removeprefix("\ufeff")


def is_url(text: str) -> bool:
    """Return whether a text begins like a URL."""
    return bool(re.match(_URL, text))


def filled(data: Data, keys: Collection[str]) -> Fields:
    """Return those of the keys that are neither missing nor null nor empty, with their values."""
    found: Fields = {}
    for key in keys:
        value = data.get(key)
        if value not in (None, ""):
            found[key] = value
    return found


def missing_keys(keys: str, data: Data, other_names: str = "") -> str:
    """Return a sentence that names the keys that are missing, and those that are there."""
    sentence = f"The secret has no {keys}, or an empty one"
    if other_names:
        sentence = f"{sentence}; {other_names}"
    return f"{sentence}. {_keys_in(data)}"


def _keys_in(data: Data) -> str:
    """Return a sentence with the keys of an object, except for those that may be tokens."""
    # Few secrets have an error, so the others don't pay for this.
    with loading:
        from aiocredentials._field_names import is_field_name  # noqa: PLC0415

    # A mapping for a field of a pydantic model may have any objects as keys.
    keys = cast("Iterable[object]", data)
    names = [repr(key) for key in keys if isinstance(key, str) and is_field_name(key)]
    del names[_MOST_KEYS_SHOWN:]

    others = len(data) - len(names)
    if others:
        names.append(f"{others} not shown")
    listed = ", ".join(names) or "none"
    return f"Its keys: {listed}."


def _other_names(data: Data, absent: Collection[str]) -> str:
    """Return, as part of a sentence, the keys that resemble the ones that are absent."""
    similar: dict[str | None, str] = {}
    for other in data:
        if other not in _DATABASE_KEYS:
            our_key = _our_key_for(other)
            similar[our_key] = other

    pairs: list[str] = []
    for key in absent:
        if key in similar:
            other = similar[key]
            pairs.append(f"{other!r}, not {key!r}")
    if not pairs:
        return ""
    return "it has " + ", and ".join(pairs)


def _our_key_for(other: object) -> str | None:
    """Return our key for a key of another format, if there is one."""
    if not isinstance(other, str):
        return None
    if len(other) > _LONGEST_KEY:
        return None
    spelling = other.lower()
    spelling = spelling.replace("_", "")
    spelling = spelling.replace("-", "")
    return _OUR_KEYS.get(spelling)


def unicode_of(value: object) -> str | None:
    """Return a value that is a text without surrogates; None for any other value."""
    if not isinstance(value, str):
        return None
    if re.search(_SURROGATE, value):
        return None
    return value


DATABASE = Format(read_database_text, read_database)
REDIS = Format(read_redis_text, read_redis)
