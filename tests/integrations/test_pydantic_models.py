"""Credentials as fields of pydantic models: made of an object, a text or a mapping, and never shown."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, ValidationError, validate_call

from aiocredentials import DatabaseCredentials, RedisCredentials
from leaks.canary import VALUE, leaked, of_object

DATABASE = {"username": "app", "password": VALUE, "host": "db.example:5433", "dbInstanceIdentifier": "i"}
REDIS = {"username": "app", "auth_token": VALUE, "user_arn": "arn:aws:elasticache"}
CREDENTIALS = DatabaseCredentials(username="app", password=VALUE, host="db.example", port=5433)
TOKEN = RedisCredentials(username="app", password=VALUE)


class Service(BaseModel):
    """What a service is told."""

    model_config = ConfigDict(frozen=True)

    database: DatabaseCredentials
    redis: Annotated[RedisCredentials | None, Field(description="The cache")] = None


GIVEN: dict[str, dict[str, Any]] = {
    "objects": {"database": CREDENTIALS, "redis": TOKEN},
    "texts": {"database": json.dumps(DATABASE), "redis": json.dumps(REDIS)},
    "mappings": {"database": DATABASE, "redis": REDIS},
    "other mappings": {"database": MappingProxyType(DATABASE), "redis": MappingProxyType(REDIS)},
}


@pytest.mark.parametrize("given", GIVEN)
def test_fields(given: str) -> None:
    """A field takes an object, the text of a secret, or a mapping with a secret's keys, and reads them alike."""
    service = Service(**GIVEN[given])
    assert (service.database, service.redis) == (CREDENTIALS, TOKEN)
    assert service == Service(database=CREDENTIALS, redis=TOKEN)
    assert hash(service) == hash(Service(database=CREDENTIALS, redis=TOKEN))
    assert repr(service).startswith("Service(database=DatabaseCredentials(username='app', password=***, ")


def test_json() -> None:
    """JSON is read in the same way, where a secret is an object in it and where it is a text."""
    given = [{"database": DATABASE, "redis": REDIS}, {"database": json.dumps(DATABASE), "redis": json.dumps(REDIS)}]
    for each in given:
        service = Service.model_validate_json(json.dumps(each))
        assert (service.database, service.redis) == (CREDENTIALS, TOKEN)


def test_the_object_itself() -> None:
    """An object isn't copied, and a dump for Python has it again, so what is dumped can be validated."""
    service = Service(database=CREDENTIALS)
    assert service.database is CREDENTIALS
    assert service.model_copy(deep=True).database is CREDENTIALS
    dumped = service.model_dump()
    assert dumped == {"database": CREDENTIALS, "redis": None}
    assert Service.model_validate(dumped) == service


def test_a_subclass_stays_one() -> None:
    """A subclass is an object of its parent's field, and a field of its own type reads into it."""

    class Child(DatabaseCredentials):
        """Adds nothing."""

    child = Child(username="app", password=VALUE)
    assert Service(database=child).database is child
    read = TypeAdapter(Child).validate_python(DATABASE)
    assert type(read) is Child


def test_dumps_for_json() -> None:
    """A dump for JSON is the repr, and nobody can take it for credentials again: its password is a mask."""
    service = Service(database=CREDENTIALS, redis=TOKEN)
    dumped = service.model_dump(mode="json")
    assert dumped == {"database": repr(CREDENTIALS), "redis": repr(TOKEN)}
    assert json.loads(service.model_dump_json()) == dumped
    with pytest.raises(ValidationError) as caught:
        Service.model_validate_json(service.model_dump_json())
    says = "This is a dump, which has a mask in place of the password."
    assert [(each["loc"], each["msg"]) for each in caught.value.errors()] == [(("database",), says), (("redis",), says)]


def test_a_model_that_nobody_validated() -> None:
    """Even what `model_construct` put in the place of credentials isn't written as JSON."""
    unread: Any = DATABASE
    service = Service.model_construct(database=unread)
    assert json.loads(service.model_dump_json(warnings=False)) == {"database": "***", "redis": None}


