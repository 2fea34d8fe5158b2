"""`secret`: a dependency on one secret, for `Depends`. `fastapi` has the lifespan behind it."""

# There is no `from __future__ import annotations`, because FastAPI can't resolve the annotations of
# a callable object if they are strings.

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Generic, Literal, TypedDict, TypeVar, cast, overload

from starlette.requests import HTTPConnection

from aiocredentials import AsyncCredentialsManager, CredentialsPool

T = TypeVar("T")

_NO_POOL = (
    "This request's state has no credentials pool: give the app "
    "lifespan=credentials_lifespan(...), and check that it runs. "
    "TestClient runs it only in a block: `with TestClient(app) as client:`. "
    "Starlette doesn't run the lifespan of a mounted app: give it to the outermost app."
)
_NOT_HASHABLE = (
    "decode can't be hashed, but each request finds its manager by it: give a function, "
    "or give the object's class a __hash__, as dataclass(frozen=True) does."
)


class CredentialsState(TypedDict):
    """The names that the lifespan adds to the state of each request."""

    credentials_pool: CredentialsPool
    """The pool: `request.state.credentials_pool`."""
    credentials_managers: "dict[SecretDependency[Any], AsyncCredentialsManager[Any]]"
    """A manager for each dependency that was used. All requests share it."""


@dataclass(frozen=True, slots=True)
class SecretDependency(Generic[T]):
    """A dependency on one secret. `Depends` calls it, and `app.dependency_overrides` has it as key.

    Make it with `secret()`. Two dependencies with equal arguments are equal and share one manager.
    """

    secret_name: str
    # The repr of a function may show values, such as the arguments of a `functools.partial`.
    decode: Callable[[str], T] | Callable[[bytes], T] | None = field(default=None, repr=False)
    _: KW_ONLY
    binary: bool = False
    region_name: str | None = None
    version_stage: str = "AWSCURRENT"

    def __post_init__(self) -> None:
        """Reject arguments that can't work when they are written, not at the first request.

        Raises `TypeError` or `ValueError`.
        """
        AsyncCredentialsManager(
            self.secret_name,
            self.region_name,
            # One of the overloads accepts these two. Only the caller of `secret()` knows which one.
            decode=cast("Callable[[str], T]", self.decode),
            binary=cast("Literal[False]", self.binary),
            version_stage=self.version_stage,
        )

        try:
            hash(self)
            is_hashable = True
        except TypeError:
            is_hashable = False
        # Our error is raised after the block, so it isn't chained to the one above.
        if not is_hashable:
            raise TypeError(_NOT_HASHABLE)

    async def __call__(self, connection: HTTPConnection) -> T:
        """Return the result of `decode`, or the parsed JSON if there is no `decode`.

        The value is cached: a fetch is made only if the pool's policy asks for one. Accepts a
        request or a websocket. Needs secretsmanager:GetSecretValue.

        Raises:
            CredentialsError: The secret can't be fetched, or `decode` rejects it.
            RuntimeError: The app runs without `credentials_lifespan`.
        """
        manager = await self.manager(connection)
        return await manager.get()

    async def manager(self, connection: HTTPConnection) -> AsyncCredentialsManager[T]:
        """Return the manager of the secret: the same one for all requests, without a call to AWS.

        `Depends` can call this method, too. Raises `RuntimeError` if the app runs without
        `credentials_lifespan`.
        """
        state: CredentialsState = connection.scope.get("state", {})
        if "credentials_managers" not in state:
            raise RuntimeError(_NO_POOL)

        managers = state["credentials_managers"]
        manager = managers.get(self)
        if manager is None:
            pool = state["credentials_pool"]
            manager = pool.manager(
                self.secret_name,
                self.region_name,
                # The overloads are those of `__post_init__`.
                decode=cast("Callable[[str], T]", self.decode),
                binary=cast("Literal[False]", self.binary),
                version_stage=self.version_stage,
            )
            managers[self] = manager
        return manager


@overload
def secret(
    secret_name: str,
    decode: None = None,
    *,
    binary: Literal[False] = False,
    region_name: str | None = None,
    version_stage: str = ...,
) -> SecretDependency[Any]: ...
@overload
def secret(
    secret_name: str,
    decode: Callable[[str], T],
    *,
    binary: Literal[False] = False,
    region_name: str | None = None,
    version_stage: str = ...,
) -> SecretDependency[T]: ...
@overload
def secret(
    secret_name: str,
    decode: Callable[[bytes], T],
    *,
    binary: Literal[True],
    region_name: str | None = None,
    version_stage: str = ...,
) -> SecretDependency[T]: ...
def secret(
    secret_name: str,
    decode: Callable[[str], Any] | Callable[[bytes], Any] | None = None,
    *,
    binary: bool = False,
    region_name: str | None = None,
    version_stage: str = "AWSCURRENT",
) -> SecretDependency[Any]:
    """Return a dependency on one secret: `Depends(secret("prod/database", decode))`.

    The value is cached in the pool of `credentials_lifespan`. Assign the dependency to a name, as
    in `database = secret(...)`. Then tests can replace it with
    `app.dependency_overrides[database]`. Requests need secretsmanager:GetSecretValue.

    Example:
        ```python
        from typing import Annotated

        from fastapi import Depends, FastAPI

        from aiocredentials import DatabaseCredentials
        from aiocredentials.integrations.fastapi import credentials_lifespan, secret

        app = FastAPI(lifespan=credentials_lifespan(region_name="eu-west-1"))
        database = secret("prod/database", DatabaseCredentials.from_json)


        @app.get("/")
        async def read(credentials: Annotated[DatabaseCredentials, Depends(database)]) -> str:
            return credentials.username
        ```

    Args:
        secret_name: The name or ARN of the secret.
        decode: A function that makes an object of the secret's text. Without it, the dependency is
            the parsed JSON.
        binary: Whether `decode` gets the secret's bytes instead of its text.
        region_name: The region of the secret; the pool's own by default.
        version_stage: The staging label of the version.

    Raises:
        TypeError: An argument has a wrong type, or `decode` can't be hashed.
        ValueError: An argument is empty or malformed.
    """
    return SecretDependency(
        secret_name,
        decode,
        binary=binary,
        region_name=region_name,
        version_stage=version_stage,
    )
