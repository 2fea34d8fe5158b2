"""`decode`: it is named and never shown, its failures name the secret, it may take bytes, and it is never async."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import operator
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import (
    AsyncCredentialsManager,
    CredentialsError,
    CredentialsPool,
    DatabaseCredentials,
    RedisCredentials,
    Secret,
    SecretFormatError,
)
from aiocredentials._decode import name_of
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator

CANARY = "hunter2-canary"
REGION = "eu-west-1"


@pytest.fixture
def aws() -> FakeSecretsManager:
    """A fake that has secrets of several formats."""
    secrets: dict[str, Any] = {"text": CANARY, "json": {"password": CANARY}, "binary": b"\xff" + CANARY.encode()}
    return FakeSecretsManager({**secrets, "umlaut": "grün"}, region_name=REGION)


@pytest.fixture
async def pool(aws: FakeSecretsManager) -> AsyncIterator[CredentialsPool]:
    """A pool that asks the fake."""
    async with CredentialsPool(REGION, session=aws) as opened:
        yield opened


async def failure(manager: AsyncCredentialsManager[Any]) -> CredentialsError:
    """Return the error of `get()`, when all that can be printed of it was searched."""
    with pytest.raises(SecretFormatError) as caught:
        await manager.get()
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert error.__traceback__ is not None
    inside = error.with_traceback(error.__traceback__.tb_next)  # without this frame
    printed = "".join(traceback.TracebackException.from_exception(inside, capture_locals=True).format())
    for shown in (printed, f"{error!r} {vars(error)} {manager!r} {vars(manager)!r}"):
        assert CANARY not in shown
    return error


# Names


def unseal(key: str, text: str) -> str:
    """Fail."""
    raise ValueError(f"{key} {text}")


@dataclass(frozen=True)
class Unseal:
    """A callable object, whose repr shows its key."""

    key: str

    def __call__(self, text: str) -> str:
        """Fail."""
        raise ValueError(f"{self.key} {text}")

    def opened(self, text: str) -> str:
        """Fail, too."""
        return self(text)

    @classmethod
    def of(cls, text: str) -> str:
        """Fail, too."""
        raise ValueError(text)


class Child(Unseal):
    """Another class."""


NAMES: dict[str, tuple[Any, str]] = {
    "function": (unseal, "unseal"),
    "partial": (functools.partial(unseal, CANARY), "unseal"),
    "partial with a keyword": (functools.partial(unseal, key=CANARY), "unseal"),
    "partial of an object": (functools.partial(Unseal(CANARY)), "Unseal"),
    "partial of a partial's method": (functools.partial(functools.partial(Unseal(CANARY).opened)), "Unseal.opened"),
    "object": (Unseal(CANARY), "Unseal"),
    "method": (Unseal(CANARY).opened, "Unseal.opened"),
    "method of a child": (Child(CANARY).opened, "Child.opened"),
    "class method": (Unseal.of, "Unseal.of"),
    "class method of a child": (Child.of, "Child.of"),
    "class": (Unseal, "Unseal"),
    "lambda": (lambda text: int(text), "<lambda>"),  # noqa: PLW0108 (a lambda is what is named)
    "built-in": (int, "int"),
    "built-in function": (json.loads, "loads"),
    "getter": (operator.itemgetter(CANARY), "itemgetter"),
    "credentials": (DatabaseCredentials.from_json, "DatabaseCredentials.from_json"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    """A callable is named by its qualified name or its type's: nothing that it was made of is in that."""
    function, expected = NAMES[name]
    assert name_of(function) == expected


@pytest.mark.parametrize(
    "name", ["partial", "partial with a keyword", "partial of an object", "object", "method", "getter"]
)
async def test_a_failing_decode_is_named(pool: CredentialsPool, name: str) -> None:
    """The error of a decode that fails names it and its error's type; neither its arguments nor the text are shown."""
    function, expected = NAMES[name]
    error = await failure(pool.manager("text", decode=function))
    assert str(error).startswith(f"decode='{expected}' refused the secret: ")
    assert CANARY not in repr(pool.manager("text", decode=function)._decode)


# Which secret


