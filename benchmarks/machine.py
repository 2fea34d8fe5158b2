"""What was measured, and where: the date, the processor, and the versions."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sides import SIDES

if TYPE_CHECKING:
    from environments import Environment


def processor() -> str:
    """Return the name of the processor, as far as the system knows it."""
    listed = Path("/proc/cpuinfo")
    if listed.exists():
        for line in listed.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def about(environments: dict[str, Environment]) -> dict[str, Any]:
    """Return the date, the machine, and the version of each package in each environment."""
    packages: dict[str, dict[str, str]] = {}
    for side, found in environments.items():
        is_own = side == "ours" or SIDES[side].requirements
        if is_own and found.python:
            packages[SIDES[side].label] = found.packages()

    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
    }


def summary(about: dict[str, Any]) -> str:
    """Return the sentence below each table and plot."""
    return (
        f"Measured on {about['date']} by {about['python']} on {about['processor']}, "
        f"{about['cores']} cores, {about['system']}."
    )
