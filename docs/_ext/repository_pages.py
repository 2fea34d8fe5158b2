"""Adapt Markdown that GitHub shows as well: links, pictures for two themes, tabs, diagrams.

Each change keeps the number of lines, so the warnings of the build name the right ones.
"""

from __future__ import annotations

import os.path
import re
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from texts import changed

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent.parent

# Files in the root of the repository, and the pages of the site that show them.
ROOT_FILES = {
    "README.md": "project/readme",
    "CHANGELOG.md": "project/changelog",
    "SECURITY.md": "project/security",
    "CONTRIBUTING.md": "project/contributing",
    "RELEASING.md": "project/releasing",
}
SHOWN_BY = {page: name for name, page in ROOT_FILES.items()}

# A page without its code: fenced blocks, code in a sentence, comments.
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`|<!--.*?-->", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)")

PICTURE = re.compile(
    r"<picture>\s*"
    r'<source media="\(prefers-color-scheme: dark\)" srcset="(?P<dark>[^"]+)">\s*'
    r'<img src="(?P<light>[^"]+)" alt="(?P<text>[^"]*)"[^>]*>\s*'
    r"</picture>"
)

# A list of tabs: each begins with a bold line, as `**pip**`.
TABS = re.compile(r"^<!-- tabs -->\n(.*?)^<!-- end of tabs -->$", re.MULTILINE | re.DOTALL)
TAB = re.compile(r"\n\*\*(.+)\*\*\n")

# A diagram that GitHub draws, and in it `name["label"] --> name["label"]`.
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LABEL = re.compile(r'\b(\w+)\["([^"]+)"\]')
ARROW = re.compile(r"^ *(\w+)(?:\[.*?\])? --> (\w+)", re.MULTILINE)


class Links:
    """Finds out where the links of one page lead on the site."""

    def __init__(self, file: Path, page: str, repository: str) -> None:
        self._file = file
        self._folder = PurePosixPath(page).parent
        self._repository = repository

    def replaced(self, text: str) -> str:
        """Return text whose links are as the site needs them."""
        return LINK.sub(self._target, text)

    def _target(self, link: re.Match[str]) -> str:
        target = (self._file.parent / link[1]).resolve()
        docs = ROOT / "docs"
        if not target.is_relative_to(ROOT):
            # The build warns of it, as of each link that leads nowhere.
            return link[1]
        if target.is_relative_to(docs):
            return self._from_here(target.relative_to(docs).as_posix())

        name = target.relative_to(ROOT).as_posix()
        if name in ROOT_FILES:
            return self._from_here(f"{ROOT_FILES[name]}.md")
        return self._in_repository(target, name) or link[1]

    def _from_here(self, name: str) -> str:
        return os.path.relpath(name, self._folder).replace(os.sep, "/")

    def _in_repository(self, target: Path, name: str) -> str | None:
        if target.is_dir():
            return f"{self._repository}/tree/main/{name}"
        if target.is_file():
            return f"{self._repository}/blob/main/{name}"
        return None


def adapt(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the source of a page by what the site shows."""
    file = Path(app.env.doc2path(page))
    if page in SHOWN_BY:
        file = ROOT / SHOWN_BY[page]
        app.env.note_dependency(file)
        source[0] = file.read_text(encoding="utf-8")

    links = Links(file, page, app.config.repository)
    text = TABS.sub(tab_set, source[0])
    text = DIAGRAM.sub(arrows_table, text)
    text = PICTURE.sub(partial(images, folder=file.parent), text)
    source[0] = changed(text, CODE, links.replaced, lambda code: code[0])


def images(picture: re.Match[str], folder: Path) -> str:
    """Return one image for the light theme and one for the dark: the theme shows one of them.

    A picture that has a narrow variant in the folder becomes four images, and `site.css` hides
    those for other widths.
    """
    found: list[str] = []
    for theme in ("light", "dark"):
        wide = picture[theme]
        narrow = wide.replace(f"-{theme}.", f"-narrow-{theme}.")
        if narrow != wide and (folder / narrow).is_file():
            found.append(image(picture["text"], narrow, f"only-{theme}", "only-narrow"))
            found.append(image(picture["text"], wide, f"only-{theme}", "only-wide"))
        else:
            found.append(image(picture["text"], wide, f"only-{theme}"))
    return " ".join(found) + "\n" * picture[0].count("\n")


def image(text: str, file: str, *classes: str) -> str:
    """Return the Markdown of an image with classes."""
    marks = " ".join(f".{name}" for name in classes)
    return f"![{text}]({file}){{{marks}}}"


def tab_set(tabs: re.Match[str]) -> str:
    """Return the tabs as sphinx-design needs them."""
    first, *rest = TAB.split("\n" + tabs[1])
    items = [
        f"\n:::{{tab-item}} {name}\n{text.rstrip()}\n:::"
        for name, text in zip(rest[::2], rest[1::2], strict=True)
    ]
    return f"::::{{tab-set}}{first.rstrip()}" + "\n".join(items) + "\n::::"


def arrows_table(diagram: re.Match[str]) -> str:
    """Return the arrows of a diagram as a table, because its program needs the network."""
    labels = dict(LABEL.findall(diagram[1]))
    targets: dict[str, list[str]] = {}
    for source, target in ARROW.findall(diagram[1]):
        targets.setdefault(source, []).append(labels[target])

    rows = [f"| {labels[source]} | {'<br>'.join(names)} |" for source, names in targets.items()]
    missing = diagram[0].count("\n") - len(rows) - 1
    return "\n".join(["| from | to |", "|---|---|", *rows]) + "\n" * missing


def link_to_source(
    app: Sphinx,
    page: str,
    template: str,  # noqa: ARG001
    context: dict[str, Any],
    tree: object,  # noqa: ARG001
) -> None:
    """Let the button "View this page" lead to the file in the root that the page shows."""
    if page in SHOWN_BY:
        context["theme_source_view_link"] = f"{app.config.repository}/blob/main/{SHOWN_BY[page]}"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    app.add_config_value("repository", "", "env", str)
    app.connect("source-read", adapt)
    app.connect("html-page-context", link_to_source)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
