"""Part of `pydantic_settings`: building the settings from fetched values.

The functions here handle values, and so they return their errors. A raised error would show their
variables in its traceback.
"""

from __future__ import annotations

import contextlib
import re
import types
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar, cast

from pydantic import Json, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from aiocredentials import CredentialsError, SecretFormatError
from aiocredentials._pydantic_errors import listed, place_of, problems_of, words_of
from aiocredentials.errors import make_error, shown
from aiocredentials.integrations._settings_fields import Keys, Target, types_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from aiocredentials import Secret

S = TypeVar("S", bound=BaseSettings)

Values: TypeAlias = list[tuple[Target, Any]]
Sources: TypeAlias = tuple[PydanticBaseSettingsSource, ...]

# Json is a class. Type checkers know it as a special form.
_JSON = cast("type", Json)
# The message of pydantic-settings for a variable that isn't the JSON that its field needs. It holds
# names alone.
_UNREADABLE = re.compile(
    r'error (?:getting|parsing) value for field "([\w.-]+)" from source "(\w+)"'
)


def build(
    settings_class: type[S],
    results: Values,
    init: Mapping[str, Any],
    *,
    environment_wins: bool,
) -> S | CredentialsError:
    """Return the settings, or the error that explains why they can't be built.

    `results` are the fetched secrets, and the results of the managers that the caller gave.
    """
    parser = InitSettingsSource(settings_class, {})
    values: Values = []
    problems: list[_Problem] = []
    for target, result in results:
        value, reason = _field_value(parser, target, result)
        values.append((target, value))
        if reason:
            problem = _Problem(target.place, reason, [target])
            problems.append(problem)
    if problems:
        return _error_of(settings_class, problems)

    targets = [target for target, _ in values]
    try:
        return _construct(
            settings_class,
            values,
            init,
            environment_wins=environment_wins,
        )
    except ValidationError as error:
        problems.extend(_validation_problems(error, settings_class, targets))
    except Exception as error:  # noqa: BLE001 (a validator may raise anything, with a value in it)
        problems.append(_other_problem(error, targets))
    return _error_of(settings_class, problems)


# The values of the fields


def _field_value(
    parser: InitSettingsSource,
    target: Target,
    result: Any,  # noqa: ANN401 (any value)
) -> tuple[Any, str]:
    """Return the value for a field and an empty reason, or None and the reason for that."""
    if target.is_given:
        return result, ""

    secret = cast("Secret", result)
    if target.json_key is not None:
        return _value_of_key(secret, target.json_key)

    try:
        text = secret.reveal()
        return _parsed(parser, target.field, text), ""
    except (CredentialsError, ValueError, RecursionError):
        needs_json = parser.field_is_complex(target.field)
        reason = "not JSON" if needs_json else "not text"
        return None, reason


def _value_of_key(secret: Secret, key: str) -> tuple[Any, str]:
    try:
        content = secret.json()
    except CredentialsError:
        return None, "not JSON"

    if not isinstance(content, dict) or key not in content:
        return None, f"no JSON key {key!r}"
    mapping = cast("dict[str, Any]", content)
    return mapping[key], ""


def _parsed(
    parser: InitSettingsSource,
    field: FieldInfo,
    text: str,
) -> object:
    """Parse a secret's text as pydantic-settings parses the text of a variable.

    A complex field needs JSON. For a union with a complex member, JSON is tried. A field of the
    type `Json[...]` gets the text itself, because pydantic parses it.
    """
    is_json_field = any(isinstance(each, _JSON) for each in field.metadata)
    if is_json_field:
        return text

    if parser.field_is_complex(field):
        return parser.decode_complex_value("", field, text)

    members = map(FieldInfo.from_annotation, types_of(field))
    has_complex_member = any(map(parser.field_is_complex, members))
    if has_complex_member:
        with contextlib.suppress(ValueError, RecursionError):
            return parser.decode_complex_value("", field, text)
    return text


# The settings


class _Masked(dict[str, Any]):
    """Values with a repr that hides them.

    With PYDANTIC_SETTINGS_DEBUG, pydantic-settings logs the values of each source.
    """

    def __repr__(self) -> str:
        names = ", ".join(self)
        return f"<values of {names}>"


class _SecretsManagerSource(InitSettingsSource):
    """A source of settings whose values have been fetched."""

    def __init__(self, settings_class: type[BaseSettings], values: Values) -> None:
        super().__init__(settings_class, {})
        self._values = values

    def __call__(self) -> dict[str, Any]:
        """Return the values by the keys that the sources above this one have used.

        So pydantic-settings sees one key per field, and merges the sources.
        """
        our_settings = _Masked()
        for target, value in self._values:
            # The path leads through two trees: ours, and the one of the sources above.
            ours: dict[str, Any] = our_settings
            theirs: Mapping[str, Any] = self.current_state

            *parents, last = target.path
            for keys in parents:
                key = _used_key(keys, theirs)
                ours = ours.setdefault(key, {})
                theirs = _model_at(key, theirs)

            key = _used_key(last, theirs)
            ours[key] = value
        return our_settings

    def __repr__(self) -> str:
        return "SecretsManagerSource()"


