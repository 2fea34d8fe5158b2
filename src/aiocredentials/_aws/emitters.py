"""The event emitters of our sessions: botocore's handlers are registered once per process.

botocore looks at each handler's signature when it is registered, and compares each name of an event
with 140 aliases, for each session and each client. Here a session gets a copy of one emitter, all
sessions share the names that were compared, and a name is compared with all aliases at once.
"""

# The stubs of botocore don't have the private hooks that this module uses.
# mypy: disable-error-code="attr-defined, misc"
# pyright: basic, reportAttributeAccessIssue=false
# ruff: noqa: ANN401

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from aiobotocore.hooks import AioHierarchicalEmitter
from botocore import handlers
from botocore.hooks import EventAliaser

# The handlers of these services are needed: by Secrets Manager, and by the credential chain.
_SERVICES = frozenset(
    {
        "secretsmanager",
        "sts",
        "sso",
        "sso-oidc",
        "signin",
    }
)

# For each event that one of our sessions has emitted or handled, the name that botocore uses for
# it. These are few, because they come from the operations of the services above.
_names: dict[str, str] = {}


class SharedAliaser(EventAliaser):
    """botocore's aliaser of event names, which shares the names that it has compared."""

    def __init__(self, event_emitter: Any, event_aliases: Any = None) -> None:
        super().__init__(event_emitter, event_aliases)
        if event_aliases is None:
            self._alias_name_cache = _names

    def _alias_event_name(self, event_name: str) -> str:
        if event_name not in self._alias_name_cache and not self._has_alias(event_name):
            self._alias_name_cache[event_name] = event_name
        name: str = super()._alias_event_name(event_name)
        return name

    def _has_alias(self, event_name: str) -> bool:
        """Return whether an alias is a part of the name, or several parts of it."""
        aliases = self._event_aliases
        if not aliases.keys().isdisjoint(event_name.split(".")):
            return True
        return any(alias in event_name for alias in aliases if "." in alias)

    def __copy__(self) -> SharedAliaser:
        """Return an aliaser around a copy of the emitter, as botocore does for each client."""
        return SharedAliaser(copy.copy(self._emitter))


class _Prepared(NamedTuple):
    """An emitter, and the list of handlers that it was made from."""

    source: list[Any]
    emitter: AioHierarchicalEmitter


_prepared: _Prepared | None = None


def new_emitter() -> AioHierarchicalEmitter:
    """Return an emitter with the handlers that are needed, for one session."""
    global _prepared  # noqa: PLW0603 (an emitter of the process)
    # Other libraries add to botocore's list, as moto does when it is imported.
    source = list(handlers.BUILTIN_HANDLERS)
    prepared = _prepared
    if prepared is None or prepared.source != source:
        prepared = _Prepared(source, _emitter_of(source))
        _prepared = prepared
    return copy.copy(prepared.emitter)


def _emitter_of(source: list[Any]) -> AioHierarchicalEmitter:
    """Make an emitter with those of botocore's 119 handlers that are needed.

    The others, for S3, EC2 and so on, are never called here.
    """
    emitter = AioHierarchicalEmitter()
    aliaser = SharedAliaser(emitter)
    register_at = {
        handlers.REGISTER_FIRST: aliaser.register_first,
        handlers.REGISTER_LAST: aliaser.register_last,
    }
    for event, handler, *position in source:
        if is_needed(event):
            place = position[0] if position else None
            register = register_at.get(place, aliaser.register)
            register(event, handler)
    return emitter


def is_needed(event: str) -> bool:
    """Return whether Secrets Manager or the credential chain needs the handlers of an event."""
    # Such as "before-sign.sts.AssumeRole". An event without a service is for all services.
    parts = event.split(".")
    if parts[0] == "docs":
        return False
    return len(parts) == 1 or parts[1] in _SERVICES
