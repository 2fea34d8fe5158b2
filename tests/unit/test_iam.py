"""IAM tokens: their form and life, one per connection, and what happens when AWS credentials are refused."""

from __future__ import annotations

import asyncio
import copy
import pickle
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import botocore.session
import pytest
from aiobotocore.credentials import AioDeferredRefreshableCredentials, AioRefreshableCredentials
from botocore import auth
from botocore.credentials import Credentials
from botocore.model import ServiceId
from botocore.signers import RequestSigner

from aiocredentials import CredentialsPool, DatabaseCredentials, RedisCredentials
from aiocredentials._aws import chain, keys
from aiocredentials._aws.assuming import AssumedRole, RoleCredentials
from aiocredentials._aws.clients import Clients
from aiocredentials._aws.key_gateway import keys_request
from aiocredentials._aws.keys import AwsKeys
from aiocredentials._aws.regions import Region
from aiocredentials._aws.roles import Role
from aiocredentials._aws.settings import ClientSettings
from aiocredentials._iam import generations
from aiocredentials._iam.generations import TokenManager
from aiocredentials._rotation.waits import Waits
from aiocredentials._rotation.words import words_of
from aiocredentials.errors import (
    AuthenticationError,
    CredentialsError,
    CredentialSourceError,
    PoolClosedError,
    SecretNotFoundError,
)
from aiocredentials.iam import IamCacheCredentials, IamDatabaseCredentials
from aiocredentials.integrations._redis_versions import Versions
from aiocredentials.rotation import connect_through_rotation, rotations_watched
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOST = "app.cluster-x.eu-west-1.rds.amazonaws.com"
FROZEN = datetime(2027, 3, 4, 5, 6, 7, tzinfo=UTC)
REFUSED = "password authentication failed"


class RefusedError(Exception):
    """A server's refusal."""

    sqlstate = "28P01"


def database(pool: CredentialsPool, **more: Any) -> IamDatabaseCredentials:  # noqa: ANN401 - any of its arguments
    """Return tokens for a database."""
    return IamDatabaseCredentials(pool, **{"host": HOST, "port": 5432, "username": "app", **more})


def field(token: str, name: str) -> str:
    """Return a field of a token."""
    return parse_qs(urlsplit(f"//{token}").query)[name][0]


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Stop the clock by which botocore signs; a test may move it."""
    times = [FROZEN]
    monkeypatch.setattr(auth, "get_current_datetime", lambda: times[0].replace(tzinfo=None))
    return times


@pytest.fixture
def credentials_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that rolls the AWS credentials: it writes an access key to the file that has them."""

    def write(access_key: str) -> None:
        text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = of-{access_key}\n"
        (tmp_path / "rolling").write_text(text, encoding="utf-8")

    write("AKIA1")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "rolling"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    return write


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Note each search for AWS credentials."""
    searched: list[object] = []
    resolve = chain.resolve

    async def noting(get_credentials: Any, core: Any) -> Any:  # noqa: ANN401 - botocore's
        if core._credentials is None:
            searched.append(core)
        return await resolve(get_credentials, core)

    monkeypatch.setattr(chain, "resolve", noting)
    return searched


@cache
def rds() -> Any:  # noqa: ANN401 - a client of botocore
    """Return botocore's client for RDS, whose model is slow to read."""
    return botocore.session.Session().create_client("rds", region_name="us-east-1")


