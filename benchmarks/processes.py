"""The processes of a run: the stub, and one for each measurement and side."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from authority import Certificates

HERE = Path(__file__).parent

# Seconds that one process may take: several times as long as the longest one takes.
PATIENCE = 300


class ChildError(Exception):
    """A child process failed; the text is its last line."""


@dataclass(frozen=True)
class Stub:
    """Where the stub listens."""

    endpoint: str
    tls_endpoint: str | None


@contextmanager
def stub_server(certificates: Certificates | None = None) -> Iterator[Stub]:
    """Start the stub in another process, and end it by closing its stdin."""
    command = [sys.executable, str(HERE / "stub_server.py")]
    if certificates:
        command += [str(certificates.certificate), str(certificates.key)]

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            ports = json.loads(server.stdout.readline())
            tls_endpoint = None
            if certificates:
                tls_endpoint = f"https://127.0.0.1:{ports['tls_port']}"
            yield Stub(f"http://127.0.0.1:{ports['port']}", tls_endpoint)
        finally:
            server.communicate()


def environment(bundle: Path | None = None, *, from_openssl: bool = False) -> dict[str, str]:
    """Return the variables of the measurements, in which no side looks for AWS credentials.

    They have none of the user's settings of AWS, Python, TLS and proxies: so Python keeps bytecode.

    Args:
        bundle: The CAs to trust.
        from_openssl: The side reads OpenSSL's variable, and not that of AWS's tools.
    """
    variables: dict[str, str] = {}
    for name, value in os.environ.items():
        is_proxy = name.lower().endswith("_proxy")
        is_setting = name.startswith(("AWS_", "PYTHON", "SSL_", "COVERAGE_"))
        if not is_setting and not is_proxy:
            variables[name] = value

    if bundle and from_openssl:
        variables["SSL_CERT_FILE"] = str(bundle)
    elif bundle:
        variables["AWS_CA_BUNDLE"] = str(bundle)
    return variables | {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def measured(python: str, jobs: list[str], endpoint: str, *, quick: bool) -> list[dict[str, Any]]:
    """Run measurements in a new process; return an answer for each.

    Args:
        python: The Python of the side's environment.
        jobs: A name and a side, with a colon between them, for each measurement.
        endpoint: Where the stub listens.
        quick: A rough answer is enough.
    """
    command = [python, str(HERE / "measure.py"), *jobs, "--endpoint", endpoint]
    if quick:
        command.append("--quick")
    try:
        child = subprocess.run(
            command,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        reason = f"took more than {PATIENCE} s"
        return [{"failed": reason} for _ in jobs]

    # A side may print lines of its own.
    lines = [line for line in child.stdout.splitlines() if line.startswith('{"answer"')]
    answers: list[dict[str, Any]] = [json.loads(line)["answer"] for line in lines]
    if child.returncode != 0 or any("failed" in each for each in answers):
        sys.stderr.write(child.stderr)

    reason = f"the process ended with exit code {child.returncode}"
    while len(answers) < len(jobs):
        answers.append({"failed": reason})
    return answers


def run_quietly(command: list[str], variables: dict[str, str], *, cpu: bool = False) -> float:
    """Run a program; return its CPU time in seconds, or 0 if it isn't asked for.

    Raises `ChildError` if it fails.
    """
    process = subprocess.Popen(
        command,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    with process.stderr:
        said = process.stderr.read()
    # Only this gives the times of one child.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        lines = said.strip().splitlines() or [f"exit code {process.returncode}"]
        sys.stderr.write(said)
        raise ChildError(lines[-1])
    return usage.ru_utime + usage.ru_stime if cpu else 0.0


def cold_seconds(python: str, peer: str, endpoint: str, variables: dict[str, str]) -> float:
    """Return the CPU time of a new process that reads one secret and ends."""
    command = [python, str(HERE / "cold.py"), peer, endpoint]
    return run_quietly(command, variables, cpu=True)


def cold_instructions(
    python: str,
    peer: str,
    endpoint: str,
    variables: dict[str, str],
    *repeated: str,
) -> float:
    """Return the instructions outside the kernel of such a process, which valgrind counts.

    Args:
        python: The Python of the side's environment.
        peer: The side.
        endpoint: Where the stub listens.
        variables: The variables of the process.
        repeated: What it does after the first read, and how often; by default nothing.
    """
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise ChildError("valgrind is not installed")

    command = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        command += [f"--log-file={log}", python, str(HERE / "cold.py"), peer, endpoint, *repeated]
        # The seed of the hashes decides how often they collide.
        run_quietly(command, variables | {"PYTHONHASHSEED": "0"})
        said = log.read_text()

    counted = re.search(r"I\s+refs:\s+([\d,]+)", said)
    assert counted is not None
    return float(counted[1].replace(",", ""))
