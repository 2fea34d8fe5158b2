"""Let a browser break long names after a dot, so that a narrow screen is wide enough for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx

# In characters. A shorter name is never wider than the screen of a phone.
SHORT = 16

# In characters. On a wide screen, a column of a table has room for this much code.
WIDTH_OF_A_COLUMN = 28

# A name may be broken after one of these, if more than a bracket follows.
BREAK = re.compile(r"(?<=[./,:(\[-])(?=[^\s)\]}]{3})")


def add_breaks(app: Sphinx, tree: nodes.document, page: str) -> None:  # noqa: ARG001
    """Mark the places in code and in the names of modules where a line may end."""
    for code in tree.findall(nodes.literal):
        if len(code.astext()) <= WIDTH_OF_A_COLUMN:
            code["classes"].append("fits-a-column")

    for node in list(tree.findall(nodes.Text)):
        if isinstance(node.parent, (nodes.literal, nodes.title)):
            parts = parts_of(node.astext())
            if len(parts) > 1:
                node.parent.replace(node, parts)


def parts_of(text: str) -> list[nodes.Node]:
    """Return a text with a mark at each place where it may be broken."""
    parts: list[nodes.Node] = []
    for word in re.split(r"(\s+)", text):
        pieces = [word] if len(word) < SHORT else BREAK.split(word)
        for number, piece in enumerate(pieces):
            if number:
                parts.append(nodes.raw("", "<wbr>", format="html"))
            parts.append(nodes.Text(piece))
    return parts


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    app.connect("doctree-resolved", add_breaks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
