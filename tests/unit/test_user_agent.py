"""The User-Agent is the one that botocore would send, and is spelled once."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore import useragent
from botocore.context import get_context, start_as_current_context
from botocore.useragent import UserAgentString, register_feature_id

from aiocredentials import CredentialsPool
from aiocredentials._aws import user_agent
from aiocredentials._aws.aiosession import TrustedAioSession, copy_of
from aiocredentials._aws.user_agent import KeptUserAgent, keep_user_agent

if TYPE_CHECKING:
    from botocore.config import Config

    from server.stub import StubSecretsManager

COMPONENT = "user_agent_creator"
FEATURES = list(useragent._USERAGENT_FEATURE_MAPPINGS)
TEXTS = (None, "", "app", "an app/1.0 #ä", "x" * 60)


def a_config(chance: random.Random) -> Config:
    """Make a config of a client, as botocore completes it."""
    config = AioConfig(
        user_agent_extra=chance.choice(TEXTS),
        user_agent_appid=chance.choice(TEXTS),
        retries=chance.choice([None, {"mode": "standard"}, {"mode": "adaptive"}, {"max_attempts": 3}]),
        endpoint_discovery_enabled=chance.choice([None, True, False, "auto"]),
    )
    config.user_agent = chance.choice(TEXTS)
    if chance.random() < 0.8:
        config._supplied_user_agent = chance.choice((None, None, "mine/1.0"))
    return config


def change(chance: random.Random, creator: KeptUserAgent, config: Config) -> None:
    """Change something that the text depends on."""
    match chance.randrange(5):
        case 0:
            names = [chance.choice(TEXTS) for _ in range(3)]
            creator.set_session_config(*names)
        case 1:
            features = {chance.choice(FEATURES)[:2] for _ in range(chance.randrange(5))}
            creator.set_client_features(chance.choice([None, features]))
        case 2:
            config.retries = chance.choice([None, {"mode": "legacy"}, {"mode": "standard"}])
        case 3:
            vars(config).update(vars(a_config(chance)))
        case _:
            pass


def test_equals_that_of_botocore() -> None:
    """Whatever changes between two requests, the text is the one that botocore spells, byte for byte."""
    chance = random.Random(7)  # noqa: S311 (no secret: the seed makes it repeatable)
    for _ in range(40):
        creator = KeptUserAgent.made_of(UserAgentString.from_environment())
        config = a_config(chance)
        client = creator.with_client_config(chance.choice([None, config, config]))
        for _ in range(25):
            change(chance, chance.choice([creator, client]), config)
            with start_as_current_context():
                for _ in range(chance.randrange(3)):
                    register_feature_id(chance.choice(FEATURES))
                for each in (creator, client):
                    assert each.to_string() == UserAgentString.to_string(each)
            assert client.to_string() == UserAgentString.to_string(client)


class Reads:
    """Notes which attributes of an object are read."""

    def __init__(self, thing: object, names: set[str]) -> None:
        self.thing = thing
        self.names = names

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 (each attribute has its own type)
        if not name.startswith("__") and name in vars(self.thing):
            self.names.add(name)
        return getattr(self.thing, name)


def test_depends_on_nothing_else() -> None:
    """All facts that botocore reads for the text are facts by which the texts are kept.

    The others are those of the process. When botocore reads another one, it belongs in `user_agent`.
    """
    creator = UserAgentString.from_environment()
    of_process = set(vars(creator)) - {"_client_config", "_client_features", *user_agent._NAMES}
    assert {name.partition("_")[2].partition("_")[0] for name in of_process} == {
        "platform",
        "python",
        "execution",
        "crt",
    }

    config = AioConfig(retries={"mode": "standard"}, user_agent_appid="app", user_agent_extra="extra")
    config._supplied_user_agent = None
    for supplied in (None, "mine/1.0", ...):
        if supplied is ...:
            del config._supplied_user_agent
        else:
            config._supplied_user_agent = supplied
        read: set[str] = set()
        creator.with_client_config(Reads(config, read)).to_string()
        assert read <= {"retries", *(name.partition(".")[2] for name in user_agent._NAMES)}
        assert read


async def test_spelled_once(stub: StubSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is spelled once for all calls of a client, and it is sent with each of them."""
    spelled: list[str] = []
    spell = UserAgentString.to_string

    def counting(self: UserAgentString) -> str:
        text = spell(self)
        spelled.append(text)
        return text

    async with CredentialsPool(endpoint_url=stub.url) as pool:
        manager = pool.manager("prod/db", policy=None)
        await manager.secret()
        monkeypatch.setattr(UserAgentString, "to_string", counting)
        for _ in range(5):
            await manager.secret()
    assert spelled == []
    assert len({request.headers["user-agent"] for request in stub.requests}) == 1


