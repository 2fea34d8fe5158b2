"""Sources of AWS credentials that hang or ask a person.

Given up in time, without a process or another region held.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from aiobotocore.credentials import AioProcessProvider
from aiobotocore.session import AioSession

from aiocredentials import AsyncCredentialsManager, AuthenticationError, CredentialsPool
from aiocredentials._aws import chain as _chain, clients as _clients, redact as _redact
from aiocredentials._aws.loading import load_transport
from aiocredentials.errors import CredentialSourceError
from aiocredentials.testing import FakeSecretsManager

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from server.stub import StubSecretsManager

EXPECTED = {"mock_secret_key": "mock_secret_value"}
ANSWER = '{"Version": 1, "AccessKeyId": "AKIAHELPER", "SecretAccessKey": "not-a-real-key"}'
PATIENCE = 0.5


class Helper:
    """A `credential_process`.

    It hangs as often as it shall, in a child of its own, and then answers.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "helper"
        self._folder = folder
        self.hang(times=1)
        self.path.write_text(
            "#!/bin/sh\n"
            f"echo $$ >> {folder}/pids\n"
            f"left=$(cat {folder}/left)\n"
            f"echo $((left - 1)) > {folder}/left\n"
            f"if [ $left -gt 0 ]; then sleep 60 & echo $! >> {folder}/pids; touch {folder}/hangs; wait; fi\n"
            f"echo '{ANSWER}'\n",
            encoding="utf-8",
        )
        self.path.chmod(0o755)

    def hang(self, *, times: int) -> None:
        """Hang the next times that it is started."""
        (self._folder / "left").write_text(f"{times}\n", encoding="utf-8")

    @property
    def has_hung(self) -> bool:
        """Whether it has been started, and hangs or has hung."""
        return (self._folder / "hangs").exists()

    async def hangs(self) -> None:
        """Wait until it hangs."""
        while not self.has_hung:  # noqa: ASYNC110 (another process makes the file)
            await asyncio.sleep(0.01)

    def pids(self) -> list[int]:
        """Return the processes that it has been, and their children."""
        return [int(line) for line in (self._folder / "pids").read_text(encoding="utf-8").split()]

    async def none_left(self) -> None:
        """Wait until none of them runs.

        One that was killed may be listed for a while, until the system's first process has taken note of it.
        """
        for pid in self.pids():
            while _runs(pid):  # noqa: ASYNC110 (the system says it to nobody)
                await asyncio.sleep(0.01)


def _runs(pid: int) -> bool:
    """Return whether a process runs: one that has ended, and is still listed, doesn't."""
    try:
        os.kill(pid, 0)
        _, _, after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        # Between the two lines it has gone; or this system has no /proc.
        return not Path("/proc/self").exists()
    return after_name.split()[0] not in {"Z", "X"}


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that writes the AWS configuration, the only source of credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))

    def write(text: str) -> None:
        (tmp_path / "config").write_text(text, encoding="utf-8")

    return write


@pytest.fixture
async def helper(configure: Callable[[str], None], tmp_path: Path) -> Helper:
    """The only source of credentials: it hangs the first time."""
    await load_transport()  # what a process does once takes its own time
    made = Helper(tmp_path)
    configure(f"[default]\ncredential_process = {made.path}\n")
    return made


