"""What `tests/mutants.py` takes out of the AWS half: calls, clients that heal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _aws/gateway.py
    (
        "pages go in a circle",
        "_aws/gateway.py",
        "                if not token or token in tokens:",
        "                if not token:",
    ),
    (
        "a fetch may hang for ever",
        "_aws/gateway.py",
        "            async with deadline:\n                return await self._repeated(attempt, state)",
        "            if True:\n                return await self._repeated(attempt, state)",
    ),
    # _aws/answered_errors.py
    (
        "credentials that AWS refuses are kept",
        "_aws/answered_errors.py",
        "    return code in SIGN_AGAIN",
        "    return False",
    ),
    # _aws/pooled.py
    (
        "clients that fail for good are kept",
        "_aws/pooled.py",
        "                if clients.would_fail_again(error):\n",
        "                if False:\n",
    ),
    # _aws/gateway.py
    (
        "the call isn't made once more",
        "_aws/gateway.py",
        "                    if not signs_again(error):\n",
        "                    if True:\n",
    ),
]
