"""How the doctor's report is written: as a table for people, or as one JSON object for programs."""

from __future__ import annotations

import dataclasses
import json
import re
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from aiocredentials.doctor.probe import utc, without_password

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from aiocredentials.doctor.diagnosis import Endpoint, Permissions, Report, SecretReport
    from aiocredentials.doctor.probe import Contents, Elsewhere

# The version of the fields. It changes if a field is removed or changes its meaning, but not if one
# is added.
JSON_VERSION = 1

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
_COLOURS = {"ok": "32", "note": "33", "FAIL": "1;31", "?": "33", "title": "1"}
_MARKS = {"allowed": "ok", "denied": "FAIL", "unknown": "?"}
_FAILURES = {
    "dns": "the host name can't be resolved (DNS)",
    "refused": "connection refused (nothing listens on this port)",
    "timeout": "no connection in time (check firewalls, security groups and routes)",
    "tls": "connected, but the TLS certificate isn't trusted",
    "proxy": "the connection through the proxy failed",
    "no answer": "connected, but no answer",
}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400

_LABEL_WIDTH = 14
_TEXT_COLUMN = 2 + 4 + 2 + _LABEL_WIDTH
# In a terminal that leaves fewer columns than this for the text, the text goes below its label.
_LEAST_TEXT_WIDTH = 20
_NARROW_COLUMN = 4

# Characters that are printable for Python and invisible in terminals: fillers, joiners and
# variation selectors.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


class Row(NamedTuple):
    """One line of the table: a mark (ok, note, FAIL, ? or nothing), a label and a text."""

    mark: str
    label: str
    text: str


def as_json(report: Report) -> str:
    """Return the report as one JSON object in ASCII; times are in ISO 8601, UTC."""
    facts = {
        "version": JSON_VERSION,
        "exit_code": report.exit_code,
        **dataclasses.asdict(report),
    }
    return json.dumps(facts, indent=2, default=lambda time: utc(time).isoformat())


def as_text(
    report: Report,
    *,
    colours: bool,
    now: datetime,
    width: int | None = None,
    encoding: str = "utf-8",
) -> str:
    """Return the report as a table, in which harmful and invisible characters are escaped.

    Args:
        report: What `diagnose` found.
        colours: Whether marks and titles are coloured.
        now: The time from which ages are counted.
        width: The terminal's columns, at which lines are wrapped; None leaves each row on one line.
        encoding: The encoding of the output.
    """
    layout = _Layout(colours=colours, width=width, encoding=encoding)
    lines = layout.section("", _head(report))
    for endpoint in report.endpoints:
        lines += layout.section(endpoint.region, _of_endpoint(endpoint))
    for secret in report.secrets:
        lines += layout.section(f"{secret.asked} in {secret.region}", _of_secret(secret, now))
    return "\n".join([*lines, *layout.wrapped(_summary(report))])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Layout:
    """How rows become lines."""

    colours: bool
    width: int | None
    encoding: str

    def section(self, title: str, rows: Iterator[Row]) -> list[str]:
        """Return the lines of a title and its rows, and an empty line."""
        lines: list[str] = []
        if title:
            wrapped = self.wrapped(printable(title, self.encoding))
            lines += [self._coloured(line, "title") for line in wrapped]
        for row in rows:
            lines += self._row(row)
        return [*lines, ""]

    def _row(self, row: Row) -> list[str]:
        mark = self._coloured(f"{row.mark:<4}", row.mark)
        text = printable(row.text, self.encoding)
        if self.width is None or self.width >= _TEXT_COLUMN + _LEAST_TEXT_WIDTH:
            first, *rest = self.wrapped(text, _TEXT_COLUMN)
            head = f"  {mark}  {row.label:<{_LABEL_WIDTH}}{first}".rstrip()
            return [head, *(" " * _TEXT_COLUMN + line for line in rest)]

        below = self.wrapped(text, _NARROW_COLUMN)
        return [f"  {mark}  {row.label}", *(" " * _NARROW_COLUMN + line for line in below)]

    def wrapped(self, text: str, indent: int = 0) -> list[str]:
        """Break a text between its words, so that each line fits to the right of the indent."""
        if self.width is None:
            return [text]
        room = max(self.width - indent, 1)
        lines = [""]
        for word in text.split():
            joined = f"{lines[-1]} {word}".lstrip()
            if columns(joined) <= room:
                lines[-1] = joined
            else:
                lines += _broken(word, room)
        return lines if lines[0] else lines[1:]

    def _coloured(self, text: str, mark: str) -> str:
        if self.colours and mark in _COLOURS:
            return f"\x1b[{_COLOURS[mark]}m{text}\x1b[0m"
        return text


