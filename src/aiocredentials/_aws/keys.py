"""AWS credentials of one moment, and the signed addresses that are made with them.

Most signatures are made by the clients of aiobotocore. A token for a database is an address that no
client sends, so it is signed here, by botocore's own class.

Importing this module imports botocore's signers, which the transport has imported before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest

from aiocredentials.errors import AuthenticationError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_LIFE = 900
"""Seconds for which a token is valid (Amazon RDS user guide, "IAM database authentication";
Amazon ElastiCache user guide and Amazon MemoryDB developer guide, "Authenticating with IAM")."""


def now() -> float:
    """Return the time in seconds since 1970, as AWS counts it for the end of credentials."""
    return time.time()


class AwsKeys:
    """AWS credentials of one moment.

    A function holds them, so a dump of the attributes shows neither the secret key nor the token.
    """

    __slots__ = ("_frozen", "access_key_id", "end")

    def __init__(
        self,
        frozen: Any,  # noqa: ANN401 (botocore's)
        end: float | None,
    ) -> None:
        self.access_key_id: str = frozen.access_key
        self.end = end
        """When they expire, in seconds since 1970; None if never, or if unknown."""
        self._frozen: Callable[[], Any] = lambda: frozen

    def signed_url(
        self,
        url: str,
        parameters: Mapping[str, str],
        *,
        service: str,
        region_name: str,
    ) -> str:
        """Return an address with its parameters and a signature, valid for at most 15 minutes.

        It is never valid for longer than these AWS credentials.

        Raises:
            AuthenticationError: The AWS credentials aren't text that can be signed with.
        """
        signed = _signed(self, url, parameters, service, region_name)
        # The error is raised here, because the frame of the other function holds the credentials.
        if signed is None:
            what = f"The AWS credentials with the access key {self.access_key_id!r} can't sign."
            raise make_error(AuthenticationError, what)
        return signed

    def frozen(self) -> Any:  # noqa: ANN401 (botocore's)
        """Return botocore's own object."""
        return self._frozen()

    def life(self) -> int:
        """Return for how many seconds a token of this moment is valid."""
        if self.end is None:
            return LONGEST_LIFE
        left = int(self.end - now())
        # AWS accepts no life of 0 seconds. It refuses credentials that have ended in any case.
        return max(1, min(LONGEST_LIFE, left))


def _signed(
    keys: AwsKeys,
    url: str,
    parameters: Mapping[str, str],
    service: str,
    region_name: str,
) -> str | None:
    """Return the signed address; None if the secret key can't be encoded.

    The text of that error would show a part of the secret key.
    """
    request = AWSRequest(method="GET", url=url, params=dict(parameters))
    signature = SigV4QueryAuth(keys.frozen(), service, region_name, expires=keys.life())
    try:
        signature.add_auth(request)
    except (TypeError, ValueError):
        return None
    return str(request.url)
