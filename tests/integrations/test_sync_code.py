"""The files of `docs/how-to/sync-code.md`, in the processes that they are for, as far as those are installed."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import importlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import AccessDeniedError, DatabaseCredentials, PoolClosedError, SecretNotFoundError
from blocks import blocks_of
from integrations.postgres import RotatingSecrets
from server.programs import child
from server.stub import Answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from integrations.postgres import Place
    from integrations.redis_server import RedisServer
    from server.stub import StubSecretsManager

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "sync-code.md"
FILE = re.compile(r'"""([\w/]+\.py): ')
SECRET = {"username": "app", "password": "mock_password"}


def write_files(folder: Path, words: dict[str, str] | None = None) -> list[str]:
    """Write the files of the page, with other words in the place of some; return their names."""
    names: list[str] = []
    for block in blocks_of(PAGE, "python"):
        found = FILE.match(block.text)
        assert found, f"{block} names no file"
        path = folder / found[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.replaced({"eu-west-1": "us-east-1", **(words or {})}).text)
        names.append(found[1])
    return names


@pytest.fixture
async def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    """Return a function that writes the page's files for a Secrets Manager, and imports one of them.

    At the end the bridge is closed, as when a process exits.
    """
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))

    def imported(name: str, url: str, words: dict[str, str] | None = None) -> Any:  # noqa: ANN401 (a module)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", url)
        write_files(tmp_path, words)
        return importlib.import_module(name)

    yield imported
    if bridge := sys.modules.get("bridge"):
        # The pool also closes its clients in the test's loop, which has to go on meanwhile.
        await in_thread(bridge.close)
        atexit.unregister(bridge.close)
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
async def stub_secrets(stub: StubSecretsManager) -> StubSecretsManager:
    """A Secrets Manager that has the page's secrets."""
    stub.secrets = {"prod/database": json.dumps(SECRET), "prod/redis": json.dumps(SECRET)}
    return stub


def test_files(tmp_path: Path) -> None:
    """Each block of the page is a file by its first line; these are what the tests below run."""
    assert write_files(tmp_path) == [
        "bridge.py",
        "reading.py",
        "shop/views.py",
        "rotating_postgresql/base.py",
        "shop/settings.py",
        "shop/async_views.py",
        "app.py",
        "gunicorn_conf.py",
        "tasks.py",
        "broker.py",
    ]


