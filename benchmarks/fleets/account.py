"""Secrets Manager as a fleet meets it: quotas, latency, throttling, and botocore's retries."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Calls per second, per region and account (AWS's list of quotas).
QUOTAS = {
    "GetSecretValue": 10_000.0,
    "DescribeSecret": 40_000.0,
    "BatchGetSecretValue": 100.0,
}

# Seconds that a call takes; AWS publishes none.
LATENCY = 0.02

# botocore's mode "standard": the number of attempts, and the longest pause in seconds.
ATTEMPTS = 3
LONGEST_PAUSE = 20.0
# Each client may retry for these tokens in all; a call that succeeds at once gives one back.
RETRY_TOKENS = 500
RETRY_COST = 5

# The agent's own TTL and the latency of a call to it, in seconds.
AGENT_TTL = 300.0
AGENT_LATENCY = 0.001

ACCOUNT_ID = "123456789012"
REGION = "us-east-1"


FIRST_VERSION = "first-version-of-a-secret-000001"
SECOND_VERSION = "second-version-of-a-secret-00002"


class Bucket:
    """A quota: tokens that come back evenly, up to those of one second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        # A sample of a fleet has a small part of the quota, and yet a whole call must fit.
        self._size = max(1.0, rate)
        self._tokens = self._size
        self._since = 0.0

    def take(self, now: float) -> bool:
        """Return whether a call is inside the quota."""
        returned = (now - self._since) * self._rate
        self._tokens = min(self._size, self._tokens + returned)
        self._since = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass
