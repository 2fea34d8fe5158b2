"""A fork at any moment of the first fetch.

Parent and child go on as if nothing had been under way.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from server.programs import child
from server.sts import RoleStub

if TYPE_CHECKING:
    from server.stub import StubSecretsManager

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

SERVICE = """
import asyncio, gc, os, signal, sys, threading, traceback, warnings

from aiocredentials import AsyncCredentialsManager, CredentialsPool, _loops
from aiocredentials._aws import loading, redact as _redact

url, moments = sys.argv[1], [int(moment) for moment in sys.argv[2].split(",")]
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
os.environ["no_proxy"] = "*"  # macOS's own search for a proxy can crash in a forked child
AT_FIRST = len(sys.modules)
IMPORTING, ALL = 30, 50  # of 50 moments, 30 are spread over the import of modules, and 20 over what comes then

def in_child_process(work):
    pid = os.fork()
    if pid:
        return pid
    signal.alarm(60)
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

def ended_well(pid):
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def of_the_child(pool):
    assert gc.isenabled()
    assert _loops.bookkeeping.acquire(timeout=1)
    _loops.bookkeeping.release()
    assert not _redact._living
    assert not [logger for logger in _redact.LOGGERS if logger.filters]

    async def fetch():
        assert await pool.manager("a").get() == {"mock_secret_key": "mock_secret_value"}
        await pool.aclose()
        await AsyncCredentialsManager("a", endpoint_url=url, timeout=50).get()

    asyncio.run(fetch())
    assert gc.isenabled()

async def first_fetch(moment, modules):
    pool = CredentialsPool(endpoint_url=url, timeout=50, policy=None)
    await pool.open()
    first = asyncio.create_task(pool.manager("a").get())
    turns = 0
    while not first.done():
        if moment < IMPORTING and len(sys.modules) >= AT_FIRST + modules * moment // IMPORTING:
            break
        if moment >= IMPORTING and loading._is_loaded:
            turns += 1
            if turns >= 2 ** (moment - IMPORTING):  # spread over microseconds, at first, and over the whole fetch
                break
        await asyncio.sleep(0)
    forked = lambda: in_child_process(lambda: of_the_child(pool))
    # By turns in the loop's thread and in another one.
    child = await asyncio.to_thread(forked) if moment % 2 else forked()
    await first
    await pool.manager("a").get()
    await asyncio.to_thread(ended_well, child)
    await pool.aclose()

def count_modules():
    asyncio.run(first_fetch(ALL, 0))
    os.write(writing, str(len(sys.modules) - AT_FIRST).encode())

reading, writing = os.pipe()
ended_well(in_child_process(count_modules))
modules = int(os.read(reading, 100))
assert modules > 200
for moment in moments:
    # Each service is a process that has loaded nothing yet.
    ended_well(in_child_process(lambda: asyncio.run(first_fetch(moment, modules))))
print("all")
"""


@pytest.mark.timeout(300)
async def test_some_moments(stub: StubSecretsManager) -> None:
    """Forked while modules are imported, models loaded or answers awaited, every child answers."""
    assert await child(SERVICE, stub.url, "9,20,31,40") == "all"


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_fifty_moments(stub: StubSecretsManager) -> None:
    """The same at fifty moments."""
    assert await child(SERVICE, stub.url, ",".join(map(str, range(50)))) == "all"


IMPORTS = """
import asyncio, os, sys

from aiocredentials import AsyncCredentialsManager, CredentialsPool, DatabaseCredentials, SecretFormatError
from aiocredentials._loops import loading
from aiocredentials.iam import IamDatabaseCredentials

url, unlocked = sys.argv[1], []
os.environ["AWS_ENDPOINT_URL_STS"] = sys.argv[2]

def note(event, arguments):
    if event == "import" and arguments[0].startswith("aiocredentials") and not loading._lock._is_owned():
        unlocked.append(arguments[0])

async def main():
    # The import of the events belongs to the line that gives a pool a listener.
    pool = CredentialsPool(endpoint_url=url, listener=print)
    sys.addaudithook(note)
    # A service may make its pool while its loop runs.
    CredentialsPool("eu-west-1", replica_regions=["eu-central-1"])
    async with pool:
        await pool.manager("a").get()
        await pool.manager("a").refresh()
        await IamDatabaseCredentials(pool, host="db.example", port=5432, username="app").get()
    await AsyncCredentialsManager("a", endpoint_url=url).get()
    role = {"role_arn": "arn:aws:iam::123456789012:role/reader", "external_id": "1234"}
    await AsyncCredentialsManager("a", endpoint_url=url, **role).get()
    DatabaseCredentials.from_url("mysql://app:mock_password@db.example").as_dsn()
    try:
        DatabaseCredentials.from_json("{}")
    except SecretFormatError:
        pass

