"""What keeps this process from reading its secrets: `diagnose` asks AWS, and returns a `Report`.

`python -m aiocredentials doctor NAME...` prints the same on the command line.
"""

from aiocredentials.doctor.diagnosis import (
    FINE,
    UNKNOWN,
    WRONG,
    Endpoint,
    Permission,
    Permissions,
    Report,
    SecretReport,
    diagnose,
)

__all__ = [
    "FINE",
    "UNKNOWN",
    "WRONG",
    "Endpoint",
    "Permission",
    "Permissions",
    "Report",
    "SecretReport",
    "diagnose",
]
