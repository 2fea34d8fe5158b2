"""The base of the classes of credentials: fields that can't be changed, and a masked password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypedDict, TypeVar, cast

from aiocredentials._formats import Format, Found
from aiocredentials._pydantic_errors import OUR_TYPE
from aiocredentials.errors import SecretFormatError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable

_MASK = "password=***"


class DatabaseFields(TypedDict):
    """The fields of `DatabaseCredentials`."""

    username: str
    password: str
    engine: str | None
    host: str | None
    port: int | None
    dbname: str | None


class RedisFields(TypedDict):
    """The fields of `RedisCredentials`."""

    password: str
    username: str | None


F = TypeVar("F", bound="DatabaseFields | RedisFields")


class MaskedCredentials(Generic[F]):
    """Credentials whose fields can't be changed, and whose password is masked.

    It is no dataclass, because serializers write each field of every dataclass that they meet.
    """

    __slots__ = ("_other_names", "_values")

    _format: ClassVar[Format]
    _values: Callable[[], F]
    _other_names: str

    def _set_fields(self, fields: F) -> None:
        # A function holds the fields, so a dump of the slots of an object can print none of them.
        object.__setattr__(self, "_values", lambda: fields)
        object.__setattr__(self, "_other_names", "")

    @classmethod
    def _made_from(cls, found: Found | str) -> Self:
        """Make the object.

        Raises:
            SecretFormatError: if a sentence was found, which says what is wrong.
        """
        if isinstance(found, str):
            raise make_error(SecretFormatError, found)
        made = cls(**found.fields)
        object.__setattr__(made, "_other_names", found.other_names)
        return made

    def __repr__(self) -> str:
        fields = {name: f"{name}={value!r}" for name, value in self._values().items()}
        fields["password"] = _MASK
        arguments = ", ".join(fields.values())
        return f"{type(self).__qualname__}({arguments})"

    def __dir__(self) -> list[str]:
        """Leave the password out, because a dump of all attributes finds their names here."""
        hidden = {"password", "_values"}
        return [name for name in super().__dir__() if name not in hidden]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        fields = self._values()
        return hash(tuple(fields.values()))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} can't be changed: make another one.")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{type(self).__name__} can't be pickled, because it has a password.")

    # For pydantic. Only pydantic calls these methods, so its core is installed then.

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> dict[str, Any]:
        """Let it be a field: made of an object of this class, a secret's text, or its mapping.

        A dump for Python has the object itself, and a dump for JSON has its repr.
        """
        from pydantic_core import core_schema  # noqa: PLC0415 (it may not be installed)

        text = core_schema.str_schema()
        dump = core_schema.plain_serializer_function_ser_schema(
            cls._masked,
            return_schema=text,
            when_used="json",
        )
        schema = core_schema.no_info_plain_validator_function(cls._validated, serialization=dump)
        return {**schema}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, object]:
        if getattr(handler, "mode", None) == "serialization":
            return {"title": cls.__name__, "type": "string"}
        return {
            "title": cls.__name__,
            "type": ["object", "string"],
            "writeOnly": True,
        }

    @classmethod
    def _validated(cls, value: object) -> Self:
        if isinstance(value, cls):
            return value
        found = cls._read_field(value)
        if not isinstance(found, str):
            return cls._made_from(found)

        from pydantic_core import (  # noqa: PLC0415 (it may not be installed)
            PydanticCustomError,
            ValidationError,
        )

        # Pydantic wants a literal. The sentence has no placeholders that an input could fill.
        sentence: Any = found
        kind = PydanticCustomError(OUR_TYPE, sentence)
        # An error of this class says itself what its input was: a mask.
        details: Any = {"type": kind, "input": "***"}
        raise ValidationError.from_exception_data(cls.__name__, [details])

    @classmethod
    def _read_field(cls, value: object) -> Found | str:
        """Read the value of a field of a model; return a sentence if it isn't one of a secret."""
        if isinstance(value, str) and _MASK in value:
            return "This is a dump, which has a mask in place of the password."
        if isinstance(value, str):
            return cls._format.read_text(value)
        if isinstance(value, Mapping):
            return cls._format.read(cast("Mapping[str, object]", value))
        return f"This is neither {cls.__name__} nor the text or the mapping of a secret."

    @classmethod
    def _masked(cls, field: object) -> str:
        # Only `model_construct` puts an object of another class into a field.
        return repr(field) if isinstance(field, cls) else "***"
