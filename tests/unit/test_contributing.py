"""The page for contributors names files that exist, and draws the layout as it is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from unit.test_architecture import FOLDER, all_imports, floor

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "CONTRIBUTING.md"
TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""

pytestmark = pytest.mark.skipif(not TEXT, reason="only a checkout has it")


def boxes() -> dict[str, set[str]]:
    """Return the boxes of the chart, each with the modules and folders of the package that it names."""
    labels = dict(re.findall(r'(\w+)\["(.+?)"\]', TEXT))
    named = {box: re.findall(r"\w+", label) for box, label in labels.items()}
    known = {path.stem for path in FOLDER.iterdir()}
    found = {box: {name for name in names if name in known} for box, names in named.items()}
    found["public"] = {"__init__"}
    return found


def arrows() -> dict[str, set[str]]:
    """Return the boxes to which an arrow of the chart points, for each box that has one."""
    chart = re.sub(r"\[.*?\]", "", TEXT)
    found: dict[str, set[str]] = {}
    for above, below in re.findall(r"^ +(\w+) --> (\w+)$", chart, re.MULTILINE):
        found.setdefault(above, set()).add(below)
    return found


def reached_from(box: str) -> set[str]:
    """Return the boxes that a box reaches, also through others."""
    reached: set[str] = set()
    for below in arrows().get(box, ()):
        reached |= {below} | reached_from(below)
    return reached


def test_each_box_names_modules() -> None:
    """Each box is a part of the package, and no part is in two boxes."""
    assert len(boxes()) >= 12
    assert [box for box, modules in boxes().items() if not modules] == []
    names = [name for modules in boxes().values() for name in modules]
    assert len(names) == len(set(names))


def test_arrows_point_down() -> None:
    """Each arrow points from a box to one that is below it in the layout."""
    heights = {box: max(floor(name) for name in modules) for box, modules in boxes().items()}
    assert [(above, below) for above, to in arrows().items() for below in to if heights[above] <= heights[below]] == []


def test_each_import_has_an_arrow() -> None:
    """Each import from one box in another one follows arrows of the chart."""
    box_of = {name: box for box, modules in boxes().items() for name in modules}
    missing: set[tuple[str, str]] = set()
    for one in all_imports():
        above = box_of.get(one.module.partition(".")[0])
        below = (
            box_of.get(f"{one.imported}.__init__".split(".")[1]) if one.imported.startswith("aiocredentials") else None
        )
        if above and below and above != below and below not in reached_from(above):
            missing.add((above, below))
    assert missing == set()


def test_files_exist() -> None:
    """Each file that the page names exists: in the package, in the repository or in its tests."""
    # The build makes the first, and the page says that there is none of the second.
    named = {*re.findall(r"`([\w./-]+?(?:\.py|\.yml|\.md|/))`", TEXT)} - {"dist/", "utils.py"}
    assert len(named) > 60
    folders = [FOLDER, ROOT, ROOT / "tests", ROOT / ".github" / "workflows"]
    assert [name for name in sorted(named) if not any((folder / name).exists() for folder in folders)] == []


def test_functions_exist() -> None:
    """Each function of ours that the page names is defined in the package."""
    source = "".join(path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py"))
    named = {name.split(".")[-1] for name in re.findall(r"`([\w.]+)\(\)`", TEXT)}
    assert len(named) > 15
    assert [name for name in sorted(named) if f"def {name}(" not in source] == []


def test_each_session_is_listed() -> None:
    """The page lists each nox session, with a star if a plain `nox` runs it."""
    tree = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))
    sessions: dict[str, bool] = {}
    for function in tree.body:
        for decorator in getattr(function, "decorator_list", []):
            text = ast.unparse(decorator)
            if text.startswith("nox.session"):
                sessions[function.name] = "default=False" not in text

    listed = {name: bool(star) for name, star in re.findall(r"^\| `(\w+)`( \*)? \|", TEXT, re.MULTILINE)}
    assert sessions.items() <= listed.items()
