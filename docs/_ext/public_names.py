"""The public names of the package, as the site shows them. The tests of the site read them too."""

from __future__ import annotations

import importlib
import inspect
from functools import cache

import aiocredentials.errors

# The public modules, by the order of their pages.
MODULES = [
    "aiocredentials",
    "aiocredentials.credentials",
    "aiocredentials.errors",
    "aiocredentials.events",
    "aiocredentials.rotation",
    "aiocredentials.iam",
    "aiocredentials.eventbridge",
    "aiocredentials.agent",
    "aiocredentials.testing",
    "aiocredentials.pytest_plugin",
    "aiocredentials.doctor",
    "aiocredentials.integrations.aiomysql",
    "aiocredentials.integrations.asyncmy",
    "aiocredentials.integrations.asyncpg",
    "aiocredentials.integrations.fastapi",
    "aiocredentials.integrations.opentelemetry",
    "aiocredentials.integrations.psycopg",
    "aiocredentials.integrations.pydantic_settings",
    "aiocredentials.integrations.redis",
    "aiocredentials.integrations.snapstart",
    "aiocredentials.integrations.sqlalchemy",
]


@cache
def public_names() -> dict[str, object]:
    """Return each public name with its module or class, and the object that it stands for.

    A name that `aiocredentials` itself exports is shown there only.
    """
    names: dict[str, object] = {}
    shown: set[int] = set()
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        for name in exported(module):
            thing = getattr(module, name)
            if inspect.isclass(thing) and id(thing) in shown:
                continue
            shown.add(id(thing))
            full_name = f"{module_name}.{name}"
            names[full_name] = thing
            names |= {f"{full_name}.{member}": part for member, part in members(thing).items()}
    return names


def exported(module: object) -> list[str]:
    """Return the names that a module exports. A module without `__all__` exports what it defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    if module is aiocredentials.errors:
        # The other names there are for the package itself.
        return [name for name in aiocredentials.__all__ if name.endswith("Error")]
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]


def members(thing: object) -> dict[str, object]:
    """Return the public methods, properties and slots of a class, also those of our other bases."""
    if not inspect.isclass(thing) or issubclass(thing, BaseException):
        return {}
    return {
        name: part
        for base in thing.__mro__
        if base.__module__.startswith("aiocredentials")
        for name, part in vars(base).items()
        if not name.startswith("_") and is_shown(part)
    }


def is_shown(part: object) -> bool:
    """Return whether a member of a class is shown: not the default of an attribute."""
    return isinstance(part, (classmethod, staticmethod, property)) or inspect.isroutine(part)


@cache
def full_names() -> dict[str, list[str]]:
    """Return the full names of each short name: `refresh`, `CredentialsPool.open`, `Secret`."""
    found: dict[str, list[str]] = {}
    for name in public_names():
        parts = name.split(".")
        for start in range(1, len(parts)):
            found.setdefault(".".join(parts[start:]), []).append(name)
    return found


def meaning_of(code: str, owner: str) -> str | None:
    """Return the public name that some code is, such as `Secret`, `pool.open()` or `refresh()`.

    Args:
        code: The code, as it stands in a sentence.
        owner: The class or module that the sentence is about: its own members come first.
    """
    name = code.removesuffix("()")
    if name in public_names():
        return name
    for full_name in (f"{owner}.{name}", f"aiocredentials.{name}"):
        if full_name in public_names():
            return full_name
    candidates = full_names().get(name, [])
    # A short name with a capital is a class. Others, such as `connect`, mean something else each time.
    is_telling = "." in name or name[:1].isupper()
    if len(candidates) == 1 and is_telling:
        return candidates[0]
    return None
