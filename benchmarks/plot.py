"""Draw the plots from results.json, for light and for dark pages: `python benchmarks/plot.py`."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from table import with_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
FOLDER = HERE.parent / "docs" / "images"


@dataclass(frozen=True)
class Theme:
    """The colours of a page: its text, its lines, this library, the others, and the limits."""

    text: str
    line: str
    ours: str
    others: str
    limit: str


THEMES = {
    "light": Theme("#1f2328", "#d1d9e0", "#0969da", "#8c959f", "#bf8700"),
    "dark": Theme("#f0f6fc", "#3d444d", "#4493f8", "#6e7681", "#d29922"),
}

OURS = "aiocredentials"

# Besides the peers: what nothing can be faster than.
LIMITS = {
    "raw signed aiohttp POST",
    "`json.loads` of the text",
    "a bare coroutine",
    "a dict, without a coroutine",
}


@dataclass(frozen=True)
class Bars:
    """One panel of bars: its heading, and the label and value of each bar, the shortest first."""

    heading: str
    bars: list[tuple[str, float]]


@dataclass(frozen=True)
class Curves:
    """One panel of curves: its heading, its axis, and the points of each curve."""

    heading: str
    axis: str
    curves: dict[str, list[list[float]]]


def bars_of(rows: list[dict[str, Any]], what: str, heading: str, ours: str = OURS) -> Bars:
    """Return the bars of all rows that compare the same thing, without those that were skipped."""
    found: dict[str, float] = {}
    for row in rows:
        if row["what"] == what and row.get("theirs") is not None:
            found[ours] = row["ours"]
            found[row["against"]] = row["theirs"]
    ordered = sorted(found.items(), key=lambda pair: pair[1])
    return Bars(heading, ordered)


def bar_panels(results: dict[str, Any]) -> list[Bars]:
    """Return the panels of the first plot."""
    rows = results["rows"]
    return [
        bars_of(rows, "first value in a new process, TLS", "First value in a new process, CPU"),
        bars_of(rows, "`get()` with `decode`", "Read from memory, one object for all, CPU"),
        bars_of(
            rows,
            "`retrieve_secret_string()`, 7 keys, flat",
            "Read from memory, a new object each time, CPU",
        ),
    ]


def curve_panels(results: dict[str, Any]) -> list[Curves]:
    """Return the panels of the second plot."""
    growth = results["growth"]
    return [
        Curves(
            "CPU per call",
            "secrets in the cache",
            {
                "a hit": growth.get("sizes/hit", []),
                "pool.stats()": growth.get("sizes/stats", []),
                "invalidate(if_version=)": growth.get("sizes/invalidate", []),
            },
        ),
        Curves(
            "CPU per caller that waits",
            "callers that wait for one cold key",
            {
                OURS: growth.get("waiters/ours", []),
                "async-lru": growth.get("waiters/lru", []),
            },
        ),
    ]


def draw_bars(axes: Axes, panel: Bars, theme: Theme) -> None:
    """Draw one panel of bars, each with its value at its end."""
    labels = [label.replace("`", "") for label, _ in panel.bars]
    values = [value for _, value in panel.bars]
    colours: list[str] = []
    for label, _ in panel.bars:
        colour = theme.limit if label in LIMITS else theme.others
        colours.append(theme.ours if label == OURS else colour)

    drawn = axes.barh(labels, values, color=colours, height=0.7)
    texts = [" " + with_unit(value, "s") for value in values]
    axes.bar_label(drawn, labels=texts, color=theme.text, fontsize=9)
    axes.invert_yaxis()
    axes.set_title(panel.heading, loc="left", color=theme.text, fontsize=10)
    axes.set_xticks([])
    axes.margins(x=0.2)
    axes.tick_params(colors=theme.text, length=0, labelsize=9)
    for side in axes.spines.values():
        side.set_visible(False)


def round_time(seconds: float) -> str:
    """Return a power of ten as text, without digits behind the point."""
    value, _, unit = with_unit(seconds, "s").partition(" ")
    return f"{float(value):g} {unit}"


def draw_curves(axes: Axes, panel: Curves, theme: Theme) -> None:
    """Draw one panel of curves on logarithmic axes."""
    colours = (theme.ours, theme.others, theme.limit)
    for (label, points), colour in zip(panel.curves.items(), colours, strict=False):
        if not points:
            continue
        sizes = [point[0] for point in points]
        seconds = [point[1] for point in points]
        axes.plot(sizes, seconds, marker="o", markersize=4, color=colour, label=label)

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
    axes.yaxis.set_major_formatter(lambda seconds, _: round_time(seconds))
    axes.set_title(panel.heading, loc="left", color=theme.text, fontsize=10)
    axes.set_xlabel(panel.axis, color=theme.text, fontsize=9)
    axes.tick_params(colors=theme.text, color=theme.line, labelsize=9)
    axes.grid(color=theme.line, linewidth=0.5)
    for name, side in axes.spines.items():
        side.set_visible(name in {"left", "bottom"})
        side.set_color(theme.line)
    axes.legend(frameon=False, labelcolor=theme.text, fontsize=9)


def bars_figure(results: dict[str, Any], theme: Theme) -> Figure:
    """Return the plot of cold start and hits."""
    from matplotlib.figure import Figure

    panels = bar_panels(results)
    heights = [max(1, len(panel.bars)) + 1 for panel in panels]
    figure = Figure(figsize=(8, 0.26 * sum(heights)), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for axes, panel in zip(all_axes[:, 0], panels, strict=True):
        draw_bars(axes, panel, theme)
    return figure


def curves_figure(results: dict[str, Any], theme: Theme) -> Figure:
    """Return the plot of growth."""
    from matplotlib.figure import Figure

    panels = curve_panels(results)
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)
    for axes, panel in zip(all_axes[0], panels, strict=True):
        draw_curves(axes, panel, theme)
    return figure


PLOTS = {"benchmarks": bars_figure, "benchmarks-growth": curves_figure}


def draw(
    results: dict[str, Any],
    folder: Path,
    plots: Mapping[str, Callable[[dict[str, Any], Theme], Figure]] = PLOTS,
) -> list[Path]:
    """Draw each plot for each kind of page; return the files.

    The same results make the same files: no date, no random names, and text as text.
    """
    import matplotlib as mpl

    settings = {
        "svg.hashsalt": "aiocredentials",
        "svg.fonttype": "none",
        # matplotlib measures texts with a font of its own; a browser takes its reader's.
        "font.family": ["sans-serif"],
        "font.sans-serif": ["DejaVu Sans"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with mpl.rc_context(settings):
        for name, make_figure in plots.items():
            for mode, theme in THEMES.items():
                path = folder / f"{name}-{mode}.svg"
                figure = make_figure(results, theme)
                metadata = {"Date": None, "Creator": None}
                figure.savefig(path, transparent=True, metadata=metadata)
                # matplotlib ends some lines with a space.
                lines = path.read_text(encoding="utf-8").splitlines()
                text = "\n".join(line.rstrip() for line in lines)
                path.write_text(text + "\n", encoding="utf-8")
                written.append(path)
    return written


def main() -> None:
    """Draw the plots of the committed results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()

    results = json.loads(arguments.results.read_text(encoding="utf-8"))
    for path in draw(results, arguments.folder):
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
