"""`load_settings`: pydantic settings with fields from Secrets Manager, fetched asynchronously and built as always."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import re
import types
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from pydantic import AliasChoices, BaseModel, Json, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsError,
)

from aiocredentials import (
    AsyncCredentialsManager,
    CredentialsError,
    PoolClosedError,
    SecretFormatError,
)
from aiocredentials._pydantic_errors import listed, place_of, problems_of, words_of
from aiocredentials.errors import make_error, shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from aiocredentials import CredentialsPool, Secret

__all__ = ["SecretSource", "load_settings"]

S = TypeVar("S", bound=BaseSettings)
SecretSource: TypeAlias = str | tuple[str, str] | AsyncCredentialsManager[Any]
"""A secret's name, for its text; a name and a key of its JSON; or a manager, for what its `get()` returns."""

# For type checkers, Json is a form that annotations have; it is a class.
_JSON = cast("type", Json)
_NO_INIT: Mapping[str, Any] = types.MappingProxyType({})
# What pydantic-settings says where a variable isn't the JSON that its field needs: names alone.
_UNREADABLE = re.compile(
    r'error (?:getting|parsing) value for field "([\w.-]+)" from source "(\w+)"'
)


async def load_settings(
    settings_class: type[S],
    pool: CredentialsPool,
    secrets: Mapping[str, SecretSource],
    *,
    environment: Literal["wins", "loses"] = "wins",
    init: Mapping[str, Any] = _NO_INIT,
) -> S:
    """Return settings whose fields that `secrets` names come from Secrets Manager.

    `secrets` maps a field to a secret's name or ARN, for its whole text, which is parsed as JSON where the field is a
    model, a mapping or a sequence; or to a name and a key of its JSON, as in `("prod/redis", "password")`; or to a
    manager, for what its `get()` returns. A field is given by its name or alias, and one of a nested model by its path:
    "redis.password".

    All are fetched at once, several by one batch call, and whatever the environment says. Then the settings are built
    as `settings_class(**init)` builds them: by its own sources in its own order, and the secrets among them. With
    `environment="wins"` they come below all others; with "loses" right below the arguments in `init`, and so above
    environment variables, dotenv files and the secrets directory.

    Raises `ValueError` or `TypeError` before any fetch, for a field that isn't there or an argument that can't work; an
    `ExceptionGroup` of a `CredentialsError` for each secret that couldn't be fetched, or `PoolClosedError` by itself,
    as `pool.prefetch` does; `SecretFormatError` if the settings can't be built. That one names each field, what is
    wrong with it, and its secret. No input is in it, and pydantic's own error, which has the input, isn't chained.

    Needs secretsmanager:GetSecretValue, and for several secretsmanager:BatchGetSecretValue: without it, each is
    fetched singly.
    """
    if environment not in {"wins", "loses"}:
        raise ValueError(f"environment is {environment!r}: give 'wins' or 'loses'.")
    targets = _targets(settings_class, pool, secrets)
    values = list(zip(targets, await _fetch(pool, targets), strict=True))
    built = _build(settings_class, values, init, environment_wins=environment == "wins")
    del init, values  # this frame is in the traceback of what is raised below
    if isinstance(built, CredentialsError):
        raise built
    return built


# What is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """A field, and where its value comes from."""

    path: list[tuple[str, ...]]
    """For each level the keys that pydantic takes, and first the one that it prefers."""
    field: FieldInfo
    manager: AsyncCredentialsManager[Any]
    is_ours: bool
    """Whether the manager was made here; if it is the caller's, its `get()` says what the value is."""
    json_key: str | None


def _targets(
    settings_class: type[BaseSettings], pool: CredentialsPool, secrets: Mapping[str, SecretSource]
) -> list[_Target]:
    """Find each field, and make a manager for each secret. Raises `ValueError` or `TypeError`."""
    managers: dict[str, AsyncCredentialsManager[Any]] = {}
    targets: list[_Target] = []
    for place, secret in secrets.items():
        key: str | None = None
        match secret:
            case AsyncCredentialsManager():
                manager, is_ours = secret, False
            case str() | (str(), str()):
                name, key = (secret, None) if isinstance(secret, str) else secret
                manager, is_ours = managers.get(name) or pool.manager(name), True
                managers[name] = manager
            case _:
                raise TypeError(
                    f"For {place!r} give a secret's name, or a name and a key of its JSON, or a manager."
                )
        path, field = _find(settings_class, place) or (None, None)
        if path is None or field is None:
            raise ValueError(
                f"{settings_class.__name__} has no field {place!r} that a value could be given for."
            )
        if any(_overlap(path, other.path) for other in targets):
            raise ValueError(
                f"{place!r} is given twice: by another name, or as a part of another field."
            )
        targets.append(
            _Target(path=path, field=field, manager=manager, is_ours=is_ours, json_key=key)
        )
    return targets


