"""What `tests/mutants.py` takes out of IAM tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    (
        "a token outlives its AWS credentials",
        "_aws/keys.py",
        "        return max(1, min(LONGEST_LIFE, left))",
        "        return LONGEST_LIFE",
    ),
    (
        "the error of a signature shows the secret key",
        "_aws/keys.py",
        "    except (TypeError, ValueError):",
        "    except ZeroDivisionError:",
    ),
    (
        "each refused connection loads AWS credentials",
        "_iam/generations.py",
        "            if not session.signs_with(role, if_version):",
        "            if False:",
    ),
    (
        "refusals load AWS credentials without a limit",
        "_iam/generations.py",
        "            if is_full and time_now - self._refused_at[0] < REFUSAL_SECONDS:",
        "            if False:",
    ),
    (
        "one user's refusals are counted for the others",
        "_iam/generations.py",
        "        self._refused_at: deque[float] = deque(maxlen=MOST_REFUSALS)",
        "        self._refused_at: deque[float] = vars(store).setdefault('refused', deque(maxlen=MOST_REFUSALS))",
    ),
    (
        "an error of AWS credentials advises to name a secret",
        "_aws/key_gateway.py",
        "            failure = without_doctor(error)",
        "            failure = error",
    ),
    (
        "a refused token closes clients of Secrets Manager",
        "_aws/loop_clients.py",
        "        self.current.drop_keys()",
        "        self.forget(loop)",
    ),
    (
        "a late caller brings refused AWS credentials back",
        "_aws/clients.py",
        "        if self._signing.get(key) is signing:",
        "        if True:",
    ),
    (
        "a session that found no AWS credentials is kept",
        "_aws/clients.py",
        "        if new_session:",
        "        if False:",
    ),
    (
        "refused AWS credentials are kept",
        "_iam/generations.py",
        "        session.refuse_keys(role, if_version)",
        "        pass",
    ),
    (
        "the copy of a caller's session keeps refused AWS credentials",
        "_aws/pooled.py",
        "        refuse_credentials(self._settings)",
        "        pass",
    ),
    (
        "a custom session is asked for AWS credentials",
        "_aws/loop_clients.py",
        "            settings = replace(self._settings, session=None, endpoint_url=None)",
        "            settings = self._settings",
    ),
    (
        "the role doesn't sign",
        "_iam/generations.py",
        "        self._request = keys_request(region, role)",
        "        self._request = keys_request(region, None)",
    ),
    (
        "other staging labels are the current version",
        "_iam/generations.py",
        "        if version_stage not in {None, CURRENT}:",
        "        if False:",
    ),
    (
        "botocore logs what it signs",
        "_iam/generations.py",
        "        with wire_logs_redacted(redact=redact), our_call(redact=redact):",
        "        if True:",
    ),
    (
        "tokens don't notice the end of the pool",
        "_iam/generations.py",
        "        call_in(self._loop, self.ended.set)",
        "        pass",
    ),
    (
        "a URL is a host",
        "_iam/arguments.py",
        "    if re.fullmatch(_HOST, str(host)) is None:",
        "    if False:",
    ),
    (
        "the region in the host name isn't found",
        "_iam/arguments.py",
        "        if re.fullmatch(_REGION_IN_HOST, label):",
        "        if False:",
    ),
    (
        "any mode of encryption is accepted",
        "_rotation/encryption.py",
        '    return str(mode).replace("_", "-") in _ENCRYPTED_MODES',
        "    return bool(mode)",
    ),
    (
        "PGSSLMODE counts beside a service",
        "_rotation/encryption.py",
        '    if service or os.environ.get("PGSERVICE"):',
        "    if False:",
    ),
    (
        "sockets count as encrypted",
        "_rotation/encryption.py",
        '    return "" in hosts or any(host.startswith(("/", "@")) for host in hosts)',
        '    return "" in hosts',
    ),
    (
        "an empty host in a list is no socket",
        "_rotation/encryption.py",
        '    return "" in hosts or any(host.startswith(("/", "@")) for host in hosts)',
        '    return any(host.startswith(("/", "@")) for host in hosts)',
    ),
    (
        "the server's words show a token",
        "_rotation/words.py",
        "    text = re.sub(_WORD, _hide_signed, text)",
        "    pass",
    ),
    (
        "a caller waits for a renewal of AWS credentials that still sign",
        "_aws/kept_keys.py",
        "            self._work.begin((_AHEAD, self), self._renew_ahead)",
        "            await self._renew_ahead()",
    ),
    (
        "AWS credentials that end soon are loaded at each use",
        "_aws/kept_keys.py",
        "        if is_late and now >= self._state.tried_at + PAUSE:",
        "        if is_late:",
    ),
    (
        "AWS credentials sign until they have ended",
        "_aws/kept_keys.py",
        "        if left <= min(life / _URGENT, _LONGEST_URGENT):",
        "        if left <= 0:",
    ),
    (
        "the load of refused AWS credentials is joined",
        "_aws/kept_keys.py",
        "        return await self._work.once((_LOADING, self), self._load, detached=True)",
        "        return await self._work.once(_LOADING, self._load, detached=True)",
    ),
    (
        "each failed renewal of AWS credentials is logged",
        "_aws/kept_keys.py",
        "        if kind in self._state.warned_of:",
        "        if False:",
    ),
    (
        "a failing call of Secrets Manager drops AWS credentials that still sign",
        "_aws/loop_clients.py",
        "            self.current.sign_as(failed)",
        "            pass",
    ),
    (
        "the error for the end of max_wait has no advice",
        "rotation.py",
        "        self._wait.note_advice(advice)",
        "        pass",
    ),
    (
        "redis-py's adapter calls a token a secret",
        "integrations/_redis_versions.py",
        '        self.naming: object = getattr(manager, "naming", None)',
        "        self.naming: object = None",
    ),
]
