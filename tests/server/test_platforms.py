"""The main job on fake platforms: each program here is a Python that lacks what Windows or macOS lacks.

`tests/fake_platforms` says what that is. What such a system really does, only that system can show.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from server.programs import child

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiocredentials.testing import MotoServer
    from server.stub import StubSecretsManager

FAKES = Path(__file__).parents[1] / "fake_platforms"
ANSWER = {"Version": 1, "AccessKeyId": "AKIAHELPER", "SecretAccessKey": "not-a-real-key"}
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no need of fakes")


@pytest.fixture(params=["windows", "macos"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The platform that all programs of this test run on."""
    name: str = request.param
    monkeypatch.setenv("FAKE_PLATFORM", name)
    monkeypatch.setenv("PYTHONPATH", str(FAKES))
    return name


async def test_the_fake(platform: str) -> None:
    """The programs of these tests do lack what the system lacks, and find the clock that it has."""
    found = json.loads(
        await child(
            """
            import asyncio, json, os, signal, time
            from pathlib import Path
            from aiocredentials import _store
            from aiocredentials.doctor import cli

            async def add_handler():
                try:
                    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, print)
                except NotImplementedError:
                    return False
                return True

            def opens(path):
                try:
                    os.close(os.open(path, os.O_RDONLY))
                except OSError:
                    return False
                return True

            print(json.dumps({
                "platform": cli.sys.platform,
                "lacks": [name for name in ("fork", "killpg", "register_at_fork") if not hasattr(os, name)],
                "kills": hasattr(signal, "SIGKILL"),
                "handles": asyncio.run(add_handler()),
                "proc": opens("/proc/self/stat"),
                "devnull": opens(os.devnull),
                "clock": list(getattr(_store.CLOCK, "args", [])),
                "is_pythons": _store.CLOCK is time.monotonic,
                "raw": getattr(time, "CLOCK_MONOTONIC_RAW", None),
            }))
            """
        )
    )
    raw = found.pop("raw")
    if platform == "windows":
        assert found == {
            "platform": "win32",
            "lacks": ["fork", "killpg", "register_at_fork"],
            "kills": False,
            "handles": False,
            "proc": False,
            "devnull": True,
            "clock": [],
            "is_pythons": True,
        }
    else:
        assert found == {
            "platform": "darwin",
            "lacks": [],
            "kills": True,
            "handles": True,
            "proc": False,
            "devnull": True,
            "clock": [raw],
            "is_pythons": False,
        }


@pytest.mark.usefixtures("platform")
async def test_the_main_job(stub: StubSecretsManager) -> None:
    """Managers per call and pools fetch, serve hits, refresh and close; the kit's fake does, too."""
    stub.secrets["prod/db"] = '{"password": "first"}'
    found = await child(
        """
        import asyncio, json, sys
        from aiocredentials import AsyncCredentialsManager, CredentialsPool
        from aiocredentials.testing import FakeSecretsManager

        async def main():
            manager = AsyncCredentialsManager("prod/db", endpoint_url=sys.argv[1], timeout=60)
            values = [await manager.get(), await manager.get()]
            async with CredentialsPool(endpoint_url=sys.argv[1], prefetch=["prod/db"], timeout=60) as pool:
                manager = pool.manager("prod/db")
                values += [await manager.get(), (await manager.refresh()).json(), await manager.get()]
                assert pool.stats().hits == 2, pool.stats()
                assert not (await manager.secret()).is_stale
            fake = FakeSecretsManager({"a": {"password": "fake"}})
            async with CredentialsPool(session=fake) as pool:
                values.append(await pool.manager("a").get())
            print(json.dumps([value["password"] for value in values]))

        asyncio.run(main())
        """,
        stub.url,
        options=("-W", "error"),
    )
    assert json.loads(found) == ["first"] * 5 + ["fake"]
    targets = [request.target for request in stub.requests]
    assert targets == ["GetSecretValue", "BatchGetSecretValue", "GetSecretValue"]


