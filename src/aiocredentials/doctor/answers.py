"""`Answers`: the meaning of AWS's answers for one secret."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from aiocredentials import SecretDescription
from aiocredentials.doctor.results import (
    FINE,
    UNKNOWN,
    WRONG,
    Contents,
    Permission,
    Permissions,
)
from aiocredentials.doctor.wording import kms_denies
from aiocredentials.errors import (
    AccessDeniedError,
    CredentialsError,
    InvalidParameterError,
    InvalidRequestError,
    MalformedResponseError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretNotFoundError,
)

# AWS's answers about the secret. Every other error means that AWS wasn't reached, or rejected the
# credentials.
_ABOUT_THE_SECRET = (
    SecretNotFoundError,
    SecretDecryptionError,
    AccessDeniedError,
    InvalidParameterError,
    InvalidRequestError,
)

# The result of GetSecretValue.
Outcome: TypeAlias = Contents | CredentialsError


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to the three calls for one secret, and the conclusions from them."""

    got: Outcome
    """The answer to GetSecretValue."""
    described: SecretDescription | CredentialsError | None = None
    """The answer to DescribeSecret; None if it wasn't called."""
    batched: CredentialsError | None = None
    """The error of BatchGetSecretValue; None if it succeeded or wasn't called."""

    @property
    def contents(self) -> Contents | None:
        """The current version, if it was fetched."""
        if isinstance(self.got, Contents):
            return self.got
        return None

    @property
    def description(self) -> SecretDescription | None:
        """The description, if AWS returned one."""
        if isinstance(self.described, SecretDescription):
            return self.described
        return None

    @property
    def exit_code(self) -> int:
        """The exit code of this secret: only GetSecretValue decides it."""
        if self.contents:
            return FINE
        if is_about_the_secret(self.got):
            return WRONG
        return UNKNOWN

    @property
    def found(self) -> bool | None:
        """Whether the secret exists in its region; None if no answer shows it."""
        if isinstance(self.got, Contents | SecretDeletedError) or kms_denies(self.got):
            return True
        if self.description:
            return True
        if isinstance(self.got, SecretNotFoundError):
            return False
        if isinstance(self.described, SecretNotFoundError):
            return False
        return None

    @property
    def is_worth_a_search(self) -> bool:
        """Whether another region may have the secret."""
        if not is_about_the_secret(self.got):
            return False
        if self.found is None:
            # A policy that names the secret's real region denies access in all others.
            return is_denied(self.got)
        return not self.found

    @property
    def permissions(self) -> Permissions:
        """The permissions that the answers prove or deny."""
        return Permissions(
            get=self._permission_to_get(),
            batch=self._permission_to_batch(),
            describe=self._permission_to_describe(),
            decrypt=self._permission_to_decrypt(),
        )

    def _permission_to_get(self) -> Permission:
        # Only an identity with the permission gets one of these answers. "Not found" alone reveals
        # no permission.
        is_allowed = isinstance(self.got, Contents | InvalidRequestError) or kms_denies(self.got)
        if self.description and isinstance(self.got, SecretNotFoundError):
            is_allowed = True
        return _permission(self.got, is_allowed=is_allowed)

    def _permission_to_batch(self) -> Permission:
        # DescribeSecret and BatchGetSecretValue are called together.
        was_called = self.described is not None
        is_allowed = was_called and self.batched is None
        return _permission(self.batched, is_allowed=is_allowed)

    def _permission_to_describe(self) -> Permission:
        is_allowed = self.description is not None
        return _permission(self.described, is_allowed=is_allowed)

    def _permission_to_decrypt(self) -> Permission:
        if isinstance(self.got, Contents):
            return "allowed"
        if kms_denies(self.got):
            return "denied"
        return "unknown"


def is_about_the_secret(outcome: Outcome) -> bool:
    """Whether AWS answered, and the answer is about the secret and not about the credentials."""
    if isinstance(outcome, Contents):
        return True
    # An error without a code isn't an answer of AWS: it is about a setting or an argument.
    return isinstance(outcome, _ABOUT_THE_SECRET) and outcome.code is not None


def is_answer(outcome: Outcome) -> bool:
    """Whether a server answered. It may be another server than Secrets Manager."""
    if isinstance(outcome, Contents | MalformedResponseError):
        return True
    return outcome.code is not None


def is_denied(outcome: object) -> bool:
    """Whether Secrets Manager denied a call, and KMS wasn't the reason."""
    return isinstance(outcome, AccessDeniedError) and not kms_denies(outcome)


def _permission(outcome: object, *, is_allowed: bool) -> Permission:
    if is_allowed:
        return "allowed"
    if is_denied(outcome):
        return "denied"
    return "unknown"
