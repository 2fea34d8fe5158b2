"""aiobotocore sessions whose transport can be trusted, and which share what they load.

`transport` has their HTTP, `chain` their credential chain, `emitters` their event handlers, and
`models` the loader that they share.
Importing this module imports aioboto3 (300 ms): `loading` does that in a thread.
"""

# The stubs of aiobotocore and botocore don't have the private hooks that this module uses.
# mypy: disable-error-code="attr-defined, misc, override"
# pyright: basic, reportAttributeAccessIssue=false
# ruff: noqa: ANN401, SLF001

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.session import AioSession
from botocore.configprovider import ChainProvider, ConstantProvider

from aiocredentials._aws import chain
from aiocredentials._aws.emitters import SharedAliaser, new_emitter
from aiocredentials._aws.models import loader
from aiocredentials._aws.transport import TrustedConfig, TrustedSession
from aiocredentials._aws.user_agent import keep_user_agent
from aiocredentials._loops import turn

if TYPE_CHECKING:
    from aiobotocore.httpsession import AIOHTTPSession

_RETRY_DEFAULTS = {
    "retry_mode": "standard",
    "max_attempts": 3,
}


class _MetadataSessions:
    """Makes an HTTP session for each question to a metadata service, which no config reaches.

    aiobotocore shares one and counts its users. A caller that is cancelled while it closes makes
    the count wrong: then no later question gets an open session.
    """

    def __init__(self, shared: AIOHTTPSession) -> None:
        self._timeout = shared._timeout.sock_read
        self._proxies = shared._proxy_config._proxies

    def acquire(self) -> TrustedSession:
        """Return a session, for one `async with`."""
        return TrustedSession(
            timeout=self._timeout,
            proxies=self._proxies,
        )


class TrustedAioSession(AioSession):
    """An aiobotocore session with a safe transport and a safe credential chain.

    It shares the models with all others.
    """

    def __init__(self) -> None:
        emitter = new_emitter()
        super().__init__(
            event_hooks=emitter,
            include_builtin_handlers=False,
        )
        self._events = SharedAliaser(emitter)
        self.register_component("event_emitter", self._events)
        self.register_component("data_loader", loader)
        keep_user_agent(self)
        self.set_default_client_config(TrustedConfig())
        _set_retry_defaults(self, is_shared=False)

    async def get_credentials(self) -> Any:
        """Resolve the AWS credentials, and let other tasks run before botocore continues."""
        credentials = await super().get_credentials()
        # Next, botocore builds a client without an await, which takes several milliseconds.
        await turn()
        return credentials

    def _create_credential_resolver(self) -> Any:
        resolver = super()._create_credential_resolver()
        chain.protect(resolver, _MetadataSessions)
        return resolver


class SlimSession(aioboto3.Session):
    """An aioboto3 session without the handlers for S3, DynamoDB and EC2, which are never called."""

    def _register_default_handlers(self) -> None:
        pass


def copy_of(core: AioSession) -> AioSession:
    """Return a copy of a caller's session, with our defaults where it has none."""
    mine = chain.copied(core, _MetadataSessions)
    keep_user_agent(mine)
    _set_retry_defaults(mine, is_shared=True)
    return mine


def _set_retry_defaults(
    core: AioSession,
    *,
    is_shared: bool,
) -> None:
    """Set standard retries and three attempts in all, unless environment or profile set others.

    botocore's own default is the legacy mode, whose number of attempts depends on the service. An
    idle connection that the server has dropped costs one attempt, so there must be more than one.

    Args:
        core: The session.
        is_shared: Whether another session has the same providers of values, and keeps its defaults.
    """
    store = core.get_component("config_store")
    for name, default in _RETRY_DEFAULTS.items():
        provider = store.get_config_provider(name)
        # It is None where the session's owner has set a value.
        if isinstance(provider, ChainProvider):
            # A copy of all environment variables is a part of a copy.
            ours = copy.deepcopy(provider) if is_shared else provider
            ours.set_default_provider(ConstantProvider(default))
            store.set_config_provider(name, ours)


async def dry_run(service: Any = "secretsmanager") -> None:
    """Open a client that is never used, so everything is loaded when a later one is opened."""
    # No request is signed with these.
    keys = ("not-a-key", "not-a-secret")
    session = SlimSession(*keys, botocore_session=TrustedAioSession())
    async with session.client(service, region_name="us-east-1"):
        pass
