"""`RedisCredentials` reads what secrets for Redis say, and keeps the password to itself."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import pprint
import traceback
from typing import Any

import pytest
from hypothesis import given, strategies as st

from aiocredentials import RedisCredentials, SecretFormatError

CANARY = "hunter2-canary"


def caught(text: Any) -> Exception:  # noqa: ANN401 (one that isn't text, too)
    """Return what reading the text raises; this frame, which is in the traceback, hasn't got it any more."""
    texts = [text]
    del text
    try:
        RedisCredentials.from_text(texts.pop())
    except Exception as error:  # noqa: BLE001 (whatever it is, the tests look at it)
        return error
    raise AssertionError("nothing was raised")


SHAPES: dict[str, tuple[str, str | None]] = {
    json.dumps({"username": "app", "password": CANARY}): (CANARY, "app"),
    json.dumps({"username": "app", "password": CANARY, "user_arn": "arn:aws:elasticache"}): (CANARY, "app"),
    json.dumps({"password": CANARY}): (CANARY, None),
    json.dumps({"token": CANARY}): (CANARY, None),
    json.dumps({"auth_token": CANARY, "username": None}): (CANARY, None),
    json.dumps({"token": CANARY, "username": ""}): (CANARY, None),
    json.dumps({"token": "t", "password": CANARY}): (CANARY, None),
    json.dumps({"token": CANARY, "password": ""}): (CANARY, None),
    "  " + json.dumps({"token": CANARY}) + "\n": (CANARY, None),
    CANARY: (CANARY, None),
    f"{CANARY}\n": (CANARY, None),
    "12345678": ("12345678", None),
    "1e5": ("1e5", None),
    "two words": ("two words", None),
    "a:b@c:6379": ("a:b@c:6379", None),
    '"half quoted': ('"half quoted', None),
    "[token]": ("[token]", None),
}


@pytest.mark.parametrize(("text", "found"), SHAPES.items())
def test_shapes(text: str, found: tuple[str, str | None]) -> None:
    """An object with one of the keys is read, and any other text that can be one is the token."""
    one = RedisCredentials.from_text(text)
    assert (one.password, one.username) == found


REFUSED: dict[str, tuple[Any, str]] = {
    "empty": ("", "The secret is empty, or isn't Unicode text."),
    "spaces": (" \n", "The secret is empty"),
    "not text": ({"password": CANARY}, "The secret is empty, or isn't Unicode text."),
    "surrogate": (CANARY + "\udc80", "The secret is empty, or isn't Unicode text."),
    "cut": (json.dumps({"password": CANARY})[:-1], "The secret begins like a JSON object, but isn't valid JSON."),
    "deep": ('{"a": ' + "[" * 200_000 + CANARY, "The secret begins like a JSON object"),
    "no password": (json.dumps({"username": CANARY}), "The secret has no 'password', no 'token', no 'auth_token', or"),
    "null": (json.dumps({"username": CANARY, "password": None}), "The secret has no 'password'"),
    "number": (json.dumps({"token": 8675309, "username": CANARY}), "The secret's 'token' isn't a string of Unicode"),
    "another name": (
        json.dumps({"pass": CANARY}),
        "The secret has no 'password', no 'token', no 'auth_token', or an empty one; it has 'pass', not 'password'.",
    ),
    "a URL": (
        f"redis://:{CANARY}@host:6379/0",
        "The secret is a URL: RedisCredentials.from_url reads the user and the password.",
    ),
    "a URL with TLS": (f" rediss://app:{CANARY}@host\n", "The secret is a URL"),
    "a URL of Valkey": (f"valkey://{CANARY}", "The secret is a URL"),
    "a socket": (f"unix:///run/redis.sock?password={CANARY}", "The secret is a URL"),
    "a URL in an object": (json.dumps({"password": f"REDIS://:{CANARY}@host"}), "The secret's 'password' is a URL"),
    "lines": (f"app\n{CANARY}", "The secret has several lines, but a token has only one."),
    "lines of Windows": (f"user: app\r\npassword: {CANARY}\r\n", "The secret has several lines"),
    "an array": (json.dumps([CANARY]), "The secret is JSON, but not an object: store the token without quotes"),
    "quoted": (json.dumps(CANARY), "The secret is JSON, but not an object"),
    "nothing": ("null", "The secret is JSON, but not an object"),
    "a truth": ("true", "The secret is JSON, but not an object"),
    "a list": (json.dumps({"username": [CANARY], "password": CANARY}), "The secret's 'username' isn't a string"),
}


@pytest.mark.parametrize(("text", "says"), REFUSED.values(), ids=REFUSED)
def test_refused(text: object, says: str) -> None:
    """What isn't a secret for Redis is refused by a sentence that names the key; nothing of it is in the error."""
    error = caught(text)
    assert type(error) is SecretFormatError
    assert str(error).startswith(says)
    assert error.__cause__ is error.__context__ is None
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    for each in (shown, f"{error!r} {error.args} {vars(error)}"):
        assert CANARY not in each
        assert "8675309" not in each


@given(st.text() | st.dictionaries(st.text(), st.none() | st.booleans() | st.floats() | st.text()).map(json.dumps))
def test_any_text(text: str) -> None:
    """Whatever the text is, what comes out is credentials or `SecretFormatError`."""
    with contextlib.suppress(SecretFormatError):
        assert RedisCredentials.from_text(text).password


def test_it_shows_no_password() -> None:
    """Its repr has a mask; it can't be pickled, and a copy is the same object."""
    one = RedisCredentials(password=CANARY, username="app")
    assert repr(one) == "RedisCredentials(password=***, username='app')"
    for shown in (f"{one}", f"{[one]}", pprint.pformat({"a": one})):
        assert CANARY not in shown
    with pytest.raises(TypeError, match="RedisCredentials can't be pickled"):
        pickle.dumps(one)
    assert copy.copy(one) is copy.deepcopy(one) is one
    assert {one} == {RedisCredentials(password=CANARY, username="app")}
    assert one != RedisCredentials(password="other", username="app")
