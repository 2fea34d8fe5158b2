"""Write the results of fleet_results.json into docs/fleet.md: `python benchmarks/fleet_page.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from page import written

HERE = Path(__file__).parent
RESULTS = HERE / "fleet_results.json"
PAGE = HERE.parent / "docs" / "fleet.md"
SCRIPT = "fleet_page.py"

# The fleet that the page begins with.
PROCESSES = 1_000
SECRETS = 20

Record = dict[str, Any]


def amount(value: float) -> str:
    """Return a number as text, with thousands separated."""
    if value >= 100:  # noqa: PLR2004 (three digits are enough)
        return f"{value:,.0f}"
    return f"{value:,.3g}"


def money(dollars: float) -> str:
    """Return a price as text."""
    if dollars >= 10:  # noqa: PLR2004 (cents don't matter then)
        return f"${dollars:,.0f}"
    return f"${dollars:,.2f}"


def percent(share: float) -> str:
    """Return a share as text."""
    return f"{100 * share:.3g} %"


def seconds(value: float | None) -> str:
    """Return a duration as text."""
    return "-" if value is None else f"{value:.3g} s"


def found(records: list[Record], processes: int, secrets: int, name: str = "") -> Record | None:
    """Return the record of a fleet; None if it wasn't simulated."""
    for record in records:
        is_named = not name or record["name"] == name
        if is_named and (record["processes"], record["secrets"]) == (processes, secrets):
            return record
    return None


def one(records: list[Record], processes: int, secrets: int, name: str = "") -> Record:
    """Return the record of a fleet that was simulated."""
    record = found(records, processes, secrets, name)
    assert record is not None, (processes, secrets, name)
    return record


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


ANSWER = """\
1,000 processes with 20 secrets each, which each process reads about every ten seconds, by default:

- **Calls:** {plain_mean} per second on average, and {plain_peak} at the peak; the quota is {quota}.
  If all start at once, {started} of them start: half within {median}, and 99 % within {p99}.
- **Money:** {calls_price} per month for calls, and {secrets_price} for the secrets.
- **Age:** after a rotation, a process uses the old value for {typical} typically, {worst} at worst.
- With push and a TTL of an hour: {push_mean} calls per second, {push_price}, {push_worst} at worst.
- With an agent per ten processes: {agent_mean} calls per second, {agent_price}, {agent_worst}."""


def answer(results: dict[str, Any]) -> str:
    """Return what the page begins with."""
    start = one(results["starts"], PROCESSES, SECRETS)
    plain = one(results["running"], PROCESSES, SECRETS)
    push = one(results["variants"], PROCESSES, SECRETS, "push, TTL of an hour")
    agent = one(results["variants"], PROCESSES, SECRETS, "agent")
    return ANSWER.format(
        plain_mean=amount(plain["mean"]),
        plain_peak=amount(plain["peak"]),
        quota=amount(results["about"]["quotas"]["GetSecretValue"]),
        started=percent(start["started"]),
        median=seconds(start["median"]),
        p99=seconds(start["p99"]),
        calls_price=money(plain["calls price"]),
        secrets_price=money(plain["secrets price"]),
        typical=seconds(plain["typical age"]),
        worst=seconds(plain["worst age"]),
        push_mean=amount(push["mean"]),
        push_price=money(push["price"]),
        push_worst=seconds(push["worst age"]),
        agent_mean=amount(agent["mean"]),
        agent_price=money(agent["price"]),
        agent_worst=f"{seconds(agent['worst age'])} at worst",
    )


def starts(results: dict[str, Any]) -> str:
    """Return the table of fleets that start at once."""
    rows: list[list[str]] = []
    for before in results["starts before"]:
        after = one(results["starts"], before["processes"], SECRETS)
        rows.append(
            [
                amount(after["processes"]),
                percent(before["started"]),
                percent(after["started"]),
                seconds(after["median"]),
                amount(after["batches"]),
                amount(after["gets"]),
                amount(after["gets throttled"]),
            ]
        )
    heads = ["processes", "started, if a throttled batch fails", "started, with single calls"]
    return table([*heads, "median", "batches", "single calls", "of them throttled"], rows)


