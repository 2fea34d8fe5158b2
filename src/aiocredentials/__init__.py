"""Credentials from AWS Secrets Manager for asyncio services."""

from aiocredentials._cache import CachePolicy
from aiocredentials._manager import AsyncCredentialsManager
from aiocredentials._pool import CredentialsPool
from aiocredentials._secret import Secret
from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    AWSError,
    CredentialsError,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRegionError,
    InvalidRequestError,
    MalformedResponseError,
    PoolClosedError,
    SecretDecryptionError,
    SecretDeletedError,
    SecretExpiredError,
    SecretFormatError,
    SecretNotFoundError,
    ThrottledError,
    map_client_errors,
)

__all__ = [
    "AWSError",
    "AccessDeniedError",
    "AsyncCredentialsManager",
    "AuthenticationError",
    "CachePolicy",
    "CredentialsError",
    "CredentialsPool",
    "EndpointUnreachableError",
    "InternalServiceError",
    "InvalidParameterError",
    "InvalidRegionError",
    "InvalidRequestError",
    "MalformedResponseError",
    "PoolClosedError",
    "Secret",
    "SecretDecryptionError",
    "SecretDeletedError",
    "SecretExpiredError",
    "SecretFormatError",
    "SecretNotFoundError",
    "ThrottledError",
    "map_client_errors",
]
