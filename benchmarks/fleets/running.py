"""A fleet that runs: its calls after the start, and how long it uses old values after rotations."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import TYPE_CHECKING, Any

from aiocredentials import CredentialsError, CredentialsPool
from fleets.account import FIRST_VERSION, Account, Agent, AgentClient, Client
from fleets.starting import rounded, share_below
from fleets.virtual import run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aiocredentials import AsyncCredentialsManager
    from fleets.fleet import Fleet

# Each secret is read about this often, in seconds: the time between two reads is random.
READ_EVERY = 10.0

# An event of a rotation reaches a process after so many seconds. AWS promises no time.
EVENT_DELAYS = (0.5, 2.0)

# The calls of the start are over by then, at the sizes that the quotas bear.
STARTED = 60.0
# In TTLs: when the rotations begin, for how long they go on, and how long we wait for the values.
ROTATIONS_BEGIN = 4.0
ROTATIONS_END = 4.8
PATIENCE = 1.2

# The peak is an average over some seconds, because a sample is too small for one second.
PEAK_SECONDS = 5


class Running:
    """The processes of a sample, and what their readers see."""

    def __init__(self, fleet: Fleet) -> None:
        self.account = Account(fleet.secrets, share=fleet.share, seed=fleet.seed)
        self.askers: list[Client] = []
        """The clients that ask AWS: those of the processes, or of the agents."""
        self.failed_reads = 0
        self.stale_reads = 0
        self.reads = 0
        self.fleet = fleet
        ttl = float(fleet.policy.ttl)  # type: ignore[arg-type] # seconds, once it is made
        self.quiet_until = ROTATIONS_BEGIN * ttl
        self.account.noted = (STARTED, self.quiet_until)
        rotations_end = ROTATIONS_END * ttl
        agent_ttl = ttl if fleet.per_host else 0.0
        self.end = rotations_end + PATIENCE * ttl + agent_ttl
        self.account.rotations = (self.quiet_until, rotations_end)
        self.clients: list[Client] = []
        """Those of the processes."""
        self._agent: Agent | None = None

    async def run(self) -> None:
        """Run all processes, and rotate each secret once."""
        numbers = range(self.fleet.simulated)
        await asyncio.gather(*(self._process(number) for number in numbers))

    def _client(self, number: int) -> Client:
        per_host = self.fleet.per_host
        if not per_host:
            client = Client(self.account)
            self.askers.append(client)
            return client
        if number % per_host == 0:
            self._agent = Agent(self.account)
            self.askers.append(self._agent.client)
        assert self._agent is not None
        return AgentClient(self.account, self._agent)

    async def _process(self, number: int) -> None:
        client = self._client(number)
        self.clients.append(client)
        loop = asyncio.get_running_loop()
        pool = CredentialsPool(session=client, policy=self.fleet.policy, clock=loop.time)
        async with pool:
            try:
                await pool.prefetch(*self.account.names)
            except ExceptionGroup:
                self.failed_reads += 1
            managers = {name: pool.manager(name) for name in self.account.names}
            waiting = [
                asyncio.create_task(self._refresh(client, name, manager))
                for name, manager in managers.items()
                if self.fleet.spread is not None
            ]
            while loop.time() < self.end:
                await self._read_all(managers.values())
                await asyncio.sleep(READ_EVERY * self.account.random.uniform(0.5, 1.5))
            await asyncio.gather(*waiting)

    async def _read_all(self, managers: Iterable[AsyncCredentialsManager[Any]]) -> None:
        for manager in managers:
            self.reads += 1
            try:
                secret = await manager.secret()
            except CredentialsError:
                self.failed_reads += 1
            else:
                self.stale_reads += secret.is_stale

    def ages(self) -> list[float]:
        """Return for how long each process had the old value of each secret after its rotation.

        A secret whose new value a process hasn't got at the end counts as old until then.
        """
        return [
            client.learned.get(name, self.end) - at
            for client in self.clients
            for name, at in client.rotated_at.items()
        ]

    async def _refresh(
        self,
        client: Client,
        name: str,
        manager: AsyncCredentialsManager[Any],
    ) -> None:
        """Refresh a secret when the event of its rotation has come, after a random delay."""
        drawn = self.account.random
        assert self.fleet.spread is not None
        delay = drawn.uniform(*EVENT_DELAYS) + drawn.uniform(0, self.fleet.spread)
        now = asyncio.get_running_loop().time()
        await asyncio.sleep(client.rotated_at[name] + delay - now)
        secret = await manager.secret()
        if secret.version_id == FIRST_VERSION:
            client.refresh_now(name)
            await manager.refresh()


def mean_calls(running: Running) -> float:
    """Return the calls per second of the whole fleet before the rotations.

    It is counted from one fetch of a secret to a later one of the same process, because all fetches
    of a fleet that has started at once come in waves, and none may be cut off.
    """
    fetches = chain.from_iterable(client.fetches.values() for client in running.askers)
    lasting = [one for one in fetches if one.count > 1]
    if not lasting:
        return 0.0
    intervals = sum(one.count - 1 for one in lasting)
    per_key = intervals / sum(one.last - one.first for one in lasting)
    keys = len(running.askers) * running.fleet.secrets
    return per_key * keys / running.fleet.share


def live(fleet: Fleet) -> dict[str, Any]:
    """Let a fleet run, and return what came of it; amounts are those of the whole fleet."""
    running = Running(fleet)
    run(running.run(), seed=fleet.seed)

    ages = running.ages()
    gets = running.account.calls["GetSecretValue"]
    window = (STARTED, running.quiet_until)
    asked = gets.made(*window)
    refused = gets.refused(*window)
    return {
        "processes": fleet.processes,
        "secrets": fleet.secrets,
        "simulated": fleet.simulated,
        "mean": rounded(mean_calls(running)),
        "peak": rounded(gets.peak(*window, over=PEAK_SECONDS) / fleet.share),
        "throttled": rounded(refused / asked if asked else 0.0),
        "typical age": share_below(ages, 0.5),
        "worst age": share_below(ages, 1.0),
        "stale reads": rounded(running.stale_reads / running.reads),
        "failed reads": rounded(running.failed_reads / running.reads),
    }
