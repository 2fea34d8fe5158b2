"""Prove that the tests can fail: break the promises of the package one by one, and expect that the tests catch each.

Each mutation changes the text of one file in a copy of the package, and the tests of that file run against the copy.
The script fails if no test catches a mutant, or if the code of a mutation isn't in the file any more.

`nox -s mutants` runs it. So does `python tests/mutants.py [PART OF A NAME ...]`, if the package and the requirements of
the tests are installed.
"""

# ruff: noqa: T201 (this script prints a table)
from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mutations import (
    agent,
    aws,
    cache,
    doctor,
    engines,
    iam,
    push,
    replicas,
    roles,
    rotation,
    sessions,
    snapshots,
    store,
    values,
)

ROOT = Path(__file__).resolve().parent.parent
CACHE_TESTS = [
    "test_forget.py",
    "test_freshness.py",
    "test_outcomes.py",
    "test_many_secrets.py",
    "test_cache_ageing.py",
    "test_cache_aliases.py",
    "test_cache_batches.py",
    "test_cache_closing.py",
    "test_cache_eviction.py",
    "test_cache_failures.py",
    "test_cache_forced_refresh.py",
    "test_cache_invalidation.py",
    "test_cache_loops.py",
    "test_cache_outages.py",
    "test_cache_past_caches.py",
    "test_cache_refresh_ahead.py",
    "test_cache_single_flight.py",
    "test_cache_watching.py",
    "test_deadline.py",
    "test_loops.py",
    "test_pool_life.py",
    "test_batches.py",
    "test_store.py",
    "test_identifiers.py",
    "test_threads.py",
    "test_cache_machine.py",
    "test_cache_schedules.py",
]
ROLE_TESTS = ["test_roles.py", "../server/test_roles.py"]
IAM_TESTS = ["test_iam.py", "test_kept_keys.py", "test_encryption.py", "../server/test_iam.py"]
AGENT_TESTS = ["test_agent.py", "../server/test_agent.py"]
ROTATION_QUEUE_TESTS = [
    "test_rotation_queue.py",
    "test_rotation_queue_answers.py",
    "test_rotation_queue_failures.py",
    "test_rotation_flights.py",
    "test_rotation_lag.py",
    "test_rotation_fleet.py",
]
# A file that isn't here has the tests of the cache.
TESTS = {
    "_aws/assuming.py": ROLE_TESTS,
    "_aws/role_errors.py": ROLE_TESTS,
    "_aws/clients.py": [*ROLE_TESTS, *AGENT_TESTS, *IAM_TESTS, "../server/test_snapshots.py"],
    "_aws/loop_clients.py": [*ROLE_TESTS, *IAM_TESTS, "../server/test_snapshots.py"],
    "_aws/keys.py": IAM_TESTS,
    "_aws/kept_keys.py": IAM_TESTS,
    "_aws/key_gateway.py": IAM_TESTS,
    "_iam/arguments.py": IAM_TESTS,
    "_iam/generations.py": IAM_TESTS,
    "_rotation/encryption.py": IAM_TESTS,
    "_aws/requests.py": [*ROLE_TESTS, "test_replicas.py"],
    "_aws/roles.py": ROLE_TESTS,
    "_aws/session.py": [*ROLE_TESTS, "../server/test_snapshots.py"],
    "_json_copies.py": ["test_json_copies.py"],
    "_aws/gateway.py": [
        *CACHE_TESTS,
        "test_replicas.py",
        "test_roles_in_regions.py",
        "../server/test_healing.py",
    ],
    "_aws/known_versions.py": ["test_known_versions.py"],
    "_aws/region_health.py": ["test_region_health.py", "test_replicas.py"],
    "_aws/replica_reads.py": [
        "test_replicas.py",
        "test_replica_batches.py",
        "test_roles_in_regions.py",
    ],
    "_aws/replicas.py": ["test_replicas.py", "test_replica_batches.py", "test_replicas_forgotten.py"],
    "_loops.py": [*CACHE_TESTS, "test_cancelled_inside.py", "../server/test_fork.py"],
    "_aws/pooled.py": [*IAM_TESTS, "../server/test_healing.py"],
    "_aws/chain.py": ["../server/test_credential_process.py"],
    "_aws/ambiguous_findings.py": ["../server/test_credential_process.py"],
    "_aws/mapping.py": ["test_connection_errors.py"],
    "_aws/signing.py": ["test_signing.py"],
    "_aws/user_agent.py": ["test_user_agent.py"],
    "_store.py": [*CACHE_TESTS, "test_outage.py"],
    "_prefetch.py": [*CACHE_TESTS, *ROLE_TESTS, "test_throttled_batches.py"],
    "doctor/cli.py": ["test_doctor_command.py"],
    "testing/_moto.py": ["../server/test_platforms.py"],
    "_aws/answered_errors.py": ["../server/test_healing.py", "../server/test_first_value.py"],
    "_aws/loading.py": ["../server/test_fork.py", "test_green_threads.py"],
    "_aws/models.py": ["test_models.py"],
    "_aws/emitters.py": ["test_emitters.py"],
    "_aws/aiosession.py": ["test_chain.py", "test_emitters.py", "test_settings.py"],
    "_aws/transport.py": ["test_transport.py", "test_send.py", "../server/test_first_value.py"],
    "_aws/regions.py": ["../server/test_first_value.py"],
    "_reports.py": ["test_reports.py", "../server/test_first_value.py"],
    "rotation.py": [
        "test_rotation.py",
        "test_rotation_limits.py",
        "test_waits.py",
        "test_forget.py",
        "test_iam.py",
    ],
    "integrations/_redis_versions.py": IAM_TESTS,
    "_rotation/naming.py": ["test_rotation.py", "test_rotation_limits.py", "test_iam.py"],
    "_rotation/waits.py": ["test_waits.py"],
    "integrations/_redis_connections.py": ["../integrations/test_redis_max_wait.py"],
    "_rotation/news.py": ["test_news.py", "test_rotation.py", "test_forget.py"],
    "_rotation/refusals.py": ["test_refusals.py"],
    "_rotation/budget.py": ["test_rotation.py", "test_rotation_limits.py"],
    "_rotation/words.py": ["test_refusals.py", "test_iam.py"],
    "_rotation/labels.py": ["test_rotation.py", "test_rotation_limits.py"],
    "_rotation/verdicts.py": ["test_rotation.py", "test_rotation_limits.py", "test_forget.py"],
    "_exception_chain.py": ["test_refusals.py"],
    "_rotation/adapters.py": ["test_databases.py"],
    "_rotation/interruption.py": ["test_mysql.py"],
    "_rotation/mysql.py": ["test_mysql.py"],
    "integrations/_mysql.py": ["test_mysql.py"],
    "_decode.py": ["test_decode.py"],
    "_pydantic_errors.py": ["test_decode.py"],
    "_formats.py": ["test_credentials.py", "test_redis_credentials.py", "test_shapes.py"],
    "_shapes.py": ["test_shapes.py"],
    "_url_fields.py": ["test_shapes.py"],
    "_urls.py": ["test_credentials.py", "test_shapes.py"],
    "_secret.py": ["test_secret.py"],
    "doctor/replicas.py": ["test_doctor_replicas.py"],
    "doctor/probe.py": ["../server/test_doctor_secrets.py"],
    "doctor/layout.py": ["test_doctor_report.py"],
    "doctor/wording.py": ["test_doctor_wording.py"],
    "_listeners.py": ["test_events.py"],
    "agent.py": AGENT_TESTS,
    "_agent/answers.py": AGENT_TESTS,
    "_agent/tokens.py": ["test_agent.py"],
    "_agent/client.py": AGENT_TESTS,
    "_agent/slots.py": ["../server/test_agent.py"],
    "_agent/state.py": ["../server/test_agent.py"],
    "_agent/http.py": AGENT_TESTS,
    "_pool.py": ["test_events.py", "test_pool_life.py"],
    "_opening.py": ["test_pool_life.py"],
    "_aws/tls.py": ["../server/test_snapshots.py"],
    "integrations/_sqlalchemy_pool.py": ["../integrations/test_sqlalchemy_engines.py"],
    "integrations/sqlalchemy.py": [
        "../integrations/test_sqlalchemy_engines.py",
        "test_encryption.py",
    ],
    "integrations/snapstart.py": ["../server/test_snapshots.py"],
    "_cache/renewal.py": [*ROTATION_QUEUE_TESTS, "test_cache_past_caches.py"],
    "_held.py": ROTATION_QUEUE_TESTS,
    "_eventbridge/events.py": ["test_rotation_events.py", "test_rotation_queue.py"],
    "eventbridge.py": ROTATION_QUEUE_TESTS,
    "_eventbridge/renewals.py": ROTATION_QUEUE_TESTS,
    "_eventbridge/sqs.py": ROTATION_QUEUE_TESTS,
    "_eventbridge/watcher.py": ROTATION_QUEUE_TESTS,
    "_aws/other_services.py": ["test_other_services.py"],
}

