"""Python programs that a test runs in a process of their own, and what they print."""

from __future__ import annotations

import asyncio
import sys
import textwrap


async def child(program: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Run a program in a Python of its own, and give what it prints.

    Whatever else it says is a failure.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *options,
        "-c",
        textwrap.dedent(program),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    # pytest doesn't explain the asserts of this module, so they bring what was said.
    assert (process.returncode, err) == (0, b""), f"{process.returncode}: {err.decode()}"
    return out.decode().strip()
