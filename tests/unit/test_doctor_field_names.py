"""Names of JSON keys are shown if they look like names of fields."""

from __future__ import annotations

import string
from random import Random

import pytest

from aiocredentials._field_names import is_field_name

FIELDS = """
    password username host port dbname engine dbInstanceIdentifier masterUserSecretArn apiKey client_id client-secret
    API_KEY AWS_SECRET_ACCESS_KEY STRIPE_SECRET_KEY_2 sentry.dsn oauth2_token s3_bucket sha256 x509_cert PGPASSWORD
    spring.datasource.password userId _comment id connectionstring mock_secret_key db_password_1
"""
TOKENS = """
    sk_live_4eC39HqLyjWDarjtT1zdp7dc AKIAIOSFODNN7EXAMPLE ghp_16C7e42F292c6912E7710c838347Ae178B4a hunter2222
    d41d8cd98f00b204e9800998ecf8427e 9f86d081884c7d65 xoxb-2048-kljf23 eyJhbGciOiJIUzI1NiJ9 wJalrXUtnFEMI
    0a4d55a8-d778-4fd0-8b5c-9d6f5f0c6f7d mail@example.com päss 2024 a_ _ . kljfwxbcd a--b pass%word
    averylongnameofafieldthatisnofield cdIpkZTUusZCAjpaOVSn ab12_cd34_ef5
"""


@pytest.mark.parametrize("key", FIELDS.split())
def test_names_of_fields(key: str) -> None:
    """Keys that services use as names of fields are shown."""
    assert is_field_name(key)


@pytest.mark.parametrize("key", [*TOKENS.split(), "", "two words", "x" * 33, "a" * 17, "password\n"])
def test_names_that_may_be_tokens(key: str) -> None:
    """Keys that may be tokens, mail addresses or numbers aren't taken for names of fields."""
    assert not is_field_name(key)


def test_random_tokens() -> None:
    """Of 20,000 random tokens of 20 letters and digits, fewer than one in 500 would pass for the name of a field."""
    random = Random(1)  # noqa: S311 - nothing that is kept secret
    letters = string.ascii_letters
    tokens = ("".join([random.choice(letters), *random.choices(letters + string.digits, k=19)]) for _ in range(20_000))
    assert sum(map(is_field_name, tokens)) < 40
