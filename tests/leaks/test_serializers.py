"""Serializers and dumpers never write a password: they write a mask, or refuse the object."""

from __future__ import annotations

import copyreg
import dataclasses
import inspect
import io
import json
import logging
import pickle
import pprint
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

from aiocredentials import DatabaseCredentials, RedisCredentials
from leaks.canary import VALUE, assert_silent, leaked, of_error

if TYPE_CHECKING:
    from collections.abc import Callable

    Credentials = DatabaseCredentials | RedisCredentials

CREDENTIALS: dict[str, Credentials] = {
    "database": DatabaseCredentials(username="app", password=VALUE, host="db.example"),
    "redis": RedisCredentials(username="app", password=VALUE),
}


def in_logging(thing: Credentials) -> str:
    """Log it as an extra field, formatted by python-json-logger."""
    module: Any = pytest.importorskip("pythonjsonlogger.json")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(module.JsonFormatter())
    record = logging.makeLogRecord({"msg": "connecting", "credentials": thing})
    handler.handle(record)
    return stream.getvalue()


def in_structlog(serializer: Callable[..., Any]) -> Any:  # noqa: ANN401 (text or bytes)
    """Return a function that logs it by structlog's JSON renderer, with a serializer."""

    def render(thing: Credentials) -> Any:  # noqa: ANN401 (the same)
        structlog: Any = pytest.importorskip("structlog")
        renderer = structlog.processors.JSONRenderer(serializer=serializer)
        return renderer(None, "info", {"credentials": thing})

    return render


def orjson_dumps(thing: object, **options: Any) -> bytes:  # noqa: ANN401 (orjson's)
    """Write it by orjson."""
    orjson: Any = pytest.importorskip("orjson", reason="orjson has no wheel for this Python")
    if options.pop("passthrough", False):
        options["option"] = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
    written: bytes = orjson.dumps(thing, **options)
    return written


def msgspec(name: str) -> Callable[[Credentials], object]:
    """Return a function of msgspec's."""

    def call(thing: Credentials) -> object:
        module: Any = pytest.importorskip("msgspec")
        for part in name.split("."):
            module = getattr(module, part)
        return module(thing)

    return call


def model_of(thing: Credentials) -> Any:  # noqa: ANN401 (a model made here)
    """Make a pydantic model that has it as a field."""
    pydantic: Any = pytest.importorskip("pydantic")
    model = pydantic.create_model("Model", credentials=(type(thing), ...))
    return model(credentials=thing)


def root_of(thing: Credentials) -> Any:  # noqa: ANN401 (a model made here)
    """Make a root model of it."""
    pydantic: Any = pytest.importorskip("pydantic")
    return pydantic.RootModel[type(thing)](thing)


def adapter_of(thing: Credentials) -> Any:  # noqa: ANN401 (an adapter made here)
    """Make a type adapter for its class."""
    pydantic: Any = pytest.importorskip("pydantic")
    return pydantic.TypeAdapter(type(thing))


def untyped(thing: Credentials) -> Any:  # noqa: ANN401 (a model made here)
    """Make a model whose field may be anything."""
    pydantic: Any = pytest.importorskip("pydantic")
    return pydantic.create_model("Model", credentials=(Any, ...))(credentials=thing)


def from_fastapi(thing: Credentials, *, declared: bool) -> str:
    """Answer a request with it: as an annotated result, or as a part of one that isn't."""
    fastapi: Any = pytest.importorskip("fastapi")
    testclient: Any = pytest.importorskip("fastapi.testclient")
    app = fastapi.FastAPI()

    def route() -> object:
        return thing if declared else {"credentials": thing}

    app.add_api_route("/", route, response_model=type(thing) if declared else None)
    answer = testclient.TestClient(app).get("/")
    return f"{answer.status_code} {answer.headers} {answer.text}"


def fastapi_encoded(thing: Credentials) -> object:
    """Encode it as FastAPI does with what isn't a response."""
    return pytest.importorskip("fastapi.encoders").jsonable_encoder({"credentials": thing})


def litestar_encoded(thing: Credentials) -> object:
    """Encode it as Litestar does with what a handler returns."""
    module: Any = pytest.importorskip("litestar.serialization")
    return module.encode_json({"credentials": thing}, module.default_serializer)


def quart_encoded(thing: Credentials) -> object:
    """Encode it as Quart does with what a route returns."""
    quart: Any = pytest.importorskip("quart")
    return quart.Quart(__name__).json.dumps({"credentials": thing})


def by_attrs(thing: Any) -> object:  # noqa: ANN401 (of no class that attrs made)
    """Write it as attrs does with its own classes."""
    return pytest.importorskip("attr").asdict(thing)


def by_rich(thing: Credentials) -> str:
    """Print it by rich: its repr, and the table of its attributes."""
    console: Any = pytest.importorskip("rich.console")
    rich: Any = pytest.importorskip("rich")
    pretty: Any = pytest.importorskip("rich.pretty")
    printed = console.Console(file=io.StringIO(), width=4_000)
    rich.inspect(thing, console=printed, all=True, docs=False)
    return f"{printed.file.getvalue()} {pretty.pretty_repr({'a': thing})}"


def by_slots(thing: object, depth: int = 4) -> list[str]:
    """Print what the slots of its classes hold, and what these hold, as picklers for JSON do."""
    names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    held = [getattr(thing, name, None) for name in names if not name.startswith("__")]
    return [repr(one) for one in held] + [text for one in held if depth for text in by_slots(one, depth - 1)]


def attributes(thing: object) -> str:
    """Print all attributes that it says it has."""
    return repr(inspect.getmembers(thing))


