"""Read credentials from secrets of other shapes: other keys, nested objects, URLs.

As in `_formats`, the functions that hold the value of a secret raise no error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, Self, TypeVar, cast

from aiocredentials._formats import (
    REDIS_PASSWORDS,
    Format,
    Found,
    filled,
    host_and_port,
    missing_keys,
    port_of,
    text_of,
    unicode_of,
    wrong_in_database,
    wrong_in_redis,
)
from aiocredentials._url_fields import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias

    from aiocredentials._formats import Data, Fields, Reading

    Names: TypeAlias = tuple[str, ...]
    GivenNames: TypeAlias = str | Sequence[str]


class Kind(NamedTuple):
    """What distinguishes readers of databases from readers of Redis."""

    keys: tuple[tuple[str, Names], ...]
    """All fields, each with the keys that are read if the caller names none."""
    required: Names
    """The fields without which there are no credentials."""
    has_server: bool
    """Whether the fields say where the server is."""
    wrong: Callable[[Fields, Mapping[str, str]], str | None]
    """Checks the values of the fields."""


_DATABASE_FIELDS = ("username", "password", "engine", "host", "port", "dbname")

DATABASE = Kind(
    keys=tuple((field, (field,)) for field in _DATABASE_FIELDS),
    required=("username", "password"),
    has_server=True,
    wrong=wrong_in_database,
)
REDIS = Kind(
    keys=(("username", ("username",)), ("password", REDIS_PASSWORDS)),
    required=("password",),
    has_server=False,
    wrong=wrong_in_redis,
)


class Owner(Protocol):
    """A class of credentials."""

    @classmethod
    def _made_from(cls, reading: Reading) -> Self: ...

    @classmethod
    def _core_schema(cls, form: Format) -> dict[str, Any]: ...

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, object]: ...


OwnerT = TypeVar("OwnerT", bound=Owner)


class Reader(NamedTuple, Generic[OwnerT]):
    """A `decode` function that reads secrets of one shape.

    Readers with the same arguments are equal. None holds a password.
    """

    owner: type[OwnerT]
    kind: Kind
    keys: tuple[tuple[str, Names], ...]
    """The keys of each field that is read by a key; the first one that is there is used."""
    url: Names | bool
    """The keys of a URL. If it is True, the whole secret is a URL."""
    under: Names
    fixed: tuple[tuple[str, str | int], ...]
    ignore_options: bool

    def __call__(self, secret: str | bytes) -> OwnerT:
        """Return the credentials in a secret. Raises `SecretFormatError`."""
        reading = self.read(secret)
        # This frame is in the traceback of the error that may be raised below.
        del secret
        return self.owner._made_from(reading)  # noqa: SLF001 (readers are made by this class)

    def __repr__(self) -> str:
        defaults = dict(self.kind.keys)
        arguments: list[str] = []
        for field, names in self.keys:
            if names != defaults[field]:
                arguments.append(f"{field}={_shown(names)}")
        if self.url:
            arguments.append(f"url={_shown(self.url)}")
        if self.under:
            arguments.append(f"under={_shown(self.under)}")
        if self.fixed:
            entries = ", ".join(f"{field!r}: ..." for field, _ in self.fixed)
            arguments.append(f"fixed={{{entries}}}")
        if self.ignore_options:
            arguments.append("ignore_options=True")
        listed = ", ".join(arguments)
        return f"{self.owner.__qualname__}.reader({listed})"

    # Pydantic calls these two if a reader is part of the type of a field, in `Annotated`.

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> dict[str, Any]:
        """Let it read the values of a field."""
        form = Format(self.read, self.read_data)
        return self.owner._core_schema(form)  # noqa: SLF001 (readers are made by this class)

    def __get_pydantic_json_schema__(self, schema: object, handler: object) -> dict[str, object]:
        return self.owner.__get_pydantic_json_schema__(schema, handler)

    def read(self, secret: str | bytes) -> Reading:
        """Read the text of a secret, or its bytes."""
        text = text_of(secret)
        if text is None:
            return "The secret isn't UTF-8 text."
        if self.url is True:
            fields = self._fields_in_url(text, "The secret")
            if isinstance(fields, str):
                return fields
            return self._completed(fields, {}, {})

        data = _object_in(text)
        if data is None:
            return "The secret isn't a JSON object."
        return self.read_data(data)

    def read_data(self, data: Data) -> Reading:
        """Read the object in a secret's JSON, or another mapping with the same keys."""
        if self.url is True:
            return "The whole secret should be a URL, but it is an object."
        inner = _object_under(data, self.under)
        if isinstance(inner, str):
            return inner

        fields: Fields = {}
        if self.url:
            in_url = self._url_in(inner)
            if isinstance(in_url, str):
                return in_url
            fields = in_url

        # The key by which a message names a field: the one that is used, or else the first.
        used = {field: names[0] for field, names in self.keys}
        for field, names in self.keys:
            for name, value in filled(inner, names).items():
                fields[field] = value
                used[field] = name
                break
        return self._completed(fields, used, inner)

    def _completed(self, fields: Fields, used: Mapping[str, str], data: Data) -> Reading:
        fields.update(self.fixed)
        missing = [field for field in self.kind.required if field not in fields]
        if missing:
            return self._missing(missing, data)

        wrong = self.kind.wrong(fields, used)
        if wrong:
            return wrong
        if not self.kind.has_server or "host" in fields:
            return Found(fields)
        names = dict(self.keys).get("host")
        reason = f"it has no {_either(names)}" if names else "its URL has none"
        return Found(fields, reason)

    def _missing(self, fields: Sequence[str], data: Data) -> str:
        keys = dict(self.keys)
        without_key = [field for field in fields if field not in keys]
        if without_key:
            listed = " and no ".join(without_key)
            return f"The secret's URL has no {listed}."
        listed = " and no ".join(_either(keys[field]) for field in fields)
        return missing_keys(f"{listed}{_place(self.under)}", data)

    def _url_in(self, data: Data) -> Fields | str:
        names = cast("Names", self.url)
        for name, value in filled(data, names).items():
            text = unicode_of(value)
            where = f"The secret's {name!r}"
            if text is None:
                return f"{where} isn't a string of Unicode text."
            return self._fields_in_url(text, where)
        return missing_keys(f"{_either(names)}{_place(self.under)}", data)

    def _fields_in_url(self, text: str, where: str) -> Fields | str:
        """Return what a URL has of the fields, or a sentence about a mistake."""
        has_own_host = "host" in dict((*self.keys, *self.fixed))
        fields = fields_of(
            text,
            where,
            may_have_options=self.ignore_options or not self.kind.has_server,
            may_have_hosts=has_own_host or not self.kind.has_server,
        )
        if isinstance(fields, str):
            return fields
        wanted = [field for field, _ in self.kind.keys]
        return filled(fields, wanted)


