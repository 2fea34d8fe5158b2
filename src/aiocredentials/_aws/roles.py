"""`Role`: which role is assumed to read a secret, and the checks of its settings.

A role is a part of the cache's key. `assuming` assumes it.
"""

from __future__ import annotations

import os
import re
import socket

from aiocredentials._arguments import check_name
from aiocredentials.errors import shown

# `re` compiles and keeps these at their first use, because few processes have a role.
# The API reference of STS, AssumeRole, has the limits, and that of IAM the paths of roles.
_ROLE_ARN = r"arn:[a-z][a-z0-9-]*:iam::\d{12}:role/[!-~]+"
_LONGEST_ARN = 2048
_SESSION_NAME = r"[\w+=,.@-]{2,64}"
_EXTERNAL_ID = r"[\w+=,.@:/-]{2,1224}"

_NOT_IN_A_SESSION_NAME = r"[^\w+=,.@-]"
_LONGEST_SESSION_NAME = 64


class Role:
    """A role, and how it is assumed. Its repr hides the external id.

    It is neither a dataclass nor a tuple, because serializers and `%` would show the external id of
    these.
    """

    __slots__ = ("_external_id", "_hash", "_session_name", "role_arn")

    def __init__(
        self,
        role_arn: str,
        external_id: str | None = None,
        session_name: str | None = None,
    ) -> None:
        self.role_arn = role_arn
        self._external_id = external_id
        self._session_name = session_name
        # A request with a role is a key of the cache, which is hashed often.
        self._hash = hash((role_arn, external_id, session_name))

    def __eq__(self, other: object) -> bool:
        """Compare all settings: the external id may decide what the trust policy allows."""
        if not isinstance(other, Role):
            return False
        return (
            self.role_arn == other.role_arn
            and self._external_id == other._external_id
            and self._session_name == other._session_name
        )

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Role({self.role_arn!r})"

    def parameters(self) -> dict[str, str]:
        """Return the parameters of AssumeRole. STS's own duration holds, which is an hour."""
        parameters = {
            "RoleArn": self.role_arn,
            "RoleSessionName": self._session_name or default_session_name(),
        }
        if self._external_id is not None:
            parameters["ExternalId"] = self._external_id
        return parameters


def default_session_name() -> str:
    """Return the session name of this process, which CloudTrail shows: library, host, process."""
    head = "aiocredentials-"
    tail = f"-{os.getpid()}"
    longest = _LONGEST_SESSION_NAME - len(head) - len(tail)
    host = re.sub(_NOT_IN_A_SESSION_NAME, "-", socket.gethostname(), flags=re.ASCII)
    return head + host[:longest] + tail


def checked_role(
    role_arn: str | None,
    external_id: str | None,
    role_session_name: str | None,
) -> Role:
    """Return the role of these arguments, of which at least one was given.

    Raises:
        TypeError: An argument isn't a string.
        ValueError: An argument can't work. The message never shows the external id.
    """
    give_an_arn = "give the ARN of a role, such as 'arn:aws:iam::123456789012:role/reader'"
    check_name("role_arn", role_arn, give_an_arn)
    check_name("external_id", external_id, "give the id that the role's trust policy names")
    check_name("role_session_name", role_session_name, "give a name, or leave it out")
    if role_arn is None:
        raise ValueError(
            "external_id and role_session_name are about a role: give role_arn as well, here and "
            "not only to the pool."
        )

    is_short = len(role_arn) <= _LONGEST_ARN
    if not is_short or re.fullmatch(_ROLE_ARN, role_arn, re.ASCII) is None:
        raise ValueError(f"role_arn is {shown(role_arn)}, which isn't a role's ARN: {give_an_arn}.")
    if external_id is not None and re.fullmatch(_EXTERNAL_ID, external_id, re.ASCII) is None:
        raise ValueError(
            "STS doesn't accept this external_id, which isn't shown here: "
            "give 2 to 1224 letters, digits and characters of _+=,.@:/-."
        )
    if role_session_name is not None:
        _check_session_name(role_session_name)
    return Role(role_arn, external_id, role_session_name)


def _check_session_name(name: str) -> None:
    if re.fullmatch(_SESSION_NAME, name, re.ASCII) is None:
        raise ValueError(
            f"role_session_name is {shown(name)}, which STS doesn't accept: "
            "give 2 to 64 letters, digits and characters of _+=,.@-."
        )
