"""Write `llms.txt`, a list of all pages with their first sentences, for language models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from navigation import KINDS

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write the list when the pages have been built."""
    if exception is not None or app.builder.name != "html":
        return
    sections = [f"# {app.config.project}\n\n> {app.config.html_short_title}\n"]
    for kind, pages in KINDS.items():
        lines = [line_of(app.env, page, app.config.html_baseurl) for page in pages]
        sections.append(f"## {kind}\n\n" + "\n".join(lines) + "\n")
    Path(app.outdir, "llms.txt").write_text("\n".join(sections), encoding="utf-8")


def line_of(env: BuildEnvironment, page: str, base: str) -> str:
    """Return a link to a page with its first sentence."""
    title = env.titles[page].astext()
    paragraph = next(iter(env.get_doctree(page).findall(nodes.paragraph)), None)
    text = "" if paragraph is None else paragraph.astext().partition("\n")[0]
    return f"- [{title}]({base}{page}.html): {text}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
