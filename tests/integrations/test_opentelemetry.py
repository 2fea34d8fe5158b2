"""Telemetry: what a pool does can be seen in metrics and spans, and no value, and no name that nobody asked for."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics._internal import _ProxyMeterProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from aiocredentials import AccessDeniedError, CredentialsPool, SecretNotFoundError
from aiocredentials.events import Evicted, FetchFailed, fan_out
from aiocredentials.integrations import opentelemetry as integration
from aiocredentials.integrations.opentelemetry import OpenTelemetryListener, _Registry
from aiocredentials.testing import FakeSecretsManager
from unit.fake_aws import CANARY, FakeAWS, pool_of
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NAME = "prod/db"
REGION = {"cloud.region": "eu-west-1"}
Facts = frozenset[tuple[str, Any]]


class Telemetry:
    """A listener, and the SDK with exporters in memory."""

    def __init__(self, *, secret_names: bool = False) -> None:
        self.spans, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.listener = self.another(secret_names=secret_names)

    def another(self, *, secret_names: bool = False) -> OpenTelemetryListener:
        """Make a listener."""
        return OpenTelemetryListener(
            tracer_provider=self.tracers, meter_provider=self.meters, secret_names=secret_names
        )

    def metrics(self) -> dict[str, Any]:
        """Export, and return the metrics by their names."""
        data = self.reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        assert {scope.scope.name for scope in scopes} <= {"aiocredentials"}
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> dict[Facts, Any]:
        """Return the data of a metric by the attributes."""
        metric = self.metrics().get(name)
        return {frozenset(point.attributes.items()): point for point in metric.data.data_points} if metric else {}

    def counts(self, name: str) -> dict[Facts, int]:
        """Return the numbers of a counter by the attributes."""
        return {facts: point.value for facts, point in self.points(name).items()}

    def requests(self) -> dict[str, int]:
        """Return the numbers of requests by their results."""
        return {
            dict(facts)["aiocredentials.result"]: count
            for facts, count in self.counts("aiocredentials.requests").items()
        }

    def shown(self) -> str:
        """Return all that was exported."""
        spans = [span.to_json() for span in self.spans.get_finished_spans()]
        return f"{spans} {self.spans.get_finished_spans()!r} {self.metrics()}"


def of(**facts: Any) -> Facts:  # noqa: ANN401 - any attributes
    """Make attributes of keywords: a double underscore stands for a dot."""
    return frozenset((REGION | {name.replace("__", "."): fact for name, fact in facts.items()}).items())


def story(
    telemetry: Telemetry,
    tell: Callable[[FakeAWS, CredentialsPool], Coroutine[Any, Any, None]],
    **options: Any,  # noqa: ANN401 - the pool's
) -> None:
    """Run a story with a pool, in virtual time; whatever it was, no value is exported."""

    async def main() -> None:
        aws = FakeAWS(NAME, "prod/redis")
        async with pool_of(aws, listener=telemetry.listener, **options) as pool:
            telemetry.listener.pool_opened(pool)
            await tell(aws, pool)
            telemetry.listener.pool_closed(pool)

    run(main(), seed=0, leave_nothing=True)
    assert CANARY not in telemetry.shown()


async def everything(aws: FakeAWS, pool: CredentialsPool) -> None:
    """Fetch, hit, refresh, fail to refresh, serve stale, fail to fetch: each takes 0.2 s."""
    aws.latency = 0.2
    manager = pool.manager(NAME)
    await manager.get()
    await manager.get()
    await manager.get()
    await manager.refresh()
    await asyncio.sleep(200)
    aws.failures[NAME] = "ThrottlingException"
    await manager.get()
    with pytest.raises(SecretNotFoundError):
        await pool.manager("prod/api").get()


def test_requests() -> None:
    """Requests are counted by their result, hits too, though they make no event."""
    telemetry = Telemetry()
    story(telemetry, everything)
    assert telemetry.requests() == {"hit": 2, "stale": 1, "miss": 3}
    metric = telemetry.metrics()["aiocredentials.requests"]
    assert (metric.unit, metric.data.is_monotonic) == ("{request}", True)


def test_refreshes() -> None:
    """Refreshes are counted, and those that failed apart, by the kind of their error."""
    telemetry = Telemetry()
    story(telemetry, everything)
    assert telemetry.counts("aiocredentials.refreshes") == {of(): 1, of(error__type="ThrottledError"): 1}
    metric = telemetry.metrics()["aiocredentials.refreshes"]
    assert (metric.unit, metric.data.is_monotonic) == ("{refresh}", True)


def test_durations() -> None:
    """The durations of fetches are in seconds, in buckets that suit a call over HTTP."""
    telemetry = Telemetry()
    story(telemetry, everything)
    points = telemetry.points("aiocredentials.fetch.duration")
    assert {facts: (point.count, round(point.sum, 6)) for facts, point in points.items()} == {
        of(aiocredentials__refresh=False): (1, 0.2),
        of(aiocredentials__refresh=True): (1, 0.2),
        of(aiocredentials__refresh=True, error__type="ThrottledError"): (1, 0.2),
        of(aiocredentials__refresh=False, error__type="SecretNotFoundError"): (1, 0.2),
    }
    assert telemetry.metrics()["aiocredentials.fetch.duration"].unit == "s"
    bounds = {point.explicit_bounds for point in points.values()}
    assert bounds == {(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)}


def test_spans() -> None:
    """Each real fetch is a span of its length, and a hit is none; a failed one has the error's class and AWS's code."""
    telemetry = Telemetry()
    story(telemetry, everything)
    spans = telemetry.spans.get_finished_spans()
    assert {(span.name, span.kind, span.parent, round(span.end_time - span.start_time, -3)) for span in spans} == {
        ("aiocredentials.fetch", SpanKind.INTERNAL, None, 200_000_000)
    }
    assert {span.instrumentation_scope.name for span in spans} == {"aiocredentials"}
    assert [(span.status.status_code, span.status.description) for span in spans] == [
        *[(StatusCode.UNSET, None)] * 2,
        *[(StatusCode.ERROR, None)] * 2,
    ]
    throttled = {"error__type": "ThrottledError", "aiocredentials__error__code": "ThrottlingException"}
    missing = {"error__type": "SecretNotFoundError", "aiocredentials__error__code": "ResourceNotFoundException"}
    assert [frozenset(span.attributes.items()) for span in spans] == [
        of(aiocredentials__refresh=False),
        of(aiocredentials__refresh=True),
        of(aiocredentials__refresh=True, **throttled),
        of(aiocredentials__refresh=False, **missing),
    ]
    assert [span.events for span in spans] == [()] * 4


def test_no_parent() -> None:
    """A fetch serves whoever waits for it, so its span isn't a part of the trace of the one who began it."""
    telemetry = Telemetry()

    async def traced(_: FakeAWS, pool: CredentialsPool) -> None:
        with telemetry.tracers.get_tracer("app").start_as_current_span("request"):
            await pool.manager(NAME).get()

    story(telemetry, traced)
    fetch, request = telemetry.spans.get_finished_spans()
    assert (fetch.name, fetch.parent, request.name) == ("aiocredentials.fetch", None, "request")
    assert fetch.context.trace_id != request.context.trace_id


