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
        "    if failure is None or failure.transient:",
        "    if True:",
    ),
    (
        "failures are remembered for ever",
        "_cache/freshness.py",
        "    is_over = now - known.failed_at >= rules.negative_ttl",
        "    is_over = False",
    ),
    (
        "no refresh ahead",
        "_cache/freshness.py",
        "    if now < refresh_at:\n",
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
        "    is_backing_off = began is None and now < known.retry_at",
        "    is_backing_off = False",
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
        "    if has_failed or is_backing_off:",
        "    if is_backing_off:",
    ),
    (
        "back-off where nothing is left",
        "_cache/freshness.py",
        "    if began is None:\n        remembered",
        (
            "    if began is None and known.failure is not None and now < known.retry_at:\n"
            "        return Refuse(known.failure, _TOO_OLD)\n"
            "    if began is None:\n        remembered"
        ),
    ),
    (
        "a hanging refresh pins what is stale",
        "_cache/freshness.py",
        "        look_again_at = min(end, now + LOOK_AGAIN)",
        "        look_again_at = end",
    ),
    # _cache/flights.py
    (
        "a fetch goes on when its last caller has gone",
        "_cache/flights.py",
        "            if has_left and not flight.background:",
        "            if False:",
    ),
    (
        "any caller who goes cancels the fetch",
        "_cache/flights.py",
        "        if flight.waiters or task is None or",
        "        if task is None or",
    ),
    (
        "nobody holds the task",
        "_cache/flights.py",
        "            state.tasks[task] = flights\n",
        "            state.tasks[asyncio.Future()] = flights\n",
    ),
    (
        "an old fetch unregisters a newer one",
        "_cache/flight.py",
        "            if found is flight:",
        "            if found is not None:",
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
        "            self._begin_follower(follower)",
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
        "                task.cancel()\n                waiting.append(task)",
        "                pass",
    ),
    (
        "the fetch is registered after it has begun",
        "_cache/flights.py",
        "        state.add(flight)\n",
        "        running_loop().call_soon(state.add, flight)\n",
    ),
    (
        "the bookkeeping stands between an outcome and its waiters",
        "_cache/flights.py",
        "                    reports = self._record(flights)\n",
        (
            "                    held = delivering.pop_all()\n"
            "                    reports = self._record(flights)\n"
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
        "listeners are called under the lock",
        "_cache/flights.py",
        "                    reports = self._record(flights)\n",
        (
            "                    reports = self._record(flights)\n"
            "                    for report in reports:\n"
            "                        report()\n"
            "                    reports = []\n"
        ),
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
        "_cache/invalidations.py",
        "        return last > number",
        "        return False",
    ),
    (
        "marks are kept for ever",
        "_cache/invalidations.py",
        "            del self._marks[mark]\n",
        "            break\n",
    ),
    (
        "marks go too early",
        "_cache/invalidations.py",
        "            if is_needed:",
        "            if False:",
    ),
    # _cache/entries.py
    (
        "no back-off",
        "_cache/entries.py",
        "        self.retry_at = now + pause * (1 + extra)",
        "        self.retry_at = now",
    ),
    (
        "back-off never grows",
        "_cache/entries.py",
        "        pause = FIRST_BACKOFF * 2**doublings",
        "        pause = FIRST_BACKOFF",
    ),
    (
        "a read is no use",
        "_cache/entries.py",
        "            used = max(used, lease.used)",
        "            pass",
    ),
    (
        "unbounded",
        "_cache/shelf.py",
        "        if self._size > self._most:",
        "        if False:",
    ),
    # _cache/cache.py
    (
        "age counts from the landing",
        "_cache/outcomes.py",
        "        new.born = flight.started\n        new.share = self._share_of",
        "        new.born = now\n        new.share = self._share_of",
    ),
    (
        "an older value takes a newer one's place",
        "_cache/outcomes.py",
        "        if any(entry.born > flight.started for entry in known):",
        "        if False:",
    ),
    (
        "a refused value stays",
        "_cache/outcomes.py",
        "            if not flight.waiters:\n",
        "            if True:\n",
    ),
    (
        "a refused refresh ahead takes a fresh value",
        "_cache/outcomes.py",
        "            if not flight.waiters:\n",
        "            if False:\n",
    ),
    (
        "a refusal takes the value from all names",
        "_cache/outcomes.py",
        "        self._table.detach(key)\n",
        "        if old is not None:\n            self._table.remove(old)\n",
    ),
    (
        "a refused name is forgotten by the others",
        "_cache/outcomes.py",
        "            new.aliases = old.aliases\n",
        "",
    ),
    (
        "an evicted name reaches no value",
        "_cache/table.py",
        "            return self._evicted.get(key, (key,))",
        "            return (key,)",
    ),
    (
        "evicted names are kept for ever",
        "_cache/table.py",
        "                del self._evicted[alias]",
        "                pass",
    ),
    (
        "failures push out values",
        "_cache/table.py",
        "        shelf = self.values if new.has_value else self.blanks",
        "        shelf = self.values",
    ),
    (
        "values are left after close",
        "_cache/cache.py",
        ("        waiting = self.flights.close()\n        with bookkeeping:\n            self._table.clear()\n"),
        "        waiting = self.flights.close()\n        with bookkeeping:\n",
    ),
    (
        "a lease outlives its entry",
        "_cache/entries.py",
        "        self.until = NEVER\n        self.value = None\n",
        "        pass\n",
    ),
    (
        "names aren't followed",
        "_cache/table.py",
        "        return entry.keys",
        "        return (key,)",
    ),
    (
        "a fetch of before an invalidation is stored",
        "_cache/outcomes.py",
        '            elif not self._is_overtaken(flight, cast("V", outcome)):',
        "            else:",
    ),
    (
        "one of many takes the others along",
        "_cache/flights.py",
        "        self._launch(distinct, partial(fetch_batch, distinct, fetch))\n",
        (
            "        task = self._launch(distinct, partial(fetch_batch, distinct, fetch))\n"
            "        for flight in flights:\n"
            "            flight.task = task\n"
            "            flight.background = False\n"
        ),
    ),
    (
        "a forced refresh that waits for its turn asks a cache",
        "_cache/flights.py",
        "            follower.past_caches = True\n",
        "",
    ),
    (
        "a fetch after an invalidation asks a cache",
        "_cache/flights.py",
        " or self._was_invalidated(flight.key)\n",
        "\n",
    ),
    (
        "an invalidation of a key that isn't cached is forgotten",
        "_cache/table.py",
        "            self.put(unknown)\n",
        "",
    ),
    (
        "an invalidation is forgotten by a refusal",
        "_cache/outcomes.py",
        "            new.invalidated = old.invalidated\n",
        "",
    ),
    (
        "an invalidation by another name is forgotten",
        "_cache/outcomes.py",
        "                self._table.blank(key, now)\n",
        "                pass\n",
    ),
    # _cache/reader.py
    (
        "waiters share one exception",
        "_cache/reader.py",
        "            raise for_caller(outcome, **self._error_facts)\n",
        "            raise outcome\n",
    ),
    (
        "remembered failures are one exception",
        "_cache/reader.py",
        "        reason = for_caller(decision.error, **self._error_facts)",
        "        reason = decision.error",
    ),
    (
        "a forced refresh joins what is under way",
        "_cache/reader.py",
        "            flight = self._flights.follow(current, self.key, self._fetch)",
        "            flight = current",
    ),
    (
        "a refresh ahead waits for its reader",
        "_cache/reader.py",
        "            flight.background = True\n",
        "",
    ),
    (
        "another key's value is given out",
        "_cache/reader.py",
        "        return self.key in keys",
        "        return True",
    ),
    (
        "another key's refusal is given out",
        "_cache/reader.py",
        "            return outcome.transient",
        "            return True",
    ),
    (
        "a caller joins what began before its invalidation",
        "_cache/reader.py",
        "        if landed.overtaken and asked > landed.since:",
        "        if False:",
    ),
    (
        "time goes backwards",
        "_cache/reader.py",
        "        if self._is_superseded(landed):",
        "        if False:",
    ),
    (
        "a lease is asked before its value is taken",
        "_cache/reader.py",
        "            lease.count.reads += 1\n            return value",
        "            lease.count.reads += 1\n            return lease.value",
    ),
    (
        "leases pile up",
        "_cache/entries.py",
        "            if lease.until > now:",
        "            if True:",
    ),
    (
        "a use under an old lease is forgotten",
        "_cache/entries.py",
        "        self.used = max(self.used, lease.used)\n        lease.end()",
        "        lease.end()",
    ),
    # _cache/shelf.py
    (
        "an eviction corrects all places",
        "_cache/shelf.py",
        "        for _ in range(MOST_CORRECTIONS):",
        "        while True:",
    ),
    (
        "of many entries the newest is evicted",
        "_cache/shelf.py",
        "        return min(entries, key=_last_used)",
        "        return max(entries, key=_last_used)",
    ),
    (
        "places are never used again",
        "_cache/shelf.py",
        "        self._free.append(place)",
        "        pass",
    ),
    (
        "a fetched value takes no lease",
        "_cache/reader.py",
        "            self._hold(value)",
        "            pass",
    ),
]
