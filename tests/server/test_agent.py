"""`LocalAgent` against an agent of each version: values, errors, the token, connections, and what is missing."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import (
    AccessDeniedError,
    AsyncCredentialsManager,
    AuthenticationError,
    AWSError,
    CachePolicy,
    CredentialsError,
    CredentialSourceError,
    CredentialsPool,
    EndpointUnreachableError,
    InternalServiceError,
    InvalidParameterError,
    InvalidRegionError,
    MalformedResponseError,
    Secret,
    SecretNotFoundError,
    ThrottledError,
)
from aiocredentials._agent import client as agent_client, http, slots, state
from aiocredentials._agent.client import AgentClient
from aiocredentials.agent import LocalAgent
from aiocredentials.testing import FakeSecretsManager
from server.agent_stub import TOKEN, AgentStub
from server.fault_server import FAULTS, FaultServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NAME = "prod/database"
ODD = "prod/a b&c=d+e%2Fé/@.!-x"
VALUE = json.dumps({"password": "mock_password"})
VERSIONS = [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]
ROLE = "arn:aws:iam::123456789012:role/reader"


@pytest.fixture
async def stub() -> AsyncIterator[AgentStub]:
    """An agent of the newest version, with one secret."""
    async with AgentStub() as server:
        server.set(NAME, VALUE)
        yield server


def agent_of(stub: AgentStub | FaultServer, **more: Any) -> LocalAgent:  # noqa: ANN401 (LocalAgent's own)
    """Return a session for a stub."""
    return LocalAgent(stub.url, **{"token": TOKEN, "region_name": "us-east-1", **more})


def pool_of(stub: AgentStub | FaultServer, **more: Any) -> CredentialsPool:  # noqa: ANN401 (LocalAgent's own)
    """Return a pool that asks a stub."""
    return CredentialsPool(session=agent_of(stub, **more))


async def failure_of(pool: CredentialsPool, name: str = NAME) -> CredentialsError:
    """Return the error of a read."""
    with pytest.raises(CredentialsError) as caught:
        await pool.manager(name, decode=str).get()
    error = caught.value
    assert "mock_" not in str(error)
    assert (error.__cause__, error.__context__) == (None, None)
    return error


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_value(version: tuple[int, int]) -> None:
    """Each version's answer becomes a secret with all that is known of it, whatever its name needs in a URL."""
    async with AgentStub(version) as stub, pool_of(stub) as pool:
        for name in (NAME, ODD):
            stub.set(name, VALUE)
            secret = await pool.manager(name).secret()
            assert (secret.name, secret.region, secret.version_stages) == (name, "us-east-1", ("AWSCURRENT",))
            assert secret.created_at is not None
            assert secret.created_at.isoformat() == "2019-09-26T21:53:09.046000+00:00"
            assert secret.version_id.startswith("00000001-")
            assert secret.reveal() == VALUE
        assert stub.gets() == [{"secretId": NAME}, {"secretId": ODD}]


async def test_a_binary_value(stub: AgentStub) -> None:
    """Bytes come as base64."""
    stub.set("binary", b"\x00\xff")
    async with pool_of(stub) as pool:
        assert (await pool.manager("binary").secret()).reveal_bytes() == b"\x00\xff"


async def test_versions_and_labels(stub: AgentStub) -> None:
    """A version id and another label are asked; the default label isn't, so all processes share one entry."""
    version = "11111111-2222-4333-8444-555555555555"
    async with pool_of(stub) as pool:
        await pool.manager(NAME).secret(version_id=version)
        await pool.manager(NAME, version_stage="AWSPENDING").secret()
    assert stub.gets()[1] == {"secretId": NAME, "versionStage": "AWSPENDING"}
    assert stub.gets()[0]["versionId"] == version


