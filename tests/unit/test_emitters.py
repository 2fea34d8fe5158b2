"""The event handlers of our sessions: those that botocore would call, registered once per process."""

from __future__ import annotations

from typing import Any

import aioboto3
import pytest
from aiobotocore.hooks import AioHierarchicalEmitter
from aiobotocore.session import AioSession
from botocore import handlers, hooks
from botocore.configprovider import ChainProvider
from botocore.hooks import EventAliaser

from aiocredentials._aws import emitters
from aiocredentials._aws.aiosession import SlimSession, TrustedAioSession
from aiocredentials._aws.session import SessionPerCall, open_session
from aiocredentials._aws.settings import ClientSettings
from unit.lending import opened

# Events of the services that our sessions call, by the names under which botocore emits them.
EVENTS = [
    "choose-service-name",
    "creating-client-class.secrets-manager",
    "creating-client-class.sts",
    "before-parameter-build.secrets-manager.GetSecretValue",
    "before-call.secrets-manager.GetSecretValue",
    "before-call.sts.AssumeRole",
    "request-created.secrets-manager.BatchGetSecretValue",
    "before-endpoint-resolution.secrets-manager",
    "choose-signer.secrets-manager.GetSecretValue",
    "choose-signer.sts.AssumeRoleWithWebIdentity",
    "choose-signer.sts.AssumeRoleWithSAML",
    "choose-signer.sso.GetRoleCredentials",
    "choose-signer.sso-oidc.CreateToken",
    "before-sign.secrets-manager.GetSecretValue",
    "before-sign.sts.AssumeRole",
    "before-send.secrets-manager.GetSecretValue",
    "needs-retry.secrets-manager.GetSecretValue",
    "after-call.secrets-manager.GetSecretValue",
    "before-parse.secrets-manager.GetSecretValue",
    "getattr.secrets-manager.get_secret_value",
    "service-data-loaded.secrets-manager",
    "creating-serializer.secretsmanager",
]


def called_for(session: Any, event: str) -> list[Any]:  # noqa: ANN401 (a session of either kind)
    """List the handlers that a session calls for an event, in their order."""
    return list(session._original_handler._handlers.prefix_search(event))


class TestHandlers:
    """Which handlers there are."""

    @pytest.mark.parametrize("event", EVENTS)
    def test_the_same(self, event: str) -> None:
        """For each event of our services, a session of ours calls what a plain one calls."""
        assert called_for(TrustedAioSession(), event) == called_for(AioSession(), event)

    def test_those_that_are_needed(self) -> None:
        """Of botocore's event handlers those are kept that Secrets Manager and the credential chain need."""
        kept = {name for name, *_ in handlers.BUILTIN_HANDLERS if emitters.is_needed(name)}
        assert {"choose-signer", "choose-signer.sts.AssumeRoleWithWebIdentity", "request-created"} <= kept
        services = {name.split(".")[1] for name in kept if "." in name}
        assert services <= {"secretsmanager", "sts", "sso", "sso-oidc", "signin"}
        assert len(kept) < 30

    async def test_registered_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A session registers none: it gets a copy of the emitter that was prepared for the process."""
        await open_session(ClientSettings())
        registered: list[object] = []
        register = AioHierarchicalEmitter._register_section

        def note(self: Any, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 (botocore's)
            registered.append(arguments)
            register(self, *arguments, **more)

        monkeypatch.setattr(AioHierarchicalEmitter, "_register_section", note)
        await open_session(ClientSettings())
        assert registered == []
        # The count sees something.
        aioboto3.Session(botocore_session=AioSession())
        assert registered

    def test_added_later(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A handler that a library adds to botocore's list, as moto does, is called by all sessions from then on."""

        def handler(**_: object) -> None:
            """Do nothing."""

        TrustedAioSession()
        event = "before-send.secrets-manager.GetSecretValue"
        with monkeypatch.context() as patched:
            patched.setattr(handlers, "BUILTIN_HANDLERS", [*handlers.BUILTIN_HANDLERS, ("before-send", handler)])
            assert handler in called_for(TrustedAioSession(), event)
        assert handler not in called_for(TrustedAioSession(), event)

    def test_of_one_session(self) -> None:
        """A handler that one session gets is called by no other one."""

        def handler(**_: object) -> None:
            """Do nothing."""

        first = TrustedAioSession()
        first.register("before-send.secrets-manager", handler)
        first.unregister("request-created", handlers.add_retry_headers)
        event = "before-send.secrets-manager.GetSecretValue"
        assert handler in called_for(first, event)
        for event in EVENTS:
            assert called_for(TrustedAioSession(), event) == called_for(AioSession(), event)


