"""The site that was built has each page and each public name, and its links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from functools import cache, partial
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from navigation import KINDS
from public_names import MODULES, public_names
from repository_pages import DIAGRAM, PICTURE, SHOWN_BY, arrows_table, images
from sphinx.util.inventory import InventoryFile

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Source"]


class Page(HTMLParser):
    """What one page links to, loads and says about itself."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {"", "top"}
        self.about: dict[str, str] = {}
        self.tags: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag means."""
        self.tags.add(tag)
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in {"img", "script"} and "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") in {"stylesheet", "icon", "preload"}:
            self.loaded.append(values["href"])
        if tag == "meta" and "content" in values:
            name = values.get("property") or values.get("name", "")
            self.about[name] = values["content"]


@cache
def page_at(path: Path) -> Page:
    """Return a page, which is read once."""
    return Page(path)


def pages_of(site: Path) -> Iterator[Page]:
    """Yield all pages. The 404 page isn't one: its links begin at the root of the server."""
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":
            yield page_at(path)


def test_public_names(site: Path) -> None:
    """The reference has each public name: all of `__all__`, and the methods of public classes."""
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    shown = {name for kind, names in inventory.data.items() if kind.startswith("py:") for name in names}
    assert sorted(public_names().keys() - shown) == []


def test_modules() -> None:
    """The reference has each public module of the package, wherever its page is."""
    package = ROOT / "src" / "aiocredentials"
    found = {
        ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in package.rglob("*.py")
        if not any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(package).parts)
    }
    parts_of_the_doctor = {name for name in found if name.startswith("aiocredentials.doctor.")}
    without_names = {"aiocredentials.integrations"}
    assert found - parts_of_the_doctor - without_names == set(MODULES)


def test_links(site: Path) -> None:
    """Each link within the site leads to a page, and to a heading or a name that is on it."""
    broken: list[str] = []
    for page in pages_of(site):
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                broken.append(f"{page.path.relative_to(site)}: {link}")
            elif target.suffix == ".html" and unquote(parts.fragment) not in page_at(target).anchors:
                broken.append(f"{page.path.relative_to(site)}: {link} (no such anchor)")
    assert broken == []


def test_repository_links(site: Path) -> None:
    """Each link to a file of the repository names one that is there."""
    broken: list[str] = []
    for page in pages_of(site):
        for link in page.links:
            _, found, name = link.partition(f"{REPOSITORY}/")
            name = re.sub(r"^(blob|tree)/main/", "", name.partition("#")[0])
            if found and name not in {"issues", "security"} and not (ROOT / name).exists():
                broken.append(f"{page.path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_from_elsewhere(site: Path) -> None:
    """No page loads a script, a style, a font or an image from another host."""
    foreign = {(page.path.name, url) for page in pages_of(site) for url in page.loaded if urlsplit(url).netloc}
    assert foreign == set()


def test_files(site: Path) -> None:
    """Each script, style and image that a page loads is part of the site."""
    missing = {
        (page.path.name, url)
        for page in pages_of(site)
        for url in page.loaded
        if not url.startswith("data:") and not (page.path.parent / unquote(urlsplit(url).path)).exists()
    }
    assert missing == set()


def test_previews(site: Path) -> None:
    """Each page has a title and a description for link previews."""
    for pages in KINDS.values():
        for name in pages:
            about = page_at(site / f"{name}.html").about
            assert about.get("og:title"), name
            assert about.get("og:description"), name


def test_pictures(site: Path) -> None:
    """A picture for two themes became two images: furo shows the one that suits."""
    assert [page.path.name for page in pages_of(site) if "picture" in page.tags] == []

    text = '<picture>\n  <source media="(prefers-color-scheme: dark)" srcset="a-dark.svg">\n'
    text += '  <img src="a-light.svg" alt="Bars">\n</picture>'
    two = PICTURE.sub(partial(images, folder=site), text)
    assert two.split() == ["![Bars](a-light.svg){.only-light}", "![Bars](a-dark.svg){.only-dark}"]
    assert two.count("\n") == text.count("\n"), "warnings would name wrong lines"


def test_narrow_pictures(site: Path) -> None:
    """A picture with a variant for narrow screens became four images."""
    index = (site / "index.html").read_text(encoding="utf-8")
    for theme in ("light", "dark"):
        assert re.search(rf'only-{theme} only-wide"[^>]* src="_images/how-it-works-{theme}.svg"', index)
        assert re.search(rf'only-{theme} only-narrow"[^>]* src="_images/how-it-works-narrow-{theme}.svg"', index)


def test_cards(site: Path) -> None:
    """In a table of text, each value has the heading of its column, and each part has its role."""
    errors = (site / "reference" / "errors.html").read_text(encoding="utf-8")
    table = next(found for found in re.findall(r"<table.*?</table>", errors, re.DOTALL) if "what to do" in found)
    cells = re.findall(r"<td([^>]*)>", table)
    headings = ["error", "when", "transient", "what to do"]
    assert len(cells) > 40
    for number, attributes in enumerate(cells):
        assert f'role="cell" data-label="{headings[number % 4]}"' in attributes
    assert table.startswith('<table class="cards docutils align-default" role="table">')
    assert table.count('role="row"') == len(cells) / 4 + 1
    assert table.count('role="columnheader"') == 4

    figures = (site / "reference" / "costs.html").read_text(encoding="utf-8")
    assert re.search(r'<table class="docutils align-default">\s*<thead>', figures)


def test_sidebar(site: Path) -> None:
    """The sidebar has a group per kind; the group of the page is open; each title is there once."""
    page = (site / "how-to" / "redis.html").read_text(encoding="utf-8")
    sidebar = page.partition('<div class="sidebar-tree">')[2].partition("</aside>")[0]
    groups = re.findall(r'<details( open)?><summary class="caption"><span class="caption-text">(.*?)</span>', sidebar)
    assert [kind for _, kind in groups] == list(KINDS)
    is_open = {kind: bool(state) for state, kind in groups}
    assert is_open["How-to: databases"]
    assert not is_open["How-to: your service"]
    assert sidebar.count("</details>") == len(KINDS)
    assert re.search(r'href="\.\./project/readme\.html">README</a>', sidebar)


def test_diagrams(site: Path) -> None:
    """A diagram, which GitHub draws by a program from the network, became a table of its arrows."""
    text = '```mermaid\nflowchart TD\n    a["Above"] --> b\n    a --> c["Beside"]\n    b["Below"]\n```'
    table = DIAGRAM.sub(arrows_table, text)
    assert table.split("\n") == ["| from | to |", "|---|---|", "| Above | Below<br>Beside |", "", "", ""]

    contributing = (site / "project" / "contributing.html").read_text(encoding="utf-8")
    assert "flowchart" not in contributing


def test_llms_txt(site: Path) -> None:
    """The list for language models has each page, with what it is about."""
    text = (site / "llms.txt").read_text(encoding="utf-8")
    everything = (site / "llms-full.txt").read_text(encoding="utf-8")
    for pages in KINDS.values():
        for name in pages:
            assert re.search(rf"^- \[.+\]\((\S+/)?{name}\.html\): .+$", text, re.MULTILINE), name
            source = SHOWN_BY.get(name, f"docs/{name}.md")
            assert (ROOT / source).read_text(encoding="utf-8") in everything, name
