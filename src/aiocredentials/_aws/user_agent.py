"""The User-Agent of botocore, spelled once and kept as long as nothing in it changes.

botocore spells it twice per call, character by character, which is a quarter of a call's work. The
text that is sent stays the same, byte for byte.
"""

# The stubs of botocore don't have these private parts.
# mypy: disable-error-code="attr-defined, misc"
# pyright: basic, reportAttributeAccessIssue=false
# ruff: noqa: SLF001

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from botocore import useragent
from botocore.useragent import UserAgentString

if TYPE_CHECKING:
    from botocore.session import Session

_COMPONENT = "user_agent_creator"

# What the text depends on, beside features, retries and the facts about this process. A test
# compares these names with those that botocore reads.
_NAMES = (
    "_session_user_agent_name",
    "_session_user_agent_version",
    "_session_user_agent_extra",
    "_client_config.user_agent",
    "_client_config._supplied_user_agent",
    "_client_config.user_agent_extra",
    "_client_config.user_agent_appid",
    "_client_config.endpoint_discovery_enabled",
)
_facts_of = attrgetter(*_NAMES)

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
        try:
            facts = self._facts()
        except AttributeError:
            # There is no client yet, or botocore has changed.
            return super().to_string()

        text = self._texts.get(facts)
        if text is None:
            text = super().to_string()
            if len(self._texts) >= _MOST_TEXTS:
                self._texts.clear()
            self._texts[facts] = text
        return text

    def _facts(self) -> tuple[Any, ...]:
        of_client = self._client_features or set()
        of_call = getattr(useragent.get_context(), "features", ())
        # botocore prints the features in the order of this set.
        features = of_client.union(of_call)
        retries = self._client_config.retries or {}
        return (tuple(features), tuple(retries.items()), _facts_of(self))


def keep_user_agent(core: Session) -> None:
    """Let the clients of a session keep their User-Agent; a caller's own component stays."""
    try:
        creator = core.get_component(_COMPONENT)
    except ValueError:
        # There is none in this botocore.
        return
    # The command-line tools of AWS replace this function, and may add anything to each text.
    extend = getattr(useragent, "modify_components", None)
    is_botocores_own = getattr(extend, "__module__", None) == useragent.__name__
    if type(creator) is UserAgentString and is_botocores_own:
        core.register_component(_COMPONENT, KeptUserAgent.made_of(creator))
