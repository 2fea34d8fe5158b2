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
        "            async with deadline:\n                return await self._repeated(signed_call, state)",
        "            if True:\n                return await self._repeated(signed_call, state)",
    ),
    # _aws/answered_errors.py
    (
        "credentials that AWS refuses are kept",
        "_aws/answered_errors.py",
        "    return code in SIGN_AGAIN",
        "    return False",
    ),
    # _aws/chain.py
    (
        "a helper that has just ended on macOS",
        "_aws/chain.py",
        "suppress(ProcessLookupError, PermissionError)",
        "suppress(ProcessLookupError)",
    ),
    (
        "a helper's child goes on if its caller leaves at the start",
        "_aws/chain.py",
        "        await finish([starting])\n",
        "        await starting\n",
    ),
    (
        "a helper goes on without process groups",
        "_aws/chain.py",
        "        else:\n            process.kill()",
        "        else:\n            pass",
    ),
    # _aws/ambiguous_findings.py
    (
        "a loop without processes isn't named",
        "_aws/ambiguous_findings.py",
        "    if isinstance(error, NotImplementedError):",
        "    if False:",
    ),
    # _aws/mapping.py
    (
        "a name without an address on Windows",
        "_aws/mapping.py",
        "    _WSANO_DATA,\n",
        "",
    ),
    # testing/_moto.py
    (
        "Ctrl-C reaches moto's server on Windows",
        "testing/_moto.py",
        'getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)',
        "0",
    ),
    # _aws/pooled.py
    (
        "clients that fail for good are kept",
        "_aws/pooled.py",
        (
            "                if clients.would_fail_again(error):\n"
            "                    state.renew(clients, are_refused=signs_again(error))\n"
            "                raise\n"
        ),
        "                raise\n",
    ),
    # _aws/gateway.py
    (
        "the call isn't made once more",
        "_aws/gateway.py",
        "                    if not signs_again(error):\n",
        "                    if True:\n",
    ),
    # _aws/signing.py
    (
        "a signing key outlives its credentials",
        "_aws/signing.py",
        "        if self._facts != _facts_of(signature, date):",
        "        if not self._key:",
    ),
    (
        "a signing key outlives its day",
        "_aws/signing.py",
        "        signature.credentials.secret_key,\n        date,",
        "        signature.credentials.secret_key,",
    ),
    (
        "other signers lose their own steps",
        "_aws/signing.py",
        "        if type(signature) is SigV4Auth:",
        "        if isinstance(signature, SigV4Auth):",
    ),
    (
        "a signing key is pickled",
        "_aws/signing.py",
        '        """Refuse to be copied or pickled."""\n        raise TypeError("A signing key is',
        '        return object.__reduce_ex__(self, 2)\n        raise TypeError("A signing key is',
    ),
    (
        "the hash of a streamed body is signed",
        "_aws/signing.py",
        "type(body) is bytes and not self._is_streaming_checksum_payload(request)",
        "type(body) is bytes",
    ),
    # _aws/user_agent.py
    (
        "a User-Agent misses the features of a call",
        "_aws/user_agent.py",
        "        features = of_client.union(of_call)",
        "        features = of_client",
    ),
    (
        "the caller's own User-Agent is replaced",
        "_aws/user_agent.py",
        "if type(creator) is UserAgentString and is_botocores_own:",
        "if is_botocores_own:",
    ),
    # _aws/transport.py
    (
        "another URL isn't checked",
        "_aws/transport.py",
        "        if request.url != self._ready_for:",
        "        if self._ready_for is None:",
    ),
    (
        "a closed session is taken for a failed connection",
        "_aws/transport.py",
        "            self._ready_for = None\n            await super().__aexit__(*exc)",
        "            await super().__aexit__(*exc)",
    ),
]
