"""Check the language that people read: that each sentence is understood at the first reading.

`python .ci/prose.py [--all] [FILE ...]` prints the figures below, of the pages and of `src` by
default. If a figure is past its limit, the script names each place and what to write instead, and
fails. With `--all`, it also names the places of the figures that are within their limits.

The limits exist because many readers aren't native speakers, and some of them are on call at
night. A sentence whose subject has no noun, or that has a rare idiom, costs them a second reading.
A line of Markdown that is one sentence is easy to compare in a diff. A long README isn't read.

The script is a floor: it finds words, and only a reader finds a bad sentence. CONTRIBUTING.md has
the rules.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import textwrap
import tokenize
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["*.md", "docs/**/*.md"]
SOURCES = ["src/**/*.py"]

MOST_WHO = 25
MOST_IDIOMS = 12
MOST_README_WORDS = 900
MOST_README_LINES = 140


class Idiom(NamedTuple):
    """Words that many readers don't understand at once, and what to write instead.

    A space in the pattern also stands for the end of a line. Capitals don't matter, except in
    `(?-i:...)`.
    """

    pattern: str
    instead: str


IDIOMS = [
    Idiom(r"\b(?:can't|cannot|couldn't|could not|to) be had\b", '"is unavailable"'),
    Idiom(r"\b(?:of|to) (?:mine|ours|yours|theirs)\b", '"our errors", "your own session"'),
    Idiom(r"\bof (?:my|its|our|your|their) own\b", '"its own cache", "a separate task"'),
    Idiom(r"\b(?:am|is|are|was|were|be|been|being) told\b", '"receives" or "is configured"'),
    Idiom(r"\b(?:tells?|telling)\b", '"reports", "names" or "distinguishes"'),
    Idiom(r"\bso that\b", '"so", or "to" and a verb'),
    Idiom(r"\bbut for\b", '"except for"'),
    Idiom(r"(?-i:\bSince)\b(?! \d)|, since\b(?! (?:version|then|\d))", '"because"'),
    Idiom(r"\b(?:no|some|any|every)body\b", 'the noun: "no caller", "another task"'),
    Idiom(r"\b(?:brings?|brought|bringing)\b", '"fetches", "returns" or "installs"'),
    Idiom(r"\b(?:as above|see (?:above|below|there))\b", "the name of the section, or a link"),
    Idiom(r"\banew\b", '"again"'),
    Idiom(r"\b(?:rooms?|doors?|neighbou?rs?|weather|strangers?)\b", "the thing itself"),
]

# A sentence whose subject is a clause: "What the pool fetched is dropped." A question is fine, and
# so is a title: no full stop ends a heading, and a docstring may begin like this.
CLAUSE = (
    r"(?-i:What) (?!is\b|are\b|was\b|does\b|do\b|happens\b|to\b)"
    r"(?:[^?.|\n]|\n(?!\s*\n))*[.:](?=\s|$)"
)
NOUN = "the noun: name the thing that the sentence is about"
CLAUSE_IN_PAGES = Idiom(rf"^(?:[-*] |\d+\. )?{CLAUSE}", NOUN)
CLAUSE_IN_SOURCES = Idiom(rf"(?<=[.!?]\s){CLAUSE}", NOUN)

WHO = Idiom(r"\b(?:who|whoever|whom)\b", 'the noun: "callers that wait"')

# Code, and what follows a link's text, isn't language.
CODE = re.compile(r"(`+)(?:[^`\n]|\n(?!\s*\n))+\1")
TARGET = re.compile(r"\]\([^()\s]*(?:\([^()]*\)[^()\s]*)?(?: \"[^\"]*\")?\)|\]\[[^\]]*\]")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)

FENCE = re.compile(r"\s*(?:[-*>] )*(`{3,}|~{3,})")
# From a tag to the next empty line, as Markdown has it. `<https://...>` is a link, not a tag.
HTML = re.compile(r"\s*</?[A-Za-z][\w-]*(?:[\s/>]|$)")
# Tables, headings, badges, definitions of links, targets and fences of MyST, and rules.
LAYOUT = re.compile(r"\s*(?:\||#|!\[|\[!|\[[^\]]+\]: |\([\w-]+\)=$|:::|(?:---|===|\*\*\*)\s*$)")
LINK_LIST = re.compile(r"(?:[^\w\[\]]*\[[^\]]*\])+[^\w\[\]]*$")
QUOTE = re.compile(r"^\s*(?:> ?)+")
BULLET = re.compile(r"^\s*(?:[-*+]|\d+[.)]) +")

ABBREVIATION = re.compile(r"\b(e\.g|i\.e|etc|vs|No|cf)\.")
SENTENCE_ENDS_INSIDE = re.compile(r"[\w`)\]%\"'*][.!?][*_)\"'\]]*\s+(?=[A-Z0-9`*_\[(\"'])")
LINE_ENDS_A_SENTENCE = re.compile(r"[.!?:][*_)\"'`\]]*\\?$")

# How Python's tokenizer calls what is read as text. Python 3.11 has no parts of an f-string.
TEXT_TOKENS = {
    tokenize.COMMENT,
    tokenize.STRING,
    getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING),
}
# The name of an argument, in a docstring's section `Args:`.
ARGUMENT = re.compile(r"^\*{0,2}[a-z_]\w*: ", re.MULTILINE)
MARKS_OF_A_STRING = re.compile(r"\A[A-Za-z]{0,2}[\"']+|[\"']+\Z|\A#+:?")


class Find(NamedTuple):
    """A place that costs readers time."""

    path: Path
    line: int
    words: str
    instead: str

    def __str__(self) -> str:
        """Name the place, the words, and what to write instead."""
        path = self.path
        if path.is_relative_to(ROOT):
            path = path.relative_to(ROOT)
        return f"{path.as_posix()}:{self.line}: {self.words!r}: write {self.instead}"


class Figure(NamedTuple):
    """A count, its limit, and the places that it counts."""

    name: str
    value: int
    limit: int
    finds: list[Find]

    @property
    def is_past_limit(self) -> bool:
        """Whether the check fails because of this figure."""
        return self.value > self.limit


def blank(match: re.Match[str]) -> str:
    """Return only the line ends of a match, so the lines after it keep their numbers."""
    return "\n" * match[0].count("\n")


def without_code(text: str) -> str:
    """Put an `x` in the place of each piece of code in a text."""
    return CODE.sub(lambda match: f"`x`{blank(match)}", text)


def without_fenced_code(lines: list[str]) -> list[str]:
    """Empty the lines between fences, and the fences."""
    kept: list[str] = []
    fence = ""
    for line in lines:
        mark = FENCE.match(line)
        is_code = bool(fence or mark)
        if mark and not fence:
            fence = mark[1]
        elif mark and mark[1].startswith(fence):
            fence = ""
        kept.append("" if is_code else line)
    return kept


def without_blocks(lines: list[str]) -> list[str]:
    """Empty the lines of HTML and of indented code.

    HTML goes on to the next empty line, and indented code begins after one. In a list, indented
    lines are text.
    """
    kept: list[str] = []
    is_html = False
    is_code = False
    is_list = False
    after_empty = True
    for line in lines:
        is_empty = not line.strip()
        is_indented = line.startswith("    ")
        is_html = not is_empty and (is_html or bool(HTML.match(line)))
        if not is_indented and not is_empty:
            is_list = bool(BULLET.match(line)) or (is_list and line.startswith(" "))
        is_code = is_indented and not is_list and (is_code or after_empty)

        kept.append("" if is_html or is_code else line)
        after_empty = is_empty
    return kept


def markdown_lines(text: str) -> list[str]:
    """Return the lines of a page, of which those that aren't language are empty.

    Blocks of code, HTML and comments aren't language. Tables and headings are.
    """
    text = FRONT_MATTER.sub(blank, text)
    lines = without_fenced_code(text.split("\n"))
    text = COMMENT.sub(blank, "\n".join(lines))
    lines = without_blocks(text.split("\n"))

    prose = without_code("\n".join(lines))
    return TARGET.sub("]", prose).split("\n")


def python_lines(text: str) -> list[str]:
    """Return the comments, docstrings and messages of a module, line by line."""
    lines = [""] * (text.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        # A string without a space is a name, not a text.
        if token.type not in TEXT_TOKENS or " " not in token.string:
            continue
        words = MARKS_OF_A_STRING.sub("", token.string)
        first = token.start[0] - 1
        for number, part in enumerate(words.split("\n"), first):
            lines[number] = f"{lines[number]} {part}".strip()

    text = ARGUMENT.sub("x: ", "\n".join(lines))
    return without_code(text).split("\n")


def occurrences(idiom: Idiom, path: Path, prose: str) -> list[Find]:
    """Return each place of a text that has the idiom."""
    pattern = idiom.pattern.replace(" ", r"\s+")
    finds: list[Find] = []
    for match in re.finditer(pattern, prose, re.IGNORECASE | re.MULTILINE):
        line = prose.count("\n", 0, match.start()) + 1
        words = textwrap.shorten(match[0], 60)
        finds.append(Find(path, line, words, idiom.instead))
    return finds


def broken_lines(path: Path, lines: list[str]) -> list[Find]:
    """Return the lines of a page that aren't one sentence: two sentences, or the rest of one."""
    finds: list[Find] = []
    is_open = False
    for number, whole in enumerate(lines, 1):
        line = QUOTE.sub("", whole)
        if not line.strip() or LAYOUT.match(line) or LINK_LIST.match(line):
            is_open = False
            continue

        sentence = BULLET.sub("", line)
        starts_an_item = sentence != line
        if is_open and not starts_an_item:
            words = sentence.strip()[:40]
            finds.append(Find(path, number, words, "it on the line before: the sentence goes on"))

        sentence = ABBREVIATION.sub(r"\1", sentence.strip())
        end = SENTENCE_ENDS_INSIDE.search(sentence)
        if end:
            words = sentence[end.end() :][:40]
            finds.append(Find(path, number, words, "it on a separate line: a sentence starts"))

        is_open = not LINE_ENDS_A_SENTENCE.search(sentence)
    return finds