async def test_sent_as_botocore_spells_it(stub: StubSecretsManager) -> None:
    """Each attempt of each client sends the text of botocore's own component at that moment."""
    session = AioSession()
    session.user_agent_extra = "extra/1.0"
    core = copy_of(session)
    configs = [
        AioConfig(user_agent_appid="first"),
        AioConfig(user_agent="mine/1.0"),
        AioConfig(retries={"mode": "adaptive", "total_max_attempts": 2}),
    ]
    sent: list[str] = []
    expected: list[str] = []
    for config in configs:
        async with core.create_client(
            "secretsmanager", region_name="eu-west-1", endpoint_url=stub.url, config=config
        ) as client:
            creator = client._user_agent_creator
            assert type(creator) is KeptUserAgent

            def note(request: Any, creator: UserAgentString = creator, **_: object) -> None:  # noqa: ANN401
                sent.append(request.headers["User-Agent"].decode())
                expected.append(UserAgentString.to_string(creator))

            client.meta.events.register("before-send", note)
            stub.error("ThrottlingException")
            await client.get_secret_value(SecretId="prod/db")
            await client.get_secret_value(SecretId="prod/db")
    assert sent == expected
    assert sent == [request.headers["user-agent"] for request in stub.requests]
    assert len(sent) == 9
    assert len(set(sent)) == 3


async def test_own_sessions() -> None:
    """Our own sessions and copies of a caller's have the component; the caller's session keeps its own."""
    callers = AioSession()
    own = callers.get_component(COMPONENT)
    assert type(copy_of(callers).get_component(COMPONENT)) is KeptUserAgent
    assert type(TrustedAioSession().get_component(COMPONENT)) is KeptUserAgent
    assert callers.get_component(COMPONENT) is own
    assert type(own) is UserAgentString


def test_component_of_the_caller() -> None:
    """A component of the caller's own stays."""

    class Mine(UserAgentString):
        pass

    callers = AioSession()
    mine = Mine.from_environment()
    callers.register_component(COMPONENT, mine)
    assert copy_of(callers).get_component(COMPONENT) is mine


def test_extended_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another package extends the text, nothing is kept, because it may add anything."""
    monkeypatch.setattr(useragent, "modify_components", lambda components: components)
    session = AioSession()
    keep_user_agent(session)
    assert type(session.get_component(COMPONENT)) is UserAgentString


def a_client() -> KeptUserAgent:
    """Make the component of a client."""
    creator = KeptUserAgent.made_of(UserAgentString.from_environment())
    config = AioConfig(retries={"mode": "standard"})
    config._supplied_user_agent = None
    return creator.with_client_config(config)


def test_missing_parts() -> None:
    """If botocore has lost a private part, each text is spelled by botocore, and a session without it works."""
    session = AioSession()
    del session._components._components[COMPONENT]
    keep_user_agent(session)
    with pytest.raises(ValueError, match=COMPONENT):
        session.get_component(COMPONENT)

    creator = a_client()
    creator.to_string()
    assert creator._texts
    creator._texts.clear()
    del creator._client_config._supplied_user_agent
    assert creator.to_string() == UserAgentString.to_string(creator)
    assert creator._texts == {}


def test_bounded() -> None:
    """However often the facts change, a few texts are kept."""
    creator = a_client()
    for number in range(1000):
        creator.set_session_config("name", str(number), "")
        assert f"name/{number}" in creator.to_string()
    assert len(creator._texts) <= user_agent._MOST_TEXTS


def test_threads() -> None:
    """Threads that share a component get the text of their own features."""
    creator = a_client()
    wrong: list[str] = []

    def ask(feature: str) -> None:
        with start_as_current_context():
            register_feature_id(feature)
            assert get_context() is not None
            expected = UserAgentString.to_string(creator)
            wrong.extend(text for _ in range(500) if (text := creator.to_string()) != expected)

    threads = [threading.Thread(target=ask, args=(feature,)) for feature in FEATURES[:24]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
