"""Which identifiers mean the same secret, and that each read brings the secret that was asked."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from aiocredentials import AsyncCredentialsManager, CredentialsPool
from aiocredentials._identifiers import identifiers, region_in, same_secret
from unit.identifier_walk import walk

PREFIX = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:"


@pytest.mark.parametrize(
    ("name", "arn", "expected"),
    [
        ("prod/db", f"{PREFIX}prod/db-AbCd12", ("prod/db", f"{PREFIX}prod/db-AbCd12", f"{PREFIX}prod/db")),
        ("a", f"{PREFIX}a-AbCd12", ("a", f"{PREFIX}a-AbCd12", f"{PREFIX}a")),
        # A name that ends like a suffix has no partial ARN: that may be the full ARN of another secret.
        ("db-AbCd12", f"{PREFIX}db-AbCd12-Zz9999", ("db-AbCd12", f"{PREFIX}db-AbCd12-Zz9999")),
        ("db-AbCd1", f"{PREFIX}db-AbCd1-Zz9999", ("db-AbCd1", f"{PREFIX}db-AbCd1-Zz9999", f"{PREFIX}db-AbCd1")),
        # Nor has an ARN that doesn't end in the name and a suffix, as emulators and custom sessions make them.
        (
            "service/password1",
            "arn:local:secret:service/password1",
            ("service/password1", "arn:local:secret:service/password1"),
        ),
        ("service-passwd", "arn:local:secret:service-passwd", ("service-passwd", "arn:local:secret:service-passwd")),
        ("db", f"{PREFIX}other-AbCd12", ("db", f"{PREFIX}other-AbCd12")),
        ("db", f"{PREFIX}db-AbCd1", ("db", f"{PREFIX}db-AbCd1")),
        ("db", f"{PREFIX}db-AbC.12", ("db", f"{PREFIX}db-AbC.12")),
        ("db", "db", ("db",)),
    ],
)
def test_what_means_a_secret(name: str, arn: str, expected: tuple[str, ...]) -> None:
    """Promise 12: an alias is made only of what AWS confirmed, by the secret's name and its ARN."""
    assert identifiers(name, arn) == expected
    assert all(same_secret(each, name, arn) for each in expected)
    assert not same_secret(arn[:-7], name, arn) or arn[:-7] in expected


NAMES = st.text("ab-A1/", min_size=1, max_size=16)


@given(NAMES, NAMES, st.text("aA1", min_size=6, max_size=6), st.text("bB2", min_size=6, max_size=6))
def test_no_two_secrets_share_an_identifier(one: str, other: str, suffix: str, another: str) -> None:
    """Promise 12: whatever secrets are called, no identifier means two of them."""
    if one == other:
        return
    first, second = f"{PREFIX}{one}-{suffix}", f"{PREFIX}{other}-{another}"
    if first != second:
        assert not set(identifiers(one, first)) & set(identifiers(other, second))


@pytest.mark.parametrize("region", ["a" * 64, "a" * 2000, "eu west 1", "eu-west-1\n", "", "é"])
def test_a_region_that_cannot_be_one(region: str) -> None:
    """An ARN with an impossible region is refused by its shape, at once and in a short sentence."""
    arn = f"arn:aws:secretsmanager:{region}:123456789012:secret:db-AbCd12"
    with pytest.raises(ValueError, match="which isn't the name of a region: give the ARN as AWS") as caught:
        AsyncCredentialsManager(arn)
    assert len(str(caught.value)) < 250
    with pytest.raises(ValueError, match="A name to prefetch is an ARN with the region"):
        CredentialsPool(prefetch=[arn])
    assert region_in(arn) == region


def test_regions_of_identifiers() -> None:
    """An ARN of Secrets Manager names its region; a name, and the ARN of something else, don't."""
    assert region_in(f"{PREFIX}db-AbCd12") == "eu-west-1"
    assert [region_in(one) for one in ("db", "arn:aws:s3:::bucket", "arn:local:secret:db")] == [None] * 3


def test_identifiers_that_collide() -> None:
    """Promises 4, 5 and 12: each caller gets its own secret, and none from before an invalidation."""
    assert walk(0, 40) == []


@pytest.mark.soak
@pytest.mark.timeout(120)
def test_identifiers_that_collide_for_long() -> None:
    """Promises 4, 5 and 12: so it is in 40,000 random steps; in the soak they are 200,000."""
    assert walk(1000, 200) == []
