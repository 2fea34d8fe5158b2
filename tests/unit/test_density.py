"""The check of `.ci/density.py`: each figure can fail, and then it names the place."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

SCRIPTS = Path(__file__).parents[2] / ".ci"

pytestmark = pytest.mark.skipif(not SCRIPTS.exists(), reason="only a checkout has it")


@pytest.fixture
def density(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module. It finds every module maintainable, because this environment may have no radon."""
    monkeypatch.syspath_prepend(SCRIPTS)
    module = importlib.import_module("density")
    monkeypatch.setattr(module, "maintainability_index", lambda _: 100.0)
    return module


@pytest.fixture
def check(density: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, str]]:
    """Run the script on one file, `code.py`, with this text; return its exit status and what it printed."""

    def run(text: str) -> tuple[int, str]:
        (tmp_path / "code.py").write_text(text, encoding="utf-8")
        status = density.main([str(tmp_path)])
        return status, capsys.readouterr().out.replace(f"{tmp_path.as_posix()}/", "")

    return run


OPEN = '''
"""Text."""

# A comment.
host, port = address
stem, _, suffix = text.partition(".")
first, *rest = values
for name, value in pairs:
    """More text."""
    total = total + value
    count = 1
'''


def test_open_code_passes(check: Callable[[str], tuple[int, str]]) -> None:
    """Open code passes, and each figure has a line. A value that is taken apart is no tuple assignment."""
    status, printed = check(OPEN)
    assert status == 0
    assert [line.split()[0] for line in printed.splitlines()] == ["6.33", "0.00", "0.00", "0.00", "0.00", "0.00"]


@pytest.mark.parametrize(
    ("text", "figure", "place"),
    [
        ("first = 1\nsecond = [1, 2, 3, 4, 5, 6, 7, 8]\n", "11.00 tokens per code line", "code.py:2 (19 tokens)"),
        (
            f'"""{"x" * 101}"""\nfirst = 1\nsecond = "{"x" * 90}"\n',
            "50.00 % of code lines past 100 characters",
            "code.py:3 (101 characters)",
        ),
        ("first = 1\nsecond, third = 2, 3\n", "50.00 tuple assignments", "code.py:2"),
        ("(first,), (second,) = [f(), g()]\n", "100.00 tuple assignments", "code.py:1"),
        ("[first, second] = second, first\n", "100.00 tuple assignments", "code.py:1"),
        ("pair = first, second = 1, 2\n", "100.00 tuple assignments", "code.py:1"),
        ("def f(a):\n    return 1 if a else 2\n", "50.00 conditional expressions", "code.py:2"),
        ("first = 1\n" * 421, "1.00 files of more than 420 lines", "code.py (421 lines)"),
    ],
)
def test_each_figure_can_fail(check: Callable[[str], tuple[int, str]], text: str, figure: str, place: str) -> None:
    """A figure past its limit fails the check, and the next line names the place."""
    status, printed = check(text)
    assert status == 1
    lines = [line.strip() for line in printed.splitlines()]
    (at,) = [number for number, line in enumerate(lines) if line.startswith(figure)]
    assert lines[at + 1] == place


def test_a_module_that_is_hard_to_maintain_fails(
    density: ModuleType, check: Callable[[str], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module with a low maintainability index fails the check, which prints its name and index."""
    monkeypatch.setattr(density, "maintainability_index", lambda _: 18.0)
    assert check(OPEN)[0] == 0

    monkeypatch.setattr(density, "maintainability_index", lambda _: 17.9)
    status, printed = check(OPEN)
    assert status == 1
    *_, figure, place = printed.splitlines()
    assert figure.strip() == "1.00 modules with a maintainability index below 18, at most 0"
    assert place.strip() == "code.py (17.9)"


def test_the_fullest_lines_come_first(check: Callable[[str], tuple[int, str]]) -> None:
    """Ten lines are named for the tokens: those with the most, the fullest first."""
    status, printed = check("".join(f"name = {' + '.join('x' * number)}\n" for number in range(4, 16)))
    assert status == 1
    places = [line.split()[0] for line in printed.splitlines()[1:11]]
    assert places == [f"code.py:{number}" for number in range(12, 2, -1)]
    assert printed.splitlines()[11].endswith("% of code lines past 100 characters, at most 0.3")


def test_an_empty_folder_fails(check: Callable[[str], tuple[int, str]]) -> None:
    """The check fails if it finds no code, because then the folder was moved, perhaps."""
    assert check("# A comment.\n") == (1, "There is no Python code in these folders.\n")


def test_an_f_string_is_one_token(density: ModuleType) -> None:
    """An f-string counts as one token on every Python, also if it is inside of another one."""
    text = "message = f\"{first} and {f'{second}'}\" + name\n"
    assert density.tokens_by_line(text, set()) == {1: 5}