def _broken(word: str, room: int) -> list[str]:
    """Break a word that is longer than a line into pieces that fit."""
    pieces = [""]
    for character in word:
        if pieces[-1] and columns(pieces[-1] + character) > room:
            pieces.append("")
        pieces[-1] += character
    return pieces


def columns(text: str) -> int:
    """Return how many columns of a terminal a printable text takes."""
    return sum(map(_columns_of, text))


def _columns_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"F", "W"} else 1


def harmless(text: str) -> str:
    """Return a text without passwords in URLs, and printable."""
    return printable(without_password(text))


def printable(text: str, encoding: str = "utf-8") -> str:
    """Escape characters that a terminal hides, obeys or can't show."""
    escaped = "".join(map(_printable, text))
    return escaped.encode(encoding, "backslashreplace").decode(encoding)


def _printable(character: str) -> str:
    # Controls, bidirectional ones too, zero-width characters and lone surrogates aren't printable.
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    return character.encode("unicode_escape").decode()


def _summary(report: Report) -> str:
    if report.problem:
        return "Nothing was checked: the AWS session can't be opened."
    if report.identity.key_ending is None:
        return "Nothing was checked: no AWS credentials could be loaded."
    codes = [secret.exit_code for secret in report.secrets]
    results = {
        "ok": codes.count(0),
        "failed": codes.count(1),
        "unknown (no answer from AWS)": sum(code > 1 for code in codes),
    }
    parts = [f"{count} {result}" for result, count in results.items() if count]
    checked = f"{len(codes)} secret{'' if len(codes) == 1 else 's'} checked"
    return f"{checked}: {', '.join(parts) or 'none'}."


def _head(report: Report) -> Iterator[Row]:
    who = report.identity
    if report.problem:
        yield Row("FAIL", "session", report.problem)
        return
    has_credentials = who.key_ending is not None
    if who.arn:
        yield Row("ok", "identity", f"{who.arn} (account {who.account})")
    elif has_credentials:
        # Only the identity is unknown: STS is asked for nothing else.
        yield Row("?", "identity", who.problem or "not known")
    method = _METHODS.get(who.method, who.method) if who.method else "none"
    profile = f", profile {who.profile!r}" if who.profile else ""
    if has_credentials:
        key = f", key ...{who.key_ending}" if who.key_ending else ""
        yield Row("", "credentials", f"{method}{profile}{key}")
    else:
        yield Row("FAIL", "credentials", f"{method}{profile}")
        yield Row("FAIL", "problem", who.problem or "not known")
    yield Row("", "region", f"{report.region} (from {report.region_source})")


