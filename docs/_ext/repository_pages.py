"""Adapt Markdown that GitHub shows as well: links to other files, pictures for two themes, tabs.

Each change keeps the number of lines, so the warnings of the build name the right ones.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from pygments.lexers.special import TextLexer

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


class Links:
    """Finds out where the links of one page lead on the site."""

    def __init__(self, file: Path, page: str, repository: str) -> None:
        self._file = file
        self._folder = PurePosixPath(page).parent
        self._repository = repository

    def replaced(self, link: re.Match[str]) -> str:
        """Return the target of a link as the site needs it."""
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
    text = PICTURE.sub(two_images, text)
    source[0] = outside_code(text, LINK, links)


def outside_code(text: str, pattern: re.Pattern[str], links: Links) -> str:
    """Replace the links that stand outside of code."""
    parts: list[str] = []
    end = 0
    for code in CODE.finditer(text):
        parts.append(pattern.sub(links.replaced, text[end : code.start()]))
        parts.append(code[0])
        end = code.end()
    parts.append(pattern.sub(links.replaced, text[end:]))
    return "".join(parts)


def two_images(picture: re.Match[str]) -> str:
    """Return one image for the light theme and one for the dark: the theme shows one of them."""
    images = [
        f"![{picture['text']}]({picture[theme]}){{.only-{theme}}}" for theme in ("light", "dark")
    ]
    missing = picture[0].count("\n") - 1
    return "\n".join(images) + "\n" * missing


def tab_set(tabs: re.Match[str]) -> str:
    """Return the tabs as sphinx-design needs them."""
    first, *rest = TAB.split("\n" + tabs[1])
    items = [
        f"\n:::{{tab-item}} {name}\n{text.rstrip()}\n:::"
        for name, text in zip(rest[::2], rest[1::2], strict=True)
    ]
    return f"::::{{tab-set}}{first.rstrip()}" + "\n".join(items) + "\n::::"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect this extension with Sphinx."""
    app.add_config_value("repository", "", "env", str)
    # Only GitHub draws these.
    app.add_lexer("mermaid", TextLexer)
    app.connect("source-read", adapt)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