def _find(model: type[BaseModel], place: str) -> tuple[list[tuple[str, ...]], FieldInfo] | None:
    """Return the keys on the way to a field, and the field; None if there is no such field."""
    name, _, rest = place.partition(".")
    for each, field in model.model_fields.items():
        keys = _keys(model, each, field)
        if keys and place in {each, *keys}:
            return [keys], field
        if keys and rest and name in {each, *keys} and (inner := _model_of(field)) is not None:
            below = _find(inner, rest)
            return ([keys, *below[0]], below[1]) if below else None
    return None


def _keys(model: type[BaseModel], name: str, field: FieldInfo) -> tuple[str, ...]:
    """Return by what keys pydantic takes a field; none if there are only paths into other values."""
    config: Mapping[str, object] = {**model.model_config}
    alias = field.validation_alias if config.get("validate_by_alias", True) else None
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    by_name = alias is None or config.get("populate_by_name") or config.get("validate_by_name")
    return (*(each for each in choices if isinstance(each, str)), *([name] if by_name else []))


def _kinds(field: FieldInfo) -> tuple[Any, ...]:
    """Return the members of a union, or the one type that it is."""
    is_union = get_origin(field.annotation) in {Union, types.UnionType}
    return get_args(field.annotation) if is_union else (field.annotation,)


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    return next(
        (kind for kind in _kinds(field) if isinstance(kind, type) and issubclass(kind, BaseModel)),
        None,
    )


def _overlap(path: Sequence[tuple[str, ...]], other: Sequence[object]) -> bool:
    """Whether two paths lead to the same field, or one into the other's."""
    return all(keys == others for keys, others in zip(path, other, strict=False))


# Fetching


async def _fetch(pool: CredentialsPool, targets: Sequence[_Target]) -> list[Any]:
    """Return what each target's manager has: a `Secret`, or what a manager of the caller's decodes."""
    ours = list(dict.fromkeys(target.manager for target in targets if target.is_ours))
    theirs = list(dict.fromkeys(target.manager for target in targets if not target.is_ours))
    got: dict[AsyncCredentialsManager[Any], Any] = {}
    failures: list[CredentialsError] = []

    async def take(
        manager: AsyncCredentialsManager[Any], read: Callable[[], Awaitable[Any]]
    ) -> None:
        try:
            got[
                manager
            ] = await read()  # into a dict, and not returned: the repr of a task shows its result
        except CredentialsError as error:
            failures.append(copy.copy(error))

    async def take_ours() -> None:
        missing: Sequence[CredentialsError] = await _prefetch(pool, ours) if len(ours) > 1 else ()
        failures.extend(missing)
        async with asyncio.TaskGroup() as tasks:
            for manager in ours if not missing else ():
                tasks.create_task(take(manager, manager.secret))

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(take_ours())
            for manager in theirs:
                tasks.create_task(take(manager, manager.get))
        if not failures:
            return [got[target.manager] for target in targets]
    finally:
        got = {}  # this frame is in the traceback of what is raised here
    for failure in failures:
        if isinstance(failure, PoolClosedError):
            raise failure
    raise ExceptionGroup(
        f"{len(failures)} of {len(ours) + len(theirs)} secrets could not be fetched", failures
    )


async def _prefetch(
    pool: CredentialsPool, managers: Sequence[AsyncCredentialsManager[Any]]
) -> Sequence[CredentialsError]:
    """Fetch by batch calls, and return what failed."""
    try:
        await pool.prefetch(*(manager.secret_name for manager in managers))
    except CredentialsError as error:
        return [copy.copy(error)]
    except ExceptionGroup as group:
        return cast("Sequence[CredentialsError]", group.exceptions)
    except ValueError:
        pass  # the pool keeps nothing: each is fetched by itself
    return []


# Building: here values are at hand, so nothing is raised, and what is wrong is returned


class _Masked(dict[str, Any]):
    """Values that don't show: with PYDANTIC_SETTINGS_DEBUG what each source gives is logged."""

    def __repr__(self) -> str:
        return f"<values of {', '.join(self)}>"


class _SecretsManagerSource(InitSettingsSource):
    """A source whose values are there already."""

    def __init__(
        self, settings_class: type[BaseSettings], values: list[tuple[_Target, Any]]
    ) -> None:
        super().__init__(settings_class, {})
        self._values = values

    def __call__(self) -> dict[str, Any]:
        """Give the values, by those keys that sources above have used: so pydantic sees one of each, and merges."""
        found = _Masked()
        for target, value in self._values:
            *levels, last = target.path
            place: dict[str, Any] = found
            above: dict[str, Any] = self.current_state
            for level in levels:
                key = _used(level, above)
                place = place.setdefault(key, {})
                deeper = above.get(key)
                above = cast("dict[str, Any]", deeper) if isinstance(deeper, dict) else {}
            place[_used(last, above)] = value
        return found

    def __repr__(self) -> str:
        return "SecretsManagerSource()"


def _used(keys: Sequence[str], above: Mapping[str, Any]) -> str:
    return next((key for key in keys if key in above), keys[0])


