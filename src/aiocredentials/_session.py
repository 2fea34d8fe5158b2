"""Who owns an aioboto3 session and its clients, and when they close: per call, or pooled."""

from __future__ import annotations

import asyncio
import difflib
import functools
import inspect
import logging
import os
import re
import sys
import warnings
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, cast
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from aiocredentials._loops import PerLoop, loading
from aiocredentials._mapping import map_opening_error
from aiocredentials._redact import our_call, wire_logs_redacted, without_password
from aiocredentials.errors import (
    CredentialsError,
    InvalidParameterError,
    InvalidRegionError,
    describe,
    one_line,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession
    from types_aiobotocore_secretsmanager import SecretsManagerClient

logger = logging.getLogger("aiocredentials")

SERVICE = "secretsmanager"
DEFAULT_REGION = "us-east-1"
LONGEST_REGION = 63
"""Characters: a region is a label of the endpoint's host name (RFC 1035, section 2.3.4)."""

SIGN_AGAIN = frozenset(
    {
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "RequestInTheFuture",
        "RequestTimeTooSkewed",
        "TokenRefreshRequired",
        "UnrecognizedClient",
    }
)
"""AWS's codes, without "Exception", for credentials or a signature that it doesn't accept any more.

With credentials that are looked for anew, and a new signature, the same call may succeed. Sources:
the common errors of Secrets Manager, STS and S3, and the AWS SDK for JavaScript, which corrects its
clock for those about time.
"""

# These codes say as well that the key is wrong, which no new signature changes: the text tells them
# apart.
_SIGNATURE_CODES = frozenset({"InvalidSignature", "SignatureDoesNotMatch"})
_SIGNATURE_OF_ANOTHER_TIME = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)


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


class Place(NamedTuple):
    """A line of the user's code, for a warning that is issued when that code doesn't run."""

    filename: str
    line: int
    module: str

    @classmethod
    def outside(cls) -> Place:
        """Return the line that called this package."""
        frame = sys._getframe(1)  # noqa: SLF001 (the warnings module finds its line by it)
        while True:
            name: str = frame.f_globals.get("__name__", "")
            # A call of a generic class, as `AsyncCredentialsManager[Any](...)`, goes through `typing`.
            if frame.f_back is None or not name.startswith(("aiocredentials.", "typing")):
                return cls(frame.f_code.co_filename, frame.f_lineno, name)
            frame = frame.f_back

    def warn(self, message: str) -> None:
        """Issue a `UserWarning`. Where warnings are errors, log it: it must not break a call."""
        # Python notes in the registry of a module what it has shown of it.
        module = sys.modules.get(self.module)
        names: dict[str, Any] = vars(module) if module else {}
        registry: dict[Any, Any] = names.setdefault("__warningregistry__", {})
        at = (self.filename, self.line, self.module)
        try:
            warnings.warn_explicit(message, UserWarning, *at, registry)
        except Exception:  # noqa: BLE001 (whatever the user's filters and hooks raise)
            logger.warning("%s", message)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a caller may choose about the sessions and clients that are opened for it."""

    region_name: str | None = None
    region_source: str = "the region_name argument"
    session: aioboto3.Session | AioSession | CustomSession | None = None
    endpoint_url: str | None = field(default=None, repr=False)
    config: AioConfig | None = None
    redact_wire_logs: bool = True
    chosen_at: Place = field(default_factory=Place.outside, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse what can't work now, rather than at the first fetch."""
        check_region(self.region_name)
        check_name("endpoint_url", self.endpoint_url, "give a URL such as 'https://vpce-1.example', or leave it out")
        if self.endpoint_url is not None and not _is_url(self.endpoint_url):
            shown = without_password(self.endpoint_url)
            how = "write it as 'https://host' or 'http://127.0.0.1:5000'."
            message = f"endpoint_url {shown!r} isn't a URL: {how}"
            if shown != self.endpoint_url:
                message += " The user and the password are left out here: in these, "
                message += "write # / ? @ as %23 %2F %3F %40."
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


def check_region(region_name: object) -> None:
    """Refuse a region that is too long to be part of a host name.

    Others that aren't regions are refused by the call, with the nearest region.
    """
    what_to_do = "give a region such as 'eu-west-1', or leave it out"
    check_name("region_name", region_name, what_to_do)
    length = 0 if region_name is None else len(str(region_name))
    if length > LONGEST_REGION:
        at_most = f"no region has more than {LONGEST_REGION}"
        raise ValueError(f"region_name has {length} characters, and {at_most}: {what_to_do}.")


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        complete = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        # An @ elsewhere belongs to a password that ends the host name too early.
        rest = parts.path + parts.query + parts.fragment
        return bool(complete) and "@" not in rest and re.search(r"\s", text) is None
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
        """Lend a client for the region, or for the default one, until the deadline.

        Closing brings the deadline forward. If AWS refuses what the client signs, the next client
        has credentials that were searched for again.
        """
        ...


