"""Draw the pictures and badges that aren't measurements, for light and for dark pages.

`python docs/images/draw.py` writes them beside this file. They are made by a program because both
colours of a picture must stay equal, and because their numbers are those of the code:
tests/test_images.py fails when a picture isn't what this script draws.
"""

from __future__ import annotations

import textwrap
import tomllib
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from aiocredentials import CachePolicy

FOLDER = Path(__file__).parent
PYPROJECT = FOLDER.parent.parent / "pyproject.toml"
FONT = "-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Theme:
    """The colours of a page, and those of the states of a cached value."""

    text: str
    quiet: str
    line: str
    box: str
    accent: str
    fresh: str
    ahead: str
    stale: str
    expired: str


# GitHub's own colours, so the pictures look at home in a README and on the site.
THEMES = {
    "light": Theme(
        text="#1f2328",
        quiet="#59636e",
        line="#818b98",
        box="#f6f8fa",
        accent="#0969da",
        fresh="#1a7f37",
        ahead="#0969da",
        stale="#9a6700",
        expired="#d1242f",
    ),
    "dark": Theme(
        text="#f0f6fc",
        quiet="#9198a1",
        line="#656c76",
        box="#151b23",
        accent="#4493f8",
        fresh="#3fb950",
        ahead="#4493f8",
        stale="#d29922",
        expired="#f85149",
    ),
}


@dataclass
class Drawing:
    """An SVG that grows with each shape. Coordinates are pixels from the top left corner."""

    width: int
    height: int
    theme: Theme
    title: str
    shapes: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        colour: str | None = None,
        size: int = 14,
        bold: bool = False,
        anchor: str = "start",
        code: bool = False,
    ) -> None:
        """Write one line of text, with its baseline at `y`."""
        weight = ' font-weight="600"' if bold else ""
        family = (
            " font-family=\"ui-monospace, 'SF Mono', Menlo, Consolas, monospace\"" if code else ""
        )
        self.shapes.append(
            f'<text x="{x}" y="{y}" fill="{colour or self.theme.text}" font-size="{size}"'
            f' text-anchor="{anchor}"{weight}{family}>{escape(text)}</text>'
        )

    def box(
        self, x: float, y: float, width: float, height: float, *, edge: str | None = None
    ) -> None:
        """Draw a rounded rectangle."""
        self.shapes.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8"'
            f' fill="{self.theme.box}" stroke="{edge or self.theme.line}" stroke-width="1.5"/>'
        )

    def dot(self, x: float, y: float, colour: str) -> None:
        """Draw a dot in the colour of a state."""
        self.shapes.append(f'<circle cx="{x}" cy="{y}" r="6" fill="{colour}"/>')

    def arrow(self, path: str, *, colour: str | None = None, dashed: bool = False) -> None:
        """Draw a line along an SVG path, with an arrowhead at its end."""
        stroke = colour or self.theme.line
        name = stroke.removeprefix("#")
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self.shapes.append(
            f'<marker id="head-{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7"'
            f' markerHeight="7" orient="auto-start-reverse">'
            f'<path d="M0 0 10 5 0 10z" fill="{stroke}"/></marker>'
            f'<path d="{path}" fill="none" stroke="{stroke}" stroke-width="1.8"{dashes}'
            f' marker-end="url(#head-{name})"/>'
        )

    def svg(self) -> str:
        """Return the finished file."""
        shapes = "\n".join(self.shapes)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}"'
            f' width="{self.width}" height="{self.height}" role="img" font-family="{FONT}">\n'
            f"<title>{escape(self.title)}</title>\n{shapes}\n</svg>\n"
        )


