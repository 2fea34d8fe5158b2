"""The code blocks of the README and of the pages in docs/: what they are, and what it means that one runs."""

from __future__ import annotations

import ast
import asyncio
import doctest
import inspect
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, and where its text begins."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """Say where it is, for the names of tests."""
        return f"{self.page.name}:{self.line}"

    def left(self) -> Block:
        """Return the code that a diff leaves: it without what it takes away."""
        return replace(self, text=re.sub(r"^(-.*|\+)", "", self.text, flags=re.MULTILINE))

    def replaced(self, words: Mapping[str, str]) -> Block:
        """Return the block with other words in the place of some."""
        text = self.text
        for word, other in words.items():
            text = text.replace(word, other)
        return replace(self, text=text)


def blocks_of(page: Path, language: str | None = None) -> list[Block]:
    """Return a page's blocks, in their order: all, or those in one language."""
    text = page.read_text(encoding="utf-8")
    found = [
        Block(page, text.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in FENCED.finditer(text)
    ]
    return [block for block in found if language in {None, block.language}]


@contextmanager
def runner(name: str) -> Iterator[tuple[ModuleType, Callable[[Block], None]]]:
    """Give a new module, and a function that runs blocks in it one after the other, in an event loop if they await.

    The module can be imported by its name, as frameworks do that resolve annotations.
    """
    module = ModuleType(name)
    sys.modules[name] = module
    with asyncio.Runner() as loop:

        def run(block: Block) -> None:
            # As many lines before it as in the page: a traceback points there.
            code = "\n" * (block.line - 1) + block.text
            compiled = compile(code, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            result = eval(compiled, vars(module))  # noqa: S307 - our own pages
            if inspect.iscoroutine(result):
                loop.run(result)

        try:
            yield module, run
        finally:
            del sys.modules[name]


def is_as_promised(promised: str, printed: str) -> bool:
    """Say whether what was printed is what the page shows, where three dots stand for anything."""
    return doctest.OutputChecker().check_output(promised, printed, doctest.ELLIPSIS)


def promised_by(block: Block) -> str:
    """Return what the comments after a block's arrows say that it prints."""
    return "".join(f"{line}\n" for line in re.findall(r"# -> (.+)", block.text))
