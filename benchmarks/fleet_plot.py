"""Draw the plots of fleets from fleet_results.json: `python benchmarks/fleet_plot.py`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plot import FOLDER, Theme, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
RESULTS = HERE / "fleet_results.json"

SECRETS = 20
BEFORE = "a throttled batch fails"
AFTER = "single calls take its place"
QUOTA = "quota of GetSecretValue"

# A point per size: the number of processes, and a figure.
Points = list[tuple[float, float]]


def points(records: list[dict[str, Any]], figure: str, *, secrets: int = SECRETS) -> Points:
    """Return a figure by the number of processes, for fleets with so many secrets."""
    return [
        (record["processes"], record[figure])
        for record in records
        if record["secrets"] == secrets and record[figure] is not None
    ]


def start_curves(results: dict[str, Any]) -> dict[str, dict[str, Points]]:
    """Return the curves of the first plot, by the heading of their panel."""
    before = results["starts before"]
    after = results["starts"]
    whole = [record for record in after if record["started"] == 1]
    return {
        "Share of processes that start": {
            AFTER: points(after, "started"),
            BEFORE: points(before, "started"),
        },
        "Seconds until a process has started": {
            "slowest 1 %": points(whole, "p99"),
            "median": points(whole, "median"),
        },
    }


def running_curves(results: dict[str, Any]) -> dict[str, Points]:
    """Return the curves of the second plot: calls per second of a running fleet."""
    records = results["running"]
    quota = results["about"]["quotas"]["GetSecretValue"]
    sizes = [record["processes"] for record in records]
    found = {f"{number} secrets": points(records, "mean", secrets=number) for number in (500, 20)}
    found["1 secret"] = points(records, "mean", secrets=1)
    found["20 secrets, first refreshes"] = points(records, "peak")
    found[QUOTA] = [(min(sizes), quota), (max(sizes), quota)]
    return found


def variants(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the variants that are compared, the default first."""
    size = 1_000
    plain = [
        record | {"name": "default"}
        for record in results["running"]
        if (record["processes"], record["secrets"]) == (size, SECRETS)
    ]
    return plain + [record for record in results["variants"] if record["processes"] == size]


def style(axes: Axes, theme: Theme, heading: str) -> None:
    """Give a panel the colours of a page, and its heading."""
    axes.set_title(heading, loc="left", color=theme.text, fontsize=10)
    axes.tick_params(colors=theme.text, color=theme.line, labelsize=9)
    for name, side in axes.spines.items():
        side.set_visible(name in {"left", "bottom"})
        side.set_color(theme.line)


def draw_curves(axes: Axes, theme: Theme, heading: str, curves: dict[str, Points]) -> None:
    """Draw a panel of curves by the number of processes."""
    colours = [theme.ours, theme.others, theme.text, theme.limit]
    for number, (label, drawn) in enumerate(curves.items()):
        sizes = [size for size, _ in drawn]
        figures = [figure for _, figure in drawn]
        colour = colours[number % len(colours)]
        line = "-"
        if label == QUOTA:
            colour = theme.limit
            line = "--"
        elif number == len(colours) - 1:
            line = ":"
        axes.plot(sizes, figures, line, marker="o", markersize=3, color=colour, label=label)

    axes.set_xscale("log")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda size, _: f"{size:,.0f}")
    axes.grid(color=theme.line, linewidth=0.5)
    axes.set_xlabel("processes", color=theme.text, fontsize=9)
    axes.legend(frameon=False, labelcolor=theme.text, fontsize=8)
    style(axes, theme, heading)


def draw_bars(axes: Axes, theme: Theme, heading: str, bars: list[tuple[str, float, str]]) -> None:
    """Draw a panel of bars: the label, the length and the text at the end of each."""
    labels = [label for label, _, _ in bars]
    lengths = [length for _, length, _ in bars]
    texts = [f" {text}" for _, _, text in bars]
    colours = [theme.ours if label == "default" else theme.others for label in labels]
    drawn = axes.barh(labels, lengths, color=colours, height=0.7)
    axes.bar_label(drawn, labels=texts, color=theme.text, fontsize=9)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.margins(x=0.25)
    style(axes, theme, heading)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def starts_figure(results: dict[str, Any], theme: Theme) -> Figure:
    """Return the plot of fleets that start at once."""
    from matplotlib.figure import Figure

    panels = start_curves(results)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    all_axes = figure.subplots(1, len(panels), squeeze=False)
    for axes, (heading, curves) in zip(all_axes[0], panels.items(), strict=True):
        draw_curves(axes, theme, heading, curves)
    all_axes[0][0].yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    all_axes[0][0].set_ylim(0, 1.05)
    all_axes[0][1].set_ylim(bottom=0)
    return figure


def running_figure(results: dict[str, Any], theme: Theme) -> Figure:
    """Return the plot of fleets that run: calls by size, prices and ages by variant."""
    from matplotlib.figure import Figure

    found = variants(results)
    figure = Figure(figsize=(8, 6), layout="constrained")
    parts = figure.subplot_mosaic([["calls", "calls"], ["price", "age"]], height_ratios=[3, 2])
    draw_curves(parts["calls"], theme, "Calls per second", running_curves(results))
    parts["calls"].set_yscale("log")
    parts["calls"].minorticks_off()
    parts["calls"].yaxis.set_major_formatter(lambda calls, _: f"{calls:,.6g}")

    prices = [(one["name"], one["price"], f"${one['price']:,.0f}") for one in found]
    ages = [(one["name"], one["worst age"], f"{one['worst age']:.0f} s") for one in found]
    draw_bars(parts["price"], theme, "Price per month, 1,000 processes", prices)
    draw_bars(parts["age"], theme, "Age of an old value at worst", ages)
    parts["age"].set_yticklabels([])
    return figure


PLOTS = {"fleet-starts": starts_figure, "fleet-running": running_figure}


def main() -> None:
    """Draw the plots of the committed results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()

    results = json.loads(arguments.results.read_text(encoding="utf-8"))
    for path in draw(results, arguments.folder, PLOTS):
        print(f"wrote {path.name}")


if __name__ == "__main__":
    main()
