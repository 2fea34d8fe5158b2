"""The examples in docstrings, which the reference shows: they are Python, and each name that they import exists."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from pathlib import Path

import pytest

import aiocredentials

FOLDER = Path(aiocredentials.__file__).parent
FENCED = re.compile(r"^( *)```python\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
WITH_DOCSTRING = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
# These modules import a library that isn't a dependency.
NEED_AN_EXTRA = ("aiocredentials.integrations.", "aiocredentials.testing")


def examples() -> dict[str, str]:
    """Return the code of each example by the file and the object that it documents."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, WITH_DOCSTRING):
                text = ast.get_docstring(node) or ""
                name = f"{path.relative_to(FOLDER)}:{getattr(node, 'name', '')}"
                for number, match in enumerate(FENCED.finditer(text)):
                    found[f"{name}:{number}"] = textwrap.dedent(match[2])
    return found


EXAMPLES = examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name: str) -> None:
    """An example can be compiled, and it imports only names that the package has."""
    code = EXAMPLES[name]
    compile(code, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(code)):
        source = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        is_ours = source.partition(".")[0] == aiocredentials.__name__
        if isinstance(node, ast.ImportFrom) and is_ours and not source.startswith(NEED_AN_EXTRA):
            module = importlib.import_module(source)
            assert all(hasattr(module, alias.name) for alias in node.names)


# The classes and methods that most users meet first.
FIRST = [
    aiocredentials.AsyncCredentialsManager,
    aiocredentials.AsyncCredentialsManager.retrieve_secret_string,
    aiocredentials.AsyncCredentialsManager.get,
    aiocredentials.CredentialsPool,
    aiocredentials.CachePolicy,
    aiocredentials.Secret,
    aiocredentials.DatabaseCredentials,
]


@pytest.mark.parametrize("thing", FIRST, ids=lambda thing: thing.__qualname__)
def test_what_people_meet_first_has_an_example(thing: object) -> None:
    """The docstring has the section `Example`, with Python code in it."""
    docstring = inspect.getdoc(thing) or ""
    assert re.search(r"^Example:\n    ```python\n", docstring, re.MULTILINE)
