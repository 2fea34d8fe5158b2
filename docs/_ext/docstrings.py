"""Convert our docstrings, whose text is Markdown, to the reStructuredText that autodoc expects.

Code in single backticks becomes a link if it is a public name of ours. Fences become blocks.
"""

from __future__ import annotations

import inspect
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from public_names import meaning_of, public_names
from sphinx.pycode import ModuleAnalyzer
from texts import changed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from docutils.nodes import Element, reference
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# What autodoc calls the things that are no functions and no classes.
ATTRIBUTES = {"attribute", "data", "property"}
TABLE = re.compile(r"^\|.*\n\|[-|: ]+\n(?:\|.*\n?)+", re.MULTILINE)
CELL = re.compile(r"(?<!\\)\|")
CODE = re.compile(r"(?<![`:])`([^`]+)`(?!`)")
# In reStructuredText, these would begin emphasis or a substitution.
SPECIAL = re.compile(r"(?<!\\)([*|])(?! )")
# In the docstring of a module, an indented paragraph is a drawing.
DRAWING = re.compile(r"(?<=\n\n)( {4}.*\n)+")

# The pages that show how to use a module.
HOW_TO = {
    "aiocredentials.agent": "local-agent",
    "aiocredentials.doctor": "doctor",
    "aiocredentials.eventbridge": "rotation-push",
    "aiocredentials.events": "telemetry",
    "aiocredentials.iam": "iam",
    "aiocredentials.pytest_plugin": "testing",
    "aiocredentials.rotation": "databases",
    "aiocredentials.testing": "testing",
    "aiocredentials.integrations.aiomysql": "mysql",
    "aiocredentials.integrations.asyncmy": "mysql",
    "aiocredentials.integrations.asyncpg": "databases",
    "aiocredentials.integrations.fastapi": "fastapi",
    "aiocredentials.integrations.opentelemetry": "telemetry",
    "aiocredentials.integrations.psycopg": "databases",
    "aiocredentials.integrations.pydantic_settings": "settings",
    "aiocredentials.integrations.redis": "redis",
    "aiocredentials.integrations.snapstart": "lambda",
    "aiocredentials.integrations.sqlalchemy": "databases",
}


def convert(  # noqa: PLR0917 (autodoc's signature)
    app: Sphinx,  # noqa: ARG001
    what: str,
    name: str,
    thing: object,
    options: object,  # noqa: ARG001
    lines: list[str],
) -> None:
    """Convert the lines of one docstring in place."""
    owner = name if what in {"class", "exception"} else name.rpartition(".")[0]
    text = TABLE.sub(list_table, "\n".join(lines))
    if what == "module":
        text = DRAWING.sub(fenced, text)
    link = partial(code_of, owner=owner, arguments=arguments_of(thing))
    text = changed(text, FENCE, partial(converted, link=link), block)
    lines[:] = text.splitlines()
    if what == "module" and name in HOW_TO:
        lines += ["", f"How to use it: :doc:`/how-to/{HOW_TO[name]}`.", ""]
    if what in ATTRIBUTES:
        # Napoleon takes what stands before a colon in the first line for a type. So the first line
        # is an empty comment.
        lines[:0] = ["..", ""]


def fenced(drawing: re.Match[str]) -> str:
    """Return a drawing as a fenced block."""
    return f"```\n{drawing[0]}```\n"


def list_table(table: re.Match[str]) -> str:
    """Return a table as a directive."""
    head, _, *rows = table[0].splitlines()
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in [head, *rows]:
        cells = [cell.strip() for cell in CELL.split(row)[1:-1]]
        lines += cells_of(cells)
    return "\n".join(lines) + "\n"


def cells_of(cells: list[str]) -> Iterator[str]:
    """Yield the lines of one row of a table."""
    mark = "*"
    for cell in cells:
        yield f"   {mark} - {cell}".rstrip()
        mark = " "


def block(fence: re.Match[str]) -> str:
    """Return a fenced block as a directive."""
    margin, language, code = fence.groups()
    indented = re.sub(r"^(?=.)", "    ", code, flags=re.MULTILINE)
    return f"{margin}.. code-block:: {language or 'text'}\n\n{indented}"


def arguments_of(thing: object) -> set[str]:
    """Return the names of the arguments of a function or a class."""
    try:
        return set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        # It can't be called, or its C code doesn't say how.
        return set()


def converted(text: str, link: Callable[[re.Match[str]], str]) -> str:
    """Return text outside of blocks with its code as links or literals."""
    return changed(text, CODE, escaped, link)


def escaped(text: str) -> str:
    """Return prose without marks that mean something in reStructuredText only."""
    return SPECIAL.sub(r"\\\1", text)


def code_of(piece: re.Match[str], owner: str, arguments: set[str]) -> str:
    """Return code as a link to the name that it is, or as a literal."""
    # The code may be wrapped. A line end in it counts as a space, as in Markdown.
    code = re.sub(r"\s*\n\s*", " ", piece[1])
    target = meaning_of(code, owner)
    # An argument may have the name of a method.
    if target is None or code in arguments:
        return f"``{code}``"
    return f":py:obj:`{code} <{target}>`"


def without_arguments(  # noqa: PLR0917 (autodoc's signature)
    app: Sphinx,  # noqa: ARG001
    what: str,  # noqa: ARG001
    name: str,
    thing: object,  # noqa: ARG001
    options: object,  # noqa: ARG001
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    """Show a fixture as a name, because pytest passes its arguments."""
    if name.startswith("aiocredentials.pytest_plugin."):
        return "", None
    return signature, returned


def resolve(
    app: Sphinx,
    env: BuildEnvironment,
    node: pending_xref,
    text: Element,
) -> reference | None:
    """Resolve a type that a signature names without its module, as the source does."""
    if node.get("refdomain") != "py":
        return None
    target = meaning_of(node["reftarget"], "")
    if target is None or target == node["reftarget"]:
        return None
    domain = env.domains.python_domain
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", target, node, text)


def forget_overloads(app: Sphinx) -> None:  # noqa: ARG001 (Sphinx's signature)
    """Show one signature of each function.

    Our overloads have up to 15 arguments and differ in two. Beside them, nobody would find the
    rest of the page.
    """
    modules = {getattr(thing, "__module__", None) for thing in public_names().values()}
    for module in filter(None, modules):
        if module.partition(".")[0] == "aiocredentials":
            analyzer = ModuleAnalyzer.for_module(module)
            analyzer.analyze()
            analyzer.overloads.clear()


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    app.connect("builder-inited", forget_overloads)
    # Before napoleon, which looks for sections in the converted text.
    app.connect("autodoc-process-docstring", convert, priority=100)
    app.connect("autodoc-process-signature", without_arguments)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
