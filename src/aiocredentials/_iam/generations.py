"""A generation of AWS credentials as a version, and the managers whose passwords they sign."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Generic, NoReturn, TypeVar

from aiocredentials._aws.key_gateway import KeyGateway, keys_request
from aiocredentials._aws.redact import our_call, wire_logs_redacted
from aiocredentials._aws.requests import role_for
from aiocredentials._loops import bookkeeping, call_in, running_loop
from aiocredentials._rotation.naming import Naming
from aiocredentials._secret import Secret
from aiocredentials.errors import PoolClosedError, SecretNotFoundError, make_error

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiocredentials._aws.keys import AwsKeys
    from aiocredentials._aws.regions import Region
    from aiocredentials._aws.roles import Role
    from aiocredentials._loops import Loop
    from aiocredentials._pool import CredentialsPool
    from aiocredentials._store import PooledStore

C = TypeVar("C")

CURRENT = "AWSCURRENT"
MOST_REFUSALS = 6
"""How often the refusals of a manager's tokens drop AWS credentials in `REFUSAL_SECONDS`."""
REFUSAL_SECONDS = 60.0


def now() -> float:
    """Return the time by which refusals are counted."""
    return time.monotonic()


class Generation(Secret):
    """The AWS credentials of one moment, in the place of a version of a secret.

    Its `version_id` is their access key id. That is no secret: AWS itself logs it in CloudTrail,
    and it shows an operator which AWS credentials a server has refused. New AWS credentials have a
    new one. The value is empty, because a token is made for each connection.
    """

    __slots__ = ("_keys",)

    _keys: AwsKeys

    def __init__(self, keys: AwsKeys, name: str, region_name: str) -> None:
        super().__init__(
            "",
            name=name,
            arn="",
            region=region_name,
            version_id=keys.access_key_id,
            version_stages=(),
            created_at=None,
            fetched_at=datetime.now(UTC),
            born=time.monotonic(),
        )
        object.__setattr__(self, "_keys", keys)

    @property
    def aws_keys(self) -> AwsKeys:
        """The AWS credentials."""
        return self._keys


