"""Settings with secrets: fetched at once, merged as the caller says, built as always; no error has the input in it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    RootModel,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from aiocredentials import (
    AsyncCredentialsManager,
    CredentialsError,
    CredentialsPool,
    DatabaseCredentials,
    PoolClosedError,
    RedisCredentials,
    SecretFormatError,
    SecretNotFoundError,
)
from aiocredentials.integrations._settings_build import _Masked, _SecretsManagerSource
from aiocredentials.integrations.pydantic_settings import load_settings
from leaks.canary import VALUE, LogKeeper, assert_silent, of_error
from server.stub import Answer, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from server.stub import StubSecretsManager

DATABASE = {"username": "app", "password": "from AWS", "host": "db.example", "port": 5432}
REDIS = {"host": "redis.example", "password": "from AWS"}
Sources = tuple[PydanticBaseSettingsSource, ...]


class Redis(BaseModel):
    """A nested model."""

    host: str = "localhost"
    password: SecretStr = SecretStr("")
    labels: dict[str, int] = {}


class Settings(BaseSettings):
    """What a service may have."""

    model_config = SettingsConfigDict(env_nested_delimiter="__")

    redis: Redis = Redis()
    token: SecretStr = SecretStr("default")
    port: int = 0
    hosts: list[str] = []
    maybe: Redis | None = None
    either: str | dict[str, str] = ""
    database: DatabaseCredentials | None = None
    environment: str = "dev"


@pytest.fixture
async def pool(stub: StubSecretsManager) -> AsyncIterator[CredentialsPool]:
    """A pool that asks the stub, which has a few secrets."""
    stub.secrets |= {
        "prod/database": json.dumps(DATABASE),
        "prod/redis": json.dumps(REDIS),
        "prod/token": "from AWS",
        "prod/port": "6543",
        "prod/hosts": '["a", "b"]',
    }
    async with CredentialsPool("eu-west-1", endpoint_url=stub.url) as opened:
        yield opened


def calls(stub: StubSecretsManager) -> list[str]:
    """Return the operations that were asked."""
    return [request.target for request in stub.requests]


# What a secret may be


async def test_values(pool: CredentialsPool) -> None:
    """A field has a secret's text, or its JSON if it isn't simple, or one key of that, or what a manager decodes."""
    settings = await load_settings(
        Settings,
        pool,
        {
            "token": "prod/token",
            "port": "prod/port",
            "hosts": "prod/hosts",
            "redis": "prod/redis",
            "maybe": "prod/redis",
            "either": ("prod/redis", "host"),
            "database": pool.manager("prod/database", decode=DatabaseCredentials.from_json),
        },
    )
    assert type(settings) is Settings
    assert settings == Settings(
        token=SecretStr("from AWS"),
        port=6543,
        hosts=["a", "b"],
        redis=Redis(host="redis.example", password=SecretStr("from AWS")),
        maybe=Redis(host="redis.example", password=SecretStr("from AWS")),
        either="redis.example",
        database=DatabaseCredentials(username="app", password="from AWS", host="db.example", port=5432),
    )
    assert repr(settings).startswith("Settings(redis=Redis(host='redis.example'")
    assert settings.model_copy() == settings


@pytest.mark.parametrize(("secret", "expected"), [("prod/redis", REDIS), ("prod/token", "from AWS")])
async def test_unions(pool: CredentialsPool, secret: str, expected: object) -> None:
    """A field that takes text as well as an object has the object if the text is one."""
    assert (await load_settings(Settings, pool, {"either": secret})).either == expected


JSON_FIELDS: dict[str, tuple[Any, str, object]] = {
    "Json of a mapping": (Json[dict[str, int]], '{"a": 1}', {"a": 1}),
    "Json of anything": (Json, '{"a": 1}', {"a": 1}),
    "Json of a sequence, with limits": (Annotated[Json[list[int]], Field(min_length=2)], "[1, 2]", [1, 2]),
    "Json or None": (Json[list[int]] | None, "[1, 2]", [1, 2]),
    "Json of one or another": (Json[list[int] | dict[str, int]], '{"a": 1}', {"a": 1}),
    "Json of one, or text": (Json[list[int]] | str, "[1, x]", "[1, x]"),
    "not decoded": (Annotated[list[str], NoDecode, BeforeValidator(str.split)], "[1 2]", ["[1", "2]"]),
    "mapping": (dict[str, int], '{"a": 1}', {"a": 1}),
    "mapping or None": (dict[str, int] | None, '{"a": 1}', {"a": 1}),
}


@pytest.mark.parametrize("name", JSON_FIELDS)
async def test_as_from_a_variable(
    pool: CredentialsPool, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A field has the same of a secret's text, or of a text in its JSON, as of a variable with that text."""
    kind, text, expected = JSON_FIELDS[name]
    model: Any = create_model("Model", __base__=BaseSettings, field=(kind, ...))
    stub.secrets |= {"text": text, "object": json.dumps({"key": text})}
    assert (await load_settings(model, pool, {"field": "text"})).field == expected
    if "Json" in name:
        assert (await load_settings(model, pool, {"field": ("object", "key")})).field == expected
    monkeypatch.setenv("FIELD", text)
    assert model().field == expected


