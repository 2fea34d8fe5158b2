"""The data classes of a report. None of them holds a secret's value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 (`typing.get_type_hints` needs it)
from typing import Final, Literal, TypeAlias

from aiocredentials import SecretDescription  # noqa: TC001 (`typing.get_type_hints` needs it)

# The exit codes. 2 is the exit code of a wrong command line.
FINE: Final = 0
"""The exit code 0: the secret can be read."""
WRONG: Final = 1
"""The exit code 1: the secret is missing, denied, not decrypted or scheduled for deletion."""
UNKNOWN: Final = 3
"""The exit code 3: no AWS credentials, no connection, or no usable answer."""

Permission: TypeAlias = Literal["allowed", "denied", "unknown"]
"""Whether the identity has a permission; "unknown" if no answer of AWS shows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity of this process in AWS, and the source of its credentials.

    None means unknown.
    """

    account: str | None = None
    """The id of the AWS account."""
    arn: str | None = None
    """The ARN of the identity, as STS returned it."""
    method: str | None = None
    """botocore's name for the source of the credentials, such as "env" or "sso"."""
    profile: str | None = None
    """The profile that is used, such as that of AWS_PROFILE."""
    key_ending: str | None = None
    """The last four characters of the access key id; None if no credentials could be loaded."""
    problem: str | None = None
    """Why no credentials could be loaded, or why STS didn't return the identity."""
    role_arn: str | None = None
    """The role that the secrets are read through; None without a role."""
    assumed_arn: str | None = None
    """The identity that the role became; None if it couldn't be assumed."""
    role_problem: str | None = None
    """Why the role couldn't be assumed, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The current version of a secret, without its value."""

    arn: str
    """The secret's full ARN."""
    version_id: str
    created_at: datetime | None
    """When the version was created."""
    kind: str
    """The kind of the value: "JSON object", "plain text" or "binary"."""
    keys: tuple[str, ...] | None
    """The sorted names of a JSON object's keys; None for other values, and if they are hidden."""
    key_count: int | None
    """The number of a JSON object's keys; None for other values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The results of a search for a secret's name in other regions: the regions by their answer."""

    name: str = ""
    """The name that was searched: for an ARN, the name in it."""
    found: tuple[str, ...] = ()
    """The regions that have a secret with this name."""
    deleted: tuple[str, ...] = ()
    """The regions where the secret is scheduled for deletion."""
    absent: tuple[str, ...] = ()
    """The regions that have no such secret."""
    refused: tuple[str, ...] = ()
    """The regions that denied access, or that the account hasn't enabled."""
    silent: tuple[str, ...] = ()
    """The regions that didn't answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The identity's permissions on one secret; unknown if no answer of AWS depends on them."""

    get: Permission
    """secretsmanager:GetSecretValue: every service needs it."""
    batch: Permission
    """secretsmanager:BatchGetSecretValue, for `prefetch`."""
    describe: Permission
    """secretsmanager:DescribeSecret, for `describe`."""
    decrypt: Permission
    """kms:Decrypt, if the secret is encrypted with a customer managed key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The endpoint that one region's secrets were asked from, and whether it answered."""

    region: str
    """The region's name."""
    region_source: str
    """The setting that named the region: an argument, a variable, the profile, the secret's ARN."""
    url: str | None
    """The URL without user and password; None if no client can be made."""
    url_source: str | None
    """The setting that named the URL; None for AWS's own."""
    proxy: str | None
    """The URL of the proxy without user and password; None without a proxy."""
    reachable: bool | None
    """Whether something answered; None if nothing was sent."""
    tls: bool | None
    """Whether certificate and host name are valid; False without encryption, None if unknown."""
    failure: str | None
    """The step that failed: "ca bundle", "dns", "refused", "timeout", "tls", "proxy", "no answer".

    "ca bundle" is a file of certificates that can't be loaded: no connection was tried.
    """
    problem: str | None
    """Why the secrets of this region got no answer, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """The facts about one secret in a replica region. None means unknown."""

    region: str
    """The replica region."""
    found: bool | None
    """Whether the region has the secret."""
    version_id: str | None
    """The current version there."""
    is_same_version: bool | None
    """Whether it is the primary region's current version."""
    problem: str | None
    """Why a service can't read the replica, and what to do."""
    exit_code: int
    """`FINE`, `WRONG` or `UNKNOWN`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretReport:
    """The facts about one secret, without its value. None means unknown."""

    asked: str
    """The identifier that the caller passed."""
    region: str
    """The region that was asked."""
    found: bool | None
    """Whether the region has the secret."""
    permissions: Permissions
    """The permissions that AWS's answers prove or deny."""
    contents: Contents | None
    """The facts about the current version; None if it couldn't be fetched."""
    description: SecretDescription | None
    """The answer to DescribeSecret; None without an answer."""
    elsewhere: Elsewhere | None
    """The answers of the other regions, if they were asked."""
    problems: tuple[str, ...]
    """Why a service can't read the secret, and what to do."""
    notes: tuple[str, ...]
    """Facts that keep no service from reading the secret."""
    exit_code: int
    """`FINE`, `WRONG` or `UNKNOWN`, without the replicas."""
    replicas: tuple[ReplicaReport, ...] = ()
    """The answers of the replica regions that the caller named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of `diagnose`."""

    identity: Identity
    """The identity of this process, and that of the role, if there is one."""
    region: str | None
    """The region of secrets whose identifier names none."""
    region_source: str | None
    """The setting that named this region."""
    endpoints: tuple[Endpoint, ...]
    """One endpoint per region."""
    secrets: tuple[SecretReport, ...]
    """The secrets, in the order in which they were asked for."""
    problem: str | None
    """Why AWS couldn't be asked for anything; None if it was asked."""

    @property
    def exit_code(self) -> int:
        """0: every secret can be read; 1: at least one can't; 3: AWS didn't answer for one.

        A replica in a region that the caller named counts as a secret.
        """
        if self.problem:
            return UNKNOWN
        codes = [FINE]
        for secret in self.secrets:
            codes.append(secret.exit_code)
            codes += [replica.exit_code for replica in secret.replicas]
        return max(codes)