def how_it_works(theme: Theme) -> Drawing:
    """Draw the way of a read from its task to AWS, and below it the way of a new version."""
    title = "Tasks read from a cache; one call to AWS serves all of them; a rotation comes back"
    drawing = Drawing(760, 376, theme, title)

    for row in range(3):
        y = 78 + 52 * row
        drawing.box(12, y, 92, 36)
        drawing.text(58, y + 23, "task", anchor="middle")
        drawing.arrow(f"M104 {y + 18} C140 {y + 18} 140 148 170 148")
    drawing.text(58, 60, "many callers", anchor="middle", colour=theme.quiet, size=13)

    drawing.box(178, 34, 300, 228, edge=theme.accent)
    drawing.text(194, 60, "cache", bold=True)
    drawing.text(462, 60, "one entry per secret", anchor="end", colour=theme.quiet, size=13)
    draw_answers(drawing, 202, 90)

    drawing.arrow("M478 148 H514")
    drawing.box(522, 116, 96, 64)
    drawing.text(570, 143, "one call", bold=True, anchor="middle")
    drawing.text(570, 163, "for all tasks", anchor="middle", colour=theme.quiet, size=13)
    drawing.arrow("M618 148 H646")
    drawing.box(654, 98, 96, 100)
    drawing.text(702, 134, "AWS", bold=True, anchor="middle")
    drawing.text(702, 154, "Secrets", anchor="middle", colour=theme.quiet, size=13)
    drawing.text(702, 171, "Manager", anchor="middle", colour=theme.quiet, size=13)

    draw_rotation(drawing)
    return drawing


def draw_answers(drawing: Drawing, x: float, top: float) -> None:
    """Write what a reader gets in each state of an entry."""
    theme = drawing.theme
    policy = CachePolicy()
    states = [
        (theme.fresh, "fresh", "returned from memory"),
        (theme.ahead, "fresh, refresh under way", "returned from memory"),
        (
            theme.stale,
            "stale, AWS is slow or down",
            f"returned within {policy.patience:g} s, until it is {policy.max_stale / 3600:g} h old",
        ),
        (theme.expired, "missing or expired", "waits for AWS"),
    ]
    for row, (colour, state, answer) in enumerate(states):
        y = top + 45 * row
        drawing.dot(x, y - 5, colour)
        drawing.text(x + 16, y, state, bold=True)
        drawing.text(x + 16, y + 18, answer, colour=theme.quiet, size=13)


def draw_rotation(drawing: Drawing) -> None:
    """Draw the way of a new version: from AWS to the cache, and on to the connection pools."""
    theme = drawing.theme
    drawing.arrow("M702 198 V330 H476", colour=theme.accent, dashed=True)
    drawing.text(692, 268, "rotation", anchor="end", bold=True)
    drawing.text(692, 287, "found by the next refresh,", anchor="end", colour=theme.quiet, size=13)
    drawing.text(692, 305, "or pushed within seconds", anchor="end", colour=theme.quiet, size=13)

    drawing.box(272, 300, 196, 60, edge=theme.accent)
    drawing.text(370, 326, "new version is cached", bold=True, anchor="middle", size=13)
    drawing.text(370, 345, "the old one is dropped", anchor="middle", colour=theme.quiet, size=13)
    drawing.arrow("M370 300 V270", colour=theme.accent, dashed=True)

    drawing.arrow("M272 330 H240", colour=theme.accent, dashed=True)
    drawing.box(12, 300, 220, 60)
    drawing.text(122, 326, "database and Redis pools", bold=True, anchor="middle", size=13)
    drawing.text(122, 345, "sign in with the new one", anchor="middle", colour=theme.quiet, size=13)


