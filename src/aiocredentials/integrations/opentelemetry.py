"""What pools do, as OpenTelemetry metrics and spans. It needs the API package alone; without an SDK it does nothing.

| name | what, and its unit | attributes |
|---|---|---|
| `aiocredentials.requests` | observable counter, `{request}` | `aiocredentials.result`: hit, stale or miss |
| `aiocredentials.refreshes` | counter, `{refresh}` | `cloud.region`; `error.type` if it failed |
| `aiocredentials.fetch.duration` | histogram, `s` | the same, and `aiocredentials.refresh`: true or false |
| `aiocredentials.fetch` | span, INTERNAL | the same; of a failure `aiocredentials.error.code`, `aws.request_id` |
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation, get_meter, get_meter_provider
from opentelemetry.trace import SpanKind, StatusCode, get_tracer, set_span_in_context

from aiocredentials.events import Fetched, FetchFailed, Refreshed, RefreshFailed, SecretEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import TracerProvider

    from aiocredentials import CredentialsError, CredentialsPool

__all__ = ["OpenTelemetryListener"]

_RESULTS = ("hit", "stale", "miss")

# Seconds: those that OpenTelemetry's semantic conventions advise for the duration of a call over HTTP.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class OpenTelemetryListener:
    """A pool's listener that counts and times what the pool does. One listener serves any number of pools.

    Use it as `CredentialsPool(listener=OpenTelemetryListener())`, or in `fan_out` with other listeners. Without
    providers it uses the global ones, also those that are set later. Several listeners of one provider share its
    metrics: the requests of all their pools add up.

    Each secret that is fetched gives a span; of a batch, each has one. A span has no parent, because a fetch may serve
    many callers. A hit makes no event and no span. `secret_names=True` adds `aiocredentials.secret.name` to the spans,
    the durations and the refreshes, so each secret becomes a time series of its own. An error is reported by its class,
    AWS's code and the request's id, never by its message. No value is ever exported.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        secret_names: bool = False,
    ) -> None:
        ours = version("aiocredentials")
        meter = get_meter("aiocredentials", ours, meter_provider)
        self._tracer = get_tracer("aiocredentials", ours, tracer_provider)
        self._secret_names = secret_names
        self._requests = _registry.requests(meter_provider, meter)
        self._refreshes = meter.create_counter(
            "aiocredentials.refreshes", "{refresh}", "Fetches of secrets that were cached already."
        )
        self._duration = meter.create_histogram(
            "aiocredentials.fetch.duration",
            "s",
            "Duration of fetches of secrets from AWS.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def pool_opened(self, pool: CredentialsPool, /) -> None:
        """Count the pool's requests from now on: hits aren't events, so its `stats()` are read on export."""
        self._requests.add(pool)

    def pool_closed(self, pool: CredentialsPool, /) -> None:
        """Count the pool's last requests, and let go of the pool."""
        self._requests.remove(pool)

    def observe(self, pool: CredentialsPool) -> CredentialsPool:
        """Count the requests of a pool that has another listener, and return the pool.

        It is kept, also when it is closed. A pool whose listener this is needs no such call.
        """
        self._requests.add(pool)
        return pool

    def __call__(self, event: SecretEvent, /) -> None:
        """Take note of a fetch or a refresh, and of no other event."""
        if isinstance(event, (FetchFailed, RefreshFailed)):
            self._note(event, event.duration, event.error)
        elif isinstance(event, (Fetched, Refreshed)):
            self._note(event, event.duration, None)

    def _note(self, event: SecretEvent, duration: float, error: CredentialsError | None) -> None:
        end, refresh = time.time_ns(), isinstance(event, (Refreshed, RefreshFailed))
        facts: dict[str, str | bool] = {"cloud.region": event.region_name}
        if self._secret_names:
            facts["aiocredentials.secret.name"] = event.secret_name
        if error is not None:
            facts["error.type"] = type(error).__name__
        if refresh:
            self._refreshes.add(1, facts)
        facts = {
            **facts,
            "aiocredentials.refresh": refresh,
        }  # another dict: an SDK may keep the one that it is given
        # The context is given, and empty: the current one is that of whoever happened to begin the fetch.
        start = end - int(duration * 1e9)
        span = self._tracer.start_span(
            "aiocredentials.fetch", Context(), SpanKind.INTERNAL, facts, start_time=start
        )
        self._duration.record(
            duration, facts, set_span_in_context(span, Context())
        )  # so that exemplars name the span
        if error is not None:
            span.set_status(StatusCode.ERROR)
            told = {"aiocredentials.error.code": error.code, "aws.request_id": error.request_id}
            span.set_attributes({name: fact for name, fact in told.items() if fact is not None})
        span.end(end)


class _Requests:
    """What one provider exports as `aiocredentials.requests`: the sum over all pools of all its listeners."""

    def __init__(self) -> None:
        self._pools: dict[CredentialsPool, Counter[str]] = {}
        self._closed: WeakSet[CredentialsPool] = WeakSet()
        self._counts: Counter[str] = Counter()

    def add(self, pool: CredentialsPool) -> None:
        """Count a pool, from its first request. A pool that was added before isn't counted twice."""
        with _lock:
            if pool in self._closed:
                return
            self._pools.setdefault(pool, Counter())
            for result in _RESULTS:
                self._counts.setdefault(result, 0)

    def remove(self, pool: CredentialsPool) -> None:
        """Count a pool for the last time."""
        with _lock:
            if pool in self._pools:
                self._read(pool)
                del self._pools[pool]
            self._closed.add(pool)

    def observe(self, _: CallbackOptions) -> Iterator[Observation]:
        """Report the counts; nothing before there is a pool."""
        with _lock:
            for pool in self._pools:
                self._read(pool)
            counts = dict(self._counts)
        for result, count in counts.items():
            yield Observation(count, {"aiocredentials.result": result})

    def _read(self, pool: CredentialsPool) -> None:
        stats, seen = pool.stats(), self._pools[pool]
        now = Counter(hit=stats.hits, stale=stats.stale, miss=stats.misses)
        # Counters leave out a difference below 0, so what is exported never falls.
        self._counts.update(now - seen)
        self._pools[pool] = seen | now


class _Registry:
    """One `_Requests` per provider, because an SDK keeps only the first callback for an instrument."""

    def __init__(self) -> None:
        self._by_provider: WeakKeyDictionary[MeterProvider, _Requests] = WeakKeyDictionary()
        self._of_stand_in: _Requests | None = None

    def requests(self, provider: MeterProvider | None, meter: Meter) -> _Requests:
        """Return what belongs to a provider, or to the global one if there is no argument."""
        in_use = get_meter_provider()
        asked = in_use if provider is None else provider
        with _lock:
            found = self._by_provider.get(asked)
            if found is not None:
                return found
            # Until a global provider is set, the API has one of its own. What was made for that moves to the global
            # one, so both share it.
            is_stand_in = asked is in_use and type(asked).__module__.startswith(
                "opentelemetry.metrics"
            )
            found = (self._of_stand_in if asked is in_use else None) or _Requests()
            meter.create_observable_counter(
                "aiocredentials.requests",
                [found.observe],
                "{request}",
                "Reads of secrets, by where they came from.",
            )
            self._by_provider[asked] = found
            if is_stand_in:
                self._of_stand_in = found
        return found


_registry = _Registry()

# An SDK collects in a thread of its own. A fork waits until nobody holds the lock, so that the child can take it.
_lock = threading.RLock()


def _no_fork(**_: object) -> None:
    """Take the place of `os.register_at_fork` on Windows, which has no fork."""


_register_at_fork: Callable[..., object] = getattr(os, "register_at_fork", _no_fork)
_register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
