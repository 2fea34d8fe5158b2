"""The pytest plugin, as pytest finds it when the package is installed: its fixtures, in tests of each kind."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# What a run must not bring along: the loop of a test that is still open, a socket, a task, a warning of any kind.
STRICT = ["-W", "error", "-p", "no:cacheprovider", "-p", "no:timeout", "--log-cli-level=ERROR"]
NO_ASYNCIO = ["-p", "no:asyncio"]
NO_ANYIO = ["-p", "no:anyio"]
# Other plugins take long to load, and are beside the point.
ALONE = [*NO_ASYNCIO, *NO_ANYIO, "-p", "no:hypothesispytest", "-p", "no:xdist"]
ASYNCIO = [f"--override-ini=asyncio_default_{each}_loop_scope=function" for each in ("fixture", "test")]
ASYNCIO += ["--override-ini=asyncio_mode=auto", *NO_ANYIO]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Return a function that runs a test file in this process: no warning and no error in the log may come of it."""

    def run(code: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(code)
        result = pytester.runpytest_inprocess(*STRICT, *options)
        result.stdout.no_fnmatch_line("ERROR*")
        return result

    return run


POOLED = """
    import asyncio
    import gc

    import pytest

    from aiocredentials import PoolClosedError, SecretNotFoundError, ThrottledError

    pools = []

    {mark}
    async def test_a_pool_that_is_open(credentials_pool, fake_secrets, fake_clock):
        pools.append(credentials_pool)
        fake_secrets.set("prod/database", {{"username": "app"}})
        manager = credentials_pool.manager("prod/database")
        assert await manager.get() == {{"username": "app"}}
        fake_secrets.set("prod/database", {{"username": "app2"}})
        assert await manager.get() == {{"username": "app"}}
        fake_clock.advance(301)
        assert await manager.get() == {{"username": "app2"}}

    {mark}
    async def test_closed_and_clean(credentials_pool, fake_secrets, fake_clock):
        with pytest.raises(PoolClosedError):
            await pools[0].manager("prod/database").get()
        assert (fake_secrets.calls, fake_clock()) == ([], 0.0)
        with pytest.raises(SecretNotFoundError):
            await credentials_pool.manager("prod/database").get()

    {mark}
    async def test_what_is_left_under_way(credentials_pool, fake_secrets, fake_clock):
        fake_secrets.set("prod/database", "value")
        manager = credentials_pool.manager("prod/database")
        await manager.secret()
        gate = fake_secrets.hold()
        fake_clock.advance(299)
        await manager.secret()  # begins a refresh in the background, which never ends
        await gate.reached()

    {mark}
    async def test_that_enters_it(credentials_pool, fake_secrets):
        fake_secrets.set("prod/database", "value")
        async with credentials_pool as pool:
            await pool.manager("prod/database").secret()

    def test_nothing_is_left():
        pools.clear()
        gc.collect()
"""


def test_with_pytest_asyncio(run: Callable[..., pytest.RunResult]) -> None:
    """Under pytest-asyncio the pool is open, asks the fake, counts by the fake clock, and is closed after each test."""
    result = run(POOLED.format(mark=""), *ASYNCIO)
    result.assert_outcomes(passed=5)


def test_with_anyio(run: Callable[..., pytest.RunResult]) -> None:
    """Under anyio's plugin, which ends its loop before the fixtures end, it is the same."""
    backend = """
    @pytest.fixture
    def anyio_backend():
        return "asyncio"
    """
    result = run(POOLED.format(mark="@pytest.mark.anyio") + backend, *NO_ASYNCIO)
    result.assert_outcomes(passed=5)


def test_without_a_plugin_for_asyncio(run: Callable[..., pytest.RunResult]) -> None:
    """Sync tests use the fixtures too: with asyncio.run, with an app in another thread, and not at all."""
    code = """
        import asyncio
        import gc
        import threading

        def test_run(credentials_pool, fake_secrets):
            fake_secrets.set("prod/database", {"username": "app"})
            assert asyncio.run(credentials_pool.manager("prod/database").get()) == {"username": "app"}

        def test_unused(credentials_pool):
            assert "open" in repr(credentials_pool)

        def test_a_loop_that_goes_on(credentials_pool, fake_secrets, request):
            fake_secrets.set("prod/database", {"username": "app"})
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever)
            thread.start()
            reading = asyncio.run_coroutine_threadsafe(credentials_pool.manager("prod/database").get(), loop)
            assert reading.result(10) == {"username": "app"}

            def end():
                assert repr(credentials_pool) == "<CredentialsPool closed>"
                loop.call_soon_threadsafe(loop.stop)
                thread.join(10)
                loop.close()

            last.append(end)

        def test_a_loop_that_rests(credentials_pool, fake_secrets):
            fake_secrets.set("prod/database", {"username": "app"})
            loop = asyncio.new_event_loop()
            loop.run_until_complete(credentials_pool.manager("prod/database").get())

            def end():
                assert repr(credentials_pool) == "<CredentialsPool closed>"
                loop.close()

            last.append(end)

        last = []

        def test_they_were_closed_in_their_own_loops():
            while last:
                last.pop()()
            gc.collect()
    """
    run(code, *NO_ASYNCIO, *NO_ANYIO).assert_outcomes(passed=5)


def test_in_a_test_case(run: Callable[..., pytest.RunResult]) -> None:
    """`unittest` needs no fixture: the fake, the clock and a pool are plain objects."""
    code = """
        import unittest

        from aiocredentials import CredentialsPool
        from aiocredentials.testing import FakeClock, FakeSecretsManager

        class Service(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.secrets = FakeSecretsManager({"prod/database": {"username": "app"}})
                self.clock = FakeClock()
                pool = CredentialsPool(session=self.secrets, clock=self.clock)
                self.pool = await self.enterAsyncContext(pool)

            async def test_get(self):
                assert await self.pool.manager("prod/database").get() == {"username": "app"}
                assert len(self.secrets.calls) == 1
    """
    run(code, *NO_ASYNCIO, *NO_ANYIO).assert_outcomes(passed=1)


def test_in_classes(run: Callable[..., pytest.RunResult]) -> None:
    """Classes use the fixtures as functions do; a `unittest` class gets them by a fixture of its own."""
    code = """
        import asyncio
        import unittest

        import pytest

        class TestPlain:
            async def test_get(self, credentials_pool, fake_secrets):
                fake_secrets.set("prod/database", {"username": "app"})
                assert await credentials_pool.manager("prod/database").get() == {"username": "app"}

        class Given:
            @pytest.fixture(autouse=True)
            def given(self, credentials_pool, fake_secrets):
                fake_secrets.set("prod/database", {"username": "app"})
                self.manager = credentials_pool.manager("prod/database")

        class Sync(Given, unittest.TestCase):
            def test_get(self):
                self.assertEqual(asyncio.run(self.manager.get()), {"username": "app"})

        class Async(Given, unittest.IsolatedAsyncioTestCase):
            async def test_get(self):
                self.assertEqual(await self.manager.get(), {"username": "app"})
    """
    run(code, *ASYNCIO).assert_outcomes(passed=3)


@pytest.mark.timeout(90)
def test_with_xdist(pytester: pytest.Pytester) -> None:
    """Under pytest-xdist the fixtures are there in each worker."""
    code = """
        import pytest

        @pytest.mark.parametrize("number", range(4))
        async def test_get(credentials_pool, fake_secrets, number):
            fake_secrets.set("prod/database", {"number": number})
            assert await credentials_pool.manager("prod/database").get() == {"number": number}
    """
    pytester.makepyfile(code)
    options = ["-W", "error", "-p", "no:cacheprovider", "-n", "2", *ASYNCIO]
    pytester.runpytest_subprocess(*options, timeout=80).assert_outcomes(passed=4)


def test_moto_secrets(run: Callable[..., pytest.RunResult]) -> None:
    """The server starts once, is empty for each test, and every pool is sent there, whatever profile its user has."""
    code = """
        import os

        import pytest

        from aiocredentials import AsyncCredentialsManager, CredentialsPool, SecretNotFoundError
        from aiocredentials.testing import FakeClock

        urls = set()

        async def test_one(moto_secrets):
            urls.add(moto_secrets.url)
            moto_secrets.set("prod/database", {"username": "app"}, region_name="eu-west-1")
            async with CredentialsPool("eu-west-1") as pool:
                assert await pool.manager("prod/database").get() == {"username": "app"}
            assert (os.environ.get("AWS_PROFILE"), os.environ["AWS_REGION"]) == (None, "eu-west-1")
            assert await AsyncCredentialsManager("prod/database").get() == {"username": "app"}

        async def test_two(moto_secrets):
            urls.add(moto_secrets.url)
            clock = FakeClock()
            async with moto_secrets.pool("eu-west-1", clock=clock) as pool:
                manager = pool.manager("prod/database")
                with pytest.raises(SecretNotFoundError):
                    await manager.get()
                moto_secrets.set("prod/database", "value", region_name="eu-west-1")
                clock.advance(6)
                assert (await manager.secret()).reveal() == "value"
            assert len(urls) == 1
            assert moto_secrets.url in repr(moto_secrets)

        def test_before():
            assert os.environ["AWS_PROFILE"] == "nobody"
            assert "AWS_ENDPOINT_URL_SECRETS_MANAGER" not in os.environ
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_PROFILE", "nobody")
        patch.setenv("AWS_REGION", "eu-west-1")
        run(code, *ASYNCIO).assert_outcomes(passed=3)


def test_what_a_module_keeps_is_forgotten(run: Callable[..., pytest.RunResult]) -> None:
    """What managers and pools of a module fetched from moto isn't served to the next test, nor is a failure."""
    code = """
        import pytest

        from aiocredentials import AsyncCredentialsManager, CredentialsError, CredentialsPool, SecretNotFoundError
        from aiocredentials.events import Fetched

        pytestmark = pytest.mark.asyncio(loop_scope="module")
        heard = []
        alone = AsyncCredentialsManager("prod/database")
        pool = CredentialsPool(listener=heard.append)
        pooled = pool.manager("prod/database")

        async def test_without_the_fixture(_aiocredentials_moto, monkeypatch):
            server, endpoint = _aiocredentials_moto
            for name, value in server.environment().items():
                monkeypatch.setenv(name, value)
            endpoint.set("prod/database", {"username": "before"})
            await pool.open()
            for manager in (alone, pooled):
                assert await manager.get() == {"username": "before"}

        @pytest.mark.parametrize("user", ["first", "second"])
        async def test_a_value(moto_secrets, user):
            for manager in (alone, pooled):
                with pytest.raises(SecretNotFoundError):
                    await manager.get()
            heard.clear()
            moto_secrets.set("prod/database", {"username": user})
            alone.invalidate()
            pool.manager("prod/database").invalidate()
            for manager in (alone, pooled):
                assert await manager.get() == {"username": user}
            assert [type(event) for event in heard] == [Fetched]

        async def test_another_region(moto_secrets, monkeypatch):
            monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
            moto_secrets.set("prod/database", {"username": "third"}, region_name="eu-west-1")
            assert await alone.get() == {"username": "third"}

        async def test_without_moto(monkeypatch):
            monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
            with pytest.raises(CredentialsError):
                await alone.get()
            assert pool.stats().entries == 0
            await pool.aclose()
    """
    run(code, *ASYNCIO).assert_outcomes(passed=5)


OFF = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
MODULE = "aiocredentials.pytest_plugin"
WAYS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "by itself": ({}, [], ""),
    "autoload off, -p by name": (OFF, ["-p", "aiocredentials"], ""),
    "autoload off, -p by module": (OFF, ["-p", MODULE], ""),
    "-p by module": ({}, ["-p", MODULE], ""),
    "PYTEST_PLUGINS": ({"PYTEST_PLUGINS": MODULE}, [], ""),
    "conftest.py": ({}, [], f"pytest_plugins = ['{MODULE}']"),
    "conftest.py and -p by name": ({}, ["-p", "aiocredentials"], f"pytest_plugins = ['{MODULE}']"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_load_it(way: str, tmp_path: Path) -> None:
    """The plugin is loaded by itself, and may be named, by its name and by its module, in each way that pytest has."""
    variables, options, conftest = WAYS[way]
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_it.py").write_text("def test_it(fake_secrets):\n    fake_secrets.set('a', 'b')\n")
    others = [] if variables is OFF else ALONE
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *others, *options, "test_it.py"],
        check=False,
        capture_output=True,
        text=True,
        timeout=25,
        cwd=tmp_path,
        env=os.environ | variables,
    )
    assert "1 passed" in answer.stdout, answer.stdout + answer.stderr


