"""The caller's choices about sessions and clients, checked when a pool or a manager is made.

`session` opens sessions and clients by these settings, and `regions` finds the region in them. A
warning about a setting names the line of the caller's code that made it: `UserLine`.
"""

from __future__ import annotations

import inspect
import logging
import os
import re
import sys
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeGuard, cast
from urllib.parse import urlsplit

from aiocredentials._arguments import check_name, check_region
from aiocredentials._aws.redact import without_password

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from typing import TypeAlias

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    AnySession: TypeAlias = "aioboto3.Session | AioSession | CustomSession"

logger = logging.getLogger("aiocredentials")

# A call of a generic class, such as `AsyncCredentialsManager[Any](...)`, goes through `typing`.
_SKIPPED_MODULES = ("aiocredentials.", "typing")


class CustomSession(Protocol):
    """The methods of a session that makes its own clients: a fake in tests, or an emulator.

    Pass such a session as `session=` to a pool or a manager, in place of an aioboto3 session. This
    library doesn't check its connections. The session doesn't receive `endpoint_url` and `config`,
    except the region that a config names.
    """

    @property
    def region_name(self) -> str:
        """The region of secrets if neither their ARN nor their pool or manager names one."""
        ...

    def secretsmanager_client(self, region_name: str) -> AbstractAsyncContextManager[Any]:
        """Make a client that is open as long as the block lasts.

        It has the methods of botocore's client for Secrets Manager, as coroutines:
        `get_secret_value`, `batch_get_secret_value` and `describe_secret`. They accept botocore's
        parameters, return its dicts and raise its exceptions. Retries are up to the client.

        A client that has its own cache should also have `refresh_secret_value`. It is called in
        place of `get_secret_value`, with the same parameters, when a cached value isn't acceptable:
        for `refresh()`, and for the first fetch after `invalidate()`.
        """
        ...


def is_custom(session: object) -> TypeGuard[CustomSession]:
    """Return whether a session makes its own clients."""
    # The class decides, because a mock has every attribute.
    return hasattr(type(session), "secretsmanager_client")


def core_of(session: object) -> AioSession:
    """Return the aiobotocore session in an aioboto3 session, which has no public way to it."""
    return cast("AioSession", getattr(session, "_session", session))


def check_session(session: object, *, more: str = "") -> None:
    """Raise `TypeError` if it is neither None nor a session that can be awaited."""
    if session is None:
        return
    # Of the two kinds of botocore session, boto3's own is the one that can't be awaited.
    core = core_of(session)
    get_credentials = getattr(core, "get_credentials", None)
    if inspect.iscoroutinefunction(get_credentials):
        return

    cls = type(session)
    kind = f"{cls.__module__}.{cls.__qualname__}"
    raise TypeError(
        f"session is a {kind}: give an aioboto3.Session or an aiobotocore AioSession{more}."
    )


class UserLine(NamedTuple):
    """A line of the user's code, for a warning that is issued while that code doesn't run."""

    filename: str
    line: int
    module: str

    @classmethod
    def that_called(cls) -> UserLine:
        """Return the line that called this package."""
        frame = sys._getframe(1)  # noqa: SLF001 (the warnings module finds its line by it)
        while True:
            module: str = frame.f_globals.get("__name__", "")
            caller = frame.f_back
            if caller is None or not module.startswith(_SKIPPED_MODULES):
                return cls(frame.f_code.co_filename, frame.f_lineno, module)
            frame = caller

    def warn(self, message: str) -> None:
        """Issue a `UserWarning`. Where warnings are errors, log it: it must not break a call."""
        try:
            warnings.warn_explicit(
                message,
                UserWarning,
                self.filename,
                self.line,
                self.module,
                self._registry(),
            )
        except Exception:  # noqa: BLE001 (the user's filters and hooks may raise anything)
            logger.warning("%s", message)

    def _registry(self) -> dict[Any, Any]:
        """Return the dict in which Python notes the warnings that a module has shown."""
        module = sys.modules.get(self.module)
        if module is None:
            return {}
        registry: dict[Any, Any] = vars(module).setdefault("__warningregistry__", {})
        return registry


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The caller's choices about the sessions and clients that are opened for it."""

    region_name: str | None = None
    region_source: str = "the region_name argument"
    session: AnySession | None = None
    endpoint_url: str | None = field(default=None, repr=False)
    config: AioConfig | None = None
    redact_wire_logs: bool = True
    chosen_at: UserLine = field(
        default_factory=UserLine.that_called,
        compare=False,
        repr=False,
    )

    def __post_init__(self) -> None:
        """Reject settings that can't work now, rather than at the first fetch."""
        check_region(self.region_name)
        self._check_endpoint()
        self._check_session()
        self._check_config()

    def _check_endpoint(self) -> None:
        what_to_do = "give a URL such as 'https://vpce-1.example', or leave it out"
        check_name("endpoint_url", self.endpoint_url, what_to_do)
        if self.endpoint_url is None or _is_url(self.endpoint_url):
            return

        safe_url = without_password(self.endpoint_url)
        message = (
            f"endpoint_url {safe_url!r} isn't a URL: "
            "write it as 'https://host' or 'http://127.0.0.1:5000'."
        )
        if safe_url != self.endpoint_url:
            message += (
                " The user and the password are left out here: in these, "
                "write # / ? @ as %23 %2F %3F %40."
            )
        raise ValueError(message)

    def _check_session(self) -> None:
        if not is_custom(self.session):
            check_session(self.session, more=", or a CustomSession")

    def _check_config(self) -> None:
        config = self.config
        if config is None or hasattr(config, "http_session_cls"):
            return

        kind = type(config).__name__
        raise TypeError(f"config is a {kind}: give an aiobotocore.config.AioConfig.")

    @property
    def profile(self) -> str | None:
        """The AWS profile in use, for errors to name; None for the default one."""
        if self.session is None:
            # botocore reads the two variables in this order.
            second = os.environ.get("AWS_PROFILE")
            return os.environ.get("AWS_DEFAULT_PROFILE", second)
        if is_custom(self.session):
            return None
        return core_of(self.session).profile


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        host = parts.hostname
        port = parts.port
    except ValueError:
        # A bracket isn't closed, or the port isn't a port's number.
        return False

    if parts.scheme not in {"http", "https"}:
        return False
    if not host or port == 0:
        return False
    # An @ elsewhere belongs to a password that ends the host name too early.
    rest = parts.path + parts.query + parts.fragment
    if "@" in rest:
        return False
    return re.search(r"\s", text) is None
