"""Who owns an aioboto3 session and its clients, and when they close: per call, or pooled."""

from __future__ import annotations

import asyncio
import copy
import difflib
import functools
import inspect
import os
import re
import warnings
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeGuard, cast
from urllib.parse import urlsplit

from aiocredentials._loops import PerLoop, finish, join, running_loop
from aiocredentials._mapping import map_opening_error
from aiocredentials._redact import our_call, wire_logs_redacted
from aiocredentials.errors import (
    CredentialsError,
    InvalidParameterError,
    InvalidRegionError,
    PoolClosedError,
    describe,
    one_line,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from contextlib import AbstractAsyncContextManager

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession
    from types_aiobotocore_secretsmanager import SecretsManagerClient

SERVICE = "secretsmanager"
DEFAULT_REGION = "us-east-1"


class Region(NamedTuple):
    """A region and where it came from, so that an error can say both."""

    name: str
    source: str

    @property
    def endpoint(self) -> str:
        """The endpoint that Secrets Manager would have there."""
        suffix = ".cn" if self.name.startswith("cn-") else ""
        return f"https://{SERVICE}.{self.name}.amazonaws.com{suffix}"

    def facts(self) -> dict[str, str | None]:
        """Return what an error says of it."""
        return {"region_name": self.name, "region_source": self.source}


class Opened(NamedTuple):
    """A client that is open, and the region that it asks."""

    client: SecretsManagerClient
    region: Region


class CustomSession(Protocol):
    """A session that makes its own clients, in place of aioboto3's: a fake in tests, an emulator, a recorder.

    What it connects to, and whether that can be trusted, is its own affair. Of `endpoint_url` and `config`, only the
    region that a config names is for it.
    """

    @property
    def region_name(self) -> str:
        """The region for secrets that don't name their own, where the pool or the manager doesn't name one either."""
        ...

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[Any]:
        """Make a client, open as long as the block lasts, with botocore's methods for Secrets Manager as coroutines.

        These are `get_secret_value`, `batch_get_secret_value` and `describe_secret`. They take botocore's parameters,
        return its dicts and raise its exceptions, after retries if there are any.
        """
        ...


def _is_custom(session: object) -> TypeGuard[CustomSession]:
    # Asked of the class: a mock has every attribute.
    return hasattr(type(session), "secretsmanager_client")


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a caller may choose about the sessions and clients that are opened for it."""

    region_name: str | None = None
    region_source: str = "the region_name argument"
    session: aioboto3.Session | AioSession | CustomSession | None = None
    endpoint_url: str | None = None
    config: AioConfig | None = None
    redact_wire_logs: bool = True

    def __post_init__(self) -> None:
        """Refuse what can't work now, rather than at the first fetch."""
        check_name("region_name", self.region_name, "give a region such as 'eu-west-1', or leave it out")
        check_name("endpoint_url", self.endpoint_url, "give a URL such as 'https://vpce-1.example', or leave it out")
        if self.endpoint_url is not None and not _is_url(self.endpoint_url):
            message = f"endpoint_url {self.endpoint_url!r} isn't a URL: write it as 'https://host' or 'http://127.0.0.1:5000'."
            raise ValueError(message)
        # Of the two kinds of botocore session, boto3's own is the one that can't be awaited.
        if not (self.session is None or _is_custom(self.session)) and not inspect.iscoroutinefunction(
            getattr(_core(self.session), "get_credentials", None)
        ):
            kind = f"{type(self.session).__module__}.{type(self.session).__qualname__}"
            message = f"session is a {kind}: give an aioboto3.Session or an aiobotocore AioSession, or a CustomSession."
            raise TypeError(message)
        if self.config is not None and not hasattr(self.config, "http_session_cls"):
            message = f"config is a {type(self.config).__name__}: give an aiobotocore.config.AioConfig."
            raise TypeError(message)

    @property
    def profile(self) -> str | None:
        """The AWS profile that is used, for errors to name; None for the default one."""
        if self.session is None:
            # In botocore's order.
            return os.environ.get("AWS_DEFAULT_PROFILE", os.environ.get("AWS_PROFILE"))
        return None if _is_custom(self.session) else _core(self.session).profile


def check_name(argument: str, value: object, what_to_do: str) -> None:
    """Refuse what isn't a string, and the empty one; None is allowed."""
    if value is not None and not isinstance(value, str):
        message = f"{argument} is a {type(value).__name__}, not a string: {what_to_do}."
        raise TypeError(message)
    if value is not None and not value.strip():
        message = f"{argument} is empty: {what_to_do}."
        raise ValueError(message)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        complete = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        return bool(complete) and re.search(r"\s", text) is None
    except ValueError:  # brackets that don't close, or a port that is none
        return False


class ClientSource(Protocol):
    """Where the gateway gets a client from: a session per call, or a pool's."""

    @property
    def closed(self) -> bool:
        """Whether what fails now fails because of that."""
        ...

    @property
    def profile(self) -> str | None:
        """The AWS profile that is used, for errors to name; None for the default one."""
        ...

    async def region(self) -> Region:
        """Return the default region; it may be that a profile has to be read first."""
        ...

    def client(self, region: Region | None, deadline: asyncio.Timeout) -> AbstractAsyncContextManager[Opened]:
        """Lend a client for the region, or for the default one, until the deadline, which closing brings forward."""
        ...


class SessionPerCall:
    """Open an aioboto3 session and a client for each call, and close both: nothing is left behind."""

    closed = False

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings

    @property
    def profile(self) -> str | None:
        """The AWS profile of the settings."""
        return self._settings.profile

    async def region(self) -> Region:
        """Return the default region, as a session finds it."""
        return default_region(self._settings, await open_session(self._settings))

    @asynccontextmanager
    async def client(self, region: Region | None, deadline: asyncio.Timeout) -> AsyncGenerator[Opened]:  # noqa: ARG002
        """Lend a client that lives as long as the block."""
        redact = self._settings.redact_wire_logs
        with wire_logs_redacted(redact=redact), our_call(redact=redact):
            session = await open_session(self._settings)
            async with AsyncExitStack() as stack:
                yield await _open_client(
                    stack, session, region or default_region(self._settings, session), self._settings
                )


class PooledSession:
    """One aioboto3 session and one client a region, shared by all calls of a running loop until `aclose`."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._homes = PerLoop(lambda: _Home(settings))
        self._state: Literal["new", "open", "closed"] = "new"

    def open(self) -> bool:
        """Allow calls; sessions and clients are made by the first ones. Return whether it wasn't open before."""
        if self._state == "closed":
            raise describe(PoolClosedError, "The pool was closed, and closing is final: make a new one.")
        was_new, self._state = self._state == "new", "open"
        return was_new

    @property
    def profile(self) -> str | None:
        """The AWS profile of the settings."""
        return self._settings.profile

    @property
    def closed(self) -> bool:
        """Whether the pool is closed."""
        return self._state == "closed"

    def _check_open(self) -> None:
        if self._state != "open":
            what = (
                "isn't open yet: use `async with pool:` first" if self._state == "new" else "is closed: make a new one"
            )
            raise describe(PoolClosedError, f"The pool {what}.")

    async def region(self) -> Region:
        """Return the default region of the pool."""
        self._check_open()
        return default_region(self._settings, await self._homes.get().session())

    @asynccontextmanager
    async def client(self, region: Region | None, deadline: asyncio.Timeout) -> AsyncGenerator[Opened]:
        """Lend the shared client of the region."""
        self._check_open()
        home = self._homes.get()
        with home.lent(deadline), our_call(redact=self._settings.redact_wire_logs):
            yield await home.opened(region)

    async def aclose(self) -> None:
        """Close the clients of all loops; calling it again does nothing. A cancelled caller waits for the end, too."""
        self._state = "closed"
        here = running_loop()
        closing: list[asyncio.Future[None]] = []
        for loop, home in self._homes.living():
            if loop is here:
                closing.append(asyncio.ensure_future(home.aclose()))
            elif loop.is_running():
                closing.append(asyncio.wrap_future(asyncio.run_coroutine_threadsafe(home.aclose(), loop)))
        await finish(closing)

    @property
    def holds_clients(self) -> bool:
        """Whether there is something that only `aclose` closes."""
        return any(home.clients for _, home in self._homes.living())

    def __repr__(self) -> str:
        """Say the state and which regions have a client."""
        regions = sorted({region for _, home in self._homes.living() for region in home.clients if region})
        return " ".join([self._state, *regions])


class _Home:
    """What a pool has in one running loop: a session, clients, and the tasks that open them."""

    def __init__(self, settings: ClientSettings) -> None:
        self.clients: dict[str | None, Opened] = {}
        self._settings = settings
        self._session: AioSession | aioboto3.Session | CustomSession | None = None
        self._opening: dict[str | None, asyncio.Task[Opened | CredentialsError]] = {}
        self._making, self._one_at_a_time = asyncio.Lock(), asyncio.Lock()
        self._stack = AsyncExitStack()
        self._stack.enter_context(wire_logs_redacted(redact=settings.redact_wire_logs))
        self._deadlines: set[asyncio.Timeout] = set()
        self._returned = asyncio.Event()

    @contextmanager
    def lent(self, deadline: asyncio.Timeout) -> Generator[None]:
        """Note who uses a client: closing ends their calls first, so that nobody is left with a closed client."""
        self._deadlines.add(deadline)
        try:
            yield
        finally:
            self._deadlines.discard(deadline)
            self._returned.set()

    async def session(self) -> aioboto3.Session | AioSession | CustomSession:
        """Return the session; making it asks nobody, and so needs no task of its own."""
        async with self._making:
            self._session = self._session or await open_session(self._settings)
        return self._session

    async def opened(self, region: Region | None) -> Opened:
        """Return the client of the region, or of the default one; whoever waits for it may be cancelled."""
        key = region.name if region else None
        if key in self.clients:
            return self.clients[key]
        task = self._opening.get(key)
        if task is None:
            # A task of its own, in no caller's context: AWS credentials are resolved once, whoever comes and goes.
            task = asyncio.get_running_loop().create_task(self._open(key, region), context=Context())
            self._opening[key] = task
            task.add_done_callback(lambda _: self._opening.pop(key, None))
        outcome = await join(task)
        if isinstance(outcome, CredentialsError):
            raise copy.copy(outcome)
        return outcome

    async def _open(self, key: str | None, region: Region | None) -> Opened | CredentialsError:
        try:
            async with self._one_at_a_time:
                session = await self.session()
                where = region or default_region(self._settings, session)
                if where.name not in self.clients:
                    self.clients[where.name] = await _open_client(self._stack, session, where, self._settings)
                self.clients[key] = self.clients[where.name]._replace(region=where)
                return self.clients[key]
        except CredentialsError as error:
            return copy.copy(error)

    async def aclose(self) -> None:
        """End the calls and the openings in flight, then close the clients."""
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(0)
        while self._deadlines:
            self._returned.clear()
            await self._returned.wait()
        tasks = list(self._opening.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.clients.clear()
        await self._stack.aclose()


def _core(session: object) -> AioSession:
    # aioboto3 has no public way to the aiobotocore session inside.
    return cast("AioSession", getattr(session, "_session", session))


_loading = PerLoop(asyncio.Lock)
_is_loaded = False


async def load_transport() -> None:
    """Import aioboto3 and load botocore's models in a thread, once a process: 0.5 s that would stall the loop."""
    global _is_loaded  # noqa: PLW0603 (it is the process that has loaded them or hasn't)
    if not _is_loaded:
        async with _loading.get():
            await asyncio.to_thread(_load)
            _is_loaded = True


@functools.cache  # the tasks that waited meanwhile find it done
def _load() -> None:
    from aiocredentials import _transport  # noqa: PLC0415 (300 ms and 500 modules)

    _transport.load()


async def open_session(settings: ClientSettings) -> aioboto3.Session | AioSession | CustomSession:
    """Make an aioboto3 session; or a copy of the caller's own, so that theirs stays as it is."""
    if _is_custom(settings.session):
        return settings.session
    try:
        await load_transport()
        import aioboto3  # noqa: PLC0415 (loaded in a thread by now)

        from aiocredentials import _transport  # noqa: PLC0415 (as above)

        await _transport.turn()
        # Said explicitly, since botocore's defaults (60 s, legacy retries) change between versions. An idle connection
        # that the server has dropped costs one attempt, so there are always more than one.
        config = _transport.TrustedConfig(
            connect_timeout=3,
            read_timeout=5,
            max_pool_connections=50,
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        core = copy.copy(_core(settings.session)) if settings.session else _transport.TrustedAioSession()
        for theirs in (core.get_default_client_config(), settings.config):
            config = config.merge(theirs) if theirs else config
        # The default config, and none to the client: it is this one that botocore merges everywhere.
        core.set_default_client_config(config)
        return core if settings.session else aioboto3.Session(botocore_session=core)
    except Exception as error:  # noqa: BLE001 (whatever a broken configuration raises gets a sentence)
        failure = map_opening_error(error, profile=settings.profile)
    raise failure


def default_region(settings: ClientSettings, session: aioboto3.Session | AioSession | CustomSession) -> Region:
    """Find the region for a secret that doesn't say its own: config, pool, session, environment, profile, us-east-1."""
    if in_config := getattr(settings.config, "region_name", None):
        return Region(in_config, "config=")
    if settings.region_name:
        return Region(settings.region_name, settings.region_source)
    core = _core(session)
    explicit = session.region_name if _is_custom(session) else core.instance_variables().get("region")
    if explicit:
        return Region(explicit, "the session")
    # botocore reads AWS_DEFAULT_REGION alone; Lambda and ECS set AWS_REGION, and other SDKs read it.
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        if os.environ.get(variable):
            return Region(os.environ[variable], variable)
    try:
        in_profile = core.get_scoped_config().get("region")
    except Exception as error:  # noqa: BLE001 (a profile that isn't there, or a file that can't be parsed)
        failure = map_opening_error(error, profile=settings.profile)
    else:
        if in_profile:
            return Region(in_profile, f"profile {core.profile or 'default'!r}")
        return Region(DEFAULT_REGION, "the default: no argument, environment variable or profile names another")
    raise failure


def _new_client(
    session: aioboto3.Session | AioSession | CustomSession, region: Region, endpoint_url: str | None
) -> AbstractAsyncContextManager[SecretsManagerClient]:
    if _is_custom(session):
        return session.secretsmanager_client(region.name)
    # A session of the caller's is used as it is: an aioboto3 session around it would add handlers to it each time.
    create: Any = getattr(session, "client", None) or cast("AioSession", session).create_client
    return cast(
        "AbstractAsyncContextManager[SecretsManagerClient]",
        create(SERVICE, region_name=region.name, endpoint_url=endpoint_url),
    )


def _check_transport(session: object, client: SecretsManagerClient) -> str | None:
    """Return the endpoint if it is a plain one elsewhere. Raises `TypeError` for a transport that can't be trusted."""
    if _is_custom(session):
        return None
    from aiocredentials import _transport  # noqa: PLC0415 (as above)

    _transport.transport_of(client)
    endpoint = str(client.meta.endpoint_url)
    return endpoint if endpoint.startswith("http:") and not _transport.is_loopback(endpoint) else None


async def _open_client(
    stack: AsyncExitStack,
    session: aioboto3.Session | AioSession | CustomSession,
    region: Region,
    settings: ClientSettings,
) -> Opened:
    try:
        # For a pool this runs in a task of its own. STS, SSO and metadata services answer with credentials here.
        with our_call(redact=settings.redact_wire_logs):
            client = await stack.enter_async_context(_new_client(session, region, settings.endpoint_url))
        in_clear = _check_transport(session, client)
    except Exception as error:  # noqa: BLE001 (all that botocore may raise at opening is mapped)
        failure = map_opening_error(error, profile=settings.profile, **region.facts())
    else:
        if in_clear:
            warnings.warn(f"{in_clear} isn't encrypted: secrets cross the network in clear. Use https.", stacklevel=2)
        return Opened(client, region)
    # A line end after the region passes botocore's check, and makes the endpoint's URL malformed.
    is_malformed = isinstance(failure, InvalidParameterError) and not is_host_label(region.name)
    if is_malformed or isinstance(failure, InvalidRegionError):
        failure = wrong_region(region, settings.endpoint_url)
    raise failure


def wrong_region(region: Region, endpoint_url: str | None = None) -> CredentialsError:
    """Make the error for a region that isn't one: what would have been asked, and which real one is nearest."""
    # A URL of the caller's may have a user and a password.
    endpoint = re.sub(r"//[^/]*@", "//", endpoint_url) if endpoint_url else region.endpoint
    hint = nearest_region(region.name)
    meant = f": did you mean {hint!r}?" if hint else "."
    what = f"AWS has no region {shown(region.name)} ({one_line(endpoint)} would have been asked){meant}"
    return describe(InvalidRegionError, what, **region.facts())


_LONGEST_LABEL = 63
_HOST_LABEL = re.compile(rf"(?!-)[A-Za-z0-9-]{{1,{_LONGEST_LABEL}}}(?<!-)")


def is_host_label(name: str) -> bool:
    """Whether a region's name can be a part of a host's."""
    return _HOST_LABEL.fullmatch(name) is not None


def may_be_a_region(name: str) -> bool:
    """Whether a name has the shape of a region: of one that botocore lists, or of one that is newer."""
    return any(re.fullmatch(partition["regionRegex"], name) for partition in _partitions())


def unlisted(name: str) -> str:
    """Return a hint, where botocore doesn't list a region; empty where it does."""
    if any(name in partition["regions"] for partition in _partitions()):
        return ""
    return f"The installed botocore lists no region {shown(name)}: did you mean {nearest_region(name)!r}?"


def nearest_region(name: str) -> str | None:
    """Find the region that a name most likely means, by its place or by its spelling; None if it is far too long."""
    typed = name.strip().lower()
    if len(typed) > _LONGEST_LABEL:
        return None
    known = known_regions()
    # A place, such as the one in "Europe (Ireland)". Two letters are none, and nor is anything with a hyphen.
    if re.fullmatch("[a-z ]{3,}", typed):
        for partition in _partitions():
            for region, facts in partition["regions"].items():
                if region in known and typed in facts["description"].lower():
                    return str(region)
    return max(known, key=lambda region: difflib.SequenceMatcher(None, typed, region).ratio())


def known_regions() -> list[str]:
    """List the regions that the installed botocore knows, without asking the network."""
    # Those of the isolated partitions (aws-iso and its like) are nobody's typing mistake.
    return sorted(
        name
        for one in _partitions()
        if "-iso" not in one["id"]
        for name in one["regions"]
        if not name.endswith("-global")
    )


@functools.cache
def _partitions() -> list[dict[str, Any]]:
    from botocore.loaders import create_loader  # noqa: PLC0415 (as above)

    return cast("list[dict[str, Any]]", create_loader().load_data("partitions")["partitions"])
