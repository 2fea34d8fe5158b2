"""A random walk over secrets whose identifiers collide: what each read brings must be right for what was asked.

The fake AWS resolves identifiers as AWS does at its worst: a partial ARN leads to any secret whose full ARN it begins.
So the ARN of `db` is also the partial ARN of a secret that is named `db-` and the six characters of that ARN.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random, seed as seed_jitter
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from aiocredentials import CachePolicy, CredentialsError, CredentialsPool, SecretNotFoundError
from aiocredentials._aws.regions import Region
from aiocredentials._aws.session import Opened
from aiocredentials._store import SecretStore
from unit.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aiocredentials import Secret

NEGATIVE_TTL = 3.0
LONGEST_CALL = 1.0
POLICY = CachePolicy(ttl=20, jitter=0.5, max_stale=100, negative_ttl=NEGATIVE_TTL)
STEPS = 200
DEFAULT, OTHER = "eu-west-1", "eu-west-2"
_LATENCIES = (0.0, 0.0, 0.1, 0.5, LONGEST_CALL)


def meanings(name: str, arn: str) -> tuple[str, ...]:
    """Return what means a secret, and no other: said once more here, so the walk doesn't trust what it tests."""
    is_like_an_arn = len(name) > 7 and name[-7] == "-" and name[-6:].isalnum()
    return (name, arn) if is_like_an_arn else (name, arn, arn.rpartition("-")[0])


@dataclass
class Stored:
    """A secret of the fake AWS."""

    name: str
    arn: str
    region: str
    version: int

    @property
    def identifiers(self) -> tuple[str, ...]:
        """What means this secret, and no other."""
        return meanings(self.name, self.arn)