async def in_thread(work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401
    """Run blocking code while the test's loop, in which the Secrets Manager is, goes on."""
    return await asyncio.to_thread(work, *arguments)


async def test_read(files: Callable[..., Any], stub_secrets: StubSecretsManager, capfd: Any) -> None:  # noqa: ANN401
    """Threads read by one bridge and share one fetch, and the library's own errors reach them."""
    bridge = files("bridge", stub_secrets.url)
    await in_thread(files, "reading", stub_secrets.url)
    assert capfd.readouterr().out == "app\napp\n"
    reads = [in_thread(lambda: bridge.run(bridge.database.get())) for _ in range(20)]
    assert {read.username for read in await asyncio.gather(*reads)} == {"app"}
    assert [request.body["SecretId"] for request in stub_secrets.requests] == ["prod/database", "prod/redis"]

    stub_secrets.handler = lambda _: Answer(400, {"__type": "ResourceNotFoundException", "Message": "None."})
    with pytest.raises(SecretNotFoundError):
        await in_thread(lambda: bridge.run(bridge.pool.manager("nothing").get()))


async def test_time_limit(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """A call that the loop doesn't answer ends by its time limit, and is cancelled; the next call is answered."""
    bridge = files("bridge", stub_secrets.url)
    cancelled = asyncio.Event()
    here = asyncio.get_running_loop()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            here.call_soon_threadsafe(cancelled.set)

    with pytest.raises(TimeoutError, match=r"^The bridge has no result after 0\.01 s\.$"):
        await in_thread(lambda: bridge.run(hang(), timeout=0.01))
    await cancelled.wait()
    assert (await in_thread(lambda: bridge.run(bridge.database.get()))).username == "app"


async def test_dead_loop(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """If the thread of the loop has ended, the next call starts another one."""
    bridge = files("bridge", stub_secrets.url)
    await in_thread(lambda: bridge.run(bridge.database.get()))
    bridge.loop.call_soon_threadsafe(bridge.loop.stop)
    await in_thread(bridge.thread.join)
    ended = bridge.loop
    assert (await in_thread(lambda: bridge.run(bridge.database.refresh()))).name == "prod/database"
    # Its sockets close as the library finds that it was closed.
    ended.close()


async def test_no_prefetch(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """If AWS is down when the process starts, its first calls fail, and later ones read."""
    handler = stub_secrets.handler
    stub_secrets.handler = lambda _: Answer(400, {"__type": "AccessDeniedException", "Message": "No."})
    bridge = await in_thread(files, "bridge", stub_secrets.url)
    with pytest.raises(AccessDeniedError):
        await in_thread(bridge.preload)
    with pytest.raises(AccessDeniedError):
        await in_thread(lambda: bridge.run(bridge.database.refresh()))
    stub_secrets.handler = handler
    assert (await in_thread(lambda: bridge.run(bridge.database.refresh()))).name == "prod/database"


async def test_closed(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """After the end, and where no thread can be started, a call fails, and leaves no coroutine that never ran."""
    bridge = files("bridge", stub_secrets.url)
    assert (await in_thread(lambda: bridge.run(bridge.database.get()))).username == "app"
    await in_thread(bridge.close)
    with pytest.raises(PoolClosedError):
        await in_thread(lambda: bridge.run(bridge.database.get()))

    coroutine = bridge.database.get()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge, "started", lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            bridge.run(coroutine)
    assert inspect.getcoroutinestate(coroutine) == inspect.CORO_CLOSED


async def test_in_its_own_loop(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """In a coroutine of the bridge, `run` fails at once; otherwise it would stop the loop for all callers."""
    bridge = files("bridge", stub_secrets.url)

    async def read() -> Any:  # noqa: ANN401
        return bridge.run(bridge.database.get(), timeout=1)

    with pytest.raises(RuntimeError, match=r"use await instead of run\(\)"):
        await in_thread(lambda: bridge.run(read()))


async def test_in_a_signal_handler(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """A signal handler may call `run`, also while its thread starts the loop."""
    bridge = files("bridge", stub_secrets.url)
    read: list[str] = []
    handlers: list[Any] = []
    new_event_loop = asyncio.new_event_loop

    def interrupted() -> asyncio.AbstractEventLoop:
        bridge.asyncio = asyncio
        assert bridge.lock.acquire(timeout=1), "the handler would wait for ever"
        bridge.lock.release()
        read.append(bridge.run(bridge.database.get()).username)
        handlers.append((bridge.loop, bridge.thread))
        return new_event_loop()

    # The bridge's name for asyncio, so that no other loop is concerned.
    bridge.asyncio = SimpleNamespace(**{**vars(asyncio), "new_event_loop": interrupted})
    read.append((await in_thread(lambda: bridge.run(bridge.database.get()))).username)
    assert read == ["app", "app"]
    ((loop, thread),) = handlers
    await in_thread(bridge.close)
    loop.call_soon_threadsafe(loop.stop)
    await in_thread(thread.join)
    loop.close()


async def test_many_logins(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """No login waits for another, however many the process has; each sees the context of its caller."""
    bridge = files("bridge", stub_secrets.url)
    callers = 40
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")
    together = threading.Barrier(callers, timeout=20)

    def log_in(_: object) -> int:
        together.wait()
        return variable.get()

    def connect(number: int) -> Any:  # noqa: ANN401
        variable.set(number)
        return bridge.connect(log_in)

    # Each attempt to sign in waits until all have begun.
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(callers) as executor:
        results = await asyncio.gather(*(loop.run_in_executor(executor, connect, each) for each in range(callers)))
    assert results == list(range(callers))


async def test_a_second_login(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """A connection signs in with the secret of the manager that the caller passes."""
    stub_secrets.secrets["prod/orders"] = json.dumps({**SECRET, "username": "orders"})
    bridge = files("bridge", stub_secrets.url)
    orders = bridge.pool.manager("prod/orders", decode=DatabaseCredentials.from_json)
    assert await in_thread(bridge.connect, lambda login: login.username) == "app"
    assert await in_thread(bridge.connect, lambda login: login.username, orders) == "orders"


@pytest.mark.parametrize("fails", [False, True])
async def test_a_late_login(files: Callable[..., Any], stub_secrets: StubSecretsManager, *, fails: bool) -> None:
    """A connection that is made after its caller has given up is closed; the error says how long the caller waited."""
    bridge = files("bridge", stub_secrets.url, {"timeout=30": "timeout=0.5"})
    begun = threading.Event()
    may_end = threading.Event()
    ended = threading.Event()
    logins: list[threading.Thread] = []

    def log_in(_: object) -> Any:  # noqa: ANN401
        logins.append(threading.current_thread())
        begun.set()
        may_end.wait(20)
        if fails:
            raise OSError
        return SimpleNamespace(close=ended.set)

    await in_thread(lambda: bridge.run(bridge.database.get()))
    with pytest.raises(TimeoutError, match=r"^The bridge has no result after 0\.5 s\.$"):
        await in_thread(bridge.connect, log_in)
    assert begun.is_set()
    assert logins[0].daemon, "the process would wait for it at its exit"
    may_end.set()
    await in_thread(logins[0].join)
    assert await in_thread(ended.wait, 0 if fails else 5) is not fails


async def test_a_login_that_ends_while_it_is_cancelled(
    files: Callable[..., Any], stub_secrets: StubSecretsManager
) -> None:
    """A connection is closed that is made after its caller has given up, but before the event loop knows."""
    bridge = files("bridge", stub_secrets.url, {"timeout=30": "timeout=0.5"})
    may_continue = threading.Event()
    may_end = threading.Event()
    ended = threading.Event()
    logins: list[threading.Thread] = []

    def log_in(_: object) -> Any:  # noqa: ANN401
        logins.append(threading.current_thread())
        bridge.loop.call_soon_threadsafe(may_continue.wait, 20)
        may_end.wait(20)
        return SimpleNamespace(close=ended.set)

    await in_thread(lambda: bridge.run(bridge.database.get()))
    with pytest.raises(TimeoutError, match=r"^The bridge has no result after 0\.5 s\.$"):
        await in_thread(bridge.connect, log_in)
    may_end.set()
    await in_thread(logins[0].join)
    may_continue.set()
    assert await in_thread(ended.wait, 5)


FORKS = """
import gc, os, sys, threading, traceback, warnings

sys.path.insert(0, sys.argv[1])
import bridge, gunicorn_conf

# Python 3.12 warns of a fork beside a thread of the system, also one that is just about to end.
warnings.simplefilter("ignore", DeprecationWarning)

def read_in_a_child(fetches):
    child = os.fork()
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        return
    try:
        assert bridge.run(bridge.database.get()).username == "app"
        gc.collect()
        assert bridge.pool.stats().fetches == fetches
        bridge.run(bridge.database.refresh())
        bridge.close()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

gunicorn_conf.when_ready(None)
assert threading.active_count() == 1
read_in_a_child(fetches=1)

bridge.run(bridge.database.refresh())
read_in_a_child(fetches=2)
assert bridge.run(bridge.database.get()).username == "app"
print("ended well")
"""


async def test_forks(tmp_path: Path, stub_secrets: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child reads what its parent has preloaded, without a fetch; it starts a loop and clients of its own.

    The process exits without a warning of something that was left open.
    """
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", stub_secrets.url)
    write_files(tmp_path)
    assert await child(FORKS, str(tmp_path), options=("-W", "error")) == "ended well"
    assert len(stub_secrets.requests) == 4


@pytest.fixture
async def rotating(place: Place) -> Place:
    """PostgreSQL with the role `app`, and the page's secret for it."""
    await place.role("app", "first")
    place.secrets.create("prod/database", place.fields("app", "first"))
    return place


def words_for(place: Place) -> dict[str, str]:
    """Return what the files have to have in the place of the page's words."""
    address = f"{place.server.host}:{place.server.port}/postgres"
    host = f'"{place.server.host}"'
    return {
        "db.example:5432/app": address,
        '"db.example"': host,
        "5432": str(place.server.port),
        '"NAME": "app"': '"NAME": "postgres"',
        "budget=10": "budget=0.2",
    }


@pytest.fixture
def django() -> None:
    """Set Django up, which a process does once."""
    conf = pytest.importorskip("django.conf")
    if not conf.settings.configured:
        conf.settings.configure(LOGGING_CONFIG=None)
        importlib.import_module("django").setup(set_prefix=False)


@pytest.fixture
async def in_one_thread() -> AsyncIterator[Callable[..., Any]]:
    """A function that runs blocking code in the same thread each time, because Django's connections stay in theirs."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as executor:
        yield lambda work: loop.run_in_executor(executor, work)


@pytest.mark.usefixtures("django")
async def test_django(files: Callable[..., Any], rotating: Place, in_one_thread: Callable[..., Any]) -> None:
    """Django's connections sign in during a rotation, open ones go on, and a refusal in the end is Django's error."""
    utils = pytest.importorskip("django.db.utils")
    settings = files("shop.settings", rotating.url, words_for(rotating))
    connection = await in_one_thread(lambda: utils.ConnectionHandler(settings.DATABASES)["default"])

    def who() -> Any:  # noqa: ANN401
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user, pg_backend_pid()")
            return cursor.fetchone()

    first = await in_one_thread(who)
    assert first[0] == "app"

    await rotating.set_password("app", "second")
    rotating.secrets.pend("prod/database", rotating.fields("app", "second"))
    assert await in_one_thread(who) == first
    await in_one_thread(connection.close)
    assert (await in_one_thread(who))[1] != first[1]

    rotating.secrets.promote("prod/database")
    await rotating.set_password("app", "nowhere-written")
    await in_one_thread(connection.close)
    with pytest.raises(utils.OperationalError, match="password authentication failed") as caught:
        await in_one_thread(who)
    assert "second" not in repr(vars(caught.value.__cause__))
    await in_one_thread(connection.close)


@pytest.mark.usefixtures("django")
async def test_django_view(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """A sync view reads the secret by the bridge, in any thread, and fetches it once."""
    views = await in_thread(files, "shop.views", stub_secrets.url)
    assert [(await in_thread(views.user, None)).content for _ in range(2)] == [b"app", b"app"]
    assert len(stub_secrets.requests) == 1


@pytest.mark.usefixtures("django")
async def test_django_async(files: Callable[..., Any], stub_secrets: StubSecretsManager) -> None:
    """An async view reads in the server's loop, and shares the cache with the bridge."""
    views = files("shop.async_views", stub_secrets.url)
    bridge = sys.modules["bridge"]
    assert (await views.user(None)).content == b"app"
    assert (await in_thread(lambda: bridge.run(bridge.database.get()))).username == "app"
    assert (await views.user(None)).content == b"app"
    assert len(stub_secrets.requests) == 1


async def test_flask(files: Callable[..., Any], rotating: Place) -> None:
    """A sync engine of SQLAlchemy signs in during a rotation, also with another user, and keeps open connections."""
    pytest.importorskip("flask")
    pytest.importorskip("sqlalchemy")
    app = await in_thread(files, "app", rotating.url, words_for(rotating))

    def get() -> str:
        return app.app.test_client().get("/user").text

    assert await in_thread(get) == "app"
    await rotating.role("app2", "second")
    rotating.secrets.pend("prod/database", rotating.fields("app2", "second"))
    rotating.secrets.promote("prod/database")
    await rotating.set_password("app", "nowhere-written")
    assert await in_thread(get) == "app"
    await in_thread(app.engine.dispose)
    assert await in_thread(get) == "app2"
    await in_thread(app.engine.dispose)


async def test_celery(
    files: Callable[..., Any],
    stub_secrets: StubSecretsManager,
    redis_server: RedisServer,
    redis_admin: Any,  # noqa: ANN401
    tmp_path: Path,
) -> None:
    """A prefork worker signs in to its broker as the secret says, and its child reads without a fetch of its own."""
    pytest.importorskip("celery")
    await redis_admin.execute_command("ACL", "SETUSER", "app", "on", ">mock_password", "~*", "&*", "+@all")
    words = {"cache.example:6379": f"127.0.0.1:{redis_server.port}"}
    tasks = await in_thread(files, "tasks", stub_secrets.url, words)

    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "error"]
    command = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "-c", "1", *quiet]
    worker = await asyncio.create_subprocess_exec(
        *command, cwd=tmp_path, start_new_session=True, stderr=subprocess.DEVNULL
    )
    try:
        # The worker preloads before it connects to anything.
        waiting = [asyncio.ensure_future(work) for work in (stub_secrets.arrival(), worker.wait())]
        _, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        pending.pop().cancel()
        assert worker.returncode is None, "the worker ended"
        result = await in_thread(tasks.user.delay)
        assert await in_thread(lambda: result.get(timeout=20)) == "app"
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        await worker.wait()
    asked = [request.body["SecretId"] for request in stub_secrets.requests]
    assert asked[0] == "prod/database"
    assert asked.count("prod/database") == 1
    await in_thread(tasks.app.close)


async def test_broker_rotation(
    files: Callable[..., Any],
    stub: StubSecretsManager,
    redis_server: RedisServer,
    redis_admin: Any,  # noqa: ANN401
) -> None:
    """After a rotation, the refused connection makes the provider fetch once, and redis-py's next attempt signs in."""
    redis = pytest.importorskip("redis")
    secrets = stub.handler = RotatingSecrets()
    broker = await in_thread(files, "broker", stub.url)

    async def rotate_at_server(password: str) -> None:
        rights = ["on", "resetpass", f">{password}", "~*", "&*", "+@all"]
        await redis_admin.execute_command("ACL", "SETUSER", "app", *rights)

    secrets.create("prod/redis", SECRET)
    await rotate_at_server("mock_password")
    with redis.Redis(port=redis_server.port, credential_provider=broker.Provider()) as client:
        assert await in_thread(client.ping)
        secrets.pend("prod/redis", {**SECRET, "password": "second"})
        secrets.promote("prod/redis")
        await rotate_at_server("second")
        client.connection_pool.disconnect()
        assert await in_thread(client.ping)
    assert secrets.fetches["prod/redis"] == 2