asyncio.run(main())
print("imported without the lock:", *unlocked)
"""


async def test_imports_are_locked(stub: StubSecretsManager) -> None:
    """What a fetch imports of ours is imported under the lock for which a fork waits.

    In a child that is forked in the middle of an import, nobody ends it.
    """
    async with RoleStub() as sts:
        printed = await child(IMPORTS, stub.url, sts.url())
    assert printed.splitlines()[-1] == "imported without the lock:"


async def test_the_childs_own_log(stub: StubSecretsManager) -> None:
    """A forked child has none of the parent's filters, and its own log is filtered."""
    program = """
    import asyncio, io, logging, os, sys, warnings
    from aiocredentials import CredentialsPool
    from aiocredentials._aws import redact as _redact

    warnings.simplefilter("ignore", DeprecationWarning)
    os.environ["no_proxy"] = "*"
    text = io.StringIO()
    logging.basicConfig(stream=text, level="DEBUG")

    async def fetch():
        async with CredentialsPool(endpoint_url=sys.argv[1], policy=None, timeout=50) as pool:
            await pool.manager("a").get()

    def of_the_child():
        assert not [logger for logger in _redact.LOGGERS if logger.filters]
        text.truncate(0)
        asyncio.run(fetch())
        assert "Response body" in text.getvalue()
        assert "mock_secret_value" not in text.getvalue()
        assert not [logger for logger in _redact.LOGGERS if logger.filters]

    async def main():
        async with CredentialsPool(endpoint_url=sys.argv[1], policy=None, timeout=50) as pool:
            await pool.manager("a").get()
            assert _redact.LOGGERS[0].filters
            if not (child := os.fork()):
                try:
                    of_the_child()
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    os._exit(1)
                os._exit(0)
            status = await asyncio.to_thread(os.waitpid, child, 0)
            assert os.waitstatus_to_exitcode(status[1]) == 0
            assert _redact.LOGGERS[0].filters
        print("filtered")

    asyncio.run(main())
    """
    assert await child(program, stub.url) == "filtered"


async def test_a_fork_while_a_pool_opens(stub: StubSecretsManager) -> None:
    """A child that is forked while its parent opens a pool opens the pool itself, and waits for nobody."""
    program = """
    import asyncio, os, sys, warnings
    from aiocredentials import CredentialsPool
    from aiocredentials.testing import FakeSecretsManager

    warnings.simplefilter("ignore", DeprecationWarning)
    fake = FakeSecretsManager({"a": "{}"})
    pool = CredentialsPool(session=fake, prefetch=["a"])

    async def of_the_child():
        await asyncio.wait_for(pool.open(), 10)
        assert pool.stats().entries == 1

    async def main():
        gate = fake.hold()
        opening = asyncio.create_task(pool.open())
        await gate.reached()
        if not (child := os.fork()):
            try:
                asyncio._set_running_loop(None)
                fake._gates.clear()
                asyncio.run(of_the_child())
            except BaseException:
                import traceback
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        gate.release()
        await opening
        status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status[1]) == 0
        await pool.aclose()
        print("opened")

    asyncio.run(main())
    """
    assert await child(program, stub.url) == "opened"


ROLES = """
import asyncio, os, signal, sys, traceback, warnings

from aiocredentials import AsyncCredentialsManager, CredentialsPool

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of forks beside threads
os.environ["no_proxy"] = "*"
os.environ["AWS_ENDPOINT_URL_STS"] = sys.argv[2]
settings = {"endpoint_url": sys.argv[1], "policy": None, "role_arn": "arn:aws:iam::123456789012:role/reader"}
manager = AsyncCredentialsManager("a", **settings)

async def main():
    pool = CredentialsPool(**settings)
    await pool.open()

    async def read():
        await pool.manager("a").get()
        await manager.get()

    async def read_and_close():
        await read()
        await pool.aclose()

    await read()
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        asyncio.events._set_running_loop(None)
        try:
            asyncio.run(read_and_close())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    ended = await asyncio.to_thread(os.waitpid, pid, 0)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    await read_and_close()

asyncio.run(main())
print("all")
"""


@pytest.mark.timeout(120)
async def test_roles(stub: StubSecretsManager) -> None:
    """A child assumes its role by itself, under a session name of its own, and the parent's role stays assumed."""
    async with RoleStub() as sts:
        assert await child(ROLES, stub.url, sts.url()) == "all"
    assert len(sts.asked) == 4
    names = [one.parameters["RoleSessionName"] for one in sts.asked]
    assert names[0] == names[1] != names[2] == names[3]