def _of_endpoint(endpoint: Endpoint) -> Iterator[Row]:
    if endpoint.url:
        source = f" (from {endpoint.url_source})" if endpoint.url_source else ""
        yield Row("", "endpoint", f"{endpoint.url}{source}")
    if endpoint.proxy:
        yield Row("", "proxy", endpoint.proxy)
    mark = {True: "ok", False: "FAIL", None: "?"}[endpoint.reachable]
    answer = {True: "yes", False: "no", None: "not asked"}[endpoint.reachable]
    reason = f": {_FAILURES[endpoint.failure]}" if endpoint.failure else ""
    yield Row(mark, "reachable", f"{answer}{reason}")
    if endpoint.url and endpoint.url.startswith("http:"):
        yield Row("note", "TLS", "none: the connection isn't encrypted")
    elif endpoint.tls:
        yield Row("ok", "TLS", "certificate and host name are valid")
    elif endpoint.tls is not None:
        yield Row("FAIL", "TLS", "failed")
    if endpoint.problem:
        yield Row("FAIL", "problem", endpoint.problem)


def _of_secret(secret: SecretReport, now: datetime) -> Iterator[Row]:
    mark = {True: "ok", False: "FAIL", None: "?"}[secret.found]
    yield Row(mark, "exists", _existence(secret))
    # Without an answer no permission is known: four rows that say so would hide the reason.
    if secret.exit_code <= 1:
        yield from _of_permissions(secret.permissions)
    if secret.contents:
        yield from _of_contents(secret.contents, now)
    if secret.description:
        description = secret.description
        for version, labels in description.versions.items():
            # An emulator's labels may be no strings.
            yield Row("", "labels", f"{version} {', '.join(map(str, labels))}")
        yield Row("", "changed", _when(description.changed_at, now))
        last = _when(description.rotated_at, now)
        following = _when(description.next_rotation_at, now)
        yield Row(
            "",
            "rotation",
            f"on; last {last}; next {following}" if description.rotation_enabled else "off",
        )
    if secret.elsewhere:
        yield from _of_elsewhere(secret.elsewhere)
    yield from (Row("FAIL", "problem", text) for text in secret.problems)
    yield from (Row("note", "note", text) for text in secret.notes)


def _existence(secret: SecretReport) -> str:
    known = secret.contents or secret.description
    arn = f", {known.arn}" if known else ""
    return {True: f"yes{arn}", False: "no", None: "not known"}[secret.found]


def _of_permissions(may: Permissions) -> Iterator[Row]:
    yield Row(_MARKS[may.get], "get", may.get)
    yield Row(_MARKS[may.decrypt], "decrypt", may.decrypt)
    # No service needs these two.
    for label, permission in (("batch get", may.batch), ("describe", may.describe)):
        yield Row("note" if permission == "denied" else _MARKS[permission], label, permission)


def _of_contents(contents: Contents, now: datetime) -> Iterator[Row]:
    keys = ""
    if contents.keys:
        keys = f" with the keys {', '.join(contents.keys)}"
    elif contents.key_count:
        number = f"{contents.key_count} key{'' if contents.key_count == 1 else 's'}"
        keys = f" with {number} (names that may be values are hidden: --keys shows them)"
    yield Row("", "value", f"{contents.kind}{keys}")
    yield Row("", "version", f"{contents.version_id}, created {_when(contents.created_at, now)}")


def _of_elsewhere(elsewhere: Elsewhere) -> Iterator[Row]:
    if elsewhere.found:
        yield Row("note", "found in", ", ".join(elsewhere.found))
    if elsewhere.deleted:
        yield Row("note", "deleted in", ", ".join(elsewhere.deleted))
    counts = {
        "without it": len(elsewhere.absent),
        "denied access": len(elsewhere.refused),
        "did not answer": len(elsewhere.silent),
    }
    others = ", ".join(f"{count} {result}" for result, count in counts.items() if count)
    yield Row("", "elsewhere", others or "none")


def _when(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "not known"
    seconds = (now - utc(time)).total_seconds()
    units = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"))
    size, unit = next((pair for pair in units if abs(seconds) >= pair[0]), (1, "second"))
    count = int(abs(seconds) // size)
    span = f"{count} {unit}{'' if count == 1 else 's'}"
    age = f"{span} ago" if seconds >= 0 else f"in {span}"
    return f"{utc(time):%Y-%m-%d %H:%M} UTC ({age})"
