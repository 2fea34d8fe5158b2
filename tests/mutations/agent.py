"""What `tests/mutants.py` takes out of the client for AWS's local agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # agent.py
    (
        "an agent on another host gets the token",
        "agent.py",
        "    if not allow_remote:\n",
        "    if False:\n",
    ),
    # _agent/client.py
    (
        "a forced refresh is answered from the agent's cache",
        "_agent/client.py",
        "        return await self._value(parameters, refresh=True)",
        "        return await self._value(parameters, refresh=False)",
    ),
    (
        "a request whose connection has ended isn't sent again",
        "_agent/client.py",
        '            if reply.kind == "lost" and not attempts.is_lost:',
        "            if False:",
    ),
    (
        "a new token of the agent isn't read",
        "_agent/client.py",
        "None if attempts.has_token else await token.another_than(refused)",
        "None",
    ),
    (
        "no other connection is waited for",
        "_agent/client.py",
        "                if attempts.refused_alone > 1:",
        "                if True:",
    ),
    (
        "each refused connection costs a try of its own",
        "_agent/slots.py",
        "        size = min(self.size, max(1, others))",
        "        size = max(1, self.size - 1)",
    ),
    (
        "refreshes under way fail when the agent is found to be old",
        "_agent/client.py",
        "                if not attempts.refreshes:",
        "                if not state.knows_refresh:",
    ),
    # _agent/tokens.py
    (
        "each caller reads the token's file",
        "_agent/tokens.py",
        "            return self._found or await self._search()\n",
        "            return await self._search()\n",
    ),
    # _agent/state.py
    (
        "an agent that was upgraded counts as old for ever",
        "_agent/state.py",
        " or _now() - self._refused_at >= REFUSAL_SECONDS",
        "",
    ),
    # _agent/answers.py
    (
        "another region's secret is returned",
        "_agent/answers.py",
        "    if actual is not None and actual != region_name:",
        "    if False:",
    ),
    (
        "errors that aren't escaped are pages",
        "_agent/answers.py",
        "    match = _ERROR.fullmatch(text)",
        '    match = _ERROR.fullmatch("")',
    ),
    # _agent/http.py
    (
        "a connection over the limit is kept",
        "_agent/http.py",
        "        if self.status == TOO_MANY:\n",
        "        if False:\n",
    ),
    (
        "an answer that nobody asked for is read",
        "_agent/http.py",
        "            if protocol.should_close:",
        "            if False:",
    ),
    (
        "the proxy of the environment gets the token",
        "_agent/http.py",
        "            trust_env=False,",
        "            trust_env=True,",
    ),
    # _aws/clients.py
    (
        "sockets of the agent outlive their loop",
        "_aws/clients.py",
        "                if abandon is not None:",
        "                if False:",
    ),
]