# What each makes of credentials: their repr with its mask, an error, or something without either.
SERIALIZERS: dict[str, tuple[Callable[[Any], object], Literal["mask", "refused", "nothing"]]] = {
    "repr": (repr, "mask"),
    "pprint": (pprint.pformat, "mask"),
    "rich": (by_rich, "mask"),
    "attributes": (attributes, "nothing"),
    "slots": (by_slots, "nothing"),
    "vars": (vars, "refused"),
    "dict": (dict, "refused"),
    "dataclasses.asdict": (dataclasses.asdict, "refused"),
    "dataclasses.astuple": (dataclasses.astuple, "refused"),
    "attrs": (by_attrs, "refused"),
    "pickle": (pickle.dumps, "refused"),
    "pickle, in Python": (vars(pickle)["_dumps"], "refused"),
    "copyreg": (lambda thing: copyreg.__reduce_ex__(thing, 1), "refused"),
    "object's own reduce": (lambda thing: object.__reduce_ex__(thing, 2), "nothing"),
    "json": (json.dumps, "refused"),
    "json by str": (lambda thing: json.dumps(thing, default=str), "mask"),
    "json by repr": (lambda thing: json.dumps(thing, default=repr), "mask"),
    "json by vars": (lambda thing: json.dumps(thing, default=vars), "refused"),
    "json by __dict__": (lambda thing: json.dumps(thing, default=lambda one: one.__dict__), "refused"),
    "python-json-logger": (in_logging, "mask"),
    "structlog": (in_structlog(json.dumps), "mask"),
    "structlog with orjson": (in_structlog(orjson_dumps), "mask"),
    "orjson": (orjson_dumps, "refused"),
    "orjson, dataclasses passed through": (lambda thing: orjson_dumps(thing, passthrough=True), "refused"),
    "orjson by str": (lambda thing: orjson_dumps(thing, default=str), "mask"),
    "orjson by repr": (lambda thing: orjson_dumps([thing], default=repr, passthrough=True), "mask"),
    "orjson by vars": (lambda thing: orjson_dumps(thing, default=vars), "refused"),
    "msgspec: JSON": (msgspec("json.encode"), "refused"),
    "msgspec: MessagePack": (msgspec("msgpack.encode"), "refused"),
    "msgspec: to_builtins": (msgspec("to_builtins"), "refused"),
    "msgspec: structs.asdict": (msgspec("structs.asdict"), "refused"),
    "pydantic: repr": (lambda thing: repr(model_of(thing)), "mask"),
    "pydantic: str": (lambda thing: str(model_of(thing)), "mask"),
    "pydantic: pretty": (lambda thing: list(model_of(thing).__pretty__(repr)), "mask"),
    "pydantic: rich": (lambda thing: by_rich(model_of(thing)), "mask"),
    "pydantic: model_dump": (lambda thing: model_of(thing).model_dump(), "mask"),
    "pydantic: model_dump for JSON": (lambda thing: model_of(thing).model_dump(mode="json"), "mask"),
    "pydantic: model_dump_json": (lambda thing: model_of(thing).model_dump_json(), "mask"),
    "pydantic: dump of a root": (lambda thing: root_of(thing).model_dump_json(), "mask"),
    "pydantic: repr of a root": (lambda thing: repr(root_of(thing)), "mask"),
    "pydantic: adapter to Python": (lambda thing: adapter_of(thing).dump_python(thing), "mask"),
    "pydantic: adapter to JSON": (lambda thing: adapter_of(thing).dump_json(thing), "mask"),
    "pydantic: any field": (lambda thing: untyped(thing).model_dump(), "mask"),
    "pydantic: any field to JSON": (lambda thing: untyped(thing).model_dump_json(), "refused"),
    "pydantic: copied": (lambda thing: repr(model_of(thing).model_copy(deep=True)), "mask"),
    "pydantic: pickled": (lambda thing: pickle.dumps(model_of(thing)), "refused"),
    "fastapi: encoder": (fastapi_encoded, "refused"),
    "fastapi: declared answer": (lambda thing: from_fastapi(thing, declared=True), "mask"),
    "fastapi: any answer": (lambda thing: from_fastapi(thing, declared=False), "refused"),
    "litestar": (litestar_encoded, "refused"),
    "quart": (quart_encoded, "refused"),
}


def written_by(serialize: Callable[[Any], object], thing: object) -> str | Exception:
    """Return what it writes, as text; or how it refuses."""
    try:
        written = serialize(thing)
    except Exception as error:  # noqa: BLE001 (each library has its own way to refuse)
        return error
    return written.decode("latin-1") if isinstance(written, bytes) else str(written)


@pytest.mark.parametrize("name", SERIALIZERS)
@pytest.mark.parametrize("kind", CREDENTIALS)
def test_serializers(kind: str, name: str) -> None:
    """Whatever writes credentials writes a mask for the password, or refuses them without showing it."""
    serialize, expected = SERIALIZERS[name]
    written = written_by(serialize, CREDENTIALS[kind])
    if isinstance(written, Exception):
        assert expected == "refused", written
        assert_silent(of_error(written))
    else:
        assert leaked(written) is None
        assert expected in {"mask", "nothing"}
        assert expected == "nothing" or "password=***" in written


def test_the_serializers_find_dataclasses() -> None:
    """Most of these serializers write a dataclass in full, so they would show a password in one."""

    @dataclass
    class Careless:
        username: str
        password: str

    careless = Careless(username="app", password=VALUE)
    written = [written_by(serialize, careless) for serialize, _ in SERIALIZERS.values()]
    assert sum(isinstance(one, str) and leaked(one) is not None for one in written) >= 30
