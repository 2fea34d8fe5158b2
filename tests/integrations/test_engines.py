"""The examples of `docs/how-to/engines.md`: each library against a real server, through rotations.

Each library runs where it is installed: `engines` in pyproject.toml.
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import io
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AsyncCredentialsManager, RedisCredentials
from blocks import FENCED
from integrations.postgres import CANARY, RotatingSecrets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping

    from redis.asyncio import Redis

    from integrations.postgres import Place
    from integrations.redis_server import RedisServer
    from server.stub import StubSecretsManager

    Ask = Callable[[], Awaitable[tuple[str, int]]]
    Names = dict[str, Any]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "engines.md"
WHO = "SELECT current_user, pg_backend_pid()"
SECOND = "second-canary"
THIRD = "third-canary"
# The package behind each line of the page's table.
PACKAGES = {
    "Alembic": "alembic",
    "SQLAlchemy, engine made at import": "sqlalchemy",
    "SQLModel": "sqlmodel",
    "Tortoise ORM": "tortoise-orm",
    "Piccolo": "piccolo",
    "databases": "databases",
    "Procrastinate": "procrastinate",
    "LangGraph": "langgraph-checkpoint-postgres",
    "Taskiq": "taskiq-redis",
    "arq": "arq",
    "Celery with Redis": "celery",
}
LOOPBACK = {"127.0.0.1", "::1", "localhost", None}

contacted: list[object] = []


def note_contact(event: str, arguments: tuple[Any, ...]) -> None:
    """Note hosts that this process contacts; an audit hook can't be removed."""
    if event == "socket.getaddrinfo":
        contacted.append(arguments[0])
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        contacted.append(arguments[1][0])


@pytest.fixture(scope="session")
def contacts() -> list[object]:
    """The hosts that this process contacts from now on."""
    sys.addaudithook(note_contact)
    return contacted


@pytest.fixture(autouse=True)
def only_loopback(contacts: list[object], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which a library contacts another machine: LangSmith's client would, where it is switched on."""
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")
    contacts.clear()
    yield
    assert set(contacts) <= LOOPBACK, "a library has contacted another machine"


@pytest.fixture
def managers(monkeypatch: pytest.MonkeyPatch) -> list[AsyncCredentialsManager[Any]]:
    """The managers that an example makes."""
    made: list[AsyncCredentialsManager[Any]] = []
    make = AsyncCredentialsManager.__init__

    def note(self: AsyncCredentialsManager[Any], *args: Any, **options: Any) -> None:  # noqa: ANN401
        make(self, *args, **options)
        made.append(self)

    monkeypatch.setattr(AsyncCredentialsManager, "__init__", note)
    return made


@pytest.fixture
def names_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Names]:
    """Return a function that runs blocks under headings in one module, and returns its names."""

    def run(*headings: str, replaced: Mapping[str, str] | None = None) -> Names:
        module = ModuleType("example_of_a_library")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for heading in headings:
            for code in blocks_under(heading):
                text = code
                for old, new in (replaced or {}).items():
                    assert old in text
                    text = text.replace(old, new)
                exec(compile(text, f"{heading} in {PAGE.name}", "exec", dont_inherit=True), vars(module))  # noqa: S102
        return vars(module)

    return run


def blocks_under(heading: str) -> list[str]:
    """Return the Python blocks under a heading of the page."""
    _, section = PAGE.read_text().split(f"\n## {heading}\n")
    section = re.split(r"^## ", section, maxsplit=1, flags=re.MULTILINE)[0]
    return [text for language, text in FENCED.findall(section) if language == "python"]