def rolling(results: dict[str, Any]) -> str:
    """Return the table of fleets that are restarted within some minutes."""
    rows = [
        [
            amount(record["processes"]),
            percent(record["started"]),
            seconds(record["median"]),
            seconds(record["p99"]),
            amount(record["batches"] / record["over"]),
            amount(record["gets"] / record["over"]),
        ]
        for record in results["rolling"]
    ]
    heads = ["processes", "started", "median", "99 %"]
    return table([*heads, "batches per second", "single calls per second"], rows)


def sizes(results: dict[str, Any]) -> str:
    """Return the table of running fleets by size."""
    quota = results["about"]["quotas"]["GetSecretValue"]
    rate = one(results["running"], PROCESSES, SECRETS)["mean"] / (PROCESSES * SECRETS)
    rows: list[list[str]] = []
    for start in results["starts"]:
        processes = start["processes"]
        secrets = start["secrets"]
        record = found(results["running"], processes, secrets)
        cells = [amount(processes), amount(secrets)]
        if record is None:
            mean = processes * secrets * rate
            cells += [f"{amount(mean)}: {mean / quota:.2g} times the quota", *["-"] * 4]
        else:
            cells += [
                amount(record["mean"]),
                amount(record["peak"]),
                money(record["price"]),
                seconds(record["typical age"]),
                seconds(record["worst age"]),
            ]
        rows.append(cells)
    heads = ["processes", "secrets", "calls per second", "peak", "per month", "age, typical"]
    return table([*heads, "age, worst"], rows)


def started(results: dict[str, Any]) -> str:
    """Return the table of which part of a fleet starts at once, by size."""
    rows = [
        [
            amount(start["processes"]),
            amount(start["secrets"]),
            percent(start["started"]),
            seconds(start["p99"]),
        ]
        for start in results["starts"]
    ]
    return table(["processes", "secrets", "started", "99 % within"], rows)


def by_size(results: dict[str, Any]) -> list[Record]:
    """Return the variants, those of one size together and the default first."""
    plain = [record for record in results["running"] if record["secrets"] == SECRETS]
    default = [record | {"name": "default"} for record in plain]
    return sorted([*default, *results["variants"]], key=lambda record: record["processes"])


def variants(results: dict[str, Any]) -> str:
    """Return the table of the calls and ages of the variants."""
    rows = [
        [
            record["name"],
            amount(record["processes"]),
            amount(record["mean"]),
            amount(record["peak"]),
            seconds(record["typical age"]),
            seconds(record["worst age"]),
        ]
        for record in by_size(results)
    ]
    heads = ["variant", "processes", "calls per second", "peak", "age, typical", "age, worst"]
    return table(heads, rows)


def prices(results: dict[str, Any]) -> str:
    """Return the table of what the variants cost."""
    rows = [
        [
            record["name"],
            amount(record["processes"]),
            money(record["calls price"]),
            money(record["push price"]),
            money(record["price"]),
        ]
        for record in by_size(results)
    ]
    return table(["variant", "processes", "calls", "push", "all, with the secrets"], rows)


def check(results: dict[str, Any]) -> str:
    """Return how far a sample is from the whole fleet, for the sizes where both were simulated."""
    rows: list[list[str]] = []
    for section, figures in (
        ("check of starts", ("started", "median", "p99", "batches", "gets")),
        ("check of running", ("mean", "peak", "typical age", "worst age")),
    ):
        whole, sample = results[section]
        for figure in figures:
            error = sample[figure] / whole[figure] - 1
            what = f"{section.removeprefix('check of ')}: {figure}"
            rows.append(
                [what, amount(whole[figure]), amount(sample[figure]), f"{100 * error:+.1f} %"]
            )
        processes = amount(whole["processes"])
        rows[-len(figures)][0] += f" ({processes} processes, sample of {sample['simulated']})"
    return table(["figure", "whole fleet", "sample", "error"], rows)


def page(results: dict[str, Any]) -> str:
    """Return the text of the page."""
    text = PAGE.read_text(encoding="utf-8")
    parts = {
        "answer": answer,
        "starts": starts,
        "rolling": rolling,
        "sizes": sizes,
        "started": started,
        "variants": variants,
        "prices": prices,
        "check": check,
    }
    for name, make in parts.items():
        text = written(text, name, make(results), by=SCRIPT)
    return text


def main() -> None:
    """Write the page."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    PAGE.write_text(page(results), encoding="utf-8")
    print(f"wrote {PAGE.name}")


if __name__ == "__main__":
    main()
