"""The client that a pool or a manager opens for the local agent: it asks, and asks once more."""

from __future__ import annotations

import asyncio
import os
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from aiocredentials._agent import failures
from aiocredentials._agent.answers import Refusal, read_reply
from aiocredentials._agent.loading import load_http
from aiocredentials._agent.slots import Slots
from aiocredentials.errors import CredentialsError

if TYPE_CHECKING:
    from aiocredentials._agent.answers import Answer, Outcome, Parameters
    from aiocredentials._agent.http import Connections, NoReply, Reply
    from aiocredentials._agent.state import AgentState

_NAMES = {
    "SecretId": "secretId",
    "VersionId": "versionId",
    "VersionStage": "versionStage",
}
_CURRENT = "AWSCURRENT"

# Lambda's extension isn't ready during INIT. In seconds.
READY_SECONDS = 5.0
_PAUSE = 0.1

sleep = asyncio.sleep


class _Attempts:
    """The attempts that one call has made, so no attempt is repeated for ever."""

    __slots__ = ("has_token", "is_lost", "paused", "refreshes", "refused_alone")

    def __init__(self) -> None:
        self.paused = 0.0
        """For how many seconds it has waited for an extension to be ready."""
        self.is_lost = False
        """Whether it has lost a connection."""
        self.refused_alone = 0
        """How often its connection was one too many while no other request had one."""
        self.has_token = False
        """Whether it has searched for the token again."""
        self.refreshes = False
        """Whether its last request bypassed the agent's cache."""


