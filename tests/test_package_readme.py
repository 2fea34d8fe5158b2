"""The README that the package index shows: each link leads to the repository, at the tag of the version."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = "https://git.here/aiocredentials"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hook of the build as a module, without hatchling: only builds install that."""
    interface = ModuleType("hatchling.metadata.plugin.interface")
    monkeypatch.setattr(interface, "MetadataHookInterface", object, raising=False)
    for name in ("hatchling", "hatchling.metadata", "hatchling.metadata.plugin"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)

    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("[page](docs/page.md#part)", f"[page]({SOURCE}/blob/v1.2.3/docs/page.md#part)"),
        ("[![badge](a.svg)](LICENSE)", f"[![badge]({SOURCE}/raw/v1.2.3/a.svg)]({SOURCE}/blob/v1.2.3/LICENSE)"),
        ('<img src="a.svg" alt="a">', f'<img src="{SOURCE}/raw/v1.2.3/a.svg" alt="a">'),
        ('<source srcset="a.svg">', f'<source srcset="{SOURCE}/raw/v1.2.3/a.svg">'),
        ("[site](https://docs.here/page) [part](#part)", "[site](https://docs.here/page) [part](#part)"),
        ("`(docs/page.md)`", "`(docs/page.md)`"),
    ],
)
def test_addresses(hook: ModuleType, text: str, address: str) -> None:
    """A path becomes an address: a page for a link, the file itself for a picture. Addresses stay."""
    assert hook.with_addresses(text, SOURCE, "1.2.3") == address


def test_readme(hook: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata gets our README, with the address of the repository and the version in its links."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["readme"]
    monkeypatch.setattr(hook.LinkedReadme, "root", str(ROOT), raising=False)
    hook.LinkedReadme().update(project)
    assert project["readme"]["content-type"] == "text/markdown"

    start = f"{project['urls']['Source']}/blob/v{project['version']}/"
    assert f"]({start}docs/tutorial.md)" in project["readme"]["text"]


@pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has it")
def test_readme_scripts() -> None:
    """The check of a release runs the README's scripts with the installed package, and names what they print."""
    command = [sys.executable, ROOT / ".ci" / "readme_scripts.py"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=25)
    assert ended.stdout.count(" prints ['app']\n") == 2
