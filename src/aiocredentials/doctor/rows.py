"""The rows of the doctor's table: the identity, one section per region, one per secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiocredentials.doctor.layout import Row
from aiocredentials.doctor.replicas import rows_of_replicas, rows_of_replication
from aiocredentials.doctor.results import UNKNOWN
from aiocredentials.doctor.wording import minute_of, utc

if TYPE_CHECKING:
    from datetime import datetime

    from aiocredentials import SecretDescription
    from aiocredentials.doctor.layout import Rows
    from aiocredentials.doctor.results import (
        Contents,
        Elsewhere,
        Endpoint,
        Identity,
        Permissions,
        Report,
        SecretReport,
    )

# botocore's names for the sources of credentials.
_METHODS = {
    "env": "environment variables",
    "explicit": "the session",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the config file",
    "assume-role": "a role that the profile assumes",
    "assume-role-with-web-identity": "a role assumed with a web identity token",
    "sso": "IAM Identity Center (SSO)",
    "iam-role": "the instance's role",
    "container-role": "the container's role",
    "custom-process": "the profile's credential_process",
}
_FACT_MARKS = {
    True: "ok",
    False: "FAIL",
    None: "?",
}
_PERMISSION_MARKS = {
    "allowed": "ok",
    "denied": "FAIL",
    "unknown": "?",
}
# The marks of permissions that no service needs.
_OPTIONAL_MARKS = {
    "allowed": "ok",
    "denied": "note",
    "unknown": "?",
}
_REACHABLE = {
    True: "yes",
    False: "no",
    None: "unknown (no request was sent)",
}
_FAILURES = {
    "ca bundle": "the CA bundle or the client certificate can't be loaded",
    "dns": "the host name can't be resolved (DNS)",
    "refused": "connection refused (nothing listens on this port)",
    "timeout": "no connection in time (check firewalls, security groups and routes)",
    "tls": "connected, but TLS failed",
    "proxy": "the connection through the proxy failed",
    "no answer": "connected, but no answer",
}
# The units of a time span, in seconds.
_UNITS = {
    "day": 86400,
    "hour": 3600,
    "minute": 60,
}


def rows_of_head(report: Report) -> Rows:
    """Return the rows about the identity, the credentials and the region."""
    if report.problem:
        yield Row("session", report.problem, "FAIL")
        return

    identity = report.identity
    source = _source_of(identity)
    if identity.key_ending is None:
        yield Row("credentials", source, "FAIL")
        problem = identity.problem or "the reason is unknown"
        yield Row("problem", problem, "FAIL")
    else:
        yield _row_of_identity(identity)
        yield Row("credentials", source)
        yield from _rows_of_role(identity)

    origin = f"(from {report.region_source})"
    yield Row("region", f"{report.region} {origin}")


def _row_of_identity(identity: Identity) -> Row:
    if identity.arn:
        account = f"(account {identity.account})"
        return Row("identity", f"{identity.arn} {account}", "ok")
    # Only the identity is unknown: STS is asked for nothing else.
    problem = identity.problem or "unknown"
    return Row("identity", problem, "?")


def _rows_of_role(identity: Identity) -> Rows:
    if identity.role_arn is None:
        return
    if identity.role_problem is None:
        became = identity.assumed_arn or "an identity that STS doesn't name"
        yield Row("role", f"{identity.role_arn}, as {became}", "ok")
        return
    yield Row("role", identity.role_arn, "FAIL")
    yield Row("problem", identity.role_problem, "FAIL")


def _source_of(identity: Identity) -> str:
    method = identity.method or "none"
    parts = [_METHODS.get(method, method)]
    if identity.profile:
        parts.append(f"profile {identity.profile!r}")
    if identity.key_ending:
        parts.append(f"key ...{identity.key_ending}")
    return ", ".join(parts)


def rows_of_endpoint(endpoint: Endpoint) -> Rows:
    """Return the rows about the endpoint of a region."""
    if endpoint.url:
        url = endpoint.url
        if endpoint.url_source:
            url += f" (from {endpoint.url_source})"
        yield Row("endpoint", url)
    if endpoint.proxy:
        yield Row("proxy", endpoint.proxy)

    answer = _REACHABLE[endpoint.reachable]
    if endpoint.failure:
        failure = _FAILURES[endpoint.failure]
        answer += f": {failure}"
    mark = _FACT_MARKS[endpoint.reachable]
    yield Row("reachable", answer, mark)

    yield from _rows_of_tls(endpoint)
    if endpoint.problem:
        yield Row("problem", endpoint.problem, "FAIL")


def _rows_of_tls(endpoint: Endpoint) -> Rows:
    url = endpoint.url or ""
    if url.startswith("http:"):
        yield Row("TLS", "none: the connection isn't encrypted", "note")
    elif endpoint.tls:
        yield Row("TLS", "certificate and host name are valid", "ok")
    elif endpoint.tls is not None:
        yield Row("TLS", "failed", "FAIL")


def rows_of_secret(secret: SecretReport, now: datetime) -> Rows:
    """Return the rows about one secret; `now` is the time from which ages are counted."""
    mark = _FACT_MARKS[secret.found]
    existence = _existence_of(secret)
    yield Row("exists", existence, mark)

    # Without an answer no permission is known: four rows that say so would hide the reason.
    if secret.exit_code != UNKNOWN:
        yield from _rows_of_permissions(secret.permissions)
    if secret.contents:
        yield from _rows_of_contents(secret.contents, now)
    if secret.description:
        yield from _rows_of_description(secret.description, now)
        yield from rows_of_replication(secret.description)
    yield from rows_of_replicas(secret.replicas)
    if secret.elsewhere:
        yield from _rows_of_elsewhere(secret.elsewhere)

    for problem in secret.problems:
        yield Row("problem", problem, "FAIL")
    for note in secret.notes:
        yield Row("note", note, "note")


def _existence_of(secret: SecretReport) -> str:
    if secret.found is None:
        return "unknown"
    if not secret.found:
        return "no"
    known = secret.contents or secret.description
    return f"yes, {known.arn}" if known else "yes"


def _rows_of_permissions(permissions: Permissions) -> Rows:
    needed = {
        "get": permissions.get,
        "decrypt": permissions.decrypt,
    }
    for label, permission in needed.items():
        mark = _PERMISSION_MARKS[permission]
        yield Row(label, permission, mark)

    # No service needs these two.
    optional = {
        "batch get": permissions.batch,
        "describe": permissions.describe,
    }
    for label, permission in optional.items():
        mark = _OPTIONAL_MARKS[permission]
        yield Row(label, permission, mark)


def _rows_of_contents(contents: Contents, now: datetime) -> Rows:
    value = contents.kind
    if contents.keys:
        key_names = ", ".join(contents.keys)
        value += f" with the keys {key_names}"
    elif contents.key_count:
        number = counted(contents.key_count, "key")
        value += f" with {number} (names hidden because they may be secrets: --keys shows them)"
    yield Row("value", value)

    created = _time_and_age(contents.created_at, now)
    version = f"{contents.version_id}, created {created}"
    yield Row("version", version)


def _rows_of_description(description: SecretDescription, now: datetime) -> Rows:
    for version, labels in description.versions.items():
        # An emulator's labels may be no strings.
        texts = map(str, labels)
        label_list = ", ".join(texts)
        text = f"{version} {label_list}"
        yield Row("labels", text)

    changed = _time_and_age(description.changed_at, now)
    yield Row("changed", changed)

    rotation = "off"
    if description.rotation_enabled:
        last = _time_and_age(description.rotated_at, now)
        following = _time_and_age(description.next_rotation_at, now)
        rotation = f"on; last {last}; next {following}"
    yield Row("rotation", rotation)


def _rows_of_elsewhere(elsewhere: Elsewhere) -> Rows:
    if elsewhere.found:
        regions = ", ".join(elsewhere.found)
        yield Row("found in", regions, "note")
    if elsewhere.deleted:
        regions = ", ".join(elsewhere.deleted)
        yield Row("deleted in", regions, "note")

    regions_by_result = {
        "absent in": elsewhere.absent,
        "access denied in": elsewhere.refused,
        "no answer in": elsewhere.silent,
    }
    counts: list[str] = []
    for result, others in regions_by_result.items():
        if others:
            number = counted(len(others), "region")
            counts.append(f"{result} {number}")
    if counts:
        text = ", ".join(counts)
        yield Row("elsewhere", text)


def _time_and_age(time: datetime | None, now: datetime) -> str:
    """Return a time and its distance from now."""
    if time is None:
        return "at an unknown time"

    age = now - utc(time)
    seconds = age.total_seconds()
    span = _span_of(abs(seconds))
    minute = minute_of(time)
    if seconds < 0:
        return f"{minute} (in {span})"
    return f"{minute} ({span} ago)"


def _span_of(seconds: float) -> str:
    """Return the number of the largest whole units in a time."""
    for unit, size in _UNITS.items():
        count = int(seconds // size)
        if count:
            return counted(count, unit)
    return counted(int(seconds), "second")


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where that is needed."""
    plural = "" if number == 1 else "s"
    return f"{number} {noun}{plural}"
