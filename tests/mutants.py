"""Prove that tests can fail: take one promise after the other out of cache and rotation, and see each one caught.

Each mutation changes the text of a copy of the package, and the tests of that file run against the copy. A mutant that
no test catches is a failure; so is a mutation whose text isn't there any more. `nox -s mutants`, or, where the package
and what tests need are installed, `python tests/mutants.py [part of a name ...]`.
"""

# ruff: noqa: E501, T201 (a mutation is one line of the table; the table is what this prints)
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
CACHE_TESTS = ["test_cache.py", "test_cache_schedules.py", "test_cache_machine.py", "test_deadline.py"]
TESTS = {"_cache.py": CACHE_TESTS, "_gateway.py": CACHE_TESTS, "rotation.py": ["test_rotation.py"]}
SLOW = "not herd"  # what is left out
LONGEST = 120  # seconds; a mutant that hangs is caught by that


class Mutation(NamedTuple):
    """What is taken out, and where."""

    name: str
    old: str
    new: str
    file: str = "_cache.py"


MUTATIONS = [
    Mutation("an invalidated fetch is stored", "        if flight.keep and not self.closed:", "        if not self.closed:"),
    Mutation("a fetch goes on when its last caller has gone", "        flight.task.cancel()\n\n    # Ent", "\n    # Ent"),
    Mutation("any caller who goes cancels the fetch", "if flight.waiters or flight.background or", "if flight.background or"),
    Mutation("waiters share one exception", "            raise copy.copy(outcome)\n", "            raise outcome\n"),
    Mutation("remembered failures are one exception", "                raise copy.copy(entry.failure)\n            return", "                raise entry.failure\n            return"),
    Mutation("nobody holds the task", "        state.tasks.add(task)", "        state.tasks"),
    Mutation("age counts from the landing", "value, flight.started, self._rng()", "value, self.clock(), self._rng()"),
    Mutation("no jitter", "self._ttl * (1 - self._jitter * entry.share)", "self._ttl"),
    Mutation("an old fetch unregisters a newer one", "            if self.by_key.get(name) is flight:", "            if name in self.by_key:"),
    Mutation("no back-off", "            new.retry_at = now + pause * (1 + 0.1 * self._rng())", "            new.retry_at = now"),
    Mutation("back-off never grows", "FIRST_BACKOFF * 2 ** min(new.failures - 1, 10)", "FIRST_BACKOFF"),
    Mutation("a refused value is still served stale", "new.stale_ok = old.stale_ok and not permanent", "new.stale_ok = True"),
    Mutation("a refused value stays", "(not permanent or not flight.waiters)", "True"),
    Mutation("a refused refresh ahead takes a fresh value", "(not permanent or not flight.waiters)", "not permanent"),
    Mutation("a refusal is one to all names", "if old is not None and keeps_value else", "if old is not None else"),
    Mutation("a fetch that has landed is waited for", "        if flight.landed:\n            return flight.outcome\n", ""),
    Mutation("failures are never remembered", "now - entry.failed_at < self._negative_ttl:\n                raise copy.copy(entry.failure)\n            return", "False:\n                raise copy.copy(entry.failure)\n            return"),
    Mutation("failures are remembered for ever", "entry.failure is not None and now - entry.failed_at < self._negative_ttl:", "entry.failure is not None:"),
    Mutation("stale for ever", "if not entry.stale_ok or age > self._max_stale:", "if not entry.stale_ok:"),
    Mutation("a read is no use", "        return max([self.used, *(lease.used for lease in self.leases.values())])", "        return self.used"),
    Mutation("a forced refresh joins what is under way", "else cache.follow(current, self._fetch)", "else current"),
    Mutation("a forced refresh never has its turn", "            self._take_off(state, *flight.following)", "            pass"),
    Mutation("a fetch runs in its first caller's context", "context=Context()", "context=None"),
    Mutation("calls after close are served", "        if self.closed:\n            raise", "        if False:\n            raise"),
    Mutation("values are left after close", "        for entry in list(self._entries.values()):\n            self._remove(entry)\n", ""),
    Mutation("fetches go on after close", "                    task.cancel()\n                    waiting.append(task)", "                    pass"),
    Mutation("a lease outlives its entry", "            lease.until, lease.value = _NEVER, None\n", "            pass\n"),
    Mutation("unbounded", "        while self._size > self._max_entries:", "        while False:"),
    Mutation("a refresh ahead waits for its reader", "        flight.background = True\n        return end", "        return end"),
    Mutation("no refresh ahead", "if now < (begin := entry.born + ttl * self._ahead):", "if (begin := entry.born + ttl):"),
    Mutation("patience counts from the call", "flight.started + self._patience - now", "self._patience"),
    Mutation("names aren't followed", "        return (key,) if entry is None else entry.keys", "        return (key,)"),
    Mutation("another key's value is given out", "        while not isinstance(outcome, Exception) and self.key not in", "        while False and self.key not in"),
    Mutation("one of many takes the others along", "        self._launch(list(dict.fromkeys(flights)), run())\n", "        task = self._launch(list(dict.fromkeys(flights)), run())\n        for flight in flights:\n            flight.task = task\n            flight.background = False\n"),
    Mutation("the fetch is registered after it has begun", "                state.by_key.setdefault(name, flight)\n", "                running_loop().call_soon(state.by_key.setdefault, name, flight)\n"),
    Mutation("a fetch may hang for ever", "async with deadline, self._source.client(", "async with self._source.client(", "_gateway.py"),
    Mutation("each caller searches for itself", "                if findings == known.findings:", "                if True:", "rotation.py"),
    Mutation("the refused version is kept", "            self._manager.invalidate(if_version=version_id)", "            pass", "rotation.py"),
    Mutation("no other labels", "        for stage in (None, *self._stages):", "        for stage in (None,):", "rotation.py"),
    Mutation("the version that was taken is forgotten", "        if accepted and current.version_id in self._refused and accepted.version_id not in self._refused:", "        if False:", "rotation.py"),
    Mutation("what nobody tried is refused", "        if accepted and current.version_id in self._refused and", "        if accepted and", "rotation.py"),
    Mutation("what is confirmed is no finding", "        self.findings += changed or self._refusals", "        self.findings += changed", "rotation.py"),
    Mutation("a label of the current version is asked", "await self._labelled(stage) if stage not in labels else None", "await self._labelled(stage)", "rotation.py"),
    Mutation("a swallowed cancellation is lost", "            if self._task.cancelling() > self._cancelled_before:", "            if False:", "rotation.py"),
    Mutation("the accepted version is never tried", "        if accepted is not None and accepted.version_id not in tried:", "        if False:", "rotation.py"),
    Mutation("a late success takes a finding's place", "        if attempt < self._accepted_by:", "        if False:", "rotation.py"),
    Mutation("any error is one of authentication", "            if not self._is_auth_error(error):\n                raise", "            pass", "rotation.py"),
    Mutation("a pause never ends early", "                    await anext(changes)\n                    return", "                    await asyncio.Event().wait()", "rotation.py"),
    Mutation("no pause", "            await _wait_for_news(self._manager, min(pause, deadline - now))", "            await asyncio.sleep(0.001)", "rotation.py"),
    Mutation("pauses don't grow", "            pause = min(max((now - began) * _PAUSE_SHARE, _SHORTEST_PAUSE), _LONGEST_PAUSE)", "            pause = _SHORTEST_PAUSE", "rotation.py"),
    Mutation("pauses grow too fast", "_PAUSE_SHARE = 0.25", "_PAUSE_SHARE = 2.0", "rotation.py"),
    Mutation("a search is for ever", "and (now := clock()) < deadline:", "and (now := clock()):", "rotation.py"),
    Mutation("who waits for a search waits for ever", "                async with asyncio.timeout_at(deadline):", "                async with asyncio.timeout_at(None):", "rotation.py"),
    Mutation("a label that isn't allowed ends the search", "            if stage is None and not error.transient:", "            if not error.transient:", "rotation.py"),
    Mutation("AWS's absence ends the search", "            if stage is None and not error.transient:", "            if stage is None:", "rotation.py"),
    Mutation("a label that can't be read ends the search", "contextlib.suppress(SecretFormatError):\n                    if", "contextlib.nullcontext():\n                    if", "rotation.py"),
    Mutation("each version is tried by each label", "            if secret is not None and secret.version_id not in tried:", "            if secret is not None:", "rotation.py"),
    Mutation("circles are walked for ever", "and id(each) not in seen:", "and True:", "rotation.py"),
    Mutation("what acting raises ends the watching", "    except Exception:\n        logger.exception(", "    except LookupError as error:\n        raise PoolClosedError from error\n        logger.exception(", "rotation.py"),
    Mutation("watching goes on after its block", "        task.cancel()\n        await finish([task])", "        pass", "rotation.py"),
]  # fmt: skip


def mutate(folder: Path, mutation: Mutation) -> None:
    """Change the copy. Raises `LookupError` if the text isn't there exactly once."""
    path = folder / "aiocredentials" / mutation.file
    text = path.read_text()
    if text.count(mutation.old) != 1:
        raise LookupError(f"the text is there {text.count(mutation.old)} times, not once: {mutation.old.strip()!r}")
    path.write_text(text.replace(mutation.old, mutation.new))


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
        tests = TESTS[mutation.file] if mutation else dict.fromkeys(name for names in TESTS.values() for name in names)
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
