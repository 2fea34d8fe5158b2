"""The check of `.ci/prose.py`: each figure can fail, and then it names the place and a better word."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    Check = Callable[..., tuple[int, list[str]]]

SCRIPTS = Path(__file__).parents[2] / ".ci"

pytestmark = pytest.mark.skipif(not SCRIPTS.exists(), reason="only a checkout has it")


@pytest.fixture
def prose(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module that checks a folder of its own, and allows no odd idiom."""
    monkeypatch.syspath_prepend(SCRIPTS)
    module = importlib.import_module("prose")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "MOST_WHO", 0)
    monkeypatch.setattr(module, "MOST_IDIOMS", 0)
    return module


@pytest.fixture
def check(prose: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """Run the script on one file with this text; return its exit status and the lines that it printed."""

    def run(text: str, name: str = "page.md", *arguments: str) -> tuple[int, list[str]]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        status = prose.main([*arguments, str(path)])
        return status, [line.strip() for line in capsys.readouterr().out.splitlines()]

    return run


PAGE = """---
title: somebody
---

# What it costs
(a-target)=

[![Licence](licence.svg)](LICENSE)
<p align="center">
  <img src="image.svg" alt="Somebody who. Brings">
</p>

One fetch per version, e.g. for aioboto3 15.5.
A read from memory costs 5 µs, and `so that` is code!
What does it cost?
Is it "fresh."?

<!-- Somebody who
wrote. This. -->
| a row | of a table. It has two sentences |
|---|---|

- **A bullet.**
  Its sentence is on the next line:
  1. a nested item
  2. [a link](page.md#who "somebody"), without a full stop

      Text of the item, which is indented.
- Another one.

:::{note}
A note.
:::
> [!NOTE]
> A quotation.
> It has two lines.

[One](who.md) · [Two](page.md)
[Three](page.md) ·
[Four](page.md)

```python
# Somebody who told. It goes
tell()
````
~~~
so that
```

    Somebody brings code.

[definition]: https://example.org/who "Somebody. Who"
"""

MODULE = '''"""What the pool keeps, since version 3: a docstring may begin like this."""

since = frozenset({"tell", 'nobody'})


def tell(who: str, since: int) -> None:
    """Call `tell` of a listener.

    Args:
        who: What to call.
    """
'''


@pytest.mark.parametrize(("text", "name"), [(PAGE, "page.md"), (MODULE, "module.py")])
def test_plain_text_passes(check: Check, text: str, name: str) -> None:
    """Plain text passes. Code, HTML, comments, targets of links, and names in Python aren't read."""
    status, printed = check(text, name, "--all")
    assert printed == [
        "0 uses of who, whoever and whom, at most 0",
        "0 odd idioms, at most 0",
        "0 lines of Markdown that aren't one sentence, at most 0",
    ]
    assert status == 0


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("# A title\n\nNo value can't be had.\n", 'page.md:3: "can\'t be had": write "is unavailable"'),
        ("An error of ours.\n", 'page.md:1: \'of ours\': write "our errors", "your own session"'),
        ("It has a cache of its own.\n", "page.md:1: 'of its own'"),
        ("The listener is told.\n", "page.md:1: 'is told'"),
        ("The doctor tells.\n", "page.md:1: 'tells'"),
        ("It waits, so that it ends.\n", "page.md:1: 'so that'"),
        ("All but for one.\n", "page.md:1: 'but for'"),
        ("It waits, since it must.\n", "page.md:1: ', since'"),
        ("Since it must, it waits.\n", "page.md:1: 'Since'"),
        ("| nobody | a table is read too |\n", "page.md:1: 'nobody'"),
        ("## Brought together\n", "page.md:1: 'Brought'"),
        ("- See below.\n", "page.md:1: 'See below'"),
        ("It starts anew.\n", "page.md:1: 'anew'"),
        ("It waits.\nWhat waits shares a call.\n", "page.md:2: 'What waits shares a call.'"),
        ("- What waits shares a call.\n", "page.md:1: '- What waits shares a call.'"),
        ("A neighbour.\n", "page.md:1: 'neighbour'"),
    ],
)
def test_idioms(check: Check, text: str, place: str) -> None:
    """An odd idiom fails the check, which names the place, the words and what to write instead."""
    status, printed = check(text)
    assert status == 1
    _, figure, found, _ = printed
    assert figure == "1 odd idioms, at most 0"
    assert found.startswith(f"{place}: write" if ": write" not in place else place)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('"""Fetch.\n\nA task of its\nown fetches.\n"""\n', "code.py:3: 'of its own'"),
        ("# It waits so\n# that it ends.\n", "code.py:1: 'so that'"),
        ('raise ValueError("It waits so "\n    "that it ends.")\n', "code.py:1: 'so that'"),
        ('raise ValueError(f"{name} waits, so that it ends.")\n', "code.py:1: 'so that'"),
        ("stale = 1  # Nobody waits.\n", "code.py:1: 'Nobody'"),
        ("# It waits.\n# What waits shares a call.\n", "code.py:2: 'What waits shares a call.'"),
    ],
)
def test_idioms_in_python(check: Check, text: str, place: str) -> None:
    """Docstrings, comments and messages are read, also across the end of a line."""
    status, printed = check(text, "code.py")
    assert status == 1
    assert printed[1] == "1 odd idioms, at most 0"
    assert printed[2].startswith(f"{place}: write ")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("One. Two.\n", "page.md:1: 'Two.'"),
        ("- One! `two` waits.\n", "page.md:1: '`x` waits.'"),
        ("**One.** *Two.*\n", "page.md:1: '*Two.*'"),
        ("It ends in 3.11. 20 names fit.\n", "page.md:1: '20 names fit.'"),
        ("> One. [Two](page.md).\n", "page.md:1: '[Two].'"),
    ],
)
def test_two_sentences_on_a_line(check: Check, text: str, place: str) -> None:
    """A line with two sentences fails the check, also in a list or behind words in bold."""
    status, printed = check(text)
    assert status == 1
    assert printed[2:] == [
        "1 lines of Markdown that aren't one sentence, at most 0",
        f"{place}: write it on a separate line: a sentence starts",
    ]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("A sentence that\ngoes on.\n", "page.md:2: 'goes on.'"),
        ("- an item\n  goes on.\n", "page.md:2: 'goes on.'"),
        ("> A quotation\n> goes on.\n", "page.md:2: 'goes on.'"),
    ],
)
def test_a_sentence_on_two_lines(check: Check, text: str, place: str) -> None:
    """A sentence that goes on in the next line fails the check."""
    status, printed = check(text)
    assert status == 1
    assert printed[2:] == [
        "1 lines of Markdown that aren't one sentence, at most 0",
        f"{place}: write it on the line before: the sentence goes on",
    ]