def test_exemplars() -> None:
    """A duration's exemplar leads to the span of that fetch."""
    telemetry = Telemetry()

    async def exported(_: FakeAWS, pool: CredentialsPool) -> None:
        await pool.manager(NAME).get()
        (point,) = telemetry.points("aiocredentials.fetch.duration").values()
        (span,) = telemetry.spans.get_finished_spans()
        assert [exemplar.span_id for exemplar in point.exemplars] == [span.context.span_id]

    story(telemetry, exported)


def test_a_batch() -> None:
    """Of a batch each secret has a span, and each is as long as the batch."""
    telemetry = Telemetry()

    async def prefetched(aws: FakeAWS, pool: CredentialsPool) -> None:
        aws.latency = 1
        await pool.prefetch(NAME, "prod/redis")

    story(telemetry, prefetched)
    spans = telemetry.spans.get_finished_spans()
    assert [round(span.end_time - span.start_time, -3) for span in spans] == [1_000_000_000] * 2


def test_names_are_left_out() -> None:
    """Unless asked, no name of a secret is exported, nor the message of an error, which may have it."""
    telemetry = Telemetry()
    story(telemetry, everything)
    assert "prod" not in telemetry.shown()


def test_names_if_asked() -> None:
    """If asked, spans, durations and refreshes have the secret's name."""
    telemetry = Telemetry(secret_names=True)
    story(telemetry, everything)
    key = "aiocredentials.secret.name"
    assert [span.attributes[key] for span in telemetry.spans.get_finished_spans()] == [NAME, NAME, NAME, "prod/api"]
    names = {dict(facts).get(key) for facts in telemetry.points("aiocredentials.fetch.duration")}
    assert (names, "No." in telemetry.shown()) == ({NAME, "prod/api"}, False)
    assert {dict(facts).get(key) for facts in telemetry.points("aiocredentials.refreshes")} == {NAME}


