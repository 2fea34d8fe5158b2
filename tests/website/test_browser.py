"""Each page of the site works in a browser: on a wide and a narrow screen, in the light and in the dark.

These tests need the system's Chromium. All that they ask is served by this machine.
"""

from __future__ import annotations

import os
import shutil
import threading
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

ROOT = Path(__file__).parent.parent.parent
SITE = ROOT / os.environ["SITE"]
SCREENSHOTS = ROOT / "build" / "screenshots"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# Nothing but the pages is asked for, and nothing is written outside of the profile of the run.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HEIGHT = 900
WIDTHS = (1280, 390)
THEMES = ("light", "dark")

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed: on Debian, apt install chromium")


class Handler(SimpleHTTPRequestHandler):
    """Serves the site as hosts of static pages do: with its 404 page for each unknown address."""

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send the site's own page if there is nothing at the address."""
        if code != HTTPStatus.NOT_FOUND:
            super().send_error(code, message, explain)
            return
        body = (SITE / "404.html").read_bytes()
        self.send_response(code)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Serve the site on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(SITE))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start Chromium, with a new profile."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def contexts(browser: Browser) -> dict[tuple[int, str], BrowserContext]:
    """Return a context per width and theme. The system's theme is what a page follows at first."""
    return {
        (width, theme): browser.new_context(
            viewport={"width": width, "height": HEIGHT}, color_scheme="dark" if theme == "dark" else "light"
        )
        for width in WIDTHS
        for theme in THEMES
    }


@pytest.fixture
def wide(contexts: dict[tuple[int, str], BrowserContext]) -> Iterator[Page]:
    """Return a new tab on a wide screen."""
    page = contexts[1280, "light"].new_page()
    yield page
    page.close()


def watched(page: Page, address: str) -> list[str]:
    """Return the list to which each problem of a page is added as it happens."""
    problems: list[str] = []

    def note_response(response: Any) -> None:  # noqa: ANN401 (playwright's)
        if response.status >= HTTPStatus.BAD_REQUEST:
            problems.append(f"{response.status}: {response.url}")

    def note_request(request: Any) -> None:  # noqa: ANN401 (playwright's)
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != address:
            problems.append(f"asked another host: {request.url}")

    def note_message(message: Any) -> None:  # noqa: ANN401 (playwright's)
        if message.type in {"error", "warning"}:
            problems.append(f"console: {message.text}")

    page.on("console", note_message)
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("request", note_request)
    page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
    page.on("response", note_response)
    return problems


def images_of(page: Page) -> list[dict[str, Any]]:
    """Return the images that a reader sees."""
    images: list[dict[str, Any]] = page.evaluate(
        """() => [...document.querySelectorAll("article img")]
            .filter(image => image.offsetParent !== null)
            .map(image => ({src: image.src, loaded: image.complete && image.naturalWidth > 0,
                            of: image.className}))"""
    )
    return images


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, width: int, theme: str, address: str, contexts: dict[tuple[int, str], BrowserContext]) -> None:
    """A page causes no error, asks no other host, fits the width, and shows its images in its theme."""
    with contexts[width, theme].new_page() as page:
        problems = watched(page, address)
        # Pages wait for nothing after they are loaded. The test of the search looks at what it asks for.
        page.goto(f"{address}/{name}", wait_until="load")
        assert problems == []

        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"the page can be scrolled sideways, by {wider} pixels"

        other = "dark" if theme == "light" else "light"
        for image in images_of(page):
            assert image["loaded"], image
            assert f"only-{other}" not in image["of"], image


@pytest.mark.parametrize("name", ["reference/errors", "reference/manager-and-pool", "why/alternatives"])
def test_cards(name: str, address: str, contexts: dict[tuple[int, str], BrowserContext]) -> None:
    """On a phone, each cell of a table of text is on the screen, beside the heading of its column."""
    with contexts[390, "light"].new_page() as page:
        page.goto(f"{address}/{name}.html")
        cells = page.locator("table.cards td:not(.empty)")
        assert cells.count() > 20
        outside = cells.evaluate_all("cells => cells.filter(c => c.getBoundingClientRect().right > 390).length")
        assert outside == 0
        label = "getComputedStyle(document.querySelector('table.cards td:nth-child(2)'), '::before').content"
        assert page.locator("table.cards td:nth-child(2)").first.get_attribute("data-label") in page.evaluate(label)
        # It is still a table for those that hear it.
        expect(page.get_by_role("table").first.get_by_role("row").nth(1)).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_narrow_pictures(width: int, address: str, contexts: dict[tuple[int, str], BrowserContext]) -> None:
    """A phone shows the narrow variant of a picture, and its text is large enough to be read."""
    with contexts[width, "dark"].new_page() as page:
        page.goto(f"{address}/index.html")
        shown = [image["src"].rpartition("/")[2] for image in images_of(page)]
        assert shown == ["how-it-works-narrow-dark.svg" if width == 390 else "how-it-works-dark.svg"]
        zoom = page.evaluate(
            """() => [...document.querySelectorAll("article img")]
                .filter(image => image.offsetParent !== null)
                .map(image => image.clientWidth / image.naturalWidth)[0]"""
        )
        assert 13 * zoom >= 12


