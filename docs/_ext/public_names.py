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
    """Return what a module exports: its `__all__`, or what it defines if it has none."""
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
    """Return the public methods, properties and slots of a class.

    Those of a public base are shown at the base.
    """
    if not inspect.isclass(thing) or issubclass(thing, BaseException):
        return {}
    return {
        name: part
        for base in thing.__mro__
        if base is thing or base.__module__.startswith("aiocredentials._")
        for name, part in vars(base).items()
        if not name.startswith("_") and is_shown(part)
    }


def is_shown(part: object) -> bool:
    """Return whether a member of a class is shown: a method, a property or a slot."""
    if isinstance(part, (classmethod, staticmethod, property)):
        return True
    return inspect.isroutine(part) or inspect.ismemberdescriptor(part)


@cache
def full_names() -> dict[str, list[str]]:
    """Return the full names of each name within its module: `Secret`, `CredentialsPool.open`."""
    found: dict[str, list[str]] = {}
    for full_name in public_names():
        module = max((name for name in MODULES if full_name.startswith(f"{name}.")), key=len)
        found.setdefault(full_name.removeprefix(f"{module}."), []).append(full_name)
    return found


def meaning_of(code: str, owner: str) -> str | None:
    """Return the public name that some code is, such as `Secret`, `Secret.reveal()` or `refresh()`.

    Args:
        code: The code, as it stands in a sentence.
        owner: The class or module that the sentence is about: its own members come first.
    """
    name = code.removesuffix("()")
    for full_name in (name, f"{owner}.{name}"):
        if full_name in public_names():
            return full_name

    candidates = full_names().get(name, [])
    if len(candidates) == 1:
        return candidates[0]
    # Several modules have this name, or none.
    return None