WRONG: dict[str, tuple[Any, str]] = {
    "text": (VALUE, "The secret isn't JSON."),
    "empty": ({}, "The secret has no 'username' and no 'password', or an empty one."),
    "another name": (
        {"user": VALUE, "password": VALUE},
        "no 'username', or an empty one; it has 'user', not 'username'.",
    ),
    "port": ({**DATABASE, "port": VALUE}, "The secret's 'port' isn't a whole number from 1 to 65535."),
    "number": (8_675_309, "This is neither DatabaseCredentials nor the text or the mapping of a secret."),
    "bytes": (VALUE.encode(), "This is neither DatabaseCredentials nor the text"),
    "the other class": (TOKEN, "This is neither DatabaseCredentials nor the text"),
    "keys that are no text": ({5: VALUE, VALUE: VALUE}, "The secret has no 'username' and no 'password'"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("model", ["field", "root", "adapter"])
def test_wrong_inputs(wrong: str, model: str) -> None:
    """An error says by our own sentence what is wrong; its input, also where it is asked for, is a mask."""
    given, says = WRONG[wrong]
    validate = {
        "field": lambda: Service(database=given),
        "root": lambda: RootModel[DatabaseCredentials](given),
        "adapter": lambda: TypeAdapter(DatabaseCredentials).validate_python(given),
    }[model]
    with pytest.raises(ValidationError) as caught:
        validate()
    (details,) = caught.value.errors()
    assert says in details["msg"]
    assert (details["type"], details["input"]) == ("aiocredentials_format", "***")
    assert details["loc"] == (("database",) if model == "field" else ())
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    for shown in (str(caught.value), caught.value.json(), repr(caught.value.errors()), repr(caught.value)):
        assert leaked(shown) is None
        assert "8675309" not in shown
    for _, shown in of_object(caught.value):
        assert leaked(shown) is None


def test_wrong_redis() -> None:
    """The same for Redis: a URL is no token, and it isn't shown."""
    with pytest.raises(ValidationError, match="The secret is a URL") as caught:
        TypeAdapter(RedisCredentials).validate_python(f"redis://:{VALUE}@host:6379/0")
    assert leaked(str(caught.value)) is None


def test_json_schema() -> None:
    """A JSON schema can be made: what is read is an object or a text, what is written a text."""
    read = TypeAdapter(RedisCredentials).json_schema()
    assert read == {"title": "RedisCredentials", "type": ["object", "string"], "writeOnly": True}
    written = Service.model_json_schema(mode="serialization")["properties"]["database"]
    assert written == {"title": "DatabaseCredentials", "type": "string"}


URL = f"postgresql://app:{quote(VALUE, safe='')}@db.example:5433"


class Shaped(BaseModel):
    """A service whose secrets have other shapes."""

    model_config = ConfigDict(frozen=True)

    database: Annotated[DatabaseCredentials, DatabaseCredentials.reader(url=True)]
    redis: Annotated[RedisCredentials, RedisCredentials.reader(username="user", password="pass")] | None = None


def test_readers() -> None:
    """A reader beside the type of a field reads its values; objects stay as they are, and errors have a mask."""
    keys = {"user": "app", "pass": VALUE}
    for redis in (keys, json.dumps(keys), TOKEN):
        shaped = Shaped.model_validate({"database": URL, "redis": redis})
        assert (shaped.database.password, shaped.database.port) == (VALUE, 5433)
        assert shaped.redis == TOKEN
        assert "***" in json.loads(shaped.model_dump_json())["database"]
    assert Shaped.model_json_schema(mode="serialization")["properties"]["database"]["type"] == "string"

    for wrong in ({"url": URL}, VALUE):
        with pytest.raises(ValidationError, match=r"isn't a URL|should be a URL") as caught:
            Shaped.model_validate({"database": wrong})
        for _, shown in of_object(caught.value):
            assert leaked(shown) is None


def test_arguments() -> None:
    """A function that pydantic validates takes them, too."""

    @validate_call
    def user_of(credentials: DatabaseCredentials) -> str:
        return credentials.username

    unread: Any = DATABASE
    assert user_of(CREDENTIALS) == user_of(unread) == "app"