@dataclass
class Walk:
    """The fake AWS, what happened to it, and the checks. It is a `ClientSource` and a client in one."""

    random: Random
    now: Callable[[], float]
    closed: bool = False
    profile: str | None = None
    secrets: list[Stored] = field(default_factory=list[Stored])
    gone: list[str] = field(default_factory=list[str])
    """Full ARNs of secrets that were deleted."""
    turns: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    invalidated: list[tuple[int, str, str]] = field(default_factory=list[tuple[int, str, str]])
    """Turn, region and identifier of each invalidation."""
    there_since: dict[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    """By region and identifier, since when it means a secret."""
    violations: list[str] = field(default_factory=list[str])

    # What the pool asks

    def forget(self) -> None:
        """Do nothing: there are no clients to drop."""

    async def region(self) -> Region:
        """Return the default region, after some time."""
        await asyncio.sleep(self.random.choice(_LATENCIES))
        return Region(DEFAULT, "the pool")

    @asynccontextmanager
    async def client(
        self,
        region: Region | None,
        deadline: asyncio.Timeout,
        role: object = None,  # noqa: ARG002 (of the protocol)
    ) -> AsyncIterator[Opened]:
        """Lend a client for a region."""
        del deadline
        where = region or await self.region()
        yield Opened(cast("Any", _Client(self, where.name)), where)

    def answer(self, region: str, secret_id: str, turn: int) -> dict[str, Any]:
        """Answer as AWS does: an exact ARN or a name first, then the beginning of an ARN."""
        here = [one for one in self.secrets if one.region == region]
        exact = [one for one in here if secret_id in {one.name, one.arn}]
        partial = [one for one in here if secret_id == one.arn[: -len("-Abc123")]]
        for one in exact + partial:
            return {
                "ARN": one.arn,
                "Name": one.name,
                "VersionId": f"version-{one.version}",
                "SecretString": json.dumps({"turn": turn, "region": region}),
                "VersionStages": ["AWSCURRENT"],
            }
        code = {"Code": "ResourceNotFoundException", "Message": "No."}
        raise ClientError({"Error": code}, "GetSecretValue")

    # What happens

    def create(self, name: str, region: str, suffix: str | None = None) -> Stored:
        """Create a secret, with a new ARN."""
        made = suffix or "".join(self.random.choices("ABCabc123", k=6))
        arn = f"arn:aws:secretsmanager:{region}:123456789012:secret:{name}-{made}"
        stored = Stored(name, arn, region, next(self.turns))
        self.secrets.append(stored)
        return stored

    def note_what_is_there(self) -> None:
        """Note what means a secret now."""
        there = {(one.region, each) for one in self.secrets for each in one.identifiers}
        self.there_since = {each: self.there_since.get(each, self.now()) for each in there}

    def all_identifiers(self) -> list[str]:
        """Return what may be asked: names, full ARNs, also of deleted secrets, and beginnings of ARNs."""
        found = ["nobody", *self.gone]
        for one in self.secrets:
            found += [one.name, one.arn, one.arn[: -len("-Abc123")]]
        return list(dict.fromkeys(found))

    def change(self) -> None:
        """Rotate, delete or create a secret."""
        one = self.random.choice(self.secrets)
        if self.random.random() < 0.7:
            one.version = next(self.turns)
            return
        self._delete(one)
        if one.name.startswith("db"):
            again = self.create(one.name, one.region)
            # Somebody names a secret after the new ARN, too.
            for other in [each for each in self.secrets if each.name.startswith(f"{one.name}-")]:
                if other.region == one.region:
                    self._delete(other)
                    self.create(f"{one.name}-{again.arn[-6:]}", one.region)
        else:
            self.create(one.name, one.region)
        self.note_what_is_there()

    def _delete(self, one: Stored) -> None:
        self.secrets.remove(one)
        self.gone.append(one.arn)
        self.note_what_is_there()

    # What is checked

    def region_of(self, identifier: str, region: str | None) -> str:
        """Return the region that an identifier is asked in."""
        return identifier.split(":")[3] if identifier.startswith("arn:") else region or DEFAULT

    def check_value(self, asked: str, region: str, secret: Secret, began: int) -> None:
        """Check that a value is of the secret that was asked, and from after each invalidation before the call."""
        found = meanings(secret.name, secret.arn)
        fetched = secret.json()["turn"]
        if asked not in found or secret.region != region or secret.json()["region"] != region:
            self.violations.append(f"{asked} in {region} brought {secret.arn}")
        for turn, where, identifier in self.invalidated:
            if where == region and identifier in found and fetched < turn < began:
                self.violations.append(f"{asked}: fetched at {fetched}, invalidated at {turn}, asked at {began}")

    def check_error(self, asked: str, region: str, error: CredentialsError, at: float) -> None:
        """Check that a refusal is about what was asked."""
        if not isinstance(error, SecretNotFoundError):
            self.violations.append(f"{asked}: {error!r}")
            return
        since = self.there_since.get((region, asked), at)
        if since < at - NEGATIVE_TTL - 2 * LONGEST_CALL:
            self.violations.append(f"{asked} in {region} was there, and was refused")


class _Client:
    def __init__(self, walk: Walk, region: str) -> None:
        self._walk = walk
        self._region = region

    async def get_secret_value(self, **parameters: str) -> dict[str, Any]:
        walk = self._walk
        turn = next(walk.turns)
        # AWS reads the value at once or later, and the answer takes its time.
        await asyncio.sleep(walk.random.choice(_LATENCIES) / 2)
        try:
            return walk.answer(self._region, parameters["SecretId"], turn)
        finally:
            await asyncio.sleep(walk.random.choice(_LATENCIES) / 2)

    async def batch_get_secret_value(self, **parameters: list[str]) -> dict[str, Any]:
        walk = self._walk
        turn = next(walk.turns)
        await asyncio.sleep(walk.random.choice(_LATENCIES))
        values: list[dict[str, Any]] = []
        errors: list[dict[str, str]] = []
        for asked in parameters["SecretIdList"]:
            try:
                values.append(walk.answer(self._region, asked, turn))
            except ClientError as error:
                errors.append({"SecretId": asked, "ErrorCode": str(error.response["Error"].get("Code"))})
        return {"SecretValues": values, "Errors": errors}


def walk(first: int, count: int) -> list[str]:
    """Take so many walks of 200 steps; return what was wrong in any."""
    violations: list[str] = []
    for seed in range(first, first + count):
        seed_jitter(seed)
        violations += run(take(seed, STEPS), seed=seed, leave_nothing=True, max_steps=10_000_000)
    return violations


async def take(seed: int, steps: int) -> list[str]:
    """Walk for so many steps, some of them at once; return what was wrong."""
    random = Random(seed)  # noqa: S311 (it shuffles, it guards nothing)
    loop = asyncio.get_running_loop()
    walk = Walk(random, loop.time)
    for region in (DEFAULT, OTHER):
        victim = walk.create("db", region)
        walk.create(f"db-{victim.arn[-6:]}", region)
        walk.create("other", region)
    walk.note_what_is_there()
    async with CredentialsPool(policy=POLICY) as pool:
        store = SecretStore(walk, 10.0, pooled=True, max_secrets=random.choice((3, 100)), clock=loop.time)
        # The pool's own store goes on to open and close, and asks the walk.
        vars(pool._store).update(vars(store))
        pauses = random.choice(((0.0, 0.0, 0.1, 1.0, 5.0), (0.0, 0.0, 0.1, 0.3)))
        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(_actor(walk, pool, pauses, steps // 5))
    return walk.violations


async def _actor(walk: Walk, pool: CredentialsPool, pauses: tuple[float, ...], steps: int) -> None:
    random = walk.random
    asked = "db"
    for _ in range(steps):
        await asyncio.sleep(random.choice(pauses))
        # Often what the last step was about, by another identifier.
        related = [one.identifiers for one in walk.secrets if asked in one.identifiers]
        if related and random.random() < 0.5:
            asked = random.choice(related[0])
        else:
            asked = random.choice(walk.all_identifiers())
        region = random.choice((None, None, DEFAULT, OTHER))
        where = walk.region_of(asked, region)
        manager = pool.manager(asked, where if asked.startswith("arn:") else region)
        match random.choice(("get", "get", "get", "get", "refresh", "invalidate", "forget", "prefetch", "change")):
            case "invalidate":
                manager.invalidate()
                walk.invalidated.append((next(walk.turns), where, asked))
            case "forget":
                manager.invalidate(if_version=f"version-{random.choice(walk.secrets).version}")
            case "prefetch":
                names = random.sample(walk.all_identifiers(), 3)
                with contextlib.suppress(ExceptionGroup):
                    await pool.prefetch(*names)
            case "change":
                walk.change()
            case what:
                began = next(walk.turns)
                try:
                    secret = await (manager.secret() if what == "get" else manager.refresh())
                except CredentialsError as error:
                    walk.check_error(asked, where, error, walk.now())
                else:
                    walk.check_value(asked, where, secret, began)
