"""Part of `pydantic_settings`: the fields that get secrets, and the managers that fetch these."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, Union, cast, get_args, get_origin

from pydantic import AliasChoices, BaseModel

from aiocredentials import AsyncCredentialsManager

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_settings import BaseSettings

    from aiocredentials import CredentialsPool

AnyManager: TypeAlias = AsyncCredentialsManager[Any]

Keys: TypeAlias = tuple[str, ...]
"""The keys by which pydantic accepts a field. The first one is the key that pydantic prefers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A field, and the manager that fetches its value."""

    path: Sequence[Keys]
    """The keys at each level of nested models, from the settings down to the field."""
    field: FieldInfo
    manager: AnyManager
    is_given: bool
    """Whether the caller gave the manager. Then the result of its `get()` is the field's value."""
    json_key: str | None

    @property
    def place(self) -> str:
        """The path as text, for a message."""
        preferred = [keys[0] for keys in self.path]
        return ".".join(preferred)


def targets_of(
    settings_class: type[BaseSettings],
    pool: CredentialsPool,
    secrets: Mapping[str, object],
) -> list[Target]:
    """Find each field, and make a manager for each secret.

    Raises `ValueError` or `TypeError` for a field or a source that can't be used.
    """
    managers: dict[str, AnyManager] = {}
    targets: list[Target] = []

    for place, source in secrets.items():
        json_key: str | None = None
        is_given = isinstance(source, AsyncCredentialsManager)
        if is_given:
            manager = cast("AnyManager", source)
        else:
            name, json_key = _name_and_key(place, source)
            manager = managers.get(name) or pool.manager(name)
            managers[name] = manager

        path, field = _field_at(settings_class, place)
        target = Target(
            path=path,
            field=field,
            manager=manager,
            is_given=is_given,
            json_key=json_key,
        )
        _check_overlap(place, target, targets)
        targets.append(target)
    return targets


def _name_and_key(place: str, source: object) -> tuple[str, str | None]:
    match source:
        case str():
            return source, None
        case (str() as name, str() as key):
            return name, key
        case _:
            raise TypeError(
                f"For {place!r} give a secret's name, or a name and a key of its JSON, "
                "or a manager."
            )


def _check_overlap(
    place: str,
    target: Target,
    others: Sequence[Target],
) -> None:
    is_second = any(_overlap(target.path, other.path) for other in others)
    if is_second:
        raise ValueError(
            f"{place!r} is given twice: by another name, or as a part of another field."
        )


class _Found(NamedTuple):
    path: list[Keys]
    field: FieldInfo


def _field_at(model: type[BaseModel], place: str) -> _Found:
    found = _find_field(model, place)
    if found is None:
        name = model.__name__
        raise ValueError(f"{name} has no field {place!r} that a value can be set for.")
    return found


def _find_field(model: type[BaseModel], place: str) -> _Found | None:
    """Return a field of a model or of its nested models; None if there is no such field."""
    first, _, rest = place.partition(".")
    for name, field in model.model_fields.items():
        keys = _accepted_keys(model, name, field)
        if not keys:
            continue

        names = {name, *keys}
        if place in names:
            return _Found([keys], field)

        nested = _nested_model(field)
        if first in names and rest and nested is not None:
            below = _find_field(nested, rest)
            if below is None:
                return None
            path = [keys, *below.path]
            return _Found(path, below.field)
    return None


def _accepted_keys(
    model: type[BaseModel],
    name: str,
    field: FieldInfo,
) -> Keys:
    """Return the keys by which pydantic accepts a field.

    There are none if its only aliases are paths into other values.
    """
    config: Mapping[str, object] = {**model.model_config}
    uses_alias = config.get("validate_by_alias", True)
    alias = field.validation_alias if uses_alias else None
    choices: Sequence[object] = [alias]
    if isinstance(alias, AliasChoices):
        choices = alias.choices
    keys = [choice for choice in choices if isinstance(choice, str)]

    populates_by_name = config.get("populate_by_name")
    validates_by_name = config.get("validate_by_name")
    if alias is None or populates_by_name or validates_by_name:
        keys.append(name)
    return tuple(keys)


def types_of(field: FieldInfo) -> tuple[Any, ...]:
    """Return the members of a union, or the one type of any other field."""
    annotation = field.annotation
    is_union = get_origin(annotation) in {Union, types.UnionType}
    if is_union:
        return get_args(annotation)
    return (annotation,)


def _nested_model(field: FieldInfo) -> type[BaseModel] | None:
    for kind in types_of(field):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _overlap(path: Sequence[Keys], other: Sequence[Keys]) -> bool:
    """Return whether two paths lead to the same field, or one leads into the other's field."""
    pairs = zip(path, other, strict=False)
    return all(keys == other_keys for keys, other_keys in pairs)
