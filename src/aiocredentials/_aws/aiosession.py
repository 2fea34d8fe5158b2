"""aiobotocore sessions whose transport can be trusted, and which share what they load."""

# The stubs of aiobotocore and aiohttp don't have the private hooks that this module is about.
# mypy: disable-error-code="attr-defined, has-type, misc, no-any-return, override, union-attr"
# pyright: basic, reportAttributeAccessIssue=false, reportIncompatibleMethodOverride=false
# ruff: noqa: ANN401, SLF001

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.hooks import AioHierarchicalEmitter
from aiobotocore.session import AioSession
from botocore import handlers
from botocore.configprovider import ChainProvider, ConstantProvider

from aiocredentials._aws import chain
from aiocredentials._aws.models import loader
from aiocredentials._aws.transport import TrustedConfig, TrustedSession, transport_of
from aiocredentials._loops import turn

if TYPE_CHECKING:
    from aiobotocore.httpsession import AIOHTTPSession


class _MetadataSessions:
    """Makes an HTTP session for each question to a metadata service, which no config reaches.

    aiobotocore shares one and counts its users. A caller who is cancelled while it closes makes the
    count wrong: then no later question gets an open session.
    """

    def __init__(self, theirs: AIOHTTPSession) -> None:
        self._timeout = theirs._timeout.sock_read
        self._proxies = theirs._proxy_config._proxies

    def acquire(self) -> TrustedSession:
        """Return a session, for one `async with`."""
        return TrustedSession(timeout=self._timeout, proxies=self._proxies)


class TrustedAioSession(AioSession):
    """An aiobotocore session whose credential chain is hardened too, and which shares what it loads."""

    def __init__(self) -> None:
        # Of botocore's 119 handlers, the ones for S3, EC2 and others are never called here and cost a millisecond.
        super().__init__(event_hooks=AioHierarchicalEmitter(), include_builtin_handlers=False)
        places = {
            handlers.REGISTER_FIRST: self._events.register_first,
            handlers.REGISTER_LAST: self._events.register_last,
        }
        for name, handler, *where in handlers.BUILTIN_HANDLERS:
            if _is_ours(name):
                places.get(where[0] if where else None, self._events.register)(name, handler)
        self.register_component("data_loader", loader)
        self.set_default_client_config(TrustedConfig())
        _set_retry_defaults(self)

    async def get_credentials(self) -> Any:
        """Resolve the AWS credentials, and let other tasks run before botocore goes on with them."""
        credentials = await super().get_credentials()
        await turn()  # next, botocore builds a client, without an await: several milliseconds
        return credentials

    def _create_credential_resolver(self) -> Any:
        resolver = super()._create_credential_resolver()
        chain.protect(resolver, _MetadataSessions)
        return resolver


def copy_of(core: AioSession) -> AioSession:
    """Return a copy of a caller's session, with our defaults where it has none."""
    mine = chain.copied(core, _MetadataSessions)
    _set_retry_defaults(mine)
    return mine


def _set_retry_defaults(core: AioSession) -> None:
    """Set standard retries and three attempts in all, unless environment or profile say otherwise.

    botocore's own default is the legacy mode, whose number of attempts depends on the service. An
    idle connection that the server has dropped costs one attempt, so there must be more than one.
    """
    store = core.get_component("config_store")
    for name, default in {"retry_mode": "standard", "max_attempts": 3}.items():
        provider = store.get_config_provider(name)
        # It is None where the session's owner has set a value.
        if isinstance(provider, ChainProvider):
            ours = copy.deepcopy(provider)
            ours.set_default_provider(ConstantProvider(default))
            store.set_config_provider(name, ours)


def _is_ours(event: str) -> bool:
    what, _, service = event.partition(".")
    return what != "docs" and service.split(".")[0] in {
        "",
        "secretsmanager",
        "sts",
        "sso",
        "sso-oidc",
        "signin",
    }


def load() -> None:
    """Read models, endpoint rules and CA store, and import what botocore imports late. For a thread: it takes 0.1 s.

    The collector is off meanwhile: it would stop all threads to look through what is being made here.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        # Whoever has a broken configuration learns of it from the session that needs it.
        with contextlib.suppress(Exception):
            asyncio.run(_dry_run())
    finally:
        if collecting:
            gc.enable()


async def _dry_run() -> None:
    session = aioboto3.Session("not-a-key", "not-a-secret", botocore_session=TrustedAioSession())
    async with session.client("secretsmanager", region_name="us-east-1") as client:
        transport_of(client).prepare()