def readme_figures(text: str) -> list[Figure]:
    """Return the length of the README: in words outside of code, tables, HTML and badges."""
    words = 0
    for line in markdown_lines(text):
        is_heading = line.startswith("#")
        if is_heading or not LAYOUT.match(line):
            words += len(re.findall(r"[\w`][\w`'./%-]*", line))

    return [
        Figure("words in the README", words, MOST_README_WORDS, []),
        Figure("lines in the README", text.count("\n"), MOST_README_LINES, []),
    ]


def figures_of(paths: list[Path]) -> list[Figure]:
    """Read the files and return the figures of all of them together."""
    who: list[Find] = []
    idioms: list[Find] = []
    broken: list[Find] = []
    lengths: list[Figure] = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        is_page = path.suffix == ".md"
        lines = markdown_lines(text) if is_page else python_lines(text)

        prose = "\n".join(lines)
        who += occurrences(WHO, path, prose)
        clause = CLAUSE_IN_PAGES if is_page else CLAUSE_IN_SOURCES
        for idiom in [*IDIOMS, clause]:
            idioms += occurrences(idiom, path, prose)
        if is_page:
            broken += broken_lines(path, lines)
        if path == ROOT / "README.md":
            lengths = readme_figures(text)

    return [
        Figure("uses of who, whoever and whom", len(who), MOST_WHO, who),
        Figure("odd idioms", len(idioms), MOST_IDIOMS, sorted(idioms)),
        Figure("lines of Markdown that aren't one sentence", len(broken), 0, broken),
        *lengths,
    ]


def default_paths() -> list[Path]:
    """Return the pages and the modules, without what Sphinx has built from them."""
    paths: list[Path] = []
    for pattern in [*PAGES, *SOURCES]:
        paths += sorted(ROOT.glob(pattern))
    return [path for path in paths if "_build" not in path.parts]


def main(arguments: list[str]) -> int:
    """Print the figures; return 1 if one is past its limit."""
    parser = argparse.ArgumentParser(description="Check the language that people read.")
    parser.add_argument("--all", action="store_true", help="name the places within a limit too")
    parser.add_argument("files", nargs="*", type=Path, help="the pages and src by default")
    options = parser.parse_args(arguments)

    paths = [path.resolve() for path in options.files] or default_paths()
    figures = figures_of(paths)
    for figure in figures:
        print(f"{figure.value:5} {figure.name}, at most {figure.limit}")
        if figure.is_past_limit or options.all:
            for find in figure.finds:
                print(f"      {find}")

    return int(any(figure.is_past_limit for figure in figures))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
