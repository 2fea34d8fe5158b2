"""The checks of arguments: which server, which user, and which region its name has in it."""

from __future__ import annotations

import re

from aiocredentials._arguments import LONGEST_REGION, check_name, check_region
from aiocredentials._aws.regions import Region

# A host name (RFC 1123, section 2.1), which has neither a port nor a path.
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
# ElastiCache's and MemoryDB's rules for names, which both keep in lower case.
_CACHE = r"[a-z](?:[a-z0-9-]{0,48}[a-z0-9])?"
_REGION = rf"(?!-)[A-Za-z0-9-]{{1,{LONGEST_REGION}}}(?<!-)"
# A region that can be distinguished from the other labels of a host name.
_REGION_IN_HOST = r"[a-z]{2,4}(?:-[a-z]+)+-\d+"
_LAST_PORT = 65_535


def check_host(host: object) -> None:
    """Reject a value that isn't just the name of a host. The message doesn't repeat it.

    Raises `TypeError` or `ValueError`.
    """
    what_to_do = "give the server's name, such as 'app.cluster-x.eu-west-1.rds.amazonaws.com'"
    check_name("host", host or "", what_to_do)
    # It may be a URL with a password.
    if re.fullmatch(_HOST, str(host)) is None:
        raise ValueError(
            f"host isn't just the name of a host: {what_to_do}, without scheme, user, port and "
            "path. A Unix-domain socket has no host, and can't be used with IAM tokens."
        )


def check_port(port: object) -> None:
    """Reject a value that isn't the number of a port. Raises `TypeError` or `ValueError`."""
    what_to_do = "give the server's port as a number, such as 5432 or 3306"
    if not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port is a {type(port).__name__}: {what_to_do}.")
    if not 1 <= port <= _LAST_PORT:
        raise ValueError(f"port is {port}: {what_to_do}.")


def check_cache_name(cache_name: object) -> None:
    """Reject a value that isn't the name of a cache. Raises `TypeError` or `ValueError`."""
    what_to_do = (
        "give the name of the cache, the replication group or the cluster, as in 'my-cache'"
    )
    check_name("cache_name", cache_name or "", what_to_do)
    if re.fullmatch(_CACHE, str(cache_name)) is None:
        raise ValueError(
            f"cache_name isn't the name of a cache: {what_to_do}. It isn't the endpoint's host "
            "name, and has lower-case letters, digits and hyphens."
        )


def check_username(username: object) -> None:
    """Reject a value that isn't the name of a user. Raises `TypeError` or `ValueError`."""
    check_name("username", username or "", "give the user's name in the database")


def region_for(region_name: str | None, host: str = "") -> Region | None:
    """Return the region of the argument, else the one in the host name; None for the pool's.

    Raises:
        TypeError: The argument isn't a string.
        ValueError: No region can have such a name.
    """
    check_region(region_name)
    if region_name is None:
        return _region_in(host)
    if re.fullmatch(_REGION, region_name) is None:
        raise ValueError(
            "region_name isn't the name of a region: give one such as 'eu-west-1', or leave it out."
        )
    return Region(region_name, "the region_name argument")


def _region_in(host: str) -> Region | None:
    """Return the region in the name of an RDS host.

    It is the label before `rds`, or the one after it, as in some names in China.
    """
    labels = host.lower().split(".")
    if "rds" not in labels:
        return None
    position = labels.index("rds")
    adjacent = labels[max(0, position - 1) : position + 2]
    for label in adjacent:
        if re.fullmatch(_REGION_IN_HOST, label):
            return Region(label, "the host name")
    return None
