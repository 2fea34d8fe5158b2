"""Where the contract is tested: the fake, moto's server, and any Secrets Manager given by `--secrets-endpoint`."""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from aiocredentials import CredentialsPool
from aiocredentials.testing import FakeSecretsManager, SecretsEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from aiocredentials.testing import MotoServer

# As they were before the tests' own environment: for an endpoint that looks at credentials.
CALLERS_AWS = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@dataclass
class Backend:
    """A Secrets Manager to be tested, and a pool that asks it."""

    kind: str
    secrets: FakeSecretsManager | SecretsEndpoint
    names: list[str] = field(default_factory=list[str])

    @property
    def is_moto(self) -> bool:
        """Whether it is the one that is known to differ from AWS here and there."""
        return self.kind == "moto"

    def name(self) -> str:
        """Make up a name for a secret."""
        self.names.append(f"aiocredentials/contract/{uuid.uuid4()}")
        return self.names[-1]

    def pool(self) -> CredentialsPool:
        """Make a pool."""
        if isinstance(self.secrets, FakeSecretsManager):
            return CredentialsPool(session=self.secrets)
        return self.secrets.pool()

    def client(self) -> AbstractAsyncContextManager[Any]:
        """Make a client, for a call that no pool makes."""
        if isinstance(self.secrets, FakeSecretsManager):
            return self.secrets.secretsmanager_client(self.secrets.region_name)
        client: AbstractAsyncContextManager[Any] = get_session().create_client(
            "secretsmanager", self.secrets.region_name, endpoint_url=self.secrets.url
        )
        return client


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test of the contract against each of them."""
    if "backend" in metafunc.fixturenames:
        more = ["endpoint"] if metafunc.config.getoption("secrets_endpoint") else []
        metafunc.parametrize("backend", ["fake", "moto", *more], indirect=True)


@pytest.fixture(scope="session")
def _endpoints() -> Iterator[Callable[[str], SecretsEndpoint]]:
    """Keep the clients that seed: to make one is slow."""
    endpoints: dict[str, SecretsEndpoint] = {}
    region = CALLERS_AWS.get("AWS_DEFAULT_REGION") or CALLERS_AWS.get("AWS_REGION") or "us-east-1"
    yield lambda url: endpoints.setdefault(url, SecretsEndpoint(url, region_name=region))
    for endpoint in endpoints.values():
        endpoint.close()


@pytest.fixture
def backend(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, _endpoints: Callable[[str], SecretsEndpoint]
) -> Iterator[Backend]:
    """The one that this run of the test is about; what a test creates is deleted afterwards."""
    if request.param == "fake":
        yield Backend("fake", FakeSecretsManager())
    elif request.param == "moto":
        moto: MotoServer = request.getfixturevalue("moto_environment")
        yield Backend("moto", _endpoints(moto.url))
    else:
        for name, value in CALLERS_AWS.items():
            monkeypatch.setenv(name, value)
        theirs = Backend("endpoint", _endpoints(request.config.getoption("secrets_endpoint")))
        yield theirs
        for name in theirs.names:
            with contextlib.suppress(ClientError, KeyError):
                theirs.secrets.delete(name, force=True)