class AgentClient:
    """A client for GetSecretValue that asks one agent. It is for one event loop."""

    advice_if_late = failures.NOT_RUNNING
    """What to do if a call takes longer than its deadline: the error ends with it."""

    def __init__(self, state: AgentState, region_name: str) -> None:
        self._state = state
        self._region_name = region_name
        self._slots = Slots(state.connections)
        self._connections: Connections | None = None

    async def __aenter__(self) -> Self:
        """Import aiohttp, if that hasn't happened. Connections are made with the first requests."""
        await load_http()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        connections = self._connections
        self._connections = None
        if connections is not None:
            await connections.close()

    def abandon(self) -> None:
        """Close the sockets of an event loop that is closed already."""
        if self._connections is not None:
            self._connections.abandon()

    async def get_secret_value(self, **parameters: str) -> Answer:
        """Ask for a value, which may come from the agent's cache."""
        return await self._value(parameters, refresh=False)

    async def refresh_secret_value(self, **parameters: str) -> Answer:
        """Ask for a value that doesn't come from the agent's cache, if the agent can do that."""
        return await self._value(parameters, refresh=True)

    async def batch_get_secret_value(self, **_: Any) -> Answer:  # noqa: ANN401 (as in botocore)
        """Refuse, because the agent has no batches. The secrets are then fetched one by one."""
        what = "The local agent has no batches."
        raise failures.unsupported("BatchGetSecretValue", what, 501)

    async def describe_secret(self, **_: Any) -> Answer:  # noqa: ANN401 (as in botocore)
        """Refuse: the agent returns values only."""
        what = "The local agent can't describe a secret."
        raise failures.unsupported("DescribeSecret", what, 400)

    async def ping(self) -> CredentialsError | None:
        """Return what is wrong with the agent; None if it is healthy."""
        result = await self._opened().get("/ping")
        if isinstance(result, tuple):
            return self._without_reply(result)
        if result.status == 200 and result.body.strip() == b"healthy":  # noqa: PLR2004 (OK)
            return None
        return failures.page(self._state.url, result.status)

    async def _value(self, parameters: Parameters, *, refresh: bool) -> Answer:
        result = await self._asked(parameters, refresh=refresh)
        if isinstance(result, CredentialsError):
            raise result
        return result

    async def _asked(self, parameters: Parameters, *, refresh: bool) -> Answer | CredentialsError:
        """Ask, and once more after each answer after which another request may succeed."""
        state = self._state
        own = state.region_name
        if own is not None and own != self._region_name:
            return failures.other_region(state.url, self._region_name, own)

        attempts = _Attempts()
        while True:
            attempts.refreshes = refresh and state.knows_refresh
            target = self._target(parameters, refresh=attempts.refreshes)
            if isinstance(target, CredentialsError):
                return target
            token = await state.token.get()
            if isinstance(token, CredentialsError):
                return token
            outcome = await self._outcome(target, token, parameters, attempts)
            if outcome is None:
                continue
            if not isinstance(outcome, Refusal):
                return outcome
            failure = await self._handled(outcome, attempts, token)
            if failure is not None:
                return failure

    def _target(self, parameters: Parameters, *, refresh: bool) -> str | CredentialsError:
        """Return the path and the query. The agent decodes percent escapes in a query only."""
        asked = dict(parameters)
        if asked.get("VersionStage") == _CURRENT and "VersionId" not in asked:
            # It is the default. The agent would cache the same value once more under this label.
            del asked["VersionStage"]

        query = {_NAMES[name]: value for name, value in asked.items()}
        if self._state.role_arn is not None:
            query["roleArn"] = self._state.role_arn
        if refresh:
            query["refreshNow"] = "true"
        parts: list[str] = []
        for name, value in query.items():
            try:
                parts.append(f"{name}={quote(value, safe='')}")
            except UnicodeEncodeError:
                return failures.unsendable(name)
        return "/secretsmanager/get?" + "&".join(parts)

    async def _outcome(
        self,
        target: str,
        token: str,
        parameters: Parameters,
        attempts: _Attempts,
    ) -> Outcome | None:
        """Send one request. Return None if it must be sent once more."""
        reply = await self._reply(target, token, attempts)
        if isinstance(reply, tuple):
            if reply.kind == "lost" and not attempts.is_lost:
                # The agent ends each connection after a minute, also while a request is sent.
                attempts.is_lost = True
                return None
            if reply.kind == "unreachable" and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
                return Refusal.NOT_READY
            return self._without_reply(reply)
        return read_reply(
            reply.status,
            reply.body,
            asked=parameters,
            region_name=self._region_name,
            url=self._state.url,
        )

    async def _reply(self, target: str, token: str, attempts: _Attempts) -> Reply | NoReply:
        connections = self._opened()
        async with self._slots:
            reply = await connections.get(target, token)
            if not isinstance(reply, tuple) and reply.status == HTTPStatus.TOO_MANY_REQUESTS:
                # This is noted before the slot is free, or the next attempt would take it at once.
                has_others = self._slots.shrink()
                if not has_others:
                    attempts.refused_alone += 1
            return reply

    def _opened(self) -> Connections:
        if self._connections is None:
            # It was imported, and with it aiohttp, in a thread.
            from aiocredentials._agent import http  # noqa: PLC0415

            self._connections = http.Connections(self._state.url, self._state.connections)
        return self._connections

    def _without_reply(self, reply: NoReply) -> CredentialsError:
        if reply.kind == "malformed":
            return failures.malformed(self._state.url, reply.words)
        return failures.unreachable(self._state.url, reply.words)

    async def _find_another_token(
        self,
        attempts: _Attempts,
        refused: str,
    ) -> CredentialsError | None:
        """Search for another token, once per call; return the error if there is none."""
        token = self._state.token
        other = None if attempts.has_token else await token.another_than(refused)
        if other is None:
            return failures.bad_token(self._state.url, token.origin)
        if isinstance(other, CredentialsError):
            return other
        attempts.has_token = True
        return None

    async def _handled(
        self,
        refusal: Refusal,
        attempts: _Attempts,
        token: str,
    ) -> CredentialsError | None:
        """Prepare the next request after a refusal; return the error if that is pointless."""
        state = self._state
        match refusal:
            case Refusal.TOKEN:
                return await self._find_another_token(attempts, token)
            case Refusal.CONNECTIONS:
                if attempts.refused_alone > 1:
                    return failures.crowded(state.url)
            case Refusal.REFRESH_NOW:
                if not attempts.refreshes:
                    return failures.refused_parameter(state.url)
                state.note_no_refresh()
            case Refusal.ROLE_ARN:
                return failures.old_agent(state.url)
            case _:
                # It isn't ready yet.
                if attempts.paused >= READY_SECONDS:
                    return failures.not_ready(state.url, READY_SECONDS)
                attempts.paused += _PAUSE
                await sleep(_PAUSE)
        return None
