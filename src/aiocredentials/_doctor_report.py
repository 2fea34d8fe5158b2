"""What `doctor` writes: a table for people, with colours where a terminal wants them, or one JSON object."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiocredentials._probe import Elsewhere
    from aiocredentials.doctor import Endpoint, Report, SecretReport

JSON_VERSION = 1  # of the fields; one more is no new version, one that goes or changes is

_METHODS = {
    "env": "environment variables",
    "explicit": "the session",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the config file",
    "assume-role": "a role that the profile assumes",
    "assume-role-with-web-identity": "a role, by a web identity token",
    "sso": "IAM Identity Center (SSO)",
    "iam-role": "the instance's role",
    "container-role": "the container's role",
    "custom-process": "a process that the profile names",
}
_COLOURS = {"ok": "32", "note": "33", "FAIL": "1;31", "?": "33", "title": "1"}
_MARKS = {"allowed": "ok", "denied": "FAIL", "unknown": "?"}
_FAILURES = {
    "dns": "its host name isn't known (DNS)",
    "refused": "nothing listens there (connection refused)",
    "timeout": "no connection in time: a firewall, a security group or a missing route",
    "tls": "a connection, but TLS can't be trusted",
    "proxy": "the proxy doesn't let it through",
    "no answer": "a connection, but no answer",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Row(NamedTuple):
    """One line of the table: ok, note, FAIL, ? or nothing; what; and what is to be said of it."""

    mark: str
    label: str
    text: str


def as_json(report: Report) -> str:
    """Return the report as one JSON object; times are in ISO 8601, UTC."""
    facts = {"version": JSON_VERSION, "exit_code": report.exit_code, **dataclasses.asdict(report)}
    return json.dumps(facts, indent=2, default=lambda time: time.astimezone(UTC).isoformat())


def as_text(report: Report, *, colours: bool, now: datetime) -> str:
    """Return the report as a table. What can't be printed, in a key's name for one, is escaped."""
    sections = [("", list(_head(report)))]
    sections += [(printable(one.region), list(_of_endpoint(one))) for one in report.endpoints]
    sections += [(printable(f"{one.asked} in {one.region}"), list(_of_secret(one, now))) for one in report.secrets]
    lines: list[str] = []
    for title, rows in sections:
        lines += [_coloured(title, "title", colours=colours)] if title else []
        for row in rows:
            mark = _coloured(f"{row.mark:<4}", row.mark, colours=colours)
            lines.append(f"  {mark}  {row.label:<14}{printable(row.text)}".rstrip())
        lines.append("")
    return "\n".join([*lines, _summary(report)])


def _summary(report: Report) -> str:
    wrong = sum(one.exit_code == 1 for one in report.secrets)
    unknown = sum(one.exit_code > 1 for one in report.secrets)
    parts = [f"{len(report.secrets)} asked for"]
    parts += [f"{wrong} can't be had"] if wrong else []
    parts += [f"of {unknown} AWS didn't say"] if unknown else []
    return (
        "Nothing could be asked." if report.problem else f"{', '.join(parts)}{'' if wrong + unknown else ': all fine'}."
    )


def _head(report: Report) -> Iterator[Row]:
    who = report.identity
    if report.problem:
        yield Row("FAIL", "session", report.problem)
        return
    if who.arn:
        yield Row("ok", "identity", f"{who.arn} (account {who.account})")
    else:
        # Without STS only this isn't known; without credentials, nothing is.
        yield Row("?" if who.key_ending else "FAIL", "identity", who.problem or "STS doesn't say")
    if who.method:
        profile = f", profile {who.profile!r}" if who.profile else ""
        key = f", key ...{who.key_ending}" if who.key_ending else ""
        yield Row("", "credentials", f"{_METHODS.get(who.method, who.method)}{profile}{key}")
    yield Row("", "region", f"{report.region} (from {report.region_source})")


def _of_endpoint(one: Endpoint) -> Iterator[Row]:
    if one.url:
        yield Row("", "endpoint", one.url + (f" (from {one.url_source})" if one.url_source else ""))
    if one.proxy:
        yield Row("", "proxy", one.proxy)
    mark = {True: "ok", False: "FAIL", None: "?"}[one.reachable]
    said = {True: "yes", False: "no", None: "not asked"}[one.reachable]
    yield Row(mark, "reachable", f"{said}: {_FAILURES[one.failure]}" if one.failure else said)
    if one.url and one.url.startswith("http:"):
        yield Row("note", "TLS", "none: nothing is encrypted on the way")
    elif one.tls is not None:
        yield Row("ok" if one.tls else "FAIL", "TLS", "certificate and host name are good" if one.tls else "failed")
    if one.problem:
        yield Row("FAIL", "problem", one.problem)


def _of_secret(one: SecretReport, now: datetime) -> Iterator[Row]:
    contents, description, may = one.contents, one.description, one.permissions
    mark = {True: "ok", False: "FAIL", None: "?"}[one.found]
    arn = contents.arn if contents else description.arn if description else ""
    yield Row(mark, "is there", {True: f"yes {arn}".rstrip(), False: "no", None: "not known"}[one.found])
    for label, permission, is_needed in (
        ("may get", may.get, True),
        ("may decrypt", may.decrypt, True),
        ("may batch", may.batch, False),
        ("may describe", may.describe, False),
    ):
        mark = "note" if permission == "denied" and not is_needed else _MARKS[permission]
        yield Row(mark, label, permission)
    if contents:
        keys = f" with the keys {', '.join(contents.keys)}" if contents.keys else ""
        yield Row("", "value", f"{contents.kind}{keys}")
        yield Row("", "version", f"{contents.version_id}, created {_when(contents.created_at, now)}")
    if description:
        for version, labels in description.versions.items():
            yield Row("", "labels", f"{version} {', '.join(labels)}")
        yield Row("", "changed", _when(description.changed_at, now))
        rotation = f"on; last {_when(description.rotated_at, now)}; next {_when(description.next_rotation_at, now)}"
        yield Row("", "rotation", rotation if description.rotation_enabled else "off")
    if one.elsewhere:
        yield from _of_elsewhere(one.elsewhere)
    yield from (Row("FAIL", "problem", text) for text in one.problems)
    yield from (Row("note", "note", text) for text in one.notes)


def _of_elsewhere(elsewhere: Elsewhere) -> Iterator[Row]:
    if elsewhere.found:
        yield Row("note", "it is in", ", ".join(elsewhere.found))
    if elsewhere.deleted:
        yield Row("note", "deleted in", ", ".join(elsewhere.deleted))
    said = [(len(elsewhere.absent), "don't have it"), (len(elsewhere.refused), "refused to say")]
    said += [(len(elsewhere.silent), "didn't answer")]
    yield Row("", "others", ", ".join(f"{count} {what}" for count, what in said if count) or "none")


def _when(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "not known"
    seconds = (now - time).total_seconds()
    unit, name = next(
        ((size, name) for size, name in ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute")) if abs(seconds) >= size),
        (1, "second"),
    )
    count = int(abs(seconds) // unit)
    span = f"{count} {name}{'' if count == 1 else 's'}"
    said = f"{span} ago" if seconds >= 0 else f"in {span}"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC ({said})"


def printable(text: str) -> str:
    """Escape what would move the cursor or colour a terminal: the names of keys may be anything."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _coloured(text: str, mark: str, *, colours: bool) -> str:
    return f"\x1b[{_COLOURS[mark]}m{text}\x1b[0m" if colours and mark in _COLOURS else text