# Herds and soaks are slow, and other tests make the same promises.
WITHOUT_SLOW = "not herd and not soak"

# In seconds. The first limit catches a mutant that hangs. The package as it is meets all tests, so it needs longer.
LONGEST = 120
LONGEST_AS_IT_IS = 600


class Mutation(NamedTuple):
    """A promise that is broken: the code that keeps it, and the code that takes its place.

    We look for the old code by its words: spaces and line ends don't count.
    """

    name: str
    old: str
    new: str
    file: str


MUTATIONS = [
    Mutation(name, old, new, file)
    for table in (
        cache,
        aws,
        sessions,
        roles,
        replicas,
        agent,
        push,
        store,
        values,
        rotation,
        engines,
        doctor,
        snapshots,
        iam,
    )
    for name, file, old, new in table.MUTATIONS
]


def pattern_of(code: str) -> re.Pattern[str]:
    """Return a pattern that finds the code however its lines are broken.

    So a mutation needs no change if the formatter breaks a line that has become too long.
    """
    words = re.findall(r"\w+|[^\w\s]", code)

    # Between two words, the formatter may add spaces, line ends, and a comma before a closing bracket.
    between = r"(?:\s|,(?=\s*[)\]}]))*"
    return re.compile(between.join(map(re.escape, words)))