def _object_in(text: object) -> Data | None:
    """Return the object in a text of JSON."""
    try:
        data = json.loads(cast("str", text))
    except (TypeError, ValueError, RecursionError):
        return None
    return cast("dict[str, object]", data) if isinstance(data, dict) else None


def _object_under(data: Data, path: Names) -> Data | str:
    """Follow a path of keys; each object may be a string that has it as JSON.

    The console of Secrets Manager writes such a string if an object is entered as a value.
    """
    for number, key in enumerate(path):
        place = _place(path[:number])
        found = filled(data, [key])
        if not found:
            return missing_keys(f"{key!r}{place}", data)
        value = found[key]
        inner: object = value
        if not isinstance(inner, dict):
            inner = _object_in(inner)
        if inner is None:
            return f"The secret's {key!r}{place} isn't an object."
        data = cast("Data", inner)
    return data


def _place(path: Names) -> str:
    if not path:
        return ""
    keys = ", ".join(map(repr, path))
    return f" under {keys}"


def _either(names: Names) -> str:
    return " or ".join(map(repr, names))


def _shown(names: object) -> str:
    match names:
        case (str() as only,):
            return repr(only)
        case _:
            return repr(names)


# The arguments of a reader


def reader_of(
    owner: type[OwnerT],
    kind: Kind,
    keys: Mapping[str, GivenNames | None],
    *,
    url: GivenNames | bool,
    under: GivenNames,
    fixed: Mapping[str, str | int],
    ignore_options: bool = False,
) -> Callable[[str | bytes], OwnerT]:
    """Return a reader. Raises `ValueError` or `TypeError` for arguments that can't work."""
    given = {field: _names(field, names) for field, names in keys.items() if names is not None}
    path = _names("under", under) if under else ()
    url_keys = url if isinstance(url, bool) else _names("url", url)
    if url is True and (given or path):
        raise ValueError(
            "url=True reads the whole secret as a URL: leave out the keys and under=, or give "
            "url= the key of the URL."
        )
    if ignore_options and not url:
        raise ValueError("ignore_options=True concerns the options of a URL: give url= too.")

    if not isinstance(cast("object", fixed), Mapping):
        raise TypeError("fixed= isn't a mapping, such as {'host': 'db.example'}.")
    fixed_fields = tuple(_fixed_field(kind, name, value) for name, value in fixed.items())
    twice = [field for field in fixed if field in given]
    if twice:
        what = f"{twice[0]!r} is given twice, by a key and in fixed="
        raise ValueError(f"{what}: leave one of them out.")

    if not url:
        defaults = {field: names for field, names in kind.keys if field not in fixed}
        given = defaults | given
    reader = Reader(
        owner=owner,
        kind=kind,
        keys=tuple(given.items()),
        url=url_keys,
        under=path,
        fixed=tuple(sorted(fixed_fields)),
        ignore_options=ignore_options,
    )
    # mypy doesn't see that a generic NamedTuple can be called.
    return cast("Callable[[str | bytes], OwnerT]", reader)


def _names(argument: str, given: GivenNames) -> Names:
    names = (given,) if isinstance(given, str) else given
    is_right = isinstance(names, (list, tuple)) and all(
        isinstance(name, str) and name for name in cast("Sequence[object]", names)
    )
    if not is_right or not names:
        raise TypeError(f"{argument}= is neither a key of the secret's JSON nor a tuple of keys.")
    return tuple(names)


def _fixed_field(kind: Kind, field: str, value: str | int) -> tuple[str, str | int]:
    allowed = [name for name, _ in kind.keys if name != "password"]
    if field not in allowed:
        listed = ", ".join(allowed)
        raise ValueError(f"fixed= has a field that isn't one of {listed}.")
    if field == "port":
        port = port_of(value)
        if port is None:
            raise ValueError("The port in fixed= isn't a whole number from 1 to 65535.")
        return field, port

    text = unicode_of(value)
    if not text:
        raise ValueError(f"{field!r} in fixed= isn't a string, or is empty.")
    address = host_and_port(text)
    if field == "host" and (address is None or address[1] is not None):
        raise ValueError("The host in fixed= isn't just a host: give its port as 'port'.")
    return field, address[0] if field == "host" and address else text
