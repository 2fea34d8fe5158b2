"""Write for language models: `llms.txt` lists all pages, and `llms-full.txt` has their text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from navigation import KINDS
from repository_pages import ROOT, SHOWN_BY

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


def write(app: Sphinx, exception: Exception | None) -> None:
    """Write both files when the pages have been built."""
    if exception is not None or app.builder.name != "html":
        return
    heading = f"# {app.config.project}\n\n> {app.config.summary}\n"
    lists = [heading]
    texts = [heading]
    for kind, names in KINDS.items():
        # The build has warned of a page that is missing.
        pages = [name for name in names if name in app.env.found_docs]
        lines = [line_of(app.env, page, app.config.html_baseurl) for page in pages]
        lists.append(f"## {kind}\n\n" + "\n".join(lines) + "\n")
        texts += [text_of(app.env, page) for page in pages]

    Path(app.outdir, "llms.txt").write_text("\n".join(lists), encoding="utf-8")
    Path(app.outdir, "llms-full.txt").write_text("\n".join(texts), encoding="utf-8")


def line_of(env: BuildEnvironment, page: str, base: str) -> str:
    """Return a link to a page with its first sentence."""
    title = env.titles[page].astext()
    paragraph = next(iter(env.get_doctree(page).findall(nodes.paragraph)), None)
    sentence = "" if paragraph is None else paragraph.astext().partition("\n")[0]
    return f"- [{title}]({base}{page}.html): {sentence}"


def text_of(env: BuildEnvironment, page: str) -> str:
    """Return the Markdown of a page, as it is in the repository."""
    file = Path(env.doc2path(page))
    if page in SHOWN_BY:
        file = ROOT / SHOWN_BY[page]
    return file.read_text(encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    app.add_config_value("summary", "", "env", str)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
