"""The pictures in docs/images are what their script draws, and they read as SVG."""

from __future__ import annotations

import runpy
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "images"
FILES: dict[str, str] = runpy.run_path(str(FOLDER / "draw.py"))["files"]()


@pytest.mark.parametrize("name", FILES)
def test_pictures(name: str) -> None:
    """Each picture is what the script draws: their numbers are those of the code."""
    assert (FOLDER / name).read_text(encoding="utf-8") == FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_svg(name: str) -> None:
    """Each picture is well-formed, has a title for readers who can't see it, and loads nothing."""
    root = ET.fromstring(FILES[name])  # noqa: S314 (our own files)
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None
    assert title.text
    assert "http" not in FILES[name].replace("http://www.w3.org/2000/svg", "")