class Calls:
    """The calls of one operation, by the second in which they arrived."""

    accepted: Counter[int] = field(default_factory=Counter)
    throttled: Counter[int] = field(default_factory=Counter)

    def made(self, begin: float = 0.0, end: float = math.inf) -> int:
        """Return how many calls were made between two times."""
        answered = sum(self.accepted[at] for at in self.accepted if begin <= at < end)
        return answered + self.refused(begin, end)

    def refused(self, begin: float = 0.0, end: float = math.inf) -> int:
        """Return how many of them were throttled."""
        return sum(self.throttled[at] for at in self.throttled if begin <= at < end)

    def peak(self, begin: float, end: float, *, over: int) -> float:
        """Return the most calls per second, on average over some seconds."""
        bins: Counter[int] = Counter()
        for counter in (self.accepted, self.throttled):
            for at, count in counter.items():
                if begin <= at < end:
                    bins[at // over] += count
        return max(bins.values(), default=0) / over


@dataclass
class Fetches:
    """When a process fetched one secret."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0

    def note(self, now: float) -> None:
        """Note a fetch."""
        if self.count == 0:
            self.first = now
        self.count += 1
        self.last = now


class Account:
    """The secrets of one account and region, and its quotas.

    Args:
        secrets: How many secrets there are.
        share: The part of the quotas that this simulation may use: that of the sample of a fleet.
        seed: For latencies and pauses.
    """

    def __init__(self, secrets: int, *, share: float = 1.0, seed: int = 0) -> None:
        self.names = [f"app/{number:03}" for number in range(secrets)]
        self.rotations = (math.inf, math.inf)
        """Between these times, each secret is rotated once."""
        self.noted = (0.0, math.inf)
        """Between these times, clients note when they fetched what."""
        self.random = random.Random(seed)  # noqa: S311 (it spreads load)
        self.calls = {name: Calls() for name in QUOTAS}
        self._buckets = {name: Bucket(rate * share) for name, rate in QUOTAS.items()}

    def answer(self, operation: str) -> bool:
        """Return whether a call that arrives now is answered, or throttled."""
        now = asyncio.get_running_loop().time()
        accepted = self._buckets[operation].take(now)
        calls = self.calls[operation]
        counter = calls.accepted if accepted else calls.throttled
        counter[math.floor(now)] += 1
        return accepted

    def rotation_times(self) -> dict[str, float]:
        """Return a time of rotation for each secret.

        Each process, or each agent, has times of its own. So the ages that are measured are those
        of all times at which a rotation may come, and not of the few that one fleet would see.
        """
        begin, end = self.rotations
        if begin == math.inf:
            return dict.fromkeys(self.names, math.inf)
        return {name: self.random.uniform(begin, end) for name in self.names}


def answered(name: str, version_id: str) -> dict[str, Any]:
    """Return what AWS answers about a secret, as botocore has read it."""
    return {
        "ARN": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT_ID}:secret:{name}-AbCdEf",
        "Name": name,
        "VersionId": version_id,
        "SecretString": "{}",
        "VersionStages": ["AWSCURRENT"],
    }


class Client:
    """The client of one process, with botocore's retries. It is a `CustomSession`, too."""

    region_name = REGION

    def __init__(self, account: Account) -> None:
        self.account = account
        self.fetches: defaultdict[str, Fetches] = defaultdict(Fetches)
        self.rotated_at = account.rotation_times()
        self.learned: dict[str, float] = {}
        """When the process first got another version than the first one, by name."""
        self._tokens = RETRY_TOKENS

    @asynccontextmanager
    async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Client]:
        """Lend itself."""
        assert region_name == REGION
        yield self

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Answer as AWS does, after a while."""
        name = parameters["SecretId"]
        await self._call("GetSecretValue", [name])
        return self._learned(self._current(name))

    async def batch_get_secret_value(self, **parameters: Any) -> dict[str, Any]:
        """Answer as AWS does, after a while."""
        names = parameters["SecretIdList"]
        await self._call("BatchGetSecretValue", names)
        values = [self._learned(self._current(name)) for name in names]
        return {"SecretValues": values, "Errors": []}

    def refresh_now(self, name: str) -> None:
        """Let the next call for a secret go past all caches: here there is none."""

    def _current(self, name: str) -> dict[str, Any]:
        """Return the current version of a secret."""
        now = asyncio.get_running_loop().time()
        is_old = now < self.rotated_at[name]
        return answered(name, FIRST_VERSION if is_old else SECOND_VERSION)

    def _learned(self, value: dict[str, Any]) -> dict[str, Any]:
        """Note when a new version arrives."""
        name = value["Name"]
        if value["VersionId"] != FIRST_VERSION and name not in self.learned:
            self.learned[name] = asyncio.get_running_loop().time()
        return value

    async def _call(self, operation: str, names: list[str]) -> None:
        """Return when AWS has answered; raise botocore's error if the retries are used up."""
        drawn = self.account.random
        for attempt in range(ATTEMPTS):
            # Half of it on the way, half on the way back; a tenth more or less each time.
            latency = LATENCY * drawn.uniform(0.9, 1.1)
            await asyncio.sleep(latency / 2)
            accepted = self.account.answer(operation)
            if accepted:
                self._note(names)
            await asyncio.sleep(latency / 2)
            if accepted:
                returned = 1 if attempt == 0 else RETRY_COST
                self._tokens = min(RETRY_TOKENS, self._tokens + returned)
                return
            if attempt == ATTEMPTS - 1 or self._tokens < RETRY_COST:
                break
            self._tokens -= RETRY_COST
            await asyncio.sleep(drawn.random() * min(2**attempt, LONGEST_PAUSE))

        raise ClientError(
            {"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}},
            operation,
        )

    def _note(self, names: list[str]) -> None:
        now = asyncio.get_running_loop().time()
        begin, end = self.account.noted
        if begin <= now < end:
            for name in names:
                self.fetches[name].note(now)


class Agent:
    """AWS's local agent: one cache for all processes of a host, which it doesn't refresh ahead.

    Callers that ask for the same secret at the same time each make it ask AWS: pessimistic, because
    AWS's documentation promises nothing else.
    """

    def __init__(self, account: Account) -> None:
        self.client = Client(account)
        self._cached: dict[str, tuple[float, dict[str, Any]]] = {}

    async def get(self, name: str, *, refresh_now: bool) -> dict[str, Any]:
        """Return a secret, from memory or from AWS."""
        now = asyncio.get_running_loop().time()
        cached = self._cached.get(name)
        if cached is not None and not refresh_now and now - cached[0] < AGENT_TTL:
            return cached[1]
        value = await self.client.get_secret_value(SecretId=name)
        self._cached[name] = (now, value)
        return value


class AgentClient(Client):
    """The client of a process that asks the agent of its host. The agent knows no batches."""

    def __init__(self, account: Account, agent: Agent) -> None:
        super().__init__(account)
        self.rotated_at = agent.client.rotated_at
        self._agent = agent
        self._refreshed_now: set[str] = set()

    def refresh_now(self, name: str) -> None:
        """Let the next call for a secret go past the cache of the agent."""
        self._refreshed_now.add(name)

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        """Ask the agent."""
        name = parameters["SecretId"]
        refresh_now = name in self._refreshed_now
        self._refreshed_now.discard(name)
        await asyncio.sleep(AGENT_LATENCY)
        return self._learned(await self._agent.get(name, refresh_now=refresh_now))

    async def batch_get_secret_value(self, **parameters: Any) -> dict[str, Any]:
        """Ask the agent for one secret after the other."""
        names = parameters["SecretIdList"]
        values = [await self.get_secret_value(SecretId=name) for name in names]
        return {"SecretValues": values, "Errors": []}