def test_facts_of_an_answer() -> None:
    """A failure that AWS answered has the id of the request, by which AWS's support finds it."""
    telemetry = Telemetry()
    error = AccessDeniedError("No.", code="AccessDeniedException", request_id="request-1")
    telemetry.listener(FetchFailed(secret_name=NAME, region_name="eu-west-1", error=error, duration=0.5))
    (span,) = telemetry.spans.get_finished_spans()
    assert span.attributes is not None
    assert span.attributes["aws.request_id"] == "request-1"


def test_other_events() -> None:
    """What is no fetch makes no span and no metric."""
    telemetry = Telemetry()
    telemetry.listener(Evicted(secret_name=NAME, region_name="eu-west-1"))
    assert telemetry.spans.get_finished_spans() == ()
    assert telemetry.metrics() == {}


def test_two_pools() -> None:
    """One listener serves several pools: their requests add up, and a pool that is added twice counts once."""
    telemetry = Telemetry()
    for _ in range(2):
        story(telemetry, everything)

    async def twice(_: FakeAWS, pool: CredentialsPool) -> None:
        assert telemetry.listener.observe(pool) is pool
        await everything(_, pool)
        assert telemetry.requests() == {"hit": 6, "stale": 3, "miss": 9}
        telemetry.listener.pool_closed(pool)
        assert telemetry.requests() == {"hit": 6, "stale": 3, "miss": 9}
        telemetry.listener.observe(pool)

    story(telemetry, twice)
    assert telemetry.requests() == {"hit": 6, "stale": 3, "miss": 9}


def test_two_listeners() -> None:
    """Listeners of one provider share its metrics: the requests of all their pools add up."""
    telemetry = Telemetry()
    first, telemetry.listener = telemetry.listener, telemetry.another()
    story(telemetry, everything)
    assert telemetry.requests() == {"hit": 2, "stale": 1, "miss": 3}
    telemetry.listener = first
    story(telemetry, everything)
    assert telemetry.requests() == {"hit": 4, "stale": 2, "miss": 6}
    other = Telemetry()
    assert other.requests() == {}


@pytest.mark.parametrize("how", ["alone", "fanned out", "another pool's"])
async def test_a_pool_is_counted_by_being_opened(how: str) -> None:
    """A pool whose listener it is needs no other call, also in `fan_out`; requests between two exports are counted."""
    telemetry = Telemetry()
    fake = FakeSecretsManager({NAME: {"password": CANARY}})
    listener = fan_out(lambda _: None, telemetry.listener) if how == "fanned out" else telemetry.listener
    pool = CredentialsPool(session=fake, listener=None if how == "another pool's" else listener)
    assert telemetry.requests() == {}
    async with pool:
        if how == "another pool's":
            telemetry.listener.observe(pool)
        assert telemetry.requests() == {"hit": 0, "stale": 0, "miss": 0}
        for _ in range(5):
            await pool.manager(NAME).get()
        assert telemetry.requests() == {"hit": 4, "stale": 0, "miss": 1}
        await pool.manager(NAME).get()
    assert telemetry.requests() == {"hit": 5, "stale": 0, "miss": 1}


async def test_a_pool_that_is_closed_is_let_go() -> None:
    """Each invocation of a function may open a pool: when it is closed, its counts stay and it doesn't."""
    telemetry = Telemetry()
    fake = FakeSecretsManager({NAME: {"password": CANARY}})
    pools: list[weakref.ref[CredentialsPool]] = []
    for _ in range(3):
        async with CredentialsPool(session=fake, listener=telemetry.listener) as pool:
            await pool.manager(NAME).get()
        pools.append(weakref.ref(pool))
    del pool
    gc.collect()
    assert [pool() for pool in pools] == [None] * 3
    assert telemetry.requests() == {"hit": 0, "stale": 0, "miss": 3}


