"""Check that the code is open, not compressed: tokens, lengths, tuple assignments, conditional expressions.

`python .ci/density.py [folder ...]` prints the figures of `src` and fails if one is past its limit, with the worst
lines. CONTRIBUTING.md says why these limits exist.
"""

from __future__ import annotations

import ast
import io
import sys
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MOST_TOKENS_PER_LINE = 6.8
MOST_LONG_LINES = 0.3  # per 100 code lines
MOST_TUPLE_ASSIGNMENTS = 0.3  # per 100 code lines
MOST_CONDITIONALS = 2.0  # per 100 code lines
LONGEST_LINE = 100  # characters
LONGEST_FILE = 420  # lines
WORST = 10  # lines that are named for each figure

LAYOUT = {
    tokenize.ENCODING,
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@dataclass
class Density:
    """What was counted, and where."""

    code_lines: int = 0
    tokens: int = 0
    long_lines: list[str] = field(default_factory=list)
    tuple_assignments: list[str] = field(default_factory=list)
    conditionals: list[str] = field(default_factory=list)
    long_files: list[str] = field(default_factory=list)
    fullest: list[tuple[int, str]] = field(default_factory=list)

    def add(self, path: Path) -> None:
        """Count one file."""
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        tree = ast.parse(text)

        counts = tokens_by_line(text, docstring_lines(tree))
        self.code_lines += len(counts)
        self.tokens += sum(counts.values())
        self.fullest += [(count, f"{name}:{number}") for number, count in counts.items()]
        self.long_lines += [
            f"{name}:{number} ({len(lines[number - 1])} characters)"
            for number in counts
            if len(lines[number - 1]) > LONGEST_LINE
        ]
        if len(lines) > LONGEST_FILE:
            self.long_files.append(f"{name} ({len(lines)} lines)")

        for node in ast.walk(tree):
            if is_tuple_assignment(node):
                self.tuple_assignments.append(f"{name}:{node.lineno}")
            if isinstance(node, ast.IfExp):
                self.conditionals.append(f"{name}:{node.lineno}")

    def per_hundred(self, places: list[str]) -> float:
        """Return how many of these there are per 100 code lines."""
        return 100 * len(places) / self.code_lines


def docstring_lines(tree: ast.AST) -> set[int]:
    """Return the lines of all docstrings, and of the strings that document an attribute."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def tokens_by_line(text: str, docstrings: set[int]) -> dict[int, int]:
    """Count the tokens that begin in each line of code. Comments, docstrings and line ends are no tokens."""
    counts: dict[int, int] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        number = token.start[0]
        if token.type not in LAYOUT and number not in docstrings:
            counts[number] = counts.get(number, 0) + 1
    return counts


def is_tuple_assignment(node: ast.AST) -> bool:
    """Return whether a statement assigns several names at once, from as many expressions or from one."""
    return isinstance(node, ast.Assign) and any(
        isinstance(target, ast.Tuple) for target in node.targets
    )


def main(folders: list[str]) -> int:
    """Print the figures; return 1 if one is past its limit."""
    density = Density()
    for folder in folders or ["src"]:
        for path in sorted((ROOT / folder).rglob("*.py")):
            density.add(path)

    figures = [
        (
            "tokens per code line",
            density.tokens / density.code_lines,
            MOST_TOKENS_PER_LINE,
            [f"{place} ({count} tokens)" for count, place in sorted(density.fullest, reverse=True)],
        ),
        (
            "% of code lines that are too long",
            density.per_hundred(density.long_lines),
            MOST_LONG_LINES,
            density.long_lines,
        ),
        (
            "tuple assignments per 100 code lines",
            density.per_hundred(density.tuple_assignments),
            MOST_TUPLE_ASSIGNMENTS,
            density.tuple_assignments,
        ),
        (
            "conditional expressions per 100 code lines",
            density.per_hundred(density.conditionals),
            MOST_CONDITIONALS,
            density.conditionals,
        ),
        (
            f"files of more than {LONGEST_FILE} lines",
            len(density.long_files),
            0,
            density.long_files,
        ),
    ]
    failed = False
    for what, figure, limit, places in figures:
        print(f"{figure:8.2f} {what}, at most {limit}")
        if figure > limit:
            failed = True
            print("".join(f"         {place}\n" for place in places[:WORST]), end="")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
