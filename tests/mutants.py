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
# Those of any other file are the cache's.
TESTS = {
    "_gateway.py": [*CACHE_TESTS, "../server/test_healing.py"],
    "_loops.py": [*CACHE_TESTS, "test_cancelled_inside.py", "../server/test_fork.py"],
    "_pooled.py": ["../server/test_healing.py"],
    "_session.py": ["../server/test_healing.py"],
    "rotation.py": ["test_rotation.py", "test_rotation_limits.py"],
    "_news.py": ["test_news.py", "test_rotation.py"],
    "_refusals.py": ["test_refusals.py"],
    "_databases.py": ["test_databases.py"],
    "_decode.py": ["test_decode.py"],
    "_validation.py": ["test_decode.py"],
    "_formats.py": ["test_credentials.py", "test_redis_credentials.py"],
    "_secret.py": ["test_secret.py"],
    "_probe.py": ["test_doctor.py", "../server/test_doctor.py"],
    "_doctor_report.py": ["test_doctor.py"],
    "events.py": ["test_events.py"],
    "_pool.py": ["test_events.py"],
}
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
    Mutation("a hanging refresh pins what is stale", "min(end, now + LOOK_AGAIN), refresh=True", "end, refresh=True", FRESHNESS),
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
    Mutation("the bookkeeping stands between an outcome and its waiters", "                    afterwards = self._record(flights)\n", "                    held = delivering.pop_all()\n                    afterwards = self._record(flights)\n                    delivering.push(held)\n", FLIGHTS),
    Mutation("one delivery stands between the others and their waiters", "            for flight in reversed(flights):\n                delivering.callback(self._deliver, flight)\n", "            delivering.callback(lambda: [self._deliver(flight) for flight in flights])\n", FLIGHTS),
    Mutation("listeners stand between an outcome and its waiters", "        finally:\n            for flight in flights:\n                self._deliver(flight)\n        for each in afterwards:\n            each()", "        finally:\n            for each in afterwards:\n                each()\n            for flight in flights:\n                self._deliver(flight)", FLIGHTS),
    Mutation("a cancelled fetch is a closed pool", "        if self.closed:\n            return describe(PoolClosedError, ", "        if True:\n            return describe(PoolClosedError, ", FLIGHTS),
    Mutation("the end of a loop is a failure", "flight.given_up or not flight.waiters", "flight.given_up", FLIGHTS),
    Mutation("an invalidation forgets what is under way", "        flight.overtaken = max(last, self._all_invalidated) > flight.since", "        flight.overtaken = False", FLIGHTS),
    Mutation("marks are kept for ever", "            del self._marks[mark]\n", "            break\n", FLIGHTS),
    Mutation("marks go too early", "            if oldest is not None and self._marks[mark] > oldest.since:", "            if False:", FLIGHTS),
    Mutation("a task factory must know context=", "        return Context().run(running_loop().create_task, coroutine)", "        return running_loop().create_task(coroutine, context=Context())", "_loops.py"),
    Mutation("a fetch runs in its first caller's context", "        return Context().run(running_loop().create_task, coroutine)", "        return running_loop().create_task(coroutine)", "_loops.py"),
    Mutation("no lock", "bookkeeping = threading.RLock()", "bookkeeping = contextlib.nullcontext()\nbookkeeping.acquire = bookkeeping.release = lambda *_: True", "_loops.py"),
    Mutation("a forked child goes on with its parent's loops", "        thing.forked()\n", "        pass\n", "_loops.py"),
    Mutation("a forked child finds the lock held", "at_fork(after_in_child=bookkeeping.release)\n", "", "_loops.py"),
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
    Mutation("values are left after close", "        waiting = self.flights.close()\n        with bookkeeping:\n            for entry in list(self._entries.values()):\n                self._remove(entry)\n", "        waiting = self.flights.close()\n        with bookkeeping:\n", CACHE),
    Mutation("a lease outlives its entry", "            lease.until = NEVER\n            lease.value = None\n", "            pass\n", CACHE),
    Mutation("names aren't followed", "        return (key,) if entry is None else entry.keys", "        return (key,)", CACHE),
    Mutation("a fetch of before an invalidation is stored", "            elif not self._is_overtaken(flight):", "            else:", CACHE),
    Mutation("one of many takes the others along", "        self.flights.begin_many(list(dict.fromkeys(flights)), run)\n", "        self.flights.begin_many(list(dict.fromkeys(flights)), run)\n        (task,) = self.flights._loops.get().tasks\n        for flight in flights:\n            flight.task = task\n            flight.background = False\n", CACHE),
    # the reader
    Mutation("waiters share one exception", "            raise for_caller(outcome, **self._facts)\n", "            raise outcome\n", READER),
    Mutation("remembered failures are one exception", "        reason = for_caller(decision.error, **self._facts)", "        reason = decision.error", READER),
    Mutation("a forced refresh joins what is under way", "flights.follow(current, self.key, fetch) if current", "current if current", READER),
    Mutation("a refresh ahead waits for its reader", "                    flight.background = True\n", "", READER),
    Mutation("another key's value is given out", '            is_ours = self.key in self._cache.keys_of(self.key, cast("V", outcome))', "            is_ours = True", READER),
    Mutation("another key's refusal is given out", "            is_ours = outcome.transient", "            is_ours = True", READER),
    Mutation("a caller joins what began before its invalidation", "        is_outdated = landed.overtaken and asked > landed.since", "        is_outdated = False", READER),
    Mutation("time goes backwards", "            return False\n        call.is_own", "            pass\n        call.is_own", READER),
    Mutation("a lease is asked before its value is taken", '            return cast("V", value)\n        return await self._look()', '            return cast("V", lease.value)\n        return await self._look()', READER),
    # identifiers and store
    Mutation("an alias of a name that ends like a suffix", "    if not has_suffix or _SUFFIX.fullmatch(name[-_SUFFIX_LENGTH:]) is not None:", "    if not has_suffix:", "_identifiers.py"),
    Mutation("an alias of an ARN without a suffix", "    if not has_suffix or _SUFFIX", "    if _SUFFIX", "_identifiers.py"),
    Mutation("an invalidation in an unknown region is lost", "        for region in (own.region_name, None):", "        for region in (own.region_name,):", "_store.py"),
    Mutation("an invalidation in an unknown region leaves what is cached", "        keys = [other for other in self._related(request) if key is None or other.region_name == region]", "        keys = []", "_store.py"),
    Mutation("a forgotten version comes back by a fetch under way", "            yield (own.secret_id, region, secret.version_id)\n", "", "_store.py"),
    Mutation("one name spoils a batch", "                if not _is_about_the_batch(error):", "                if True:", "_store.py"),
    Mutation("an overloaded service is asked for each name", "                if not _is_about_the_batch(error):", "                if False:", "_store.py"),
    Mutation("iterators wake each other", "        if self._for_failures:\n", "        if True:\n", "_store.py"),
    Mutation("an error ends the iterator", "                except CredentialsError as error:\n                    self.reporter", "                except ZeroDivisionError as error:\n                    self.reporter", "_store.py"),
    Mutation("pages go in a circle", "                if not token or token in tokens:", "                if not token:", "_gateway.py"),
    Mutation("a fetch may hang for ever", "            async with deadline:\n                try:\n                    return await attempt()", "            if True:\n                try:\n                    return await attempt()", "_gateway.py"),
    # clients that heal
    Mutation("credentials that AWS refuses are kept", "    return code in SIGN_AGAIN", "    return False", "_session.py"),
    Mutation("clients that fail for good are kept", "                if clients.would_fail_again(error):\n", "                if False:\n", "_pooled.py"),
    Mutation("the call isn't made once more", "                    if not signs_again(error):\n", "                    if True:\n", "_gateway.py"),
    Mutation("a fork doesn't wait for what is loaded", "    before=loading.before_fork,\n", "", "_loops.py"),
    Mutation("a cancellation from inside is the caller's", "    return me is None or me.cancelling() > 0", "    return True", "_loops.py"),
    # credentials, decoding and formats
    Mutation("a partial is printed", "    while isinstance(function, partial):", "    while False:", "_decode.py"),
    Mutation("a format error names no secret", "raise for_caller(failure, secret_name=secret.name, region_name=secret.region)", "raise failure", "_decode.py"),
    Mutation("a key of the input is shown", "isinstance(step, int) or step in words", "True", "_validation.py"),
    Mutation("a URL is a token", "if _URL.match(text):", "if False:", "_formats.py"),
    Mutation("labels go raw", "repr(stage)[1:-1] for stage", "stage for stage", "_secret.py"),
    # the doctor
    Mutation("a password in an error", "return without_password(what)", "return what", "_probe.py"),
    Mutation("keys that may be tokens are shown", "(show_keys or all(map(is_field_name, names)))", "True", "_probe.py"),
    Mutation("invisible characters are printed", " and not _INVISIBLE.match(character)", "", "_doctor_report.py"),
    # events and the pool
    Mutation("a listener may raise anything", "    except BaseException:\n", "    except Exception:\n", "events.py"),
    Mutation("a listener never hears of its pool", "            tell_opened(self._listener, self)", "            pass", "_pool.py"),
    # rotation and databases
    Mutation("each caller searches for itself", "                if findings == known.findings:", "                if True:", "rotation.py"),
    Mutation("the refused version is kept", "            self._manager.invalidate(if_version=version_id)", "            pass", "rotation.py"),
    Mutation("no other labels", "        for stage in self._stages_to_ask(current):", "        for stage in ():", "rotation.py"),
    Mutation("the version that was taken is forgotten", "        return accepted if current.version_id in self._refused else current", "        return current", "rotation.py"),
    Mutation("what nobody tried is refused", "        return accepted if current.version_id in self._refused else current", "        return accepted", "rotation.py"),
    Mutation("what is confirmed is no finding", "        self.findings += is_other or self._refusals", "        self.findings += is_other", "rotation.py"),
    Mutation("a label of the current version is asked", "        labels = current.version_stages if current else ()", "        labels = ()", "rotation.py"),
    Mutation("a swallowed cancellation is lost", "            if self._task.cancelling() > self._cancelled_before:", "            if False:", "rotation.py"),
    Mutation("the accepted version is never tried", "        if accepted is not None and (made := await self._try(accepted, tried)):", "        if False and accepted is not None and (made := await self._try(accepted, tried)):", "rotation.py"),
    Mutation("a late success takes a finding's place", "        if attempt < self._accepted_by:", "        if False:", "rotation.py"),
    Mutation("any error is one of authentication", "            if not self._is_auth_error(error):\n                raise", "            pass", "rotation.py"),
    Mutation("no pause", "            news = await wait_for_news(self._manager, pause, heard.union(self._refused))", "            await asyncio.sleep(0.001)\n            news: list[str] = []", "rotation.py"),
    Mutation("pauses don't grow", "        pause = min(max(refused_for * _PAUSE_SHARE, _SHORTEST_PAUSE), _LONGEST_PAUSE)", "        pause = _SHORTEST_PAUSE", "rotation.py"),
    Mutation("pauses grow too fast", "_PAUSE_SHARE = 0.5", "_PAUSE_SHARE = 2.0", "rotation.py"),
    Mutation("pauses grow without limit", "_SHORTEST_PAUSE), _LONGEST_PAUSE)", "_SHORTEST_PAUSE), 1e9)", "rotation.py"),
    Mutation("each search has a pace of its own", "        self._refused_last = now\n", "        self._refused_last = float('-inf')\n", "rotation.py"),
    Mutation("a success doesn't end the slow pace", '        self._refused_last = float("-inf")\n        self.accepted', "        self.accepted", "rotation.py"),
    Mutation("the slow pace is for ever", "_STREAK_GAP = 2 * _LONGEST_PAUSE", "_STREAK_GAP = 1e9", "rotation.py"),
    Mutation("a search is for ever", "            if self._is_over():\n                break\n", "", "rotation.py"),
    Mutation("an attempt begins after the budget", "        if secret.version_id in tried or self._is_over():", "        if secret.version_id in tried:", "rotation.py"),
    Mutation("fetches and waits aren't in the budget", "        limit = asyncio.timeout_at(self._deadline)", "        limit = asyncio.timeout_at(None)", "rotation.py"),
    Mutation("a late caller waits for another's fetch", "        if known.searching.locked():", "        if False:", "rotation.py"),
    Mutation("any timeout is the budget's", "            if not limit.expired():\n                raise\n", "", "rotation.py"),
    Mutation("a label that isn't allowed ends the search", "            if stage is None and not error.transient:", "            if not error.transient:", "rotation.py"),
    Mutation("AWS's absence ends the search", "            if stage is None and not error.transient:", "            if stage is None:", "rotation.py"),
    Mutation("a label that can't be read ends the search", "            with contextlib.suppress(SecretFormatError):\n                if secret", "            with contextlib.nullcontext():\n                if secret", "rotation.py"),
    Mutation("each version is tried by each label", "        if secret.version_id in tried or self._is_over():", "        if self._is_over():", "rotation.py"),
    Mutation("labels are asked in each round", "        if version_id == self._labels_of and now - self._labels_at < _LABELS_PAUSE:", "        if False:", "rotation.py"),
    Mutation("labels are asked once", "        if version_id == self._labels_of and now - self._labels_at < _LABELS_PAUSE:", "        if self._labels_of:", "rotation.py"),
    Mutation("an unanswered label is taken for absent", '                self._labels_at = float("-inf")\n            return None', "                pass\n            return None", "rotation.py"),
    Mutation("refusals are never logged", "        if self._known.refuse(secret, number):", "        if self._known.refuse(secret, number) and False:", "rotation.py"),
    Mutation("each refusal is logged", "        if self._known.refuse(secret, number):", "        if self._known.refuse(secret, number) or True:", "rotation.py"),
    Mutation("a version is logged once in a life", "            self._logged.remove(version_id)", "            pass", "rotation.py"),
    Mutation("the server's words come as they are", "_named(secret), words_of(error, secret))", "_named(secret), str(error))", "rotation.py"),
    Mutation("labels come as they are", "({one_line('/'.join(secret.version_stages))})", "({'/'.join(secret.version_stages)})", "rotation.py"),
    Mutation("a password stays in the driver's error", "            remove_passwords(error)\n", "", "rotation.py"),
    Mutation("a pause never ends early", "                if secret.version_id not in versions:\n                    return [secret.version_id]", "                pass", "_news.py"),
    Mutation("old news end a pause", "                if secret.version_id not in versions:", "                if True:", "_news.py"),
    Mutation("a closed pool is waited for", "    except PoolClosedError:\n        raise\n    # A manager", "    # A manager", "_news.py"),
    Mutation("what acting raises ends the watching", "        except Exception:\n            logger.exception(", "        except LookupError as error:\n            raise PoolClosedError from error\n            logger.exception(", "_news.py"),
    Mutation("watching goes on after its block", "        task.cancel()\n        await finish([task])", "        pass", "_news.py"),
    Mutation("a block begins without a look", "        await watch.first_look()\n", "", "_news.py"),
    Mutation("a block waits for a look that hangs", "            async with asyncio.timeout(_FIRST_LOOK):", "            async with asyncio.timeout(None):", "_news.py"),
    Mutation("a watcher that starts anew forgets", "        is_new = self._seen not in {None, secret.version_id}", "        is_new = False", "_news.py"),
    Mutation("the version at the start is new", "        is_new = self._seen not in {None, secret.version_id}", "        is_new = self._seen != secret.version_id", "_news.py"),
    Mutation("a version is new twice", "is_new=secret.version_id != self._seen)", "is_new=True)", "_news.py"),
    Mutation("a manager that fails is left", "                logger.warning(message, _WATCH_AGAIN, error)", "                return False", "_news.py"),
    Mutation("each failure is logged", "            if type(error) not in self._logged:", "            if True:", "_news.py"),
    Mutation("circles are walked for ever", "and id(each) not in seen:", "and True:", "_refusals.py"),
    Mutation("contexts are followed", "waiting += [each.__cause__, getattr", "waiting += [each.__cause__, each.__context__, getattr", "_refusals.py"),
    Mutation("pg_hba.conf is a matter of passwords", "any(map(_is_refusal, links)) and not any(map(_is_about_the_host, links))", "any(map(_is_refusal, links))", "_refusals.py"),
    Mutation("a database is a matter of passwords", "_MYSQL_CODES = {1045, 1698}", "_MYSQL_CODES = {1044, 1045, 1698}", "_refusals.py"),
    Mutation("only English is understood", "    return not _AFTER_LOGIN.search(message) and (user or not database)", "    return False", "_refusals.py"),
    Mutation("what comes after the login is a refusal", "    return not _AFTER_LOGIN.search(message) and (user or not database)", "    return True", "_refusals.py"),
    Mutation("no answer is a refusal", "    if pgconn is None or answer is None or not _used_password(pgconn):", "    if pgconn is None or not _used_password(pgconn) or answer is None and False:", "_refusals.py"),
    Mutation("without a password it is a refusal", "    if pgconn is None or answer is None or not _used_password(pgconn):", "    if pgconn is None or answer is None:", "_refusals.py"),
    Mutation("values are repeated", '            text = re.sub(pattern, "***", text)', "            pass", "_refusals.py"),
    Mutation("a short value is a hole in a word", "            if len(value) < _SHORTEST_VALUE:", "            if False:", "_refusals.py"),
    Mutation("only the spelling of the secret is hidden", "        for spelling in (value, quoted, repr(value)[1:-1], ascii(value)[1:-1]):", "        for spelling in (value,):", "_refusals.py"),
    Mutation("control characters are repeated", "each if each.isprintable() else ascii(each)[1:-1]", "each", "_refusals.py"),
    Mutation("texts have any length", "    if len(line) > _LONGEST_TEXT:", "    if False:", "_refusals.py"),
    Mutation("psycopg's error keeps the password", '                pgconn.password = b""\n                pgconn.info = []', "                pass", "_refusals.py"),
    Mutation("an open connection is closed", 'getattr(pgconn, "status", None):', "True:", "_refusals.py"),
    Mutation("no host is this machine", '    if "host" not in found and not is_said and not any(map(os.environ.get, variables)):', "    if False:", "_databases.py"),
    Mutation("None is given", "if value or name in may_be_empty}", "}", "_databases.py"),
    Mutation("a host may hold a port", "        raise ValueError(_WITH_PORT) from None", "        pass", "_databases.py"),
    Mutation("closing is cut", "    await finish([task])\n", "    await task\n", "_databases.py"),
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