class TestToken:
    """A token is what AWS's own code would make at the same moment."""

    @pytest.mark.usefixtures("frozen")
    @pytest.mark.parametrize("session_token", [None, "session/token=+"])
    @pytest.mark.parametrize(("username", "port"), [("app", 5432), ("a user@x/&=%ü", 3306)])
    async def test_of_a_database(
        self, username: str, port: int, session_token: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """For a database it equals the one of botocore's client for RDS."""
        if session_token:
            monkeypatch.setenv("AWS_SESSION_TOKEN", session_token)
        monkeypatch.setattr(rds()._request_signer, "_credentials", Credentials("testing", "testing", session_token))
        async with CredentialsPool() as pool:
            made = await database(pool, username=username, port=port, dbname="shop").get()
        assert made.password == rds().generate_db_auth_token(HOST, port, username, "eu-west-1")
        assert type(made) is DatabaseCredentials
        assert (made.username, made.host, made.port, made.dbname) == (username, HOST, port, "shop")

    @pytest.mark.usefixtures("frozen")
    @pytest.mark.parametrize(
        ("service", "serverless"), [("elasticache", False), ("elasticache", True), ("memorydb", False)]
    )
    async def test_of_a_cache(self, service: Any, serverless: bool) -> None:  # noqa: ANN401, FBT001 - parameters
        """For a cache it is the address of AWS's documentation, signed as botocore signs addresses."""
        credentials = Credentials("testing", "testing")
        # The signer refers to the emitter weakly.
        emitter = botocore.session.Session().get_component("event_emitter")
        signer = RequestSigner(ServiceId(service), "eu-west-1", service, "v4", credentials, emitter)
        query = "Action=connect&User=app" + "&ResourceType=ServerlessCache" * serverless
        request = {"method": "GET", "url": f"https://my-cache/?{query}", "body": {}, "headers": {}, "context": {}}
        expected = signer.generate_presigned_url(request, "connect", expires_in=900)
        async with CredentialsPool("eu-west-1") as pool:
            cache = IamCacheCredentials(
                pool, cache_name="my-cache", username="app", service=service, serverless=serverless
            )
            made = await cache.get()
        assert made == RedisCredentials(username="app", password=expected.removeprefix("https://"))
        assert made.password.startswith(f"my-cache/?{query}&X-Amz-Algorithm=AWS4-HMAC-SHA256&")

    async def test_one_per_connection(self, frozen: list[datetime]) -> None:
        """Each attempt to connect has a token of its moment, also where an adapter has an object per version."""
        async with CredentialsPool() as pool:
            manager = database(pool)
            secret = await manager.secret()
            versions = Versions(manager)
            first = manager.decoded(secret).password
            in_redis = versions.decoded(secret).get_credentials()
            frozen[0] = FROZEN.replace(minute=59)
            second = manager.decoded(secret).password
            later = versions.decoded(secret).get_credentials()
        assert field(first, "X-Amz-Date") == "20270304T050607Z"
        assert field(second, "X-Amz-Date") == "20270304T055907Z"
        assert in_redis == ("app", first)
        assert later == ("app", second)

    @pytest.mark.parametrize(("end", "life"), [(None, 900), (5_000.0, 900), (1_600.9, 600), (1_000.0, 1), (1.0, 1)])
    def test_life(self, end: float | None, life: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """A token is valid for 15 minutes, but no longer than the AWS credentials that it was signed with."""
        monkeypatch.setattr(keys, "now", lambda: 1_000.0)
        made = AwsKeys(Credentials("AKIA", "secret").get_frozen_credentials(), end)
        token = made.signed_url("https://host/", {}, service="rds-db", region_name="eu-west-1")
        assert field(token.removeprefix("https://"), "X-Amz-Expires") == str(life)

    def test_keys_that_cannot_sign(self) -> None:
        """A secret key that isn't text is an error that shows nothing of it."""
        made = AwsKeys(Credentials("AKIA", "sec\udcffret").get_frozen_credentials(), None)
        with pytest.raises(AuthenticationError, match=r"access key 'AKIA' can't sign\.") as caught:
            made.signed_url("https://host/", {}, service="rds-db", region_name="eu-west-1")
        assert caught.value.__context__ is None

    async def test_of_something_else(self) -> None:
        """A version that another manager has returned is refused, as is a subclass without a form."""
        async with CredentialsPool(session=FakeSecretsManager({"name": "value"})) as pool:
            other = await pool.manager("name").secret()
            with pytest.raises(TypeError, match=r"secret is a Secret: give the return value of secret"):
                database(pool).decoded(other)
            with pytest.raises(NotImplementedError):
                TokenManager.decoded(database(pool), other)


class TestRegion:
    """The region is a part of the signature."""

    @pytest.mark.parametrize(
        ("host", "region_name", "region"),
        [
            (HOST, None, "eu-west-1"),
            (HOST, "us-west-2", "us-west-2"),
            ("db.x.cn-north-1.rds.amazonaws.com.cn", None, "cn-north-1"),
            ("db.x.rds.cn-northwest-1.amazonaws.com.cn", None, "cn-northwest-1"),
            ("db.x.us-gov-east-1.RDS.amazonaws.com", None, "us-gov-east-1"),
            ("rds.example", None, "ap-south-2"),
            ("database.internal", None, "ap-south-2"),
        ],
    )
    async def test_is_found(self, host: str, region_name: str | None, region: str) -> None:
        """It is the argument's, else the one in the host name, else the pool's."""
        async with CredentialsPool("ap-south-2") as pool:
            made = await database(pool, host=host, region_name=region_name).get()
        assert f"/{region}/rds-db/" in field(made.password, "X-Amz-Credential")


class TestArguments:
    """What can't work is refused when the object is made, and a URL isn't repeated."""

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"host": "postgres://app:hunter2@db.example"}, ValueError, "isn't just the name of a host"),
            ({"host": "db.example:5432"}, ValueError, "without scheme, user, port and path"),
            ({"host": "/var/run/postgresql"}, ValueError, "Unix-domain socket has no host"),
            ({"host": ""}, ValueError, "host is empty"),
            ({"host": 5}, TypeError, "host is a int"),
            ({"port": "5432"}, TypeError, "port is a str"),
            ({"port": True}, TypeError, "port is a bool"),
            ({"port": 0}, ValueError, "port is 0"),
            ({"username": " "}, ValueError, "username is empty"),
            ({"dbname": ""}, ValueError, "dbname is empty"),
            ({"region_name": "eu west"}, ValueError, "isn't the name of a region"),
            ({"external_id": "x"}, ValueError, "are about a role"),
            ({"pool": None}, TypeError, "pool is a NoneType: give a CredentialsPool"),
        ],
    )
    def test_of_a_database(self, arguments: dict[str, Any], error: type[Exception], match: str) -> None:
        """Each argument has an error that says what to give."""
        given = {"pool": CredentialsPool(), "host": HOST, "port": 5432, "username": "app", **arguments}
        with pytest.raises(error, match=match) as caught:
            IamDatabaseCredentials(given.pop("pool"), **given)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        ("arguments", "error", "match"),
        [
            ({"cache_name": "master.my-cache.x.euw1.cache.amazonaws.com"}, ValueError, "isn't the endpoint's host"),
            ({"cache_name": "My-Cache"}, ValueError, "lower-case letters"),
            ({"cache_name": None}, ValueError, "cache_name is empty"),
            ({"service": "rds-db"}, ValueError, "service is unknown: give 'elasticache' or 'memorydb'"),
            ({"serverless": 1}, TypeError, "serverless is a int"),
            ({"serverless": True, "service": "memorydb"}, ValueError, "MemoryDB has no serverless caches"),
        ],
    )
    def test_of_a_cache(self, arguments: dict[str, Any], error: type[Exception], match: str) -> None:
        """Each argument has an error that says what to give."""
        with pytest.raises(error, match=match):
            IamCacheCredentials(CredentialsPool(), **{"cache_name": "my-cache", "username": "app", **arguments})

    def test_what_is_shown(self) -> None:
        """The repr names the user, the server, the region and the role; it can't be pickled, and a copy is itself."""
        role = "arn:aws:iam::123456789012:role/reader"
        manager = database(CredentialsPool(role_arn=role))
        assert repr(manager) == (f"<IamDatabaseCredentials IAM token for app at {HOST}:5432 in 'eu-west-1' as {role}>")
        cache = IamCacheCredentials(CredentialsPool(), cache_name="c", username="app", service="memorydb")
        assert repr(cache) == "<IamCacheCredentials IAM token for app at memorydb c>"
        assert copy.copy(manager) is copy.deepcopy(manager) is manager
        with pytest.raises(TypeError, match="can't be pickled: make one in each process"):
            pickle.dumps(manager)


