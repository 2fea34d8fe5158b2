"""Answers that are damaged at random: each ends in a value or in one of our errors, and no error shows the canary.

`nox -s fuzz` runs `python tests/fuzz.py --mutations 1000000 --cases 20000`. Each answer passes botocore's parser and
our gateway. If the gateway returns a secret, `Secret.json` and `DatabaseCredentials.from_json` parse its value.
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
from collections import Counter
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
_MODEL = ServiceModel(Loader().load_service_model("secretsmanager", "service-2"))
_SHAPE = _MODEL.operation_model("GetSecretValue").output_shape
_PARSER: Any = create_parser("json")


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


class Damaged:
    """A client that parses its `answer` as botocore would; and the source of this client."""

    closed = False
    profile: str | None = None
    answer = Answer(200, {}, b"")

    @asynccontextmanager
    async def client(self, *_: object) -> AsyncGenerator[Opened]:
        """Yield this object as the client."""
        yield Opened(self, REGION)  # type: ignore[arg-type]

    async def get_secret_value(self, **_: object) -> dict[str, Any]:
        """Parse the answer. Raises `ClientError` for an error, as botocore does."""
        status, headers, body = self.answer
        parsed = _PARSER.parse({"status_code": status, "headers": headers, "body": body}, _SHAPE)
        if status >= 300:
            raise ClientError(parsed, "GetSecretValue")
        return parsed


# Readers of other shapes.
READERS = (
    DatabaseCredentials.from_url,
    DatabaseCredentials.reader(username=("user", "username"), url="host"),
    DatabaseCredentials.reader(under="password"),
)
source = Damaged()
gateway = Gateway(source, 5.0)  # type: ignore[arg-type]


async def check(answer: Answer) -> type[object]:
    """Get a secret from an answer and use it; return its class, or that of the error.

    Raises any error that isn't ours, and `AssertionError` if an error of ours shows the canary.
    """
    source.answer = answer
    try:
        secret = await gateway.get(SecretRequest(NAME, REGION))
    except CredentialsError as error:
        _check_text(error, answer)
        return type(error)

    _check_text(secret, answer)
    _check_formats(secret, answer)
    return Secret


def _check_formats(secret: Secret, answer: Answer) -> None:
    try:
        secret.json()
    except SecretFormatError as error:
        _check_text(error, answer)

    for read in READERS:
        try:
            read(secret.reveal())
        except SecretFormatError as error:
            _check_text(error, answer)

    try:
        credentials = DatabaseCredentials.from_json(secret.reveal())
    except SecretFormatError as error:
        _check_text(error, answer)
        return

    # The user name may be shown, and it may hold the password.
    shown = repr(credentials).replace(credentials.username, "")
    if credentials.password in shown:
        _check_text(credentials, answer)


def _check_text(thing: object, answer: Answer) -> None:
    name = type(thing).__name__
    if isinstance(thing, CredentialsError) and (thing.__cause__ or thing.__context__):
        raise AssertionError(f"{name} is chained to another error")

    arguments = getattr(thing, "args", "")
    attributes = getattr(thing, "__dict__", "")
    text = f"{thing} {thing!r} {arguments} {attributes}"
    if leaked(text) and not _is_public(answer.body):
        raise AssertionError(f"{name} shows it")


def _is_public(body: bytes) -> bool:
    """Whether the canary is in a field that isn't secret and may be shown: a name, a version, AWS's own words."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict):
        return False

    public = [document.get(key) for key in ("Name", "ARN", "VersionId", "__type", "message", "Message")]
    shown = [value for value in public if isinstance(value, str)]
    labels = document.get("VersionStages")
    if isinstance(labels, str | list):
        shown.append(labels)
    return any(leaked(json.dumps(value, ensure_ascii=False)) for value in shown)


# Mutations

_BASES: list[dict[str, Any]] = [
    {**CALM, "SecretString": SECRET_JSON},
    {**CALM, "SecretString": VALUE},
    {**CALM, "SecretString": f'{{"username": "{VALUE[5:20]}", "port": 5432}}'},
    {**CALM, "SecretBinary": base64.b64encode(SECRET_BINARY).decode()},
    {**CALM, "SecretBinary": base64.b64encode(SECRET_JSON.encode()).decode()},
]
_ERRORS = [
    "ResourceNotFoundException",
    "AccessDeniedException",
    "InternalFailure",
    "ThrottlingException",
    "a#b:c",
    "",
]
_TOKENS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b",",
    b":",
    b"null",
    b"true",
    b"1e999",
    b"-",
    b"\\ud800",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\0",
    b"NaN",
    b"[" * 3_000,
    b"9" * 5_000,
    VALUE.encode(),
]
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
_QUERY_ERRORS = ["InvalidRequestException;Sender", ";", "a", "a;b;c"]