def test_defaults_of_one_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session of ours sets its retries without a copy of what is its own, which holds the whole environment."""
    copied: list[object] = []
    monkeypatch.setattr(ChainProvider, "__deepcopy__", lambda *_: copied.append("a provider"))
    session = TrustedAioSession()
    assert (session.get_config_variable("retry_mode"), session.get_config_variable("max_attempts")) == ("standard", 3)
    assert not copied
    assert AioSession().get_config_variable("retry_mode") == "legacy"


class Counting(dict[str, str]):
    """Aliases that count how often they are gone through."""

    looks = 0

    def items(self) -> Any:  # noqa: ANN401 (a view)
        """Count, and give what a dict gives."""
        self.looks += 1
        return super().items()


class TestNames:
    """Events have several names, which botocore compares with 140 aliases."""

    async def test_compared_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sessions and clients after the first one find each name compared."""
        aliases = Counting(hooks.EVENT_ALIASES)
        monkeypatch.setattr(hooks, "EVENT_ALIASES", aliases)
        for _ in range(2):
            async with opened(SessionPerCall(ClientSettings())) as (client, _region):
                await client.meta.events.emit("before-send.secretsmanager.GetSecretValue", request=None)
            looks = aliases.looks
        async with opened(SessionPerCall(ClientSettings())) as (client, _region):
            await client.meta.events.emit("before-send.secretsmanager.GetSecretValue", request=None)
        assert aliases.looks == looks

    def test_the_same_names(self) -> None:
        """They are those that botocore finds, for each alias and without one."""
        plain = EventAliaser(AioHierarchicalEmitter())
        ours = emitters.SharedAliaser(AioHierarchicalEmitter())
        places = ("{}", "before-sign.{}", "before-sign.{}.GetSecretValue", "before-sign.x{}.y", "before-sign.{}x.y")
        aliased = [place.format(alias) for alias in hooks.EVENT_ALIASES for place in places]
        for event in (*EVENTS, *aliased):
            for _ in range(2):
                assert ours._alias_event_name(event) == plain._alias_event_name(event)

    def test_at_once(self) -> None:
        """A name that has no alias, as most have none, isn't compared with one alias after the other."""
        aliases = Counting(hooks.EVENT_ALIASES)
        ours = emitters.SharedAliaser(AioHierarchicalEmitter(), aliases)
        for event in EVENTS[:-1]:
            assert ours._alias_event_name(event) == event
        assert aliases.looks == 0
        assert ours._alias_event_name(EVENTS[-1]) == "creating-serializer.secrets-manager"
        assert aliases.looks == 1

    def test_other_aliases(self) -> None:
        """An emitter with aliases of its own shares no names."""
        own = emitters.SharedAliaser(AioHierarchicalEmitter(), {"secretsmanager": "mine"})
        assert own._alias_event_name("x.secretsmanager") == "x.mine"
        assert (
            emitters.SharedAliaser(AioHierarchicalEmitter())._alias_event_name("x.secretsmanager")
            == "x.secrets-manager"
        )


class TestHooks:
    """The private parts of botocore, aiobotocore and aioboto3 that this depends on."""

    def test_names(self) -> None:
        """An aliaser keeps the names that it has compared, and is copied with its emitter for each client."""
        aliaser = EventAliaser(AioHierarchicalEmitter())
        aliaser._alias_event_name("before-sign.secretsmanager")
        assert aliaser._alias_name_cache == {"before-sign.secretsmanager": "before-sign.secrets-manager"}
        assert isinstance(aliaser._emitter, AioHierarchicalEmitter)

    def test_sessions(self) -> None:
        """An aiobotocore session emits by `_events`, which is its component as well; aioboto3's registers handlers."""
        core = AioSession()
        assert core.get_component("event_emitter") is core._events
        ours = TrustedAioSession()
        assert ours.get_component("event_emitter") is ours._events
        assert callable(aioboto3.Session._register_default_handlers)
        assert SlimSession(botocore_session=ours).events is ours._events
