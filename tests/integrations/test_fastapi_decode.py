"""What `decode` may be where FastAPI asks for a secret: it may take bytes, must be hashable, and is never printed."""

import dataclasses
import functools
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from aiocredentials import DatabaseCredentials
from aiocredentials.integrations.fastapi import SecretDependency, credentials_lifespan, secret
from aiocredentials.testing import FakeSecretsManager

CANARY = "hunter2-canary"


@dataclasses.dataclass(frozen=True)
class Unseal:
    """A callable object, whose repr shows its key."""

    key: str

    def __call__(self, text: str) -> int:
        """Return the length."""
        return len(text)


@dataclasses.dataclass
class Unhashable:
    """The same, and not frozen."""

    key: str

    def __call__(self, text: str) -> int:
        """Return the length."""
        return len(text)


def length(key: str, text: str) -> int:
    """Return the length."""
    return len(key + text)


@pytest.mark.parametrize("value", [b"\xff\xfe", "ü"], ids=["binary", "text"])
def test_bytes(value: str | bytes) -> None:
    """With `binary=True`, a route has what `decode` makes of the bytes; those of a text are its UTF-8."""
    app = FastAPI(lifespan=credentials_lifespan(session=FakeSecretsManager({"prod/keystore": value})))
    keystore = secret("prod/keystore", len, binary=True)

    @app.get("/")
    async def route(size: Annotated[int, Depends(keystore)]) -> int:
        return size

    with TestClient(app) as client:
        assert client.get("/").json() == 2
    assert keystore != secret("prod/keystore", len)


@pytest.mark.parametrize("decode", [functools.partial(length, CANARY), Unseal(CANARY)], ids=["partial", "object"])
def test_the_repr_shows_no_decode(decode: Any) -> None:  # noqa: ANN401 (a function of any kind)
    """What a dependency's `decode` was made of isn't printed with it."""
    dependency = secret("prod/database", decode)
    assert CANARY not in repr(dependency)
    assert repr(dependency).startswith("SecretDependency(secret_name='prod/database', ")
    assert dependency == SecretDependency("prod/database", decode)


def test_equal_readers() -> None:
    """Readers of credentials with the same arguments make equal dependencies, which share one manager."""
    read = DatabaseCredentials.reader
    one, other = (secret("prod/db", read(username="user", under=["app"])) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != secret("prod/db", read(username="user"))


def test_unhashable() -> None:
    """A `decode` that can't be hashed is refused where it is written, and not in each request."""
    decode: Any = Unhashable(CANARY)
    with pytest.raises(TypeError, match="decode can't be hashed, but each request finds its manager by it") as caught:
        secret("prod/database", decode)
    assert CANARY not in str(caught.value)
    assert caught.value.__context__ is None


def test_binary_without_decode() -> None:
    """`binary=True` without a decode is refused as by a manager."""
    with pytest.raises(ValueError, match="binary=True needs decode"):
        SecretDependency("prod/database", binary=True)
