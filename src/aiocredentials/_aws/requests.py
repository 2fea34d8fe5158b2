"""`SecretRequest`: which version of which secret is asked, and in which region.

A request is also the key under which the cache keeps the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocredentials._aws.regions import Region
from aiocredentials._identifiers import region_in

if TYPE_CHECKING:
    from collections.abc import Mapping


class SecretRequest(NamedTuple):
    """Which version of which secret.

    The region is None if the default region of the client is meant. Two requests that differ only
    in where their regions were configured are equal, so they share one cache entry.
    """

    secret_name: str
    region: Region | None = None
    version_id: str | None = None
    version_stage: str | None = "AWSCURRENT"

    @property
    def region_name(self) -> str | None:
        """The name of the region; None for the default region."""
        return None if self.region is None else self.region.name

    def parameters(self) -> dict[str, str]:
        """Return the parameters of GetSecretValue."""
        asked = {
            "SecretId": self.secret_name,
            "VersionId": self.version_id,
            "VersionStage": self.version_stage,
        }
        return {name: value for name, value in asked.items() if value is not None}

    def facts(self, where: Region | None = None) -> Mapping[str, str | None]:
        """Return what an error says of this request: the secret, the region and its source.

        `where` is the region that was asked, if that is known better than by the request itself.
        """
        region = where or self.region
        about_region = {} if region is None else region.facts()
        return {"secret_name": self.secret_name or None, **about_region}


def region_of(secret_name: str) -> Region | None:
    """Return the region that an ARN names; None for a name."""
    region = region_in(secret_name)
    return None if region is None else Region(region, "the secret's ARN")
