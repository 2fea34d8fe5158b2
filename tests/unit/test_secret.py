"""`Secret` holds a value and shows none."""

from __future__ import annotations

import copy
import json
import pickle
import sys
import traceback
import weakref
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from aiocredentials import Secret, SecretFormatError
from aiocredentials._decode import Decoded
from aiocredentials._secret import Lifetime

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "hunter2-canary"
ARN = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
FETCHED = datetime(2026, 1, 1, tzinfo=UTC)


def secret(value: str | bytes = CANARY, **more: Any) -> Secret:  # noqa: ANN401 (a Secret's arguments)
    """Make a secret."""
    provenance: dict[str, Any] = {
        "name": "prod/db",
        "arn": ARN,
        "region": "eu-west-1",
        "version_id": "version-1",
        "version_stages": ("AWSCURRENT", "green"),
        "created_at": None,
        "fetched_at": FETCHED,
        "born": 100.0,
    }
    return Secret(value, **provenance | more)


def test_provenance() -> None:
    """It says which version of which secret it is, where it came from and when."""
    one = secret(created_at=FETCHED)
    assert (one.name, one.arn, one.region, one.version_id) == ("prod/db", ARN, "eu-west-1", "version-1")
    assert (one.version_stages, one.created_at, one.fetched_at) == (("AWSCURRENT", "green"), FETCHED, FETCHED)


@pytest.mark.parametrize("value", [CANARY, CANARY.encode(), ""], ids=["text", "binary", "empty"])
@pytest.mark.parametrize("show", ["{}", "{!r}", "{!a}", "{[0]}", "{[0]!r:>200}"])
def test_nothing_shows_it(value: str | bytes, show: str) -> None:
    """Each way to print it, or what it is in, shows name, version and a mask, the same for every value."""
    one = secret(value)
    shown = show.format([one] if "0" in show else one)
    assert "<Secret 'prod/db' version 'version-1' AWSCURRENT/green value=***>" in shown
    assert CANARY not in shown


ODD = ["\n2026-01-01 ERROR", "\x1b[2J", "a\tb", "\u202egreen", "it's", "grün"]


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_what_others_chose_is_escaped(odd: str) -> None:
    """A label, a name or an id of a version can't end a line of a log or change a terminal."""
    shown = repr(secret(version_stages=("AWSCURRENT", odd), version_id=odd, name=odd))
    assert shown.isprintable()
    assert shown.startswith("<Secret ")
    assert shown.endswith(f"AWSCURRENT/{repr(odd)[1:-1]} value=***>")


def test_binary() -> None:
    """It says whether its value is bytes, also where these are text."""
    assert secret(b"text").is_binary is True
    assert secret("text").is_binary is False


def test_immutable() -> None:
    """No attribute can be set or deleted, the private ones neither, and none can be added."""
    one = secret()
    for name in ("name", "version_id", "_value", "anything"):
        with pytest.raises(AttributeError, match=f"A Secret can't be changed: '{name}'"):
            setattr(one, name, "x")
        with pytest.raises(AttributeError, match="can't be changed"):
            delattr(one, name)
    assert one.reveal() == CANARY


def test_nothing_dumps_it() -> None:
    """It has no `__dict__`, and isn't a str, so nothing that prints those prints the value; weak references work."""
    one = secret()
    with pytest.raises(TypeError):
        vars(one)
    assert not isinstance(one, (str, bytes))
    assert weakref.ref(one)() is one


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_is_refused(protocol: int) -> None:
    """It can't be pickled by any protocol, nor inside of something else, and the error says so."""
    for holder in (secret(), [secret()]):
        with pytest.raises(TypeError, match="can't be pickled, because that would write its value"):
            pickle.dumps(holder, protocol)
    with pytest.raises(TypeError, match="can't be pickled"):
        secret().__getstate__()


def test_copies_are_the_same_object() -> None:
    """A copy is the object itself: there never are two of a value."""
    one = secret()
    assert copy.copy(one) is one
    assert copy.deepcopy([one])[0] is one


@pytest.mark.parametrize(
    ("value", "text", "data"),
    [
        ("text", "text", b"text"),
        ("", "", b""),
        (b"text", "text", b"text"),
        ("naïve €", "naïve €", b"na\xc3\xafve \xe2\x82\xac"),
        (b"na\xc3\xafve", "naïve", b"na\xc3\xafve"),
    ],
    ids=["text", "empty", "binary", "beyond ASCII", "binary beyond ASCII"],
)
def test_reveal(value: str | bytes, text: str, data: bytes) -> None:
    """Text and binary secrets come out as either."""
    assert (secret(value).reveal(), secret(value).reveal_bytes()) == (text, data)