def _used_key(keys: Keys, theirs: Mapping[str, Any]) -> str:
    """Return the key of a field that the sources above have used; otherwise its first key."""
    for key in keys:
        if key in theirs:
            return key
    return keys[0]


def _model_at(key: str, theirs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a nested model; no values if the sources above have none for it."""
    values: object = theirs.get(key)
    if isinstance(values, dict):
        return cast("dict[str, Any]", values)
    return {}


def _construct(
    settings_class: type[S],
    values: Values,
    init: Mapping[str, Any],
    *,
    environment_wins: bool,
) -> S:
    """Build the settings with one more source. Raises the errors of the class."""

    def customise(
        _: object,
        *args: Any,  # noqa: ANN401 (pydantic-settings decides)
        **given: Any,  # noqa: ANN401 (pydantic-settings decides)
    ) -> Sources:
        sources = settings_class.settings_customise_sources(*args, **given)
        arguments = given["init_settings"]
        index = _index_for(sources, arguments, environment_wins=environment_wins)
        source = _SecretsManagerSource(settings_class, values)
        return (*sources[:index], source, *sources[index:])

    # pydantic-settings asks the class for its sources, not an instance. So this is a class that
    # differs from the caller's in its sources alone.
    body: dict[str, object] = {
        "settings_customise_sources": classmethod(customise),
        "__module__": settings_class.__module__,
        "__qualname__": settings_class.__qualname__,
    }
    variant = types.new_class(
        settings_class.__name__,
        (settings_class,),
        exec_body=lambda space: space.update(body),
    )
    settings = cast("S", variant(**init))
    object.__setattr__(settings, "__class__", settings_class)
    return settings


def _index_for(
    sources: Sources,
    arguments: PydanticBaseSettingsSource,
    *,
    environment_wins: bool,
) -> int:
    """Return the index for the secrets among the sources. The first source has priority."""
    if environment_wins:
        return len(sources)
    if arguments in sources:
        return sources.index(arguments) + 1
    return 0


# The errors


class _Problem(NamedTuple):
    """A reason why settings can't be built, its place, and the secrets that are involved."""

    place: str
    what: str
    targets: list[Target]

    @property
    def secret_names(self) -> list[str]:
        names = [target.manager.secret_name for target in self.targets]
        return list(dict.fromkeys(names))

    def __str__(self) -> str:
        text = f"{self.place}: {self.what}"
        if not self.targets:
            return text

        names = ", ".join(map(shown, self.secret_names))
        return f"{text} (secret {names})"


def _validation_problems(
    error: ValidationError,
    settings_class: type[BaseSettings],
    targets: Sequence[Target],
) -> Iterator[_Problem]:
    """Yield the problems that pydantic found, by pydantic's name for each.

    Pydantic's messages, contexts and inputs are left out, because they may hold values.
    """
    schema = settings_class.__pydantic_core_schema__
    words = set(words_of(schema))
    for loc, what in problems_of(error):
        steps = loc or ("all",)
        # The first step is a field or a variable. No secret is part of its name.
        known_words = {*words, str(steps[0])}
        place = place_of(steps, known_words)
        involved = [target for target in targets if _is_involved(target, loc)]
        yield _Problem(place, what, involved)


def _is_involved(target: Target, loc: Sequence[int | str]) -> bool:
    """Return whether a problem is in a field, in a part of it, or in a model that has the field."""
    pairs = zip(loc, target.path, strict=False)
    return all(step in keys for step, keys in pairs)


def _other_problem(error: Exception, targets: list[Target]) -> _Problem:
    """Return the problem behind an error that may hold a value in its message."""
    if isinstance(error, SettingsError):
        unreadable = _UNREADABLE.fullmatch(str(error))
        if unreadable is not None:
            field, source = unreadable.groups()
            what = f"unreadable in {source}"
            return _Problem(field, what, [])

    kind = type(error).__name__
    return _Problem("all", kind, targets)


def _error_of(
    settings_class: type[BaseSettings],
    problems: list[_Problem],
) -> CredentialsError:
    reasons = listed(map(str, problems))
    name = settings_class.__name__
    what = f"{name} can't be built: {reasons}."

    names: set[str] = set()
    for problem in problems:
        names.update(problem.secret_names)

    if not names:
        return SecretFormatError(
            f"{what} No secret is involved; the input is left out here on purpose."
        )
    secret_name = names.pop() if len(names) == 1 else None
    return make_error(SecretFormatError, what, secret_name=secret_name)
