"""Prove that tests can fail: take one promise after the other out of cache and rotation, and see each one caught.

Each mutation changes the text of a copy of the package, and the tests of that file run against the copy. A mutant that
no test catches is a failure; so is a mutation whose text isn't there any more. `nox -s mutants`, or, where the package
and what tests need are installed, `python tests/mutants.py [part of a name ...]`.
"""

# ruff: noqa: E501, T201 (a mutation is one line of the table; the table is what this prints)
from __future__ import annotations

import itertools
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
CACHE_TESTS = [
    "test_freshness.py",
    "test_outcomes.py",
    "test_cache.py",
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
CACHE, ENTRIES, FLIGHTS = "_cache/cache.py", "_cache/entries.py", "_cache/flights.py"
FRESHNESS, READER = "_cache/freshness.py", "_cache/reader.py"
TESTS = {"rotation.py": ["test_rotation.py"]}  # those of any other file are the cache's
SLOW = "not herd"  # what is left out
LONGEST = 120  # seconds; a mutant that hangs is caught by that


class Mutation(NamedTuple):
    """What is taken out, and where."""

    name: str
    old: str
    new: str
    file: str


MUTATIONS = [
    # freshness: the decision
    Mutation("no jitter", "        return self.ttl * (1 - self.jitter * known.share)", "        return self.ttl", FRESHNESS),
    Mutation("stale for ever", "    if known.stale_ok and age <= rules.max_stale:", "    if known.stale_ok:", FRESHNESS),
    Mutation("a refused value is served past its ttl", "    if known.stale_ok and age <= rules.max_stale:", "    if age <= rules.max_stale:", FRESHNESS),
    Mutation("failures are never remembered", "    if failure is None or failure.transient or now - known.failed_at >= rules.negative_ttl:", "    if True:", FRESHNESS),
    Mutation("failures are remembered for ever", "    if failure is None or failure.transient or now - known.failed_at >= rules.negative_ttl:", "    if failure is None or failure.transient:", FRESHNESS),
    Mutation("no refresh ahead", "    if now < begin:\n", "    if True:\n", FRESHNESS),
    Mutation("a refresh ahead doesn't back off", "    if now < known.retry_at:\n", "    if False:\n", FRESHNESS),
    Mutation("a stale read doesn't back off", "(began is None and now < known.retry_at)", "False", FRESHNESS),
    Mutation("patience counts from the call", "began + rules.patience - now", "rules.patience", FRESHNESS),
    Mutation("patience never ends", "    if is_spent or left <= 0:", "    if left <= 0:", FRESHNESS),
    Mutation("a call waits for fetch after fetch", "    if has_failed or (began", "    if (began", FRESHNESS),
    Mutation("back-off where nothing is left", "    if began is None and (remembered", "    if began is None and known.failure is not None and now < known.retry_at:\n        return Refuse(known.failure, _TOO_OLD)\n    if began is None and (remembered", FRESHNESS),
    # flights: single flight
    Mutation("a fetch goes on when its last caller has gone", "        if not flight.background:\n            self._give_up(flight)", "        pass", FLIGHTS),
    Mutation("any caller who goes cancels the fetch", "        if flight.waiters or flight.task is None or", "        if flight.task is None or", FLIGHTS),
    Mutation("nobody holds the task", "            state.tasks[task] = flights\n", "            state.tasks[asyncio.Future()] = flights\n", FLIGHTS),
    Mutation("an old fetch unregisters a newer one", "            if self.by_key.get(name) is flight:", "            if name in self.by_key:", FLIGHTS),
    Mutation("a fetch that has landed is waited for", "        if flight.landed:\n            return flight\n", "", FLIGHTS),
    Mutation("a forced refresh never has its turn", "            self._take_off(*flight.followed_by)", "            pass", FLIGHTS),
    Mutation("calls after close are served", "        if self.closed:\n            raise", "        if False:\n            raise", FLIGHTS),
    Mutation("fetches go on after close", "                    task.cancel()\n                    waiting.append(task)", "                    pass", FLIGHTS),
    Mutation("the fetch is registered after it has begun", "        state.by_key[flight.key] = flight\n", "        running_loop().call_soon(state.by_key.__setitem__, flight.key, flight)\n", FLIGHTS),
    Mutation("the bookkeeping stands between an outcome and its waiters", "        finally:\n            for flight in flights:\n                self._deliver(flight)\n", "        except ZeroDivisionError:\n            raise\n        for flight in flights:\n            self._deliver(flight)\n", FLIGHTS),
    Mutation("listeners stand between an outcome and its waiters", "        finally:\n            for flight in flights:\n                self._deliver(flight)\n        for each in afterwards:\n            each()", "        finally:\n            for each in afterwards:\n                each()\n            for flight in flights:\n                self._deliver(flight)", FLIGHTS),
    Mutation("a cancelled fetch is a closed pool", "        if self.closed:\n            return describe(PoolClosedError, ", "        if True:\n            return describe(PoolClosedError, ", FLIGHTS),
    Mutation("the end of a loop is a failure", "flight.given_up or not flight.waiters", "flight.given_up", FLIGHTS),
    Mutation("an invalidation forgets what is under way", "        flight.overtaken = any(self._marks.get(mark, 0) > flight.since for mark in marks)", "        flight.overtaken = False", FLIGHTS),
    Mutation("marks are kept for ever", "            del self._marks[mark]\n", "            break\n", FLIGHTS),
    Mutation("marks go too early", "            if oldest is not None and self._marks[mark] > oldest.since:", "            if False:", FLIGHTS),
    Mutation("a task factory must know context=", "        return Context().run(running_loop().create_task, coroutine)", "        return running_loop().create_task(coroutine, context=Context())", "_loops.py"),
    Mutation("a fetch runs in its first caller's context", "        return Context().run(running_loop().create_task, coroutine)", "        return running_loop().create_task(coroutine)", "_loops.py"),
    Mutation("no lock", "bookkeeping = threading.RLock()", "bookkeeping = contextlib.nullcontext()\nbookkeeping.acquire = bookkeeping.release = lambda *_: True", "_loops.py"),
    Mutation("a forked child goes on with its parent's loops", "        thing.forked()\n", "        pass\n", "_loops.py"),
    Mutation("a forked child finds the lock held", "    os.register_at_fork(after_in_child=bookkeeping.release)\n", "", "_loops.py"),
    Mutation("what a dead loop leaves is kept", "        for state in states:\n            self._abandon(state)", "        pass", "_loops.py"),
    # entries and cache
    Mutation("no back-off", "        self.retry_at = now + pause * (1 + 0.1 * share)", "        self.retry_at = now", ENTRIES),
    Mutation("back-off never grows", "FIRST_BACKOFF * 2 ** min(self.failures - 1, 10)", "FIRST_BACKOFF", ENTRIES),
    Mutation("a read is no use", "        return max([self.used, *(lease.used for lease in self.leases.values())])", "        return self.used", ENTRIES),
    Mutation("unbounded", "        while self._size > self._room:", "        while False:", ENTRIES),
    Mutation("age counts from the landing", "        new.born = flight.started\n        new.share = self._share_of", "        new.born = now\n        new.share = self._share_of", CACHE),
    Mutation("an older value takes a newer one's place", "        if any(entry.born > flight.started for entry in known):", "        if False:", CACHE),
    Mutation("a refused value stays", "            if not flight.waiters:\n", "            if True:\n", CACHE),
    Mutation("a refused refresh ahead takes a fresh value", "            if not flight.waiters:\n", "            if False:\n", CACHE),
    Mutation("a refusal takes the value from all names", "        self._detach(flight.key)\n        self._put(new", "        if old is not None:\n            self._remove(old)\n        self._put(new", CACHE),
    Mutation("a refused name is forgotten by the others", "            new.aliases = old.aliases\n", "", CACHE),
    Mutation("failures push out values", "self._put(new, self._blanks if new.value is None else self._values)", "self._put(new, self._values)", CACHE),
    Mutation("values are left after close", "            for entry in list(self._entries.values()):\n                self._remove(entry)\n", "", CACHE),
    Mutation("a lease outlives its entry", "            lease.until = NEVER\n            lease.value = None\n", "            pass\n", CACHE),
    Mutation("names aren't followed", "        return (key,) if entry is None else entry.keys", "        return (key,)", CACHE),
    Mutation("a fetch of before an invalidation is stored", "            elif not self._is_overtaken(flight):", "            else:", CACHE),
    Mutation("one of many takes the others along", "        self.flights.begin_many(list(dict.fromkeys(flights)), run)\n", "        self.flights.begin_many(list(dict.fromkeys(flights)), run)\n        (task,) = self.flights._loops.get().tasks\n        for flight in flights:\n            flight.task = task\n            flight.background = False\n", CACHE),
    # the reader
    Mutation("waiters share one exception", "            raise for_caller(outcome, **self._facts)\n", "            raise outcome\n", READER),
    Mutation("remembered failures are one exception", "        reason = for_caller(decision.error, **self._facts)", "        reason = decision.error", READER),
    Mutation("a forced refresh joins what is under way", "flights.follow(current, self.key, fetch) if current", "current if current", READER),
    Mutation("a refresh ahead waits for its reader", "                    (flight or self._start()).background = True", "                    flight or self._start()", READER),
    Mutation("another key's value is given out", '            is_ours = self.key in self._cache.keys_of(self.key, cast("V", outcome))', "            is_ours = True", READER),
    Mutation("another key's refusal is given out", "            is_ours = outcome.transient", "            is_ours = True", READER),
    Mutation("a caller joins what began before its invalidation", "        is_outdated = landed.overtaken and asked > landed.since", "        is_outdated = False", READER),
    Mutation("time goes backwards", "            return False\n        call.is_own", "            pass\n        call.is_own", READER),
    Mutation("a lease is asked before its value is taken", '            return cast("V", value)\n        return await self._look()', '            return cast("V", lease.value)\n        return await self._look()', READER),
    # identifiers and store
    Mutation("an alias of a name that ends like a suffix", "    if not has_suffix or _SUFFIX.fullmatch(name[-_SUFFIX_LENGTH:]) is not None:", "    if not has_suffix:", "_identifiers.py"),
    Mutation("an alias of an ARN without a suffix", "    if not has_suffix or _SUFFIX", "    if _SUFFIX", "_identifiers.py"),
    Mutation("an invalidation in an unknown region is lost", "        yield own._replace(region_name=None)\n", "", "_store.py"),
    Mutation("an invalidation in an unknown region leaves what is cached", "        keys = [other for other in self._related(request) if other[2:] == selectors]", "        keys = []", "_store.py"),
    Mutation("a forgotten version comes back by a fetch under way", "        yield (own.secret_id, own.region_name, secret.version_id)\n", "", "_store.py"),
    Mutation("one name spoils a batch", "                if not _is_about_the_batch(error):", "                if True:", "_store.py"),
    Mutation("an overloaded service is asked for each name", "                if not _is_about_the_batch(error):", "                if False:", "_store.py"),
    Mutation("iterators wake each other", "        if self._for_failures:\n", "        if True:\n", "_store.py"),
    Mutation("an error ends the iterator", "                except CredentialsError as error:\n                    self.reporter", "                except ZeroDivisionError as error:\n                    self.reporter", "_store.py"),
    Mutation("pages go in a circle", "                if not token or token in tokens:", "                if not token:", "_gateway.py"),
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