async def test_an_answer_without_a_version(stub: AgentStub) -> None:
    """A null VersionId is one that changes with the date, and labels that are left out are those that were asked."""
    stub.change = lambda answer: {**answer, "VersionId": None, "VersionStages": None, "SecretBinary": None}
    async with pool_of(stub) as pool:
        secret = await pool.manager(NAME).secret()
        assert (secret.version_id, secret.version_stages) == ("unknown-1569534789.046", ("AWSCURRENT",))


async def test_past_the_agents_cache(stub: AgentStub) -> None:
    """A rotated secret comes from the agent's cache, and past it after `invalidate()` and by `refresh()`."""
    async with pool_of(stub) as pool:
        manager = pool.manager(NAME, decode=str)
        assert await manager.get() == VALUE
        stub.set(NAME, "new")
        version = (await manager.secret()).version_id
        manager.invalidate(if_version=version)
        assert await manager.get() == "new"
        stub.set(NAME, "newer")
        assert (await manager.refresh()).reveal() == "newer"
    assert [query.get("refreshNow") for query in stub.gets()] == [None, "true", "true"]


async def test_a_version_that_is_no_longer_cached(stub: AgentStub) -> None:
    """A version that was evicted here may still be in the agent's cache: the next fetch asks past it."""
    policy = CachePolicy(refresh_ahead=None)
    async with CredentialsPool(session=agent_of(stub), policy=policy, max_secrets=1) as pool:
        stub.set("other", VALUE)
        manager = pool.manager(NAME, decode=str)
        version = (await manager.secret()).version_id
        await pool.manager("other").get()
        stub.set(NAME, "new")
        # Also where no loop runs.
        await asyncio.to_thread(manager.invalidate, if_version=version)
        assert await manager.get() == "new"
        fetches = stub.fetches
        await pool.manager("other").get()
        assert stub.fetches == fetches


async def test_past_the_agents_cache_without_our_own(stub: AgentStub) -> None:
    """The same with `policy=None`, where the agent's cache is the only one; and in a batch."""
    async with CredentialsPool(session=agent_of(stub), policy=None) as pool:
        manager = pool.manager(NAME, decode=str)
        await manager.get()
        stub.set(NAME, "new")
        manager.invalidate()
        assert [await manager.get(), await manager.get()] == ["new", "new"]
        assert (await manager.refresh()).reveal() == "new"
    assert [query.get("refreshNow") for query in stub.gets()] == [None, "true", None, "true"]