class OwnError(SecretFormatError):
    """A class of the service's own."""


def complains(text: str) -> str:
    """Refuse by an error of the library's kind."""
    raise OwnError(f"It has {len(text)} characters.")


SENTENCES: dict[str, tuple[str, Any, str]] = {
    "database": ("json", DatabaseCredentials.from_json, "The secret has no 'username', or an empty one. Its keys: "),
    "redis": ("empty", RedisCredentials.from_text, "The secret has no 'password', no 'token', no 'auth_token', or"),
    "an error of its own": ("text", complains, "It has 14 characters. Asked: secret 'text', region 'eu-west-1'."),
    "KeyError": ("json", lambda text: {}[text], "decode='<lambda>' refused the secret: KeyError. Asked: "),
    "TypeError": ("json", lambda text: text + 1, "decode='<lambda>' refused the secret: TypeError. Asked: "),
    "no JSON": (
        "text",
        None,
        "The secret isn't JSON. For its text, give the manager decode=str, or call reveal(). Asked",
    ),
    "no text": (
        "binary",
        str,
        "The secret is binary and not UTF-8 text: use reveal_bytes(), or decode= and binary=True.",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
async def test_errors_name_the_secret(aws: FakeSecretsManager, pool: CredentialsPool, name: str) -> None:
    """Every `SecretFormatError` of a manager names secret and region, in its text and as facts."""
    aws.set("empty", {"user": CANARY})
    secret, decode, says = SENTENCES[name]
    managers: list[Any] = [pool.manager(secret, decode=decode)]
    managers += [AsyncCredentialsManager(secret, REGION, session=aws, decode=decode, policy=None)]
    for manager in managers:
        error = await failure(manager)
        assert str(error).startswith(says)
        assert f"Asked: secret '{secret}', region 'eu-west-1'" in str(error)
        assert (error.secret_name, error.region_name) == (secret, REGION)
        assert type(error) is (OwnError if decode is complains else SecretFormatError)
        with pytest.raises(SecretFormatError) as caught:
            manager.decoded(await manager.secret())
        assert str(caught.value) == str(error)


async def test_each_caller_has_an_error_of_its_own(pool: CredentialsPool) -> None:
    """An error that a decoder raises again and again, the same object, isn't the one that callers get."""
    mine = SecretFormatError("Not mine.")

    def same(_: str) -> str:
        raise mine

    errors = [await failure(pool.manager("text", decode=same)) for _ in range(2)]
    assert mine is not errors[0] is not errors[1]
    assert (mine.args, mine.secret_name) == (("Not mine.",), None)
    assert vars(mine) == vars(SecretFormatError("Not mine."))


# Pydantic and msgspec


@dataclass
class Given:
    """A JSON, and what is said of it."""

    data: object
    says: str


WRONG = {
    "missing": Given({"password": 1}, "user: missing"),
    "wrong": Given({"password": CANARY, "user": "a"}, "password: int_parsing"),
    "both": Given({"password": CANARY}, "password: int_parsing; user: missing"),
    "nested": Given({"password": 1, "user": "a", "inner": {"level": CANARY}}, "inner.level: int_parsing"),
    "a key": Given({"password": 1, "user": "a", "inner": {CANARY: 1}}, "inner.*: extra_forbidden"),
    "a key of a mapping": Given({"password": 1, "user": "a", "marks": {CANARY: CANARY}}, "marks.*: int_parsing"),
    "no object": Given([CANARY], "model_type"),
    "no JSON": Given(None, "json_invalid"),
    "many": Given(
        {"password": 1, "user": "a", "steps": [CANARY] * 1000},
        "".join(f"steps.{index}: int_parsing; " for index in range(10)) + "and 990 more",
    ),
}


def model() -> Any:  # noqa: ANN401 (a model that is made here)
    """Make a pydantic model."""
    pydantic: Any = pytest.importorskip("pydantic")
    forbidding = pydantic.ConfigDict(extra="forbid")
    inner = pydantic.create_model("Inner", __config__=forbidding, level=(int, 0))
    login = pydantic.Field(validation_alias=pydantic.AliasChoices("user", "login"))
    mapping, steps = (dict[str, int], {}), (list[int], [])
    return pydantic.create_model(
        "Credentials", password=(int, ...), login=(str, login), inner=(inner, None), marks=mapping, steps=steps
    )


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("how", ["method", "partial", "adapter", "binary"])
async def test_pydantic(aws: FakeSecretsManager, pool: CredentialsPool, wrong: str, how: str) -> None:
    """Where `decode` is a method of pydantic's, the model, each field and pydantic's word for it are named."""
    given = WRONG[wrong]
    aws.set("x", CANARY if given.data is None else json.dumps(given.data))
    credentials = model()
    adapter = pytest.importorskip("pydantic").TypeAdapter(credentials)
    decode = credentials.model_validate_json if how in {"method", "binary"} else adapter.validate_json
    if how == "partial":
        decode = functools.partial(credentials.model_validate_json, context={"key": CANARY})
    name = "TypeAdapter.validate_json" if how == "adapter" else "Credentials.model_validate_json"
    error = await failure(AsyncCredentialsManager("x", pool=pool, decode=decode, binary=how == "binary"))
    assert str(error).startswith(f"decode='{name}' refused the secret: ValidationError of 'Credentials': {given.says}.")


async def test_pydantic_in_a_function(aws: FakeSecretsManager, pool: CredentialsPool) -> None:
    """Where pydantic is called by a function, no name is known that may be shown: pydantic's word is."""
    aws.set("x", {"password": CANARY, "marks": {CANARY: CANARY}})
    credentials = model()

    def decode(text: str) -> object:
        return credentials.model_validate_json(text)

    error = await failure(pool.manager("x", decode=decode))
    says = "ValidationError of 'Credentials': *: int_parsing; *: missing; *.*: int_parsing."
    assert f".decode' refused the secret: {says} Asked: secret 'x'" in str(error)


async def test_other_validators(pool: CredentialsPool) -> None:
    """An error that only has the same name, such as msgspec's, is told by its type."""
    msgspec: Any = pytest.importorskip("msgspec")
    decode = functools.partial(msgspec.json.decode, type=dict[str, int])
    error = await failure(pool.manager("json", decode=decode))
    assert str(error).startswith("decode='json_decode' refused the secret: ValidationError. Asked: ")


# Async functions


class Asynchronous:
    """An object that can be called, and awaited then."""

    async def __call__(self, text: str) -> str:
        """Return it."""
        return text

    async def opened(self, text: str) -> str:
        """Return it, too."""
        return text


async def decode_later(text: str) -> str:
    """Return it."""
    return text


async def decode_in_parts(text: str) -> AsyncGenerator[str]:
    """Yield it."""
    yield text


ASYNC: dict[str, Any] = {
    "function": decode_later,
    "generator": decode_in_parts,
    "object": Asynchronous(),
    "method": Asynchronous().opened,
    "partial": functools.partial(decode_later),
    "partial of an object": functools.partial(Asynchronous()),
    "no function": "json",
}


@pytest.mark.parametrize("name", ASYNC)
@pytest.mark.parametrize("binary", [False, True])
async def test_async_functions(pool: CredentialsPool, name: str, *, binary: bool) -> None:
    """What would have to be awaited, or called at all, is refused where it is written."""
    argument = "bytes" if binary else "text"
    sentence = f"decode isn't a plain function: give one that isn't async, .* the secret's {argument}"
    for make in (AsyncCredentialsManager, pool.manager):
        with pytest.raises(TypeError, match=sentence):
            make("text", decode=ASYNC[name], binary=binary)


def future_of(text: str) -> asyncio.Future[str]:
    """Return a future whose repr shows the text."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    future.set_result(text)
    return future


UNFINISHED: dict[str, Callable[[str], Any]] = {
    "coroutine": lambda text: decode_later(text),  # noqa: PLW0108 (a lambda that isn't async itself)
    "generator": lambda text: decode_in_parts(text),  # noqa: PLW0108 (the same)
    "future": future_of,
}


@pytest.mark.parametrize("name", UNFINISHED)
async def test_async_results(pool: CredentialsPool, name: str) -> None:
    """A function that returns something to await is told so, the secret is named, and Python doesn't warn."""
    error = await failure(pool.manager("text", decode=UNFINISHED[name]))
    gc.collect()  # a coroutine that nobody awaited would warn now, and a warning is an error
    name = name_of(UNFINISHED[name])
    assert str(error).startswith(f"decode='{name}' returned an awaitable: give a function that isn't async. Asked")
    assert error.secret_name == "text"


async def test_a_task_is_cancelled(pool: CredentialsPool) -> None:
    """A task that a decoder started is cancelled, so that it doesn't go on with the value."""
    tasks: list[asyncio.Task[str]] = []

    def start(text: str) -> asyncio.Task[str]:
        tasks.append(asyncio.ensure_future(decode_later(text)))
        return tasks[0]

    await failure(pool.manager("text", decode=start))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


class Client:
    """A result that can be awaited as well, as clients of redis-py and pools of asyncpg can."""

    def __await__(self) -> Generator[None, None, Client]:
        """Connect."""
        yield
        return self


async def test_a_result_that_can_be_awaited(pool: CredentialsPool) -> None:
    """An object that can be awaited as well is a result."""
    assert isinstance(await pool.manager("text", decode=lambda _: Client()).get(), Client)


# Bytes


async def test_bytes(aws: FakeSecretsManager, pool: CredentialsPool) -> None:
    """With `binary=True`, `decode` gets the bytes: once per version, by `get()` and `decoded()`, pooled or not."""
    seen: list[bytes] = []

    def decode(data: bytes) -> tuple[bytes]:
        seen.append(data)
        return (data,)

    manager = pool.manager("binary", decode=decode, binary=True)
    value = b"\xff" + CANARY.encode()
    assert await manager.get() == (value,)
    assert await manager.get() is await manager.get()
    assert seen == [value]
    aws.set("binary", b"\xfe")
    new = await manager.refresh()
    assert manager.decoded(new) == await manager.get() == (b"\xfe",)
    alone = AsyncCredentialsManager("binary", REGION, session=aws, decode=bytes, binary=True)
    assert await alone.get() == b"\xfe"
    assert new.is_binary


async def test_bytes_of_a_text(pool: CredentialsPool) -> None:
    """The bytes of a text are its UTF-8."""
    assert await pool.manager("umlaut", decode=bytes, binary=True).get() == "grün".encode()
    assert not (await pool.manager("umlaut").secret()).is_binary


async def test_a_text_without_bytes(pool: CredentialsPool) -> None:
    """A text that UTF-8 can't encode is refused, by the sentence that `reveal_bytes()` has."""
    found = await pool.manager("text").secret()
    facts = {name: getattr(found, name) for name in ("name", "arn", "region", "version_id", "version_stages")}
    lone = Secret("\ud800", **facts, created_at=None, fetched_at=found.fetched_at, born=0.0)
    with pytest.raises(SecretFormatError, match="encoded as UTF-8: it has a lone surrogate"):
        pool.manager("text", decode=bytes, binary=True).decoded(lone)


async def test_text_stays_text(aws: FakeSecretsManager, pool: CredentialsPool) -> None:
    """Without `binary`, `decode` gets text, also of a binary secret that is UTF-8."""
    assert await pool.manager("umlaut", decode=str.upper).get() == "GRÜN"
    aws.set("data", "grün".encode())
    assert await pool.manager("data", decode=str.upper).get() == "GRÜN"
    assert (await pool.manager("data").secret()).is_binary


@pytest.mark.parametrize("decode", [None, bytes])
async def test_binary_without_sense(pool: CredentialsPool, decode: Any) -> None:  # noqa: ANN401 (what no type checker lets pass)
    """`binary=True` without a decode, and a `binary` that is no bool, are refused with a sentence."""
    wrong: Any = True if decode is None else "yes"
    sentence = (
        "binary=True needs decode, which then gets bytes: give one"
        if decode is None
        else "binary is a str: give True or False"
    )
    for make in (AsyncCredentialsManager, pool.manager):
        with pytest.raises((TypeError, ValueError), match=sentence):
            make("text", decode=decode, binary=wrong)
