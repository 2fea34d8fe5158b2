"""The base of the classes of credentials: fields that can't be changed, and a masked password."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, Self, TypeVar, cast

from aiocredentials._pydantic_errors import OUR_TYPE
from aiocredentials.errors import SecretFormatError, make_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from aiocredentials._formats import Format, Found, Reading

    JSON: TypeAlias = dict[str, object]

_MASK = "password=***"


F = TypeVar("F", bound=Mapping[str, object])


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
    def _made_from(cls, reading: Reading) -> Self:
        """Make the object.

        Raises:
            SecretFormatError: The reading is a sentence about a mistake.
        """
        if isinstance(reading, str):
            raise make_error(SecretFormatError, reading)
        return cls._with_fields(reading)

    @classmethod
    def _with_fields(cls, found: Found) -> Self:
        made = cls(**found.fields)
        object.__setattr__(made, "_other_names", found.other_names)
        return made

    def __repr__(self) -> str:
        shown: list[str] = []
        for name, value in self._values().items():
            if name == "password":
                shown.append(_MASK)
            else:
                shown.append(f"{name}={value!r}")
        class_name = type(self).__qualname__
        arguments = ", ".join(shown)
        return f"{class_name}({arguments})"

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
        class_name = type(self).__name__
        raise AttributeError(f"{class_name} can't be changed: make another one.")

    def __delattr__(self, name: str) -> NoReturn:
        self.__setattr__(name, None)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        class_name = type(self).__name__
        raise TypeError(f"{class_name} can't be pickled, because it holds a password.")

    # For pydantic. Only pydantic calls these methods, so its core is installed then.

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> dict[str, Any]:
        """Let it be a field: made of an object of this class, a secret's text, or its mapping.

        A dump for Python has the object itself, and a dump for JSON has its repr.
        """
        return cls._core_schema(cls._format)

    @classmethod
    def _core_schema(cls, form: Format) -> dict[str, Any]:
        """Return the schema of a field whose values are read by this format."""
        from pydantic_core import core_schema  # noqa: PLC0415 (it may not be installed)

        text = core_schema.str_schema()
        dump = core_schema.plain_serializer_function_ser_schema(
            cls._masked,
            return_schema=text,
            when_used="json",
        )
        schema = core_schema.no_info_plain_validator_function(
            partial(cls._validated, form=form),
            serialization=dump,
        )
        return dict(schema)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> JSON:
        json_schema: JSON = {"title": cls.__name__}
        mode = getattr(handler, "mode", None)
        if mode == "serialization":
            json_schema["type"] = "string"
        else:
            json_schema["type"] = ["object", "string"]
            json_schema["writeOnly"] = True
        return json_schema

    @classmethod
    def _validated(cls, value: object, form: Format) -> Self:
        if isinstance(value, cls):
            return value
        reading = cls._read_field(value, form)
        if not isinstance(reading, str):
            return cls._with_fields(reading)

        from pydantic_core import (  # noqa: PLC0415 (it may not be installed)
            PydanticCustomError,
            ValidationError,
        )

        # Pydantic wants a literal. The sentence has no placeholders that an input could fill.
        sentence: Any = reading
        kind = PydanticCustomError(OUR_TYPE, sentence)
        # An error of this class defines the input that it shows: a mask.
        details: Any = {"type": kind, "input": "***"}
        raise ValidationError.from_exception_data(cls.__name__, [details])

    @classmethod
    def _read_field(cls, value: object, form: Format) -> Reading:
        """Read the value of a field of a model; return a sentence if it isn't one of a secret."""
        if isinstance(value, str) and _MASK in value:
            return "This is a dump, which has a mask in place of the password."
        if isinstance(value, str):
            return form.read_text(value)
        if isinstance(value, Mapping):
            data = cast("Mapping[str, object]", value)
            return form.read(data)
        return f"This is neither {cls.__name__} nor the text or the mapping of a secret."

    @classmethod
    def _masked(cls, field: object) -> str:
        # Only `model_construct` puts an object of another class into a field.
        if not isinstance(field, cls):
            return "***"
        return repr(field)
