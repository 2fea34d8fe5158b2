"""Prove that tests can fail: take one promise after the other out of cache and rotation, and see each one caught.

Each mutation changes the text of a copy of the package, and the tests of that file run against the copy. A mutant that
no test catches is a failure; so is a mutation whose text isn't there any more. `nox -s mutants`, or, where the package
and what tests need are installed, `python tests/mutants.py [part of a name ...]`.
"""

# ruff: noqa: T201 (the table is what this prints)
from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mutations import aws, cache, doctor, rotation, store, values

ROOT = Path(__file__).resolve().parent.parent
CACHE_TESTS = [
    "test_freshness.py",
    "test_outcomes.py",
    "test_cache_ageing.py",
    "test_cache_aliases.py",
    "test_cache_batches.py",
    "test_cache_closing.py",
    "test_cache_eviction.py",
    "test_cache_failures.py",
    "test_cache_forced_refresh.py",
    "test_cache_invalidation.py",
    "test_cache_loops.py",
    "test_cache_outages.py",
    "test_cache_refresh_ahead.py",
    "test_cache_single_flight.py",
    "test_cache_watching.py",
    "test_deadline.py",
    "test_loops.py",
    "test_pool_life.py",
    "test_batches.py",
    "test_store.py",
    "test_identifiers.py",
    "test_threads.py",
    "test_cache_machine.py",
    "test_cache_schedules.py",
]
# Those of any other file are the cache's.
TESTS = {
    "_aws/gateway.py": [*CACHE_TESTS, "../server/test_healing.py"],
    "_loops.py": [*CACHE_TESTS, "test_cancelled_inside.py", "../server/test_fork.py"],
    "_aws/pooled.py": ["../server/test_healing.py"],
    "_aws/session.py": ["../server/test_healing.py"],
    "rotation.py": ["test_rotation.py", "test_rotation_limits.py"],
    "_rotation/news.py": ["test_news.py", "test_rotation.py"],
    "_rotation/refusals.py": ["test_refusals.py"],
    "_rotation/adapters.py": ["test_databases.py"],
    "_decode.py": ["test_decode.py"],
    "_pydantic_errors.py": ["test_decode.py"],
    "_formats.py": ["test_credentials.py", "test_redis_credentials.py"],
    "_secret.py": ["test_secret.py"],
    "doctor/probe.py": ["test_doctor.py", "../server/test_doctor.py"],
    "doctor/report.py": ["test_doctor.py"],
    "events.py": ["test_events.py"],
    "_pool.py": ["test_events.py"],
}
SLOW = "not herd"  # what is left out
LONGEST = 120  # seconds; a mutant that hangs is caught by that


class Mutation(NamedTuple):
    """A promise that is taken out: which code of which file, and what comes in its place.

    The code is looked for by its words: spaces and line ends don't count.
    """

    name: str
    old: str
    new: str
    file: str


MUTATIONS = [
    Mutation(name, old, new, file)
    for table in (cache, aws, store, values, rotation, doctor)
    for name, file, old, new in table.MUTATIONS
]


def pattern_of(code: str) -> re.Pattern[str]:
    """Return a pattern for code that doesn't mind how its lines are broken.

    So a line that becomes too long, and is broken by the formatter, needs no change here.
    """
    words = re.findall(r"\w+|[^\w\s]", code)
    return re.compile(r"(?:\s|,(?=\s*[)\]}]))*".join(map(re.escape, words)))


def replacement_of(mutation: Mutation) -> str:
    """Return what takes the place of the code: from its first word on, as the pattern has no space before it."""
    indent = mutation.old[: len(mutation.old) - len(mutation.old.lstrip())]
    return mutation.new.removeprefix(indent).rstrip()


def mutate(folder: Path, mutation: Mutation) -> None:
    """Change the copy. Raises `LookupError` if the text isn't there exactly once."""
    path = folder / "aiocredentials" / mutation.file
    text = path.read_text()
    found = list(pattern_of(mutation.old).finditer(text))
    if len(found) != 1:
        raise LookupError(f"the text is there {len(found)} times, not once: {mutation.old.strip()!r}")
    start, end = found[0].span()
    path.write_text(text[:start] + replacement_of(mutation) + text[end:])


def attack(mutation: Mutation | None) -> tuple[str, float]:
    """Run the tests against a mutant, or against the package as it is; return what came of it, and the seconds."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src" / "aiocredentials", Path(folder, "aiocredentials"))
        if mutation is not None:
            try:
                mutate(Path(folder), mutation)
            except LookupError as error:
                return f"ERROR: {error}", 0.0
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-p", "no:cacheprovider", "-p", "no:randomly"]
        everything = [*CACHE_TESTS, *itertools.chain(*TESTS.values())]
        tests = TESTS.get(mutation.file, CACHE_TESTS) if mutation else everything
        command += ["-k", SLOW, "--timeout=20", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
        command += [str(ROOT / "tests" / "unit" / name) for name in tests]
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST, check=False
            )
        except subprocess.TimeoutExpired:
            return "caught: it hangs", time.perf_counter() - began
    seconds = time.perf_counter() - began
    if done.returncode == 0:
        return "SURVIVED", seconds
    if done.returncode != 1:
        return f"ERROR: pytest says {done.returncode}: {done.stdout[-500:]}", seconds
    by = next((line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))), "it hangs")
    return f"caught by {by.partition('::')[2].partition(' ')[0] or by}", seconds


def main(wanted: list[str]) -> int:
    """Attack with all mutations, or with those whose name has one of the words; return the exit status."""
    mutations = [one for one in MUTATIONS if not wanted or any(word in one.name for word in wanted)]
    result, seconds = attack(None)
    print(f"{'(as it is)':48} {seconds:5.1f} s  {'passes' if result == 'SURVIVED' else result}", flush=True)
    bad = int(result != "SURVIVED")
    with ThreadPoolExecutor(os.cpu_count() or 1) as several:
        for mutation, (result, seconds) in zip(mutations, several.map(attack, mutations), strict=True):
            bad += not result.startswith("caught")
            print(f"{mutation.name:48} {seconds:5.1f} s  {result}", flush=True)
    print(f"{len(mutations)} mutants" + (f", {bad} of them not caught" if bad else ", each one caught"))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
