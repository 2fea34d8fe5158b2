"""A process that is frozen, or that a snapshot is made of: nothing secret is left, nothing hangs, nothing is old."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import struct
import sys
import textwrap
from typing import TYPE_CHECKING

import aioboto3
import pytest

from aiocredentials import CredentialsPool
from aiocredentials._aws import redact as _redact, tls
from aiocredentials.integrations import snapstart
from server.certificates import Authority
from server.programs import child
from server.stub import CREATED, Answer, StubSecretsManager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.stub import Request

NAME = "prod/db"
# Written backwards, as in the children that look for them: no program text or argument is a find.
CANARIES = {"value": "drowssap_kcom_yranac", "secret key": "yek_terces_yranac_XX", "token": "nekot_noisses_yranac"}


def write_credentials(path: Path, secret_key: str, token: str) -> None:
    """Write the file of a profile whose credentials are temporary."""
    lines = ["[default]", "aws_access_key_id = AKIDEXAMPLE"]
    lines += [f"aws_secret_access_key = {secret_key}", f"aws_session_token = {token}", ""]
    path.write_text("\n".join(lines))


# Looks through all objects of a process: the collector's, and those that they refer to.
LOOK = """
    import asyncio, gc, json, random, sys, types

    canaries = json.loads(sys.argv[2])

    def found():
        pieces = {name: text[::-1] for name, text in canaries.items()}
        result = dict.fromkeys(canaries, 0)
        pending = gc.get_objects()
        ours = {id(pieces), id(result), id(pending), id(sys._getframe())}
        ours |= {id(piece) for piece in pieces.values()}
        seen = set()
        while pending:
            one = pending.pop()
            if id(one) in seen or id(one) in ours:
                continue
            seen.add(id(one))
            if isinstance(one, (str, bytes, bytearray)):
                text = one if isinstance(one, str) else bytes(one).decode("latin-1")
                for name, piece in pieces.items():
                    result[name] += piece in text
            elif isinstance(one, types.ModuleType):
                # The collector's view of some modules has objects that are free already.
                pending.append(vars(one))
            else:
                pending.extend(gc.get_referents(one))
        return result

    def in_memory():
        # What the memory of the process has, also where nothing is stored any more.
        halves = {name: (text[:9:-1].encode(), text[9::-1].encode()) for name, text in canaries.items()}
        result = dict.fromkeys(canaries, 0)
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as memory:
            for line in maps:
                place, permissions, *_ = line.split()
                if not permissions.startswith("rw"):
                    continue
                start, end = (int(address, 16) for address in place.split("-"))
                try:
                    memory.seek(start)
                    content = memory.read(end - start)
                except OSError:
                    continue
                for name, (first, second) in halves.items():
                    pieces = content.split(first)[1:]
                    result[name] += sum(piece.startswith(second) for piece in pieces)
        return result
"""
FORGETS = """
    import snapshot_restore_py
    from aiocredentials import AsyncCredentialsManager, CredentialsPool, DatabaseCredentials
    from aiocredentials.integrations.snapstart import forget_before_snapshots
    from aiocredentials.rotation import connect_through_rotation

    assert forget_before_snapshots()
    assert forget_before_snapshots()
    pool = CredentialsPool("eu-west-1", endpoint_url=sys.argv[1])
    plain = pool.manager("a")
    decoded = pool.manager("b", decode=DatabaseCredentials.from_json)
    uncached = pool.manager("c", policy=None, decode=str)
    alone = AsyncCredentialsManager("d", "eu-west-1", endpoint_url=sys.argv[1])

    async def connect(credentials):
        return None

    async def read():
        await pool.open()
        await asyncio.gather(*(manager.get() for manager in (plain, decoded, uncached, alone)))
        await pool.prefetch("e", "f")
        await connect_through_rotation(decoded, connect)
        for manager in (plain, decoded):
            await manager.get()

    def run_hooks():
        [(before, arguments, options)] = snapshot_restore_py.get_before_snapshot()
        before(*arguments, **options)

    async def read_and_forget():
        await read()
        await asyncio.sleep(0)
        run_hooks()
        here = found()
        # The sockets are closed by the loop.
        while pool._session._loops.get().of(None)._detached:
            await asyncio.sleep(0)
        return here

    asyncio.run(read())
    run_hooks()
    # First, because looking for objects writes texts of its own.
    freed = in_memory() if sys.platform == "linux" else {}
    counts = [found()]
    with asyncio.Runner() as runner:
        runner.run(read())
        before = found()
        run_hooks()
        counts.append(found())
        counts.append(runner.run(read_and_forget()))
        runner.run(pool.aclose())
    print(json.dumps([freed, before, counts]))
