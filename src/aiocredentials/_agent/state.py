"""The state that all clients of one agent share: its address, its token, and its limits."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocredentials._agent.tokens import Token

REFUSAL_SECONDS = 3600.0
"""For how long an agent counts as older than `refreshNow`."""

logger = logging.getLogger("aiocredentials")


class AgentState:
    """One agent, as far as its clients in all event loops know it."""

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        region_name: str | None,
        role_arn: str | None,
        connections: int,
    ) -> None:
        self.url = url
        self.token = token
        self.region_name = region_name
        """The region that the caller gave; None if the environment decides."""
        self.role_arn = role_arn
        self.connections = connections
        self._refused_at: float | None = None
        """When the agent was last found to be older than `refreshNow`."""

    @property
    def knows_refresh(self) -> bool:
        """Whether requests bypass the agent's cache: not if it refused that in the last hour.

        After that it is asked again, because it may have been upgraded.
        """
        return self._refused_at is None or _now() - self._refused_at >= REFUSAL_SECONDS

    def note_no_refresh(self) -> None:
        """Note that the agent is older than `refreshNow`, and log it the first time."""
        is_first = self._refused_at is None
        self._refused_at = _now()
        if not is_first:
            return
        logger.warning(
            "The local agent at %s is older than 1.1, so requests can't bypass its cache. "
            "refresh(), and the first fetch after invalidate(), may return the value that it has "
            "cached. Install a newer agent, or shorten its ttl_seconds.",
            self.url,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()
