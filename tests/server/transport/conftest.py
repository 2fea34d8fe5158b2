"""What each test of the transport gets: certificates, credentials that can be stolen, and two ways to fetch."""

from __future__ import annotations

import pytest

from server.certificates import Authority, self_signed
from server.transport.fetching import REGION, SESSION_TOKEN, Certificates, Fetch, per_call, pooled


@pytest.fixture(params=[per_call, pooled], ids=["session per call", "pooled"])
def fetch(request: pytest.FixtureRequest) -> Fetch:
    """Fetch in both of the ways that the library has."""
    way: Fetch = request.param
    return way


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make an authority that the client trusts, one that it doesn't, and what either would sign."""
    directory = tmp_path_factory.mktemp("certificates")
    authority, stranger = Authority(directory, "trusted"), Authority(directory, "stranger")
    return Certificates(
        directory=directory,
        authority=authority,
        right=authority.leaf("localhost", "127.0.0.1"),
        aws=authority.leaf(f"secretsmanager.{REGION}.amazonaws.com"),
        flawed={
            "wrong host name": authority.leaf("other.example"),
            "untrusted authority": stranger.leaf("localhost", "127.0.0.1"),
            "expired": authority.leaf("localhost", "127.0.0.1", expired=True),
            "self-signed": self_signed(directory, "localhost", "127.0.0.1"),
        },
    )


@pytest.fixture(autouse=True)
def environment(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, certificates: Certificates
) -> pytest.MonkeyPatch:
    """Trust our authority, as a company's own is trusted, and have credentials with a token that can be stolen."""
    assert aws_environment is None  # first the clean environment, then these
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFROMENVIRONMENT0")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-real-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", SESSION_TOKEN)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates.authority.bundle))
    return monkeypatch
