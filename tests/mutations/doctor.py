"""What `tests/mutants.py` takes out of the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MUTATIONS: Sequence[tuple[str, str, str, str]] = [
    # doctor/wording.py
    (
        "a password in an error",
        "doctor/wording.py",
        "return without_logins(reason)",
        "return reason",
    ),
    # doctor/probe.py
    (
        "keys that may be tokens are shown",
        "doctor/probe.py",
        "show_keys or all(map(is_field_name, key_names))",
        "True",
    ),
    # doctor/cli.py
    (
        "a typo in an option shows the external id",
        "doctor/cli.py",
        'one.partition("=")[0] for one in arguments if',
        "one for one in arguments if",
    ),
    (
        "a pipe whose reader has left on Windows",
        "doctor/cli.py",
        "{errno.EPIPE, errno.EINVAL}",
        "{errno.EPIPE}",
    ),
    (
        "sequences for colours on an old console of Windows",
        "doctor/cli.py",
        'return "WT_SESSION" in os.environ',
        "return True",
    ),
    # doctor/layout.py
    (
        "invisible characters are printed",
        "doctor/layout.py",
        "is_invisible or not character.isprintable()",
        "not character.isprintable()",
    ),
]
