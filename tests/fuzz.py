"""Answers that were damaged at random: each ends in a value or in one of our errors, and no error shows the canary.

`python tests/fuzz.py --mutations 1000000 --cases 20000` is what `nox -s fuzz` runs. The answers go through botocore's
own parser and the gateway; values that come out, through `Secret.json` and `DatabaseCredentials.from_json`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import random
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path.append(str(Path(__file__).parent))

from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import create_parser
from hypothesis import HealthCheck, given, settings, strategies as st

from aiocredentials import CredentialsError, DatabaseCredentials, Secret, SecretFormatError
from aiocredentials._aws.gateway import Gateway
from aiocredentials._aws.regions import Region
from aiocredentials._aws.requests import SecretRequest
from aiocredentials._aws.session import Opened
from leaks.canary import VALUE, leaked
from leaks.wire import CALM, NAME, SECRET_BINARY, SECRET_JSON

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

REGION = Region("us-east-1", "the fuzzer")
_SHAPE = (
    ServiceModel(Loader().load_service_model("secretsmanager", "service-2"))
    .operation_model("GetSecretValue")
    .output_shape
)
_PARSER: Any = create_parser("json")


class Answer(NamedTuple):
    """What came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


class Damaged:
    """A client, and the source of it, that parses the answer it was given last as botocore would."""

    closed = False
    profile: str | None = None
    answer = Answer(200, {}, b"")

    @asynccontextmanager
    async def client(self, *_: object) -> AsyncGenerator[Opened]:
        """Lend itself."""
        yield Opened(self, REGION)  # type: ignore[arg-type]

    async def get_secret_value(self, **_: object) -> dict[str, Any]:
        """Parse the answer; raise what botocore raises for an error."""
        parsed = _PARSER.parse(
            {"status_code": self.answer.status, "headers": self.answer.headers, "body": self.answer.body}, _SHAPE
        )
        if self.answer.status >= 300:
            raise ClientError(parsed, "GetSecretValue")
        return parsed


source = Damaged()
gateway = Gateway(source, 5.0)  # type: ignore[arg-type]


async def check(answer: Answer) -> type[object]:
    """Get a secret from an answer, use it, and fail if anything but our errors comes of it, or the canary with them.

    Returns the class of what came of it.
    """
    source.answer = answer
    try:
        held = await gateway.get(SecretRequest(NAME, REGION))
    except CredentialsError as error:
        _check_text(error, answer)
        return type(error)
    _check_text(held, answer)
    for use in (held.json, lambda: DatabaseCredentials.from_json(held.reveal())):
        try:
            used = use()
        except SecretFormatError as error:
            _check_text(error, answer)
        else:
            if isinstance(used, DatabaseCredentials) and used.password in repr(used).replace(used.username, ""):
                _check_text(used, answer)
    return Secret


def _check_text(thing: object, answer: Answer) -> None:
    if isinstance(thing, CredentialsError) and (thing.__cause__ or thing.__context__):
        raise AssertionError(f"{type(thing).__name__} is chained to another error")
    text = f"{thing} {thing!r} {getattr(thing, 'args', '')} {getattr(thing, '__dict__', '')}"
    if leaked(text) and not _is_named(answer.body):
        raise AssertionError(f"{type(thing).__name__} shows it")


def _is_named(body: bytes) -> bool:
    """Whether the canary stands where nothing secret does, and may be shown: as a name, a version, AWS's own words."""
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return False
    public = ("Name", "ARN", "VersionId", "VersionStages", "__type", "message", "Message")
    return isinstance(told, dict) and any(
        leaked(json.dumps(each, ensure_ascii=False))
        for key in public
        if isinstance(each := told.get(key), (str, list) if key == "VersionStages" else str)
    )


# Mutations

_BASES: list[dict[str, Any]] = [
    {**CALM, "SecretString": SECRET_JSON},
    {**CALM, "SecretString": VALUE},
    {**CALM, "SecretString": f'{{"username": "{VALUE[5:20]}", "port": 5432}}'},
    {**CALM, "SecretBinary": base64.b64encode(SECRET_BINARY).decode()},
    {**CALM, "SecretBinary": base64.b64encode(SECRET_JSON.encode()).decode()},
]
_ERRORS = ["ResourceNotFoundException", "AccessDeniedException", "InternalFailure", "ThrottlingException", "a#b:c", ""]
_TOKENS = [b"{", b"}", b"[", b"]", b'"', b"\\", b",", b":", b"null", b"true", b"1e999", b"-", b"\\ud800", b"\xff",
           b"\xef\xbb\xbf", b"\0", b"NaN", b"[" * 3_000, b"9" * 5_000, VALUE.encode()]  # fmt: skip