def replacement_of(mutation: Mutation) -> str:
    """Return the new code from its first word on, because the pattern has no space before the first word."""
    first_word = mutation.old.lstrip()
    indent = mutation.old.removesuffix(first_word)
    return mutation.new.removeprefix(indent).rstrip()


def mutate(folder: Path, mutation: Mutation) -> None:
    """Change the copy of the package. Raises `LookupError` if the old code isn't there exactly once."""
    path = folder / "aiocredentials" / mutation.file
    text = path.read_text(encoding="utf-8")
    found = list(pattern_of(mutation.old).finditer(text))
    if len(found) != 1:
        raise LookupError(f"the text is there {len(found)} times, not once: {mutation.old.strip()!r}")

    start, end = found[0].span()
    path.write_text(text[:start] + replacement_of(mutation) + text[end:], encoding="utf-8")


def tests_of(mutation: Mutation | None) -> list[str]:
    """Return the test files to run against a mutant; all of them for the package as it is."""
    if mutation is None:
        return [*CACHE_TESTS, *itertools.chain(*TESTS.values())]
    return TESTS.get(mutation.file, CACHE_TESTS)


def run_tests(folder: str, names: list[str], limit: float) -> subprocess.CompletedProcess[str]:
    """Run test files against the package in this folder. Raises `TimeoutExpired` after `limit` seconds."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-k",
        WITHOUT_SLOW,
        "--timeout=20",
        "-W",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ]
    command += [str(ROOT / "tests" / "unit" / name) for name in names]
    environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )


def outcome_of(done: subprocess.CompletedProcess[str]) -> str:
    """Return what the tests found, as the table shows it."""
    if done.returncode == 0:
        return "SURVIVED"
    if done.returncode != 1:
        return f"ERROR: pytest says {done.returncode}: {done.stdout[-500:]}"

    failures = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if not failures:
        return "caught: it hangs"
    test = failures[0].partition("::")[2].partition(" ")[0]
    return f"caught by {test or failures[0]}"


def attack(mutation: Mutation | None) -> tuple[str, float]:
    """Run the tests against a mutant, or against the package as it is; return the outcome, and the seconds."""
    limit = LONGEST_AS_IT_IS if mutation is None else LONGEST
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src" / "aiocredentials", Path(folder, "aiocredentials"))
        if mutation is not None:
            try:
                mutate(Path(folder), mutation)
            except LookupError as error:
                return f"ERROR: {error}", 0.0

        try:
            done = run_tests(folder, tests_of(mutation), limit)
            outcome = outcome_of(done)
        except subprocess.TimeoutExpired:
            outcome = "caught: it hangs"
    return outcome, time.perf_counter() - start


def chosen(words: list[str]) -> list[Mutation]:
    """Return the mutations whose name has one of the words; all of them if there are no words."""
    if not words:
        return MUTATIONS
    return [mutation for mutation in MUTATIONS if any(word in mutation.name for word in words)]


def report(name: str, outcome: str, seconds: float) -> None:
    """Print one line of the table."""
    print(f"{name:48} {seconds:5.1f} s  {outcome}", flush=True)


def main(words: list[str]) -> int:
    """Attack the package with the chosen mutations; return the exit status."""
    bad = 0
    outcome, seconds = attack(None)
    if outcome == "SURVIVED":
        outcome = "passes"
    else:
        bad += 1
    report("(as it is)", outcome, seconds)

    mutations = chosen(words)
    with ThreadPoolExecutor(os.cpu_count() or 1) as executor:
        outcomes = executor.map(attack, mutations)
        for mutation, (outcome, seconds) in zip(mutations, outcomes, strict=True):
            report(mutation.name, outcome, seconds)
            if not outcome.startswith("caught"):
                bad += 1

    verdict = f"{bad} of them not caught" if bad else "each one caught"
    print(f"{len(mutations)} mutants, {verdict}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
