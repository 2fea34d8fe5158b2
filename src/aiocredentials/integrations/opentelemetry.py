"""OpenTelemetry metrics and spans for pools. It needs only the API package, and an SDK to export.

| name | kind | unit |
|---|---|---|
| `aiocredentials.requests` | observable counter | `{request}` |
| `aiocredentials.refreshes` | counter | `{refresh}` |
| `aiocredentials.fetch.duration` | histogram | `s` |
| `aiocredentials.fetch` | span, INTERNAL | |

Requests have the attribute `aiocredentials.result`: hit, stale or miss. The others have
`cloud.region`, and `error.type` if they failed. Durations and spans also have
`aiocredentials.refresh`: true or false. A span that failed also has `aiocredentials.error.code` and
`aws.request_id`.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation, get_meter, get_meter_provider
from opentelemetry.trace import SpanKind, StatusCode, get_tracer, set_span_in_context

from aiocredentials.events import Fetched, FetchFailed, Refreshed, RefreshFailed, SecretEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Span, TracerProvider

    from aiocredentials import CredentialsError, CredentialsPool

    Attributes: TypeAlias = dict[str, str | bool]
    Timed: TypeAlias = Fetched | FetchFailed | Refreshed | RefreshFailed

__all__ = ["OpenTelemetryListener"]

_RESULTS = ("hit", "stale", "miss")

# In seconds. OpenTelemetry's semantic conventions recommend them for the duration of HTTP calls.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class OpenTelemetryListener:
    """A pool's listener that counts and times fetches. One listener can serve several pools.

    Each fetch of a secret makes a span, also in a batch. A span has no parent, because a fetch may
    serve many callers. A hit makes no event and no span. An error is reported by its class, AWS's
    code and the id of the request, never by its message. No value is ever exported.

    Several listeners with the same provider share its metrics: the requests of all their pools are
    added up. `fan_out` combines this listener with others.

    Example:
        ```python
        from aiocredentials import CredentialsPool
        from aiocredentials.integrations.opentelemetry import OpenTelemetryListener


        async def main() -> None:
            async with CredentialsPool("eu-west-1", listener=OpenTelemetryListener()) as pool:
                await pool.manager("prod/database").get()
        ```

    Args:
        tracer_provider: The provider of the tracer. By default it is the global one, also if that
            is set later.
        meter_provider: The provider of the meter, with the same default.
        secret_names: Whether spans, durations and refreshes have the attribute
            `aiocredentials.secret.name`. Then each secret has its own time series.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        secret_names: bool = False,
    ) -> None:
        our_version = version("aiocredentials")
        meter = get_meter("aiocredentials", our_version, meter_provider)
        self._tracer = get_tracer("aiocredentials", our_version, tracer_provider)
        self._secret_names = secret_names
        self._requests = _registry.requests(meter_provider, meter)
        self._refreshes = meter.create_counter(
            "aiocredentials.refreshes",
            unit="{refresh}",
            description="Fetches of secrets that were already cached.",
        )
        self._duration = meter.create_histogram(
            "aiocredentials.fetch.duration",
            unit="s",
            description="Duration of fetches of secrets from AWS.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def pool_opened(self, pool: CredentialsPool, /) -> None:
        """Count the requests of a pool from now on.

        Hits aren't events, so the pool's `stats()` are read at each export.
        """
        self._requests.add(pool)

    def pool_closed(self, pool: CredentialsPool, /) -> None:
        """Count the last requests of a pool, and drop the reference to it."""
        self._requests.remove(pool)

    def observe(self, pool: CredentialsPool) -> CredentialsPool:
        """Count the requests of a pool that has another listener, and return the pool.

        The reference to the pool is kept, also after it is closed. A pool whose listener this is
        needs no such call.
        """
        self._requests.add(pool)
        return pool

    def __call__(self, event: SecretEvent, /) -> None:
        """Record a fetch or a refresh. Other events are ignored."""
        if isinstance(event, (FetchFailed, RefreshFailed)):
            self._measure(event, event.error)
        elif isinstance(event, (Fetched, Refreshed)):
            self._measure(event, None)

    def _measure(self, event: Timed, error: CredentialsError | None) -> None:
        end = time.time_ns()
        duration = event.duration
        is_refresh = isinstance(event, (Refreshed, RefreshFailed))

        attributes: Attributes = {"cloud.region": event.region_name}
        if self._secret_names:
            attributes["aiocredentials.secret.name"] = event.secret_name
        if error is not None:
            attributes["error.type"] = type(error).__name__
        if is_refresh:
            self._refreshes.add(1, attributes)

        # This is another dict, because an SDK may keep the one that was passed to it.
        attributes = {**attributes, "aiocredentials.refresh": is_refresh}
        start = end - int(duration * 1e9)
        span = self._start_span(attributes, start)
        # With the span as context, exemplars name it.
        context = set_span_in_context(span, Context())
        self._duration.record(duration, attributes, context)

        if error is not None:
            span.set_status(StatusCode.ERROR)
            span.set_attributes(_error_attributes(error))
        span.end(end)

    def _start_span(self, attributes: Attributes, start: int) -> Span:
        # The context is empty. The current context is that of the caller that began the fetch, and
        # the fetch may serve others as well.
        return self._tracer.start_span(
            "aiocredentials.fetch",
            Context(),
            SpanKind.INTERNAL,
            attributes,
            start_time=start,
        )


def _error_attributes(error: CredentialsError) -> Attributes:
    attributes = {
        "aiocredentials.error.code": error.code,
        "aws.request_id": error.request_id,
    }
    return {name: value for name, value in attributes.items() if value is not None}


class _Requests:
    """The metric `aiocredentials.requests` of one provider: the sum over all its pools."""

    def __init__(self) -> None:
        self._pools: dict[CredentialsPool, Counter[str]] = {}
        """The counts of each open pool that are included in `_counts`."""
        self._closed: WeakSet[CredentialsPool] = WeakSet()
        self._counts: Counter[str] = Counter()

    def add(self, pool: CredentialsPool) -> None:
        """Count a pool from its first request. A second call has no effect."""
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
                self._update_counts(pool)
                del self._pools[pool]
            self._closed.add(pool)

    def observe(self, _: CallbackOptions) -> Iterator[Observation]:
        """Report the counts. Before the first pool, there are none."""
        with _lock:
            for pool in self._pools:
                self._update_counts(pool)
            counts = dict(self._counts)

        for result, count in counts.items():
            yield Observation(count, {"aiocredentials.result": result})

    def _update_counts(self, pool: CredentialsPool) -> None:
        stats = pool.stats()
        now = Counter(
            hit=stats.hits,
            stale=stats.stale,
            miss=stats.misses,
        )
        before = self._pools[pool]
        # The difference of two counters has no numbers below 0, so an exported count never falls.
        self._counts.update(now - before)
        self._pools[pool] = before | now


class _Registry:
    """One `_Requests` per provider.

    An SDK keeps only the first callback of an instrument, so all listeners must share one.
    """

    def __init__(self) -> None:
        self._by_provider: WeakKeyDictionary[MeterProvider, _Requests] = WeakKeyDictionary()
        self._of_stand_in: _Requests | None = None

    def requests(self, provider: MeterProvider | None, meter: Meter) -> _Requests:
        """Return the `_Requests` of a provider; by default, those of the global provider."""
        global_provider = get_meter_provider()
        if provider is None:
            provider = global_provider
        is_global = provider is global_provider

        with _lock:
            known = self._by_provider.get(provider)
            if known is not None:
                return known

            # Until a global provider is set, the API has a stand-in for it. The instruments of the
            # stand-in move to the global provider once it is set, so both have the same counts.
            new = _Requests()
            if is_global and self._of_stand_in is not None:
                new = self._of_stand_in
            meter.create_observable_counter(
                "aiocredentials.requests",
                [new.observe],
                unit="{request}",
                description="Reads of secrets, by result: hit, stale or miss.",
            )
            self._by_provider[provider] = new
            if is_global and _is_stand_in(provider):
                self._of_stand_in = new
        return new


def _is_stand_in(provider: MeterProvider) -> bool:
    return type(provider).__module__.startswith("opentelemetry.metrics")


_registry = _Registry()

# An SDK collects metrics in its own thread. A fork waits until that thread has released the
# lock, so the child can acquire it.
_lock = threading.RLock()


def _ignore_hooks(**_: object) -> None:
    """Replace `os.register_at_fork` on Windows, which has no fork."""


_register_at_fork: Callable[..., object] = getattr(os, "register_at_fork", _ignore_hooks)
_register_at_fork(
    before=_lock.acquire,
    after_in_parent=_lock.release,
    after_in_child=_lock.release,
)
