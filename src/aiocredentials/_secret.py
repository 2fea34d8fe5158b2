"""`Secret`: one version of one secret. It holds a value and shows none. `SecretDescription` has none to show."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self

from aiocredentials.errors import CredentialsError, SecretFormatError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime


_NOT_TEXT = (
    "The secret is binary and not UTF-8 text: use reveal_bytes(), or decode= and binary=True."
)
_NOT_JSON = "The secret isn't JSON. For its text, give the manager decode=str, or call reveal()."


class Lifetime(NamedTuple):
    """How long a secret is fresh.

    A cache shortens its TTL by a random share of the policy's jitter. A secret knows both, so its
    `is_stale` agrees with the cache.
    """

    ttl: float
    """In seconds, the jitter taken off."""
    jitter_share: float = 0.0
    """Which share of the jitter was taken off, from 0 to 1."""


FRESH_FOR_EVER = Lifetime(float("inf"))


class Secret:
    """One immutable version of one secret, with its provenance.

    Its repr shows name, version and a mask. The value comes out by `reveal()`, `reveal_bytes()` and `json()` only. It
    can't be pickled, and a copy is the same object.
    """

    __slots__ = (
        "__weakref__", "_born", "_clock", "_lifetime", "_value",
        "arn", "created_at", "fetched_at", "name", "region", "version_id", "version_stages",
    )  # fmt: skip

    _value: str | bytes
    _born: float
    _lifetime: Lifetime
    _clock: Callable[[], float]
    name: str
    """The secret's friendly name."""
    arn: str
    """The secret's full ARN."""
    region: str
    """The region that it was fetched from."""
    version_id: str
    """The id of this version."""
    version_stages: tuple[str, ...]
    """The staging labels that this version had when it was fetched."""
    created_at: datetime | None
    """When this version was created, by AWS's clock; None where an emulator doesn't say."""
    fetched_at: datetime
    """When the fetch began that brought it, by this host's clock, in UTC."""

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
        put(self, "name", name)
        put(self, "arn", arn)
        put(self, "region", region)
        put(self, "version_id", version_id)
        put(self, "version_stages", version_stages)
        put(self, "created_at", created_at)
        put(self, "fetched_at", fetched_at)
        put(self, "_born", born)
        put(self, "_lifetime", lifetime)
        put(self, "_clock", clock)

    @property
    def age(self) -> float:
        """Seconds since the fetch that brought it began, by a monotonic clock."""
        return self._clock() - self._born

    @property
    def is_binary(self) -> bool:
        """Whether the value is bytes (AWS's SecretBinary), and not text (SecretString)."""
        return isinstance(self._value, bytes)

    @property
    def is_stale(self) -> bool:
        """Whether it has reached the TTL that it was fetched under, and so isn't fresh any more."""
        return self.age >= self._lifetime.ttl

    def reveal(self) -> str:
        """Return the value as text; a binary secret is read as UTF-8.

        Raises `SecretFormatError` if it isn't UTF-8.
        """
        if isinstance(self._value, str):
            return self._value
        try:
            return self._value.decode()
        except UnicodeDecodeError:
            pass  # Its .object is the whole value: ours is made and raised outside of this block.
        raise self._format_error(_NOT_TEXT)

    def reveal_bytes(self) -> bytes:
        """Return the value as bytes; text is encoded as UTF-8.

        Raises `SecretFormatError` if the text has a lone surrogate, which UTF-8 can't encode.
        """
        if isinstance(self._value, bytes):
            return self._value
        try:
            return self._value.encode()
        except UnicodeEncodeError:
            pass  # As above.
        raise self._format_error(
            "The secret's text can't be encoded as UTF-8: it has a lone surrogate."
        )

    def json(self) -> Any:  # noqa: ANN401 (JSON has no better type)
        """Return the value parsed as JSON: a new object with every call.

        Raises `SecretFormatError` if it isn't JSON.
        """
        text = self.reveal()
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            # JSONDecodeError.doc is the whole value, and this frame is in the traceback of what is raised below.
            del text
        raise self._format_error(_NOT_JSON)

    def _format_error(self, what: str) -> CredentialsError:
        return make_error(SecretFormatError, what, secret_name=self.name, region_name=self.region)

    def __repr__(self) -> str:
        # A label is what somebody chose: `repr` escapes what would change a log or a terminal.
        stages = "/".join(repr(stage)[1:-1] for stage in self.version_stages)
        return f"<Secret {self.name!r} version {self.version_id!r} {stages} value=***>"

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
        message = "A Secret can't be pickled, so that its value is never written anywhere: fetch it where it is needed."
        raise TypeError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDescription:
    """What AWS tells of a secret without its value: its versions and its rotation. What AWS leaves out is None."""

    name: str
    """The secret's friendly name."""
    arn: str
    """The secret's full ARN."""
    region: str
    """The region that was asked."""
    versions: Mapping[str, tuple[str, ...]]
    """The ids of the versions that have staging labels, with those labels."""
    kms_key_id: str | None
    """The KMS key, where it isn't the account's aws/secretsmanager."""
    created_at: datetime | None
    """When the secret was created."""
    changed_at: datetime | None
    """When it was changed last, in any way."""
    deleted_at: datetime | None
    """The date of its scheduled deletion; None unless it is scheduled."""
    rotation_enabled: bool
    """Whether AWS rotates it by itself."""
    rotated_at: datetime | None
    """When AWS rotated it last."""
    next_rotation_at: datetime | None
    """When AWS will rotate it next, at the latest; in the past if that failed."""
    primary_region: str | None
    """The region of the original, where this is a replica or has some."""
