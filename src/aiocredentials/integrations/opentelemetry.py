"""What pools do, as OpenTelemetry metrics and spans. It needs the API package alone; without an SDK it does nothing.

| name | what, and its unit | attributes |
|---|---|---|
| `aiocredentials.requests` | observable counter, `{request}` | `aiocredentials.result`: hit, stale or miss |
| `aiocredentials.refreshes` | counter, `{refresh}` | `cloud.region`; `error.type` if it failed |
| `aiocredentials.fetch.duration` | histogram, `s` | the same, and `aiocredentials.refresh`: true or false |
| `aiocredentials.fetch` | span, INTERNAL | the same; of a failure `aiocredentials.error.code`, `aws.request_id` |
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation, get_meter
from opentelemetry.trace import SpanKind, StatusCode, get_tracer, set_span_in_context

from aiocredentials.events import Fetched, FetchFailed, Refreshed, RefreshFailed, SecretEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from aiocredentials import CredentialsError, CredentialsPool

__all__ = ["OpenTelemetryListener"]

# Seconds: those that OpenTelemetry's semantic conventions advise for the duration of a call over HTTP.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class OpenTelemetryListener:
    """A pool's listener that counts and times what the pool does. One serves any number of pools.

    Use it as `async with telemetry.observe(CredentialsPool(listener=telemetry)) as pool:`. Make one for a process: an
    SDK keeps the callback of the first only. Without providers it takes the global ones, also those set later.

    Each secret that is fetched gives a span: of a batch, each has one. It has no parent, since a fetch may serve many
    callers. A hit makes no event and no span. `secret_names=True` adds `aiocredentials.secret.name` to the spans,
    the durations and the refreshes; the length of a series of metrics is then a matter of how many secrets there are.
    An error is told by its class, AWS's code and the request's id, never by its message. No value is ever told.
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
        self._lock = threading.Lock()  # an SDK collects in a thread of its own
        self._pools: dict[CredentialsPool, Counter[str]] = {}
        self._requests = Counter(hit=0, stale=0, miss=0)
        meter.create_observable_counter(
            "aiocredentials.requests",
            [self._observe_requests],
            "{request}",
            "Reads of secrets, by where they came from.",
        )
        self._refreshes = meter.create_counter(
            "aiocredentials.refreshes", "{refresh}", "Fetches of secrets that were cached already."
        )
        self._duration = meter.create_histogram(
            "aiocredentials.fetch.duration",
            "s",
            "Duration of fetches of secrets from AWS.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )

    def observe(self, pool: CredentialsPool) -> CredentialsPool:
        """Count the pool's requests too, and return the pool. Hits aren't events: its `stats()` are read on export.

        The pool is kept, also when it is closed, so that what it did last is exported too.
        """
        with self._lock:
            self._pools.setdefault(pool, Counter())
        return pool

    def _observe_requests(self, _: CallbackOptions) -> Iterator[Observation]:
        with self._lock:
            for pool, seen in self._pools.items():
                stats = pool.stats()
                now = Counter(hit=stats.hits, stale=stats.stale, miss=stats.misses)
                self._requests.update(now - seen)  # a difference below 0 is left out: a counter never falls
                self._pools[pool] = seen | now
            counts = dict(self._requests)
        for result, count in counts.items():
            yield Observation(count, {"aiocredentials.result": result})

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
        facts = {**facts, "aiocredentials.refresh": refresh}  # another dict: an SDK may keep the one that it is given
        # The context is given, and empty: the current one is that of whoever happened to begin the fetch.
        start = end - int(duration * 1e9)
        span = self._tracer.start_span("aiocredentials.fetch", Context(), SpanKind.INTERNAL, facts, start_time=start)
        self._duration.record(duration, facts, set_span_in_context(span, Context()))  # so that exemplars name the span
        if error is not None:
            span.set_status(StatusCode.ERROR)
            told = {"aiocredentials.error.code": error.code, "aws.request_id": error.request_id}
            span.set_attributes({name: fact for name, fact in told.items() if fact is not None})
        span.end(end)
