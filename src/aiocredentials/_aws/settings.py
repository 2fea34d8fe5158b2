"""What users may choose about sessions and clients, and the sessions that they may bring."""

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

    import aioboto3
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

logger = logging.getLogger("aiocredentials")


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


def is_custom(session: object) -> TypeGuard[CustomSession]:
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
        check_name(
            "endpoint_url",
            self.endpoint_url,
            "give a URL such as 'https://vpce-1.example', or leave it out",
        )
        if self.endpoint_url is not None and not _is_url(self.endpoint_url):
            shown = without_password(self.endpoint_url)
            how = "write it as 'https://host' or 'http://127.0.0.1:5000'."
            message = f"endpoint_url {shown!r} isn't a URL: {how}"
            if shown != self.endpoint_url:
                message += " The user and the password are left out here: in these, "
                message += "write # / ? @ as %23 %2F %3F %40."
            raise ValueError(message)
        # Of the two kinds of botocore session, boto3's own is the one that can't be awaited.
        if not (
            self.session is None or is_custom(self.session)
        ) and not inspect.iscoroutinefunction(
            getattr(core_of(self.session), "get_credentials", None)
        ):
            kind = f"{type(self.session).__module__}.{type(self.session).__qualname__}"
            message = f"session is a {kind}: give an aioboto3.Session or an aiobotocore AioSession, or a CustomSession."
            raise TypeError(message)
        if self.config is not None and not hasattr(self.config, "http_session_cls"):
            message = (
                f"config is a {type(self.config).__name__}: give an aiobotocore.config.AioConfig."
            )
            raise TypeError(message)

    @property
    def profile(self) -> str | None:
        """The AWS profile that is used, for errors to name; None for the default one."""
        if self.session is None:
            # In botocore's order.
            return os.environ.get("AWS_DEFAULT_PROFILE", os.environ.get("AWS_PROFILE"))
        return None if is_custom(self.session) else core_of(self.session).profile


def core_of(session: object) -> AioSession:
    """Return the aiobotocore session in an aioboto3 session, which has no public way to it."""
    return cast("AioSession", getattr(session, "_session", session))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        complete = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        # An @ elsewhere belongs to a password that ends the host name too early.
        rest = parts.path + parts.query + parts.fragment
        return bool(complete) and "@" not in rest and re.search(r"\s", text) is None
    except ValueError:  # brackets that don't close, or a port that is none
        return False