"""


async def test_nothing_secret_is_left(
    stub: StubSecretsManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the hook no object of the process has a value, a secret key, a signing key or a session token.

    It holds after a loop, between two runs of one loop, and inside of a loop that runs. Freed memory isn't overwritten:
    the page on Lambda says so, and may say more as soon as this fails.
    """
    pytest.importorskip("snapshot_restore_py")
    value, secret_key, token = (text[::-1] for text in CANARIES.values())
    credentials = tmp_path / "credentials"
    write_credentials(credentials, secret_key, token)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    database = json.dumps({"username": "app", "password": value, "host": "db.example"})
    stub.secrets = dict.fromkeys("abcdef", database)

    answer = await child(LOOK + FORGETS, stub.url, json.dumps(CANARIES), options=("-W", "error"))

    freed, before, after = json.loads(answer)
    assert all(freed.values())
    assert all(before.values()), "the program that looks finds nothing"
    assert after == [dict.fromkeys(CANARIES, 0)] * 3
    # Each time all was fetched anew: four secrets by themselves, and a batch.
    assert len(stub.requests) == 15


class TestHooks:
    """The hooks for Lambda SnapStart, with AWS's own package."""

    async def test_a_restore(self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        """After a restore the first read fetches, whatever was read after the first hook, and `random` differs."""
        aws = pytest.importorskip("snapshot_restore_py")
        monkeypatch.setattr(aws, "_before_snapshot_registry", [])
        monkeypatch.setattr(aws, "_after_restore_registry", [])
        monkeypatch.setattr(snapstart, "_is_registered", False)
        assert snapstart.forget_before_snapshots()
        assert snapstart.forget_before_snapshots()
        [(before, _, _)] = aws.get_before_snapshot()
        [(after, _, _)] = aws.get_after_restore()

        async with CredentialsPool(endpoint_url=stub.url) as pool:
            manager = pool.manager(NAME)
            for hook, count in ((before, 2), (after, 3)):
                await manager.get()
                state = random.getstate()
                hook()
                await manager.get()
                assert len(stub.requests) == count
        assert random.getstate() != state

    def test_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without AWS's package nothing is registered, and the same program runs."""
        monkeypatch.setattr(snapstart, "_is_registered", False)
        monkeypatch.setitem(sys.modules, "snapshot_restore_py", None)
        assert not snapstart.forget_before_snapshots()


class TestCredentials:
    """What else holds credentials."""

    async def test_a_session_of_the_callers(self, stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
        """A caller's session isn't changed, and its credentials are searched for again."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDBEFORE")
        session = aioboto3.Session()
        await session.get_credentials()
        async with CredentialsPool(endpoint_url=stub.url, session=session) as pool:
            manager = pool.manager(NAME)
            await manager.get()
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDAFTER")
            pool.forget()
            await manager.get()
        keys = [request.headers["authorization"].partition("AKID")[2].partition("/")[0] for request in stub.requests]
        assert keys == ["BEFORE", "AFTER"]

    async def test_a_private_key(self, tmp_path: Path) -> None:
        """A TLS context that holds the key of a client certificate is dropped; one that holds none is kept."""
        authority = Authority(tmp_path, "trusted")
        leaf = authority.leaf("localhost")
        tls._contexts.clear()
        with_key = await tls.ssl_context(str(authority.bundle), *leaf.pair)
        without = await tls.ssl_context(str(authority.bundle), None, None)
        tls.forget_private_keys()
        assert [kept.context for kept in tls._contexts.values()] == [without]
        assert with_key is not without


async def test_a_call_under_way_keeps_its_client(stub: StubSecretsManager) -> None:
    """A call that isn't a read of the cache ends with its own client, which is closed afterwards."""
    gate = asyncio.Event()
    async with CredentialsPool(endpoint_url=stub.url) as pool:
        stub.answer(gate=gate)
        describing = asyncio.create_task(pool.manager(NAME).describe())
        await stub.arrival()
        state = pool._session._loops.get().of(None)
        pool.forget()
        pool.forget()
        assert len(state._replaced) == 1
        gate.set()
        assert (await describing).name == NAME
        while state._replaced:  # noqa: ASYNC110 (the time limit of the test is this one's, too)
            await asyncio.sleep(0)
        assert not _redact._living


@pytest.mark.parametrize("ended", ["closed", "loop gone"])
def test_sockets_that_no_loop_has_closed(ended: str) -> None:
    """A stopped loop can't close sockets: closing the pool does it, or the end of the loop."""

    async def serve() -> None:
        async with StubSecretsManager() as stub:
            await asyncio.to_thread(use, stub)

    def use(stub: StubSecretsManager) -> None:
        pool = CredentialsPool(endpoint_url=stub.url)

        async def read() -> None:
            await pool.open()
            await pool.manager(NAME).get()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(read())
        (state,) = [state.of(None) for _, state in pool._session._loops.living()]
        pool.forget()
        (transport,) = state._detached
        (session,) = transport._sessions.values()
        if ended == "closed":
            loop.run_until_complete(pool.aclose())
        loop.close()
        pool.forget()
        assert session.closed
        assert not state._detached

    asyncio.run(serve())


FROZEN = """
    import asyncio, json, mmap, random, struct, sys, time
    from aiocredentials import CredentialsError, CredentialsPool

    random.random = lambda: 0.0  # by it botocore pauses between two attempts
    with open(sys.argv[2], "r+b") as file:
        shared = mmap.mmap(file.fileno(), 8)

    def jumped():
        return struct.unpack("d", shared[:8])[0]

    def say(word):
        print(word, flush=True)
        return asyncio.to_thread(sys.stdin.readline)

    async def outcome(reading):
        try:
            secret = await reading
        except CredentialsError as error:
            return type(error).__name__
        return secret.version_id[0]

    async def main():
        loop = asyncio.get_running_loop()
        loop.time = lambda: time.monotonic() + jumped()
        seen, is_seen = [], asyncio.Event()

        async def watch():
            async for secret in manager.changes():
                seen.append(secret.version_id[0])
                is_seen.set()

        async with CredentialsPool("eu-west-1", endpoint_url=sys.argv[1], clock=jumped) as pool:
            manager = pool.manager("prod/db")
            first = await outcome(manager.secret())
            watching = asyncio.create_task(watch())
            await say("fetched")
            waiting = [asyncio.create_task(outcome(manager.secret())) for _ in range(10)]
            waiting.append(asyncio.create_task(outcome(manager.refresh())))
            await say("waiting")
            caught = await asyncio.gather(*waiting)
            later = await asyncio.gather(*(outcome(manager.secret()) for _ in range(20)))
            await is_seen.wait()
            watching.cancel()
            print(json.dumps([first, caught, later, seen, pool.stats().fetches]))

    asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that stops a process")
async def test_a_frozen_process(stub: StubSecretsManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that was frozen for ten hours in the middle of a refresh goes on.

    Meanwhile the server has closed all connections, the AWS credentials have expired, and the secret was rotated. The
    callers that waited get a typed error or the new value, later ones the new value by one fetch, none gets the value
    that is too old, and `changes()` yields the new version.
    """
    credentials, clock = tmp_path / "credentials", tmp_path / "clock"
    write_credentials(credentials, "mock_key", "old")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    set_clock = clock_in(clock)
    set_clock(0.0)
    stub.handler = lambda _: version("1")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(FROZEN),
        stub.url,
        str(clock),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert await process.stdout.readline() == b"fetched\n"
    set_clock(400.0)  # past the TTL
    stub.hang()
    process.stdin.write(b"\n")
    assert await process.stdout.readline() == b"waiting\n"
    await stub.arrival(2)

    process.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitpid, process.pid, os.WUNTRACED)
    for connection in tuple(stub._tasks):
        connection.cancel()
    write_credentials(credentials, "mock_key", "new")
    stub.handler = only_for("new", version("2"))
    set_clock(36_000.0)
    process.send_signal(signal.SIGCONT)
    process.stdin.write(b"\n")

    out, _ = await process.communicate()
    first, caught, later, seen, fetches = json.loads(out)
    assert first == "1"
    assert set(caught) <= {"2", "SecretExpiredError", "EndpointUnreachableError"}
    assert later == ["2"] * 20
    assert seen == ["2"]
    tokens = [request.headers["x-amz-security-token"] for request in stub.requests]
    # The first one, the one that was frozen, and one afterwards, of which AWS refuses the first attempt.
    assert (fetches, tokens) == (3, ["old", "old", "old", "new"])


def clock_in(path: Path) -> Callable[[float], None]:
    """Return a function that sets the clock of a child, also while that is frozen."""

    def set_to(seconds: float) -> None:
        content = struct.pack("d", seconds)
        if path.exists():
            with path.open("r+b") as file:
                file.write(content)
        else:
            path.write_bytes(content)

    return set_to


def version(number: str) -> Answer:
    """Return the answer with one version of the secret."""
    return Answer(
        body={
            "ARN": f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{NAME}-AbCdEf",
            "Name": NAME,
            "VersionId": number * 32,
            "SecretString": json.dumps({"version": number}),
            "VersionStages": ["AWSCURRENT"],
            "CreatedDate": CREATED,
        }
    )


def only_for(token: str, answer: Answer) -> Callable[[Request], Answer]:
    """Answer calls with one session token only; all others have expired."""

    def handler(request: Request) -> Answer:
        if request.headers["x-amz-security-token"] == token:
            return answer
        return Answer(status=400, body={"__type": "ExpiredTokenException", "Message": "No."})

    return handler
