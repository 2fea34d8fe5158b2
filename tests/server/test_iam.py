"""IAM tokens with credentials that come from servers: those of roles, of sources that renew them, and of dead ones."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from aiocredentials import CredentialsPool
from aiocredentials._aws import keys
from aiocredentials.errors import CredentialSourceError
from aiocredentials.iam import IamDatabaseCredentials
from aiocredentials.testing import FakeSecretsManager
from leaks.canary import TOKEN, LogKeeper, assert_silent, of_error, of_object, of_process
from server.programs import child
from server.sts import EXTERNAL_ID, HOUR, OTHER_ROLE, ROLE, RoleStub
from server.tls_servers import HTTPServer, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HOST = "app.cluster-x.eu-west-1.rds.amazonaws.com"


def database(pool: CredentialsPool, **more: Any) -> IamDatabaseCredentials:  # noqa: ANN401 - any of its arguments
    """Return tokens for a database."""
    return IamDatabaseCredentials(pool, **{"host": HOST, "port": 5432, "username": "app", **more})


def field(token: str, name: str) -> str:
    """Return a field of a token."""
    return parse_qs(urlsplit(f"//{token}").query)[name][0]


@pytest.fixture
async def sts(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RoleStub]:
    """An STS that assumes each role."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIABASE")
    async with RoleStub() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url())
        yield server


class TestRoles:
    """A role's credentials sign, if there is a role: the object's own, or the pool's."""

    async def test_own_role(self, sts: RoleStub) -> None:
        """It is assumed once, in the region of the database; a refusal assumes it again; tokens have its session."""
        async with CredentialsPool(role_arn=OTHER_ROLE) as pool:
            manager = database(pool, role_arn=ROLE, external_id=EXTERNAL_ID)
            made = await asyncio.gather(*(manager.get() for _ in range(3)))
            assert [field(one.password, "X-Amz-Credential")[:8] for one in made] == ["ASIA0001"] * 3
            assert field(made[0].password, "X-Amz-Security-Token")
            assert [(one.region, one.parameters["ExternalId"]) for one in sts.asked] == [("eu-west-1", EXTERNAL_ID)]
            for _ in range(3):
                manager.invalidate(if_version="ASIA0001")
            assert (await manager.secret()).version_id == "ASIA0002"
            assert (await database(pool).secret()).version_id == "ASIA0003"
            assert sts.asked[-1].parameters["RoleArn"] == OTHER_ROLE

    async def test_life(self, sts: RoleStub, monkeypatch: pytest.MonkeyPatch) -> None:
        """A token isn't valid for longer than the role's session."""
        async with CredentialsPool(role_arn=ROLE) as pool:
            secret = await database(pool).secret()
            near_the_end = datetime.now(UTC).timestamp() + HOUR - 300
            monkeypatch.setattr(keys, "now", lambda: near_the_end)
            token = database(pool).decoded(secret).password
        assert 200 <= int(field(token, "X-Amz-Expires")) <= 300
        assert len(sts.asked) == 1

    async def test_custom_session(self, sts: RoleStub) -> None:
        """Beside a session of one's own making, AWS's default chain assumes the role."""
        async with CredentialsPool(session=FakeSecretsManager({})) as pool:
            manager = database(pool, role_arn=ROLE)
            assert (await manager.secret()).version_id == "ASIA0001"
            manager.invalidate(if_version="ASIA0001")
            assert (await manager.secret()).version_id == "ASIA0002"
        assert [one.access_key for one in sts.asked] == ["AKIABASE"] * 2

    async def test_dead_sts(self, sts: RoleStub, monkeypatch: pytest.MonkeyPatch) -> None:
        """An STS that fails is a transient error that names the role, and is over when STS answers."""
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        sts.refuse("ServiceUnavailable", "later", status=503)
        async with CredentialsPool(role_arn=ROLE) as pool:
            with pytest.raises(CredentialSourceError, match=f"as role '{ROLE}'"):
                await database(pool).secret()
            assert (await database(pool).secret()).version_id == "ASIA0001"


