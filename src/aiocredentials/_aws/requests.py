"""`SecretRequest`: which version of which secret is asked, in which region, and as which role.

A request is also the key under which the cache keeps the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from aiocredentials._arguments import check_identifier, check_name, check_region
from aiocredentials._aws.regions import Region
from aiocredentials._aws.settings import is_custom
from aiocredentials._identifiers import in_region, region_in
from aiocredentials._loops import loading
from aiocredentials.errors import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiocredentials._aws.roles import Role

    # The attributes of an error that name the secret, the region, its source, and the role.
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
    role: Role | None = None

    @property
    def region_name(self) -> str | None:
        """The name of the region; None for the default region."""
        if self.region is None:
            return None
        return self.region.name

    def by_name(self, secret_name: str) -> SecretRequest:
        """Return the same request by another identifier. `_replace` takes three times as long."""
        return SecretRequest(
            secret_name,
            self.region,
            self.version_id,
            self.version_stage,
            self.role,
        )

    def words(self) -> str:
        """Return what is asked, for a repr: the secret, the region and the role."""
        words = shown(self.secret_name)
        if self.region is not None:
            words += f" in {self.region.name!r}"
        if self.role is not None:
            words += f" as {self.role.role_arn}"
        return words

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
        """Return the facts for an error: the secret, the region, where it was configured, the role.

        `where` is the region that was asked, if it is known better than by the request itself.
        """
        facts: dict[str, str | None] = {"secret_name": self.secret_name or None}
        region = where or self.region
        if region is not None:
            facts |= region.facts()
        if self.role is not None:
            facts["role_arn"] = self.role.role_arn
        return facts


def region_of(secret_name: str) -> Region | None:
    """Return the region that an ARN names; None for a name."""
    region = region_in(secret_name)
    if region is None:
        return None
    return Region(region, "the secret's ARN")


# From the arguments of a pool or a manager


def request_for(
    secret_name: str,
    region_name: str | None,
    version_stage: str,
    role: Role | None,
) -> SecretRequest:
    """Return the request of a manager, after a check of its arguments.

    Raises `TypeError` or `ValueError`.
    """
    check_name("secret_name", secret_name or "", "give the secret's name or ARN, as AWS shows it")
    check_identifier("secret_name", secret_name)
    check_region(region_name)
    give_a_label = "give a staging label such as 'AWSCURRENT'"
    check_name("version_stage", version_stage or "", give_a_label)

    region = region_of(secret_name)
    if region_name:
        region = Region(region_name, "the region_name argument")
    return SecretRequest(secret_name, region, version_stage=version_stage, role=role)


def role_for(
    role_arn: str | None,
    external_id: str | None,
    role_session_name: str | None,
    *,
    default: Role | None = None,
    session: object = None,
) -> Role | None:
    """Return the role that a secret is read through, or None.

    Args:
        role_arn: The argument of a pool or a manager.
        external_id: The same.
        role_session_name: The same.
        default: The role of the manager's pool, which holds if none of these arguments is given.
        session: The caller's own session.

    Raises:
        TypeError: An argument isn't a string.
        ValueError: An argument can't work, or the session can't assume a role.
    """
    role = default
    if (role_arn, external_id, role_session_name) != (None, None, None):
        with loading:
            # Few processes have a role, and only they need this module.
            from aiocredentials._aws.roles import checked_role  # noqa: PLC0415
        role = checked_role(role_arn, external_id, role_session_name)

    if role is not None and is_custom(session):
        kind = type(session).__name__
        raise ValueError(
            f"session is a {kind}, which makes its own clients, so it can't use role_arn: "
            "leave the role out, or give an aioboto3.Session or an aiobotocore AioSession."
        )
    return role