class TestVersions:
    """A version is a generation of AWS credentials."""

    async def test_version(self) -> None:
        """Its id is the access key id; it has no value, and other staging labels don't exist."""
        async with CredentialsPool() as pool:
            manager = database(pool)
            secret = await manager.secret()
            assert await manager.secret(version_stage="AWSCURRENT") is not None
            assert (secret.version_id, secret.version_stages, secret.reveal()) == ("testing", (), "")
            assert repr(secret) == f"<Secret 'IAM token for app at {HOST}:5432' version 'testing' value=***>"
            for label in ("AWSPENDING", "AWSPREVIOUS"):
                with pytest.raises(SecretNotFoundError, match="no versions with other staging labels"):
                    await manager.secret(version_stage=label)

    async def test_custom_session(self) -> None:
        """A session of one's own making has no AWS credentials: AWS's default chain takes its place, as often."""
        async with CredentialsPool(session=FakeSecretsManager({})) as pool:
            secrets = [await database(pool).secret() for _ in range(2)]
            assert {secret.version_id for secret in secrets} == {"testing"}
            assert pool._session._loops.get().is_in_use
        assert not pool._session.holds_clients

    async def test_roll(self, credentials_file: Callable[[str], None], loads: list[object]) -> None:
        """AWS credentials that many connections refuse together are loaded once; other ones stay."""
        async with CredentialsPool() as pool:
            manager = database(pool)
            first = await asyncio.gather(*(manager.secret() for _ in range(20)))
            assert {secret.version_id for secret in first} == {"AKIA1"}
            assert len(loads) == 1
            credentials_file("AKIA2")
            assert (await manager.secret()).version_id == "AKIA1"

            for _ in range(20):
                manager.invalidate(if_version="AKIA1")
            second = await asyncio.gather(*(manager.secret() for _ in range(20)))
            assert {secret.version_id for secret in second} == {"AKIA2"}
            manager.invalidate(if_version="AKIA1")
            assert (await manager.secret()).version_id == "AKIA2"
            assert len(loads) == 2

            manager.invalidate()
            await database(pool).secret()
            pool.forget()
            await manager.secret()
            assert len(loads) == 4

    async def test_callers_session(self, credentials_file: Callable[[str], None]) -> None:
        """A caller's own session keeps its AWS credentials; after a refusal, the pool's copy loads its own."""
        import aiobotocore.session  # noqa: PLC0415 - slow

        session = aiobotocore.session.get_session()
        await session.get_credentials()
        async with CredentialsPool(session=session) as pool:
            assert (await database(pool).secret()).version_id == "AKIA1"
            credentials_file("AKIA2")
            database(pool).invalidate(if_version="AKIA1")
            assert (await database(pool).secret()).version_id == "AKIA2"

    @pytest.mark.usefixtures("credentials_file")
    async def test_clients_stay(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """A refused token closes no client of Secrets Manager, also if its source fails meanwhile."""

        async def client(pool: CredentialsPool) -> object:
            async with (
                asyncio.timeout(30) as deadline,
                pool._session.client(Region("eu-west-1", "a test"), deadline) as opened,
            ):
                return opened.client

        async with CredentialsPool() as pool:
            manager = database(pool)
            before = await client(pool)
            assert (await manager.secret()).version_id == "AKIA1"
            # The session remembers what this file says.
            config = tmp_path / "config"
            monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
            monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
            config.write_text("[default]\ncredential_process = false\n", encoding="utf-8")
            manager.invalidate(if_version="AKIA1")
            with pytest.raises(CredentialsError):
                await manager.secret()
            config.write_text("[default]\naws_access_key_id = AKIA2\naws_secret_access_key = x\n", encoding="utf-8")
            assert (await manager.secret()).version_id == "AKIA2"
            assert await client(pool) is before

    async def test_refused_while_they_are_renewed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A caller that still gets refused AWS credentials doesn't cause them to be dropped twice."""
        renewing = asyncio.Event()
        go = asyncio.Event()

        async def slow() -> object:
            renewing.set()
            await go.wait()
            return Credentials("testing", "testing").get_frozen_credentials()

        async with CredentialsPool() as pool:
            manager = database(pool)
            await manager.secret()
            clients = pool._session._loops.get().of(None).current
            (kept,) = clients._signing.values()
            monkeypatch.setattr(kept._credentials, "get_frozen_credentials", slow)
            late = asyncio.create_task(manager.secret())
            await renewing.wait()
            manager.invalidate(if_version="testing")
            go.set()
            assert (await late).version_id == "testing"
            assert clients.access_key_id == ""

    async def test_few_loads(self, loads: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
        """A server that refuses for another reason causes six loads per minute at most, for its own user."""
        times = [0.0]
        monkeypatch.setattr(generations, "now", lambda: times[0])
        async with CredentialsPool() as pool:
            refused = database(pool, username="not_allowed")

            async def is_dropped(manager: IamDatabaseCredentials, version: str | None = "testing") -> bool:
                await manager.secret()
                before = len(loads)
                # Two of each manager are refused together.
                manager.invalidate(if_version=version)
                manager.invalidate(if_version=version)
                await manager.secret()
                return len(loads) == before + 1

            assert [await is_dropped(refused) for _ in range(8)] == [True] * 6 + [False] * 2
            # Its refusals don't count for others, nor its own call without a version.
            assert await is_dropped(database(pool))
            assert await is_dropped(refused, None)
            times[0] = generations.REFUSAL_SECONDS
            assert await is_dropped(refused)
            assert not await is_dropped(refused, "another")

    async def test_none_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without AWS credentials there is a transient error of the usual class; later ones are found."""
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        async with CredentialsPool() as pool:
            with pytest.raises(
                CredentialSourceError, match=r"Asked: region 'eu-west-1' \(from the host name\)"
            ) as caught:
                await database(pool).secret()
            # The doctor needs the name of a secret.
            assert "doctor" not in f"{caught.value}{caught.value.advice}"
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA9")
            assert (await database(pool).secret()).version_id == "AKIA9"

    async def test_max_wait(self) -> None:
        """If the caller's time is over first, its error has the advice too; it has none after another failure."""
        errors: list[Exception] = [RefusedError(f"{REFUSED}."), OSError("no route")]

        async def fail(_: object) -> None:
            raise errors[0]

        async with CredentialsPool() as pool, Waits(0.2, TimeoutError) as waits:
            # The first version waits for aioboto3, which is loaded in a thread.
            await database(pool).secret()
            notes: list[str] = []
            for _ in range(2):

                async def connect() -> None:
                    try:
                        await connect_through_rotation(database(pool), fail)
                    except OSError:
                        await asyncio.Event().wait()

                with pytest.raises(TimeoutError) as caught:
                    await waits.within(connect, asyncio.sleep)
                notes += caught.value.__notes__
                del errors[0]
        assert f"RefusedError: {REFUSED}. Check that the AWS identity is allowed rds-db:connect" in notes[0]
        assert notes[1].endswith("OSError: no route")


class TestSeams:
    """What the tokens use of the AWS half."""

    def test_end_of_credentials(self) -> None:
        """AWS credentials end when they say so; those that weren't loaded yet, and permanent ones, say nothing."""

        async def renew() -> None: ...

        assert chain.end_of(AioDeferredRefreshableCredentials(renew, "test")) is None
        assert chain.end_of(Credentials("AKIA", "secret")) is None
        ending = AioRefreshableCredentials("ASIA", "secret", "token", FROZEN, renew, "test")
        assert chain.end_of(ending) == FROZEN.timestamp()

    def test_end_of_a_role(self) -> None:
        """The credentials of a role that wasn't assumed yet have no end."""
        unused: Any = None
        role = AssumedRole(Role("arn:aws:iam::123456789012:role/reader"), ClientSettings(), unused, unused)
        assert RoleCredentials(role, Region("eu-west-1", "a test")).end is None

    async def test_default_region(self) -> None:
        """Like each gateway, that of the AWS credentials finds the pool's region."""
        async with CredentialsPool("ap-south-2") as pool:
            request = keys_request(None, None)
            assert (await database(pool)._gateway.region(request)).name == "ap-south-2"

    async def test_other_failures(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failure that the same clients may not repeat replaces none of them."""

        async def fail(*_: object) -> None:
            raise OSError

        async with CredentialsPool() as pool:
            await database(pool).secret()
            clients = pool._session._loops.get().of(None)
            before = clients.current
            monkeypatch.setattr(Clients, "keys", fail)
            for would_fail_again in (False, True):
                monkeypatch.setattr(Clients, "would_fail_again", lambda *_, it=would_fail_again: it)
                with pytest.raises(CredentialsError):
                    await database(pool).secret()
                assert (clients.current is not before) is would_fail_again


class TestLife:
    """The pool's life is the tokens' life."""

    async def test_closed(self) -> None:
        """Before it is open, and after it is closed, each method raises; `changes()` ends with the pool."""
        pool = CredentialsPool()
        manager = database(pool)
        for _ in range(2):
            with pytest.raises(PoolClosedError):
                await manager.secret()
            with pytest.raises(PoolClosedError):
                await anext(manager.changes())
            manager.invalidate()
            async with pool if not pool._session.closed else CredentialsPool():
                pass

    async def test_changes(self, credentials_file: Callable[[str], None]) -> None:
        """They report nothing, also not when AWS credentials change, and end with the pool."""
        seen: list[object] = []

        async def act(secret: object) -> None:
            seen.append(secret)

        pool = CredentialsPool()
        async with pool:
            manager = database(pool)
            fake_name = pool.manager("name")
            async with rotations_watched(manager, act):
                watching = asyncio.create_task(anext(manager.changes()))  # type: ignore[arg-type]
                await asyncio.sleep(0)
                credentials_file("AKIA2")
                manager.invalidate()
                fake_name.invalidate()
                assert (await manager.secret()).version_id == "AKIA2"
                pool.forget()
                await asyncio.sleep(0)
                assert not watching.done()
                await pool.aclose()
                with pytest.raises(PoolClosedError, match=r"The pool was closed\."):
                    await watching
        assert not seen

    async def test_closed_meanwhile(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Closing the pool ends a load that hangs."""
        began = asyncio.Event()

        async def hanging(*_: object) -> None:
            began.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(chain, "resolve", hanging)
        async with CredentialsPool() as pool:
            loading = asyncio.create_task(database(pool).secret())
            await began.wait()
            await pool.aclose()
            with pytest.raises(PoolClosedError, match="was closed during the call"):
                await loading

    async def test_deadline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A source of AWS credentials that hangs is given up at the pool's timeout, with a transient error."""

        async def hanging(*_: object) -> None:
            await asyncio.Event().wait()

        async with CredentialsPool(timeout=0.05) as pool:
            await pool.manager("warm", region_name="eu-west-1")._store.session.region()
            monkeypatch.setattr(chain, "resolve", hanging)
            with pytest.raises(CredentialSourceError, match=r"within 0\.05 s: their source didn't answer"):
                await database(pool).secret()


class TestRotation:
    """The refusal handling of the adapters works as with a secret."""

    async def test_refused(
        self, credentials_file: Callable[[str], None], loads: list[object], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Connections that are refused together load the AWS credentials once, and connect with the new ones."""
        accepted = ["AKIA2"]

        async def connect(credentials: DatabaseCredentials) -> str:
            await asyncio.sleep(0)
            used = field(credentials.password, "X-Amz-Credential").partition("/")[0]
            if used not in accepted:
                raise RefusedError(f"no such token: {credentials.password}")
            return used

        async with CredentialsPool() as pool:
            manager = database(pool)
            await manager.secret()
            credentials_file("AKIA2")
            made = await asyncio.gather(*(connect_through_rotation(manager, connect) for _ in range(50)))
            assert made == ["AKIA2"] * 50
            assert len(loads) == 2
        refused = f"IAM token for app at {HOST}:5432: the server refused the token signed with access key 'AKIA1'. "
        said = "It answered: RefusedError: no such token: ***. Check that the AWS identity is allowed rds-db:connect"
        assert refused + said in caplog.text

    async def test_refused_for_good(self) -> None:
        """The note says what may be wrong with a token, not with a password, also through redis-py's adapter."""

        async def refuse(_: object) -> None:
            raise RefusedError(REFUSED)

        async with CredentialsPool() as pool:
            cache = IamCacheCredentials(pool, cache_name="c", username="app", region_name="eu-west-1")
            for manager, part in ((database(pool), "rds-db:connect"), (Versions(cache), "elasticache:Connect")):
                await manager.secret()
                with pytest.raises(RefusedError) as caught:
                    await connect_through_rotation(manager, refuse, budget=0.02)  # type: ignore[arg-type]
                note = caught.value.__notes__[0]
                assert (
                    "for 0.02 s the server refused the tokens of each access key that was tried: 'testing'. Check"
                    in note
                )
                assert note.startswith("IAM token for app at")
                assert part in note
                assert "clock of this host" in note
                assert "Compare" not in note


@pytest.mark.parametrize(
    "text",
    [
        "refused host:5432/?Action=connect&X-Amz-Signature=0f0f for user app",
        "refused 'Action%3Dconnect%26X-Amz-Security-Token%3Dabc' for user app",
        'refused "x-amz-credential=AKIA" for user app',
    ],
)
async def test_words(text: str) -> None:
    """A token in the server's words isn't shown, whole or in part, plain or in a URL."""
    async with CredentialsPool() as pool:
        words = words_of(LookupError(text), await database(pool).secret())
    assert words.replace("'", "").replace('"', "") == "LookupError: refused *** for user app"
