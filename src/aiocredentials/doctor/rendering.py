"""How a report is printed: as a table for people, or as one JSON object for programs."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from aiocredentials.doctor.layout import Layout
from aiocredentials.doctor.results import FINE, UNKNOWN, WRONG
from aiocredentials.doctor.rows import counted, rows_of_endpoint, rows_of_head, rows_of_secret
from aiocredentials.doctor.wording import utc

if TYPE_CHECKING:
    from datetime import datetime

    from aiocredentials.doctor.results import Report

# The version of the fields. It changes if a field is removed or changes its meaning, but not if one
# is added.
JSON_VERSION = 1


def as_json(report: Report) -> str:
    """Return the report as one JSON object in ASCII; times are in ISO 8601, UTC."""
    facts: dict[str, Any] = {
        "version": JSON_VERSION,
        "exit_code": report.exit_code,
        **dataclasses.asdict(report),
    }
    for secret in facts["secrets"]:
        description = secret["description"]
        if description is not None:
            # A named tuple would become an array without names.
            description["replicas"] = [one._asdict() for one in description["replicas"]]
    return json.dumps(
        facts,
        indent=2,
        default=_json_of_time,
    )


def _json_of_time(time: datetime) -> str:
    return utc(time).isoformat()


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
        report: The result of `diagnose`.
        colours: Whether marks and titles are coloured.
        now: The time from which ages are counted.
        width: The terminal's columns, at which lines are wrapped; None leaves each row on one line.
        encoding: The encoding of the output.
    """
    layout = Layout(
        colours=colours,
        width=width,
        encoding=encoding,
    )
    rows = rows_of_head(report)
    lines = layout.section("", rows)
    for endpoint in report.endpoints:
        rows = rows_of_endpoint(endpoint)
        lines += layout.section(endpoint.region, rows)
    for secret in report.secrets:
        title = f"{secret.asked} in {secret.region}"
        rows = rows_of_secret(secret, now)
        lines += layout.section(title, rows)
    summary = _summary_of(report)
    lines += layout.wrapped(summary)
    return "\n".join(lines)


def _summary_of(report: Report) -> str:
    replica_codes = [one.exit_code for secret in report.secrets for one in secret.replicas]
    replicas = _count_of("replica", replica_codes) if replica_codes else ""
    if report.problem:
        return "Nothing was checked: the AWS session can't be opened."
    if report.identity.key_ending is None:
        return "Nothing was checked: no AWS credentials could be loaded."
    if report.identity.role_problem:
        reason = "Nothing was checked: the role can't be assumed."
        if not replicas:
            return reason
        return f"{reason} {replicas}"

    codes = [secret.exit_code for secret in report.secrets]
    secrets = _count_of("secret", codes)
    return f"{secrets} {replicas}".rstrip()


def _count_of(noun: str, codes: list[int]) -> str:
    """Return how many secrets or replicas were checked, and with which results."""
    results = {
        "ok": codes.count(FINE),
        "failed": codes.count(WRONG),
        "unknown (no answer from AWS)": codes.count(UNKNOWN),
    }
    parts: list[str] = []
    for result, count in results.items():
        if count:
            part = f"{count} {result}"
            parts.append(part)

    number = counted(len(codes), noun)
    if not parts:
        return f"{number} checked."
    part_list = ", ".join(parts)
    return f"{number} checked: {part_list}."
