"""Why this process can't read its secrets: `diagnose` asks AWS, and returns a `Report`.

`python -m aiocredentials doctor NAME...` prints the same on the command line.
"""

from aiocredentials.doctor.diagnosis import diagnose
from aiocredentials.doctor.results import (
    FINE,
    UNKNOWN,
    WRONG,
    Contents,
    Elsewhere,
    Endpoint,
    Identity,
    Permission,
    Permissions,
    ReplicaReport,
    Report,
    SecretReport,
)

__all__ = [
    "FINE",
    "UNKNOWN",
    "WRONG",
    "Contents",
    "Elsewhere",
    "Endpoint",
    "Identity",
    "Permission",
    "Permissions",
    "ReplicaReport",
    "Report",
    "SecretReport",
    "diagnose",
]
