"""Check that the code is open: that a reader understands a line at the first attempt.

`python .ci/density.py [FOLDER ...]` prints the figures below, of `src` by default. If a figure is
past its limit, the script names the worst lines and fails. CONTRIBUTING.md says why the limits
exist.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

MOST_TOKENS_PER_LINE = 6.8

# These three are per 100 code lines.
MOST_LONG_LINES = 0.3
MOST_TUPLE_ASSIGNMENTS = 0.3
MOST_CONDITIONALS = 2.0

# In characters, as ruff's line-length. Ruff finds long comments and docstrings too.
LONGEST_LINE = 100

# In lines.
LONGEST_FILE = 420

# On radon's scale from 0 to 100.
LOWEST_INDEX = 18

# How many places the script names per figure.
WORST = 10

# How Python's grammar calls several names, or several values, with commas between them.
SEVERAL = (ast.Tuple, ast.List)

# The types of the tokens that aren't code.
LAYOUT = {
    tokenize.ENCODING,
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


# The number of tokens or characters, and the line that has them.
Measured = tuple[int, str]


class Density:
    """What was counted in all files that were added, and where."""

    def __init__(self) -> None:
        self.code_lines = 0
        self.tokens = 0
        self.fullest: list[Measured] = []
        self.long_lines: list[Measured] = []
        self.tuple_assignments: list[str] = []
        self.conditionals: list[str] = []
        self.long_files: list[str] = []

    def add(self, path: Path) -> None:
        """Count one file."""
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        name = name_of(path)

        self._add_lines(name, text, tree)
        self._add_statements(name, tree)

    def _add_lines(self, name: str, text: str, tree: ast.AST) -> None:
        lines = text.splitlines()
        length = len(lines)
        if length > LONGEST_FILE:
            self.long_files.append(f"{name} ({length} lines)")

        counts = tokens_by_line(text, docstring_lines(tree))
        self.code_lines += len(counts)
        self.tokens += counts.total()

        for number, tokens in counts.items():
            place = f"{name}:{number}"
            self.fullest.append((tokens, place))

            characters = len(lines[number - 1])
            if characters > LONGEST_LINE:
                self.long_lines.append((characters, place))

    def _add_statements(self, name: str, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.IfExp):
                place = f"{name}:{node.lineno}"
                self.conditionals.append(place)

            if is_tuple_assignment(node):
                place = f"{name}:{node.lineno}"
                self.tuple_assignments.append(place)


class Figure(NamedTuple):
    """One figure, its limit, and the places that it counts: the worst first."""

    name: str
    value: float
    limit: float
    places: list[str]

    @property
    def is_past_limit(self) -> bool:
        """Whether the check fails because of this figure."""
        return self.value > self.limit


def name_of(path: Path) -> str:
    """Return the path as this script prints it."""
    if path.is_relative_to(ROOT):
        path = path.relative_to(ROOT)
    return path.as_posix()


def docstring_lines(tree: ast.AST) -> set[int]:
    """Return the lines of all docstrings, and of the strings that document an attribute."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                last = node.end_lineno or node.lineno
                lines.update(range(node.lineno, last + 1))
    return lines


def tokens_by_line(text: str, docstrings: set[int]) -> Counter[int]:
    """Return the number of tokens that begin in each line of code.

    Comments, docstrings and line ends aren't counted, and a line without any other token isn't a
    line of code. An f-string is one token, as any other string.
    """
    counts: Counter[int] = Counter()
    read_line = io.StringIO(text).readline
    # Python 3.11 has no tokens for the parts of an f-string.
    fstring_start = getattr(tokenize, "FSTRING_START", None)
    fstring_end = getattr(tokenize, "FSTRING_END", None)
    open_fstrings = 0
    for token in tokenize.generate_tokens(read_line):
        number = token.start[0]
        if token.type == fstring_end:
            open_fstrings -= 1
            continue
        if open_fstrings == 0 and token.type not in LAYOUT and number not in docstrings:
            counts[number] += 1
        if token.type == fstring_start:
            open_fstrings += 1
    return counts


def is_tuple_assignment(node: ast.AST) -> bool:
    """Return whether a statement is several assignments on one line, as in `a, b = 1, 2`.

    Such a statement has several expressions on its right, so a reader must count commas to see
    which name gets which value. In `host, port = address` or `stem, _, suffix =
    text.partition(".")` the value is one thing: it is taken apart, and that is allowed.
    """
    if not isinstance(node, ast.Assign):
        return False
    if not isinstance(node.value, SEVERAL):
        return False
    return any(isinstance(target, SEVERAL) for target in node.targets)


def maintainability_index(path: Path) -> float:
    """Return radon's maintainability index of a module, as `radon mi --show` prints it.

    We call radon's API because the exit code of `radon mi` is 0 whatever it finds.
    """
    # Only the `lint` session installs radon: the test of this script has to do without it.
    from radon.metrics import mi_visit  # noqa: PLC0415 (see the comment above)

    text = path.read_text(encoding="utf-8")
    index: float = mi_visit(text, multi=True)
    return index


def worst_first(measured: list[Measured], unit: str) -> list[str]:
    """Return the places with what was measured there, the highest number first."""
    ordered = sorted(measured, reverse=True)
    return [f"{place} ({number} {unit})" for number, place in ordered]


def density_figures(density: Density) -> list[Figure]:
    """Return the figures of everything that was counted."""
    tokens_per_line = density.tokens / density.code_lines
    hundreds = density.code_lines / 100
    fullest = worst_first(density.fullest, "tokens")
    longest = worst_first(density.long_lines, "characters")
    tuples = density.tuple_assignments
    conditionals = density.conditionals
    files = density.long_files

    return [
        Figure(
            "tokens per code line",
            tokens_per_line,
            MOST_TOKENS_PER_LINE,
            fullest,
        ),
        Figure(
            f"% of code lines past {LONGEST_LINE} characters",
            len(longest) / hundreds,
            MOST_LONG_LINES,
            longest,
        ),
        Figure(
            "tuple assignments per 100 code lines",
            len(tuples) / hundreds,
            MOST_TUPLE_ASSIGNMENTS,
            tuples,
        ),
        Figure(
            "conditional expressions per 100 code lines",
            len(conditionals) / hundreds,
            MOST_CONDITIONALS,
            conditionals,
        ),
        Figure(
            f"files of more than {LONGEST_FILE} lines",
            len(files),
            0,
            files,
        ),
    ]


def maintainability_figure(paths: list[Path]) -> Figure:
    """Return the number of modules whose maintainability index is too low."""
    low: list[str] = []
    for path in paths:
        index = maintainability_index(path)
        if index < LOWEST_INDEX:
            name = name_of(path)
            low.append(f"{name} ({index:.1f})")

    return Figure(
        f"modules with a maintainability index below {LOWEST_INDEX}",
        len(low),
        0,
        low,
    )


def main(folders: list[str]) -> int:
    """Print the figures of all Python files in the folders; return 1 if one is past its limit."""
    paths: list[Path] = []
    for folder in folders or ["src"]:
        paths += sorted((ROOT / folder).rglob("*.py"))

    density = Density()
    for path in paths:
        density.add(path)
    if density.code_lines == 0:
        print("There is no Python code in these folders.")
        return 1

    figures = [*density_figures(density), maintainability_figure(paths)]
    for figure in figures:
        print(f"{figure.value:8.2f} {figure.name}, at most {figure.limit}")
        if figure.is_past_limit:
            for place in figure.places[:WORST]:
                print(f"         {place}")

    failed = any(figure.is_past_limit for figure in figures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