# A status that is named several times is chosen more often, and so is an amount of damage.
_STATUSES = [200, 200, 200, 200, 200, 200, 400, 400, 404, 500, 503, 301]
_ODD_FIELDS = [0, 0, 1, 2]
_DAMAGES = [0, 0, 1, 1, 2, 4]
_LENGTHS = [0, 1, 1, 2, 5, 30]


def mutations(count: int, seed: int) -> Iterator[Answer]:
    """Yield so many damaged answers; the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311 - damage needs no cryptography
    for _ in range(count):
        status, fields = _odd_document(rng)
        is_ascii = rng.random() < 0.5
        body = json.dumps(fields, ensure_ascii=is_ascii).encode()
        for _ in range(rng.choice(_DAMAGES)):
            body = _damage(body, rng)

        (content_type,) = rng.choices(_TYPES, [8, 2, 1, 1, 1])
        headers = {"content-type": content_type, "x-amzn-requestid": "fuzz"}
        if rng.random() < 0.05:
            headers["x-amzn-query-error"] = rng.choice(_QUERY_ERRORS)
        yield Answer(status, headers, body)


def _odd_document(rng: random.Random) -> tuple[int, dict[str, Any]]:
    """Return a status and a document; some fields may be missing, odd or too many."""
    fields: dict[str, Any] = dict(rng.choice(_BASES))
    status = rng.choice(_STATUSES)
    if status != 200:
        fields |= {"__type": rng.choice(_ERRORS), "Message": "No."}

    for _ in range(rng.choice(_ODD_FIELDS)):
        field = rng.choice([*fields, "Extra"])
        if rng.random() < 0.3:
            fields.pop(field, None)
        else:
            fields[field] = rng.choice(_ODD)
    return status, fields


def _damage(body: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(body) + 1)
    end = min(len(body), start + rng.choice(_LENGTHS))
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
    """Check so many mutations; return how often each class came of them. An error has a note with its answer."""
    outcomes: Counter[str] = Counter()
    for number, answer in enumerate(mutations(count, seed)):
        try:
            outcome = await check(answer)
        except BaseException as error:
            error.add_note(f"seed {seed}, number {number}: {answer}")
            raise
        outcomes[outcome.__name__] += 1
    return outcomes


# Cases of hypothesis, which shrinks each one that fails

_PLAIN: Any = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_CANARIES: Any = st.just(VALUE) | st.text().map(VALUE.__add__)


def _containers(inner: Any) -> Any:  # noqa: ANN401 (hypothesis's types don't fit)
    keys = st.text() | st.sampled_from([*CALM])
    return st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4)


_JSON: Any = st.recursive(_PLAIN | _CANARIES, _containers, max_leaves=10)
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
_DOCUMENTS: Any = (_FIELDS | _JSON).map(lambda document: json.dumps(document).encode())
_NO_DOCUMENTS: Any = st.binary().map(VALUE.encode().__add__)
_ANSWERS: Any = st.builds(
    Answer,
    st.sampled_from([200, 200, 400, 403, 500]),
    st.sampled_from(_TYPES).map(lambda kind: {"content-type": kind}),
    _DOCUMENTS | _NO_DOCUMENTS,
)


def run_cases(count: int) -> None:
    """Check so many answers that hypothesis makes."""

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(answer=_ANSWERS)
    def case(answer: Answer) -> None:
        loop.run_until_complete(check(answer))

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        case()


def main() -> None:
    """Run as many checks as the command line asks for, and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    # Otherwise most of the time goes into a traceback per error.
    logging.getLogger("aiocredentials").setLevel(logging.CRITICAL)

    start = time.perf_counter()
    outcomes = asyncio.run(run_mutations(arguments.mutations, arguments.seed))
    seconds = time.perf_counter() - start
    print(f"{arguments.mutations} mutations, {seconds:.0f} s:", dict(sorted(outcomes.items())))  # noqa: T201

    start = time.perf_counter()
    run_cases(arguments.cases)
    seconds = time.perf_counter() - start
    print(f"{arguments.cases} cases, {seconds:.0f} s")  # noqa: T201


if __name__ == "__main__":
    main()
