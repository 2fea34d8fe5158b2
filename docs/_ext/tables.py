"""Let a table of text be read on a phone: each row becomes a card, by the styles in `site.css`.

A card shows the heading of a column beside each value, so each cell is marked with it. A table of
figures stays a table, because its figures are compared with those above and below them.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.writers.html5 import HTML5Translator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sphinx.application import Sphinx

# A table of fewer columns fits the screen of a phone.
COLUMNS = 3

# Without these, a browser would forget that a row is one, because its style is that of a block.
ROLES: dict[type[nodes.Element], str] = {
    nodes.table: "table",
    nodes.thead: "rowgroup",
    nodes.tbody: "rowgroup",
    nodes.row: "row",
    nodes.entry: "cell",
}


def mark_tables(app: Sphinx, tree: nodes.document, page: str) -> None:  # noqa: ARG001
    """Mark the tables whose rows become cards on a narrow screen."""
    for table in tree.findall(nodes.table):
        labels = labels_of(table)
        if len(labels) >= COLUMNS and not has_figures(table):
            table["classes"].append("cards")
            mark_table(table, labels)


def labels_of(table: nodes.table) -> list[str]:
    """Return the headings of the columns, or nothing if there are none."""
    head = next(iter(table.findall(nodes.thead)), None)
    if head is None:
        return []
    return [cell.astext() for cell in head.findall(nodes.entry)]


def has_figures(table: nodes.table) -> bool:
    """Return whether a column is aligned at the right, as those of figures are."""
    return any("text-right" in cell["classes"] for cell in table.findall(nodes.entry))


def mark_table(table: nodes.table, labels: list[str]) -> None:
    """Give each part of a table its role, and each value the heading of its column."""
    for part in table.findall(lambda node: type(node) in ROLES):
        part["html"] = {"role": ROLES[type(part)]}
    for cell in next(iter(table.findall(nodes.thead))).findall(nodes.entry):
        cell["html"]["role"] = "columnheader"
    for label, cell in labelled(table, labels):
        cell["html"]["data-label"] = label
        if not cell.astext().strip():
            cell["classes"].append("empty")


def labelled(table: nodes.table, labels: list[str]) -> Iterator[tuple[str, nodes.entry]]:
    """Yield each cell of the body with the heading of its column."""
    for body in table.findall(nodes.tbody):
        for row in body.findall(nodes.row):
            yield from zip(labels, row.findall(nodes.entry), strict=True)


def visitor(kind: type[nodes.Element]) -> Callable[[HTML5Translator, nodes.Element], None]:
    """Return a method that writes the first tag of a part of a table, with our attributes."""
    write = getattr(HTML5Translator, f"visit_{kind.__name__}")

    def visit(translator: HTML5Translator, node: nodes.Element) -> None:
        write(translator, node)
        attributes = node.get("html", {})
        texts = [f' {name}="{escape(value)}"' for name, value in attributes.items()]
        # The last piece of the page is the tag: `<td>` or `<td class="...">`.
        tag, end, after = translator.body[-1].rpartition(">")
        translator.body[-1] = tag + "".join(texts) + end + after

    return visit


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    app.connect("doctree-resolved", mark_tables)
    for kind in ROLES:
        leave = getattr(HTML5Translator, f"depart_{kind.__name__}")
        app.add_node(kind, override=True, html=(visitor(kind), leave))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
