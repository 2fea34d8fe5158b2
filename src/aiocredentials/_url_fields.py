"""Read the fields of credentials from a URL.

As in `_formats`, the functions here hold the value of a secret, and raise no error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiocredentials._formats import host_and_port

if TYPE_CHECKING:
    from aiocredentials._formats import Fields, HostAndPort

# SQLAlchemy's schemes, and those of other libraries, with AWS's names for the engines.
_ENGINES = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "redshift": "redshift",
    "mysql": "mysql",
    "mariadb": "mariadb",
    "mongodb": "mongo",
    "oracle": "oracle",
    "mssql": "sqlserver",
    "sqlserver": "sqlserver",
    "db2": "db2",
    "ibm_db_sa": "db2",
}
# The host of such a URL isn't a server, but a name that DNS resolves to several.
_MONGODB_BY_DNS = "mongodb+srv"
_URL = re.compile(
    r"""
    (?:jdbc:)?
    (?P<scheme> [a-z] [a-z0-9+._-]*) ://
    (?P<authority> [^/?]*)
    (?P<path> [^?]*)
    (?P<options> \?.*)?
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
# In URLs of SQL Server, for JDBC and for Prisma, options follow the host without a path.
_SQL_SERVER = "sqlserver"
_OPTION_AFTER_SEMICOLON = re.compile(r";\s*\w[\w\s]*=")


def fields_of(
    text: str, where: str, *, may_have_options: bool, may_have_hosts: bool
) -> Fields | str:
    """Return what a URL has, or a sentence about a mistake that names where the URL stands.

    Args:
        text: The URL.
        where: The subject of the sentence.
        may_have_options: Whether options after a question mark may be dropped.
        may_have_hosts: Whether there may be several hosts, of which none is read.
    """
    match = _URL.fullmatch(text.strip())
    if match is None or "#" in text:
        return (
            f"{where} isn't a URL such as scheme://user:password@host:port/database; "
            "a '#' in it is written as %23."
        )
    if match["options"] and not may_have_options:
        return (
            f"{where} is a URL with options, which aren't read: give them to the driver, "
            "and ignore_options=True to the reader."
        )
    if _has_semicolons(match["scheme"], match["authority"]):
        return (
            f"{where} is a URL with options after ';', which can't be read: leave out url=, "
            "and give host, port and dbname by their keys or in fixed=."
        )

    login, _, server = match["authority"].rpartition("@")
    username, _, password = login.partition(":")
    address = _address(server, where, may_have_hosts=may_have_hosts)
    if isinstance(address, str):
        return address
    host, port = address
    encoded = {
        "username": username,
        "password": password,
        "host": host,
        "dbname": match["path"].removeprefix("/").removesuffix("/"),
    }
    try:
        fields: Fields = {field: unquote(part, errors="strict") for field, part in encoded.items()}
    except UnicodeDecodeError:
        return f"{where} is a URL with a percent-encoding that isn't UTF-8."
    fields["port"] = port
    fields["engine"] = _engine_of(match["scheme"])
    return fields


def _address(server: str, where: str, *, may_have_hosts: bool) -> HostAndPort | str:
    """Return host and port in a URL, or a sentence about a mistake."""
    addresses = [host_and_port(part) if part else ("", None) for part in server.split(",")]
    first = addresses[0]
    if first is None or None in addresses:
        return (
            f"{where} is a URL without a host that can be read: percent-encode "
            "'/', '?', ':' and '@' in its user and password."
        )
    if len(addresses) == 1:
        return first
    if may_have_hosts:
        return "", None
    return (
        f"{where} is a URL with several hosts: name one in fixed={{'host': ...}}, "
        "or by its key as host=."
    )


def _has_semicolons(scheme: str, authority: str) -> bool:
    """Return whether options follow the host, each after a semicolon."""
    if scheme.lower() == _SQL_SERVER and _OPTION_AFTER_SEMICOLON.search(authority):
        return True
    _, _, server = authority.rpartition("@")
    return ";" in server


def _engine_of(scheme: str) -> str | None:
    scheme = scheme.lower()
    if scheme == _MONGODB_BY_DNS:
        return None
    dialect, _, _ = scheme.partition("+")
    return _ENGINES.get(dialect)
