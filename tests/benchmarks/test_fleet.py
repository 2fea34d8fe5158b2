"""The simulation of fleets: it agrees with closed formulas, it can be wrong, and the page shows what it found."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from botocore.exceptions import ClientError

from aiocredentials import CachePolicy

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "benchmarks"
IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "fleet.md"

is_checkout = pytest.mark.skipif(not (ROOT / ".ci").exists(), reason="only a checkout has all pages")

PROCESSES = 30

# The mean time from a moment to the next read, which comes 5 to 15 s after the read before.
NEXT_READ = (10**2 + 10**2 / 12) / (2 * 10)


def results() -> dict[str, Any]:
    """Return the committed results."""
    read: dict[str, Any] = json.loads((FOLDER / "fleet_results.json").read_text(encoding="utf-8"))
    return read


def lived(policy: CachePolicy | None = None, *, spread: float | None = None, **sizes: int) -> dict[str, Any]:
    """Let a small fleet run."""
    from fleets.fleet import Fleet
    from fleets.running import live

    sizes = {"processes": PROCESSES, "secrets": 2} | sizes
    return live(Fleet(policy=policy or CachePolicy(), spread=spread, **sizes))


@pytest.mark.parametrize(("ahead", "share"), [(0.8, 0.8), (None, 1.0)])
def test_calls_per_second(ahead: float | None, share: float) -> None:
    """The mean is processes times secrets by the time from one fetch to the next, which the policy decides."""
    record = lived(CachePolicy(refresh_ahead=ahead))
    between = share * 300 * (1 - 0.1 / 2) + NEXT_READ
    assert record["mean"] == pytest.approx(PROCESSES * 2 / between, rel=0.03)


def test_jitter_lowers_the_peak() -> None:
    """Without jitter, a fleet that has started at once asks again at once."""
    peaks = [lived(CachePolicy(ttl=600, jitter=jitter), secrets=3)["peak"] for jitter in (0, 0.5)]
    assert peaks[0] > 5 * peaks[1]


def test_the_worst_age_depends_on_the_policy() -> None:
    """The old value is used until the refresh ahead or, without one, until the end of the TTL."""
    ahead = lived(secrets=3)["worst age"]
    at_the_end = lived(CachePolicy(refresh_ahead=None), secrets=3)["worst age"]
    assert 215 < ahead < 0.8 * 300 + 15
    assert 275 < at_the_end < 300 + 15


def test_push_and_agent() -> None:
    """With push, the age is the delay of the event and the spread; an agent saves calls and adds its own TTL."""
    from fleets.account import AGENT_TTL

    plain = lived()
    push = lived(spread=5, processes=15)
    assert 4.5 < push["worst age"] < 2 + 5 + 0.1
    agent = lived(per_host=10)
    assert agent["mean"] < plain["mean"] / 10
    assert AGENT_TTL < agent["worst age"] < AGENT_TTL + 0.8 * 300 + 15
    both = lived(per_host=10, spread=5, processes=10)
    assert both["worst age"] < 2 + 5 + 0.1


def test_a_seed_gives_the_same_fleet() -> None:
    """The same seed gives the same results, also where calls are throttled; another seed gives others."""
    from fleets.fleet import Fleet
    from fleets.starting import start

    fleet = Fleet(processes=1_000, secrets=20, sample=20)
    assert start(fleet) == start(fleet)
    same = [lived(processes=10, seed=seed) for seed in (0, 0, 1)]
    assert same[0] == same[1] != same[2]


def test_a_start_with_and_without_single_calls() -> None:
    """A fleet that exceeds the quota of batches starts as a whole; without the single calls, most of it fails."""
    from fleet import Job
    from fleets.fleet import Fleet

    fleet = Fleet(processes=1_000, secrets=20, sample=50)
    before = Job("starts", "at once", "start, before", fleet).run()
    after = Job("starts", "at once", "start", fleet).run()
    assert before["started"] < 0.5
    assert before["gets"] == 0
    assert after["started"] == 1
    assert after["p99"] < 5
    # 20 for each process whose batch was throttled, and hardly more.
    assert after["gets"] < 20 * 1_000


def test_quota() -> None:
    """A quota lets a second's calls through at once, and later as many as time brings back."""
    from fleets.account import Bucket

    bucket = Bucket(10)
    assert [bucket.take(0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [bucket.take(0.25) for _ in range(4)] == [True] * 2 + [False] * 2
    assert [bucket.take(9.0) for _ in range(12)] == [True] * 10 + [False] * 2


def test_retries() -> None:
    """A throttled call is made three times, after up to 1 and 2 s; without retry tokens it is made once."""
    from fleets.account import RETRY_COST, RETRY_TOKENS, Account, Client
    from fleets.virtual import run

    account = Account(1, share=0)
    client = Client(account)
    throttled = account.calls["GetSecretValue"].throttled

    async def call() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(ClientError, match="ThrottlingException"):
            await client.get_secret_value(SecretId="app/000")
        return loop.time() - began

    async def main() -> list[float]:
        # The first call of all takes the one token that there is.
        await client.get_secret_value(SecretId="app/000")
        return [await call() for _ in range(60)]

    times = run(main(), seed=0)
    with_tokens = RETRY_TOKENS // (2 * RETRY_COST)
    assert throttled.total() == 3 * with_tokens + (60 - with_tokens)
    assert 0.5 < max(times[:with_tokens]) < 3.1
    assert max(times[with_tokens:]) < 0.03


def test_prices() -> None:
    """A call per second, a secret and a queue for a month have the prices that AWS publishes."""
    from fleets import prices

    assert prices.calls_price(1) == pytest.approx(365 / 12 * 86_400 / 10_000 * 0.05)
    assert prices.secrets_price(3) == pytest.approx(1.20)
    polls = 365 / 12 * 86_400 / 20
    assert prices.push_price(1, 0) == pytest.approx(polls / 1e6 * 0.40)
    one_event = 0.40 / 1e6 + 0.50 / 1e6 + 0.05 / 1e4
    assert prices.push_price(1, 1) - prices.push_price(1, 0) == pytest.approx(one_event)


def test_a_small_run(tmp_path: Path) -> None:
    """A run prints each simulation and writes all of them, in the sections of the committed results."""
    file = tmp_path / "results.json"
    command = [sys.executable, str(FOLDER / "fleet.py"), "--smoke", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = json.loads(file.read_text(encoding="utf-8"))
    assert list(written) == list(results())
    assert done.stdout.count("processes=") == sum(len(records) for name, records in written.items() if name != "about")


def test_results_are_of_a_whole_run() -> None:
    """The committed results have all sizes, and a sample is near the whole fleet where both were simulated."""
    import fleet

    found = results()
    pairs = {(record["processes"], record["secrets"]) for record in found["starts"]}
    assert pairs == {(processes, secrets) for processes in fleet.SIZES for secrets in fleet.SECRETS}
    for section, figures in (("check of starts", ["started", "gets"]), ("check of running", ["mean", "worst age"])):
        whole, sample = found[section]
        assert whole["simulated"] == whole["processes"] > sample["simulated"]
        assert [sample[name] for name in figures] == pytest.approx([whole[name] for name in figures], rel=0.05)


@is_checkout
def test_the_page_shows_the_results() -> None:
    """Each figure in a table of the page, and in its first ten lines, is that of fleet_results.json."""
    import fleet_page

    text = PAGE.read_text(encoding="utf-8")
    same = fleet_page.page(results()) == text
    assert same, "docs/fleet.md shows other results: run `python benchmarks/fleet_page.py`"
    beginning = "\n".join([line for line in text.splitlines() if line and not line.startswith("<!--")][:10])
    assert all(word in beginning for word in ("Calls", "Money", "Age", "push", "agent"))


@is_checkout
def test_the_page_shows_the_plots() -> None:
    """Each plot is committed for light and for dark pages, and the page shows it."""
    text = PAGE.read_text(encoding="utf-8")
    shown = {path.name for path in IMAGES.glob("fleet-*.svg")}
    assert len(shown) == 4
    assert all(f"images/{name}" in text for name in shown)


@is_checkout
def test_plots(tmp_path: Path) -> None:
    """The plots are drawn from the results, for light and for dark pages, with their texts as text."""
    pytest.importorskip("matplotlib")
    import fleet_plot
    import plot

    paths = plot.draw(results(), tmp_path, fleet_plot.PLOTS)
    assert sorted(path.name for path in paths) == sorted(path.name for path in IMAGES.glob("fleet-*.svg"))
    for path in paths:
        drawn = path.read_bytes()
        assert len(drawn) < 80_000
        assert "processes" in " ".join(ET.fromstring(drawn).itertext())  # noqa: S314 (we have just written it)