class TestHangs:
    """A helper process that hangs."""

    pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="the helper is a shell script with a child")

    async def test_it_is_started_again(self, stub: StubSecretsManager, helper: Helper) -> None:
        """A pool gets over a helper that hung once.

        That call ends in time, the next one starts the helper anew.
        """
        async with CredentialsPool(endpoint_url=stub.url, policy=None, timeout=PATIENCE) as pool:
            with pytest.raises(CredentialSourceError, match=r"within 0\.5 s"):
                await pool.manager("prod/db").get()
            assert await pool.manager("prod/db").get() == EXPECTED
            assert await pool.manager("prod/db", "eu-west-1").get() == EXPECTED
            await helper.none_left()
        assert len(helper.pids()) == 3  # the first, its child, and the second

    async def test_another_caller_has_its_own_time(self, stub: StubSecretsManager, helper: Helper) -> None:
        """A later caller of another region gets its value from the helper that is started next."""
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            pool._store.gateway._timeout = PATIENCE
            first = asyncio.create_task(pool.manager("prod/db").get())
            await helper.hangs()
            pool._store.gateway._timeout = 20
            assert await pool.manager("prod/db", "eu-west-1").get() == EXPECTED
            with pytest.raises(CredentialSourceError):
                await first
            await helper.none_left()

    async def test_who_began_has_gone(self, stub: StubSecretsManager, helper: Helper) -> None:
        """An opening belongs to no caller.

        It is given up at its own time, when all callers have gone.
        """
        async with CredentialsPool(endpoint_url=stub.url, policy=None, timeout=PATIENCE) as pool:
            call = asyncio.create_task(pool.manager("prod/db").get())
            await helper.hangs()
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await helper.none_left()
            assert await pool.manager("prod/db").get() == EXPECTED

    async def test_a_search_that_began_late(
        self, stub: StubSecretsManager, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A search ends with the last opening that waits for it, before its own time is over."""
        make_session = _clients.Clients.session

        async def made_late(clients: _clients.Clients) -> Any:  # noqa: ANN401 (passed on)
            session = await make_session(clients)
            clients._shared.seconds = 60
            return session

        monkeypatch.setattr(_clients.Clients, "session", made_late)
        async with CredentialsPool(endpoint_url=stub.url, policy=None, timeout=PATIENCE) as pool:
            manager = pool.manager("prod/db", "eu-west-1")
            while not helper.has_hung:
                with pytest.raises(CredentialSourceError):
                    await manager.get()
            await helper.none_left()
            pool._store.gateway._timeout = 20
            assert await manager.get() == EXPECTED

    async def test_closing(self, stub: StubSecretsManager, helper: Helper) -> None:
        """After closing there is no helper any more, nor a child of it."""
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            call = asyncio.create_task(pool.manager("prod/db").get())
            await helper.hangs()
        await asyncio.gather(call, return_exceptions=True)
        assert not _redact._living
        assert len(helper.pids()) == 2
        await helper.none_left()

    async def test_given_up_while_it_starts(self, helper: Helper) -> None:
        """A helper whose caller is cancelled before asyncio has connected its pipes is killed with its child."""
        starting = asyncio.create_task(_chain.start_helper(str(helper.path), stdout=asyncio.subprocess.PIPE))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        while not helper.has_hung:
            time.sleep(0.01)  # noqa: ASYNC251 (the loop must not go on meanwhile)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        async with asyncio.timeout(10):
            await helper.none_left()

    async def test_closing_after_it_was_given_up(self, stub: StubSecretsManager, helper: Helper) -> None:
        """A pool that never had a client leaves no filter on botocore's log either."""
        async with CredentialsPool(endpoint_url=stub.url, policy=None, timeout=PATIENCE) as pool:
            with pytest.raises(CredentialSourceError):
                await pool.manager("prod/db").get()
            await helper.none_left()
            assert _redact._living
        assert not _redact._living

    async def test_a_session_per_call(self, stub: StubSecretsManager, helper: Helper) -> None:
        """Without a pool it ends with the call."""
        manager = AsyncCredentialsManager[Any]("prod/db", endpoint_url=stub.url, timeout=PATIENCE, policy=None)
        with pytest.raises(CredentialSourceError, match=r"within 0\.5 s"):
            await manager.get()
        await helper.none_left()
        assert await manager.get() == EXPECTED

    async def test_of_a_source_profile(
        self, stub: StubSecretsManager, helper: Helper, configure: Callable[[str], None]
    ) -> None:
        """The helper of a profile that a role is assumed from is given up as well."""
        configure(
            "[default]\nrole_arn = arn:aws:iam::123456789012:role/app\nsource_profile = base\n"
            f"[profile base]\ncredential_process = {helper.path}\n"
        )
        async with CredentialsPool(endpoint_url=stub.url, policy=None, timeout=PATIENCE) as pool:
            with pytest.raises(CredentialSourceError):
                await pool.manager("prod/db").get()
            await helper.none_left()

    async def test_in_a_callers_own_session(self, stub: StubSecretsManager, helper: Helper) -> None:
        """A session that the caller made is no exception."""
        session = AioSession()
        async with CredentialsPool(session=session, endpoint_url=stub.url, policy=None, timeout=PATIENCE) as pool:
            with pytest.raises(CredentialSourceError):
                await pool.manager("prod/db").get()
            await helper.none_left()
            assert await pool.manager("prod/db").get() == EXPECTED

    async def test_at_a_terminal(
        self, stub: StubSecretsManager, helper: Helper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where a person may be asked, the helper keeps the terminal.

        It is killed, and its child isn't waited for.
        """
        monkeypatch.setattr(_chain, "_has_terminal", lambda: True)
        monkeypatch.setattr(_chain, "REAP_SECONDS", 0.05)
        async with CredentialsPool(endpoint_url=stub.url, policy=None, timeout=PATIENCE) as pool:
            with pytest.raises(CredentialSourceError):
                await pool.manager("prod/db").get()
            assert await pool.manager("prod/db").get() == EXPECTED
        first, childs, _ = helper.pids()
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        os.kill(childs, 9)


class TestEnds:
    """A helper process that ends, or that is killed by itself."""

    async def test_one_that_has_ended(self) -> None:
        """A helper that ends by itself while it is given up isn't missed."""
        process = await _chain.start_helper(sys.executable, "-c", "raise SystemExit(3)")
        await process._process.wait()
        await process._end()
        assert process.returncode == 3

    @pytest.mark.parametrize("error", [ProcessLookupError, PermissionError], ids=["Linux", "macOS"])
    async def test_one_that_ends_just_then(self, error: type[OSError], monkeypatch: pytest.MonkeyPatch) -> None:
        """Neither is one that has ended before it can be killed."""
        process = await _chain.start_helper(sys.executable, "-c", "raise SystemExit(3)")

        def gone(*_: object) -> NoReturn:
            raise error

        # Windows has neither.
        monkeypatch.setattr(os, "killpg", gone, raising=False)
        monkeypatch.setattr(signal, "SIGKILL", 9, raising=False)
        await process._end()
        assert process.returncode == 3

    async def test_one_that_cannot_start(self) -> None:
        """If it can't be started, a caller that was cancelled meanwhile is told of its cancellation only."""
        starting = asyncio.create_task(_chain.start_helper("there-is-no-such-program"))
        await asyncio.sleep(0)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting

    async def test_without_process_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On Windows, which has no process groups, a helper that hangs is killed all the same."""
        monkeypatch.delattr(os, "killpg", raising=False)
        process = await _chain.start_helper(sys.executable, "-c", "import time; time.sleep(60)")
        await process._end()
        assert process.returncode not in {None, 0}

    async def test_a_loop_without_processes(
        self, stub: StubSecretsManager, configure: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a loop that can't start programs, such as the SelectorEventLoop of Windows, the error says so."""

        async def cannot(*_: object, **__: object) -> NoReturn:
            raise NotImplementedError

        monkeypatch.setattr(type(asyncio.get_running_loop()), "_make_subprocess_transport", cannot)
        # A newer aiobotocore starts the program in a thread then: this one can't do that either.
        monkeypatch.setattr(AioProcessProvider, "_run_in_thread", cannot, raising=False)
        configure("[default]\ncredential_process = helper\n")
        async with CredentialsPool(endpoint_url=stub.url, policy=None) as pool:
            with pytest.raises(
                AuthenticationError, match=r"event loop can't start programs\. .*ProactorEventLoop"
            ) as info:
                await pool.manager("prod/db").get()
        assert not info.value.transient


def test_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether there is a terminal is asked of the system: it opens, or it doesn't."""
    opened: list[str] = []

    def opening(path: str, _: int) -> int:
        opened.append(path)
        return os.dup(0)

    monkeypatch.setattr(os, "open", opening)
    assert _chain._has_terminal()
    assert opened == ["/dev/tty"]

    def failing(*_: object) -> NoReturn:
        raise OSError

    monkeypatch.setattr(os, "open", failing)
    assert not _chain._has_terminal()


class TestRegions:
    """One region's opening doesn't hold another's."""

    async def test_a_client_that_hangs(self) -> None:
        """While the client of one region isn't ready, another region is answered."""
        fake = FakeSecretsManager({"prod/db": EXPECTED}, region_name="eu-west-2")
        hanging = asyncio.Event()

        class Custom:
            region_name = "eu-west-2"

            @contextlib.asynccontextmanager
            async def secretsmanager_client(self, region_name: str) -> AsyncIterator[Any]:
                if region_name == "eu-west-1":
                    hanging.set()
                    await asyncio.Event().wait()
                async with fake.secretsmanager_client(region_name) as client:
                    yield client

        async with CredentialsPool(session=Custom(), policy=None) as pool:
            call = asyncio.create_task(pool.manager("prod/db", "eu-west-1").get())
            await hanging.wait()
            assert await pool.manager("prod/db").get() == EXPECTED
        await asyncio.gather(call, return_exceptions=True)


class TestMultiFactor:
    """A profile that asks for the code of a device."""

    ROLE = (
        "[default]\nrole_arn = arn:aws:iam::123456789012:role/app\nsource_profile = base\n"
        "mfa_serial = arn:aws:iam::123456789012:mfa/me\n"
        "[profile base]\naws_access_key_id = AKIABASE\naws_secret_access_key = not-a-real-key\n"
    )

    @pytest.mark.parametrize("session", [None, AioSession], ids=["ours", "the caller's"])
    async def test_refused(
        self,
        stub: StubSecretsManager,
        configure: Callable[[str], None],
        session: type[AioSession] | None,
    ) -> None:
        """Nobody is asked in the event loop: a permanent error says what to do, each time."""
        configure(self.ROLE)
        async with CredentialsPool(session=session and session(), endpoint_url=stub.url, policy=None) as pool:
            for _ in range(2):
                with pytest.raises(AuthenticationError, match=r"mfa/me \(mfa_serial\), which can't be typed"):
                    await pool.manager("prod/db").get()
        manager = AsyncCredentialsManager[Any]("prod/db", session=session and session(), endpoint_url=stub.url)
        with pytest.raises(AuthenticationError, match="choose a profile without mfa_serial") as info:
            await manager.get()
        assert not info.value.transient
        assert not info.value.asked
        assert info.value.secret_name == "prod/db"
        assert stub.requests == []