def test_contents(wide: Page, address: str) -> None:
    """On a wide screen, the contents of a page stand beside it."""
    wide.goto(f"{address}/tutorial.html")
    box = wide.locator(".toc-drawer").bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 1280
    expect(wide.locator(".toc-tree li li a").first).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_unknown_address(width: int, theme: str, address: str, contexts: dict[tuple[int, str], BrowserContext]) -> None:
    """The 404 page has its styles and leads back, however deep the unknown address is."""
    with contexts[width, theme].new_page() as page:
        problems = watched(page, address)
        page.goto(f"{address}/no/such/page.html", wait_until="networkidle")
        page.screenshot(path=SCREENSHOTS / f"404-{width}-{theme}.png")
        # The browser itself reports the status of the page, twice.
        assert [problem for problem in problems if "404" not in problem] == []

        sheets = page.evaluate("[...document.styleSheets].filter(sheet => sheet.cssRules.length).length")
        assert sheets >= 3
        page.get_by_role("link", name="the first page").click()
        expect(page).to_have_url(f"{address}/")


def test_search(wide: Page, address: str) -> None:
    """A search for `max_stale` finds the attribute and pages that explain it."""
    problems = watched(wide, address)
    wide.goto(f"{address}/index.html")
    wide.get_by_role("textbox", name="Search").first.fill("max_stale")
    wide.keyboard.press("Enter")
    results = wide.locator("#search-results li")
    expect(results.filter(has_text="CachePolicy.max_stale").first).to_be_visible()
    expect(wide.locator("#search-results .search-summary")).to_contain_text("found")
    wide.wait_for_load_state("networkidle")
    wide.screenshot(path=SCREENSHOTS / "search.png")
    assert problems == []

    results.first.get_by_role("link").click()
    expect(wide.locator("#aiocredentials\\.CachePolicy\\.max_stale")).to_be_visible()


@pytest.mark.parametrize(("word", "title"), [("region", "Regions"), ("rotation", "Rotations under load")])
def test_search_order(word: str, title: str, wide: Page, address: str) -> None:
    """Pages whose title has the word are found before the attributes with that name."""
    wide.goto(f"{address}/search.html?q={word}")
    results = wide.locator("#search-results li")
    expect(wide.locator("#search-results .search-summary")).to_contain_text("found")
    wide.wait_for_load_state("networkidle")
    found = [text.splitlines()[0] for text in results.all_inner_texts()]
    names = [number for number, text in enumerate(found) if text.startswith("aiocredentials.")]
    assert found.index(title) < min(names, default=len(found))


def test_copy_button(wide: Page, address: str) -> None:
    """The button beside a block of code copies the whole block."""
    wide.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
    wide.goto(f"{address}/tutorial.html", wait_until="networkidle")
    block = wide.locator("div.highlight").first
    block.hover()
    block.get_by_role("button", name="Copy").click()
    copied = wide.evaluate("navigator.clipboard.readText()")
    assert copied.strip() == block.locator("pre").inner_text().strip()


def test_theme_toggle(wide: Page, address: str) -> None:
    """The toggle leads through all themes and back, and the colours follow it."""
    wide.goto(f"{address}/index.html")
    themes: list[str] = []
    colours: set[str] = set()
    for _ in range(3):
        wide.locator("button.theme-toggle:visible").first.click()
        themes.append(wide.evaluate("document.body.dataset.theme"))
        colours.add(wide.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert set(themes) == {"light", "dark", "auto"}
    assert len(colours) == 2


def test_tabs(wide: Page, address: str) -> None:
    """The tabs of the install lines show one line at a time."""
    wide.goto(f"{address}/index.html")
    tabs = wide.locator(".sd-tab-set").first
    labels = tabs.locator("> label")
    shown = tabs.locator("> .sd-tab-content:visible")
    expect(shown).to_have_count(1)
    before = shown.inner_text()
    labels.nth(1).click()
    expect(shown).to_have_count(1)
    assert shown.inner_text() != before


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "name",
    [
        "index",
        "tutorial",
        "fleet",
        "how-to/databases",
        "reference/benchmarks",
        "reference/cache",
        "reference/errors",
        "reference/manager-and-pool",
        "why/alternatives",
        "reference/api/aiocredentials",
        "reference/api/errors",
        "reference/api/integrations",
        "project/readme",
    ],
)
def test_screenshot(
    name: str, width: int, theme: str, address: str, contexts: dict[tuple[int, str], BrowserContext]
) -> None:
    """A choice of pages is left as screenshots, for people to look at."""
    with contexts[width, theme].new_page() as page:
        page.goto(f"{address}/{name}.html")
        path = SCREENSHOTS / f"{name.replace('/', '-')}-{width}-{theme}.png"
        page.screenshot(path=path)
        assert path.stat().st_size > 0
