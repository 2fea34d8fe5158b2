"""What `tests/mutants.py` takes out of forgetting: nothing secret in a snapshot, and nothing old after a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    (
        "forgetting keeps the values",
        "_cache/cache.py",
        "            fetched = self.flights.forget()\n            cached = list(self._table.by_key)\n",
        "            fetched = self.flights.forget()\n            cached: list[Hashable] = []\n",
    ),
    (
        "forgetting loses the versions",
        "_cache/cache.py",
        "            fetched = self.flights.forget()\n            cached = list(self._table.by_key)\n",
        (
            "            fetched = self.flights.forget()\n"
            "            cached = list(self._table.by_key)\n"
            "            self._table.clear()\n"
        ),
    ),
    (
        "a fetch from before answers its callers",
        "_cache/flights.py",
        "        return flight.since < self.invalidations.forgotten\n",
        "        return False\n",
    ),
    (
        "a fetch that was forgotten is a failure",
        "_cache/flights.py",
        "is_unwanted = self.closed or self.is_forgotten(flight)",
        "is_unwanted = self.closed",
    ),
    (
        "the back-off of all processes of a fleet is the same",
        "_cache/cache.py",
        "        rng: Random = random_share,\n",
        "        rng: Random = __import__('random').random,\n",
    ),
    (
        "the jitter of all processes of a fleet is the same",
        "_store.py",
        "    share = random_share()\n",
        "    share = __import__('random').random()\n",
    ),
    (
        "forgetting keeps the default region",
        "_store.py",
        "            self._default = None\n            managers = list",
        "            managers = list",
    ),
    (
        "a manager that reads elsewhere is emptied",
        "_store.py",
        "            if manager._store is self:  # noqa: SLF001 (managers are ours)\n",
        "            if True:\n",
    ),
    (
        "managers keep what decode made",
        "_manager_state.py",
        "            store.add_reading(self)\n",
        "",
    ),
    (
        "changes() holds the version that it has yielded",
        "_manager.py",
        "                del secret\n",
        "",
    ),
    (
        "a version that waited is missed",
        "_changes.py",
        "            self._last = self._taken\n",
        "",
    ),
    (
        "versions that wait are kept",
        "_changes.py",
        "            self._last = self._taken\n            self._waiting.clear()\n",
        "            pass\n",
    ),
    (
        "iterators sleep on",
        "_changes.py",
        "            self._waiting.clear()\n        self.invalidated()\n",
        "            self._waiting.clear()\n",
    ),
    (
        "a watched rotation holds its version",
        "_rotation/news.py",
        "                    del secret\n",
        "",
    ),
    (
        "what a server said is kept",
        "rotation.py",
        "forgetting.append(_verdicts_of.clear)\n",
        "",
    ),
    (
        "the pauses of all processes of a fleet are the same",
        "_rotation/verdicts.py",
        "        factor = _PAUSE_SPREAD + (1 - _PAUSE_SPREAD) * random_share()\n",
        "        factor = _PAUSE_SPREAD + (1 - _PAUSE_SPREAD) * __import__('random').random()\n",
    ),
    (
        "clients are kept",
        "_aws/loop_clients.py",
        "        self.renew(self.current)\n        for clients",
        "        for clients",
    ),
    (
        "sockets stay open",
        "_aws/loop_clients.py",
        "            self._detached.pop().abandon()\n",
        "            self._detached.pop()\n",
    ),
    (
        "a call under way loses its client",
        "_aws/clients.py",
        "        is_in_use = self.has_users or self._shared.is_under_way\n",
        "        is_in_use = False\n",
    ),
    (
        "a caller's session isn't asked again",
        "_aws/session.py",
        "    tls.forget_private_keys()\n    refuse_credentials(settings)\n",
        "    tls.forget_private_keys()\n",
    ),
    (
        "private keys are kept",
        "_aws/tls.py",
        "            del _contexts[files]\n\n\ndef _files",
        "            pass\n\n\ndef _files",
    ),
    (
        "what was read after the first hook is served",
        "integrations/snapstart.py",
        "    forget_all()\n    random.seed()\n",
        "    random.seed()\n",
    ),
    (
        "objects that refer to each other stay in the snapshot",
        "integrations/snapstart.py",
        "    gc.collect()\n",
        "",
    ),
    (
        "random isn't seeded after a restore",
        "integrations/snapstart.py",
        "    forget_all()\n    random.seed()\n",
        "    forget_all()\n",
    ),
    (
        "the hooks are registered twice",
        "integrations/snapstart.py",
        "        _is_registered = True\n",
        "",
    ),
    (
        "the clients of roles are kept",
        "_aws/loop_clients.py",
        "        for clients in self._all():\n            clients.forget(loop)\n",
        "        self.of(None).forget(loop)\n",
    ),
    (
        "a manager without a pool keeps its roles",
        "_aws/session.py",
        "            kept = self._roles\n            self._roles = None\n",
        "            kept = self._roles\n",
    ),
    (
        "the token of an agent is kept",
        "_agent/tokens.py",
        "forgetting.append(_forget_all)\n",
        "",
    ),
]
