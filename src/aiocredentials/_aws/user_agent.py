"""The User-Agent of botocore, spelled once and kept as long as nothing in it changes.

botocore spells it twice per call, character by character, which is a quarter of a call's work. The
text that is sent stays the same, byte for byte.
"""

# The stubs of botocore don't have these private parts.
# mypy: disable-error-code="misc"
# pyright: basic
# ruff: noqa: SLF001

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore import useragent
from botocore.context import get_context
from botocore.useragent import UserAgentString

if TYPE_CHECKING:
    from botocore.session import Session

_COMPONENT = "user_agent_creator"

# What the text depends on, beside the features and the facts about this process. A test compares
# these names with those that botocore reads.
_SESSION_FACTS = (
    "_session_user_agent_name",
    "_session_user_agent_version",
    "_session_user_agent_extra",
)
_CONFIG_FACTS = (
    "user_agent",
    "_supplied_user_agent",
    "user_agent_extra",
    "user_agent_appid",
    "endpoint_discovery_enabled",
)

_MOST_TEXTS = 16
"""How many texts are kept: a client needs one, or a few if its calls use different features."""


class KeptUserAgent(UserAgentString):
    """botocore's own component, which keeps the texts that it has spelled.

    Threads need no lock: at worst, two of them spell the same text.
    """

    # A copy with a client's config shares it, because the keys have all facts of the config.
    _texts: dict[tuple[Any, ...], str]

    @classmethod
    def made_of(cls, creator: UserAgentString) -> KeptUserAgent:
        """Return a copy of botocore's own component, which keeps its texts."""
        kept = cls.__new__(cls)
        vars(kept).update(vars(creator))
        kept._texts = {}
        return kept

    def to_string(self) -> str:
        """Return the text that botocore sends."""
        facts = self._facts()
        text = self._texts.get(facts)
        if text is None:
            text = super().to_string()
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            self._texts[facts] = text
        return text

    def _facts(self) -> tuple[Any, ...]:
        own = vars(self)
        config = own.get("_client_config")
        settings = {} if config is None else vars(config)
        retries = settings.get("retries") or {}
        # botocore prints the features in the order of the set.
        features = tuple(_features(own.get("_client_features")))
        return (
            features,
            *map(own.get, _SESSION_FACTS),
            *map(settings.get, _CONFIG_FACTS),
            tuple(retries.items()),
        )


def _features(of_client: set[str] | None) -> set[str]:
    """Join the features of a client and those of the call, as botocore does."""
    of_call = getattr(get_context(), "features", ())
    return (of_client or set()).union(of_call)


def keep_user_agent(core: Session) -> None:
    """Let the clients of a session keep their User-Agent; a component of the caller's own stays."""
    creator = core.get_component(_COMPONENT)
    # The command-line tools of AWS may add anything to each text.
    is_extended = useragent.modify_components.__module__ != useragent.__name__
    if type(creator) is UserAgentString and not is_extended:
        core.register_component(_COMPONENT, KeptUserAgent.made_of(creator))