@pytest.mark.parametrize(
    "value", ['{"port": 5432, "tags": ["a"]}', b'{"port": 5432, "tags": ["a"]}'], ids=["text", "binary"]
)
def test_json(value: str | bytes) -> None:
    """The value is parsed as JSON, to a new object each time: nobody can spoil it for others."""
    one = secret(value)
    parsed = one.json()
    assert parsed == {"port": 5432, "tags": ["a"]}
    parsed["tags"].append("spoiled")
    assert one.json() == {"port": 5432, "tags": ["a"]}


def test_json_of_bytes_that_are_no_text() -> None:
    """Bytes come out unharmed where they aren't UTF-8."""
    assert secret(b"\xff\x00").reveal_bytes() == b"\xff\x00"


@pytest.mark.parametrize(
    ("value", "use", "sentence"),
    [
        (b"\xff" + CANARY.encode(), Secret.reveal, "binary and not UTF-8 text: use reveal_bytes()"),
        (b"\xff" + CANARY.encode(), Secret.json, "binary and not UTF-8 text"),
        ("\udc80" + CANARY, Secret.reveal_bytes, "lone surrogate"),
        (CANARY, Secret.json, "isn't JSON. For its text, give the manager decode=str, or call reveal()."),
        (f'{{"password": "{CANARY}"', Secret.json, "isn't JSON"),
        (f'"{CANARY}" trailing', Secret.json, "isn't JSON"),
        ("", Secret.json, "isn't JSON"),
        ("[" * 200_000 + CANARY, Secret.json, "isn't JSON"),
        ("9" * 5000, Secret.json, "isn't JSON"),
    ],
    ids=range(9),
)
def test_errors_hold_no_value(value: str | bytes, use: Callable[[Secret], object], sentence: str) -> None:
    """What can't be read is an error that names the secret; the value is in no part of it, nor in a frame's locals."""
    # The frames of this test hold the value: the error is caught below them.
    error = failure(secret(value), use)
    assert sentence in str(error)
    assert "'prod/db'" in str(error)
    assert (error.secret_name, error.region_name, error.transient) == ("prod/db", "eu-west-1", False)
    assert (error.__cause__, error.__context__) == (None, None)
    whole = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    for shown in (whole, str(error), repr(error), str(error.args), str(vars(error))):
        assert CANARY not in shown
        assert "[[[" not in shown
        assert "9" * 20 not in shown  # addresses have digits too


def failure(one: Secret, use: Callable[[Secret], object]) -> SecretFormatError:
    """Give the error of a use."""
    with pytest.raises(SecretFormatError) as info:
        use(one)
    return info.value


def test_age() -> None:
    """The age counts from the fetch, by the clock that was given, and goes on."""
    now = 100.0
    one = secret(lifetime=Lifetime(60.0), clock=lambda: now)
    assert (one.age, one.is_stale) == (0.0, False)
    now = 159.5
    assert (one.age, one.is_stale) == (59.5, False)
    now = 160.0  # fresh is younger than the ttl
    assert (one.age, one.is_stale) == (60.0, True)


def test_never_stale() -> None:
    """Without a TTL it never is stale; its clock is the monotonic one."""
    assert not secret().is_stale
    assert secret(born=0.0).age > secret(born=1.0).age


def test_what_decode_made_is_not_pickled() -> None:
    """What a manager keeps of a decoder may be a plain dict: it is neither shown nor written anywhere."""
    kept = Decoded(("arn", "version"), {"password": CANARY})
    assert CANARY not in repr(kept)
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(kept)
    with pytest.raises(TypeError, match="can't be pickled"):
        kept.__getstate__()


@pytest.mark.parametrize("is_first", [True, False], ids=["parsed", "copied"])
def test_at_the_end_of_the_stack(is_first: bool) -> None:  # noqa: FBT001 (a parameter of pytest)
    """Where the stack has no room for the copy, the error is ours, and no frame of it holds the value."""
    value: dict[str, Any] = {"password": CANARY}
    for _ in range(15):
        value = {"password": CANARY, "inner": value}

    def use(one: Secret, depth: int) -> object:
        return use(one, depth - 1) if depth else one.json()

    limit = sys.getrecursionlimit()
    kinds: set[type[Exception]] = set()
    for depth in range(limit - 200, limit):
        one = secret(json.dumps(value))
        if not is_first:
            one.json()
        error = failure_at(one, use, depth)
        if error is not None:
            kinds.add(type(error))
            whole = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            assert CANARY not in whole
    # Where less room is left, the stack ends before our error can be made.
    assert kinds == {SecretFormatError, RecursionError}


def failure_at(one: Secret, use: Callable[[Secret, int], object], depth: int) -> Exception | None:
    """Return the error of a use at a depth of the stack; None if there is none."""
    try:
        use(one, depth)
    except (SecretFormatError, RecursionError) as error:
        return error
    return None
