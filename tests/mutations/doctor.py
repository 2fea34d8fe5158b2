"""What `tests/mutants.py` takes out of the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # doctor/probe.py
    (
        "a password in an error",
        "doctor/probe.py",
        "return without_password(what)",
        "return what",
    ),
    (
        "keys that may be tokens are shown",
        "doctor/probe.py",
        "(show_keys or all(map(is_field_name, names)))",
        "True",
    ),
    # doctor/report.py
    (
        "invisible characters are printed",
        "doctor/report.py",
        " and not _INVISIBLE.match(character)",
        "",
    ),
]