class Container(HTTPServer):
    """The endpoint for containers: each answer has another access key."""

    def __init__(self) -> None:
        super().__init__(None)
        self.issued = 0
        self.life = HOUR

    def answer(self, _: object) -> Response:
        """Issue credentials."""
        self.issued += 1
        end = datetime.now(UTC) + timedelta(seconds=self.life)
        body = {
            "AccessKeyId": f"ASIA{self.issued}",
            "SecretAccessKey": TOKEN,
            "Token": TOKEN,
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return Response(json.dumps(body).encode(), 200, {"Content-Type": "application/json"})


@pytest.fixture
async def container(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Container]:
    """A container's source of credentials, which renews them."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    async with Container() as server:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url())
        yield server


@pytest.fixture
def _only_what_is_new() -> Iterator[None]:
    """Hide from the collector's list what was there before, so that looking through it is quick."""
    gc.freeze()
    yield
    gc.unfreeze()


class TestSources:
    """AWS credentials that expire renew themselves."""

    async def test_renewal(self, container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
        """New ones are a new version, for which nobody waits; a token of the old ones ends with them."""
        # botocore itself renews what ends within 10 minutes at each use.
        container.life = 420
        async with CredentialsPool() as pool:
            manager = database(pool)
            old = await manager.secret()
            assert [(await manager.secret()).version_id for _ in range(100)] == ["ASIA2"] * 100
            assert container.issued == 2
            container.life = HOUR
            near_the_end = datetime.now(UTC).timestamp() + 340
            monkeypatch.setattr(keys, "now", lambda: near_the_end)
            assert [(await manager.secret()).version_id for _ in range(100)] == ["ASIA2"] * 100
            work = pool._session._loops.get().of(None).current._shared
            while work.is_under_way:
                await asyncio.wait(set(work._tasks))
            assert container.issued == 3
            new = await manager.secret()
            assert new.version_id == "ASIA3"
            assert 60 <= int(field(manager.decoded(old).password, "X-Amz-Expires")) <= 80
            assert field(manager.decoded(new).password, "X-Amz-Expires") == "900"

    async def test_dead_source(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A source that is gone is a transient error; as soon as it answers, there are tokens."""
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "1")
        async with Container() as server:
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.url())
            url = server.url()
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        monkeypatch.setattr("aiobotocore.utils.AioContainerMetadataFetcher.SLEEP_TIME", 0, raising=False)
        async with CredentialsPool(timeout=5) as pool:
            with pytest.raises(CredentialSourceError, match="Check the agent"):
                await database(pool).secret()
            async with Container() as back:
                monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", back.url())
                assert (await database(pool).secret()).version_id == "ASIA1"

    @pytest.mark.usefixtures("_only_what_is_new")
    @pytest.mark.parametrize("redact", [True, False])
    async def test_nothing_is_shown(self, container: Container, redact: bool) -> None:  # noqa: FBT001 - a parameter
        """Neither secret key nor session token is in logs, reprs, errors, frames or tasks."""
        with LogKeeper() as logs:
            async with CredentialsPool(redact_wire_logs=redact) as pool:
                manager = database(pool)
                secret = await manager.secret()
                made = manager.decoded(secret)
                printed = [*of_object(secret), *of_object(manager), *of_object(made), *of_process()]
                printed += of_object(secret._keys)  # type: ignore[attr-defined]
                with pytest.raises(TypeError) as caught:
                    manager.decoded(made)  # type: ignore[arg-type]
                printed += of_error(caught.value)
        assert container.issued == 1
        if redact:
            printed += logs.texts
        assert_silent(iter(printed))


async def test_threads() -> None:
    """Loops in several threads share a manager; a refusal in one of them is for all that have the same key."""
    ids: list[str] = []

    async with CredentialsPool() as pool:
        manager = database(pool)

        def read() -> None:
            ids.append(asyncio.run(read_twice()))

        async def read_twice() -> str:
            first = await manager.secret()
            manager.invalidate(if_version=first.version_id)
            return (await manager.secret()).version_id

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert (await manager.secret()).version_id == "testing"
        await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    assert ids == ["testing"] * 3


FORK = """
import asyncio, os, warnings
from aiocredentials import CredentialsPool
from aiocredentials.iam import IamDatabaseCredentials

# Python 3.12 warns of forks beside threads; asyncio.run leaves one that is about to end.
warnings.simplefilter("ignore", DeprecationWarning)
pool = CredentialsPool(timeout=60)
database = IamDatabaseCredentials(pool, host="a.b.eu-west-1.rds.amazonaws.com", port=5432, username="app")

async def token():
    await pool.open()
    return (await database.get()).password.partition("&X-Amz")[0]

before = asyncio.run(token())
pid = os.fork()
if not pid:
    os._exit(asyncio.run(token()) != before)
print(before, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif("not hasattr(os, 'fork')", reason="Windows has no fork")
async def test_fork() -> None:
    """A child that is forked afterwards makes tokens with AWS credentials that it has loaded itself."""
    answer = await child(FORK)
    assert answer.split() == ["a.b.eu-west-1.rds.amazonaws.com:5432/?Action=connect&DBUser=app", "0"]
