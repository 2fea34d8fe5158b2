"""Secrets Manager for your own tests: a fake in memory, moto's server, and a clock.

An import of this module imports no test framework, no moto and no aioboto3. The fixtures are in the
pytest plugin.
"""

from aiocredentials.testing._client import Call, Gate
from aiocredentials.testing._clock import FakeClock
from aiocredentials.testing._endpoint import SecretsEndpoint
from aiocredentials.testing._fake import FakeSecretsManager
from aiocredentials.testing._moto import MotoServer
from aiocredentials.testing._seeds import SeededVersion

__all__ = [
    "Call",
    "FakeClock",
    "FakeSecretsManager",
    "Gate",
    "MotoServer",
    "SecretsEndpoint",
    "SeededVersion",
]