def test_who(check: Check) -> None:
    """Each who, whoever and whom is counted and named."""
    status, printed = check("Whoever waits and a caller who waits.\n")
    assert status == 1
    assert printed[0] == "2 uses of who, whoever and whom, at most 0"
    assert printed[1].startswith("page.md:1: 'Whoever': write ")
    assert printed[2].startswith("page.md:1: 'who': write ")


def test_places_within_a_limit(check: Check, prose: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places within a limit are named on demand only."""
    monkeypatch.setattr(prose, "MOST_IDIOMS", 1)
    assert check("It starts anew.\n")[1][1:3] == [
        "1 odd idioms, at most 1",
        "0 lines of Markdown that aren't one sentence, at most 0",
    ]
    status, printed = check("It starts anew.\n", "page.md", "--all")
    assert printed[2] == "page.md:1: 'anew': write \"again\""
    assert status == 0


README = """# A title

One two, three `four` [five](page.md).

![no word](image.svg)

| no | word |
|---|---|

```sh
no word
```
"""


def test_length_of_the_readme(check: Check, prose: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of the README are counted outside of code, tables, HTML and badges; and all of its lines are."""
    monkeypatch.setattr(prose, "MOST_README_WORDS", 7)
    monkeypatch.setattr(prose, "MOST_README_LINES", 12)
    status, printed = check(README, "README.md")
    assert printed[3:] == ["7 words in the README, at most 7", "12 lines in the README, at most 12"]
    assert status == 0

    status, printed = check(README.replace("three", "three three"), "README.md")
    assert printed[3:] == ["8 words in the README, at most 7", "12 lines in the README, at most 12"]
    assert status == 1

    status, printed = check(f"{README}\n", "README.md")
    assert printed[4] == "13 lines in the README, at most 12"
    assert status == 1


def test_pages_and_package(
    prose: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without arguments, the script reads the pages and the package, and nothing that Sphinx has built."""
    monkeypatch.chdir(tmp_path)
    names = ["README.md", "docs/index.md", "docs/how-to/page.md", "src/package/module.py"]
    for name in [*names, "docs/_build/page.md", "tests/test_page.py", "docs/conf.py"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("# It starts anew.\n", encoding="utf-8")

    assert prose.main([]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split() == ["4", "odd", "idioms,", "at", "most", "0"]
    assert [line.split(":")[0].strip() for line in printed[2:6]] == sorted(names)