class TokenManager(Generic[C]):
    """A manager whose passwords are tokens: one per connection, signed in this process.

    Args:
        pool: The open pool that has the AWS credentials.
        service: The service that signatures name.
        title: The purpose of the tokens, in logs and errors.
        region: The region that signatures name; None means the default region of the pool.
        role: The role whose AWS credentials sign; None without a role.
    """

    needs_encryption = True
    """The adapters refuse connections without encryption, because a token is sent as plain text."""
    naming = Naming("", "the token signed with access key", "the tokens of each access key")
    """How logs and errors name the tokens."""
    advice_if_refused = ""
    """What to do if the server refuses the tokens."""

    def __init__(
        self,
        pool: CredentialsPool,
        *,
        service: str,
        title: str,
        region: Region | None,
        role: Role | None,
    ) -> None:
        store: PooledStore = pool._store  # noqa: SLF001 (pools are ours)
        self._pool = pool
        self._store = store
        self._service = service
        self._title = title
        self._request = keys_request(region, role)
        self._gateway = KeyGateway(store.session, store.gateway.timeout)
        # When refusals have dropped AWS credentials. Each object counts its own, because one whose
        # user isn't allowed must not keep those of the others from being loaded again.
        self._refused_at: deque[float] = deque(maxlen=MOST_REFUSALS)

    async def get(self) -> C:
        """Return credentials with a new token.

        Use them at once: the token is valid for 15 minutes at most. Raises the errors of `secret`.
        """
        return self.decoded(await self.secret())

    async def secret(self, *, version_stage: str | None = None) -> Secret:
        """Return the present AWS credentials as a version, without a value that could be shown.

        It makes a call only if AWS credentials must be loaded or renewed.

        Raises:
            SecretNotFoundError: Another staging label than AWSCURRENT was asked: there are none.
            CredentialSourceError: The source of the AWS credentials doesn't answer within the
                pool's `timeout`, or there is none. It is transient.
            AuthenticationError: The AWS credentials are configured wrongly, or the role can't be
                assumed.
            PoolClosedError: The pool isn't open.
        """
        if version_stage not in {None, CURRENT}:
            what = "A token has no versions with other staging labels."
            raise make_error(SecretNotFoundError, what, advice="")
        request = await self._store.located(self._request)
        keys = await self._gateway.keys(request)
        return Generation(keys, self._title, request.region_name or "")

    def decoded(self, secret: Secret) -> C:
        """Return credentials with a new token, signed with the AWS credentials of this version.

        Each call signs: use the token at once, for one connection.

        Raises:
            TypeError: `secret` isn't a return value of `secret()`.
            AuthenticationError: These AWS credentials can't sign.
        """
        raise NotImplementedError

    def _token(self, secret: Secret, host: str, parameters: dict[str, str]) -> str:
        """Return a signed address without its scheme, which is what the servers expect."""
        if not isinstance(secret, Generation):
            kind = type(secret).__name__
            raise TypeError(f"secret is a {kind}: give the return value of secret().")
        redact = self._store.session.settings.redact_wire_logs
        # botocore logs what it signs.
        with wire_logs_redacted(redact=redact), our_call(redact=redact):
            url = secret.aws_keys.signed_url(
                f"https://{host}/",
                parameters,
                service=self._service,
                region_name=secret.region,
            )
        return url.removeprefix("https://")

    def invalidate(self, *, if_version: str | None = None) -> None:
        """Drop the AWS credentials that sign tokens, or only those with this access key id.

        The next call loads them again, for all tokens of the pool with the same role. Its clients
        of Secrets Manager stay open. With `if_version`, any number of callers that were refused
        together cause one load, and refusals of this object's tokens cause six loads per minute at
        most. Otherwise a server that refuses for another reason, such as a missing permission,
        would cause a load per attempt.
        Makes no call, and raises nothing.
        """
        session = self._store.session
        role = self._request.role
        if if_version is not None:
            # Another caller may have dropped them already.
            if not session.signs_with(role, if_version):
                return
            if not self._may_load_again():
                return
        session.refuse_keys(role, if_version)

    def _may_load_again(self) -> bool:
        """Count a refusal; return whether there were few enough. For any thread."""
        time_now = now()
        with bookkeeping:
            is_full = len(self._refused_at) == MOST_REFUSALS
            if is_full and time_now - self._refused_at[0] < REFUSAL_SECONDS:
                return False
            self._refused_at.append(time_now)
        return True

    async def changes(self) -> AsyncGenerator[Secret]:
        """Yield nothing: open connections stay valid when AWS credentials change.

        Raises:
            PoolClosedError: When the pool is closed.
        """
        store = self._store
        store.session.check_open()
        closing = _Closing(running_loop())
        stop = store.cache.watch(self._request, closing)
        try:
            await closing.ended.wait()
        finally:
            stop()
        raise make_error(PoolClosedError, "The pool was closed.")
        # Only this statement makes it a generator.
        yield  # pragma: no cover

    def __copy__(self) -> TokenManager[C]:
        return self

    def __deepcopy__(self, memo: object) -> TokenManager[C]:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        kind = type(self).__name__
        raise TypeError(f"{kind} can't be pickled: make one in each process.")

    def __repr__(self) -> str:
        kind = type(self).__name__
        words = [self._title]
        region = self._request.region
        if region is not None:
            words.append(f"in {region.name!r}")
        role = self._request.role
        if role is not None:
            words.append(f"as {role.role_arn}")
        return f"<{kind} {' '.join(words)}>"


class _Closing:
    """Waits for the end of a pool. The cache calls it in any thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.ended = asyncio.Event()

    def closed(self) -> None:
        """Let the caller find that the pool is closed."""
        # Its loop may have been closed while the caller was left behind.
        call_in(self._loop, self.ended.set)

    def stored(self, *_: object) -> None:
        """Do nothing: nothing is cached under this key."""

    def forgotten(self) -> None:
        """Do nothing."""

    def invalidated(self) -> None:
        """Do nothing."""

    def failed(self) -> None:
        """Do nothing."""


def role_of(
    pool: CredentialsPool,
    role_arn: str | None,
    external_id: str | None,
    role_session_name: str | None,
) -> Role | None:
    """Return the role whose AWS credentials sign; by default the pool's.

    Raises `TypeError` or `ValueError`.
    """
    return role_for(role_arn, external_id, role_session_name, default=pool._role)  # noqa: SLF001
