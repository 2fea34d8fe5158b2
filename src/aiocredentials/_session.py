"""Who owns an aioboto3 session and its clients, and when they close: per call, or pooled."""

from __future__ import annotations

import asyncio
import difflib
import inspect
import os
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

from aiocredentials.errors import (
    CredentialsError,
    InvalidParameterError,
    InvalidRegionError,
    PoolClosedError,
    describe,
    map_error,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
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


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a caller may choose about the sessions and clients that are opened for it."""

    region_name: str | None = None
    region_source: str = "the region_name argument"
    session: aioboto3.Session | AioSession | None = None
    endpoint_url: str | None = None
    config: AioConfig | None = None

    def __post_init__(self) -> None:
        """Refuse what can't work now, rather than at the first fetch."""
        check_name("region_name", self.region_name, "give a region such as 'eu-west-1', or leave it out")
        check_name("endpoint_url", self.endpoint_url, "give a URL such as 'https://vpce-1.example', or leave it out")
        if self.endpoint_url is not None and not _is_url(self.endpoint_url):
            message = f"endpoint_url {self.endpoint_url!r} isn't a URL: write it as 'https://host' or 'http://127.0.0.1:5000'."
            raise ValueError(message)
        # Of the two kinds of botocore session, boto3's own is the one that can't be awaited.
        if self.session is not None and not inspect.iscoroutinefunction(
            getattr(_core(self.session), "get_credentials", None)
        ):
            kind = f"{type(self.session).__module__}.{type(self.session).__qualname__}"
            message = f"session is a {kind}: give an aioboto3.Session or an aiobotocore AioSession."
            raise TypeError(message)
        if self.config is not None and not hasattr(self.config, "http_session_cls"):
            message = f"config is a {type(self.config).__name__}: give an aiobotocore.config.AioConfig."
            raise TypeError(message)


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

    def client(self, region: Region | None) -> AbstractAsyncContextManager[Opened]:
        """Lend a client for the region, or for the default one; what can't be opened is a `CredentialsError`."""
        ...


class SessionPerCall:
    """Open an aioboto3 session and a client for each call, and close both: nothing is left behind."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings

    @asynccontextmanager
    async def client(self, region: Region | None) -> AsyncGenerator[Opened]:
        """Lend a client that lives as long as the block."""
        session = open_session(self._settings)
        async with AsyncExitStack() as stack:
            yield await _open_client(stack, session, region or default_region(self._settings, session), self._settings)


class PooledSession:
    """One aioboto3 session, and one client a region, shared by all calls from `open` to `aclose`."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._session: aioboto3.Session | None = None
        self._clients: dict[str, SecretsManagerClient] = {}
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._leases: set[asyncio.Timeout] = set()
        self._returned = asyncio.Event()
        self._state: Literal["new", "open", "closed"] = "new"

    def open(self) -> None:
        """Allow calls; sessions and clients are made by the first ones."""
        if self._state == "closed":
            raise describe(PoolClosedError, "The pool was closed, and closing is final: make a new one.")
        self._state = "open"

    @asynccontextmanager
    async def client(self, region: Region | None) -> AsyncGenerator[Opened]:
        """Lend the shared client of the region."""
        if self._state != "open":
            what = (
                "isn't open yet: use `async with pool:` first" if self._state == "new" else "is closed: make a new one"
            )
            raise describe(PoolClosedError, f"The pool {what}.")
        # No deadline until `aclose` sets one: aiobotocore before 3 would open a new connection for a closed client.
        lease = asyncio.timeout(None)
        self._leases.add(lease)
        try:
            async with lease:
                yield await self._opened(region)
        except Exception:
            if self._state == "open":
                raise
        else:
            return
        finally:
            self._leases.discard(lease)
            self._returned.set()
        raise describe(PoolClosedError, "The pool was closed during the call.")

    async def _opened(self, region: Region | None) -> Opened:
        if self._session is None:
            self._session = open_session(self._settings)
        where = region or default_region(self._settings, self._session)
        if where.name not in self._clients:
            async with self._opening:
                # Another call may have opened it while this one waited.
                self._clients[where.name] = (
                    self._clients.get(where.name)
                    or (await _open_client(self._stack, self._session, where, self._settings)).client
                )
        return Opened(self._clients[where.name], where)

    async def aclose(self) -> None:
        """End the calls in flight and close the clients; calling it again does nothing."""
        if self._state != "closed":
            self._state = "closed"
            for lease in self._leases:
                lease.reschedule(0)
        while self._leases:
            self._returned.clear()
            await self._returned.wait()
        async with self._opening:
            self._clients.clear()
            await self._stack.aclose()

    @property
    def holds_clients(self) -> bool:
        """Whether there is something that only `aclose` closes."""
        return bool(self._clients)

    def __repr__(self) -> str:
        """Say the state and which regions have a client."""
        regions = f" {', '.join(self._clients)}" if self._clients else ""
        return f"{self._state}{regions}"


def _core(session: aioboto3.Session | AioSession) -> AioSession:
    # aioboto3 has no public way to the aiobotocore session inside.
    return cast("AioSession", getattr(session, "_session", session))


def open_session(settings: ClientSettings) -> aioboto3.Session:
    """Make an aioboto3 session, or one around the session that the caller gave."""
    import aioboto3  # noqa: PLC0415 (300 ms and 500 modules: paid when a session is opened, not by importing us)

    if isinstance(settings.session, aioboto3.Session):
        return settings.session  # a new one around its core would add to the core's loader and handlers each time
    try:
        return aioboto3.Session(botocore_session=_core(settings.session) if settings.session else None)
    except Exception as error:  # noqa: BLE001 (whatever a broken configuration raises gets a sentence)
        failure = map_error(error)
    raise failure


def default_region(settings: ClientSettings, session: aioboto3.Session) -> Region:
    """Find the region for a secret that doesn't say its own: config, pool, session, environment, profile, us-east-1."""
    if in_config := getattr(settings.config, "region_name", None):
        return Region(in_config, "config=")
    if settings.region_name:
        return Region(settings.region_name, settings.region_source)
    core = _core(session)
    explicit = core.instance_variables().get("region")
    if explicit:
        return Region(explicit, "the session")
    # botocore reads AWS_DEFAULT_REGION alone; Lambda and ECS set AWS_REGION, and other SDKs read it.
    for variable in ("AWS_DEFAULT_REGION", "AWS_REGION"):
        if os.environ.get(variable):
            return Region(os.environ[variable], variable)
    try:
        in_profile = core.get_scoped_config().get("region")
    except Exception as error:  # noqa: BLE001 (a profile that isn't there, or a file that can't be parsed)
        failure = map_error(error)
    else:
        if in_profile:
            return Region(in_profile, f"profile {core.profile or 'default'!r}")
        return Region(DEFAULT_REGION, "the default: no argument, environment variable or profile names another")
    raise failure


def _client_config(settings: ClientSettings, session: aioboto3.Session) -> AioConfig:
    """Merge ours, the session's and the caller's, the last one winning."""
    from aiobotocore.config import AioConfig  # noqa: PLC0415 (as above)

    # Said explicitly, since botocore's defaults (60 s, legacy retries) change between versions. An idle connection that
    # the server has dropped costs one attempt, so there are always more than one.
    config: Any = AioConfig(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3})
    theirs: Any  # the stubs know neither region_name nor connector_args
    for theirs in (_core(session).get_default_client_config(), settings.config):
        if theirs is not None:
            config = config.merge(theirs)
            config.connector_args = theirs.connector_args  # aiobotocore before 3 loses it in merge
    return cast("AioConfig", config)


