"""What the pages show is what results.json holds, and the plots can be drawn from it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parent.parent.parent
IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "reference" / "benchmarks.md"

is_checkout = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has all pages")


def results() -> dict[str, Any]:
    """Return the committed results."""
    read: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    return read


@is_checkout
def test_page_shows_the_results() -> None:
    """The tables, the machine and the versions on the page are those of results.json."""
    import page

    same = PAGE.read_text(encoding="utf-8") == page.page(results())
    assert same, "benchmarks.md shows other results: run `python benchmarks/page.py`"


@is_checkout
def test_rotations_page_shows_the_results() -> None:
    """The tables of rotations are those of rotation_results.json, in which no query has failed."""
    import rotations_page

    found = json.loads(rotations_page.RESULTS.read_text(encoding="utf-8"))
    same = rotations_page.PAGE.read_text(encoding="utf-8") == rotations_page.page(found)
    assert same, "rotations.md shows other results: run `python benchmarks/rotations_page.py`"
    assert [row for row in found["rows"] if row["failures"] and not row["control"]] == []
    again = rotations_page.collected("\n".join(map(json.dumps, reversed(found["rows"]))))
    assert sorted(again["rows"], key=str) == sorted(found["rows"], key=str)


def test_results_are_of_a_whole_run() -> None:
    """The committed results are of a whole run: each row that isn't slow is there, and no row failed."""
    from catalogue import MEASUREMENTS
    from comparisons.everything import ROWS

    found = results()
    assert found["about"]["is_rough"] is False
    assert [record for record in found["rows"] if "failed" in record] == []
    shown = [(record["measurement"], record["what"], record["against"]) for record in found["rows"]]
    wanted = [(row.measurement, row.what, row.against) for row in ROWS if not MEASUREMENTS[row.measurement].is_slow]
    assert [row for row in wanted if row not in shown] == []


def test_results_name_no_paths() -> None:
    """The results name the processor and the versions, and no path of the machine."""
    from table import cells

    found = results()
    said = json.dumps(found["about"]) + "".join("".join(cells(row)) for row in found["rows"])
    assert re.findall(r"[\"\s](?:/|[A-Z]:\\)\w+[/\\]", said) == []


def test_missing_comments() -> None:
    """A page without the comments that frame a part is an error that names the part."""
    import page

    with pytest.raises(ValueError, match="'table'"):
        page.written("No comments here.", "table", "text")


def test_plots(tmp_path: Path) -> None:
    """Each plot is drawn for light and dark pages, is small, has text as text, and is the same when drawn again."""
    pytest.importorskip("matplotlib")
    import plot

    paths = plot.draw(results(), tmp_path / "first")
    assert sorted(path.name for path in paths) == [
        "benchmarks-dark.svg",
        "benchmarks-growth-dark.svg",
        "benchmarks-growth-light.svg",
        "benchmarks-light.svg",
    ]
    again = plot.draw(results(), tmp_path / "second")
    for path, other in zip(paths, again, strict=True):
        drawn = path.read_bytes()
        assert drawn == other.read_bytes()
        assert len(drawn) < 60_000
        texts = " ".join(ET.fromstring(drawn).itertext())  # noqa: S314 (we have just written it)
        assert "aiocredentials" in texts

    colours = {path.name: plot.THEMES["dark"].text in path.read_text() for path in paths}
    assert colours == {name: "dark" in name for name in colours}


def test_plots_show_the_rows() -> None:
    """The bars have the limits, this library and the peers, the shortest first; skipped rows have no bar."""
    import plot

    row = {"what": "a hit", "against": "a dict", "ours": 2.0, "theirs": 1.0}
    skipped = {"what": "a hit", "against": "a peer", "skip": "not installed"}
    panel = plot.bars_of([row, skipped, row | {"what": "another"}], "a hit", "Hits")
    assert panel.bars == [("a dict", 1.0), ("aiocredentials", 2.0)]

    panels = plot.bar_panels(results())
    assert all(len(panel.bars) > 1 for panel in panels)
    curves = [points for panel in plot.curve_panels(results()) for points in panel.curves.values()]
    assert all(len(points) > 1 for points in curves)


@is_checkout
def test_page_shows_the_plots() -> None:
    """Each plot is committed for light and for dark pages, and the page shows both by `picture`."""
    shown = {path.name for path in IMAGES.glob("benchmarks*.svg")}
    pictures = re.findall(r"<picture>(.+?)</picture>", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    found = {Path(name).name for picture in pictures for name in re.findall(r'(?:src|srcset)="(.+?)"', picture)}
    assert found == shown
    assert all("prefers-color-scheme: dark" in picture for picture in pictures)