@pytest.mark.usefixtures("platform")
async def test_a_helper_that_hangs(stub: StubSecretsManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `credential_process` is used, and one that hangs is killed when its pool closes."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    helper = tmp_path / "helper.py"
    pids = tmp_path / "pids"
    helper.write_text(
        "import os, sys, time\n"
        f"is_first = not os.path.exists({str(pids)!r})\n"
        f"with open({str(pids)!r}, 'a', encoding='utf-8') as file:\n"
        "    file.write(f'{os.getpid()}\\n')\n"
        "if is_first:\n"
        "    time.sleep(600)\n"
        f"print({json.dumps(ANSWER)!r})\n",
        encoding="utf-8",
    )
    config = tmp_path / "config"
    config.write_text(f'[default]\ncredential_process = "{sys.executable}" "{helper}"\n', encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    found = await child(
        """
        import asyncio, os, sys
        from aiocredentials import CredentialsPool

        def runs(pid):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
            return True

        async def main():
            _, url, pids = sys.argv
            async with CredentialsPool(endpoint_url=url, policy=None, timeout=60) as pool:
                call = asyncio.create_task(pool.manager("prod/db").get())
                while not (os.path.exists(pids) and open(pids, encoding="utf-8").read().endswith("\\n")):
                    await asyncio.sleep(0.01)
                (pid,) = map(int, open(pids, encoding="utf-8").read().split())
                assert runs(pid)
            await asyncio.gather(call, return_exceptions=True)
            # It was waited for, so the system doesn't list it any more.
            assert not runs(pid)
            async with CredentialsPool(endpoint_url=url, policy=None, timeout=60) as pool:
                print(await pool.manager("prod/db").get())

        asyncio.run(main())
        """,
        stub.url,
        str(pids),
    )
    assert found == "{'mock_secret_key': 'mock_secret_value'}"
    assert [request.headers["authorization"].split("/")[0][-10:] for request in stub.requests] == ["AKIAHELPER"]


@pytest.mark.usefixtures("platform")
async def test_moto_of_the_kit() -> None:
    """Moto's server starts and ends there, and isn't in the parent's process group, which gets Ctrl-C."""
    found = await child(
        """
        import asyncio, os, subprocess
        from aiocredentials import AsyncCredentialsManager
        from aiocredentials.testing import MotoServer, SecretsEndpoint, _moto

        started = []

        class Popen(subprocess.Popen):
            def __init__(self, *arguments, **options):
                super().__init__(*arguments, **options)
                started.append(self)

        _moto.subprocess.Popen = Popen

        with MotoServer() as server:
            os.environ.update(server.environment())
            endpoint = SecretsEndpoint(server.url)
            endpoint.set("a", {"password": "p"})
            print(asyncio.run(AsyncCredentialsManager("a", "us-east-1", timeout=60).get()))
            endpoint.close()
            ps = ["ps", "-o", "pgid=", "-p"]
            groups = [subprocess.check_output([*ps, str(pid)]).strip() for pid in (os.getpid(), started[0].pid)]
            print(len(set(groups)))
        print(started[0].returncode is not None)
        """
    )
    assert found.splitlines() == ["{'password': 'p'}", "2", "True"]


@pytest.mark.usefixtures("platform")
def test_the_doctor(moto_environment: MotoServer, create_secret: Callable[..., Any]) -> None:
    """The doctor prints its table, in the encoding of its output, and ends with the code of its report."""
    assert moto_environment.url
    create_secret("prod/größe", '{"password": "p"}', "eu-west-1")
    command = [sys.executable, "-m", "aiocredentials", "doctor", "--region", "eu-west-1", "--no-search"]
    environment = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(
        [*command, "prod/größe", "prod/東京"], capture_output=True, check=False, timeout=25, env=environment
    )
    assert done.stderr == b""
    assert done.returncode == 1
    shown = done.stdout.decode("cp1252")
    assert "prod/größe in eu-west-1" in shown
    assert "prod/\\u6771\\u4eac in eu-west-1" in shown
    assert "2 secrets checked: 1 ok, 1 failed." in shown


@pytest.mark.usefixtures("platform")
async def test_ctrl_c(stub: StubSecretsManager) -> None:
    """Ctrl-C ends the doctor at once with 130, in the middle of a call, and without a traceback."""
    stub.hang(times=9)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aiocredentials", "doctor", "prod/db", "--endpoint-url", stub.url),
        stdout=pipe,
        stderr=pipe,
    )
    await stub.arrival()
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130