class Rotation:
    """The secret "prod/database", and the two users at the server that it is for."""

    def __init__(self, place: Place, managers: list[AsyncCredentialsManager[Any]]) -> None:
        self.place = place
        self._managers = managers

    async def open_window(self) -> None:
        """Change the password at the server; Secrets Manager has it as AWSPENDING."""
        await self.place.set_password("shop", SECOND)
        self.place.secrets.pend("prod/database", self.place.fields("shop", SECOND))

    async def close_window(self) -> None:
        """Move AWSCURRENT."""
        self.place.secrets.promote("prod/database")

    async def change_user(self) -> None:
        """Rotate to the other user; the library fetches the new version, as it does within the ttl."""
        await self.place.set_password("shop2", THIRD)
        self.place.secrets.pend("prod/database", self.place.fields("shop2", THIRD))
        self.place.secrets.promote("prod/database")
        for manager in self._managers:
            await manager.refresh()

    async def check(self, ask: Ask, *, replaced: bool) -> None:
        """Rotate while connections are open; no query fails, and the new connections have the new credentials."""
        user, process = await ask()
        assert user == "shop"

        await self.open_window()
        now = await self.place.superuser.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        while not await self.place.connected_since("shop", now):
            answers = await asyncio.gather(*(ask() for _ in range(3)))
            assert {name for name, _ in answers} == {"shop"}
            # The open connection goes on. The library may use it for itself just now.
            assert process in await self.place.sessions("shop")
        await self.close_window()

        await self.change_user()
        if replaced:
            while (await ask())[0] != "shop2":
                """The listener hasn't run."""
            answers = await asyncio.gather(*(ask() for _ in range(5)))
            assert {name for name, _ in answers} == {"shop2"}
            return
        answers = []
        while "shop2" not in dict(answers):
            answers = await asyncio.gather(*(ask() for _ in range(5)))
        assert ("shop", process) in answers


