"""What `tests/mutants.py` takes out of identifiers, the store, loops and threads, events and the pool."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _loops.py
    (
        "a task factory must know context=",
        "_loops.py",
        "        return context.run(loop.create_task, coroutine)",
        "        return loop.create_task(coroutine, context=context)",
    ),
    (
        "a fetch runs in its first caller's context",
        "_loops.py",
        "        return context.run(loop.create_task, coroutine)",
        "        return loop.create_task(coroutine)",
    ),
    (
        "no lock",
        "_loops.py",
        "bookkeeping = threading.RLock()",
        (
            "import contextlib\n"
            "bookkeeping = contextlib.nullcontext()\n"
            "bookkeeping.acquire = bookkeeping.release = lambda *_: True"
        ),
    ),
    (
        "a forked child goes on with its parent's loops",
        "_loops.py",
        "        thing.forked()\n",
        "        pass\n",
    ),
    (
        "a forked child finds the lock held",
        "_loops.py",
        "at_fork(after_in_child=bookkeeping.release)\n",
        "",
    ),
    (
        "what a dead loop leaves is kept",
        "_loops.py",
        "        for state in states:\n            self._abandon(state)",
        "        pass",
    ),
    # _identifiers.py
    (
        "an alias of a name that ends like a suffix",
        "_identifiers.py",
        "    if has_suffix and not _ends_like_a_suffix(name):",
        "    if has_suffix:",
    ),
    (
        "an alias of an ARN without a suffix",
        "_identifiers.py",
        "    if has_suffix and not _ends",
        "    if not _ends",
    ),
    # _store.py
    (
        "age stands still while a Mac is asleep",
        "_store.py",
        '("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW")',
        '("CLOCK_BOOTTIME",)',
    ),
    (
        "age stands still while Linux is asleep",
        "_store.py",
        '("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW")',
        '("CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME")',
    ),
    (
        "an invalidation in an unknown region is lost",
        "_store.py",
        "        for region_name in (own.region_name, None):",
        "        for region_name in (own.region_name,):",
    ),
    (
        "an invalidation in an unknown region leaves what is cached",
        "_store.py",
        "        keys = self._related(request, key)",
        "        keys = []",
    ),
    (
        "a forgotten version comes back by a fetch under way",
        "_store.py",
        "            yield (own.secret_name, region_name, secret.version_id)\n",
        "",
    ),
    (
        "one name spoils a batch",
        "_prefetch.py",
        "            if not _is_about_the_batch(error):",
        "            if True:",
    ),
    (
        "an overloaded service is asked for each name",
        "_prefetch.py",
        "            if not _is_about_the_batch(error):",
        "            if False:",
    ),
    (
        "a batch is answered by the cache of a client after an invalidation",
        "_prefetch.py",
        "            in_batch = [one for one in batch if one not in past_caches]",
        "            pass",
    ),
    (
        "a secret that stays throttled fails the others",
        "_prefetch.py",
        "                waiting.append(request)",
        "                waiting.appendleft(request)",
    ),
    (
        "after an invalidation, each new manager without a cache asks past caches",
        "_store.py",
        "        return NoReader(self.cache.flights.invalidations.count)",
        "        return NoReader(0)",
    ),
    (
        "after forget, a cache on the way answers a manager without one of its own",
        "_store.py",
        "NoReader(-1)",
        "None",
    ),
    (
        "after forget, a prefetch fetches one secret after the other",
        "_prefetch.py",
        "            if flights.is_forgotten(flight):",
        "            if False:",
    ),
    (
        "a throttled batch fails the prefetch",
        "_prefetch.py",
        "            if throttled:\n",
        "            if False:\n",
    ),
    (
        "throttled secrets are fetched again without a pause",
        "_prefetch.py",
        "                await asyncio.sleep(pause)",
        "                await asyncio.sleep(0)",
    ),
    (
        "all processes of a fleet pause for the same time",
        "_prefetch.py",
        "longest_pause * random_share()",
        "longest_pause",
    ),
    (
        "the pauses of a prefetch don't grow",
        "_prefetch.py",
        "min(2 * longest_pause, _LONGEST_PAUSE)",
        "_FIRST_PAUSE",
    ),
    (
        "a prefetch waits for a throttled service without end",
        "_prefetch.py",
        "                if now() + pause >= end:",
        "                if False:",
    ),
    (
        "a prefetch pauses after each single call",
        "_prefetch.py",
        "            is_throttled = isinstance(outcome, ThrottledError)",
        "            is_throttled = True",
    ),
    (
        "a prefetch waits for a throttled service for longer than the timeout says",
        "_prefetch.py",
        "_TIMEOUTS_FOR_THROTTLED * self._store.gateway.timeout",
        "_TIMEOUTS_FOR_THROTTLED * 10",
    ),
    (
        "iterators wake each other",
        "_changes.py",
        "        if self._for_failures:\n",
        "        if True:\n",
    ),
    (
        "an error ends the iterator",
        "_changes.py",
        ("            except CredentialsError as error:\n                region_name = request"),
        ("            except ZeroDivisionError as error:\n                region_name = request"),
    ),
    # _loops.py
    (
        "a fork doesn't wait for what is loaded",
        "_loops.py",
        "    before=loading.before_fork,\n",
        "",
    ),
    (
        "a cancellation from inside is the caller's",
        "_loops.py",
        "    return me is None or me.cancelling() > 0",
        "    return True",
    ),
    # _listeners.py
    (
        "a listener may raise anything",
        "_listeners.py",
        "    except BaseException:\n",
        "    except Exception:\n",
    ),
    # _pool.py
    (
        "a listener never hears of its pool",
        "_pool.py",
        "            report_opened(self._listener, self)",
        "            pass",
    ),
    (
        "an opening that nobody carries out is waited for",
        "_opening.py",
        "        return self._loop.is_closed() or self._process != os.getpid()",
        "        return False",
    ),
    (
        "a pool that was closed while it opened is open",
        "_pool.py",
        "            # Raises if the pool was closed meanwhile.\n            self._store.open()\n",
        "",
    ),
    (
        "a task that the collector ends closes its pool",
        "_pool.py",
        "        except GeneratorExit:\n",
        "        except ZeroDivisionError:\n",
    ),
]