def test_it_can_be_left_out(tmp_path: Path) -> None:
    """`-p no:aiocredentials` leaves the plugin out."""
    (tmp_path / "test_it.py").write_text("def test_it(fake_secrets): ...\n")
    options = ["-p", "no:aiocredentials", "-p", "no:cacheprovider", *ALONE]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        check=False,
        capture_output=True,
        text=True,
        timeout=25,
        cwd=tmp_path,
    )
    assert "fixture 'fake_secrets' not found" in answer.stdout


def test_the_fixtures_are_listed(pytester: pytest.Pytester) -> None:
    """`pytest --fixtures` tells of each."""
    listed = pytester.runpytest_inprocess("--fixtures", *STRICT, *NO_ASYNCIO).stdout.str()
    for name in ("fake_secrets", "fake_clock", "credentials_pool", "moto_secrets"):
        assert f"\n{name} " in listed or f"\n{name} [" in listed


def test_starting_pytest_stays_cheap(tmp_path: Path) -> None:
    """The plugin is found by its entry point, and brings in none of what only its fixtures need."""
    heavy = ("aioboto3", "aiobotocore", "aiohttp", "anyio", "boto3", "botocore.session", "moto", "pytest_asyncio")
    program = (
        "import sys, pytest\n"
        "class Look:\n"
        "    def pytest_configure(self, config):\n"
        "        assert config.pluginmanager.hasplugin('aiocredentials')\n"
        f"        print('heavy:', [name for name in {(*heavy, 'aiocredentials.testing')} if name in sys.modules])\n"
        # By the name of its entry point, and without other plugins, which take long to load and are beside the point.
        "pytest.main(['-p', 'aiocredentials', '--assert=plain', '--collect-only', '--rootdir=.'], plugins=[Look()])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=25,
        cwd=tmp_path,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )
    assert "heavy: []" in answer.stdout
