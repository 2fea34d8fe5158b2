"""What all clients of one agent share: its address, its token, and what it can't do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiocredentials._agent.tokens import Token

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
        self.knows_refresh = True
        """Whether the agent can be asked past its own cache."""

    def note_no_refresh(self) -> None:
        """Note that the agent is older than `refreshNow`, and log it once."""
        if not self.knows_refresh:
            return
        self.knows_refresh = False
        logger.warning(
            "The local agent at %s is older than 1.1: it can't be asked past its own cache. "
            "refresh(), and the first fetch after invalidate(), may return the value that it has "
            "cached. Install a newer agent, or shorten its ttl_seconds.",
            self.url,
        )
