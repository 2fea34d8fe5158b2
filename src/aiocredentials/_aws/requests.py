"""`SecretRequest`: which version of which secret is asked, and in which region.

A request is also the key under which the cache keeps the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocredentials._aws.regions import Region
from aiocredentials._identifiers import in_region, region_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    # The attributes of an error that name the secret, the region and its source.
    Facts = Mapping[str, str | None]


class SecretRequest(NamedTuple):
    """Which version of which secret.

    A region of None means the default region of the client. Two requests that differ only in where
    their regions were configured are equal, so they share one cache entry.
    """

    secret_name: str
    region: Region | None = None
    version_id: str | None = None
    version_stage: str | None = "AWSCURRENT"

    @property
    def region_name(self) -> str | None:
        """The name of the region; None for the default region."""
        if self.region is None:
            return None
        return self.region.name

    def by_name(self, secret_name: str) -> SecretRequest:
        """Return the same request by another identifier. `_replace` takes three times as long."""
        return SecretRequest(secret_name, self.region, self.version_id, self.version_stage)

    def in_region(self, region: Region) -> SecretRequest:
        """Return the request for the replica in another region, whose ARN names that region."""
        name = in_region(self.secret_name, region.name)
        return self._replace(secret_name=name, region=region)

    def parameters(self) -> dict[str, str]:
        """Return the parameters of GetSecretValue."""
        parameters = {"SecretId": self.secret_name}
        if self.version_id is not None:
            parameters["VersionId"] = self.version_id
        if self.version_stage is not None:
            parameters["VersionStage"] = self.version_stage
        return parameters

    def facts(self, where: Region | None = None) -> Facts:
        """Return the facts for an error: the secret, the region and where it was configured.

        `where` is the region that was asked, if it is known better than by the request itself.
        """
        name = self.secret_name or None
        region = where or self.region
        if region is None:
            return {"secret_name": name}
        return {"secret_name": name, **region.facts()}


def region_of(secret_name: str) -> Region | None:
    """Return the region that an ARN names; None for a name."""
    region = region_in(secret_name)
    if region is None:
        return None
    return Region(region, "the secret's ARN")