@pytest.mark.parametrize("how", ["text", "manager", "manager of a dict", "variable"])
async def test_credentials(
    pool: CredentialsPool, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Credentials can be a field: of a manager's object, of a secret's text, of its mapping, or of a variable."""

    class Service(BaseSettings):
        database: DatabaseCredentials
        redis: RedisCredentials | None = None

    secrets: dict[str, Any] = {
        "text": {"database": "prod/database", "redis": "prod/token"},
        "manager": {
            "database": pool.manager("prod/database", decode=DatabaseCredentials.from_json),
            "redis": pool.manager("prod/token", decode=RedisCredentials.from_text),
        },
        "manager of a dict": {"database": pool.manager("prod/database"), "redis": ("prod/redis", "password")},
        "variable": {},
    }[how]
    if how == "variable":
        monkeypatch.setenv("DATABASE", stub.secrets["prod/database"])
        monkeypatch.setenv("REDIS", "from AWS")
    settings = await load_settings(Service, pool, secrets)
    database = DatabaseCredentials(username="app", password="from AWS", host="db.example", port=5432)
    assert (settings.database, settings.redis) == (database, RedisCredentials(password="from AWS"))
    assert "from AWS" not in f"{settings!r} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize("how", ["text", "manager", "variable"])
async def test_credentials_of_another_shape(
    pool: CredentialsPool, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A reader works in a manager, and beside the type of a field, for secrets and for variables."""
    read_url = DatabaseCredentials.reader(url=True)

    class Service(BaseSettings):
        database: Annotated[DatabaseCredentials, read_url]

    stub.secrets["prod/url"] = "mysql://app:from%20AWS@db.example"
    secrets: dict[str, Any] = {
        "text": {"database": "prod/url"},
        "manager": {"database": pool.manager("prod/url", decode=read_url)},
        "variable": {},
    }[how]
    if how == "variable":
        monkeypatch.setenv("DATABASE", stub.secrets["prod/url"])
    settings = await load_settings(Service, pool, secrets)
    assert settings.database == DatabaseCredentials(
        username="app", password="from AWS", engine="mysql", host="db.example"
    )


WRONG_CREDENTIALS: dict[str, tuple[object, str]] = {
    "not JSON": (VALUE, "database: The secret isn't JSON (secret 'x')."),
    "keys": (
        {"user": VALUE, VALUE: VALUE},
        "database: The secret has no 'username' and no 'password', or an empty one; it has 'user', not 'username'.",
    ),
    "port": ({**DATABASE, "port": VALUE}, "database: The secret's 'port' isn't a whole number from 1 to 65535 (secret"),
}


@pytest.mark.parametrize("wrong", WRONG_CREDENTIALS)
@pytest.mark.parametrize("how", ["text", "manager", "variable"])
async def test_wrong_credentials(
    pool: CredentialsPool, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, wrong: str, how: str
) -> None:
    """What is wrong with a field of credentials is told by the sentence that their own reader has."""

    class Service(BaseSettings):
        database: DatabaseCredentials

    given, says = WRONG_CREDENTIALS[wrong]
    stub.secrets["x"] = given if isinstance(given, str) else json.dumps(given)
    secrets: dict[str, Any] = {"text": {"database": "x"}, "manager": {"database": pool.manager("x", decode=read)}}
    if how == "variable":
        monkeypatch.setenv("DATABASE", stub.secrets["x"])
        says = says.partition(" (")[0]
    error = await refused(pool, Service, secrets.get(how, {}))
    assert str(error).startswith(f"Service can't be built: {says}")


async def test_many_problems(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """A long list of what is wrong is cut short, so that nobody has to read thousands of lines."""
    stub.secrets["x"] = json.dumps({"steps": [{"level": VALUE}] * 3_000})
    error = await refused(pool, Refusing, {"strict": "x", "needed": "prod/port"})
    assert "strict.steps.9.level: int_parsing (secret 'x'); and 2990 more. Asked" in str(error)


async def test_a_manager_of_bytes(pool: CredentialsPool) -> None:
    """A manager whose `decode` takes bytes gives a field what that makes of them."""
    manager = pool.manager("prod/token", decode=bytes.hex, binary=True)
    settings = await load_settings(Settings, pool, {"token": manager})
    assert settings.token.get_secret_value() == b"from AWS".hex()


async def test_a_plain_manager(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """A manager without a decoder gives its parsed JSON; it may be of another region, another pool or of none."""
    manager = AsyncCredentialsManager("prod/redis", "us-west-2", endpoint_url=stub.url)
    settings = await load_settings(Settings, pool, {"redis": manager})
    assert settings.redis.host == "redis.example"
    assert [request.region for request in stub.requests] == ["us-west-2"]


async def test_nested(pool: CredentialsPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path leads into a nested model, and what else that has comes from where it always does."""
    monkeypatch.setenv("REDIS__HOST", "from the environment")
    secrets = {"redis.password": ("prod/redis", "password"), "maybe.password": "prod/token"}
    settings = await load_settings(Settings, pool, secrets)
    assert settings.redis == Redis(host="from the environment", password=SecretStr("from AWS"))
    assert settings.maybe == Redis(password=SecretStr("from AWS"))


async def test_nothing(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """Without secrets it is what the class makes by itself, and nothing is fetched."""
    assert await load_settings(Settings, pool, {}) == Settings()
    assert stub.requests == []


# Who wins


@pytest.mark.parametrize(("environment", "expected"), [("wins", "from the environment"), ("loses", "from AWS")])
@pytest.mark.parametrize("where", ["variable", "dotenv", "secrets directory"])
async def test_environment(
    *,
    pool: CredentialsPool,
    stub: StubSecretsManager,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    environment: Literal["wins", "loses"],
    expected: str,
    where: str,
) -> None:
    """Variables, dotenv and secrets directory all win or all lose, as the caller says; it is fetched all the same."""
    if where == "variable":
        monkeypatch.setenv("TOKEN", "from the environment")
    (tmp_path / "token").write_text("from the environment")
    (tmp_path / ".env").write_text("token = 'from the environment'")
    init = {"dotenv": {"_env_file": tmp_path / ".env"}, "secrets directory": {"_secrets_dir": tmp_path}}.get(where, {})
    settings = await load_settings(Settings, pool, {"token": "prod/token"}, environment=environment, init=init)
    assert settings.token.get_secret_value() == expected
    assert calls(stub) == ["GetSecretValue"]


@pytest.mark.parametrize(("environment", "expected"), [("wins", "from the environment"), ("loses", "from AWS")])
async def test_environment_merges(
    pool: CredentialsPool,
    monkeypatch: pytest.MonkeyPatch,
    environment: Literal["wins", "loses"],
    expected: str,
) -> None:
    """In a nested model it is each field of its own that wins or loses."""
    monkeypatch.setenv("REDIS__PASSWORD", "from the environment")
    monkeypatch.setenv("REDIS__LABELS", '{"a": 1}')
    settings = await load_settings(Settings, pool, {"redis": "prod/redis"}, environment=environment)
    assert settings.redis == Redis(host="redis.example", password=SecretStr(expected), labels={"a": 1})


@pytest.mark.parametrize("environment", ["wins", "loses"])
async def test_arguments(pool: CredentialsPool, environment: Literal["wins", "loses"]) -> None:
    """What the caller gives as arguments wins over all."""
    init: dict[str, Any] = {"token": "mine", "redis": {"host": "mine"}, "maybe": Redis(host="mine")}
    secrets = {"token": "prod/token", "redis": "prod/redis", "maybe.password": "prod/token"}
    settings = await load_settings(Settings, pool, secrets, environment=environment, init=init)
    assert settings.token.get_secret_value() == "mine"
    assert settings.redis == Redis(host="mine", password=SecretStr("from AWS"))
    assert settings.maybe == Redis(host="mine")


class FileSource(InitSettingsSource):
    """A source of the service's own."""


@pytest.mark.parametrize(("environment", "expected"), [("wins", "from the environment"), ("loses", "from AWS")])
async def test_sources_of_its_own(
    pool: CredentialsPool,
    monkeypatch: pytest.MonkeyPatch,
    environment: Literal["wins", "loses"],
    expected: str,
) -> None:
    """A class that chooses its sources has them, in its order; the secrets join in where the caller says."""

    class Chosen(Settings):
        @classmethod
        def settings_customise_sources(cls, settings_cls: Any, **sources: Any) -> Sources:  # type: ignore[override]  # noqa: ANN401 - pydantic-settings' own types
            assert cls is Chosen
            return FileSource(settings_cls, {"port": 7, "token": "from a file"}), sources["env_settings"]

    monkeypatch.setenv("ENVIRONMENT", "from the environment")
    settings = await load_settings(
        Chosen,
        pool,
        {"environment": "prod/token", "port": "prod/port"},
        environment=environment,
        init={"token": "ignored"},
    )
    assert (settings.environment, settings.token.get_secret_value()) == (expected, "from a file")
    assert settings.port == (7 if environment == "wins" else 6543)


@pytest.mark.parametrize("environment", ["wins", "loses"])
async def test_environment_above_arguments(
    pool: CredentialsPool, monkeypatch: pytest.MonkeyPatch, environment: Literal["wins", "loses"]
) -> None:
    """Where a class puts the environment above the arguments, the secrets, below these, lose to it too."""

    class Turned(Settings):
        @classmethod
        def settings_customise_sources(cls, settings_cls: Any, **sources: Any) -> Sources:  # type: ignore[override]  # noqa: ANN401, ARG003 - pydantic-settings' own types
            return sources["env_settings"], sources["init_settings"], sources["dotenv_settings"]

    monkeypatch.setenv("TOKEN", "from the environment")
    settings = await load_settings(Turned, pool, {"token": "prod/token"}, environment=environment, init={"token": "a"})
    assert settings.token.get_secret_value() == "from the environment"


# Names


class Inner(BaseModel):
    """A nested model with aliases."""

    model_config = ConfigDict(populate_by_name=True)

    password: SecretStr = Field(SecretStr(""), alias="PassWord")


class Aliased(BaseSettings):
    """Fields that go by other names."""

    model_config = SettingsConfigDict(env_nested_delimiter="__")

    one: str = Field("", alias="uno")
    two: str = Field("", validation_alias=AliasChoices(AliasPath("zwei", 0), "due", "deux"))
    three: str = Field("", validation_alias=AliasPath("tre", 0))
    four: Inner = Field(Inner(), alias="quattro")


class Named(Aliased):
    """The same, by names too."""

    model_config = SettingsConfigDict(populate_by_name=True)


@pytest.mark.parametrize("model", [Aliased, Named])
@pytest.mark.parametrize("names", [("one", "two", "four.password"), ("uno", "deux", "quattro.PassWord")])
async def test_aliases(pool: CredentialsPool, model: type[Aliased], names: tuple[str, ...]) -> None:
    """A field is found by its name and by each alias, and pydantic takes what it is given."""
    settings = await load_settings(model, pool, dict.fromkeys(names, "prod/token"))
    assert (settings.one, settings.two, settings.four.password.get_secret_value()) == ("from AWS",) * 3


@pytest.mark.parametrize("model", [Aliased, Named])
@pytest.mark.parametrize("variable", ["UNO", "uno"])
@pytest.mark.parametrize(("environment", "expected"), [("wins", "from the environment"), ("loses", "from AWS")])
async def test_environment_of_aliases(
    *,
    pool: CredentialsPool,
    monkeypatch: pytest.MonkeyPatch,
    model: type[Aliased],
    variable: str,
    environment: Literal["wins", "loses"],
    expected: str,
) -> None:
    """Who wins doesn't depend on the name by which a field is given."""
    monkeypatch.setenv(variable, "from the environment")
    assert (await load_settings(model, pool, {"one": "prod/token"}, environment=environment)).one == expected


@pytest.mark.parametrize(
    ("model", "environment", "expected"),
    [
        (Aliased, "wins", "from the environment"),
        (Aliased, "loses", "from AWS"),
        (Named, "wins", "from the environment"),
    ],
)
async def test_nested_aliases(
    pool: CredentialsPool,
    monkeypatch: pytest.MonkeyPatch,
    model: type[Aliased],
    environment: Literal["wins", "loses"],
    expected: str,
) -> None:
    """Nor does it in a nested model."""
    monkeypatch.setenv("QUATTRO__PASSWORD", "from the environment")
    settings = await load_settings(model, pool, {"four.password": "prod/token"}, environment=environment)
    assert settings.four.password.get_secret_value() == expected


async def test_environment_by_name(pool: CredentialsPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins by a field's name too, though pydantic prefers the alias of two that are given."""
    monkeypatch.setenv("ONE", "from the environment")
    assert (await load_settings(Named, pool, {"uno": "prod/token"})).one == "from the environment"
    settings = await load_settings(Named, pool, {"uno": "prod/token"}, environment="loses", init={"one": "mine"})
    assert settings.one == "mine"


# What can't work


async def test_fetched_at_once(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """Several secrets are one batch call, one for several fields is fetched once; a single one needs no batch."""
    secrets = {"redis": "prod/redis", "maybe": "prod/redis", "token": "prod/token", "port": "prod/port"}
    await load_settings(Settings, pool, secrets)
    assert calls(stub) == ["BatchGetSecretValue"]
    await load_settings(Settings, pool, {"hosts": "prod/hosts"})
    assert calls(stub) == ["BatchGetSecretValue", "GetSecretValue"]


async def test_managers_at_once(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """Managers are asked while the batch is under way."""
    gate = asyncio.Event()
    for _ in range(3):
        stub.answer(gate=gate)
    managers = {"redis": pool.manager("prod/redis"), "maybe": pool.manager("prod/redis", "us-west-2")}
    call = asyncio.create_task(load_settings(Settings, pool, {"token": "prod/token", "port": "prod/port", **managers}))
    await stub.arrival(3)
    gate.set()
    assert (await call).redis.host == "redis.example"
    assert sorted(calls(stub)) == ["BatchGetSecretValue", "GetSecretValue", "GetSecretValue"]


async def test_a_pool_without_a_cache(stub: StubSecretsManager) -> None:
    """A pool that keeps nothing fetches each secret by itself."""
    stub.secrets |= {"prod/token": "from AWS", "prod/port": "1"}
    async with CredentialsPool("eu-west-1", endpoint_url=stub.url, policy=None) as pool:
        settings = await load_settings(Settings, pool, {"token": "prod/token", "port": "prod/port"})
    assert (settings.token.get_secret_value(), settings.port) == ("from AWS", 1)
    assert calls(stub) == ["GetSecretValue"] * 2


@pytest.mark.parametrize(
    ("model", "place"),
    [
        (Settings, "password"),
        (Settings, "redis.pasword"),
        (Settings, "token.value"),
        (Settings, "hosts.0"),
        (Settings, ""),
        (Aliased, "three"),
        (Aliased, "tre"),
    ],
)
async def test_unknown_fields(
    pool: CredentialsPool, stub: StubSecretsManager, model: type[BaseSettings], place: str
) -> None:
    """A field that isn't there, or can't be given a value, is refused by name, before anything is fetched."""
    with pytest.raises(ValueError, match=f"{model.__name__} has no field '{place}'"):
        await load_settings(
            model, pool, {"token": "prod/token", place: "prod/token"} if model is Settings else {place: "x"}
        )
    assert stub.requests == []


@pytest.mark.parametrize(
    ("model", "places"),
    [(Settings, ("redis", "redis.password")), (Settings, ("redis.password", "redis")), (Aliased, ("one", "uno"))],
)
async def test_a_field_twice(pool: CredentialsPool, model: type[BaseSettings], places: tuple[str, str]) -> None:
    """A field that is given twice is refused, since one would be lost without a word."""
    with pytest.raises(ValueError, match=f"'{places[1]}' is given twice"):
        await load_settings(model, pool, dict.fromkeys(places, "prod/token"))


@pytest.mark.parametrize("secret", [None, 5, ("prod/redis",), ("prod/redis", 5), ("a", "b", "c"), {"name": "x"}])
async def test_bad_sources(pool: CredentialsPool, secret: Any) -> None:  # noqa: ANN401 - what no type checker lets pass
    """What is no secret is refused with what to give instead, without showing it."""
    with pytest.raises(TypeError, match="For 'token' give a secret's name, or"):
        await load_settings(Settings, pool, {"token": secret})


async def test_bad_arguments(pool: CredentialsPool) -> None:
    """An empty name, and a word that isn't one of the two, are refused."""
    with pytest.raises(ValueError, match="secret_name is empty"):
        await load_settings(Settings, pool, {"token": ""})
    with pytest.raises(ValueError, match="environment is 'sometimes': give 'wins' or 'loses'"):
        await load_settings(Settings, pool, {}, environment="sometimes")  # type: ignore[arg-type]


# What can't be fetched


async def test_missing(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """All secrets that can't be fetched are told in one group, whether there is one of them or many."""
    for _ in range(2):
        stub.error("ResourceNotFoundException")
    with pytest.raises(ExceptionGroup) as caught:
        await load_settings(Settings, pool, {"token": "prod/token", "redis": pool.manager("prod/redis")})
    assert caught.value.message == "2 of 2 secrets could not be fetched"
    assert {error.secret_name for error in caught.value.exceptions if isinstance(error, SecretNotFoundError)} == {
        "prod/token",
        "prod/redis",
    }


async def test_missing_in_a_batch(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """What a batch lacks is told, and not asked again."""
    errors = [{"SecretId": name, "ErrorCode": "ResourceNotFoundException", "Message": "No."} for name in ("a", "b")]
    stub.answer(body={"SecretValues": [], "Errors": errors})
    with pytest.raises(ExceptionGroup, match="2 of 2 secrets") as caught:
        await load_settings(Settings, pool, {"token": "a", "port": "b"})
    assert [type(error).__name__ for error in caught.value.exceptions] == ["SecretNotFoundError"] * 2
    assert calls(stub) == ["BatchGetSecretValue"]


@pytest.mark.parametrize("names", [["prod/token"], ["prod/token", "prod/port"]])
async def test_closed(pool: CredentialsPool, names: list[str]) -> None:
    """A pool that is closed is told by itself."""
    await pool.aclose()
    with pytest.raises(PoolClosedError):
        await load_settings(Settings, pool, dict(zip(("token", "port"), names, strict=False)))


async def test_cancelled(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """Who is cancelled leaves no task behind, and what came in meanwhile isn't in the frames."""
    stub.secrets["prod/redis"] = json.dumps({"password": VALUE})
    stub.handler = lambda request: Answer(action="hang" if request.body["SecretId"] == "prod/token" else "answer")
    secrets = {"redis": pool.manager("prod/redis"), "token": "prod/token"}
    call = asyncio.create_task(load_settings(Settings, pool, secrets))
    await stub.arrival(2)
    while not pool.stats().entries:  # noqa: ASYNC110 (nothing tells that it has come in)
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert_silent(of_error(caught.value))


# What is wrong with the values: told, and not shown


class Strict(BaseModel):
    """A nested model that is particular."""

    model_config = ConfigDict(extra="forbid")

    host: Literal["here", "there"] = "here"
    level: int = 0
    marks: dict[str, int] = {}
    steps: list[Strict] = []
    name: str = ""

    @field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        """Refuse, with the value in the message."""
        if name:
            raise ValueError(name)
        return name


@dataclass(frozen=True)
class Point:
    """A dataclass as a field."""

    x: int
    strict: Strict | None = None


class Marks(RootModel[dict[str, int]]):
    """A model that is a mapping."""


class Refusing(BaseSettings):
    """Settings with all that may be wrong."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", strict=False)

    strict: Strict = Strict()
    point: Point | None = None
    marks: Marks = Marks({})
    either: int | bool = 0
    custom: str = ""
    raises: str = ""
    both: str = ""
    count: Annotated[int, Field(gt=0)] = 1
    needed: int

    @field_validator("custom")
    @classmethod
    def customise(cls, value: str) -> str:
        """Refuse, with the value in the message and in the context."""
        if value:
            raise PydanticCustomError("not_custom", "{value} isn't", {"value": value})
        return value

    @field_validator("raises")
    @classmethod
    def fail(cls, value: str) -> str:
        """Fail in a way that isn't pydantic's."""
        return {"": value}[value]

    @model_validator(mode="after")
    def look(self) -> Refusing:
        """Refuse the whole, with a value in the message."""
        if self.both:
            raise ValueError(f"{self.both} and {self!r}")
        return self


DEEP = "[" * 100_000 + VALUE
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({}, "needed: missing."),
    "type": ({"needed": VALUE}, "needed: int_parsing (secret 'x')."),
    "limit": ({"count": "-1"}, "count: greater_than (secret 'x'); needed: missing."),
    "not JSON": ({"strict": VALUE}, "strict: not JSON (secret 'x')."),
    "too deep": ({"strict": DEEP}, "strict: not JSON (secret 'x')."),
    "not an object": ({"strict": [VALUE]}, "strict: model_type (secret 'x'); needed: missing."),
    "union": (
        {"either": VALUE},
        "either.int: int_parsing (secret 'x'); either.bool: bool_parsing (secret 'x'); needed: missing.",
    ),
    "literal": ({"strict": {"host": VALUE}}, "strict.host: literal_error (secret 'x'); needed: missing."),
    "extra key": ({"strict": {VALUE: 1}}, "strict.*: extra_forbidden (secret 'x'); needed: missing."),
    "key of a mapping": ({"strict": {"marks": {VALUE: "x"}}}, "strict.marks.*: int_parsing (secret 'x'); "),
    "key of a root": ({"marks": {VALUE: "x"}}, "marks.*: int_parsing (secret 'x'); "),
    "index": ({"strict": {"steps": [{}, {"level": VALUE}]}}, "strict.steps.1.level: int_parsing (secret 'x'); "),
    "validator": ({"strict": {"name": VALUE}}, "strict.name: value_error (secret 'x'); "),
    "dataclass": ({"point": {"x": VALUE}}, "point.x: int_parsing (secret 'x'); "),
    "in a dataclass": (
        {"point": {"x": 1, "strict": {"level": VALUE}}},
        "point.strict.level: int_parsing (secret 'x'); ",
    ),
    "custom": ({"custom": VALUE}, "custom: not_custom (secret 'x'); needed: missing."),
    "another error": ({"raises": VALUE, "needed": "1"}, "all: KeyError (secret 'x')."),
    "the whole": ({"both": VALUE, "needed": "1"}, "all: value_error (secret 'x')."),
    "a part": ({"strict.level": VALUE}, "strict.level: int_parsing (secret 'x'); needed: missing."),
}


async def refused(pool: CredentialsPool, *args: Any, **options: Any) -> CredentialsError:  # noqa: ANN401 - of load_settings
    """Return the error, when all that can be printed of it, and all that is logged, was searched for the value."""
    with LogKeeper() as logs, pytest.raises(SecretFormatError) as caught:
        await load_settings(args[0], pool, *args[1:], **options)
    assert caught.value.__traceback__ is not None
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)  # this frame has the caller's arguments
    assert (error.__cause__, error.__context__) == (None, None)
    assert_silent(of_error(error))
    assert_silent(iter(logs.texts))
    return error


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("how", ["text", "key", "manager", "environment", "argument"])
async def test_refused(
    pool: CredentialsPool, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch, wrong: str, how: str
) -> None:
    """What can't be built is told by field, pydantic's word and secret, wherever the value came from, and not shown."""
    fields, expected = WRONG[wrong]
    secrets: dict[str, Any] = {}
    init: dict[str, Any] = {}
    for number, (name, value) in enumerate(fields.items()):
        text = value if isinstance(value, str) else json.dumps(value)
        secret = f"x{number or ''}"
        stub.secrets[secret] = json.dumps({"key": value}) if how == "key" else text
        sources = {"text": secret, "key": (secret, "key"), "manager": pool.manager(secret, decode=read)}
        if how in sources:
            secrets[name] = sources[how]
        elif how == "environment":
            monkeypatch.setenv(name.replace(".", "__").upper(), text)
        else:
            init |= {"strict": {"level": value}} if name == "strict.level" else {name: value}
    if how in {"environment", "argument"}:
        expected = expected.replace(" (secret 'x')", "")
    if "not JSON" in expected and how != "text":
        unreadable = "all: RecursionError" if wrong == "too deep" else "strict: unreadable in EnvSettingsSource"
        expected = unreadable if how == "environment" else "strict: model_type"
    error = await refused(pool, Refusing, secrets, init=init)
    told = str(error).replace(", 'x1'", "")  # what is wrong with the whole may be any of its parts
    assert told.startswith(f"Refusing can't be built: {expected}")
    assert told.endswith("left out here on purpose.")
    assert error.secret_name == ("x" if "(secret 'x')" in str(error) else None)


def read(text: str) -> Any:  # noqa: ANN401 - JSON has no better type
    """Decode JSON where it is some."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@pytest.mark.parametrize(
    ("field", "secret", "expected"),
    [
        ("custom", ("array", "key"), "custom: no JSON key 'key' (secret 'array')."),
        ("custom", ("object", "key"), "custom: no JSON key 'key' (secret 'object')."),
        ("custom", ("text", "key"), "custom: not JSON (secret 'text')."),
        ("custom", "binary", "custom: not text (secret 'binary')."),
        ("strict.steps", "binary", "strict.steps: not JSON (secret 'binary')."),
        ("either", "binary", "either: not text (secret 'binary')."),
    ],
)
async def test_unreadable(
    pool: CredentialsPool, stub: StubSecretsManager, field: str, secret: str | tuple[str, str], expected: str
) -> None:
    """A secret that hasn't what is asked of it is told, and that before anything is built."""
    stub.secrets |= {"array": json.dumps([VALUE]), "object": json.dumps({VALUE: VALUE}), "text": VALUE}
    if secret == "binary":
        answer = stub._value(stub_request("binary"), "binary")
        del answer["SecretString"]
        stub.answer(body=answer | {"SecretBinary": "/////w=="})
    error = await refused(pool, Refusing, {field: secret})
    assert str(error).startswith(f"Refusing can't be built: {expected} Asked: secret")


def stub_request(name: str) -> Request:
    """Make a request, for the stub's own answers."""
    return Request("GetSecretValue", {"SecretId": name}, {}, 1)


async def test_several_secrets(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """Each problem names its own secret, and the error names one only if there is one to blame."""
    stub.secrets |= {"a": VALUE, "b": VALUE}
    error = await refused(pool, Refusing, {"strict.level": "a", "strict.name": "b", "needed": "prod/port"})
    told = "strict.level: int_parsing (secret 'a'); strict.name: value_error (secret 'b')"
    assert str(error).startswith(f"Refusing can't be built: {told}. Compare")
    assert error.secret_name is None
    error = await refused(pool, Refusing, {"strict.level": "a", "needed": "prod/port"})
    assert (error.secret_name, error.args) == ("a", (str(error),))


async def test_unexpected_settings_error(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """A source of the class's own may fail as it likes: by its kind it is told."""

    class Failing(Refusing):
        @classmethod
        def settings_customise_sources(cls, settings_cls: Any, **sources: Any) -> Sources:  # type: ignore[override]  # noqa: ANN401, ARG003 - pydantic-settings' own types
            raise SettingsError(VALUE)

    stub.secrets["x"] = VALUE
    assert str(await refused(pool, Failing, {"custom": "x"})).startswith("Failing can't be built: all: SettingsError (")


async def test_logs_of_pydantic_settings(
    pool: CredentialsPool, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library can log what each source gives: ours gives names."""
    monkeypatch.setenv("PYDANTIC_SETTINGS_DEBUG", "1")
    logging.getLogger("pydantic_settings").setLevel(logging.DEBUG)
    stub.secrets |= {"x": VALUE, "y": json.dumps({"password": VALUE})}
    with LogKeeper() as logs:
        settings = await load_settings(Settings, pool, {"token": "x", "redis": "y"})
    assert settings.token.get_secret_value() == VALUE
    assert_silent(iter(logs.texts))


def test_the_sources_repr() -> None:
    """The source that a class's own sources may meet shows nothing."""
    source = _SecretsManagerSource(Settings, [])
    assert repr(source) == "SecretsManagerSource()"
    assert repr(_Masked({"token": VALUE})) == "<values of token>"


async def test_nothing_stays(pool: CredentialsPool, stub: StubSecretsManager) -> None:
    """What pydantic raised, which has the input, is gone with the call; the class has no subclass more."""
    stub.secrets["x"] = VALUE
    error = await refused(pool, Refusing, {"needed": "x"})
    gc.collect()
    assert error is not None
    assert not [one for one in gc.get_objects() if isinstance(one, ValidationError)]
    assert Refusing.__subclasses__() == []
