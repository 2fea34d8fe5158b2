"""What `tests/mutants.py` takes out of roles: one assumption, renewals that bridge an outage, and a part of a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # _aws/assuming.py
    (
        "a page of a proxy is a refusal of STS",
        "_aws/role_errors.py",
        "    if not isinstance(error, ClientError) and _is_about_the_answer(error, reader):",
        "    if False:",
    ),
    (
        "a role is renewed only when its credentials are about to end",
        "_aws/assuming.py",
        "        elif now() >= assumed.renewed_from and now() >= self._renewed_at + PAUSE:",
        "        elif False:",
    ),
    (
        "each call of the last quarter asks STS",
        "_aws/assuming.py",
        "            self._renewed_at = now()\n",
        "",
    ),
    (
        "a renewal that STS refuses fails its call",
        "_aws/assuming.py",
        "            self._warn(type(error).__name__, what_of(error) or str(error))\n            return present",
        "            raise",
    ),
    (
        "a renewal takes the time of its call",
        "_aws/assuming.py",
        "        return min(PATIENCE, PATIENT_SHARE * self._longest_call)",
        "        return PATIENCE",
    ),
    (
        "credentials of a role are used until their last second",
        "_aws/assuming.py",
        "        self.urgent_from = end - life / _URGENT",
        "        self.urgent_from = end",
    ),
    (
        "callers assume a role one by one",
        "_aws/assuming.py",
        "            return await self._work.once(key, assume, detached=True)",
        "            return await self._work.once(object(), assume, detached=True)",
    ),
    (
        "a region whose STS hangs keeps all others waiting",
        "_aws/assuming.py",
        "                async with asyncio.timeout(self._patience()):\n",
        "                async with asyncio.timeout(None):\n",
    ),
    (
        "a permanent error of one region's STS is another region's",
        "_aws/assuming.py",
        "            except (TimeoutError, CredentialsError):",
        "            except TimeoutError:",
    ),
    (
        "regions assume a role one by one",
        "_aws/assuming.py",
        "        if elsewhere is not None and region not in self._callers:",
        "        if False:",
    ),
    (
        "an assumption that nobody waits for goes on",
        "_aws/assuming.py",
        "        if self._assumed is None or self._is_dropped:",
        "        if self._is_dropped:",
    ),
    (
        "a renewal that outlasts its caller's patience is lost",
        "_aws/assuming.py",
        "                del self._callers[region]\n                self._end_unless_needed(region)\n",
        "                del self._callers[region]\n                self._work.give_up(key)\n",
    ),
    (
        "a renewal outlives the role that was forgotten",
        "_aws/assuming.py",
        "        if self._assumed is None or self._is_dropped:",
        "        if self._assumed is None:",
    ),
    (
        "a session that failed assumes the role again",
        "_aws/assuming.py",
        "            except BaseException:\n                self._base = None\n                raise",
        "            except BaseException:\n                raise",
    ),
    (
        "the global STS is asked",
        "_aws/assuming.py",
        '                store.set_config_provider("sts_regional_endpoints", regional)',
        "                pass",
    ),
    (
        "the connection to STS isn't checked",
        "_aws/assuming.py",
        "                transport.transport_of(client)",
        "                pass",
    ),
    (
        "the records of STS's answers aren't redacted",
        "_aws/assuming.py",
        "        with wire_logs_redacted(redact=redact), our_call(redact=redact):",
        "        with wire_logs_redacted(redact=redact), our_call(redact=False):",
    ),
    (
        "credentials that have expired are used",
        "_aws/assuming.py",
        "    if end.timestamp() <= asked_at:",
        "    if False:",
    ),
    (
        "a region that doesn't exist is blamed on the credentials",
        "_aws/role_errors.py",
        "            failure = wrong_region_error(region)",
        "            pass",
    ),
    # _aws/clients.py
    (
        "each region assumes the role",
        "_aws/clients.py",
        "        assumed = self._assumed or await new_role(role, self._settings, self._shared)",
        "        assumed = self._assumed = await new_role(role, self._settings, self._shared)",
    ),
    # _aws/session.py
    (
        "each call without a pool assumes the role",
        "_aws/session.py",
        "            assumed = roles.setdefault(role, made)",
        "            assumed = made",
    ),
    (
        "a role that AWS refuses is kept between calls",
        "_aws/session.py",
        "            del roles[assumed.role]",
        "            pass",
    ),
    (
        "each of many refused calls assumes the role anew",
        "_aws/session.py",
        "        if roles.get(assumed.role) is assumed:",
        "        if assumed.role in roles:",
    ),
    # _aws/loop_clients.py
    (
        "the clients of roles stay open",
        "_aws/loop_clients.py",
        "        closing = [clients.aclose(seconds) for clients in self._all()]",
        "        closing = [self.of(None).aclose(seconds)]",
    ),
    # _aws/requests.py
    (
        "an alias forgets the role",
        "_aws/requests.py",
        "            self.version_stage,\n            self.role,\n        )",
        "            self.version_stage,\n        )",
    ),
    (
        "errors don't name the role",
        "_aws/requests.py",
        '            facts["role_arn"] = self.role.role_arn',
        "            pass",
    ),
    # _aws/roles.py
    (
        "the repr of a role shows its external id",
        "_aws/roles.py",
        '        return f"Role({self.role_arn!r})"',
        '        return f"Role({self.role_arn!r}, {self._external_id!r})"',
    ),
    (
        "a role with another external id is the same",
        "_aws/roles.py",
        "            and self._external_id == other._external_id\n",
        "",
    ),
    # _reports.py
    (
        "a refresh by another role is a recovery",
        "_reports.py",
        "        key = (report.secret_name, report.region_name, role)",
        "        key = (report.secret_name, report.region_name, None)",
    ),
    # _prefetch.py
    (
        "a pool prefetches as itself",
        "_prefetch.py",
        "        request = SecretRequest(name, region_of(name), role=self._role)",
        "        request = SecretRequest(name, region_of(name))",
    ),
]