@pytest.fixture
async def rotation(
    place: Place, managers: list[AsyncCredentialsManager[Any]], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rotation]:
    """The secret that the page's examples read, and its users; what they own goes with them."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", place.url)
    await place.role("shop", CANARY)
    await place.role("shop2", THIRD)
    await place.superuser.execute("GRANT CREATE ON SCHEMA public TO shop; GRANT shop TO shop2")
    place.secrets.create("prod/database", place.fields("shop", CANARY))
    yield Rotation(place, managers)
    await place.superuser.execute("DROP OWNED BY shop, shop2 CASCADE; DROP ROLE shop, shop2")


class RedisRotation:
    """The secret "prod/redis", and its user at the server."""

    def __init__(self, secrets: RotatingSecrets, admin: Redis) -> None:
        self._secrets = secrets
        self._admin = admin

    async def start(self) -> None:
        """Make the user and the secret."""
        await self._set_at_server(CANARY)
        self._secrets.create("prod/redis", {"username": "shop", "password": CANARY})

    async def open_window(self) -> None:
        """Change the password at the server; Secrets Manager has it as AWSPENDING."""
        await self._set_at_server(SECOND)
        self._secrets.pend("prod/redis", {"username": "shop", "password": SECOND})

    async def close_window(self) -> None:
        """Move AWSCURRENT."""
        self._secrets.promote("prod/redis")

    async def disconnect(self) -> None:
        """Close the user's connections, as a failover does."""
        await self._admin.execute_command("CLIENT", "KILL", "USER", "shop")

    async def connections(self) -> set[str]:
        """Return the identifiers of the user's connections."""
        clients = await self._admin.client_list()
        return {client["id"] for client in clients if client["user"] == "shop"}

    async def check(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Rotate while connections are open; no task fails, and new connections are made in the window and after it."""
        await ask()
        for change in (self.open_window, self.close_window):
            await change()
            before = await self.connections()
            assert before
            calls = 2
            while await self.connections() <= before:
                await asyncio.gather(*(ask() for _ in range(calls)))
                calls += 1

    async def _set_at_server(self, password: str) -> None:
        await self._admin.execute_command(
            "ACL", "SETUSER", "shop", "on", "resetpass", f">{password}", "~*", "&*", "+@all"
        )


@pytest.fixture
async def redis_rotation(
    stub: StubSecretsManager, redis_admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> RedisRotation:
    """The secret that the page's examples for Redis read."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", stub.url)
    stub.handler = RotatingSecrets()
    rotation = RedisRotation(stub.handler, redis_admin)
    await rotation.start()
    return rotation


def test_each_example_is_run() -> None:
    """Each heading of the page that has code is in a test of this file, and in the page's table."""
    text = PAGE.read_text()
    headings = [heading for heading in re.findall(r"^## (.+)$", text, re.MULTILINE) if blocks_under(heading)]
    here = Path(__file__).read_text()
    for heading in headings:
        assert f'"{heading}"' in here
    table = dict(re.findall(r"^\| \[(.+?)\]\(.+?\) \| ([\d.]+) \|", text, re.MULTILINE))
    assert table.keys() == PACKAGES.keys()


@pytest.mark.parametrize("library", PACKAGES)
def test_versions(library: str) -> None:
    """The installed version isn't older than the one that the page says it was tested with."""
    package = PACKAGES[library]
    if importlib.util.find_spec("alembic") is None:
        pytest.skip("the group `engines` isn't installed")
    (tested,) = re.findall(rf"^\| \[{library}\]\(.+?\) \| ([\d.]+) \|", PAGE.read_text(), re.MULTILINE)
    numbers = [int(part) for part in tested.split(".")]
    assert [int(part) for part in version(package).split(".")[: len(numbers)]] >= numbers


def test_manager_without_a_pool(names_of: Callable[..., Names]) -> None:
    """The manager of the page can be made at import."""
    assert names_of("Two kinds of manager")["database"].secret_name == "prod/database"


def make_alembic_project(folder: Path) -> None:
    """Make a project by Alembic's own template, with the page's functions in `env.py` and two migrations."""
    from alembic import command, config  # noqa: PLC0415 (where it is installed)

    settings = config.Config(folder / "alembic.ini", stdout=io.StringIO())
    command.init(settings, str(folder / "migrations"), template="async")
    ini = (folder / "alembic.ini").read_text()
    (folder / "alembic.ini").write_text(re.sub(r"^sqlalchemy\.url.*$", "", ini, flags=re.MULTILINE))
    env = (folder / "migrations" / "env.py").read_text()
    last = "if context.is_offline_mode():"
    assert env.count(last) == 1
    (folder / "migrations" / "env.py").write_text(env.replace(last, f"{blocks_under('Alembic')[0]}\n{last}"))
    for number in (1, 2):
        previous = repr(str(number - 1)) if number > 1 else None
        (folder / "migrations" / "versions" / f"{number}.py").write_text(
            f"from alembic import op\nrevision = '{number}'\ndown_revision = {previous}\n"
            f"def upgrade():\n    op.execute('CREATE TABLE made_by_{number} ()')\n"
        )


async def test_alembic(rotation: Rotation, tmp_path: Path) -> None:
    """`alembic upgrade` in a project of its own signs in with the secret, each time anew, also in a window."""
    pytest.importorskip("alembic", reason="Alembic isn't installed")
    from alembic import command, config  # noqa: PLC0415 (where it is installed)

    make_alembic_project(tmp_path)
    arguments = ["-W", "error", "-m", "alembic", "upgrade", "1"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=tmp_path, env=os.environ, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()

    await rotation.open_window()
    # Without the file, `env.py` configures no logging, which would silence loggers for all further tests.
    settings = config.Config()
    settings.set_main_option("script_location", str(tmp_path / "migrations"))
    await asyncio.to_thread(command.upgrade, settings, "2")
    tables = "SELECT tablename, tableowner FROM pg_tables WHERE tablename LIKE 'made_by_%'"
    made = {tuple(row) for row in await rotation.place.superuser.fetch(tables)}
    assert made == {("made_by_1", "shop"), ("made_by_2", "shop")}

    fetches = rotation.place.secrets.fetches.total()
    settings.output_buffer = io.StringIO()
    await asyncio.to_thread(command.upgrade, settings, "2", sql=True)
    assert "CREATE TABLE made_by_2" in settings.output_buffer.getvalue()
    assert rotation.place.secrets.fetches.total() == fetches


def test_alembic_main_option(capsys: pytest.CaptureFixture[str]) -> None:
    """Alembic's option refuses a password with an escaped letter, with the error that the page shows."""
    pytest.importorskip("alembic", reason="Alembic isn't installed")
    imports, code = blocks_under("Alembic")
    imports = imports.partition("\n\n")[0]
    exec(compile(f"{imports}\n{code}", PAGE.name, "exec"), {})  # noqa: S102 (our own page)
    (promised,) = re.findall(r"# -> (.+)", code)
    assert capsys.readouterr().out.strip() == promised


async def test_sqlalchemy(rotation: Rotation, names_of: Callable[..., Names]) -> None:
    """An engine that is made at import has its connections replaced, in each of two starts of the app."""
    pytest.importorskip("fastapi", reason="FastAPI isn't installed")
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="SQLAlchemy isn't installed")
    names = names_of("A SQLAlchemy engine made at import")
    app, engine = names["app"], names["engine"]

    async def ask() -> tuple[str, int]:
        async with engine.connect() as connection:
            row = (await connection.execute(sqlalchemy.text(WHO))).one()
        return row[0], row[1]

    async with app.router.lifespan_context(app):
        assert await names["user"]() == "shop"
        await rotation.check(ask, replaced=True)
    assert not await rotation.place.connected_since("shop", 0)
    async with app.router.lifespan_context(app):
        assert await names["user"]() == "shop2"


async def test_sqlmodel(rotation: Rotation, names_of: Callable[..., Names]) -> None:
    """SQLModel's sessions have the connections of that engine."""
    sqlmodel = pytest.importorskip("sqlmodel", reason="SQLModel isn't installed")
    pytest.importorskip("fastapi", reason="FastAPI isn't installed")
    names = names_of("A SQLAlchemy engine made at import", "SQLModel")
    app, engine = names["app"], names["engine"]

    async def ask() -> tuple[str, int]:
        async with names["AsyncSession"](engine) as session:
            row = (await session.exec(sqlmodel.text(WHO))).one()
        return row[0], row[1]

    async with app.router.lifespan_context(app):
        async with engine.begin() as connection:
            await connection.run_sync(sqlmodel.SQLModel.metadata.create_all)
        await rotation.check(ask, replaced=True)
        assert await names["orders"]() == []


async def test_tortoise(rotation: Rotation, names_of: Callable[..., Names]) -> None:
    """Tortoise's new connections have the new credentials; those that are open continue."""
    tortoise = pytest.importorskip("tortoise", reason="Tortoise ORM isn't installed")
    names = names_of("Tortoise ORM", replaced={"5432": str(rotation.place.server.port)})

    async def ask() -> tuple[str, int]:
        _, rows = await tortoise.connections.get("default").execute_query(WHO)
        return rows[0]["current_user"], rows[0]["pg_backend_pid"]

    async with names["orm"]():
        await tortoise.Tortoise.generate_schemas()
        await rotation.check(ask, replaced=False)
        assert await names["Order"].all() == []


async def test_piccolo(rotation: Rotation, names_of: Callable[..., Names]) -> None:
    """Piccolo's engine connects by the secret, with its pool and without, and not when it is made."""
    pytest.importorskip("piccolo", reason="Piccolo isn't installed")
    from piccolo.querystring import QueryString  # noqa: PLC0415 (where it is installed)

    names = names_of("Piccolo")
    engine = names["DB"]
    assert not rotation.place.secrets.fetches

    async def ask() -> tuple[str, int]:
        (row,) = await engine.run_querystring(QueryString(WHO))
        return row["current_user"], row["pg_backend_pid"]

    assert (await ask())[0] == "shop"
    await engine.start_connection_pool(min_size=1, max_size=5)
    await rotation.check(ask, replaced=False)
    await engine.pool.expire_connections()
    assert {user for user, _ in await asyncio.gather(*(ask() for _ in range(5)))} == {"shop2"}
    await engine.close_connection_pool()
    assert (await ask())[0] == "shop2"


async def test_databases(rotation: Rotation, names_of: Callable[..., Names]) -> None:
    """The new connections of `databases` have the new credentials; those that are open continue."""
    pytest.importorskip("databases", reason="databases isn't installed")
    names = names_of("databases", replaced={'"postgresql:///"': '"postgresql:///?min_size=1&max_size=5"'})
    database = names["database"]

    async def one() -> tuple[str, int]:
        row = await database.fetch_one(WHO)
        return row[0], row[1]

    async def ask() -> tuple[str, int]:
        # A task has a connection of its own.
        return await asyncio.create_task(one())

    async with database:
        await rotation.check(ask, replaced=False)


async def test_procrastinate(rotation: Rotation, names_of: Callable[..., Names]) -> None:
    """Procrastinate's worker runs jobs before a rotation and afterwards, also those that it is notified of."""
    pytest.importorskip("procrastinate", reason="Procrastinate isn't installed")
    names = names_of(
        "Procrastinate", replaced={"create_pool(database)": "create_pool(database, min_size=1, max_size=5)"}
    )
    app, done = names["app"], asyncio.Queue[str]()

    @app.task(name="note")
    async def note(text: str) -> None:
        await done.put(text)

    async def ask() -> tuple[str, int]:
        row = await app.connector.execute_query_one_async(WHO)
        return row["current_user"], row["pg_backend_pid"]

    run_worker, opened = app.run_worker_async, asyncio.Event()

    async def run_with_schema() -> None:
        await app.schema_manager.apply_schema_async()
        opened.set()
        await run_worker(install_signal_handlers=False)

    app.run_worker_async = run_with_schema
    worker = asyncio.create_task(names["worker"]())
    await opened.wait()
    await note.defer_async(text="before")
    assert await done.get() == "before"
    await rotation.check(ask, replaced=True)

    # The connection that listens isn't the pool's. It ends, as in a failover, and the next one has the new login.
    listens = "FROM pg_stat_activity WHERE starts_with(usename, $1) AND query ILIKE 'LISTEN%'"
    superuser = rotation.place.superuser
    assert await superuser.fetch(f"SELECT pg_terminate_backend(pid) {listens}", "shop")
    while not await superuser.fetch(f"SELECT pid {listens}", "shop2"):
        """Procrastinate hasn't connected again."""
    await note.defer_async(text="after")
    assert await done.get() == "after"
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker


async def test_langgraph(rotation: Rotation, names_of: Callable[..., Names]) -> None:
    """LangGraph's saver keeps checkpoints before a rotation and afterwards."""
    pytest.importorskip("langgraph.checkpoint.postgres", reason="LangGraph's saver isn't installed")
    from langgraph.checkpoint.base import empty_checkpoint  # noqa: PLC0415 (where it is installed)

    names = names_of("LangGraph", replaced={"create_pool(database,": "create_pool(database, min_size=1, max_size=5,"})
    config = {"configurable": {"thread_id": "1", "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    async with names["checkpointer"]() as saver:

        async def ask() -> tuple[str, int]:
            async with saver.conn.connection() as connection:
                row = await (await connection.execute(WHO)).fetchone()
            return row["current_user"], row["pg_backend_pid"]

        await saver.aput(config, checkpoint, {}, {})
        await rotation.check(ask, replaced=True)
        assert (await saver.aget_tuple(config)).checkpoint["id"] == checkpoint["id"]


async def test_taskiq(redis_rotation: RedisRotation, redis_server: RedisServer, names_of: Callable[..., Names]) -> None:
    """Taskiq's worker and client go through a rotation: no task fails, and new connections sign in."""
    pytest.importorskip("taskiq_redis", reason="taskiq-redis isn't installed")
    from taskiq.api import run_receiver_task  # noqa: PLC0415 (where it is installed)

    names = names_of("Taskiq", replaced={"6379": str(redis_server.port)})
    broker, greet = names["broker"], names["greet"]

    async def ask() -> None:
        task = await greet.kiq("you")
        result = await task.wait_result(check_interval=0.01, timeout=20)
        assert result.return_value == "Hello, you"

    await broker.startup()
    worker = asyncio.create_task(run_receiver_task(broker))
    await redis_rotation.check(ask)
    worker.cancel()
    await asyncio.wait([worker])
    await broker.shutdown()


# arq 0.25 is from 2022. It calls a function that Python 3.14 deprecates, and commands that redis-py deprecates.
@pytest.mark.filterwarnings("ignore:Call to deprecated (psetex|close):DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'asyncio.iscoroutinefunction' is deprecated:DeprecationWarning")
async def test_arq(redis_rotation: RedisRotation, redis_server: RedisServer, names_of: Callable[..., Names]) -> None:
    """The worker and the client of arq go through a rotation: no task fails, and new connections sign in."""
    pytest.importorskip("arq", reason="arq isn't installed")
    from arq.worker import create_worker  # noqa: PLC0415 (where it is installed)

    names = names_of("arq", replaced={"6379": str(redis_server.port)})
    settings = names["WorkerSettings"]
    redis = settings.redis_pool
    worker = create_worker(settings, poll_delay=0.01, handle_signals=False)

    async def ask() -> None:
        job = await redis.enqueue_job("greet", "you")
        # In arq 0.25, `job.result()` may overlook a result that arrives while it asks.
        while (found := await job.result_info()) is None:
            """The worker hasn't finished it."""
        assert found.result == "Hello, you"

    running = asyncio.create_task(worker.async_run())
    await redis_rotation.check(ask)
    running.cancel()
    await asyncio.wait([running])
    await worker.close()


@pytest.mark.parametrize("username", [None, "app"])
def test_provider_for_celery(names_of: Callable[..., Names], username: str | None) -> None:
    """The page's provider returns what redis-py sends by AUTH, also for a secret that is only a token."""
    pytest.importorskip("celery", reason="Celery isn't installed")

    class Manager:
        async def get(self) -> RedisCredentials:
            return RedisCredentials(username=username, password="mock_password")

    # Celery warns of a second task by the same name in one process.
    names = names_of("Celery with Redis", replaced={"@app.task\n": ""})
    names["login"] = Manager()
    found = names["RedisLogin"]().get_credentials()
    assert found == (("app", "mock_password") if username else ("mock_password",))


# Celery sets results by a command that redis-py deprecates, and leaves sockets to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
async def test_celery(redis_rotation: RedisRotation, redis_server: RedisServer, names_of: Callable[..., Names]) -> None:
    """Celery's worker and producer sign in with the current version after a rotation."""
    pytest.importorskip("celery", reason="Celery isn't installed")
    from celery.contrib.testing.worker import start_worker  # noqa: PLC0415 (where it is installed)
    from celery.signals import setup_logging  # noqa: PLC0415 (where it is installed)
    from redis import Redis as SyncRedis  # noqa: PLC0415 (where it is installed)
    from redis.backoff import NoBackoff  # noqa: PLC0415 (where it is installed)
    from redis.retry import Retry  # noqa: PLC0415 (where it is installed)

    names = names_of("Celery with Redis", replaced={"6379": str(redis_server.port)})
    app, greet = names["app"], names["greet"]

    loop = asyncio.get_running_loop()

    def leave_logging_alone(**_: object) -> None:
        """Celery configures no logging if somebody listens to this signal."""

    setup_logging.connect(leave_logging_alone)

    def work() -> None:
        with start_worker(app, pool="solo", perform_ping_check=False):
            assert greet.delay("you").get(timeout=20) == "Hello, you"
            await_in_loop(redis_rotation.open_window())
            with pytest.raises(Exception, match="invalid username-password pair"):
                connect()
            await_in_loop(redis_rotation.close_window())
            connect()
            await_in_loop(redis_rotation.disconnect())
            assert greet.delay("you").get(timeout=20) == "Hello, you"

    def await_in_loop(coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    def connect() -> None:
        # As Celery connects, but without its own retries, which sleep.
        provider, retry = names["RedisLogin"](), Retry(NoBackoff(), 0)
        with SyncRedis(port=redis_server.port, credential_provider=provider, retry=retry) as client:
            client.ping()

    await asyncio.to_thread(work)
    setup_logging.disconnect(leave_logging_alone)
    app.close()
    app.backend.result_consumer.stop()
    gc.collect()