_ODD = [
    None,
    True,
    0,
    -1,
    1e300,
    "",
    VALUE,
    [VALUE],
    {"password": VALUE},
    [],
    {},
    [[VALUE]],
    "AWSCURRENT",
    ["AWSCURRENT"],
    10**400,
]
_TYPES = ["application/x-amz-json-1.1", "application/json", "text/html", "", "application/octet-stream"]


def mutations(count: int, seed: int) -> Iterator[Answer]:
    """Yield so many damaged answers; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - damage needs no cryptography
    for _ in range(count):
        fields: dict[str, Any] = dict(rng.choice(_BASES))
        status = rng.choice([200] * 6 + [400, 400, 404, 500, 503, 301])
        if status != 200:
            fields |= {"__type": rng.choice(_ERRORS), "Message": "No."}
        for _ in range(rng.choice([0, 0, 1, 2])):
            field = rng.choice([*fields, "Extra"])
            if rng.random() < 0.3:
                fields.pop(field, None)
            else:
                fields[field] = rng.choice(_ODD)
        body = json.dumps(fields, ensure_ascii=rng.random() < 0.5).encode()
        for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
            body = _damage(body, rng)
        headers = {"content-type": rng.choices(_TYPES, [8, 2, 1, 1, 1])[0], "x-amzn-requestid": "fuzz"}
        if rng.random() < 0.05:
            headers["x-amzn-query-error"] = rng.choice(["InvalidRequestException;Sender", ";", "a", "a;b;c"])
        yield Answer(status, headers, body)


def _damage(body: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(body) + 1)
    end = min(len(body), start + rng.choice([0, 1, 1, 2, 5, 30]))
    match rng.randrange(6):
        case 0:
            return body[:start]
        case 1:
            return body[:start] + body[end:]
        case 2:
            return body[:start] + rng.choice(_TOKENS) + body[end:]
        case 3:
            return body[:start] + bytes([rng.randrange(256)]) + body[start + 1 :]
        case 4:
            return body[:end] + body[start:]
        case _:
            return body[:start] + rng.choice(_TOKENS) + body[start:]


async def run_mutations(count: int, seed: int) -> dict[str, int]:
    """Check so many mutations; return how often each class came of them. Raises `AssertionError` with the answer."""
    outcomes: dict[str, int] = {}
    for number, answer in enumerate(mutations(count, seed)):
        try:
            name = (await check(answer)).__name__
        except BaseException as error:
            error.add_note(f"seed {seed}, number {number}: {answer}")
            raise
        outcomes[name] = outcomes.get(name, 0) + 1
    return outcomes


# Cases of hypothesis, which shrinks what fails

_JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(VALUE) | st.text().map(VALUE.__add__),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from([*CALM]), inner, max_size=4)
    ),
    max_leaves=10,
)
_FIELDS: Any = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.just(calm) | _JSON for name, calm in CALM.items()},
        "SecretString": st.just(SECRET_JSON) | st.just(VALUE) | _JSON.map(json.dumps) | _JSON,
        "SecretBinary": st.binary().map(lambda raw: base64.b64encode(raw).decode()) | _JSON,
        "__type": st.sampled_from(_ERRORS) | _JSON,
        "Message": st.just("No.") | _JSON,
    },
)
_ANSWERS: Any = st.builds(
    Answer,
    st.sampled_from([200, 200, 400, 403, 500]),
    st.sampled_from(_TYPES).map(lambda kind: {"content-type": kind}),
    (_FIELDS | _JSON).map(lambda told: json.dumps(told).encode()) | st.binary().map(VALUE.encode().__add__),
)


def run_cases(count: int) -> None:
    """Check so many answers of hypothesis's making."""

    @settings(
        max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True
    )
    @given(answer=_ANSWERS)
    def case(answer: Answer) -> None:
        loop.run_until_complete(check(answer))

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        case()


def main() -> None:
    """Run as many as were asked, and say what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    logging.getLogger("aiocredentials").setLevel(logging.CRITICAL)  # a traceback for each is most of the time
    started = time.perf_counter()
    outcomes = asyncio.run(run_mutations(asked.mutations, asked.seed))
    print(f"{asked.mutations} mutations, {time.perf_counter() - started:.0f} s:", dict(sorted(outcomes.items())))  # noqa: T201
    started = time.perf_counter()
    run_cases(asked.cases)
    print(f"{asked.cases} cases, {time.perf_counter() - started:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
