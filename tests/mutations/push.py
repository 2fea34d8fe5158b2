"""What `tests/mutants.py` takes out of the reading of rotation queues, and of the clients of other services."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _cache/renewal.py
    (
        "a renewal joins a fetch from before the event",
        "_cache/renewal.py",
        "    is_later = False\n",
        "    is_later = True\n",
    ),
    (
        "a renewal ends with those who joined it",
        "_cache/renewal.py",
        "    flight.background = True\n",
        "",
    ),
    (
        "a renewal is answered by a cache on the way",
        "_cache/renewal.py",
        "flights.begin(key, fetch, past_caches=True)",
        "flights.begin(key, fetch)",
    ),
    (
        "a renewal joins a fetch that a cache may answer",
        "_cache/renewal.py",
        "(is_later and flight.past_caches)",
        "is_later",
    ),
    # _held.py
    (
        "a renewed value has the lifetime of nobody",
        "_held.py",
        "    fetch = partial(store.gateway.get, key, same_lifetime)\n",
        "    fetch = partial(store.gateway.get, key)\n",
    ),
    (
        "an event of another region refreshes",
        "_held.py",
        "    return [key for key in related if key.region_name == region_name]",
        "    return related",
    ),
    (
        "a first fetch may keep the version from before the event",
        "_eventbridge/renewals.py",
        "        if self._is_being_fetched(change, now):",
        "        if False:",
    ),
    (
        "a value of a secret that was deleted meanwhile is kept",
        "_eventbridge/renewals.py",
        "            self._store.cache.invalidate(marks=[mark])",
        "            pass",
    ),
    (
        "an answer that is older than the event handles it",
        "_eventbridge/renewals.py",
        "            return not self._is_old(key)",
        "            return True",
    ),
    (
        "an old event comes again without end",
        "_eventbridge/renewals.py",
        "        if known is not None and known.time >= newest.time:",
        "        if False:",
    ),
    (
        "an event waits for a fetch without end",
        "_eventbridge/renewals.py",
        "            if now() >= end:",
        "            if False:",
    ),
    # _eventbridge/events.py
    (
        "deep nesting breaks the watcher",
        "_eventbridge/events.py",
        "    except (ValueError, RecursionError):",
        "    except ValueError:",
    ),
    (
        "a refused call counts as a change",
        "_eventbridge/events.py",
        '    if detail.get("errorCode") is not None:',
        "    if False:",
    ),
    (
        "events of other services are understood",
        "_eventbridge/events.py",
        '    if event is None or event.get("source") != _SOURCE:',
        "    if event is None:",
    ),
    # _eventbridge/renewals.py
    (
        "a fleet fetches at once",
        "_eventbridge/renewals.py",
        "            await asyncio.sleep(self._spread * self._rng())",
        "            await asyncio.sleep(self._spread)",
    ),
    (
        "each duplicate fetches",
        "_eventbridge/renewals.py",
        "        waiting = self._waiting.get(key)\n",
        "        waiting = None\n",
    ),
    (
        "an event during the fetch is lost",
        "_eventbridge/renewals.py",
        "            del self._waiting[key]\n\n",
        "            asyncio.current_task().add_done_callback(lambda _: self._waiting.pop(key, None))\n\n",
    ),
    (
        "the version that is cached is fetched again",
        "_eventbridge/renewals.py",
        "    return held.secret.version_id != change.version_id",
        "    return True",
    ),
    (
        "a secret of the same name in another account counts",
        "_eventbridge/renewals.py",
        "    return is_by_arn or account_in(held.secret.arn) == change.account",
        "    return True",
    ),
    (
        "a transient failure handles the message",
        "_eventbridge/renewals.py",
        "    return not error.transient",
        "    return True",
    ),
    # _eventbridge/sqs.py
    (
        "a message is visible again before its refresh",
        "_eventbridge/sqs.py",
        "            VisibilityTimeout=_VISIBILITY + math.ceil(longest_delay),",
        "            VisibilityTimeout=0,",
    ),
    (
        "a call that hangs has no end",
        "_eventbridge/sqs.py",
        "    async with asyncio.timeout(LONG_POLL + CALL_SECONDS):",
        "    async with asyncio.timeout(None):",
    ),
    (
        "a login page is an empty queue",
        "_eventbridge/sqs.py",
        "        _check_empty(answer)\n",
        "        pass\n",
    ),
    (
        "a refused deletion is silent",
        "_eventbridge/sqs.py",
        "        if failed:\n",
        "        if False:\n",
    ),
    (
        "an answer of an emulator is a failure",
        "_eventbridge/sqs.py",
        "(is_of_aws or is_brief)",
        "is_of_aws",
    ),
    # _eventbridge/watcher.py
    (
        "a queue that answers at once is asked without a pause",
        "_eventbridge/watcher.py",
        "        await asyncio.sleep(max(0.0, SHORTEST_POLL - elapsed))",
        "        await asyncio.sleep(0.01)",
    ),
    (
        "no jitter between attempts",
        "_eventbridge/watcher.py",
        "        return longest * (0.5 + 0.5 * self._rng())",
        "        return longest",
    ),
    (
        "junk is deleted",
        "_eventbridge/watcher.py",
        "            if change is not None:\n",
        "            if True:\n",
    ),
    (
        "the end of the pool isn't noticed",
        "_eventbridge/watcher.py",
        "        call_in(self._loop, self._end)",
        "        pass",
    ),
    (
        "forget leaves AWS credentials in the client of the queue",
        "_eventbridge/watcher.py",
        "        call_in(self._loop, self._forget)",
        "        pass",
    ),
    (
        "messages pile up",
        "_eventbridge/watcher.py",
        "        while len(self._batches) >= MOST_BATCHES:",
        "        while False:",
    ),
    (
        "a closed pool seems not to be concerned",
        "_eventbridge/watcher.py",
        "        if not handled or client is None or self._store.cache.closed:",
        "        if not handled or client is None:",
    ),
    (
        "closing is cut short by closing again",
        "_eventbridge/watcher.py",
        "        if not self._is_ending:\n            self._is_ending = True\n",
        "        if True:\n            self._is_ending = True\n",
    ),
    (
        "a swallowed cancellation keeps the watcher running",
        "_eventbridge/watcher.py",
        "            self._is_ending = True\n",
        "            pass\n",
    ),
    (
        "closing waits for ever",
        "_eventbridge/watcher.py",
        "        while pending and self._loop.time() < end:",
        "        while pending:",
    ),
    # eventbridge.py
    (
        "a pool that isn't open is watched for",
        "eventbridge.py",
        "        self._pool._session.check_open()\n",
        "",
    ),
    # _aws/other_services.py
    (
        "a client of another service isn't checked",
        "_aws/other_services.py",
        "    transport.transport_of(client)\n",
        "",
    ),
    (
        "each attempt warns of an endpoint in clear",
        "_aws/other_services.py",
        "        warned.add(endpoint)\n",
        "",
    ),
    (
        "models of another service are read in the loop",
        "_aws/other_services.py",
        '        await asyncio.to_thread(_load_models, core.get_component("data_loader"), service.name)\n',
        '        _load_models(core.get_component("data_loader"), service.name)\n',
    ),
    (
        "a page of a proxy is shown",
        "_aws/other_services.py",
        "    if is_json and re.fullmatch(_CODE, code):",
        "    if re.fullmatch(_CODE, code):",
    ),
]