def _build(
    settings_class: type[S],
    fetched: list[tuple[_Target, Any]],
    init: Mapping[str, Any],
    *,
    environment_wins: bool,
) -> S | CredentialsError:
    """Return the settings, or the error that says why there are none."""
    parser, problems = InitSettingsSource(settings_class, {}), list[_Problem]()
    values: list[tuple[_Target, Any]] = []
    for target, got in fetched:
        value, problem = _value(parser, target, got)
        values.append((target, value))
        problems += (
            [_Problem(".".join(keys[0] for keys in target.path), problem, [target])]
            if problem
            else []
        )
    if not problems:
        targets = [target for target, _ in fetched]
        try:
            return _construct(settings_class, values, init, environment_wins=environment_wins)
        except ValidationError as error:
            problems += _problems(error, settings_class, targets)
        except Exception as error:  # noqa: BLE001 (a validator may raise anything, with a value in it)
            told = _UNREADABLE.fullmatch(str(error)) if isinstance(error, SettingsError) else None
            unreadable = _Problem(told[1], f"unreadable in {told[2]}", []) if told else None
            problems.append(unreadable or _Problem("all", type(error).__name__, targets))
    what = f"{settings_class.__name__} can't be built: {listed(map(str, problems))}."
    names = {target.manager.secret_name for problem in problems for target in problem.targets}
    if not names:
        return SecretFormatError(
            f"{what} No secret has a part in it; what was given is left out here on purpose."
        )
    return make_error(SecretFormatError, what, secret_name=names.pop() if len(names) == 1 else None)


def _value(parser: InitSettingsSource, target: _Target, got: Any) -> tuple[Any, str]:  # noqa: ANN401 (any value)
    """Return what a target's field is given; or nothing, and a word on why."""
    if not target.is_ours:
        return got, ""
    secret = cast("Secret", got)
    try:
        if target.json_key is None:
            return _parsed(parser, target.field, secret.reveal()), ""
        found = secret.json()
    except (CredentialsError, ValueError, RecursionError):
        return None, "not text" if target.json_key is None and not parser.field_is_complex(
            target.field
        ) else "not JSON"
    if not isinstance(found, dict) or target.json_key not in found:
        return None, f"no JSON key {target.json_key!r}"
    return cast("dict[str, Any]", found)[target.json_key], ""


def _parsed(parser: InitSettingsSource, field: FieldInfo, text: str) -> Any:  # noqa: ANN401 (any value)
    """Do as pydantic-settings does with a variable's text: JSON for what isn't simple, and a try for unions with it.

    A field of the type `Json[...]` has the text itself, because pydantic parses it.
    """
    if any(isinstance(each, _JSON) for each in field.metadata):
        return text
    if parser.field_is_complex(field):
        return parser.decode_complex_value("", field, text)
    if any(parser.field_is_complex(FieldInfo.from_annotation(kind)) for kind in _kinds(field)):
        with contextlib.suppress(ValueError, RecursionError):
            return parser.decode_complex_value("", field, text)
    return text


def _construct(
    settings_class: type[S],
    values: list[tuple[_Target, Any]],
    init: Mapping[str, Any],
    *,
    environment_wins: bool,
) -> S:
    """Build the settings with one more source. Raises whatever the class raises."""

    def customise(_: object, *args: Any, **given: Any) -> tuple[PydanticBaseSettingsSource, ...]:  # noqa: ANN401 (theirs)
        sources = settings_class.settings_customise_sources(*args, **given)
        arguments: PydanticBaseSettingsSource = given["init_settings"]
        place = (
            len(sources)
            if environment_wins
            else sources.index(arguments) + 1
            if arguments in sources
            else 0
        )
        return (*sources[:place], _SecretsManagerSource(settings_class, values), *sources[place:])

    # A class that differs in its sources alone, since pydantic-settings asks the class for them, and no instance.
    body: dict[str, object] = {"settings_customise_sources": classmethod(customise)}
    body |= {"__module__": settings_class.__module__, "__qualname__": settings_class.__qualname__}
    variant = types.new_class(
        settings_class.__name__, (settings_class,), exec_body=lambda space: space.update(body)
    )
    settings = cast("S", variant(**init))
    object.__setattr__(settings, "__class__", settings_class)
    return settings


# Saying what is wrong


class _Problem(NamedTuple):
    """What is wrong, where, and with which secrets."""

    place: str
    what: str
    targets: list[_Target]

    def __str__(self) -> str:
        names = dict.fromkeys(shown(target.manager.secret_name) for target in self.targets)
        return f"{self.place}: {self.what}" + (f" (secret {', '.join(names)})" if names else "")


def _problems(
    error: ValidationError, settings_class: type[BaseSettings], targets: Sequence[_Target]
) -> Iterator[_Problem]:
    """Say what is wrong by pydantic's word for it: its messages, contexts and inputs may have values."""
    words = set(words_of(settings_class.__pydantic_core_schema__))
    for loc, what in problems_of(error):
        # The first step is a field or a variable: no secret has a part in its name.
        first, *steps = loc or ("all",)
        place = place_of([first, *steps], words | {str(first)})
        # Of a field itself, of something in it, and of something that it is in.
        origins = [
            target
            for target in targets
            if all(step in keys for step, keys in zip(loc, target.path, strict=False))
        ]
        yield _Problem(place, what, origins)