def signs_again(error: BaseException) -> bool:
    """Return whether AWS calls the credentials or the signature too old, or doesn't know them."""
    if not isinstance(error, ClientError):
        return False
    answer = error.response.get("Error", {})
    code = str(answer.get("Code")).removesuffix("Exception")
    if code in _SIGNATURE_CODES:
        return _SIGNATURE_OF_ANOTHER_TIME.search(str(answer.get("Message"))) is not None
    return code in SIGN_AGAIN


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
            where = region or default_region(self._settings, session)
            async with AsyncExitStack() as stack:
                opened = await _open_client(stack, session, where, self._settings)
                try:
                    yield opened
                except Exception as error:
                    note_refusal(self._settings, error)
                    raise


def note_refusal(settings: ClientSettings, error: Exception) -> None:
    """Have later copies of a caller's session search again, if AWS refused its credentials."""
    if settings.session is not None and not _is_custom(settings.session) and signs_again(error):
        from aiocredentials import _chain  # noqa: PLC0415 (loaded with the transport)

        _chain.refuse(_core(settings.session))


def _core(session: object) -> AioSession:
    """Return the aiobotocore session in an aioboto3 session, which has no public way to it."""
    return cast("AioSession", getattr(session, "_session", session))


_loading = PerLoop(asyncio.Lock)
_is_loaded = False


async def load_transport() -> None:
    """Import aioboto3 and load botocore's models in a thread, once a process: 0.5 s that would stall the loop."""
    if not _is_loaded:
        # One thread of each loop waits for it, however many tasks do.
        async with _loading.get():
            await asyncio.to_thread(_load)


def _load() -> None:
    global _is_loaded  # noqa: PLW0603 (it is the process that has loaded them or hasn't)
    with loading:
        if not _is_loaded:
            from aiocredentials import _transport  # noqa: PLC0415 (300 ms and 500 modules)

            _transport.load()
            _is_loaded = True


async def open_session(settings: ClientSettings) -> aioboto3.Session | AioSession | CustomSession:
    """Make an aioboto3 session; or a copy of the caller's own, so that theirs stays as it is."""
    if _is_custom(settings.session):
        return settings.session
    try:
        await load_transport()
        import aioboto3  # noqa: PLC0415 (loaded in a thread by now)

        from aiocredentials import _transport  # noqa: PLC0415 (loaded in a thread by now)

        await _transport.turn()
        # Said explicitly: botocore's defaults (60 s each, 10 connections) change between versions.
        config = _transport.TrustedConfig(
            connect_timeout=3,
            read_timeout=5,
            max_pool_connections=50,
        )
        if settings.session:
            core: AioSession = _transport.copy_of(_core(settings.session))
        else:
            core = _transport.TrustedAioSession()
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
    """Open a client, to be closed with the stack."""
    opening = AsyncExitStack()
    try:
        # For a pool this runs in a task of its own. STS, SSO and metadata services answer with credentials here.
        with our_call(redact=settings.redact_wire_logs):
            made = _new_client(session, region, settings.endpoint_url)
            client = await opening.enter_async_context(made)
        in_clear = _check_transport(session, client)
    except Exception as error:  # noqa: BLE001 (all that botocore may raise at opening is mapped)
        failure = map_opening_error(error, profile=settings.profile, **region.facts())
    else:
        stack.push_async_exit(opening)
        if in_clear:
            shown = without_password(in_clear)
            risk = "isn't encrypted: secrets cross the network in clear. Use https."
            settings.chosen_at.warn(f"{shown} {risk}")
        return Opened(client, region)
    # A client that was entered, and then failed its check, is closed here.
    await opening.aclose()
    # A line end after the region passes botocore's check, and makes the endpoint's URL malformed.
    is_malformed = isinstance(failure, InvalidParameterError) and not is_host_label(region.name)
    if is_malformed or isinstance(failure, InvalidRegionError):
        failure = wrong_region(region, settings.endpoint_url)
    raise failure


def wrong_region(region: Region, endpoint_url: str | None = None) -> CredentialsError:
    """Make the error for a region that isn't one: what would have been asked, and which real one is nearest."""
    if len(region.name) > LONGEST_REGION:
        # The name would be in the message twice, and there is none that it resembles.
        what = f"A name of {len(region.name)} characters is no region: it has at most {LONGEST_REGION}."
        return describe(InvalidRegionError, what, region_source=region.source)
    endpoint = one_line(without_password(endpoint_url or region.endpoint))
    hint = nearest_region(region.name)
    what = f"AWS has no region {shown(region.name)} ({endpoint} would have been asked): did you mean {hint!r}?"
    return describe(InvalidRegionError, what, **region.facts())


_HOST_LABEL = re.compile(rf"(?!-)[A-Za-z0-9-]{{1,{LONGEST_REGION}}}(?<!-)")


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


def nearest_region(name: str) -> str:
    """Find the region that a name most likely means, by its place or by its spelling.

    The name has at most 63 characters: comparing a longer one would hold up the event loop.
    """
    typed = name.strip().lower()
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
