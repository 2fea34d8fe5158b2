"""The rule by which the fronts check IAM tokens: AWS's Signature Version 4, and which access keys are valid now.

It shares no code with botocore's signer, so a mistake there isn't repeated here. The algorithm is that of AWS's user
guide, "Create a signed AWS API request", with authentication parameters in the query string.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_LIFE = 900
"""A token lives for 15 minutes at most, in seconds: RDS, ElastiCache and MemoryDB say so in their user guides."""
AHEAD = 300
"""By so many seconds, AWS lets a clock be fast."""

_ALGORITHM = "AWS4-HMAC-SHA256"
_NO_PAYLOAD = hashlib.sha256(b"").hexdigest()


class AccessKey(NamedTuple):
    """AWS credentials."""

    access_key_id: str
    secret_key: str
    session_token: str | None = None
    end: float = math.inf
    """When they end, in seconds since 1970."""


class Target(NamedTuple):
    """What a token must be for."""

    service: str
    """The service in the scope of the signature: rds-db, elasticache or memorydb."""
    host: str
    """A host and its port for databases; the name of the cache or the cluster otherwise."""
    region: str
    more: dict[str, str] = {}  # noqa: RUF012 (nothing changes it)
    """Further parameters: ElastiCache Serverless has one."""

    @property
    def user_parameter(self) -> str:
        """The parameter that names the user."""
        return "DBUser" if self.service == "rds-db" else "User"


class RefusedTokenError(Exception):
    """A token is refused, for this reason: a server tells nobody, so that only tests see it."""


class TokenRule:
    """Checks tokens, and remembers them: `seen` holds all that came, `refusals` holds why some were refused."""

    def __init__(self, *keys: AccessKey) -> None:
        self.keys = {key.access_key_id: key for key in keys}
        """The access keys that are valid now."""
        self.users = {"app"}
        """The users that the account may connect as."""
        self.clock: Callable[[], float] = time.time
        """The clock of AWS, in seconds since 1970."""
        self.seen: Counter[str] = Counter()
        self.refusals: list[str] = []
        self.outlived: list[str] = []
        """The tokens that say of themselves that they live longer than their AWS credentials."""
        self.in_clear: list[str] = []
        """The passwords that came in clear, and could be read on the way."""

    def accepts(self, token: str, target: Target, user: str, *, encrypted: bool = True) -> bool:
        """Check a token, and note it."""
        self.seen[token] += 1
        if not encrypted:
            self.in_clear.append(token)
        try:
            self.check(token, target, user)
        except RefusedTokenError as refusal:
            self.refusals.append(str(refusal))
            return False
        return True

    def check(self, token: str, target: Target, user: str) -> None:
        """Raise a `RefusedTokenError` unless a token is valid now, for this target and this user."""
        host, separator, query = token.partition("/?")
        _demand(bool(separator), "it isn't a presigned URL without its scheme")
        _demand(host == target.host, f"it is for the host {host}")
        parameters = _parameters(query)
        signature = parameters.pop("X-Amz-Signature", "")
        self._check_purpose(parameters, target, user)
        date, scope, end = self._check_time(parameters)
        key = self._key(parameters, scope, target)
        if end > key.end:
            self.outlived.append(token)
        _demand(self.clock() <= key.end, "the access key has ended")
        signed = _string_to_sign(host, parameters, date, scope)
        _demand(hmac.compare_digest(signature, _signature(key.secret_key, scope, signed)), "the signature is wrong")

    def _check_purpose(self, parameters: dict[str, str], target: Target, user: str) -> None:
        expected = {"Action": "connect", target.user_parameter: user, **target.more}
        given = {name: value for name, value in parameters.items() if not name.startswith("X-Amz-")}
        _demand(given == expected, f"it is for {given}")
        _demand(user in self.users, f"the account may not connect as {user}")
        _demand(parameters.get("X-Amz-Algorithm") == _ALGORITHM, "the algorithm is unknown")
        _demand(parameters.get("X-Amz-SignedHeaders") == "host", "the signed headers aren't the host alone")

    def _check_time(self, parameters: dict[str, str]) -> tuple[str, list[str], float]:
        """Return the date, the scope (day, region, service and what ends it), and when the token ends."""
        date = parameters.get("X-Amz-Date", "")
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        life = int(parameters.get("X-Amz-Expires", "0"))
        _demand(0 < life <= LONGEST_LIFE, f"its life is {life} s")
        age = self.clock() - signed_at
        _demand(age >= -AHEAD, f"it will be signed in {-age:.0f} s")
        _demand(age <= life, f"it has expired: it is {age:.0f} s old")
        _, *scope = parameters.get("X-Amz-Credential", "").split("/")
        _demand(len(scope) == 4, "the credential has no scope")
        _demand(scope[0] == date[:8], "the day of the scope isn't that of the date")
        return date, scope, signed_at + life

    def _key(self, parameters: dict[str, str], scope: list[str], target: Target) -> AccessKey:
        _demand(scope[1:] == [target.region, target.service, "aws4_request"], f"its scope is {scope[1:]}")
        access_key_id = parameters["X-Amz-Credential"].partition("/")[0]
        key = self.keys.get(access_key_id)
        if key is None:
            raise RefusedTokenError(f"the access key {access_key_id} isn't valid")
        _demand(parameters.get("X-Amz-Security-Token") == key.session_token, "the session token is wrong")
        return key


def _demand(holds: bool, reason: str) -> None:  # noqa: FBT001 (an assertion)
    if not holds:
        raise RefusedTokenError(reason)


def _parameters(query: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in query.split("&")]
    parameters = {unquote(name): unquote(value) for name, _, value in pairs}
    _demand(len(parameters) == len(pairs), "a parameter comes twice")
    return parameters


def _string_to_sign(host: str, parameters: dict[str, str], date: str, scope: list[str]) -> str:
    encoded = sorted((_encode(name), _encode(value)) for name, value in parameters.items())
    query = "&".join(f"{name}={value}" for name, value in encoded)
    request = "\n".join(["GET", "/", query, f"host:{host}", "", "host", _NO_PAYLOAD])
    digest = hashlib.sha256(request.encode()).hexdigest()
    return "\n".join([_ALGORITHM, date, "/".join(scope), digest])


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _signature(secret_key: str, scope: list[str], text: str) -> str:
    key = f"AWS4{secret_key}".encode()
    for part in scope:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
