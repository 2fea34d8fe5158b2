"""`Secret`, one version with its value, and `SecretDescription`, a secret without its value."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

from aiocredentials._json_copies import parse
from aiocredentials.errors import CredentialsError, SecretFormatError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from aiocredentials._json_copies import Copy


_NOT_TEXT = (
    "The secret is binary and not UTF-8 text: use reveal_bytes(), or decode= and binary=True."
)
_NOT_JSON = "The secret isn't JSON. For its text, give the manager decode=str, or call reveal()."
_NOT_ENCODABLE = "The secret's text can't be encoded as UTF-8: it has a lone surrogate."
_NOT_PICKLED = (
    "A Secret can't be pickled, because that would write its value: fetch it where it is needed."
)


class Lifetime(NamedTuple):
    """How long a secret is fresh.

    The cache shortens the TTL by a random share of the policy's jitter. A secret knows both
    numbers, so its `is_stale` agrees with the cache.
    """

    ttl: float
    """The TTL in seconds, after the jitter was subtracted."""
    jitter_share: float = 0.0
    """The share of the jitter that was subtracted, from 0 to 1."""


FRESH_FOR_EVER = Lifetime(float("inf"))


class Secret:
    """One version of one secret: its value, and where and when it was fetched.

    `manager.secret()` returns one. Only `reveal()`, `reveal_bytes()` and `json()` return the value.
    The repr shows the name, the version and a mask instead of the value. A secret can't be changed
    or pickled, and `copy.copy` and `copy.deepcopy` return the same object.

    Example:
        ```python
        secret = await manager.secret()
        print(secret.name, secret.version_id, secret.age)
        fields = secret.json()
        ```
    """

    __slots__ = (
        "__weakref__", "_born", "_clock", "_copy_of_json", "_jitter_share", "_ttl", "_value",
        "arn", "created_at", "fetched_at", "name", "region", "version_id", "version_stages",
    )  # fmt: skip

    _value: str | bytes
    _copy_of_json: Copy | None
    _born: float
    _ttl: float
    _jitter_share: float
    _clock: Callable[[], float]
    name: str
    """The secret's friendly name."""
    arn: str
    """The secret's full ARN. It is the one of the primary region, also if a replica answered."""
    region: str
    """The region that answered. It is a replica region of the pool if its primary region failed."""
    version_id: str
    """The id of this version."""
    version_stages: tuple[str, ...]
    """The staging labels that this version had when it was fetched."""
    created_at: datetime | None
    """The time at which AWS created this version, by AWS's clock.

    It is None only if an emulator leaves it out.
    """
    fetched_at: datetime
    """The time at which the fetch of this version began, by this host's clock, in UTC."""

    def __init__(
        self,
        value: str | bytes,
        *,
        name: str,
        arn: str,
        region: str,
        version_id: str,
        version_stages: tuple[str, ...],
        created_at: datetime | None,
        fetched_at: datetime,
        born: float,
        lifetime: Lifetime = FRESH_FOR_EVER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        put = object.__setattr__
        put(self, "_value", value)
        put(self, "_copy_of_json", None)
        put(self, "name", name)
        put(self, "arn", arn)
        put(self, "region", region)
        put(self, "version_id", version_id)
        put(self, "version_stages", version_stages)
        put(self, "created_at", created_at)
        put(self, "fetched_at", fetched_at)
        put(self, "_born", born)
        put(self, "_ttl", lifetime.ttl)
        put(self, "_jitter_share", lifetime.jitter_share)
        put(self, "_clock", clock)

    @property
    def age(self) -> float:
        """Seconds since the fetch of this version began, by a monotonic clock."""
        return self._clock() - self._born

    @property
    def is_binary(self) -> bool:
        """Whether the value is bytes (AWS's SecretBinary) and not text (AWS's SecretString)."""
        return isinstance(self._value, bytes)

    @property
    def is_stale(self) -> bool:
        """Whether the secret has reached the TTL that applied when it was fetched.

        With `policy=None` there is no TTL, so this is never True.
        """
        return self.age >= self._ttl

    def reveal(self) -> str:
        """Return the value as text. A binary secret is decoded as UTF-8.

        Raises:
            SecretFormatError: The secret is binary and isn't UTF-8.
        """
        if isinstance(self._value, str):
            return self._value

        try:
            return self._value.decode()
        except UnicodeDecodeError:
            # The attribute `object` of this error is the whole value. So our error is made and
            # raised after this block, where Python doesn't chain the two.
            pass
        raise self._format_error(_NOT_TEXT)

    def reveal_bytes(self) -> bytes:
        """Return the value as bytes. A text secret is encoded as UTF-8.

        Raises:
            SecretFormatError: The text has a lone surrogate, which UTF-8 can't encode.
        """
        if isinstance(self._value, bytes):
            return self._value

        try:
            return self._value.encode()
        except UnicodeEncodeError:
            # The attribute `object` of this error is the whole value, too.
            pass
        raise self._format_error(_NOT_ENCODABLE)

    def json(self) -> Any:  # noqa: ANN401 (JSON has no better type)
        """Return the value, parsed as JSON. Each call returns a new object.

        The value is parsed once, and later calls return copies, where copying is faster than
        parsing: not for more than 16 KiB of text, and not for deeply nested values.

        Raises:
            SecretFormatError: The value isn't JSON, or its bytes aren't UTF-8.
        """
        copy = self._copy_of_json
        try:
            if copy is not None:
                return copy()
            return self._parse()
        except (ValueError, RecursionError):
            # The attribute `doc` of a JSONDecodeError is the whole value, and so are variables of
            # the frames that ran out of stack. So our error is raised after this block.
            pass
        raise self._format_error(_NOT_JSON)

    def _parse(self) -> Any:  # noqa: ANN401 (JSON has no better type)
        """Parse the value, and keep what returns copies of it for the next calls."""
        parsed, copy = parse(self.reveal())
        if copy is None:
            return parsed
        object.__setattr__(self, "_copy_of_json", copy)
        return copy()

    def _format_error(self, what: str) -> CredentialsError:
        return make_error(SecretFormatError, what, secret_name=self.name, region_name=self.region)

    def __repr__(self) -> str:
        # A staging label may be any text. `repr` escapes characters that would add a line to a log
        # or control a terminal.
        words = [f"<Secret {self.name!r} version {self.version_id!r}"]
        if self.version_stages:
            words.append("/".join(repr(label)[1:-1] for label in self.version_stages))
        words.append("value=***>")
        return " ".join(words)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        message = f"A Secret can't be changed: {name!r} was fixed when it was fetched."
        raise AttributeError(message)

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(_NOT_PICKLED)

    def __getstate__(self) -> NoReturn:
        """Refuse, because some serializers call this alone."""
        raise TypeError(_NOT_PICKLED)


def put_arn(secret: Secret, arn: str) -> None:
    """Replace the ARN of a secret that was just made by the one that it has in another region."""
    object.__setattr__(secret, "arn", arn)


class ReplicaStatus(NamedTuple):
    """The state of a secret's replica in one region, as AWS describes it."""

    region: str
    """The region of the replica."""
    status: str | None
    """`InSync`, `InProgress` or `Failed` (API reference, ReplicationStatusType)."""
    message: str | None
    """AWS's explanation of the status."""
    kms_key_id: str | None
    """The KMS key of the replica, as AWS names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDescription:
    """A secret as AWS describes it: its versions and its rotation, without its value.

    `manager.describe()` returns one. A field that AWS leaves out is None.
    """

    name: str
    """The secret's friendly name."""
    arn: str
    """The secret's full ARN. It is the one of the primary region, also if a replica answered."""
    region: str
    """The region that answered."""
    versions: Mapping[str, tuple[str, ...]]
    """The staging labels of each version, by version id. Versions without a label are left out."""
    kms_key_id: str | None
    """The KMS key of the secret. It is None for the account's default, aws/secretsmanager."""
    created_at: datetime | None
    """The time at which the secret was created."""
    changed_at: datetime | None
    """The time of the last change of any kind."""
    deleted_at: datetime | None
    """The date for which the deletion is scheduled. It is None if no deletion is scheduled."""
    rotation_enabled: bool
    """Whether AWS rotates the secret automatically."""
    rotated_at: datetime | None
    """The time of the last rotation by AWS."""
    next_rotation_at: datetime | None
    """The time by which AWS will rotate the secret next. It is in the past if a rotation failed."""
    primary_region: str | None
    """The region of the primary secret, if this secret is a replica or has replicas."""
    replicas: tuple[ReplicaStatus, ...] = ()
    """The replicas of the secret, as AWS lists them. They are empty for a secret without any."""
