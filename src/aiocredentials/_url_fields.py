"""Read the fields of credentials from a URL.

An ambiguous URL is rejected, because a part of the password could be read as a host or a database,
which are shown and connected to.

As in `_formats`, the functions here hold the value of a secret, and raise no error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aiocredentials._formats import host_and_port, port_of

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
    (?P<jdbc> jdbc:)?
    (?P<scheme> [a-z] [a-z0-9+._-]*) ://
    (?P<authority> [^/?]*)
    (?P<path> [^?]*)
    (?P<options> \?.*)?
    """,
    re.VERBOSE | re.IGNORECASE | re.DOTALL,
)
_JDBC = re.compile("jdbc:", re.IGNORECASE)
_AROUND = " \t\r\n"
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NO_ESCAPE = re.compile("%(?![0-9a-fA-F]{2})")
# In URLs of SQL Server, for JDBC and for Prisma, options follow the host without a path.
_OPTION_AFTER_SEMICOLON = re.compile(r";\s*\w[\w\s]*=")
# In JDBC's URLs of Db2, options follow the database without a question mark.
_OPTION_IN_PATH = re.compile("[;=&]")
_SERVER = re.compile(
    r"""
    (?P<host> \[ [^\[\]]* ] | [\w.~%-]* )
    (?: : (?P<port> [^:]*) )?
    """,
    re.VERBOSE,
)

_BY_KEYS = "leave out url=, and give host, port and dbname by their keys or in fixed=."


def fields_of(
    text: str,
    where: str,
    *,
    may_have_options: bool,
    may_have_hosts: bool,
) -> Fields | str:
    """Return what a URL has, or a sentence about a mistake that names where the URL stands.

    Args:
        text: The URL.
        where: The subject of the sentence.
        may_have_options: Whether options after a question mark may be dropped.
        may_have_hosts: Whether there may be several hosts, of which none is read.
    """
    url = text.strip(_AROUND)
    match = _URL.fullmatch(url)
    if match is None and _JDBC.match(url):
        return f"{where} is a JDBC URL of a kind that can't be read: {_BY_KEYS}"
    if match is None:
        return f"{where} isn't a URL such as scheme://user:password@host:port/database."

    mistake = _mistake_in(match, may_have_options=may_have_options)
    if mistake:
        return f"{where} is a URL {mistake}"

    login, _, server = match["authority"].rpartition("@")
    username, _, password = login.partition(":")
    address = _address(server, may_have_hosts=may_have_hosts)
    if isinstance(address, str):
        return f"{where} is a URL {address}"
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


def _mistake_in(match: re.Match[str], *, may_have_options: bool) -> str | None:
    """Return what is wrong with a URL apart from its host and port, as the end of a sentence."""
    if _has_options_for_sql_server(match):
        return f"with options after ';', which can't be read: {_BY_KEYS}"
    unencoded = _unencoded_in(match)
    if unencoded:
        return unencoded
    if match["options"] and not may_have_options:
        return (
            "with options, which aren't read: give them to the driver, and ignore_options=True "
            "to the reader."
        )

    _, _, server = match["authority"].rpartition("@")
    if ";" in server or _OPTION_IN_PATH.search(match["path"]):
        return (
            "with ';', '=' or '&' after its host: percent-encode them if they belong to the "
            f"database; if they are options, {_BY_KEYS}"
        )
    return None


def _unencoded_in(match: re.Match[str]) -> str | None:
    """Return the character that makes a URL ambiguous, as the end of a sentence."""
    authority = match["authority"]
    path = match["path"]
    options = match["options"] or ""
    if "#" in match[0]:
        return "with a '#': percent-encode it, as %23."
    if _CONTROL.search(match[0]):
        return "with a line end or a control character: store only the URL in the secret."
    # Either the '/' or '?' belongs to user or password, or the '@' to database or options.
    if "@" in path + options:
        return (
            "with an '@' after a '/' or '?': percent-encode '/', '?' and '@' as %2F, %3F and %40 "
            "in its user, password, database and options."
        )
    if _NO_ESCAPE.search(authority + path):
        return "with a '%' that begins no escape such as %40: percent-encode it, as %25."
    return None


def _has_options_for_sql_server(match: re.Match[str]) -> bool:
    """Return whether options follow the host, each after a semicolon; one may be the password."""
    is_for_sql_server = match["jdbc"] or _engine_of(match["scheme"]) == "sqlserver"
    return bool(is_for_sql_server and _OPTION_AFTER_SEMICOLON.search(match["authority"]))


def _address(server: str, *, may_have_hosts: bool) -> HostAndPort | str:
    """Return host and port in a URL, or the end of a sentence about a mistake."""
    addresses: list[HostAndPort] = []
    for part in server.split(","):
        address = _one_address(part)
        if isinstance(address, str):
            return address
        addresses.append(address)

    if len(addresses) == 1:
        return addresses[0]
    if may_have_hosts:
        return "", None
    return "with several hosts: name one in fixed={'host': ...}, or by its key as host=."


def _one_address(part: str) -> HostAndPort | str:
    if not part:
        return "", None
    if part.count(":") > 1 and "[" not in part:
        return "whose host has several colons: write an IPv6 address as [2001:db8::1]."
    match = _SERVER.fullmatch(part)
    # The host is decoded for this check alone. No port may be hidden in it.
    address = host_and_port(unquote(match["host"])) if match else None
    if match is None or not match["host"] or address is None or address[1] is not None:
        return (
            "whose host isn't valid: write a name, an IPv4 address, an IPv6 address in brackets, "
            "or the path of a socket with '/' as %2F."
        )
    host = match["host"].removeprefix("[").removesuffix("]")
    if match["port"] is None:
        return host, None
    port = port_of(match["port"])
    if port is None:
        return "whose port isn't a whole number from 1 to 65535."
    return host, port


def _engine_of(scheme: str) -> str | None:
    scheme = scheme.lower()
    if scheme == _MONGODB_BY_DNS:
        return None
    dialect, _, _ = scheme.partition("+")
    return _ENGINES.get(dialect)