def test_the_global_provider() -> None:
    """Listeners without a provider count together, whether made before the global one was set or after."""
    program = """
import asyncio
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from aiocredentials import CredentialsPool
from aiocredentials.integrations import opentelemetry as integration
from aiocredentials.integrations.opentelemetry import OpenTelemetryListener, _Registry
from aiocredentials.testing import FakeSecretsManager

fake = FakeSecretsManager({"a": "1"})
reader = InMemoryMetricReader()
provider = MeterProvider([reader], shutdown_on_exit=False)
silent = OpenTelemetryListener(meter_provider=metrics.NoOpMeterProvider())
listeners = [OpenTelemetryListener() for _ in range(2)]
metrics.set_meter_provider(provider)
listeners += [OpenTelemetryListener(), OpenTelemetryListener(meter_provider=provider)]

async def main():
    for listener in [silent, *listeners]:
        async with CredentialsPool(session=fake, listener=listener) as pool:
            await pool.manager("a").get()

asyncio.run(main())
for scope in reader.get_metrics_data().resource_metrics[0].scope_metrics:
    for metric in scope.metrics:
        if metric.name == "aiocredentials.requests":
            print([point.value for point in metric.data.data_points])
"""
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True, timeout=20
    )
    assert (answer.stdout.strip(), answer.stderr) == ("[0, 0, 4]", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_fork_during_an_export() -> None:
    """A process that forks while another thread exports has a child that counts, and doesn't hang."""
    program = """
import asyncio, os, threading
from aiocredentials import CredentialsPool
from aiocredentials.integrations import opentelemetry
from aiocredentials.testing import FakeSecretsManager

held, released = threading.Event(), threading.Event()

def export():
    with opentelemetry._lock:
        held.set()
        released.wait(10)

async def main():
    listener = opentelemetry.OpenTelemetryListener()
    async with CredentialsPool(session=FakeSecretsManager({"a": "1"}), listener=listener) as pool:
        print(await pool.manager("a").get(), flush=True)

thread = threading.Thread(target=export)
thread.start()
held.wait(10)
threading.Timer(0.1, released.set).start()
child = os.fork()
if child == 0:
    asyncio.run(main())
    os._exit(0)
thread.join()
print(os.waitpid(child, 0)[1])
"""
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert answer.stdout.split() == ["1", "0"]


def test_a_count_that_falls() -> None:
    """Where a thread reads in the middle of a change, and a pool's count is too low, the counter stays as it is."""
    telemetry = Telemetry()

    async def interrupted(aws: FakeAWS, pool: CredentialsPool) -> None:
        await everything(aws, pool)
        assert telemetry.requests()["hit"] == 2
        pool._store.cache.read_counts[0].reads -= 1
        assert telemetry.requests()["hit"] == 2
        pool._store.cache.read_counts[0].reads += 2
        assert telemetry.requests()["hit"] == 3

    story(telemetry, interrupted)


def test_without_an_sdk() -> None:
    """With the API alone, as it is without an SDK, everything works and nothing is exported."""
    listener = OpenTelemetryListener()
    heard: list[bool] = []

    async def main() -> None:
        async with pool_of(FakeAWS(NAME), listener=listener) as pool:
            listener.pool_opened(pool)
            await pool.manager(NAME).get()
            heard.append(trace.get_current_span().is_recording())

    run(main(), seed=0, leave_nothing=True)
    assert heard == [False]


def test_only_the_api() -> None:
    """The module imports OpenTelemetry's API package, and not its SDK."""
    program = (
        "import sys, aiocredentials.integrations.opentelemetry\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.semconv'))])"
    )
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=20)
    assert answer.stdout.strip() == "[]"


def test_the_provider_that_is_set_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until a global provider is set, the API has a stand-in for it: listeners from before and after share counts."""
    registry, providers = _Registry(), [_ProxyMeterProvider(), MeterProvider()]
    monkeypatch.setattr(integration, "get_meter_provider", lambda: providers[0])
    first = registry.requests(None, providers[0].get_meter("test"))
    del providers[0]
    assert registry.requests(None, providers[0].get_meter("test")) is first
    assert registry.requests(MeterProvider(), providers[0].get_meter("test")) is not first
