"""Credentials from AWS Secrets Manager for asyncio services."""

from aiocredentials._aws.decorator import map_client_errors
from aiocredentials._aws.settings import CustomSession
from aiocredentials._cache.policy import CachePolicy
from aiocredentials._manager import AsyncCredentialsManager
from aiocredentials._pool import CredentialsPool
from aiocredentials._secret import ReplicaStatus, Secret, SecretDescription
from aiocredentials._store import CacheStats, forget_all
from aiocredentials.credentials import DatabaseCredentials, RedisCredentials
from aiocredentials.errors import (
    AccessDeniedError,
    AuthenticationError,
    AWSError,
    CredentialsError,
    CredentialSourceError,
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
)

# A text, because reading the metadata would slow the import, and some deployments drop it.
# A test compares it with pyproject.toml.
__version__: str = "0.1.0"

__all__ = [
    "AWSError",
    "AccessDeniedError",
    "AsyncCredentialsManager",
    "AuthenticationError",
    "CachePolicy",
    "CacheStats",
    "CredentialSourceError",
    "CredentialsError",
    "CredentialsPool",
    "CustomSession",
    "DatabaseCredentials",
    "EndpointUnreachableError",
    "InternalServiceError",
    "InvalidParameterError",
    "InvalidRegionError",
    "InvalidRequestError",
    "MalformedResponseError",
    "PoolClosedError",
    "RedisCredentials",
    "ReplicaStatus",
    "Secret",
    "SecretDecryptionError",
    "SecretDeletedError",
    "SecretDescription",
    "SecretExpiredError",
    "SecretFormatError",
    "SecretNotFoundError",
    "ThrottledError",
    "forget_all",
    "map_client_errors",
]