def how_it_works_narrow(theme: Theme) -> Drawing:
    """Draw the same for the screen of a phone, from the top to the bottom."""
    title = "Tasks read from a cache; one call to AWS serves all of them; a rotation comes back"
    drawing = Drawing(360, 646, theme, title)

    drawing.text(180, 18, "many callers", anchor="middle", colour=theme.quiet, size=13)
    for x in (60, 180, 300):
        drawing.box(x - 50, 28, 100, 36)
        drawing.text(x, 51, "task", anchor="middle")
        drawing.arrow(f"M{x} 64 C{x} 86 180 78 180 100")

    drawing.box(10, 108, 340, 228, edge=theme.accent)
    drawing.text(26, 134, "cache", bold=True)
    drawing.text(334, 134, "one entry per secret", anchor="end", colour=theme.quiet, size=13)
    draw_answers(drawing, 34, 164)

    drawing.arrow("M75 336 V368")
    drawing.box(10, 376, 130, 56)
    drawing.text(75, 400, "one call", bold=True, anchor="middle")
    drawing.text(75, 419, "for all tasks", anchor="middle", colour=theme.quiet, size=13)
    drawing.arrow("M75 432 V468")
    drawing.box(10, 476, 130, 60)
    drawing.text(75, 502, "AWS", bold=True, anchor="middle")
    drawing.text(75, 521, "Secrets Manager", anchor="middle", colour=theme.quiet, size=13)

    drawing.arrow("M140 506 H180 V440", colour=theme.accent, dashed=True)
    drawing.text(194, 462, "rotation", bold=True)
    for row, line in enumerate(["found by the", "next refresh,", "or pushed", "within seconds"]):
        drawing.text(194, 481 + 18 * row, line, colour=theme.quiet, size=13)

    drawing.box(160, 376, 190, 56, edge=theme.accent)
    drawing.text(255, 400, "new version is cached", bold=True, anchor="middle", size=13)
    drawing.text(255, 419, "the old one is dropped", anchor="middle", colour=theme.quiet, size=13)
    drawing.arrow("M255 376 V344", colour=theme.accent, dashed=True)

    drawing.arrow("M334 432 V570", colour=theme.accent, dashed=True)
    drawing.box(10, 578, 340, 56)
    drawing.text(180, 602, "database and Redis pools", bold=True, anchor="middle", size=13)
    drawing.text(180, 621, "sign in with the new one", anchor="middle", colour=theme.quiet, size=13)
    return drawing


@dataclass(frozen=True)
class State:
    """A state of a cached value, and from which age on it is in that state."""

    name: str
    colour: str
    since: str
    answer: list[str]


def states_by_age(theme: Theme) -> list[State]:
    """Return the states of a cached value by its age."""
    policy = CachePolicy()
    ahead = float(policy.ttl) * (policy.refresh_ahead or 1)
    waits = ["waits for the refresh, at", f"most {policy.patience:g} s, then served"]
    return [
        State("fresh", theme.fresh, "age 0", ["from memory"]),
        State(
            "refreshed ahead",
            theme.ahead,
            f"{ahead:g} s",
            ["from memory; the first", "read starts a refresh"],
        ),
        State("stale", theme.stale, f"ttl={policy.ttl:g}", waits),
        State(
            "expired",
            theme.expired,
            f"max_stale={policy.max_stale:g}",
            ["waits for AWS, or raises", "SecretExpiredError"],
        ),
    ]


# What becomes of a value, apart from a refresh that succeeds.
OUTCOMES = {
    "transient error": "the value keeps its state; the next refresh follows after 2 s, 4 s, …",
    "permanent error": "the value ends at its TTL, or at once if a caller waited for the fetch",
    "invalidate()": "the value is dropped; the next read waits for AWS",
}


def draw_state(drawing: Drawing, state: State, x: float, y: float, width: float) -> None:
    """Draw the box of a state."""
    drawing.box(x, y, width, 82, edge=state.colour)
    drawing.dot(x + 18, y + 22, state.colour)
    drawing.text(x + 32, y + 27, state.name, bold=True)
    for row, line in enumerate(state.answer):
        drawing.text(x + 12, y + 50 + 18 * row, line, colour=drawing.theme.quiet, size=13)


def cache_states(theme: Theme) -> Drawing:
    """Draw the states of a cached value on its axis of age, and what moves it between them."""
    title = "The states of a cached value by its age, and what moves it from one to another"
    drawing = Drawing(760, 330, theme, title)

    states = states_by_age(theme)
    for column, state in enumerate(states):
        x = 20 + 180 * column
        width = 180 if state is states[-1] else 172
        draw_state(drawing, state, x, 104, width)
        drawing.text(x, 206, state.since, size=13, code=True)

    axis = "age of the value, from the start of its fetch"
    drawing.arrow("M20 220 H740")
    drawing.text(740, 240, axis, anchor="end", colour=theme.quiet, size=13)

    refreshed = "a refresh succeeds: the new value starts at age 0"
    drawing.text(20, 24, refreshed, bold=True, colour=theme.fresh)
    for x in (650, 466, 286):
        drawing.arrow(f"M{x} 104 V44 H106 V96", colour=theme.fresh)

    for row, (cause, effect) in enumerate(OUTCOMES.items()):
        y = 276 + 22 * row
        drawing.text(20, y, cause, bold=True, size=13)
        drawing.text(150, y, effect, size=13)
    return drawing