async def _open_client(
    stack: AsyncExitStack, session: aioboto3.Session, region: Region, settings: ClientSettings
) -> Opened:
    try:
        client = await stack.enter_async_context(
            session.client(
                SERVICE,
                region_name=region.name,
                endpoint_url=settings.endpoint_url,
                config=cast("Any", _client_config(settings, session)),
            )
        )
        return Opened(client, region)
    except Exception as error:  # noqa: BLE001 (all that botocore may raise at opening is mapped)
        failure = map_error(error, **region.facts())
        if type(error) is ValueError:  # botocore's classes that are ValueErrors too say more
            what = "The client can't be made: endpoint_url, AWS_ENDPOINT_URL or a number in the profile is malformed."
            failure = describe(InvalidParameterError, what, **region.facts())
    if isinstance(failure, InvalidRegionError):
        failure = wrong_region(region, settings.endpoint_url)
    raise failure


def wrong_region(region: Region, endpoint_url: str | None = None) -> CredentialsError:
    """Make the error for a region that isn't one: what would have been asked, and which real one is nearest."""
    nearest = max(known_regions(), key=lambda known: difflib.SequenceMatcher(None, region.name, known).ratio())
    what = (
        f"AWS has no region {region.name!r} ({endpoint_url or region.endpoint} would have been asked): "
        f"did you mean {nearest!r}?"
    )
    return describe(InvalidRegionError, what, **region.facts())


def known_regions() -> list[str]:
    """List the regions that the installed botocore knows, without asking the network."""
    from botocore.loaders import create_loader  # noqa: PLC0415 (as above)

    partitions = create_loader().load_data("partitions")["partitions"]
    # Those of the isolated partitions (aws-iso and its like) are nobody's typing mistake.
    return sorted(
        name for one in partitions if "-iso" not in one["id"] for name in one["regions"] if not name.endswith("-global")
    )
