"""What `tests/mutants.py` takes out of the cache: the decision, single flight, entries and the reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _cache/freshness.py
    (
        "no jitter",
        "_cache/freshness.py",
        "        return self.ttl * (1 - self.jitter * known.share)",
        "        return self.ttl",
    ),
    (
        "stale for ever",
        "_cache/freshness.py",
        "    if known.stale_ok and age <= rules.max_stale:",
        "    if known.stale_ok:",
    ),
    (
        "a refused value is served past its ttl",
        "_cache/freshness.py",
        "    if known.stale_ok and age <= rules.max_stale:",
        "    if age <= rules.max_stale:",
    ),
    (
        "failures are never remembered",
        "_cache/freshness.py",
        "    if failure is None or failure.transient or now - known.failed_at >= rules.negative_ttl:",
        "    if True:",
    ),
    (
        "failures are remembered for ever",
        "_cache/freshness.py",
        "    if failure is None or failure.transient or now - known.failed_at >= rules.negative_ttl:",
        "    if failure is None or failure.transient:",
    ),
    (
        "no refresh ahead",
        "_cache/freshness.py",
        "    if now < begin:\n",
        "    if True:\n",
    ),
    (
        "a refresh ahead doesn't back off",
        "_cache/freshness.py",
        "    if now < known.retry_at:\n",
        "    if False:\n",
    ),
    (
        "a stale read doesn't back off",
        "_cache/freshness.py",
        "(began is None and now < known.retry_at)",
        "False",
    ),
    (
        "patience counts from the call",
        "_cache/freshness.py",
        "began + rules.patience - now",
        "rules.patience",
    ),
    (
        "patience never ends",
        "_cache/freshness.py",
        "    if is_spent or left <= 0:",
        "    if left <= 0:",
    ),
    (
        "a call waits for fetch after fetch",
        "_cache/freshness.py",
        "    if has_failed or (began",
        "    if (began",
    ),
    (
        "back-off where nothing is left",
        "_cache/freshness.py",
        "    if began is None and (remembered",
        (
            "    if began is None and known.failure is not None and now < known.retry_at:\n"
            "        return Refuse(known.failure, _TOO_OLD)\n"
            "    if began is None and (remembered"
        ),
    ),
    (
        "a hanging refresh pins what is stale",
        "_cache/freshness.py",
        "min(end, now + LOOK_AGAIN), refresh=True",
        "end, refresh=True",
    ),
    # _cache/flights.py
    (
        "a fetch goes on when its last caller has gone",
        "_cache/flights.py",
        "        if not flight.background:\n            self._give_up(flight)",
        "        pass",
    ),
    (
        "any caller who goes cancels the fetch",
        "_cache/flights.py",
        "        if flight.waiters or flight.task is None or",
        "        if flight.task is None or",
    ),
    (
        "nobody holds the task",
        "_cache/flights.py",
        "            state.tasks[task] = flights\n",
        "            state.tasks[asyncio.Future()] = flights\n",
    ),
    (
        "an old fetch unregisters a newer one",
        "_cache/flights.py",
        "            if self.by_key.get(name) is flight:",
        "            if name in self.by_key:",
    ),
    (
        "a fetch that has landed is waited for",
        "_cache/flights.py",
        "        if flight.landed:\n            return flight\n",
        "",
    ),
    (
        "a forced refresh never has its turn",
        "_cache/flights.py",
        "            self._take_off(*flight.followed_by)",
        "            pass",
    ),
    (
        "calls after close are served",
        "_cache/flights.py",
        "        if self.closed:\n            raise",
        "        if False:\n            raise",
    ),
    (
        "fetches go on after close",
        "_cache/flights.py",
        "                    task.cancel()\n                    waiting.append(task)",
        "                    pass",
    ),
    (
        "the fetch is registered after it has begun",
        "_cache/flights.py",
        "        state.by_key[flight.key] = flight\n",
        "        running_loop().call_soon(state.by_key.__setitem__, flight.key, flight)\n",
    ),
    (
        "the bookkeeping stands between an outcome and its waiters",
        "_cache/flights.py",
        "                    afterwards = self._record(flights)\n",
        (
            "                    held = delivering.pop_all()\n"
            "                    afterwards = self._record(flights)\n"
            "                    delivering.push(held)\n"
        ),
    ),
    (
        "one delivery stands between the others and their waiters",
        "_cache/flights.py",
        "            for flight in reversed(flights):\n                delivering.callback(self._deliver, flight)\n",
        "            delivering.callback(lambda: [self._deliver(flight) for flight in flights])\n",
    ),
    (
        "listeners stand between an outcome and its waiters",
        "_cache/flights.py",
        "        for each in afterwards:\n            each()",
        "            for each in afterwards:\n                each()",
    ),
    (
        "a cancelled fetch is a closed pool",
        "_cache/flights.py",
        "        if self.closed:\n            return make_error(PoolClosedError, ",
        "        if True:\n            return make_error(PoolClosedError, ",
    ),
    (
        "the end of a loop is a failure",
        "_cache/flights.py",
        "flight.given_up or not flight.waiters",
        "flight.given_up",
    ),
    (
        "an invalidation forgets what is under way",
        "_cache/flights.py",
        "        flight.overtaken = max(last, self._all_invalidated) > flight.since",
        "        flight.overtaken = False",
    ),
    (
        "marks are kept for ever",
        "_cache/flights.py",
        "            del self._marks[mark]\n",
        "            break\n",
    ),
    (
        "marks go too early",
        "_cache/flights.py",
        "            if oldest is not None and self._marks[mark] > oldest.since:",
        "            if False:",
    ),
    # _cache/entries.py
    (
        "no back-off",
        "_cache/entries.py",
        "        self.retry_at = now + pause * (1 + 0.1 * share)",
        "        self.retry_at = now",
    ),
    (
        "back-off never grows",
        "_cache/entries.py",
        "FIRST_BACKOFF * 2 ** min(self.failures - 1, 10)",
        "FIRST_BACKOFF",
    ),
    (
        "a read is no use",
        "_cache/entries.py",
        "        return max([self.used, *(lease.used for lease in self.leases.values())])",
        "        return self.used",
    ),
    (
        "unbounded",
        "_cache/entries.py",
        "        while self._size > self._room:",
        "        while False:",
    ),
    # _cache/cache.py
    (
        "age counts from the landing",
        "_cache/cache.py",
        "        new.born = flight.started\n        new.share = self._share_of",
        "        new.born = now\n        new.share = self._share_of",
    ),
    (
        "an older value takes a newer one's place",
        "_cache/cache.py",
        "        if any(entry.born > flight.started for entry in known):",
        "        if False:",
    ),
    (
        "a refused value stays",
        "_cache/cache.py",
        "            if not flight.waiters:\n",
        "            if True:\n",
    ),
    (
        "a refused refresh ahead takes a fresh value",
        "_cache/cache.py",
        "            if not flight.waiters:\n",
        "            if False:\n",
    ),
    (
        "a refusal takes the value from all names",
        "_cache/cache.py",
        "        self._detach(flight.key)\n        self._put(new",
        "        if old is not None:\n            self._remove(old)\n        self._put(new",
    ),
    (
        "a refused name is forgotten by the others",
        "_cache/cache.py",
        "            new.aliases = old.aliases\n",
        "",
    ),
    (
        "failures push out values",
        "_cache/cache.py",
        "self._put(new, self._blanks if new.value is None else self._values)",
        "self._put(new, self._values)",
    ),
    (
        "values are left after close",
        "_cache/cache.py",
        (
            "        waiting = self.flights.close()\n"
            "        with bookkeeping:\n"
            "            for entry in list(self._entries.values()):\n"
            "                self._remove(entry)\n"
        ),
        "        waiting = self.flights.close()\n        with bookkeeping:\n",
    ),
    (
        "a lease outlives its entry",
        "_cache/cache.py",
        "            lease.until = NEVER\n            lease.value = None\n",
        "            pass\n",
    ),
    (
        "names aren't followed",
        "_cache/cache.py",
        "        return (key,) if entry is None else entry.keys",
        "        return (key,)",
    ),
    (
        "a fetch of before an invalidation is stored",
        "_cache/cache.py",
        "            elif not self._is_overtaken(flight):",
        "            else:",
    ),
    (
        "one of many takes the others along",
        "_cache/cache.py",
        "        self.flights.begin_many(list(dict.fromkeys(flights)), run)\n",
        (
            "        self.flights.begin_many(list(dict.fromkeys(flights)), run)\n"
            "        (task,) = self.flights._loops.get().tasks\n"
            "        for flight in flights:\n"
            "            flight.task = task\n"
            "            flight.background = False\n"
        ),
    ),
    # _cache/reader.py
    (
        "waiters share one exception",
        "_cache/reader.py",
        "            raise for_caller(outcome, **self._facts)\n",
        "            raise outcome\n",
    ),
    (
        "remembered failures are one exception",
        "_cache/reader.py",
        "        reason = for_caller(decision.error, **self._facts)",
        "        reason = decision.error",
    ),
    (
        "a forced refresh joins what is under way",
        "_cache/reader.py",
        "flights.follow(current, self.key, fetch) if current",
        "current if current",
    ),
    (
        "a refresh ahead waits for its reader",
        "_cache/reader.py",
        "                    flight.background = True\n",
        "",
    ),
    (
        "another key's value is given out",
        "_cache/reader.py",
        '            is_ours = self.key in self._cache.keys_of(self.key, cast("V", outcome))',
        "            is_ours = True",
    ),
    (
        "another key's refusal is given out",
        "_cache/reader.py",
        "            is_ours = outcome.transient",
        "            is_ours = True",
    ),
    (
        "a caller joins what began before its invalidation",
        "_cache/reader.py",
        "        is_outdated = landed.overtaken and asked > landed.since",
        "        is_outdated = False",
    ),
    (
        "time goes backwards",
        "_cache/reader.py",
        "            return False\n        call.is_own",
        "            pass\n        call.is_own",
    ),
    (
        "a lease is asked before its value is taken",
        "_cache/reader.py",
        '            return cast("V", value)\n        return await self._look()',
        '            return cast("V", lease.value)\n        return await self._look()',
    ),
]