def cache_states_narrow(theme: Theme) -> Drawing:
    """Draw the same for the screen of a phone: the age grows downwards."""
    title = "The states of a cached value by its age, and what moves it from one to another"
    drawing = Drawing(360, 660, theme, title)

    drawing.text(180, 20, "a refresh succeeds:", bold=True, anchor="middle", colour=theme.fresh)
    new = "the new value starts at age 0"
    drawing.text(180, 39, new, bold=True, anchor="middle", colour=theme.fresh)

    drawing.arrow("M124 60 V432")
    for row, state in enumerate(states_by_age(theme)):
        y = 60 + 94 * row
        draw_state(drawing, state, 134, y, 196)
        drawing.text(4, y + 14, state.since, size=13, code=True)
        if row:
            drawing.arrow(f"M330 {y + 41} H350 V101 H338", colour=theme.fresh)
    axis = "age of the value, from the start of its fetch"
    drawing.text(4, 456, axis, colour=theme.quiet, size=13)

    y = 490
    for cause, effect in OUTCOMES.items():
        drawing.text(4, y, cause, bold=True, size=13)
        for line in textwrap.wrap(effect, 50):
            y += 18
            drawing.text(4, y, line, size=13)
        y += 28
    return drawing


def badge(label: str, value: str, colour: str) -> str:
    """Return a badge: a grey half with its label, a coloured half with its value."""
    left = 12 + round(6.6 * len(label))
    right = 12 + round(6.6 * len(value))
    width = left + right
    title = escape(f"{label}: {value}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img"'
        f' font-family="Verdana, Geneva, \'DejaVu Sans\', sans-serif" font-size="11">\n'
        f"<title>{title}</title>\n"
        f'<clipPath id="round"><rect width="{width}" height="20" rx="3"/></clipPath>\n'
        f'<g clip-path="url(#round)"><rect width="{left}" height="20" fill="#555"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/></g>\n'
        f'<g fill="#fff" text-anchor="middle"><text x="{left / 2:g}" y="14">{escape(label)}</text>'
        f'<text x="{left + right / 2:g}" y="14">{escape(value)}</text></g>\n</svg>\n'
    )


def badges() -> dict[str, str]:
    """Return the badges of the README, made of the metadata of the package."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    prefix = "Programming Language :: Python :: 3."
    minors = [
        name.removeprefix(prefix) for name in project["classifiers"] if name.startswith(prefix)
    ]
    status = next(name for name in project["classifiers"] if name.startswith("Development Status"))
    values = {
        "python": ("Python", f"3.{minors[0]} to 3.{minors[-1]}", "#0969da"),
        "license": ("license", project["license"], "#0969da"),
        "status": ("status", status.rpartition(" ")[2].lower(), "#9a6700"),
    }
    return {f"badge-{name}.svg": badge(*value) for name, value in values.items()}


# The site shows the narrow variants on phones: docs/_ext/repository_pages.py finds them by name.
PICTURES = {
    "how-it-works": how_it_works,
    "how-it-works-narrow": how_it_works_narrow,
    "cache-states": cache_states,
    "cache-states-narrow": cache_states_narrow,
}


def files() -> dict[str, str]:
    """Return the text of each file by its name."""
    found = badges()
    for name, draw in PICTURES.items():
        for colours, theme in THEMES.items():
            found[f"{name}-{colours}.svg"] = draw(theme).svg()
    return found


if __name__ == "__main__":
    for name, text in files().items():
        FOLDER.joinpath(name).write_text(text, encoding="utf-8")