async def test_an_agent_that_cannot_be_asked_past_its_cache(caplog: pytest.LogCaptureFixture) -> None:
    """Before 1.1 it returns what it has; that is remembered for all clients, and logged once."""
    async with AgentStub((1, 0)) as stub:
        stub.set(NAME, VALUE)
        agent = agent_of(stub)
        for _ in range(2):
            async with CredentialsPool(session=agent) as pool:
                manager = pool.manager(NAME, decode=str)
                await asyncio.gather(manager.get(), manager.refresh())
        assert [query.get("refreshNow") for query in stub.gets()].count("true") == 1
    [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "older than 1.1" in record.getMessage()


async def test_refreshes_at_once_of_an_agent_that_cannot(caplog: pytest.LogCaptureFixture) -> None:
    """Requests that were under way when it was noticed are sent once more as well."""
    async with AgentStub((1, 0)) as stub, pool_of(stub) as pool:
        stub.gate = asyncio.Event()
        managers = []
        for number in range(4):
            stub.set(f"name/{number}", VALUE)
            managers.append(pool.manager(f"name/{number}"))
        refreshes = [asyncio.create_task(manager.refresh()) for manager in managers]
        await stub.arrived.wait()
        stub.gate.set()
        assert [secret.reveal() for secret in await asyncio.gather(*refreshes)] == [VALUE] * 4
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1


async def test_an_agent_that_is_upgraded(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """An old agent is asked past its cache again after an hour: it may have been upgraded meanwhile."""
    now = 0.0
    monkeypatch.setattr(state, "_now", lambda: now, raising=False)
    async with AgentStub((1, 0)) as stub, pool_of(stub) as pool:
        stub.set(NAME, "old")
        manager = pool.manager(NAME, decode=str)
        await manager.refresh()
        now = 3600.0
        await manager.refresh()
        stub.version = (3, 0)
        stub.set(NAME, "new")
        now += 3599.0
        assert (await manager.refresh()).reveal() == "old"
        now += 1.0
        assert (await manager.refresh()).reveal() == "new"
        assert (await manager.refresh()).reveal() == "new"
    asked = [query.get("refreshNow") for query in stub.gets()]
    assert asked == ["true", None, "true", None, None, "true", "true"]
    assert len([one for one in caplog.records if one.levelno == logging.WARNING]) == 1


async def test_roles() -> None:
    """A role is sent since 2.1; an older agent is named by the error."""
    async with AgentStub() as stub, pool_of(stub, role_arn=ROLE) as pool:
        stub.set(NAME, VALUE)
        await pool.manager(NAME).get()
        assert stub.gets() == [{"secretId": NAME, "roleArn": ROLE}]
    async with AgentStub((2, 0)) as stub, pool_of(stub, role_arn=ROLE) as pool:
        error = await failure_of(pool)
        assert isinstance(error, InvalidParameterError)
        assert "2.1" in str(error)


async def test_prefetch(stub: AgentStub) -> None:
    """Without batches, secrets are fetched singly, with a few connections, and then nothing is asked again."""
    names = [f"name/{number}" for number in range(50)]
    for name in names:
        stub.set(name, VALUE)
    async with pool_of(stub, connections=3) as pool:
        await pool.prefetch(*names)
        assert (len(stub.gets()), stub.connections, stub.most_at_once <= 3) == (50, 3, True)
        await pool.manager(names[7]).get()
        assert len(stub.gets()) == 50


async def test_prefetch_beyond_the_agents_limit(stub: AgentStub) -> None:
    """Connections over the limit are closed, and their requests wait for the others: none fails."""
    stub.max_conn = 2
    names = [f"name/{number}" for number in range(40)]
    for name in names:
        stub.set(name, VALUE)
    async with pool_of(stub) as pool:
        await pool.prefetch(*names)
        assert pool.stats().failures == 0
        assert stub.connections <= 10


@pytest.mark.parametrize(("allowed", "reads"), [(1, 2), (2, 3), (3, 8), (7, 8)])
async def test_reads_beyond_the_agents_limit(stub: AgentStub, allowed: int, reads: int) -> None:
    """A read over the limit waits for another connection, and only that one connection was made in vain."""
    stub.max_conn = allowed
    async with pool_of(stub) as pool:
        await pool.manager(NAME).get()
        stub.gate = asyncio.Event()
        managers = []
        for number in range(reads):
            stub.set(f"name/{number}", VALUE)
            managers.append(pool.manager(f"name/{number}"))
        tasks = [asyncio.create_task(manager.secret()) for manager in managers]
        while len(stub.asked) < 1 + reads:
            stub.arrived.clear()
            await stub.arrived.wait()
        while stub.open > allowed:
            stub.left.clear()
            await stub.left.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        stub.gate.set()
        assert [secret.reveal() for secret in await asyncio.gather(*tasks)] == [VALUE] * reads
        assert stub.connections == reads


async def test_no_connection_left(stub: AgentStub) -> None:
    """Where the agent accepts none, one more attempt is made on a new one; the error is transient."""
    stub.max_conn = 0
    async with pool_of(stub, connections=1) as pool:
        error = await failure_of(pool)
        assert isinstance(error, ThrottledError)
        assert "max_conn" in str(error)
        assert stub.connections == 2
        stub.max_conn = 1
        await pool.manager(NAME).get()


async def test_slots_grow_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some time after a refusal, one more connection is tried."""
    now = 0.0
    monkeypatch.setattr(slots, "_now", lambda: now)
    some = slots.Slots(2)
    async with some:
        async with some:
            assert some.shrink()
        assert (some.size, some.shrink()) == (1, False)
    now = 31.0
    async with some, some:
        assert some.size == 2


async def test_slots_that_are_left() -> None:
    """After a refusal there are as many slots as other requests are under way, whatever was free before."""
    some = slots.Slots(8)
    async with some, some:
        async with some:
            assert some.shrink()
        assert some.size == 2
        waiting = asyncio.create_task(some.__aenter__())
        given_up = asyncio.create_task(some.__aenter__())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not waiting.done()
        given_up.cancel()
    await waiting
    assert (some.size, some.shrink(), some.size) == (2, False, 1)
    await some.__aexit__()


async def test_an_end_of_the_connection(stub: AgentStub) -> None:
    """The agent ends each connection after a minute: the request is sent once more."""
    async with CredentialsPool(session=agent_of(stub), policy=None) as pool:
        manager = pool.manager(NAME)
        await manager.get()
        await stub.drop_connections()
        await manager.get()
        assert stub.connections == 2


async def test_a_wrong_token(stub: AgentStub) -> None:
    """The error is about the agent's token, not about AWS credentials, and shows neither token."""
    async with pool_of(stub, token="mock_wrong") as pool:
        error = await failure_of(pool)
    assert type(error) is AuthenticationError
    assert (error.asked, error.transient) == (False, False)
    assert "the token argument" in str(error)
    assert "not about AWS credentials" in str(error)


async def test_a_new_token(stub: AgentStub, tmp_path: Path) -> None:
    """A file is read again when the agent was started again with another token."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    async with CredentialsPool(session=agent_of(stub, token=file), policy=None) as pool:
        manager = pool.manager(NAME)
        await manager.get()
        stub.token = "mock_second"
        file.write_text("mock_second")
        await asyncio.gather(manager.get(), manager.get())
        stub.token = "mock_third"
        error = await failure_of(pool)
        assert type(error) is AuthenticationError
        assert str(file) in str(error)
        file.unlink()
        error = await failure_of(pool)
        assert type(error) is CredentialSourceError
        assert error.transient


@pytest.mark.parametrize("variable", ["AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"])
@pytest.mark.parametrize("form", ["itself", "file"])
async def test_tokens_of_the_environment(
    stub: AgentStub, variable: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable may have the token, or say which file has it."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    monkeypatch.setenv(variable, f"file://{file}" if form == "file" else TOKEN)
    async with pool_of(stub, token=None) as pool:
        await pool.manager(NAME).get()


async def test_no_token(stub: AgentStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says where a token was looked for; a file that isn't there yet is transient."""
    monkeypatch.setattr("aiocredentials._agent.tokens.DEFAULT_FILE", str(tmp_path / "none"))
    async with pool_of(stub, token=None) as pool:
        error = await failure_of(pool)
        assert isinstance(error, CredentialSourceError)
        assert re.search("none.*AWS_TOKEN, AWS_SESSION_TOKEN", str(error))
    async with pool_of(stub, token=tmp_path / "none") as pool:
        error = await failure_of(pool)
        assert isinstance(error, CredentialSourceError)
        assert "AWS_SESSION_TOKEN" not in str(error)
    for text, cls in (("", CredentialSourceError), ("mock\nx", AuthenticationError), ("mock_é", AuthenticationError)):
        (tmp_path / "bad").write_text(text)
        async with pool_of(stub, token=tmp_path / "bad") as pool:
            error = await failure_of(pool)
            assert type(error) is cls
            assert error.asked is False
    async with pool_of(stub, token=tmp_path) as pool:
        assert "can't be read from" in str(await failure_of(pool))
    monkeypatch.setenv("AWS_TOKEN", "mock\ntoken")
    async with pool_of(stub, token=None) as pool:
        assert "AWS_TOKEN is empty" in str(await failure_of(pool))
    assert not stub.asked


async def test_another_region(stub: AgentStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region that the agent doesn't ask is refused: before the call if it is known, else by the answer's ARN."""
    arn = f"arn:aws:secretsmanager:eu-west-1:123456789012:secret:{NAME}-AbCdEf"
    async with pool_of(stub) as pool:
        error = await failure_of(pool, arn)
        assert isinstance(error, InvalidParameterError)
        assert not stub.asked
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    async with pool_of(stub, region_name=None) as pool:
        error = await failure_of(pool)
        assert isinstance(error, InvalidParameterError)
        assert "only for the region 'us-east-1', but 'eu-west-1' was asked" in str(error)
    monkeypatch.delenv("AWS_REGION")
    async with pool_of(stub, region_name=None) as pool:
        error = await failure_of(pool)
        assert isinstance(error, InvalidRegionError)
        assert "region_name" in str(error)


async def test_replica_regions(stub: AgentStub) -> None:
    """They are of no use, as the page says: a call raises the error of the primary region."""
    stub.errors[NAME] = ("InternalFailure", "", 500)
    session = agent_of(stub)
    async with CredentialsPool("us-east-1", session=session, replica_regions=["eu-west-1"]) as pool:
        error = await failure_of(pool)
    assert isinstance(error, InternalServiceError)
    assert "eu-west-1 (InvalidParameterError)" in str(error)


ERRORS = {
    ("ResourceNotFoundException", "Secrets Manager can't find it.", 400): SecretNotFoundError,
    ("com.amazonaws#AccessDeniedException", 'User "a" is\nnot {allowed}', 400): AccessDeniedError,
    ("UnrecognizedClientException", "The token is invalid.", 400): AuthenticationError,
    ("ThrottlingException", "Rate exceeded", 400): ThrottledError,
    ("ConnectionError", "Read Error", 502): InternalServiceError,
    ("TimeoutError", "Timeout", 504): InternalServiceError,
    ("InternalFailure", "", 500): InternalServiceError,
    ("MaxRolesExceeded", "The maximum number", 400): AWSError,
}
ADVICE = {
    AccessDeniedError: "role of the agent, not of this process",
    AuthenticationError: "credentials of the agent, not of this process",
    InternalServiceError: "The agent got no usable answer",
    AWSError: "max_roles",
}


@pytest.mark.parametrize("version", [(1, 0), (3, 0)])
@pytest.mark.parametrize(("error", "cls"), ERRORS.items(), ids=[code for code, *_ in ERRORS])
async def test_errors_of_aws(
    version: tuple[int, int], error: tuple[str, str, int], cls: type[CredentialsError]
) -> None:
    """AWS's errors have the classes that they have without an agent, and advice for the operator of one."""
    async with AgentStub(version) as stub, pool_of(stub) as pool:
        stub.set(NAME, VALUE)
        stub.errors[NAME] = error
        found = await failure_of(pool)
    assert isinstance(found, cls)
    assert found.code == error[0].rpartition("#")[2]
    assert ADVICE.get(cls, "") in str(found)


async def test_what_the_agent_cannot_do(stub: AgentStub) -> None:
    """It can't describe a secret, and says so."""
    async with pool_of(stub) as pool:
        with pytest.raises(AWSError, match="can't describe a secret") as caught:
            await pool.manager(NAME).describe()
    assert caught.value.code == "UnknownOperationException"
    assert "without LocalAgent" in str(caught.value)


async def test_no_agent(stub: AgentStub) -> None:
    """The error asks whether the agent is running, and says nothing of proxies."""
    async with pool_of(stub) as pool:
        await stub.__aexit__()
        error = await failure_of(pool)
        assert isinstance(error, EndpointUnreachableError)
        assert "Is the agent running?" in str(error)
        assert "proxy" not in str(error)
        with pytest.raises(EndpointUnreachableError, match="Is the agent running"):
            await agent_of(stub).ping()


@pytest.mark.parametrize(
    "answer", [(400, "not ready to serve traffic, please wait"), (503, "Serving not enabled. ...")]
)
async def test_during_init(stub: AgentStub, answer: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lambda's extension isn't ready before INIT has ended: the request is sent again after short pauses."""
    pauses: list[float] = []

    async def sleep(duration: float) -> None:
        pauses.append(duration)
        stub.ready = len(pauses) == 3

    monkeypatch.setattr(agent_client, "sleep", sleep)
    stub.ready, stub.not_ready = False, answer
    async with pool_of(stub) as pool:
        await pool.manager(NAME).get()
        assert len(pauses) == 3
        stub.ready = False
        pauses += [0.1] * 10
        pool.manager(NAME).invalidate()
        error = await failure_of(pool)
        assert isinstance(error, EndpointUnreachableError)
        assert "in the handler" in str(error)
        assert 50 <= len(pauses) - 13 <= 51


async def test_no_extension_yet(stub: AgentStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Lambda, a connection that is refused may be accepted a little later."""
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "function")
    pauses = 0

    async def sleep(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 2:
            stub._server = await asyncio.start_server(stub._connected, "127.0.0.1", stub.port)

    monkeypatch.setattr(agent_client, "sleep", sleep)
    await stub.__aexit__()
    async with pool_of(stub) as pool:
        await pool.manager(NAME).get()
    assert pauses == 2


async def test_ping(stub: AgentStub) -> None:
    """A health check needs no token, and finds out whether it is the agent that answers."""
    await agent_of(stub, token="mock_wrong").ping()
    assert "x-aws-parameters-secrets-token" not in stub.asked[0].headers
    stub.max_conn = -3
    with pytest.raises(MalformedResponseError, match="429"):
        await agent_of(stub).ping()


async def test_ping_of_an_agent_that_hangs() -> None:
    """A health check takes no longer than its timeout."""
    async with FaultServer() as server:
        await server.break_with("speaks first")
        with pytest.raises(MalformedResponseError, match="isn't HTTP"):
            await agent_of(server).ping()
    writers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(EndpointUnreachableError, match=r"within 0\.05 s"):
        await LocalAgent(f"http://127.0.0.1:{port}").ping(timeout=0.05)
    silent.close()
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)


async def test_requests(stub: AgentStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy is used, nothing is forwarded, and the token is in the one header."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with pool_of(stub) as pool:
        await pool.manager(NAME).get()
    [asked] = stub.asked
    assert asked.headers["x-aws-parameters-secrets-token"] == TOKEN
    assert "x-forwarded-for" not in asked.headers


async def test_a_manager_of_its_own(stub: AgentStub) -> None:
    """Without a pool, each call opens its connection and closes it."""
    manager = AsyncCredentialsManager(NAME, session=agent_of(stub), policy=None)
    for _ in range(2):
        assert await manager.get() == {"password": "mock_password"}
    assert stub.connections == 2


async def test_cancellation(stub: AgentStub) -> None:
    """A caller that is cancelled is gone at once, and its connection isn't used for the next answer."""
    stub.gate = asyncio.Event()
    async with CredentialsPool(session=agent_of(stub), policy=None) as pool:
        task = asyncio.create_task(pool.manager(NAME).get())
        await stub.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        stub.gate.set()
        await pool.manager(NAME).get()
    assert stub.connections == 2


async def test_a_loop_that_ends_too_early(stub: AgentStub) -> None:
    """The sockets of a loop that was closed before its pool are closed with the pool, without a complaint."""

    async def leave() -> CredentialsPool:
        pool = pool_of(stub)
        await pool.__aenter__()
        await pool.manager(NAME).get()
        return pool

    pool = await asyncio.to_thread(asyncio.run, leave())
    assert not stub.left.is_set()
    await pool.aclose()
    await asyncio.wait_for(stub.left.wait(), 5)
    gc.collect()


def test_a_loop_that_ends_too_early_with_another_session() -> None:
    """A session of the user's own, whose clients can't be abandoned, is left alone."""

    async def leave() -> CredentialsPool:
        pool = CredentialsPool(session=FakeSecretsManager({NAME: VALUE}))
        await pool.__aenter__()
        await pool.manager(NAME).get()
        return pool

    asyncio.run(asyncio.run(leave()).aclose())


async def test_a_slow_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that says nothing is an agent that can't be reached, with the advice for one."""
    monkeypatch.setattr(http, "READ", 0.05)
    async with FaultServer() as server, pool_of(server) as pool:
        await server.break_with("slow first byte")
        error = await failure_of(pool)
    assert isinstance(error, EndpointUnreachableError)
    assert "gave no answer: it sent nothing for 0.05 s." in str(error)


async def test_an_agent_that_accepts_no_connection(stub: AgentStub, monkeypatch: pytest.MonkeyPatch) -> None:
    """If no connection is made in time, the error says so, with the seconds that connecting may take."""

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(http, "CONNECT", 0.05)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    async with pool_of(stub) as pool:
        error = await failure_of(pool)
    assert isinstance(error, EndpointUnreachableError)
    assert "gave no answer: no connection within 0.05 s." in str(error)


async def test_a_deadline(stub: AgentStub) -> None:
    """A call that takes longer than its deadline has the agent's advice, too."""
    stub.gate = asyncio.Event()
    async with CredentialsPool(session=agent_of(stub), timeout=0.1) as pool:
        error = await failure_of(pool)
    assert isinstance(error, EndpointUnreachableError)
    assert "within 0.1 s" in str(error)
    assert "Is the agent running?" in str(error)
    assert "proxy" not in str(error)


async def test_abandoning_before_a_request() -> None:
    """A client without a connection has nothing to close."""
    AgentClient(LocalAgent()._state, "us-east-1").abandon()


QUICK = [name for name, fault in FAULTS.items() if not fault.hangs]


async def meet(fault: str, deadline: float) -> None:
    """Meet a fault with an empty cache and with a stale value, and recover."""
    now = 1000.0
    policy = CachePolicy(ttl=10, jitter=0, refresh_ahead=None, patience=deadline + 1, max_stale=100, negative_ttl=0)
    async with FaultServer() as server:
        session = agent_of(server)
        async with CredentialsPool(session=session, policy=policy, timeout=deadline, clock=lambda: now) as pool:
            await server.break_with(fault)
            manager = pool.manager(NAME)
            start = time.monotonic()
            result: Any
            try:
                result = await manager.secret()
            except CredentialsError as error:
                result = error
            assert time.monotonic() - start < deadline + 3
            assert server.fired[fault]
            if isinstance(result, CredentialsError):
                shown = f"{result!r} {vars(result)}"
                assert "edition" not in shown
                assert TOKEN not in shown
            await server.heal(edition=2)
            await server.quiet()
            for _ in range(2):
                manager.invalidate()
                assert json.loads((await manager.secret()).reveal())["secret"] == NAME
            assert server.strays == 0
            if fault in {"closed once", "reset once", "idle drop"}:
                assert isinstance(result, Secret)
            if isinstance(result, MalformedResponseError | EndpointUnreachableError | InternalServiceError):
                assert result.transient


@pytest.mark.parametrize("fault", [*QUICK, "stalled body"])
async def test_faults(fault: str) -> None:
    """Each fault ends in a value or in one of our errors, without a value or the token in it, and is over after it."""
    await meet(fault, 5.0 if fault in QUICK else 0.2)


@pytest.mark.exhaustive
@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in QUICK])
async def test_faults_that_hang(fault: str) -> None:
    """The same for those that only a deadline ends."""
    await meet(fault, 0.5)
